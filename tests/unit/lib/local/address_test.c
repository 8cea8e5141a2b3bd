/* Names get the domain of this machine; a From is written for who has none. */
#include "local/address.h"
#include "tests/unit/test.h"

static void names_get_a_domain(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {{"root", "root@here.test"}, {"alice@example.com", "alice@example.com"}, {" <alice@example.com> ", "alice@example.com"}, {"", ""}, {"<>", ""},
	    {"\"a@b\"", "\"a@b\"@here.test"}, {"\"a\\\"@\"", "\"a\\\"@\"@here.test"}, {"a b", NULL}, {"a@", NULL}, {"a@b>c", NULL}, {"a>, <b", NULL}, {"a\nb", NULL},
	    {"\xc3\xa4@example.com", "\xc3\xa4@example.com"}, {"\xff@example.com", NULL}};
	char out[SMTP_PATH_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err;
		int r = local_address(span_str(rows[i].in), SPAN_LIT("here.test"), out, &err);

		if ((r == 0) != (rows[i].out != NULL) || (r == 0 && strcmp(out, rows[i].out) != 0))
			fail_msg("%s: %d %s", rows[i].in, r, r == 0 ? out : err.text);
	}
}

static void long_names_are_refused(void **state)
{
	char name[3000], out[SMTP_PATH_MAX + 1];
	struct err err;

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_int_equal(local_address(span_of(name, sizeof(name)), SPAN_LIT("here.test"), out, &err), E_SYNTAX);
	assert_int_equal(local_address(span_of(name, 65), SPAN_LIT("here.test"), out, &err), E_SYNTAX);
	assert_int_equal(local_address(span_of(name, 64), SPAN_LIT("here.test"), out, &err), 0);
}

static void from_is_quoted_or_encoded(void **state)
{
	static const struct {
		const char *name, *out;
	} rows[] = {{"", "a@b.test"}, {" ", "a@b.test"}, {"CronDaemon", "CronDaemon <a@b.test>"}, {"Alice Example", "Alice Example <a@b.test>"},
	    {"Example, Alice", "\"Example, Alice\" <a@b.test>"}, {"a \"b\" \\", "\"a \\\"b\\\" \\\\\" <a@b.test>"}, {"a\r\nBcc: x", "\"aBcc: x\" <a@b.test>"},
	    {"\xc3\x84", "=?UTF-8?B?w4Q=?= <a@b.test>"}, {"a\xff" "b", "ab <a@b.test>"}};
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_init(&out, 2048);
		local_from(span_str(rows[i].name), SPAN_LIT("a@b.test"), &out);
		if (!span_eq(buf_span(&out), span_str(rows[i].out)))
			fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&out)));
		buf_fini(&out);
	}
}

static void long_names_take_several_words(void **state)
{
	char name[200];
	struct span rest;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	buf_init(&out, 2048);
	local_from(span_of(name, sizeof(name)), SPAN_LIT("a@b.test"), &out);
	rest = buf_span(&out);
	while (rest.len > 0) {
		size_t end = span_find(rest, '\n');

		assert_true(end <= 90); /* a word is at most 75, the last line has the address too */
		rest = span_from(rest, end + 1);
	}
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_get_a_domain),
	    cmocka_unit_test(long_names_are_refused),
	    cmocka_unit_test(from_is_quoted_or_encoded),
	    cmocka_unit_test(long_names_take_several_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
