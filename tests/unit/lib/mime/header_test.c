/* Header fields: folding, contents, addresses, dates, encoded words, parameters. */
#include "tests/unit/test.h"

#include "mime/charset.h"
#include "mime/header.h"
#include "mime/words.h"

#include <stdio.h>
#include <stdlib.h>

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 64 * 1024 * 1024);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

static void fields(void **state)
{
	struct span rest = SPAN_LIT("A: one\r\n two\r\nno field\r\nB : x\r\nC:\r\n\r\nD: body\r\n");
	struct mime_field f;
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	assert_true(mime_field_next(&rest, &f));
	assert_span_equal(f.name, "A");
	assert_span_equal(f.whole, "A: one\r\n two\r\n");
	mime_unfold(f.value, &out);
	assert_span_equal(buf_span(&out), "one two");
	assert_true(mime_field_next(&rest, &f));
	assert_span_equal(f.name, "B");
	assert_true(mime_field_next(&rest, &f));
	assert_span_equal(f.name, "C");
	assert_false(mime_field_next(&rest, &f));
	assert_true(mime_field_find(SPAN_LIT("a: 1\r\nSubject: x\r\n\r\n"), SPAN_LIT("SUBJECT"), &f));
	assert_false(mime_field_find(SPAN_LIT("a: 1\r\n\r\nSubject: x\r\n"), SPAN_LIT("subject"), &f));
	buf_fini(&out);
}

static void contents(void **state)
{
	struct mime_content c;

	(void)state;
	assert_true(mime_content_parse(SPAN_LIT(" Multipart/Mixed (comment); boundary=\"a;b\\\"c\"; Charset = utf-8 ; x"), pool, &c));
	assert_true(span_caseeq(c.type, SPAN_LIT("multipart")) && span_caseeq(c.subtype, SPAN_LIT("mixed")));
	assert_span_equal(mime_content_parameter(&c, SPAN_LIT("BOUNDARY")), "a;b\"c");
	assert_span_equal(mime_content_parameter(&c, SPAN_LIT("charset")), "utf-8");
	assert_int_equal(mime_content_parameter(&c, SPAN_LIT("none")).len, 0);
	assert_false(mime_content_parse(SPAN_LIT("  "), pool, &c));
}

static void addresses(void **state)
{
	struct mime_address *list;
	size_t n = mime_addresses_parse(SPAN_LIT("\"Smith, J.\" <j@a.test>, (comment) bob@b.test (Bob),\r\n A Group: x@c.test, <y@c.test>;, <@r.test:z@d.test>"), pool, &list);

	(void)state;
	assert_int_equal(n, 7);
	assert_span_equal(list[0].name, "Smith, J.");
	assert_span_equal(list[0].mailbox, "j");
	assert_span_equal(list[0].host, "a.test");
	assert_span_equal(list[1].mailbox, "bob");
	assert_int_equal(list[2].kind, MIME_GROUP_BEGIN);
	assert_span_equal(list[2].name, "A Group");
	assert_span_equal(list[3].mailbox, "x");
	assert_int_equal(list[5].kind, MIME_GROUP_END);
	assert_span_equal(list[6].mailbox, "z");
}

static void malformed_addresses_end(void **state)
{
	static const char *const odd[] = {"", ",,,,", "<", ">", "\"", "(((((", "a@", "@b", "x: y: z;", "<<>>", "a b c d", ";", "\\", "a\xff@b"};
	struct mime_address *list;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_true(mime_addresses_parse(span_str(odd[i]), pool, &list) <= 20);
}

static void dates(void **state)
{
	static const struct {
		const char *text;
		int64_t when;
	} good[] = {{"Thu, 1 Jan 1970 00:00:00 +0000", 0}, {"1 Jan 1970 01:00 +0100", 0}, {"Tue, 24 Nov 2026 01:02:03 -0500", 1795500123},
	    {"24 Nov 26 01:02:03 EST", 1795500123}, {" Tue , 24\r\n Nov 2026 01:02:03 (x) -0500 (EST)", 1795500123}, {"29 Feb 2024 12:00:00 GMT", 1709208000}};
	static const char *const bad[] = {"", "yesterday", "32 Jan 2020 00:00:00 +0000", "1 Foo 2020 00:00:00 +0000", "1 Jan 2020", "1 Jan 2020 25:00:00 +0000", "Thu,"};
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(mime_date_parse(span_str(good[i].text), &when, NULL));
		assert_int_equal(when, good[i].when);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mime_date_parse(span_str(bad[i]), &when, NULL));
}

static void words(void **state)
{
	static const char *const cases[][2] = {
	    {"plain text", "plain text"},
	    {"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
	    {"=?utf-8?B?w6Q=?=", "\xc3\xa4"},
	    {"=?utf-8?q?a_b?=   =?utf-8?q?c?= d", "a bc d"},
	    {"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "\xc3\xa4"},		   /* a character in two words */
	    {"=?utf-8*en?Q?x?=", "x"},
	    {"=?x?Q?=?=", "="}, /* no escape, but a word */
	    {"=?utf-8?X?a?=", "=?utf-8?X?a?="},
	    {"=?utf-8?Q?a", "=?utf-8?Q?a"},
	    {"a = b", "a = b"},
	    {"=?klingon?Q?ok?=", "ok"},
	};
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	mime_charset_preload();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&out);
		mime_words_decode(span_str(cases[i][0]), &out);
		assert_string_equal(buf_cstr(&out), cases[i][1]);
	}
	buf_fini(&out);
}

static void a_hundred_thousand_words(void **state)
{
	static const char word[] = "=?utf-8?q?=41?= ";
	char *text = malloc(100000 * (sizeof(word) - 1) + 1);
	struct buf out;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < 100000; i++)
		memcpy(text + i * (sizeof(word) - 1), word, sizeof(word));
	buf_init(&out, 1024 * 1024);
	mime_words_decode(span_str(text), &out);
	assert_int_equal(buf_len(&out), 100001); /* and the last blank */
	buf_fini(&out);
	free(text);
}

static struct span parameter(const char *value, const char *name)
{
	struct mime_content c;

	assert_true(mime_content_parse(span_str(value), pool, &c));
	return mime_parameter_decode(&c, span_str(name), pool);
}

static void parameters(void **state)
{
	(void)state;
	assert_span_equal(parameter("attachment; filename=plain.txt", "filename"), "plain.txt");
	assert_span_equal(parameter("x/y; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"", "title"),
	    "This is even more ***fun*** isn't it!");
	assert_span_equal(parameter("x/y; name*=utf-8''%e2%82%ac%20rates", "name"), "\xe2\x82\xac rates");
	assert_span_equal(parameter("x/y; name=\"=?utf-8?q?=C3=A4?=\"", "name"), "\xc3\xa4");
	assert_span_equal(parameter("x/y; name*1=b; name*0=a; name*3=d", "name"), "ab"); /* a gap ends it */
	assert_span_equal(parameter("x/y; name*=%zz", "name"), "%zz");
	assert_int_equal(parameter("x/y", "name").len, 0);
}

static struct span to_utf8(struct buf *out, const char *charset, struct span text)
{
	buf_clear(out);
	mime_to_utf8(span_str(charset), text, out);
	return buf_span(out);
}

static void charsets(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	mime_charset_preload();
	assert_span_equal(to_utf8(&out, "ISO-8859-1", SPAN_LIT("\xe4")), "\xc3\xa4");
	assert_span_equal(to_utf8(&out, "windows-1251", SPAN_LIT("\xcf\xf0")), "\xd0\x9f\xd1\x80");
	assert_span_equal(to_utf8(&out, "iso-2022-jp", SPAN_LIT("\x1b$BF|\x1b(B")), "\xe6\x97\xa5");
	assert_span_equal(to_utf8(&out, "utf-8", SPAN_LIT("a\xffz")), "a\xef\xbf\xbdz");
	assert_span_equal(to_utf8(&out, "", SPAN_LIT("plain")), "plain");
	assert_span_equal(to_utf8(&out, "no-such", SPAN_LIT("\xc3\xa4")), "\xc3\xa4");
	assert_span_equal(to_utf8(&out, "no-such", SPAN_LIT("\xe4")), "\xc3\xa4");
	assert_false(mime_charset_is_known(SPAN_LIT("../../etc/passwd")));
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(fields, setup, teardown),
	    cmocka_unit_test_setup_teardown(contents, setup, teardown),
	    cmocka_unit_test_setup_teardown(addresses, setup, teardown),
	    cmocka_unit_test_setup_teardown(malformed_addresses_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(dates, setup, teardown),
	    cmocka_unit_test_setup_teardown(words, setup, teardown),
	    cmocka_unit_test(a_hundred_thousand_words),
	    cmocka_unit_test_setup_teardown(parameters, setup, teardown),
	    cmocka_unit_test(charsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
