/* Content-Transfer-Encodings made (RFC 2045 sections 6.7 and 6.8), in pieces of any size. encoding.h undoes them. */
#ifndef MW_MIME_ENCODE_H
#define MW_MIME_ENCODE_H

#include "mime/encoding.h"

enum {
	MIME_LINE_MAX = 76,	     /* of what is encoded */
	MIME_BASE64_LINE = 57,	     /* octets that fill a line */
};

/* Caller's memory; holds no other. The output depends on the octets alone. */
struct mime_encoder {
	enum mime_encoding encoding; /* NONE: as it is, but an LF alone becomes a line end, a CR alone a blank */
	size_t column;
	char blank; /* quoted-printable: held until it is known that no line end follows; 0: none */
	bool cr;    /* the same of a CR */
	bool begun; /* base64: a line stands before this one */
	size_t count;
	char line[MIME_BASE64_LINE];
};

void mime_encoder_init(struct mime_encoder *encoder, enum mime_encoding encoding);

/*
 * Appends the encoded piece: at most four times its octets and what was held. quoted-printable: CRLF is a line end, CR or LF alone
 * are data; no line begins with "-", so that none looks like a boundary. Only out can fail.
 */
void mime_encode(struct mime_encoder *encoder, struct span piece, struct buf *out);
/* Appends what was held. The last line has no end of its own: that before a boundary belongs to the boundary. */
void mime_encode_end(struct mime_encoder *encoder, struct buf *out);

#endif
