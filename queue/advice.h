/* What the sender of a message that was not delivered may do about it, by the enhanced status code (RFC 3463 section 3). */
#ifndef MW_QUEUE_ADVICE_H
#define MW_QUEUE_ADVICE_H

#include "base/buf.h"

/* status: "5.1.1". A sentence or two for a person, as indented lines of at most 76 characters. */
void advice_add(struct buf *out, struct span status);

#endif
