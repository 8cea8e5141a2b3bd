/* The layer that sees line ends: every short text, at every split into two, is understood as it is in one piece. */
#include "tests/unit/test.h"

#include "smtp/framing.h"

#include <stdio.h>
#include <stdlib.h>

/* What became of an input: the message's bytes, how it ended, what was left for the next command. */
struct result {
	int code;
	bool end;
	char out[64];
	size_t out_len, left;
};

static struct result run(const char *bytes, size_t len, size_t split, size_t line_max)
{
	struct smtp_frame frame = {.line_max = line_max};
	struct result r = {0};
	size_t at = 0;

	for (int part = 0; part < 2 && r.code == 0 && !r.end; part++) {
		size_t stop = part == 0 ? split : len;
		char *piece = malloc(stop - at + 1); /* of its size, so that a sanitizer sees the end */
		struct span input = span_of(piece, stop - at);

		memcpy(piece, bytes + at, stop - at);
		while (input.len > 0 && r.code == 0 && !r.end) {
			struct span out;
			size_t before = input.len;

			r.code = smtp_frame_next(&frame, &input, &out, NULL);
			if (r.code != 0)
				break;
			assert_true(input.len < before);
			memcpy(r.out + r.out_len, out.ptr, out.len);
			r.out_len += out.len;
			r.end = frame.state == FRAME_END;
		}
		at = stop - input.len;
		free(piece);
	}
	r.left = len - at;
	return r;
}

/* The same by the book, a byte at a time and slowly. */
static struct result by_the_book(const char *bytes, size_t len)
{
	struct result r = {0};
	size_t line = 0, i = 0;

	while (i < len) {
		size_t lf = i;

		while (lf < len && bytes[lf] != '\n')
			lf++;
		line = i;
		for (size_t k = line; k < lf; k++)
			if (bytes[k] == '\0' || (bytes[k] == '\r' && k + 1 < len && bytes[k + 1] != '\n'))
				r.code = E_SYNTAX;
		if (lf < len && (lf == line || bytes[lf - 1] != '\r'))
			r.code = E_SYNTAX;
		if (r.code != 0)
			return r;
		if (lf < len && lf - line == 2 && bytes[line] == '.') {
			r.end = true;
			r.left = len - lf - 1;
			return r;
		}
		for (size_t k = line + (bytes[line] == '.'); k < lf + (lf < len); k++)
			r.out[r.out_len++] = bytes[k];
		i = lf + 1;
	}
	/* A CR at the very end waits for its LF. */
	if (len > 0 && bytes[len - 1] == '\r')
		r.out_len--;
	return r;
}

static void show(const char *what, const char *bytes, size_t len, size_t split)
{
	fprintf(stderr, "%s, split at %zu:", what, split);
	for (size_t i = 0; i < len; i++)
		fprintf(stderr, " %02x", (unsigned char)bytes[i]);
	fprintf(stderr, "\n");
}

static void check_all(const char *alphabet, size_t letters, size_t length)
{
	char bytes[8] = {0};
	size_t combinations = 1;

	for (size_t i = 0; i < length; i++)
		combinations *= letters;
	for (size_t n = 0; n < combinations; n++) {
		struct result want;

		for (size_t i = 0, rest = n; i < length; i++, rest /= letters)
			bytes[i] = alphabet[rest % letters];
		want = by_the_book(bytes, length);
		for (size_t split = 0; split <= length; split++) {
			struct result got = run(bytes, length, split, 1000);
			bool same = got.code == want.code && got.end == want.end;

			if (same && want.code == 0)
				same = got.left == want.left && got.out_len == want.out_len &&
				       memcmp(got.out, want.out, want.out_len) == 0;
			if (!same) {
				show("differs", bytes, length, split);
				fail();
			}
		}
	}
}

static void every_short_text_at_every_split(void **state)
{
	(void)state;
	for (size_t length = 0; length <= 7; length++)
		check_all("\r\n.a", 4, length);
	for (size_t length = 0; length <= 5; length++)
		check_all("\r\n.a\0", 5, length);
}

/* The limit counts a line's octets with its CR, without the dot that was added, wherever the segments end. */
static void the_line_limit_does_not_depend_on_segments(void **state)
{
	static const struct {
		const char *text;
		int code;
	} rows[] = {{"aaaaaaa\r\n", 0}, {"aaaaaaaa\r\n", E_TOOBIG}, {".aaaaaaa\r\n", 0}, {".aaaaaaaa\r\n", E_TOOBIG},
	    {"aaaaaaa\r\naaaaaaa\r\n", 0}, {"a\r\naaaaaaaa\r\n", E_TOOBIG}, {"aaaaaaaaa", E_TOOBIG}, {"aaaaaaaa", 0},
	    /* What is wrong first decides. */
	    {"aaaa\raaaaaa\r\n", E_SYNTAX}, {"aaaaaaaaa\ra\r\n", E_TOOBIG}, {"a\r\na\na\r\naaaaaaaaaa", E_SYNTAX}, {"aaaaaaa\ra", E_SYNTAX},
	    {"aaaaaaaa\n", E_SYNTAX}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t split = 0, len = strlen(rows[i].text); split <= len; split++)
			assert_int_equal(run(rows[i].text, len, split, 8).code, rows[i].code);
}

/* The known smuggling sequences (2023): none ends the message, all end the session. */
static void smuggled_ends_are_refused(void **state)
{
	static const char *const rows[] = {"a\n.\n", "a\n.\r\n", "a\r.\r", "a\r.\r\n", "a\r\n.\n", "a\r\n.\rx", "a\r\n\r.\r\n", "a\n\n.\n\n",
	    "a\r\r\n.\r\n", "a\r\n\r\r.\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t split = 0, len = strlen(rows[i]); split <= len; split++) {
			struct result r = run(rows[i], len, split, 1000);

			assert_int_equal(r.code, E_SYNTAX);
			assert_false(r.end);
		}
	assert_int_equal(run("a\r\n\0.\r\n", 7, 0, 1000).code, E_SYNTAX);
}

static void command_lines_end_in_crlf(void **state)
{
	struct span input = SPAN_LIT("NOOP\r\n\r\nQUIT\r\nrest"), line;
	static const struct {
		struct span text;
		int code;
	} rows[] = {{SPAN_LIT(""), 0}, {SPAN_LIT("NOOP"), 0}, {SPAN_LIT("NOOP\r"), 0}, {SPAN_LIT("a\rb"), 0}, {SPAN_LIT("NOOP\n"), E_SYNTAX},
	    {SPAN_LIT("\n"), E_SYNTAX}, {SPAN_LIT("\r\n"), 1}, {SPAN_LIT("NO\rOP\r\n"), E_SYNTAX}, {SPAN_LIT("NOOP\r\r\n"), E_SYNTAX},
	    {SPAN_LIT("NO\0OP\r\n"), E_SYNTAX}, {SPAN_LIT("\377\r\n"), 1}};

	(void)state;
	assert_int_equal(smtp_line_next(&input, &line, NULL), 1);
	assert_span_equal(line, "NOOP");
	assert_int_equal(smtp_line_next(&input, &line, NULL), 1);
	assert_span_equal(line, "");
	assert_int_equal(smtp_line_next(&input, &line, NULL), 1);
	assert_span_equal(line, "QUIT");
	assert_int_equal(smtp_line_next(&input, &line, NULL), 0);
	assert_span_equal(input, "rest");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		input = rows[i].text;
		assert_int_equal(smtp_line_next(&input, &line, NULL), rows[i].code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_short_text_at_every_split),
	    cmocka_unit_test(the_line_limit_does_not_depend_on_segments),
	    cmocka_unit_test(smuggled_ends_are_refused),
	    cmocka_unit_test(command_lines_end_in_crlf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
