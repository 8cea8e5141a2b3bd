/*
 * Text to lines (local/lines.h): however it is cut it gives the same; every line ends in CR LF, no CR or LF is alone, no NUL
 * is left; what came out gives itself again.
 *
 * Input: an octet of flags (1 a dot ends it, 2 lines of an mbox are left out), one that says where it is cut, the text.
 */
#include "tests/fuzz/fuzz.h"

#include "local/lines.h"

static void run(struct span text, size_t cut, unsigned flags, struct buf *out)
{
	struct lines lines = {.dot_ends = flags & 1, .from_skip = flags & 2};

	buf_init(out, 2 * text.len + 16);
	lines_feed(&lines, span_sub(text, 0, cut), out);
	lines_feed(&lines, span_from(text, cut), out);
	lines_end(&lines, out);
	fuzz_assert(!buf_failed(out));
}

void fuzz_one(struct span input)
{
	struct span text = span_from(input, 2), result;
	struct buf whole, cut, again;

	if (input.len < 2)
		return;
	run(text, 0, (unsigned char)input.ptr[0], &whole);
	run(text, (unsigned char)input.ptr[1], (unsigned char)input.ptr[0], &cut);
	fuzz_assert_same(buf_span(&whole), buf_span(&cut));
	result = buf_span(&whole);
	fuzz_assert(result.len == 0 || result.ptr[result.len - 1] == '\n');
	for (size_t i = 0; i < result.len; i++) {
		fuzz_assert(result.ptr[i] != '\0');
		fuzz_assert(result.ptr[i] != '\n' || (i > 0 && result.ptr[i - 1] == '\r'));
		fuzz_assert(result.ptr[i] != '\r' || (i + 1 < result.len && result.ptr[i + 1] == '\n'));
	}
	run(result, result.len / 2, 0, &again);
	fuzz_assert_same(result, buf_span(&again));
	buf_fini(&whole);
	buf_fini(&cut);
	buf_fini(&again);
}
