/* Encoded words (RFC 2047) and parameters (RFC 2231) as people read them. */
#include "tests/unit/test.h"

#include "mime/charset.h"
#include "mime/words.h"

#include <stdlib.h>

static int preload(void **state)
{
	(void)state;
	mime_charset_preload();
	return 0;
}

static void check_words(const char *const (*rows)[2], size_t count)
{
	struct buf out;

	buf_init(&out, 100000);
	for (size_t i = 0; i < count; i++) {
		buf_clear(&out);
		mime_words_decode(span_str(rows[i][0]), &out);
		if (strcmp(buf_cstr(&out), rows[i][1]) != 0)
			fail_msg("%s\n%s\n%s", rows[i][0], buf_cstr(&out), rows[i][1]);
	}
	buf_fini(&out);
}
#define CHECK(rows) check_words(rows, sizeof(rows) / sizeof(rows[0]))

/* RFC 2047 section 8, the table and the fields; RFC 2231 section 5. */
static void the_words_of_the_rfc(void **state)
{
	static const char *const rows[][2] = {
	    {"(=?ISO-8859-1?Q?a?=)", "(a)"},
	    {"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
	    {"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"},
	    {"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"},
	    {"(=?ISO-8859-1?Q?a?=\r\n       =?ISO-8859-1?Q?b?=)", "(ab)"},
	    {"(=?ISO-8859-1?Q?a_b?=)", "(a b)"},
	    {"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"},
	    {"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"},
	    {"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld J\xc3\xb8rn Simonsen <keld@dkuug.dk>"},
	    {"=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard"},
	    {"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n    =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=", "If you can read this you understand the example."},
	    {"=?ISO-8859-1?Q?Olle_J=E4rnefors?=", "Olle J\xc3\xa4rnefors"},
	    {"=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=", "Patrik F\xc3\xa4ltstr\xc3\xb6m"},
	    {"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"},
	};

	(void)state;
	CHECK(rows);
}

static void what_senders_write(void **state)
{
	static const char *const rows[][2] = {
	    /* a character in two words, also of base64 */
	    {"=?utf-8?Q?=E2=82?= =?utf-8?Q?=AC?=", "\xe2\x82\xac"}, {"=?utf-8?B?4oI=?= =?UTF-8?B?rA==?=", "\xe2\x82\xac"},
	    /* side by side without a blank; in the middle of text; a blank within */
	    {"=?utf-8?q?a?==?utf-8?q?b?=", "ab"}, {"x=?utf-8?q?a?=y", "xay"}, {"\"=?utf-8?q?a?=\"", "\"a\""}, {"=?utf-8?q?a b?=", "a b"},
	    /* base64 without padding, in small letters, empty */
	    {"=?utf-8?b?w6Q?=", "\xc3\xa4"}, {"=?utf-8?q?=c3=a4?=", "\xc3\xa4"}, {"=?utf-8?q?" "?=", ""}, {"=?utf-8?b?" "?=x", "x"},
	    /* no escape after all */
	    {"=?utf-8?q?a=?=", "a="}, {"=?utf-8?q?a=4?=", "a=4"}, {"=?utf-8?q?a=XY?=", "a=XY"},
	    /* what is none stays as it is */
	    {"=?utf-8?x?a?=", "=?utf-8?x?a?="}, {"=?utf-8?q?a?", "=?utf-8?q?a?"}, {"=?utf-8?q?a", "=?utf-8?q?a"}, {"=?utf-8?q", "=?utf-8?q"}, {"=?utf-8?", "=?utf-8?"}, {"=?utf-8", "=?utf-8"}, {"=?", "=?"}, {"=", "="},
	    {"=??q?a?=", "=??q?a?="}, {"a == b =? c", "a == b =? c"}, {"=?a?=", "=?a?="}, {"=?utf-8?q?a?b?=", "=?utf-8?q?a?b?="},
	    {"=?0123456789012345678901234567890123456789012345678901234567890123456789?q?a?=", "=?0123456789012345678901234567890123456789012345678901234567890123456789?q?a?="},
	    /* plain octets beyond ASCII: UTF-8 or marked */
	    {"J\xc3\xb6rg", "J\xc3\xb6rg"}, {"J\xf6rg", "J\xef\xbf\xbdrg"}, {"", ""},
	};

	(void)state;
	CHECK(rows);
}

static void a_word_has_an_end_in_sight(void **state)
{
	char text[3000] = "=?utf-8?q?";
	struct buf out;

	(void)state;
	memset(text + 10, 'a', 2000);
	strcpy(text + 2010, "?=");
	buf_init(&out, 10000);
	mime_words_decode(span_str(text), &out);
	assert_string_equal(buf_cstr(&out), text); /* too long to be one */
	buf_clear(&out);
	strcpy(text + 1000, "?=");
	mime_words_decode(span_str(text), &out);
	assert_int_equal(buf_len(&out), 990);
	buf_fini(&out);
}

/* ---- parameters ---- */

static void assert_parameter(const char *value, const char *name, const char *want)
{
	struct pool *pool = pool_new(NULL, 1 << 20);
	struct mime_content c;
	struct span got;

	assert_true(mime_content_parse(span_str(value), pool, &c));
	got = mime_parameter_decode(&c, span_str(name), pool);
	if (!span_eq(got, span_str(want)))
		fail_msg("%s\n%.*s\n%s", value, SPAN_ARG(got), want);
	pool_free(&pool);
}

/* RFC 2231 sections 3, 4 and 4.1. */
static void the_parameters_of_the_rfc(void **state)
{
	(void)state;
	assert_parameter("message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"", "URL", "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar");
	assert_parameter("application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "title", "This is ***fun***");
	assert_parameter("application/x-stuff;\r\n title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2=\"isn't it!\"", "title", "This is even more ***fun*** isn't it!");
}

static void the_parameters_of_senders(void **state)
{
	(void)state;
	assert_parameter("a/b; name=x", "NAME", "x");
	assert_parameter("a/b; Name*=UTF-8''%E2%82%AC", "name", "\xe2\x82\xac");
	assert_parameter("a/b; name*=ISO-8859-1''%E4", "name", "\xc3\xa4");
	assert_parameter("a/b; name*0*=utf-8''%E2%82; name*1*=%AC.txt", "name", "\xe2\x82\xac.txt"); /* cut within a character */
	assert_parameter("a/b; name*1=b; name*0=a", "name", "ab"); /* "in any order" */
	assert_parameter("a/b; name*=''a%20b", "name", "a b");
	assert_parameter("a/b; name*=a%20b", "name", "a b"); /* without charset and language */
	assert_parameter("a/b; name*=utf-8'a", "name", "a");
	assert_parameter("a/b; name*0=a; name*2=c", "name", "a");
	assert_parameter("a/b; name*01=a", "name", "");
	assert_parameter("a/b; name*x=a", "name", "");
	assert_parameter("a/b; namex=a", "name", "");
	assert_parameter("a/b; name*64=a; name*99999999999999999999=b", "name", "");
	assert_parameter("a/b; name*=%4", "name", "%4");
	assert_parameter("a/b; name=\"=?iso-8859-1?q?=E4?=\"", "name", "\xc3\xa4");
	assert_parameter("a/b; name=%41", "name", "%41"); /* only with "*" it is encoded */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_words_of_the_rfc),
	    cmocka_unit_test(what_senders_write),
	    cmocka_unit_test(a_word_has_an_end_in_sight),
	    cmocka_unit_test(the_parameters_of_the_rfc),
	    cmocka_unit_test(the_parameters_of_senders),
	};

	return cmocka_run_group_tests(tests, preload, NULL);
}
