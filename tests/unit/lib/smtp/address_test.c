/* Paths and domains of RFC 5321 section 4.1.2 and 4.1.3, with their hostile relatives. */
#include "tests/unit/test.h"

#include "smtp/address.h"

#include <stdio.h>
#include <stdlib.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { NULL_OK = SMTP_PATH_NULL, UTF8 = SMTP_PATH_UTF8, POSTMASTER = SMTP_PATH_POSTMASTER };

static const struct {
	const char *text;
	unsigned flags;
	int code;
	const char *out;
} paths[] = {
    /* RFC 5321 appendix D and section 4.1.1.3 */
    {"<Smith@bar.com>", 0, 0, "Smith@bar.com"},
    {"<userx@y.foo.org>", 0, 0, "userx@y.foo.org"},
    {"<@hosta.int,@jkl.org:userc@d.bar.org>", 0, 0, "userc@d.bar.org"},
    {"<\"Joe Smith\"@example.org>", 0, 0, "\"Joe Smith\"@example.org"},
    {"<\"Abc@def\"@example.com>", 0, 0, "\"Abc@def\"@example.com"},
    {"<\"Fred\\ Bloggs\"@example.com>", 0, 0, "\"Fred Bloggs\"@example.com"},
    {"<\"Joe.\\\\Blow\"@example.com>", 0, 0, "\"Joe.\\\\Blow\"@example.com"},
    {"<customer/department=shipping@example.com>", 0, 0, "customer/department=shipping@example.com"},
    {"<!def!xyz%abc@example.com>", 0, 0, "!def!xyz%abc@example.com"},
    {"<$A12345@example.com>", 0, 0, "$A12345@example.com"},
    {"<user@[192.0.2.1]>", 0, 0, "user@[192.0.2.1]"},
    {"<user@[IPv6:2001:db8::1]>", 0, 0, "user@[IPv6:2001:db8::1]"},
    {"<a@b>", 0, 0, "a@b"},
    {"<a@xn--bcher-kva.example>", 0, 0, "a@xn--bcher-kva.example"},
    /* One mailbox, one way to write it. */
    {"<\"Smith\"@bar.com>", 0, 0, "Smith@bar.com"},
    {"<\"S\\m\\i\\th\"@bar.com>", 0, 0, "Smith@bar.com"},
    {"<\"a.b\"@bar.com>", 0, 0, "a.b@bar.com"},
    {"<\"a..b\"@bar.com>", 0, 0, "\"a..b\"@bar.com"},
    {"<\".a\"@bar.com>", 0, 0, "\".a\"@bar.com"},
    {"<\"a\\\"b\"@bar.com>", 0, 0, "\"a\\\"b\"@bar.com"},
    {"<\">\"@bar.com>", 0, 0, "\">\"@bar.com"},
    /* The null path and postmaster, where they are allowed. */
    {"<>", NULL_OK, 0, ""},
    {"<>", 0, E_SYNTAX, ""},
    {"<Postmaster>", POSTMASTER, 0, "Postmaster"},
    {"<\"postmaster\">", POSTMASTER, 0, "postmaster"},
    {"<Postmaster>", NULL_OK, E_SYNTAX, ""},
    {"<postmasters>", POSTMASTER, E_SYNTAX, ""},
    /* Malformed. */
    {"", NULL_OK, E_SYNTAX, ""}, {"<", NULL_OK, E_SYNTAX, ""}, {">", NULL_OK, E_SYNTAX, ""}, {"a@b", 0, E_SYNTAX, ""},
    {"<a@b", 0, E_SYNTAX, ""}, {"<<a@b>>", 0, E_SYNTAX, ""}, {"< a@b>", 0, E_SYNTAX, ""}, {"<a @b>", 0, E_SYNTAX, ""},
    {"<a@ b>", 0, E_SYNTAX, ""}, {"<a@b >", 0, E_SYNTAX, ""}, {"<@b>", 0, E_SYNTAX, ""}, {"<a@>", 0, E_SYNTAX, ""},
    {"<a>", 0, E_SYNTAX, ""}, {"<a@b@c>", 0, E_SYNTAX, ""}, {"<.a@b>", 0, E_SYNTAX, ""}, {"<a.@b>", 0, E_SYNTAX, ""},
    {"<a..b@c>", 0, E_SYNTAX, ""}, {"<a@.b>", 0, E_SYNTAX, ""}, {"<a@b.>", 0, E_SYNTAX, ""}, {"<a@b..c>", 0, E_SYNTAX, ""},
    {"<a@-b>", 0, E_SYNTAX, ""}, {"<a@b->", 0, E_SYNTAX, ""}, {"<a@b-.c>", 0, E_SYNTAX, ""}, {"<a@b\\c>", 0, E_SYNTAX, ""},
    {"<a@b:c>", 0, E_SYNTAX, ""}, {"<a@b,c@d>", 0, E_SYNTAX, ""}, {"<a(c)@b>", 0, E_SYNTAX, ""}, {"<\"a@b>", 0, E_SYNTAX, ""},
    {"<\"\"@b>", 0, E_SYNTAX, ""}, {"<\"a\"b@c>", 0, E_SYNTAX, ""}, {"<\"a\\", 0, E_SYNTAX, ""}, {"<\"a\\\">", 0, E_SYNTAX, ""},
    {"<\"a\rb\"@c>", 0, E_SYNTAX, ""}, {"<\"a\\\nb\"@c>", 0, E_SYNTAX, ""}, {"<a\tb@c>", 0, E_SYNTAX, ""},
    {"<a@b\n>", 0, E_SYNTAX, ""}, {"<a@[192.0.2]>", 0, E_SYNTAX, ""}, {"<a@[192.0.2.256]>", 0, E_SYNTAX, ""},
    {"<a@[IPv6:192.0.2.1]>", 0, E_SYNTAX, ""}, {"<a@[2001:db8::1]>", 0, E_SYNTAX, ""}, {"<a@[]>", 0, E_SYNTAX, ""},
    {"<a@[192.0.2.1>", 0, E_SYNTAX, ""}, {"<a@[192.0.2.1]x>", 0, E_SYNTAX, ""}, {"<a@[tag:x]>", 0, E_SYNTAX, ""},
    {"<@a,@b>", 0, E_SYNTAX, ""}, {"<@a:>", 0, E_SYNTAX, ""}, {"<@a:@b:c@d>", 0, E_SYNTAX, ""},
    {"<@:c@d>", 0, E_SYNTAX, ""}, {"<@a..b:c@d>", 0, E_SYNTAX, ""}, {"<@a,b:c@d>", 0, E_SYNTAX, ""}, {"<@a,:c@d>", 0, E_SYNTAX, ""},
    {"<@[192.0.2.1]:c@d>", 0, E_SYNTAX, ""}, {"<@a", 0, E_SYNTAX, ""}, {"<@a:", 0, E_SYNTAX, ""}, {"<@\xc3\xa4:c@d>", 0, E_SYNTAX, ""},
    /* SMTPUTF8 (RFC 6531). */
    {"<j\303\266rg@example.org>", 0, E_UNSUPPORTED, ""},
    {"<j\303\266rg@example.org>", UTF8, 0, "j\303\266rg@example.org"},
    {"<\"j\303\266 rg\"@example.org>", UTF8, 0, "\"j\303\266 rg\"@example.org"},
    {"<a@b\303\274cher.example>", 0, E_UNSUPPORTED, ""},
    {"<a@b\303\274cher.example>", UTF8, 0, "a@b\303\274cher.example"},
    {"<a\377@example.org>", UTF8, E_SYNTAX, ""},
    {"<a@b\377.example>", UTF8, E_SYNTAX, ""},
    {"<a\303@example.org>", UTF8, E_SYNTAX, ""},
    {"<a\300\200@example.org>", UTF8, E_SYNTAX, ""},
};

static void paths_are_parsed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		size_t len = strlen(paths[i].text), used = 0;
		char out[SMTP_PATH_MAX + 1], *text = malloc(len + 1); /* its own, so that a sanitizer sees the end */
		struct err err = {0};
		int code;

		memcpy(text, paths[i].text, len);
		code = smtp_path_parse(span_of(text, len), paths[i].flags, out, &used, &err);
		if (code != paths[i].code || strcmp(out, paths[i].out) != 0)
			fail_msg("%s: %d '%s' %s", paths[i].text, code, out, err.text);
		assert_int_equal(code == 0 ? used : 0, code == 0 ? len : 0);
		assert_int_equal(code != 0, err.text[0] != '\0');
		free(text);
	}
}

/* What is printed is parsed to the same again. */
static void a_parsed_path_is_a_fixed_point(void **state)
{
	char out[SMTP_PATH_MAX + 1], again[SMTP_PATH_MAX + 1], text[SMTP_PATH_MAX + 3];
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (paths[i].code != 0)
			continue;
		assert_int_equal(smtp_path_parse(span_str(paths[i].text), paths[i].flags, out, &used, NULL), 0);
		snprintf(text, sizeof(text), "<%s>", out);
		assert_int_equal(smtp_path_parse(span_str(text), paths[i].flags, again, &used, NULL), 0);
		assert_string_equal(again, out);
	}
}

static void what_follows_is_left_alone(void **state)
{
	char out[SMTP_PATH_MAX + 1];
	size_t used;

	(void)state;
	assert_int_equal(smtp_path_parse(SPAN_LIT("<a@b> SIZE=1 <c@d>"), 0, out, &used, NULL), 0);
	assert_int_equal(used, 5);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<>x"), NULL_OK, out, &used, NULL), 0);
	assert_int_equal(used, 2);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<\"a> b\"@c> d"), 0, out, &used, NULL), 0);
	assert_int_equal(used, 10);
	assert_string_equal(out, "\"a> b\"@c");
}

static void a_nul_is_never_part_of_it(void **state)
{
	char out[SMTP_PATH_MAX + 1];
	size_t used;

	(void)state;
	assert_int_equal(smtp_path_parse(SPAN_LIT("<a\0@b>"), 0, out, &used, NULL), E_SYNTAX);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<\"a\0\"@b>"), 0, out, &used, NULL), E_SYNTAX);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<a@b\0c>"), 0, out, &used, NULL), E_SYNTAX);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<a@[192.0.2.1\0]>"), 0, out, &used, NULL), E_SYNTAX);
	assert_int_equal(smtp_path_parse(SPAN_LIT("<a@[IPv6:::1\0x]>"), 0, out, &used, NULL), E_SYNTAX);
}

static int parse_sizes(size_t local, size_t labels, size_t rest, char *out)
{
	char text[2000] = "<";
	size_t used;

	memset(text + 1, 'l', local);
	strcat(text, "@");
	for (size_t i = 0; i < labels; i++)
		strcat(text, A63 ".");
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s>", (int)rest, A63);
	return smtp_path_parse(span_str(text), 0, out, &used, NULL);
}

static void lengths_are_exact(void **state)
{
	char out[SMTP_PATH_MAX + 1];

	(void)state;
	assert_int_equal(parse_sizes(64, 0, 1, out), 0);
	assert_int_equal(strlen(out), 66);
	assert_int_equal(parse_sizes(65, 0, 1, out), E_SYNTAX);
	assert_int_equal(parse_sizes(1000, 0, 1, out), E_SYNTAX);
	assert_int_equal(parse_sizes(1, 3, 63, out), 0); /* 3 * 64 + 63 = 255 */
	assert_int_equal(parse_sizes(64, 3, 63, out), 0);
	assert_int_equal(strlen(out), SMTP_PATH_MAX);
	assert_int_equal(parse_sizes(1, 4, 1, out), E_SYNTAX); /* 257 */
	assert_true(smtp_domain_is_valid(SPAN_LIT(A63 ".a"), false));
	assert_false(smtp_domain_is_valid(SPAN_LIT(A63 "a.a"), false));
	/* Escapes count once: 64 quotes as local part are 64 octets, and 130 when written. */
	char text[400] = "<\"";
	size_t used;
	for (int i = 0; i < 64; i++)
		strcat(text, "\\\"");
	strcat(text, "\"@b>");
	assert_int_equal(smtp_path_parse(span_str(text), 0, out, &used, NULL), 0);
	assert_int_equal(strlen(out), 132);
}

static void domains_are_checked(void **state)
{
	static const struct {
		struct span text;
		bool plain, utf8;
	} rows[] = {
	    {SPAN_LIT("a"), true, true}, {SPAN_LIT("a.b.c"), true, true}, {SPAN_LIT("1.2"), true, true}, {SPAN_LIT("a_b.c"), true, true},
	    {SPAN_LIT("b\303\274cher.example"), false, true}, {SPAN_LIT(""), false, false}, {SPAN_LIT("."), false, false},
	    {SPAN_LIT("a."), false, false}, {SPAN_LIT(".a"), false, false}, {SPAN_LIT("-a"), false, false}, {SPAN_LIT("a-"), false, false},
	    {SPAN_LIT("a b"), false, false}, {SPAN_LIT("a\r"), false, false}, {SPAN_LIT("a\0"), false, false}, {SPAN_LIT("\377"), false, false},
	    {SPAN_LIT("[1.2.3.4]"), false, false}, {SPAN_LIT("a/b"), false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(smtp_domain_is_valid(rows[i].text, false), rows[i].plain);
		assert_int_equal(smtp_domain_is_valid(rows[i].text, true), rows[i].utf8);
	}
	assert_true(smtp_literal_is_valid(SPAN_LIT("[IPv6:::ffff:192.0.2.1]")));
	assert_true(smtp_literal_is_valid(SPAN_LIT("[ipv6:::1]")));
	assert_false(smtp_literal_is_valid(SPAN_LIT("[")));
	assert_false(smtp_literal_is_valid(SPAN_LIT("[]")));
	assert_false(smtp_literal_is_valid(SPAN_LIT("192.0.2.1")));
	assert_false(smtp_literal_is_valid(SPAN_LIT("[192.0.2.1")));
}

static void an_address_is_all_of_the_text(void **state)
{
	static const struct {
		struct span text;
		unsigned flags;
		const char *out; /* NULL: none */
	} rows[] = {
	    {SPAN_LIT("a@b.test"), 0, "a@b.test"}, {SPAN_LIT("\"a\"@b.test"), 0, "a@b.test"}, {SPAN_LIT("b\303\274@b.test"), SMTP_PATH_UTF8, "b\303\274@b.test"}, {SPAN_LIT("b\303\274@b.test"), 0, NULL},
	    {SPAN_LIT(""), 0, NULL}, {SPAN_LIT(""), NULL_OK, ""}, {SPAN_LIT("postmaster"), 0, NULL}, {SPAN_LIT("postmaster"), SMTP_PATH_POSTMASTER, "postmaster"},
	    {SPAN_LIT("<a@b.test>"), 0, NULL}, {SPAN_LIT("a@b.test>"), 0, NULL}, {SPAN_LIT("a@b.test> <c@d.test"), 0, NULL}, {SPAN_LIT(">"), NULL_OK, NULL},
	    {SPAN_LIT("a@b.test\0"), 0, NULL}, {SPAN_LIT("a@b.test\0>"), 0, NULL}, {SPAN_LIT("\0"), NULL_OK, NULL},
	};
	char out[SMTP_PATH_MAX + 1], longer[SMTP_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(smtp_address_parse(rows[i].text, rows[i].flags, out), rows[i].out != NULL);
		if (rows[i].out != NULL)
			assert_string_equal(out, rows[i].out);
	}
	memset(longer, 'a', sizeof(longer));
	assert_false(smtp_address_parse(span_of(longer, sizeof(longer)), 0, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(paths_are_parsed),
	    cmocka_unit_test(a_parsed_path_is_a_fixed_point),
	    cmocka_unit_test(what_follows_is_left_alone),
	    cmocka_unit_test(a_nul_is_never_part_of_it),
	    cmocka_unit_test(lengths_are_exact),
	    cmocka_unit_test(domains_are_checked),
	    cmocka_unit_test(an_address_is_all_of_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
