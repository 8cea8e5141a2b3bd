/* Text in any charset made UTF-8. */
#ifndef MW_MIME_CHARSET_H
#define MW_MIME_CHARSET_H

#include "base/buf.h"
#include "base/span.h"

/*
 * Opens the common conversions and keeps them: inside the sandbox iconv's
 * tables are out of reach. Call once before it. A charset that was not opened is read as if it were windows-1252.
 */
void mime_charset_preload(void);

/* True for names (in any case) that are UTF-8 or a part of it. An empty name is US-ASCII. */
bool mime_charset_is_utf8(struct span name);
/* True when text in this charset can be told apart. */
bool mime_charset_is_known(struct span name);

/* Appends text as UTF-8; what is malformed becomes U+FFFD. */
void mime_to_utf8(struct span charset, struct span text, struct buf *out);

#endif
