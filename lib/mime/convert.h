/*
 * A message made fit for a server that takes 7 bits only (RFC 6152 section 3): parts of 8bit and binary become quoted-printable
 * when they are text, base64 when they are not. What the parts hold stays the same to the octet.
 */
#ifndef MW_MIME_CONVERT_H
#define MW_MIME_CONVERT_H

#include "base/buf.h"
#include "base/err.h"

enum {
	MIME_TEXT_LINE_MAX = 998,	  /* octets of a line (RFC 5322 section 2.1.1) */
	MIME_CONVERT_PIECE = 32 * 1024, /* of output at once */
};

/* What it means to the message; known before anything is written. */
struct mime_conversion {
	bool changed;	       /* no: the message can go as it is, but for what is left; signatures over all of it (DKIM) stay good */
	bool signature_broken; /* something within a multipart/signed was changed (RFC 1847 section 2.1 has it in 7 bits for that) */
	bool left;	       /* octets above 127, NUL or long lines in header fields and boundaries: nothing can be done about them */
	bool left_out;	       /* lines outside of all parts, which nobody is shown, were left out for the same */
};

struct mime_converter;

/* message: whole, with header section; borrowed until the converter is freed. NULL: no memory. Depth and number of parts: structure.h; deeper ones are one opaque part. */
struct mime_converter *mime_converter_new(struct span message);
void mime_converter_free(struct mime_converter **converter);

const struct mime_conversion *mime_converter_facts(const struct mime_converter *converter);
/* Appends the next piece. 1: there is more; 0: that was all; E_NOMEM. Line ends are CRLF, the last line need not have one; outside of the parts' bodies a CR alone, which is none, becomes a blank. */
int mime_converter_next(struct mime_converter *converter, struct buf *out);

#endif
