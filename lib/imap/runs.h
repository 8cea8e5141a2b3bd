/*
 * A list of UIDs in few octets: runs of numbers that follow each other. For each run the numbers that are left out in
 * front of it, then its length less one, as integers of seven bits an octet, lowest first, the eighth bit for "more
 * follows". A mailbox of a hundred thousand messages from which nothing was removed takes four octets.
 */
#ifndef MW_IMAP_RUNS_H
#define MW_IMAP_RUNS_H

#include "base/buf.h"
#include "base/span.h"

/* uids: ascending, not 0. Appends. */
void imap_runs_put(const uint32_t *uids, size_t count, struct buf *out);

/*
 * Takes the next run from in. last: of the run before, 0 at the beginning; set to this one's last number. False: malformed,
 * also when a number would be past UINT32_MAX or the run touches the one before, which imap_runs_put does not write.
 */
bool imap_runs_take(struct span *in, uint32_t *first, uint32_t *last);

#endif
