#include "mime/encode.h"

#include "base/encode.h"

void mime_encoder_init(struct mime_encoder *e, enum mime_encoding encoding)
{
	*e = (struct mime_encoder){.encoding = encoding};
}

/* ---- base64 ---- */

static void end_base64_line(struct mime_encoder *e, struct buf *out)
{
	if (e->count == 0)
		return;
	if (e->begun)
		buf_add_str(out, "\r\n");
	base64_encode(out, span_of(e->line, e->count));
	e->begun = true;
	e->count = 0;
}

static void encode_base64(struct mime_encoder *e, struct span piece, struct buf *out)
{
	while (piece.len > 0) {
		struct span part = span_sub(piece, 0, MIME_BASE64_LINE - e->count);

		memcpy(e->line + e->count, part.ptr, part.len);
		e->count += part.len;
		piece = span_from(piece, part.len);
		if (e->count == MIME_BASE64_LINE)
			end_base64_line(e, out);
	}
}

/* ---- quoted-printable ---- */

/* Room for n more characters in the line, and the "=" of a soft line break behind them. */
static void make_room(struct mime_encoder *e, size_t n, struct buf *out)
{
	if (e->column + n < MIME_LINE_MAX)
		return;
	buf_add_str(out, "=\r\n");
	e->column = 0;
}

static void put_escape(struct mime_encoder *e, char c, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char octet = (unsigned char)c;
	const char text[] = {'=', digits[octet >> 4], digits[octet & 15]};

	make_room(e, sizeof(text), out);
	buf_add(out, text, sizeof(text));
	e->column += sizeof(text);
}

static void put_char(struct mime_encoder *e, char c, struct buf *out)
{
	bool plain = (c == ' ' || c == '\t' || (c > ' ' && c < 0x7f)) && c != '=';

	if (plain)
		make_room(e, 1, out);
	if (!plain || (c == '-' && e->column == 0)) {
		put_escape(e, c, out);
		return;
	}
	buf_add_char(out, c);
	e->column++;
}

/* What was held is text: more of the line follows. */
static void put_held(struct mime_encoder *e, struct buf *out)
{
	if (e->blank != 0)
		put_char(e, e->blank, out);
	if (e->cr)
		put_escape(e, '\r', out);
	e->blank = 0;
	e->cr = false;
}

/* A blank in front of a line end is no blank (rule 3). */
static void end_line(struct mime_encoder *e, struct buf *out)
{
	if (e->blank != 0)
		put_escape(e, e->blank, out);
	buf_add_str(out, "\r\n");
	e->column = 0;
	e->blank = 0;
	e->cr = false;
}

static void encode_quoted(struct mime_encoder *e, struct span piece, struct buf *out)
{
	for (size_t i = 0; i < piece.len; i++) {
		char c = piece.ptr[i];

		if (c == '\n' && e->cr) {
			end_line(e, out);
		} else if (c == '\r' && !e->cr) {
			e->cr = true;
		} else {
			put_held(e, out);
			if (c == '\r')
				e->cr = true;
			else if (c == ' ' || c == '\t')
				e->blank = c;
			else
				put_char(e, c, out);
		}
	}
}

static void end_quoted(struct mime_encoder *e, struct buf *out)
{
	if (e->blank != 0 && !e->cr)
		put_escape(e, e->blank, out);
	else
		put_held(e, out);
}

/* ---- as it is ---- */

static void copy(struct mime_encoder *e, struct span piece, struct buf *out)
{
	while (piece.len > 0) {
		size_t run = 0;

		if (e->cr) {
			bool end = piece.ptr[0] == '\n';

			buf_add_str(out, end ? "\r\n" : " ");
			e->cr = false;
			piece = span_from(piece, end);
			continue;
		}
		while (run < piece.len && piece.ptr[run] != '\r' && piece.ptr[run] != '\n')
			run++;
		buf_add(out, piece.ptr, run);
		if (run < piece.len) {
			e->cr = piece.ptr[run] == '\r';
			if (!e->cr)
				buf_add_str(out, "\r\n");
			run++;
		}
		piece = span_from(piece, run);
	}
}

void mime_encode(struct mime_encoder *e, struct span piece, struct buf *out)
{
	switch (e->encoding) {
	case MIME_ENCODING_BASE64:
		encode_base64(e, piece, out);
		break;
	case MIME_ENCODING_QUOTED_PRINTABLE:
		encode_quoted(e, piece, out);
		break;
	case MIME_ENCODING_NONE:
		copy(e, piece, out);
		break;
	}
}

void mime_encode_end(struct mime_encoder *e, struct buf *out)
{
	if (e->encoding == MIME_ENCODING_BASE64)
		end_base64_line(e, out);
	else if (e->encoding == MIME_ENCODING_QUOTED_PRINTABLE)
		end_quoted(e, out);
	else if (e->cr)
		buf_add_char(out, ' ');
	mime_encoder_init(e, e->encoding);
}
