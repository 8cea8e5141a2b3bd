/*
 * Replies of servers. What is read does not depend on how the octets arrive, is bounded, and is fit to be shown.
 *
 * Input: a byte for the pieces, then what the server says.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "smtp/reply.h"

#include <stdlib.h>

static void look_at(const struct smtp_client_reply *reply)
{
	struct span text = span_str(reply->text), enhanced = span_str(reply->enhanced);

	fuzz_assert(reply->code >= 200 && reply->code <= 599);
	fuzz_assert(text.len <= SMTP_REPLY_TEXT_MAX && enhanced.len < SMTP_ENHANCED_MAX && utf8_is_valid(text));
	for (size_t i = 0; i < text.len; i++)
		fuzz_assert((unsigned char)text.ptr[i] >= ' ' && text.ptr[i] != 0x7f);
	fuzz_assert(enhanced.len == 0 || (enhanced.len >= 5 && enhanced.ptr[0] == '0' + reply->code / 100 && enhanced.ptr[1] == '.'));
	for (size_t i = 0; i < enhanced.len; i++)
		fuzz_assert(ascii_is_digit(enhanced.ptr[i]) || enhanced.ptr[i] == '.');
}

/* All lines that are there; false when it is over. */
static bool read_lines(struct smtp_reply_reader *reader, struct buf *in, struct buf *log)
{
	for (;;) {
		char *copy = fuzz_copy(buf_span(in));
		struct span input = span_of(copy, buf_len(in)), text;
		struct err err = {0};
		bool last;
		int r = smtp_reply_next(reader, &input, &text, &last, &err);

		if (r == 1) {
			fuzz_assert(text.len == 0 || fuzz_within(span_of(copy, buf_len(in)), text));
			buf_printf(log, "%d %.*s%s\n", reader->reply.code, SPAN_ARG(text), last ? " end" : "");
		}
		if (r == 1 && last) {
			look_at(&reader->reply);
			buf_printf(log, "%s %s\n", reader->reply.enhanced, reader->reply.text);
		}
		fuzz_assert(r >= 0 || (r == E_REMOTE && err.code == E_REMOTE && err.text[0] != '\0'));
		if (r < 0)
			buf_printf(log, "%s\n", err.text);
		fuzz_assert(reader->octets <= SMTP_REPLY_MAX && (r != 1 || input.len < buf_len(in)));
		buf_take(in, buf_len(in) - input.len);
		free(copy);
		/* A connection's buffer need not hold more. */
		fuzz_assert(r != 0 || buf_len(in) < SMTP_REPLY_LINE_MAX);
		if (r != 1)
			return r == 0;
	}
}

static void read_all(struct span text, unsigned seed, bool whole, struct buf *log)
{
	struct smtp_reply_reader reader = {0};
	struct fuzz_pieces pieces;
	struct span piece;
	struct buf in;
	bool going = true;

	buf_init(&in, 4 * 1024 * 1024);
	if (whole) {
		buf_add_span(&in, text);
		read_lines(&reader, &in, log);
	} else {
		fuzz_pieces_init(&pieces, text, seed);
		while (fuzz_pieces_next(&pieces, &piece)) {
			if (!going)
				continue;
			buf_add_span(&in, piece);
			going = read_lines(&reader, &in, log);
		}
	}
	buf_fini(&in);
}

void fuzz_one(struct span input)
{
	unsigned seed = fuzz_byte(&input);
	struct buf text, one, other;

	buf_init(&text, 256 * 1024);
	buf_init(&one, 4 * 1024 * 1024);
	buf_init(&other, 4 * 1024 * 1024);
	fuzz_expand(input, &text);
	read_all(buf_span(&text), seed, true, &one);
	read_all(buf_span(&text), seed, false, &other);
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	buf_fini(&text);
	buf_fini(&one);
	buf_fini(&other);
}
