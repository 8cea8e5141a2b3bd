/* Of lib/dns alone, and its tests. */
#ifndef MW_DNS_PRIVATE_H
#define MW_DNS_PRIVATE_H

#include "dns/dns.h"
#include "ipc/ipc.h"

/*
 * What the resolver said as an answer: all but name and type, which the asker knows; spans point into reply. E_PROTO: the resolver would not
 * say that.
 */
int dns_answer_read(const struct dns_reply *reply, struct dns_answer *out);

#endif
