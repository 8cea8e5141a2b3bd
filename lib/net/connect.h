/* A TCP connection to another host, without waiting for it. */
#ifndef MW_NET_CONNECT_H
#define MW_NET_CONNECT_H

#include "base/err.h"

#include <netinet/in.h>

struct event_base;
struct connecting;

/*
 * fd: connected, non-blocking, the callee's; or -1, and why says why: E_TIMEOUT, E_CLOSED (refused, unreachable), E_NOFILES, E_IO.
 * Called once, never before connect_begin returns.
 */
typedef void connect_done(void *arg, int fd, const struct err *why);

/* from: the address of ours to speak from, its port 0; NULL: whichever. NULL: no memory. */
struct connecting *connect_begin(struct event_base *base, const struct sockaddr_storage *to, const struct sockaddr_storage *from,
    int64_t timeout_ms, connect_done *done, void *arg);
/* done is not called any more. Not after it was called. */
void connect_cancel(struct connecting **connecting);

/* "192.0.2.1", "2001:db8::1". */
void connect_text(const struct sockaddr_storage *address, char out[INET6_ADDRSTRLEN]);
/* Another port. */
void connect_port(struct sockaddr_storage *address, uint16_t port);

#endif
