/*
 * Line ends and dots (RFC 5321 section 4.5.2): a message is understood or refused
 * as one look at the whole of it says, in whatever pieces it comes.
 *
 * Input: a byte for the pieces, then what follows the 354.
 */
#include "tests/fuzz/fuzz.h"

#include "smtp/framing.h"

enum { LINE_MAX_HERE = 200 };

struct result {
	int code; /* 0, E_SYNTAX, E_TOOBIG */
	bool ended;
	size_t left; /* of the input, behind the end */
	struct buf content;
};

/* A line that begins with a dot. True when i stands on its first octet that counts. */
static bool understand_dot(struct span in, size_t i, struct result *out)
{
	struct span behind = span_from(in, i + 1);

	if (behind.len == 0 || (behind.len == 1 && behind.ptr[0] == '\r'))
		return false; /* what follows decides */
	if (behind.ptr[0] != '\r')
		return true;
	out->ended = behind.ptr[1] == '\n';
	out->code = out->ended ? 0 : E_SYNTAX;
	out->left = behind.len - 2;
	return false;
}

/* The plain definition, octet by octet: what is wrong first decides. */
static void understand(struct span in, struct result *out)
{
	bool line_start = true;
	size_t line = 0;

	for (size_t i = 0; i < in.len && out->code == 0; i++) {
		char c = in.ptr[i];

		if (line_start && c == '.') {
			if (!understand_dot(in, i, out))
				break;
			line_start = false;
			continue;
		}
		line_start = false;
		if (c != '\n' && ++line > LINE_MAX_HERE) {
			out->code = E_TOOBIG;
		} else if (c == '\0' || c == '\n' || (c == '\r' && i + 1 < in.len && in.ptr[i + 1] != '\n')) {
			out->code = E_SYNTAX;
		} else if (c != '\r') {
			buf_add_char(&out->content, c);
		} else if (i + 1 < in.len) {
			buf_add_str(&out->content, "\r\n");
			line = 0;
			line_start = true;
			i++;
		}
	}
}

static void take_piece(struct smtp_frame *frame, struct span piece, struct result *out)
{
	while (piece.len > 0 && out->code == 0 && frame->state != FRAME_END) {
		size_t before = piece.len;
		struct span bytes;
		struct err err;

		out->code = smtp_frame_next(frame, &piece, &bytes, &err);
		fuzz_assert(out->code == 0 || out->code == E_SYNTAX || out->code == E_TOOBIG);
		fuzz_assert(out->code != 0 || piece.len < before);
		if (out->code == 0)
			buf_add_span(&out->content, bytes);
	}
	out->left = piece.len;
	out->ended = out->code == 0 && frame->state == FRAME_END;
}

static void frame_pieces(struct span in, unsigned seed, bool whole, struct result *out)
{
	struct smtp_frame frame = {.state = FRAME_LINE_START, .line_max = LINE_MAX_HERE};
	struct fuzz_pieces pieces;
	struct span piece;

	if (whole) {
		take_piece(&frame, in, out);
		return;
	}
	fuzz_pieces_init(&pieces, in, seed);
	while (fuzz_pieces_next(&pieces, &piece))
		if (out->code == 0 && !out->ended) {
			take_piece(&frame, piece, out);
			out->left += pieces.rest.len;
		}
}

static void compare(const struct result *expected, const struct result *got)
{
	fuzz_assert(got->code == expected->code);
	fuzz_assert(got->ended == expected->ended);
	if (got->ended)
		fuzz_assert(got->left == expected->left);
	/* Up to what is wrong, but for a CR or dot whose meaning is open. */
	fuzz_assert_same(buf_span(&expected->content), buf_span(&got->content));
}

/* Command lines: by their line ends, however the input is cut. */
static void take_lines(struct span in)
{
	while (in.len > 0) {
		struct span before = in, line = {0};
		size_t end = span_find(in, '\n');
		struct err err;
		int r = smtp_line_next(&in, &line, &err);

		if (end == before.len) {
			fuzz_assert(r == 0 && in.len == before.len);
			return;
		}
		fuzz_assert((r == 1 || r == E_SYNTAX) && in.len == before.len - end - 1);
		if (r == 1)
			fuzz_assert(line.ptr == before.ptr && line.len + 1 == end && memchr(line.ptr, '\r', line.len) == NULL &&
				    memchr(line.ptr, '\0', line.len) == NULL);
	}
}

void fuzz_one(struct span input)
{
	unsigned seed = fuzz_byte(&input);
	struct result expected = {0}, whole = {0}, pieces = {0};
	struct buf text;

	buf_init(&text, 64 * 1024);
	buf_init(&expected.content, 1024 * 1024);
	buf_init(&whole.content, 1024 * 1024);
	buf_init(&pieces.content, 1024 * 1024);
	fuzz_expand(input, &text);
	understand(buf_span(&text), &expected);
	frame_pieces(buf_span(&text), seed, true, &whole);
	frame_pieces(buf_span(&text), seed, false, &pieces);
	compare(&expected, &whole);
	compare(&expected, &pieces);
	take_lines(buf_span(&text));
	buf_fini(&pieces.content);
	buf_fini(&whole.content);
	buf_fini(&expected.content);
	buf_fini(&text);
}
