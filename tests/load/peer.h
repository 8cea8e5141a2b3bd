/* What the drivers of tests/load have in common: sockets from many loopback addresses, lines, times. */
#ifndef MW_TESTS_LOAD_PEER_H
#define MW_TESTS_LOAD_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_INPUT = 2048, PEER_ADDRESS_FIRST = 1 };

/* Input of one connection, cut into lines. */
struct peer_lines {
	char data[PEER_INPUT];
	size_t len;
};

/* Monotonic, in milliseconds; the same clock as Python's time.monotonic(). */
double peer_now_ms(void);

/* A socket that connects to 127.0.0.1 from the number-th of many addresses 127.0.1.1, 127.0.1.2, ... -1: errno. */
int peer_connect(unsigned number, int port);

/* The first whole line, NUL at its end, without CR LF; NULL: none yet. Good until the next call of peer_line_done. */
char *peer_line(struct peer_lines *lines);
void peer_line_done(struct peer_lines *lines);
/* Where more goes, and how much. 0: a line is too long. */
size_t peer_room(struct peer_lines *lines, char **at);

/* As many descriptors as the hard limit allows. */
void peer_allow_descriptors(void);

#endif
