/* ENVELOPE, BODY and BODYSTRUCTURE as IMAP sends them (RFC 3501 section 7.4.2). */
#ifndef MW_IMAP_BODY_H
#define MW_IMAP_BODY_H

#include "base/buf.h"
#include "mime/structure.h"

enum { IMAP_TEXT_MAX = 1024 * 1024 }; /* of one such text; past it a small opaque one takes its place */

/* string: quoted when it can be, else a literal. A NUL, which neither may hold, is left out. */
void imap_string_format(struct span s, struct buf *out);

/* header: the header section. date: the Date field goes in as it is. */
void imap_envelope_format(struct span header, struct buf *out);
/* extended: BODYSTRUCTURE, else BODY. No recursion. */
void imap_body_format(struct span message, const struct mime_part *root, bool extended, struct buf *out);

#endif
