/*
 * A connection to one of a host's addresses. The next address is tried beside the first when that has not answered after a moment, so that
 * a family or a machine that swallows packets keeps nobody waiting (RFC 8305 section 5).
 */
#ifndef MW_RELAY_DIAL_H
#define MW_RELAY_DIAL_H

#include "base/err.h"

#include <netinet/in.h>

struct event_base;

enum {
	DIAL_ADDRESSES_MAX = 8,
	DIAL_STAGGER_MS = 1000,	 /* between two beginnings */
	DIAL_CONNECT_MS = 30000, /* for one connection */
};

struct dial_address {
	struct sockaddr_storage to;
	struct sockaddr_storage from; /* ss_family AF_UNSPEC: whichever */
};

/* which: the address that answered, fd is the callee's; or fd -1, and why is our own trouble (E_NOFILES, E_NOMEM), or what the last one failed with. Called once, never before dial returns. */
typedef void dial_done(void *arg, int fd, size_t which, const struct err *why);

struct dial;

/* addresses: copied; at least one. NULL: no memory. */
struct dial *dial_begin(struct event_base *base, const struct dial_address *addresses, size_t count, dial_done *done, void *arg);
/* done is not called any more. */
void dial_cancel(struct dial **dial);

#endif
