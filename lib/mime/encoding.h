/* Content-Transfer-Encodings undone (RFC 2045 section 6), in pieces of any size. */
#ifndef MW_MIME_ENCODING_H
#define MW_MIME_ENCODING_H

#include "base/buf.h"
#include "base/span.h"

enum mime_encoding { MIME_ENCODING_NONE, MIME_ENCODING_BASE64, MIME_ENCODING_QUOTED_PRINTABLE };

/*
 * Of a Content-Transfer-Encoding field's value, in any case, with or without a
 * comment behind it. 7bit, 8bit, binary and what is not known are NONE: the
 * octets stay as they are (RFC 2045 section 6.4 asks no more of a reader).
 */
enum mime_encoding mime_encoding_find(struct span value);

enum { MIME_QUOTED_HELD_MAX = 128 };

/*
 * Caller's memory; holds no other. The output depends on the octets alone,
 * never on where they were cut into pieces.
 */
struct mime_decoder {
	enum mime_encoding encoding;
	/* base64 */
	uint32_t bits;	/* digits that make no whole quantum yet */
	unsigned count; /* of those digits */
	bool ended;	/* padding was seen */
	/* quoted-printable: octets whose meaning the next ones decide: "=A", " \t\r", "= \r" */
	unsigned held_len;
	char held[MIME_QUOTED_HELD_MAX];
};

void mime_decoder_init(struct mime_decoder *decoder, enum mime_encoding encoding);

/*
 * Appends what the piece (octets, any number) gives; never more than its length
 * and what was held. Nothing in it is an error:
 * base64 (section 6.8): what is not in the alphabet is skipped; "=" behind two or
 * three digits of a quantum is the end, as in the RFC: lists append their footers there.
 * quoted-printable (section 6.7): what is no escape stays as it is; small letters
 * count as digits; blanks before a line end are dropped (up to
 * MIME_QUOTED_HELD_MAX of them, legal lines have 76 octets); a bare LF is a line end.
 * Only out can fail.
 */
void mime_decode(struct mime_decoder *decoder, struct span piece, struct buf *out);

/* Appends what was held back and makes the decoder as after init. */
void mime_decode_end(struct mime_decoder *decoder, struct buf *out);

#endif
