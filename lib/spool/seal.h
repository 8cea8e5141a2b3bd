/* The last line of a text that only queue may have written: a checksum keyed with its secret (doc/spool.md, checksums). */
#ifndef MW_SPOOL_SEAL_H
#define MW_SPOOL_SEAL_H

#include "spool/spool.h"

/* Those before are the journal's. */
enum seal_purpose { SEAL_PAUSED = 4, SEAL_CLOCK };

enum { SEAL_MAC = 16, SEAL_LINE = 9 + 2 * SEAL_MAC + 1 };

/* Behind all that is in text. */
void seal_add(struct buf *text, const unsigned char key[SPOOL_KEY], enum seal_purpose purpose);
/* Takes the line off; false: it does not fit what is before it. */
bool seal_take(struct span *text, const unsigned char key[SPOOL_KEY], enum seal_purpose purpose);

#endif
