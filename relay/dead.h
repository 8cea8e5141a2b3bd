/*
 * Addresses of hosts that could not be reached lately, or wanted no connection: they are tried last, for a time that grows with each
 * failure. So mail for a domain with one dead host does not wait for it each time, and a host behind many dead ones is come to. When the time
 * has passed one message tries it, and the others pass it by until that has found out. Nothing here keeps mail back: when all are dead, all are tried.
 */
#ifndef MW_RELAY_DEAD_H
#define MW_RELAY_DEAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	DEAD_SETS = 1024, /* of DEAD_WAYS places; in a full one the address whose time is over first makes room */
	DEAD_WAYS = 4,
	DEAD_FIRST_MS = 30000, /* doubled by each failure */
	DEAD_MOST_MS = 300000,
	DEAD_FORGET_MS = 3600000, /* after a failure the next one is a first one */
	DEAD_KEY = 20,
};

struct dead_address {
	unsigned char key[DEAD_KEY];
	bool asked; /* until is for the one that tries it */
	unsigned failures; /* 0: an empty place */
	int64_t since_ms, until_ms;
};

struct dead {
	struct dead_address places[DEAD_SETS][DEAD_WAYS];
};

/* All have the address with its port, and the time by the monotonic clock. */
bool dead_is(const struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms);
/* A connection is tried. */
void dead_ask(struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms);
void dead_add(struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms);
void dead_remove(struct dead *dead, const struct sockaddr_storage *address);

#endif
