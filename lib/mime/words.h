/* Header text as people read it: encoded words (RFC 2047) and parameters (RFC 2231) made UTF-8. */
#ifndef MW_MIME_WORDS_H
#define MW_MIME_WORDS_H

#include "mime/header.h"

/* unfolded: a field's value. Appends UTF-8. What is no encoded word stays; linear in its length. */
void mime_words_decode(struct span unfolded, struct buf *out);

/*
 * A parameter with its continuations and charset (RFC 2231 sections 3 and 4), else a plain one, its encoded
 * words decoded as senders mean it. UTF-8, pooled; empty when it is not there.
 */
struct span mime_parameter_decode(const struct mime_content *content, struct span name, struct pool *pool);

#endif
