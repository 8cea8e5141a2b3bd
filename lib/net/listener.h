/* Listening sockets: accepts on the event loop, pauses instead of spinning when descriptors run out. */
#ifndef MW_NET_LISTENER_H
#define MW_NET_LISTENER_H

#include "base/err.h"

#include <stdint.h>
#include <stdbool.h>
#include <sys/socket.h>

struct event_base;
struct listener;

enum { LISTENER_PEER_TEXT = 64 };

/* fd: the connection, now the callee's. peer: the client's address, "192.0.2.1" or "2001:db8::1". */
typedef void listener_accepted(void *arg, int fd, const struct sockaddr_storage *address, const char *peer);

/* fd: a listening socket, stays the caller's. NULL when out of memory. */
struct listener *listener_new(struct event_base *base, int fd, listener_accepted *accepted, void *arg);
/* Stops accepting. */
void listener_free(struct listener **listener);

/* Text of an address, at least LISTENER_PEER_TEXT bytes; an IPv4 address mapped into IPv6 is shown as IPv4. */
void listener_peer_text(const struct sockaddr_storage *address, char out[LISTENER_PEER_TEXT]);

/*
 * Connections counted by address (IPv6 by /64), for the limits. Table of fixed
 * size: no memory can be made to grow from outside.
 */
struct peer_count;
struct peer_count *peer_count_new(void);
void peer_count_free(struct peer_count **count);
/* False, and nothing is counted, when `max` connections of this address are there already. */
bool peer_count_enter(struct peer_count *count, const struct sockaddr_storage *address, uint32_t max);
void peer_count_leave(struct peer_count *count, const struct sockaddr_storage *address);

#endif
