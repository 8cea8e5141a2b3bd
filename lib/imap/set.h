/* Sequence sets and UID sets (RFC 3501 section 9, sequence-set). */
#ifndef MW_IMAP_SET_H
#define MW_IMAP_SET_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/span.h"

struct imap_range {
	uint32_t first, last; /* both included, first <= last */
};

/* Sorted, no two ranges touch. */
struct imap_set {
	struct imap_range *ranges;
	size_t count;
};

/* highest: what '*' stands for. False when malformed or without memory. Pooled. */
bool imap_set_parse(struct span text, uint32_t highest, struct pool *pool, struct imap_set *out);
bool imap_set_has(const struct imap_set *set, uint32_t n);
/* "1:3,7" of ascending numbers. */
void imap_set_format(const uint32_t *numbers, size_t count, struct buf *out);

#endif
