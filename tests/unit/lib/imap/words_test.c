/* The words of IMAP commands, sets, patterns and names. */
#include "tests/unit/test.h"

#include "base/utf8.h"
#include "imap/flags.h"
#include "imap/lex.h"
#include "imap/pattern.h"
#include "imap/reader.h"
#include "imap/set.h"
#include "imap/utf7.h"

#include <stdio.h>
#include <stdlib.h>

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 16 * 1024 * 1024);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

static struct imap_lex lex_of(const char *text)
{
	struct imap_lex lex;

	imap_lex_init(&lex, span_str(text), pool);
	return lex;
}

static void strings_in_all_forms(void **state)
{
	struct imap_lex lex = lex_of("atom \"quoted \\\"x\\\\\" {3}\r\na b {2+}\r\ncd ]x\r\n");
	struct span s;

	(void)state;
	assert_true(imap_lex_astring(&lex, &s));
	assert_span_equal(s, "atom");
	assert_true(imap_lex_space(&lex) && imap_lex_astring(&lex, &s));
	assert_span_equal(s, "quoted \"x\\");
	assert_true(imap_lex_space(&lex) && imap_lex_astring(&lex, &s));
	assert_span_equal(s, "a b");
	assert_true(imap_lex_space(&lex) && imap_lex_string(&lex, &s));
	assert_span_equal(s, "cd");
	assert_true(imap_lex_space(&lex) && imap_lex_astring(&lex, &s));
	assert_span_equal(s, "]x"); /* an astring may, an atom may not */
	assert_true(imap_lex_end(&lex));
}

static void what_is_no_string(void **state)
{
	static const char *const bad[] = {"", " ", "\"open", "\"a\\b\"", "\"a\rb\"", "{4}\r\nabc", "{x}\r\nabc", "{3}abc", "(", "*", "%"};
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		assert_false(imap_lex_astring(&lex, &s));
		assert_non_null(lex.wrong);
		assert_false(imap_lex_take(&lex, '(')); /* nothing works after a failure */
	}
}

static void a_nul_in_a_literal_is_refused(void **state)
{
	static const char text[] = "{3}\r\na\0b\r\n";
	struct imap_lex lex;
	struct span s;

	(void)state;
	imap_lex_init(&lex, span_of(text, sizeof(text) - 1), pool);
	assert_false(imap_lex_astring(&lex, &s));
}

static void flags(void **state)
{
	struct imap_lex lex = lex_of("(\\seen \\Deleted work $Junk)");
	struct imap_flags f;

	(void)state;
	assert_true(imap_lex_flags(&lex, false, &f) && imap_lex_end(&lex));
	assert_int_equal(f.flags, IMAP_SEEN | IMAP_DELETED);
	assert_int_equal(f.keyword_count, 2);
	assert_span_equal(f.keywords[1], "$Junk");
	lex = lex_of("\\Flagged x");
	assert_true(imap_lex_flags(&lex, true, &f));
	assert_int_equal(f.flags, IMAP_FLAGGED);
	lex = lex_of("()");
	assert_true(imap_lex_flags(&lex, false, &f) && imap_lex_end(&lex));
	lex = lex_of("(\\Recent)");
	assert_false(imap_lex_flags(&lex, false, &f));
	lex = lex_of("(\\)");
	assert_false(imap_lex_flags(&lex, false, &f));
}

static void dates(void **state)
{
	struct imap_lex lex = lex_of("1-Jan-1970");
	int64_t when;

	(void)state;
	assert_true(imap_lex_date(&lex, &when) && when == 0);
	lex = lex_of("\"29-feb-2024\"");
	assert_true(imap_lex_date(&lex, &when) && when == 1709164800);
	lex = lex_of("\" 2-Mar-2026 10:11:12 +0130\"");
	assert_true(imap_lex_date_time(&lex, &when));
	assert_int_equal(when, 1772440872);
	for (const char *const *bad = (const char *const[]){"32-Jan-2020", "0-Jan-2020", "1-Foo-2020", "1-Jan-20", "1-Jan", "", "1-Jan-2020\"x", NULL}; *bad != NULL; bad++) {
		lex = lex_of(*bad);
		imap_lex_date(&lex, &when);
		assert_false(imap_lex_end(&lex));
	}
	for (const char *const *bad = (const char *const[]){"\"01-Jan-2020 24:00:00 +0000\"", "\"01-Jan-2020 10:60:00 +0000\"", "\"01-Jan-2020 10:00:00 0000\"", "\"01-Jan-2020 10:00:00 +2400\"", "\"01-Jan-2020\"", NULL}; *bad != NULL; bad++) {
		lex = lex_of(*bad);
		assert_false(imap_lex_date_time(&lex, &when));
	}
}

/* ---- modified UTF-7 ---- */

static void names_both_ways(void **state)
{
	static const char *const pairs[][2] = {{"plain", "plain"}, {"a&-b", "a&b"}, {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
	    {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
	    {"&2D3eAA-", "\xf0\x9f\x98\x80"}, {"", ""}};
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct span name;

		assert_true(imap_utf7_decode(span_str(pairs[i][0]), pool, &name));
		assert_span_equal(name, pairs[i][1]);
		buf_clear(&out);
		imap_utf7_encode(name, &out);
		assert_span_equal(buf_span(&out), pairs[i][0]);
	}
	buf_fini(&out);
}

static void names_with_a_wrong_form(void **state)
{
	static const char *const bad[] = {"&", "&A", "&AA-", "&AAA-", "&APw", "&APx-", "&AGE-", "&AP8-&AP8-", "&2D0-", "&3gA-", "&!!!-", "&AAo-", "\xff", "\xc0\x80"};
	struct span name;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(imap_utf7_decode(span_str(bad[i]), pool, &name));
}

/* Every code point comes back as it was. */
static void every_character(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (uint32_t c = 0x20; c < 0x11000; c += c < 0x3000 ? 1 : 7) {
		struct span name;
		char utf8[4];
		size_t len;

		if (c == 0x7f || (c >= 0xd800 && c < 0xe000))
			continue;
		len = utf8_put(c, utf8);
		buf_clear(&out);
		imap_utf7_encode(span_of(utf8, len), &out);
		pool_reset(pool);
		assert_true(imap_utf7_decode(buf_span(&out), pool, &name));
		assert_int_equal(name.len, len);
		assert_memory_equal(name.ptr, utf8, len);
	}
	buf_fini(&out);
}

/* ---- sets ---- */

static void sets(void **state)
{
	struct imap_set set;
	struct buf out;

	(void)state;
	assert_true(imap_set_parse(SPAN_LIT("5,1:3,2:4,*,9:7"), 12, pool, &set));
	assert_int_equal(set.count, 3); /* 1:5 7:9 12 */
	assert_int_equal(set.ranges[0].first, 1);
	assert_int_equal(set.ranges[0].last, 5);
	assert_true(imap_set_has(&set, 8) && imap_set_has(&set, 12) && imap_set_has(&set, 1));
	assert_false(imap_set_has(&set, 6) || imap_set_has(&set, 13) || imap_set_has(&set, 10));
	assert_true(imap_set_parse(SPAN_LIT("1:4294967295,4294967295"), 1, pool, &set));
	assert_int_equal(set.count, 1);
	for (const char *const *bad = (const char *const[]){"", ",", "1,", ",1", "0", "0:1", "1:", ":1", "1:2:3", "4294967296", "a", "1;2", NULL}; *bad != NULL; bad++)
		assert_false(imap_set_parse(span_str(*bad), 9, pool, &set));
	buf_init(&out, 100);
	imap_set_format((const uint32_t[]){1, 2, 3, 5, 7, 8}, 6, &out);
	assert_span_equal(buf_span(&out), "1:3,5,7:8");
	buf_fini(&out);
}

/* ---- patterns ---- */

static void patterns(void **state)
{
	static const struct {
		const char *pattern, *name;
		enum imap_match match;
	} cases[] = {{"*", "a/b", IMAP_MATCH_YES}, {"%", "a", IMAP_MATCH_YES}, {"%", "a/b", IMAP_MATCH_NO}, {"a/%", "a/b", IMAP_MATCH_YES},
	    {"a/%", "a", IMAP_MATCH_CHILDREN}, {"%/b", "a", IMAP_MATCH_CHILDREN}, {"inbox", "INBOX", IMAP_MATCH_YES}, {"InBox/x", "INBOX/x", IMAP_MATCH_YES},
	    {"inboxes", "INBOXES", IMAP_MATCH_NO}, {"a*c", "abbc", IMAP_MATCH_YES}, {"a*c", "abb", IMAP_MATCH_CHILDREN}, {"", "", IMAP_MATCH_YES}, {"", "a", IMAP_MATCH_NO}, {"**%%*", "x/y", IMAP_MATCH_YES}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(imap_pattern_match(span_str(cases[i].pattern), span_str(cases[i].name)), cases[i].match);
}

static void many_stars_take_no_time(void **state)
{
	char pattern[IMAP_PATTERN_MAX], name[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 ? 'a' : '*';
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = 'b';
	assert_int_equal(imap_pattern_match(span_of(pattern, sizeof(pattern)), span_of(name, sizeof(name))), IMAP_MATCH_CHILDREN);
}

/* ---- where a command ends ---- */

/* The same commands come out however the bytes come in. */
static void commands_at_every_split(void **state)
{
	static const char text[] = "a LOGIN {3}\r\nx\r\n {2+}\r\nab\r\nb NOOP\r\nc NOOP\n";
	static const size_t ends[] = {27, 35, 42};

	(void)state;
	for (size_t split = 0; split <= sizeof(text) - 1; split++) {
		struct imap_reader reader;
		size_t start = 0, found = 0, shown = split;

		imap_reader_init(&reader, 1000, 1000);
		for (;;) {
			size_t len = 0;
			enum imap_read r = imap_reader_look(&reader, span_of(text + start, shown - start), &len);

			if (r == IMAP_READ_LITERAL) {
				assert_true(imap_reader_accept(&reader, len));
			} else if (r == IMAP_READ_COMMAND) {
				start += len;
				assert_int_equal(start, ends[found]);
				found++;
				imap_reader_reset(&reader);
			} else if (shown < sizeof(text) - 1) {
				shown = sizeof(text) - 1;
			} else {
				break;
			}
		}
		assert_int_equal(found, 3);
	}
}

static void limits_of_commands(void **state)
{
	struct imap_reader reader;
	size_t len;

	(void)state;
	imap_reader_init(&reader, 10, 8);
	assert_int_equal(imap_reader_look(&reader, SPAN_LIT("a 12345678901"), &len), IMAP_READ_TOO_LONG);
	imap_reader_init(&reader, 10, 8);
	assert_int_equal(imap_reader_look(&reader, SPAN_LIT("a {5}\r\n"), &len), IMAP_READ_LITERAL);
	assert_true(imap_reader_accept(&reader, len));
	assert_int_equal(imap_reader_look(&reader, SPAN_LIT("a {5}\r\n12345 {5}\r\n"), &len), IMAP_READ_TOO_LONG);
	imap_reader_init(&reader, 100, 8);
	assert_int_equal(imap_reader_look(&reader, SPAN_LIT("a {9}\r\n"), &len), IMAP_READ_LITERAL);
	assert_false(imap_reader_accept(&reader, len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(strings_in_all_forms, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_string, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_nul_in_a_literal_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(flags, setup, teardown),
	    cmocka_unit_test_setup_teardown(dates, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_both_ways, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_with_a_wrong_form, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_character, setup, teardown),
	    cmocka_unit_test_setup_teardown(sets, setup, teardown),
	    cmocka_unit_test(patterns),
	    cmocka_unit_test(many_stars_take_no_time),
	    cmocka_unit_test(commands_at_every_split),
	    cmocka_unit_test(limits_of_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
