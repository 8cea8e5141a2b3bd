/* The recipients of a relay_deliver (lib/ipc/relay.def). */
#ifndef MW_RELAY_RECIPIENTS_H
#define MW_RELAY_RECIPIENTS_H

#include "base/pool.h"
#include "smtp/client.h"

enum { RELAY_RECIPIENTS_MAX = 2000 /* of a job */ };

/* E_SYNTAX: malformed, none, or too many; E_NOMEM. Spans borrow packed; the array is pooled. */
int recipients_decode(struct pool *pool, struct span packed, struct smtp_client_recipient **out, size_t *count);

#endif
