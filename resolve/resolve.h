/* The daemon's own state, shared by the files of this folder. */
#ifndef MW_RESOLVE_RESOLVE_H
#define MW_RESOLVE_RESOLVE_H

#include "resolve/flights.h"

struct control_server;
struct daemon;

struct resolve {
	struct daemon *daemon;
	struct settings *settings; /* between prepare and confined; then flights has it */
	struct flights *flights;
	struct control_server *control;
	uint32_t peers;
};

enum { PEER_ASKS_MAX = DNS_ASKS_MAX /* of one client at once: what lib/dns keeps to */ };

/* peer.c: a client that master has connected; owns fd. */
void peer_new(struct resolve *resolve, int fd);

/* control.c: query, flush, stats. 0 or E_NOMEM. */
int resolve_control_open(struct resolve *resolve);

#endif
