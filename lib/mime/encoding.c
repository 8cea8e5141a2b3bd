#include "mime/encoding.h"

enum mime_encoding mime_encoding_find(struct span value)
{
	value = span_trim(value);
	while (value.len > 0 && (value.ptr[value.len - 1] == '\n' || value.ptr[value.len - 1] == '\r'))
		value = span_trim(span_sub(value, 0, value.len - 1));
	if (span_caseeq(value, SPAN_LIT("base64")))
		return MIME_ENCODING_BASE64;
	if (span_caseeq(value, SPAN_LIT("quoted-printable")))
		return MIME_ENCODING_QUOTED_PRINTABLE;
	return MIME_ENCODING_NONE;
}

void mime_decoder_init(struct mime_decoder *decoder, enum mime_encoding encoding)
{
	*decoder = (struct mime_decoder){.encoding = encoding};
}

/* ---- base64 ---- */

/* Value of each character, and one more; 0 for what is not in the alphabet. */
static const unsigned char digits[256] = {
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
    ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
    ['+'] = 63, ['/'] = 64,
};

static void decode_base64(struct mime_decoder *d, struct span piece, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)piece.ptr, *end = p + piece.len;
	char *to = buf_reserve(out, piece.len + 3);
	size_t len = 0;

	if (to == NULL)
		return;
	while (p < end) {
		unsigned digit = digits[*p++];

		if (digit == 0) {
			if (p[-1] == '=') { /* the end of a quantum; another may follow (RFC 2045 6.8 is silent, senders do it) */
				d->bits = 0;
				d->count = 0;
			}
			continue;
		}
		d->bits = d->bits << 6 | (digit - 1);
		d->count++;
		/* An octet as soon as its bits are there: padding or not, nothing is left behind. */
		if (d->count == 2)
			to[len++] = (char)(d->bits >> 4);
		else if (d->count == 3)
			to[len++] = (char)(d->bits >> 2);
		else if (d->count == 4) {
			to[len++] = (char)d->bits;
			d->count = 0;
			d->bits = 0;
		}
	}
	buf_added(out, len);
}

/* ---- quoted-printable ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_upper(c);
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The bytes behind '=' so far: 1 done (written or dropped), 0 more are needed, -1 no encoding at all. */
static int decode_escape(const char *held, unsigned len, struct buf *out)
{
	if (len == 1)
		return 0;
	if (held[1] == '\n')
		return 1; /* soft line break, CR missing */
	if (held[1] == '\r') {
		if (len == 2)
			return 0;
		return held[2] == '\n' ? 1 : -1;
	}
	if (hex_value(held[1]) < 0)
		return -1;
	if (len == 2)
		return 0;
	if (hex_value(held[2]) < 0)
		return -1;
	buf_add_char(out, (char)(hex_value(held[1]) << 4 | hex_value(held[2])));
	return 1;
}

static void decode_quoted(struct mime_decoder *d, struct span piece, struct buf *out)
{
	while (piece.len > 0 && !buf_failed(out)) {
		size_t plain;
		int r;

		if (d->held_len == 0) {
			plain = span_find(piece, '=');
			buf_add(out, piece.ptr, plain);
			piece = span_from(piece, plain);
			if (piece.len == 0)
				return;
		}
		d->held[d->held_len++] = *piece.ptr;
		piece = span_from(piece, 1);
		r = decode_escape(d->held, d->held_len, out);
		if (r == 0)
			continue;
		if (r < 0) {
			/* As it is; the last byte may begin another one. */
			bool again = d->held[d->held_len - 1] == '=';

			buf_add(out, d->held, d->held_len - (again ? 1 : 0));
			d->held_len = again ? 1 : 0;
			continue;
		}
		d->held_len = 0;
	}
}

void mime_decode(struct mime_decoder *d, struct span piece, struct buf *out)
{
	switch (d->encoding) {
	case MIME_ENCODING_BASE64:
		decode_base64(d, piece, out);
		break;
	case MIME_ENCODING_QUOTED_PRINTABLE:
		decode_quoted(d, piece, out);
		break;
	case MIME_ENCODING_NONE:
		buf_add_span(out, piece);
		break;
	}
}

void mime_decode_end(struct mime_decoder *d, struct buf *out)
{
	/* A "=" at the very end is a soft line break whose line end is missing. */
	if (d->held_len > 1 && d->held[1] != '\r')
		buf_add(out, d->held, d->held_len);
	d->held_len = 0;
}
