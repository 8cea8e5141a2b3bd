#include "mime/encoding.h"

#include "base/encode.h"

/* The value is one token (RFC 2045 section 6.1); a comment may follow, some senders put a ';'. */
enum mime_encoding mime_encoding_find(struct span value)
{
	size_t start = 0, len = 0;

	while (start < value.len && (unsigned char)value.ptr[start] <= ' ')
		start++; /* a line end too: the value may be folded */
	if (start == value.len)
		return MIME_ENCODING_NONE;
	value = span_from(value, start);
	while (len < value.len && value.ptr[len] > ' ' && value.ptr[len] != ';' && value.ptr[len] != '(')
		len++;
	value = span_sub(value, 0, len);
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
	/* Each digit gives an octet but for the first of a quantum: three in four, rounded up. */
	char *to = d->ended ? NULL : buf_reserve(out, piece.len - piece.len / 4);
	size_t len = 0;

	if (to == NULL)
		return;
	while (p < end && !d->ended) {
		unsigned digit = digits[*p];

		if (digit == 0) {
			d->ended = *p++ == '=' && d->count >= 2;
			continue;
		}
		p++;
		d->bits = d->bits << 6 | (digit - 1);
		d->count++;
		/* An octet as soon as its bits are there: without padding nothing is left behind either. */
		if (d->count == 2) {
			to[len++] = (char)(d->bits >> 4);
		} else if (d->count == 3) {
			to[len++] = (char)(d->bits >> 2);
		} else if (d->count == 4) {
			to[len++] = (char)d->bits;
			d->count = 0;
			d->bits = 0;
		}
	}
	buf_added(out, len);
}

/* ---- quoted-printable ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_hex(char c)
{
	c = ascii_lower(c);
	return ascii_is_digit(c) || (c >= 'a' && c <= 'f');
}

/*
 * What c makes of the octets held: HOLD: it belongs to them; DONE: they are
 * decided and c with them; AS_IS: they were ordinary text, c is looked at anew.
 */
enum verdict { HOLD, DONE, AS_IS };

/* held begins with a blank: blanks, perhaps a CR. Before a line end they are nothing (rule 3). */
static enum verdict judge_blanks(const struct mime_decoder *d, char c, struct buf *out)
{
	bool cr = d->held[d->held_len - 1] == '\r';

	if (c == '\n') {
		buf_add_str(out, cr ? "\r\n" : "\n");
		return DONE;
	}
	return !cr && (is_blank(c) || c == '\r') ? HOLD : AS_IS;
}

/* held begins with '=': "=", "=A", or '=' with blanks and perhaps a CR: a soft line break (rule 5). */
static enum verdict judge_escape(const struct mime_decoder *d, char c, struct buf *out)
{
	char last = d->held[d->held_len - 1], pair[2] = {last, c};
	unsigned char octet;

	if (d->held_len == 2 && is_hex(last)) {
		if (hex_decode(span_of(pair, 2), &octet, 1) != 0)
			return AS_IS;
		buf_add_char(out, (char)octet);
		return DONE;
	}
	if (c == '\n')
		return DONE;
	if (last != '\r' && (is_blank(c) || c == '\r'))
		return HOLD;
	return d->held_len == 1 && is_hex(c) ? HOLD : AS_IS;
}

static void flush_held(struct mime_decoder *d, struct buf *out)
{
	buf_add(out, d->held, d->held_len);
	d->held_len = 0;
}

/* Length of the octets at the front that stand for themselves: blanks do when a character follows them. */
static size_t plain_len(struct span s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] != '=' && !(is_blank(s.ptr[n]) && (n + 1 == s.len || (unsigned char)s.ptr[n + 1] <= ' ')))
		n++;
	return n;
}

static void decode_quoted(struct mime_decoder *d, struct span piece, struct buf *out)
{
	while (piece.len > 0 && !buf_failed(out)) {
		enum verdict verdict = HOLD;

		if (d->held_len == 0) {
			size_t plain = plain_len(piece);

			buf_add(out, piece.ptr, plain);
			piece = span_from(piece, plain);
			if (piece.len == 0)
				return;
		} else if (d->held[0] == '=') {
			verdict = judge_escape(d, piece.ptr[0], out);
		} else {
			verdict = judge_blanks(d, piece.ptr[0], out);
		}
		if (verdict == AS_IS || (verdict == HOLD && d->held_len == MIME_QUOTED_HELD_MAX))
			flush_held(d, out);
		if (verdict == DONE)
			d->held_len = 0;
		if (verdict == HOLD)
			d->held[d->held_len++] = piece.ptr[0];
		if (verdict != AS_IS)
			piece = span_from(piece, 1);
	}
}

/* The end of the text ends its last line: blanks there are nothing, "=" is a soft line break. */
static void end_quoted(struct mime_decoder *d, struct buf *out)
{
	if (d->held_len == 0)
		return;
	if (d->held[0] != '=' && d->held[d->held_len - 1] == '\r')
		buf_add_char(out, '\r');
	else if (d->held[0] == '=' && d->held_len == 2 && is_hex(d->held[1]))
		buf_add(out, d->held, d->held_len);
}

void mime_decode(struct mime_decoder *d, struct span piece, struct buf *out)
{
	if (piece.len == 0)
		return;
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
	end_quoted(d, out);
	mime_decoder_init(d, d->encoding);
}
