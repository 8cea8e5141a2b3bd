/* Any text becomes lines that end in CR LF, however it is cut into pieces. */
#include "local/lines.h"
#include "tests/unit/test.h"

static const struct {
	const char *in;
	size_t len;
	bool dot, from;
	const char *out;
} rows[] = {
#define ROW(in, dot, from, out) {in, sizeof(in) - 1, dot, from, out}
    ROW("", true, true, ""),
    ROW("a\nb\r\nc", false, false, "a\r\nb\r\nc\r\n"),
    ROW("a\rb\r", false, false, "a b\r\n"),
    ROW("\r\r\n", false, false, " \r\n"),
    ROW("\n\n", false, false, "\r\n\r\n"),
    ROW("a\0b\r\0\n", false, false, "ab\r\n"),
    ROW("a\n.\nb\n", true, false, "a\r\n"),
    ROW("a\n.\nb\n", false, false, "a\r\n.\r\nb\r\n"),
    ROW("a\n.", true, false, "a\r\n"),
    ROW("a\n.\r\nb", true, false, "a\r\n"),
    ROW(".\n", true, true, ""),
    ROW("..\n.a\na.\n", true, false, "..\r\n.a\r\na.\r\n"),
    ROW(".\ra\n", true, false, ". a\r\n"),
    ROW("From a\n>From b\nTo: c\nFrom d\n", true, true, "To: c\r\nFrom d\r\n"),
    ROW("From a\n", false, false, "From a\r\n"),
    ROW("From: a\n", true, true, "From: a\r\n"),
    ROW("Fro", true, true, "Fro\r\n"),
    ROW(">\n", true, true, ">\r\n"),
    ROW("\nFrom a\n", true, true, "\r\nFrom a\r\n"),
    ROW("From a\n.\nTo: c\n", true, true, ""),
    ROW("From a\n\nx\n", true, true, "\r\nx\r\n"),
#undef ROW
};

static void check(size_t row, size_t first, size_t second)
{
	struct lines lines = {.dot_ends = rows[row].dot, .from_skip = rows[row].from};
	struct span text = span_of(rows[row].in, rows[row].len);
	struct buf out;

	buf_init(&out, 4096);
	lines_feed(&lines, span_sub(text, 0, first), &out);
	lines_feed(&lines, span_sub(text, first, second - first), &out);
	lines_feed(&lines, span_from(text, second), &out);
	lines_end(&lines, &out);
	if (!span_eq(buf_span(&out), span_str(rows[row].out)))
		fail_msg("row %zu, cut at %zu and %zu:\n%.*s\nnot\n%s", row, first, second, SPAN_ARG(buf_span(&out)), rows[row].out);
	buf_fini(&out);
}

static void lines_end_in_cr_lf_in_all_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t first = 0; first <= rows[i].len; first++)
			for (size_t second = first; second <= rows[i].len; second++)
				check(i, first, second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lines_end_in_cr_lf_in_all_pieces)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
