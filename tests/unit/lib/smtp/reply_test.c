/* Replies of servers: what is one, what is kept of it, and where it ends the session. */
#include "tests/unit/test.h"

#include "smtp/reply.h"

#include <stdio.h>
#include <stdlib.h>

struct read {
	struct smtp_reply_reader reader;
	struct err err;
	int r;
	unsigned lines;
	bool last;
};

/* Up to the end of a reply, an error, or of the input; in pieces that end at `cut`. */
static void read_cut(struct read *out, struct span text, size_t cut)
{
	size_t given = cut, taken = 0;

	*out = (struct read){0};
	for (;;) {
		struct span input = span_sub(text, taken, given - taken), before = input, line;
		char *copy = malloc(input.len + 1);

		if (input.len > 0)
			memcpy(copy, input.ptr, input.len);
		input.ptr = copy;
		out->r = smtp_reply_next(&out->reader, &input, &line, &out->last, &out->err);
		free(copy);
		taken += before.len - input.len;
		out->lines += out->r == 1;
		if (out->r < 0 || (out->r == 1 && out->last) || (out->r == 0 && given == text.len))
			return;
		if (out->r == 0)
			given = text.len;
	}
}

static void read_text(struct read *out, struct span text)
{
	read_cut(out, text, text.len);
}

static void replies_are_read(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *enhanced, *kept;
		unsigned lines;
	} rows[] = {
	    {"250 ok\r\n", 250, "", "ok", 1},
	    {"250\r\n", 250, "", "", 1},
	    {"250 \r\n", 250, "", "", 1},
	    {"250-a\r\n250-\r\n250 b\r\n", 250, "", "a b", 3},
	    {"250-\r\n250\r\n", 250, "", "", 2},
	    {"550 5.1.1 no such user\r\n", 550, "5.1.1", "no such user", 1},
	    {"550 5.7.999\r\n", 550, "5.7.999", "", 1},
	    {"550-5.1.1 no\r\n550 5.1.1 user\r\n", 550, "5.1.1", "no user", 2},
	    {"550-5.1.1 no\r\n550 5.2.2 user\r\n", 550, "5.1.1", "no user", 2},
	    {"550 4.1.1 no\r\n", 550, "", "4.1.1 no", 1},
	    {"550 5.1 no\r\n", 550, "", "5.1 no", 1},
	    {"550 5.1.1.1 no\r\n", 550, "", "5.1.1.1 no", 1},
	    {"550 5.1234.1 no\r\n", 550, "", "5.1234.1 no", 1},
	    {"550 5.1.1: no\r\n", 550, "", "5.1.1: no", 1},
	    {"550 5..1 no\r\n", 550, "", "5..1 no", 1},
	    {"550 5.. no\r\n", 550, "", "5.. no", 1},
	    {"599 a\tb\033[1m\177\r\n", 599, "", "a b?[1m?", 1},
	    {"450 j\303\266 \377 \302\205\r\n", 450, "", "j\303\266 ? ?", 1},
	    {"200 -\r\n", 200, "", "-", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span text = span_str(rows[i].text);

		for (size_t cut = 0; cut <= text.len; cut++) {
			struct read got;

			read_cut(&got, text, cut);
			assert_int_equal(got.r, 1);
			assert_true(got.last);
			assert_int_equal(got.lines, rows[i].lines);
			assert_int_equal(got.reader.reply.code, rows[i].code);
			assert_string_equal(got.reader.reply.enhanced, rows[i].enhanced);
			assert_string_equal(got.reader.reply.text, rows[i].kept);
		}
	}
}

static void what_is_no_reply_ends_it(void **state)
{
	static const struct span rows[] = {SPAN_LIT("\r\n"), SPAN_LIT(" 250 ok\r\n"), SPAN_LIT("25 ok\r\n"), SPAN_LIT("2500 ok\r\n"), SPAN_LIT("250_ok\r\n"),
	    SPAN_LIT("199 ok\r\n"), SPAN_LIT("600 ok\r\n"), SPAN_LIT("2x0 ok\r\n"), SPAN_LIT("25\r\n"), SPAN_LIT("250 a\n"), SPAN_LIT("\n"),
	    SPAN_LIT("250 a\rb\r\n"), SPAN_LIT("250 a\r\r\n"), SPAN_LIT("250 a\0b\r\n"), SPAN_LIT("\0250 a\r\n"), SPAN_LIT("250-a\r\n251 b\r\n"),
	    SPAN_LIT("250-a\r\nb\r\n"), SPAN_LIT("250-a\r\n\r\n"), SPAN_LIT("\377\376\r\n"), SPAN_LIT("HTTP/1.1 400 Bad Request\r\n"),
	    SPAN_LIT("\025\003\001\n"), SPAN_LIT("SSH-2.0-x\r\n"), SPAN_LIT("250-a\r\n250 b\n"), SPAN_LIT("-250 a\r\n"), SPAN_LIT("2\2650 a\r\n")};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t cut = 0; cut <= rows[i].len; cut++) {
			struct read got;

			read_cut(&got, rows[i], cut);
			assert_int_equal(got.r, E_REMOTE);
			assert_int_equal(got.err.code, E_REMOTE);
			assert_true(strlen(got.err.text) > 10);
		}
}

static void lines_have_an_end(void **state)
{
	char line[SMTP_REPLY_LINE_MAX + 1];
	struct read got;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "250 ", 4);
	/* as long as may be */
	memcpy(line + SMTP_REPLY_LINE_MAX - 2, "\r\n", 2);
	for (size_t cut = SMTP_REPLY_LINE_MAX - 4; cut <= SMTP_REPLY_LINE_MAX; cut++) {
		read_cut(&got, span_of(line, SMTP_REPLY_LINE_MAX), cut);
		assert_int_equal(got.r, 1);
		assert_int_equal(strlen(got.reader.reply.text), SMTP_REPLY_TEXT_MAX);
	}
	/* one more */
	memcpy(line + SMTP_REPLY_LINE_MAX - 2, "x\r\n", 3);
	for (size_t cut = SMTP_REPLY_LINE_MAX - 4; cut <= SMTP_REPLY_LINE_MAX + 1; cut++) {
		read_cut(&got, span_of(line, SMTP_REPLY_LINE_MAX + 1), cut);
		assert_int_equal(got.r, E_REMOTE);
	}
	read_text(&got, span_of(line, SMTP_REPLY_LINE_MAX - 1));
	assert_int_equal(got.r, 0);
	/* never ended: found out as soon as it is too long */
	read_text(&got, span_of(line, SMTP_REPLY_LINE_MAX));
	assert_int_equal(got.r, E_REMOTE);
}

static void replies_have_an_end(void **state)
{
	struct buf text;
	struct read got;

	(void)state;
	buf_init(&text, 10 * 1024 * 1024);
	while (buf_len(&text) < 1024 * 1024)
		buf_add_str(&text, "250-\r\n");
	read_text(&got, buf_span(&text));
	assert_int_equal(got.r, E_REMOTE);
	assert_true(got.lines <= SMTP_REPLY_MAX / strlen("250-\r\n"));
	buf_fini(&text);
}

/* Characters are not cut in two, and what came behind those left out is not joined to the others. */
static void text_is_cut_off_at_a_character(void **state)
{
	struct buf text;
	struct read got;

	(void)state;
	buf_init(&text, 10000);
	buf_add_str(&text, "250-x");
	for (int i = 0; i < SMTP_REPLY_TEXT_MAX / 2; i++)
		buf_add_str(&text, "\303\266");
	buf_add_str(&text, "\r\n250 y\r\n");
	read_text(&got, buf_span(&text));
	assert_int_equal(got.r, 1);
	assert_int_equal(strlen(got.reader.reply.text), SMTP_REPLY_TEXT_MAX - 1);
	assert_int_equal(got.reader.reply.text[SMTP_REPLY_TEXT_MAX - 2], '\266');
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replies_are_read),
	    cmocka_unit_test(what_is_no_reply_ends_it),
	    cmocka_unit_test(lines_have_an_end),
	    cmocka_unit_test(replies_have_an_end),
	    cmocka_unit_test(text_is_cut_off_at_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
