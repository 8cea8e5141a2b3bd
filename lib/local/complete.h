/*
 * Addresses without a domain in a header section get one, as programs of a machine leave it out and others would not take
 * it: "From: root (Cron Daemon)". Nothing else of a field is changed, nor any field that does not hold addresses.
 */
#ifndef MW_LOCAL_COMPLETE_H
#define MW_LOCAL_COMPLETE_H

#include "base/buf.h"
#include "base/span.h"

enum { COMPLETE_FIELD_MAX = 256 * 1024 }; /* a longer field, and what follows it, stays as it is */

struct complete {
	struct span domain; /* borrowed */
	bool over;	    /* the header section has ended */
	bool line_ended;    /* of field */
	struct buf field;   /* the one that comes now, with its folded lines */
};

void complete_init(struct complete *complete, struct span domain);
void complete_fini(struct complete *complete);
/* A message whose lines end in CR LF, in pieces cut anywhere. */
void complete_feed(struct complete *complete, struct span bytes, struct buf *out);
void complete_end(struct complete *complete, struct buf *out);

#endif
