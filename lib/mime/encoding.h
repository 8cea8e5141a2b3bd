/* Content-Transfer-Encodings undone (RFC 2045 sections 6.7 and 6.8), in pieces of any size. */
#ifndef MW_MIME_ENCODING_H
#define MW_MIME_ENCODING_H

#include "base/buf.h"
#include "base/span.h"

enum mime_encoding { MIME_ENCODING_NONE, MIME_ENCODING_BASE64, MIME_ENCODING_QUOTED_PRINTABLE };

/* Of a Content-Transfer-Encoding field's value; what is not known counts as none. */
enum mime_encoding mime_encoding_find(struct span value);

/* Nothing is ever an error: what is not in the alphabet is skipped (base64) or kept as it is (quoted-printable). */
struct mime_decoder {
	enum mime_encoding encoding;
	uint32_t bits;	/* base64: digits that make no octet yet */
	unsigned count; /* of those digits */
	char held[4];	/* quoted-printable: "=", "=A", "=\r" at the end of a piece */
	unsigned held_len;
};

void mime_decoder_init(struct mime_decoder *decoder, enum mime_encoding encoding);
/* Appends what the piece gives. */
void mime_decode(struct mime_decoder *decoder, struct span piece, struct buf *out);
/* What was held back at the end. */
void mime_decode_end(struct mime_decoder *decoder, struct buf *out);

#endif
