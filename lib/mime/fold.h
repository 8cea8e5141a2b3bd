/* UTF-8 made fit for comparing: texts that differ in case or in form of composition become equal (RFC 5051). */
#ifndef MW_MIME_FOLD_H
#define MW_MIME_FOLD_H

#include "base/buf.h"
#include "base/span.h"

/* Makes the table of what is common; without it all is right, only slower. Once, before the process forks. */
void mime_fold_preload(void);

/* Appends the folded form. Malformed UTF-8 stays as it is. */
void mime_casefold(struct span utf8, struct buf *out);

#endif
