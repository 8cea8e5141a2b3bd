/* Mailbox names on the wire: modified UTF-7 (RFC 3501 section 5.1.3). */
#ifndef MW_IMAP_UTF7_H
#define MW_IMAP_UTF7_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/span.h"

/*
 * Strict: what has a shorter or another right form is refused, so that a name has one form only.
 * Valid UTF-8 beyond ASCII is taken as it is: clients that send it mean it. Pooled or borrowed from in.
 */
bool imap_utf7_decode(struct span in, struct pool *pool, struct span *out);
/* name: valid UTF-8. */
void imap_utf7_encode(struct span name, struct buf *out);

#endif
