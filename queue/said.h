/*
 * Who said what stands in a record of an attempt (doc/spool.md), and from there in a notification (RFC 3464 section 2.3.5):
 *
 *   host mx.example.com [192.0.2.1] (TLSv1.3 DANE) said: 450 4.2.0 busy      the host's own words
 *   host mx.example.com [192.0.2.1]: 451 4.4.1 it does not answer            ours, of a host
 *   451 4.3.0 the relay is not running                                       ours; and all records of earlier versions
 */
#ifndef MW_QUEUE_SAID_H
#define MW_QUEUE_SAID_H

#include "base/span.h"
#include "spool/spool.h"

struct said {
	struct span host, address, tls; /* empty: not known; tls: as in relay_result */
	bool by_host;
	struct span reply; /* "450 4.2.0 busy" */
};

/* The same as text; what is too long for a record is cut off at its end, between two characters. Borrows out. */
struct span said_format(const struct said *said, char out[SPOOL_TEXT_MAX + 1]);
/* Borrows text. */
void said_parse(struct span text, struct said *out);

#endif
