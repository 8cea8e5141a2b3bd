/* The words of commands, production by production (RFC 3501 section 9). */
#include "tests/unit/test.h"

#include "imap/flags.h"
#include "imap/lex.h"

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

/* ---- characters ---- */

/* atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials */
static bool is_atom_char(unsigned c)
{
	return c > ' ' && c < 0x7f && strchr("(){%*\"\\]", (int)c) == NULL;
}

static bool takes(bool (*take)(struct imap_lex *lex, struct span *out), unsigned c)
{
	char text[3] = {(char)c, 'x', '\0'};
	struct imap_lex lex;
	struct span out;

	imap_lex_init(&lex, span_of(text, 2), pool);
	return take(&lex, &out) && out.len == 2;
}

/* All 256 octets, as the first of an atom, an astring, a tag and a pattern. Beyond ASCII: what utf7.h allows. */
static void characters_of_each_kind(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 0x80; c++) {
		if (c == '"' || c == '{')
			continue; /* begins a string */
		if (takes(imap_lex_atom, c) != is_atom_char(c))
			fail_msg("ATOM-CHAR: %x", c);
		if (takes(imap_lex_astring, c) != (is_atom_char(c) || c == ']'))
			fail_msg("ASTRING-CHAR: %x", c);
		if (takes(imap_lex_tag, c) != ((is_atom_char(c) || c == ']') && c != '+'))
			fail_msg("tag: %x", c);
		if (takes(imap_lex_pattern, c) != (is_atom_char(c) || (c != '\0' && strchr("%*]", (int)c) != NULL)))
			fail_msg("list-char: %x", c);
	}
	for (unsigned c = 0x80; c < 0x100; c++) {
		assert_false(takes(imap_lex_atom, c) || takes(imap_lex_tag, c));
		assert_true(takes(imap_lex_astring, c) && takes(imap_lex_pattern, c));
	}
	assert_false(takes(imap_lex_atom, '"') || takes(imap_lex_atom, '{') || takes(imap_lex_tag, '"') || takes(imap_lex_tag, '{'));
}

static void words_end_where_they_end(void **state)
{
	struct imap_lex lex = lex_of("a1 ATOM(x)\"y\" BODY.PEEK[1]");
	struct span s;

	(void)state;
	assert_true(imap_lex_tag(&lex, &s));
	assert_span_equal(s, "a1");
	assert_true(imap_lex_space(&lex));
	assert_true(imap_lex_atom(&lex, &s));
	assert_span_equal(s, "ATOM");
	assert_true(imap_lex_sees(&lex, '(') && imap_lex_take(&lex, '(') && !imap_lex_take(&lex, '('));
	assert_true(imap_lex_atom(&lex, &s) && imap_lex_char(&lex, ')'));
	assert_true(imap_lex_string(&lex, &s));
	assert_span_equal(s, "y");
	assert_true(imap_lex_space(&lex));
	assert_span_equal(imap_lex_word(&lex), "BODY.PEEK");
	assert_int_equal(imap_lex_word(&lex).len, 0); /* may be empty */
	assert_false(imap_lex_at_end(&lex));
	assert_false(imap_lex_end(&lex));
	assert_string_equal(lex.wrong, "surplus arguments");
}

/* The first thing that was wrong stays, and nothing works after it. */
static void a_failure_stays(void **state)
{
	static const struct {
		char c;
		const char *wrong;
	} rows[] = {{' ', "a space is missing"}, {'(', "'(' is missing"}, {')', "')' is missing"}, {']', "']' is missing"}, {'<', "unexpected character"}};
	struct imap_flags flags;
	struct imap_lex lex;
	struct span s;
	uint64_t n;
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lex = lex_of("x");
		assert_false(imap_lex_char(&lex, rows[i].c));
		assert_string_equal(lex.wrong, rows[i].wrong);
		assert_false(imap_lex_char(&lex, 'x') || imap_lex_take(&lex, 'x') || imap_lex_sees(&lex, 'x'));
		assert_false(imap_lex_atom(&lex, &s) || imap_lex_astring(&lex, &s) || imap_lex_string(&lex, &s) || imap_lex_tag(&lex, &s) ||
			     imap_lex_set(&lex, &s) || imap_lex_number(&lex, 9, &n) || imap_lex_flags(&lex, true, &flags) ||
			     imap_lex_date(&lex, &when) || imap_lex_date_time(&lex, &when) || imap_lex_mailbox(&lex, &s) || imap_lex_id(&lex) ||
			     imap_lex_end(&lex));
		assert_string_equal(lex.wrong, rows[i].wrong);
	}
}

/* A command ends in CRLF, in LF, or nowhere; blanks before its end harm nobody. */
static void the_end_of_a_command(void **state)
{
	static const char *const good[] = {"a", "a\r\n", "a\n", "a \r\n", "a   "}, *const bad[] = {"a b", "a \r\n\r\n", "a\t"};
	struct span s;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct imap_lex lex = lex_of(good[i]);

		assert_true(imap_lex_atom(&lex, &s) && imap_lex_end(&lex));
	}
	for (size_t i = 0; i < 3; i++) {
		struct imap_lex lex = lex_of(bad[i]);

		assert_true(imap_lex_atom(&lex, &s));
		assert_false(imap_lex_end(&lex));
	}
}

static void tags_have_a_length(void **state)
{
	char text[IMAP_TAG_MAX + 2];
	struct imap_lex lex;
	struct span s;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[IMAP_TAG_MAX] = '\0';
	lex = lex_of(text);
	assert_true(imap_lex_tag(&lex, &s));
	text[IMAP_TAG_MAX] = 'a';
	text[IMAP_TAG_MAX + 1] = '\0';
	lex = lex_of(text);
	assert_false(imap_lex_tag(&lex, &s));
}

/* ---- numbers and sets ---- */

/* number = 1*DIGIT, unsigned 32 bits */
static void numbers(void **state)
{
	static const char *const bad[] = {"", "-1", "+1", "x", " 1", "4294967296", "99999999999999999999"};
	struct imap_lex lex = lex_of("0 4294967295 007x");
	uint64_t n;

	(void)state;
	assert_true(imap_lex_number(&lex, UINT32_MAX, &n) && n == 0);
	assert_true(imap_lex_space(&lex) && imap_lex_number(&lex, UINT32_MAX, &n) && n == UINT32_MAX);
	assert_true(imap_lex_space(&lex) && imap_lex_number(&lex, UINT32_MAX, &n) && n == 7);
	assert_true(imap_lex_sees(&lex, 'x'));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		lex = lex_of(bad[i]);
		assert_false(imap_lex_number(&lex, UINT32_MAX, &n));
	}
}

static void sets_are_cut_out(void **state)
{
	struct imap_lex lex = lex_of("1:*,5 FLAGS");
	struct span s;

	(void)state;
	assert_true(imap_lex_set(&lex, &s));
	assert_span_equal(s, "1:*,5");
	lex = lex_of("FLAGS");
	assert_false(imap_lex_set(&lex, &s));
}

/* ---- strings ---- */

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR: any TEXT-CHAR, or "\" quoted-specials */
static void quoted_strings(void **state)
{
	static const char *const good[][2] = {{"\"\"", ""}, {"\"a b\"", "a b"}, {"\"(){%*]}\"", "(){%*]}"}, {"\"\\\"\\\\\"", "\"\\"}, {"\"\x01\t\x7f\"", "\x01\t\x7f"},
	    {"\"{3}\"", "{3}"}};
	static const char *const bad[] = {"\"", "\"a", "\"a\\\"", "\"\\a\"", "\"\\", "\"a\nb\"", "\"a\rb\"", "a", "NIL", ""};
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_lex lex = lex_of(good[i][0]);

		assert_true(imap_lex_string(&lex, &s) && imap_lex_end(&lex));
		assert_span_equal(s, good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		assert_false(imap_lex_string(&lex, &s));
		assert_non_null(lex.wrong);
	}
	/* CHAR = %x01-7F */
	struct imap_lex lex;

	imap_lex_init(&lex, SPAN_LIT("\"a\0b\""), pool);
	assert_false(imap_lex_string(&lex, &s));
}

/* literal = "{" number "}" CRLF *CHAR8; with "+" (RFC 7888 section 4) */
static void literals(void **state)
{
	static const char *const good[][2] = {{"{0}\r\n", ""}, {"{3}\r\nabc", "abc"}, {"{3+}\r\nabc", "abc"}, {"{5}\r\na\r\nb\"", "a\r\nb\""}, {"{3}\nabc", "abc"}, {"{003}\r\nabc", "abc"},
	    {"{2}\r\n\xff\x80", "\xff\x80"}, {"{3}\r\n{2}", "{2}"}};
	static const char *const bad[] = {"{", "{3", "{3}", "{}\r\nabc", "{+}\r\nabc", "{-3}\r\nabc", "{3 }\r\nabc", "{ 3}\r\nabc", "{3}x\r\nabc", "{4}\r\nabc", "{3++}\r\nabc", "{x}\r\nabc",
	    "{99999999999999999999}\r\nabc",
	    /* The braces belong together: these are no literal but a word that ends in one. */
	    "{5}{3}\r\nabc", "{a {3}\r\nabc", "{{3}\r\nabc"};
	struct imap_lex lex;
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		lex = lex_of(good[i][0]);
		/* Without the line end that init takes for the command's. */
		lex.in = span_str(good[i][0]);
		if (!imap_lex_string(&lex, &s))
			fail_msg("%s", good[i][0]);
		assert_span_equal(s, good[i][1]);
		assert_true(imap_lex_at_end(&lex));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		lex = lex_of(bad[i]);
		if (imap_lex_string(&lex, &s))
			fail_msg("accepted: %s", bad[i]);
	}
	/* CHAR8 = %x01-ff */
	imap_lex_init(&lex, SPAN_LIT("{1}\r\n\0"), pool);
	assert_false(imap_lex_string(&lex, &s));
}

/* Unquoting takes memory of the command's pool: too much of it is an error, not a crash. */
static void strings_past_the_memory(void **state)
{
	struct pool *small = pool_new(NULL, 32);
	struct imap_flags flags;
	struct imap_lex lex;
	struct span s;

	(void)state;
	imap_lex_init(&lex, SPAN_LIT("\"\\\"0123456789012345678901234567890123456789\""), small);
	assert_false(imap_lex_string(&lex, &s));
	assert_string_equal(lex.wrong, "the command is too large");
	imap_lex_init(&lex, SPAN_LIT("(x)"), small);
	assert_false(imap_lex_flags(&lex, false, &flags));
	assert_string_equal(lex.wrong, "the command is too large");
	imap_lex_init(&lex, SPAN_LIT("&APw-0123456789012345678901234567890"), small);
	assert_false(imap_lex_mailbox(&lex, &s));
	pool_free(&small);
}

/* mailbox = "INBOX" / astring; list-mailbox = 1*list-char / string */
static void mailboxes_and_patterns(void **state)
{
	static const char *const names[][2] = {{"inbox", "INBOX"}, {"\"InBoX\"", "INBOX"}, {"{5}\r\niNbOx", "INBOX"}, {"Sent", "Sent"}, {"INBOX/a", "INBOX/a"}, {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
	    {"\"Entw\xc3\xbcrfe\"", "Entw\xc3\xbcrfe"}, {"\"a b\"", "a b"}, {"a]", "a]"}};
	static const char *const patterns[][2] = {{"*", "*"}, {"a%b]c", "a%b]c"}, {"\"a b*\"", "a b*"}, {"{2}\r\n%*", "%*"}, {"\"\"", ""}};
	static const char *const bad[] = {"", "(", "&APw", "\"&AGE-\"", "a&", "\xff", "\"a"};
	struct span s;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct imap_lex lex = lex_of(names[i][0]);

		assert_true(imap_lex_mailbox(&lex, &s));
		assert_span_equal(s, names[i][1]);
	}
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		struct imap_lex lex = lex_of(patterns[i][0]);

		assert_true(imap_lex_pattern(&lex, &s));
		assert_span_equal(s, patterns[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		assert_false(imap_lex_mailbox(&lex, &s));
		assert_non_null(lex.wrong);
	}
}

/* ---- flags ---- */

/* flag-list = "(" [flag *(SP flag)] ")"; STORE: also without parentheses. */
static void flag_lists(void **state)
{
	static const struct {
		const char *text;
		uint32_t flags;
		size_t keywords;
	} good[] = {{"()", 0, 0}, {"(\\Seen)", IMAP_SEEN, 0}, {"(\\ANSWERED \\flagged \\Deleted \\DrAfT)", IMAP_ANSWERED | IMAP_FLAGGED | IMAP_DELETED | IMAP_DRAFT, 0},
	    {"($MDNSent \\Seen x)", IMAP_SEEN, 2}, {"(\\Seen \\Seen)", IMAP_SEEN, 0}, {"(Seen)", 0, 1}};
	static const char *const bad[] = {"", "(", "(\\Seen", "(\\Seen  \\Deleted)", "( \\Seen)", "(\\Seen )", "(\\)", "(\\ Seen)", "(\\*)", "(\\Recent)", "(\\Other)", "(a(b))", "(\"a\")", "(a]b)", "(%)"};
	struct imap_flags f;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_lex lex = lex_of(good[i].text);

		if (!imap_lex_flags(&lex, false, &f) || !imap_lex_end(&lex))
			fail_msg("%s: %s", good[i].text, lex.wrong);
		assert_int_equal(f.flags, good[i].flags);
		assert_int_equal(f.keyword_count, good[i].keywords);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (int plain = 0; plain < 2; plain++) {
			struct imap_lex lex = lex_of(bad[i]);

			if (imap_lex_flags(&lex, plain, &f) && imap_lex_end(&lex))
				fail_msg("accepted: %s", bad[i]);
		}
	struct imap_lex lex = lex_of("\\Seen $x");

	assert_true(imap_lex_flags(&lex, true, &f) && imap_lex_end(&lex));
	assert_int_equal(f.flags, IMAP_SEEN);
	assert_span_equal(f.keywords[0], "$x");
	lex = lex_of("\\Seen");
	assert_false(imap_lex_flags(&lex, false, &f));
}

static void flags_have_their_bounds(void **state)
{
	char text[2000] = "(", word[IMAP_KEYWORD_MAX + 4];
	struct imap_lex lex;
	struct imap_flags f;

	(void)state;
	for (int i = 0; i < 256; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%sk%d", i > 0 ? " " : "", i);
	strcat(text, ")");
	lex = lex_of(text);
	assert_true(imap_lex_flags(&lex, false, &f));
	assert_int_equal(f.keyword_count, 256);
	text[strlen(text) - 1] = '\0';
	strcat(text, " one)");
	lex = lex_of(text);
	assert_false(imap_lex_flags(&lex, false, &f));
	memset(word, 'k', sizeof(word));
	word[IMAP_KEYWORD_MAX] = '\0';
	lex = lex_of(word);
	assert_true(imap_lex_flags(&lex, true, &f));
	word[IMAP_KEYWORD_MAX] = 'k';
	word[IMAP_KEYWORD_MAX + 1] = '\0';
	lex = lex_of(word);
	assert_false(imap_lex_flags(&lex, true, &f));
}

/* ---- ID (RFC 2971 section 4): "(" *(string SP nstring) ")" / nil ---- */

static void what_clients_say_of_themselves(void **state)
{
	static const char *const good[] = {" NIL", " nil", " ()", " (\"name\" \"x\")", " (\"name\" NIL)", " (\"name\" \"x\" \"version\" nil \"os\" {1}\r\ny)", " ({1}\r\na \"b\")"};
	static const char *const bad[] = {"", "NIL", " ", " x", " \"name\"", " (", " (\"name\")", " (\"name\" \"x\"", " (\"name\" \"x\" \"y\")", " (NIL \"x\")", " (name \"x\")", " (\"name\"  \"x\")",
	    " (\"name\" x)", " (\"a\" \"b\"\"c\" \"d\")", " (\"a\" \"b\" )", " ( \"a\" \"b\")"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_lex lex = lex_of(good[i]);

		if (!imap_lex_id(&lex) || !imap_lex_end(&lex))
			fail_msg("%s: %s", good[i], lex.wrong);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		if (imap_lex_id(&lex) && imap_lex_end(&lex))
			fail_msg("accepted: %s", bad[i]);
	}
}

/* ---- dates ---- */

/* date = date-text / DQUOTE date-text DQUOTE; date-text = 1*2DIGIT "-" Mmm "-" 4DIGIT */
static void dates(void **state)
{
	static const struct {
		const char *text;
		int64_t when;
	} good[] = {{"1-Jan-1970", 0}, {"01-Jan-1970", 0}, {"\"1-Jan-1970\"", 0}, {"2-jan-1970", 86400}, {"31-DEC-1969", -86400}, {"29-Feb-2000", 951782400}, {"1-Mar-2000", 951868800},
	    {"1-Mar-2100", 4107542400}, {"31-Dec-9999", 253402214400}, {"1-Jan-0001", -62135596800}};
	static const char *const bad[] = {"", "1", "1-", "1-Jan", "1-Jan-", "1-Jan-197", "1-Jan-19700", "0-Jan-1970", "32-Jan-1970", "123-Jan-1970", "1-Jax-1970", "1-January-1970", "1-1-1970", "1 Jan 1970",
	    "Jan-1-1970", "\"1-Jan-1970", "1-Jan-1970\"", "1-Jan--970", "-1-Jan-1970", "a-Jan-1970", "1-Jan-197x"};
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_lex lex = lex_of(good[i].text);

		if (!imap_lex_date(&lex, &when) || !imap_lex_end(&lex))
			fail_msg("%s", good[i].text);
		if (when != good[i].when)
			fail_msg("%s is %lld", good[i].text, (long long)when);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		if (imap_lex_date(&lex, &when) && imap_lex_end(&lex))
			fail_msg("accepted: %s", bad[i]);
	}
}

/* date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE */
static void dates_with_time(void **state)
{
	static const struct {
		const char *text;
		int64_t when;
	} good[] = {{"\" 1-Jan-1970 00:00:00 +0000\"", 0}, {"\"01-Jan-1970 01:00:00 +0100\"", 0}, {"\"31-Dec-1969 19:00:00 -0500\"", 0}, {"\" 1-Jan-1970 00:00:60 -0000\"", 60},
	    {"\"17-Jul-1996 02:44:25 -0700\"", 837596665}, /* RFC 3501 section 7.4.2 */
	    {"\" 7-Feb-1994 21:52:25 -0800\"", 760686745}}; /* section 6.3.11 */
	static const char *const bad[] = {"", "\"\"", "\" 1-Jan-1970\"", "\" 1-Jan-1970 00:00:00\"", "\" 1-Jan-1970 00:00:00 0000\"", "\" 1-Jan-1970 00:00:00 +000\"", "\" 1-Jan-1970 00:00:00 +00000\"",
	    "\" 1-Jan-1970 24:00:00 +0000\"", "\" 1-Jan-1970 00:60:00 +0000\"", "\" 1-Jan-1970 00:00:61 +0000\"", "\" 1-Jan-1970 0:00:00 +0000\"", "\" 1-Jan-1970 00:00:00 +0060\"",
	    "\" 1-Jan-1970 00:00 +0000\"", " 1-Jan-1970 00:00:00 +0000", "\" 1-Jan-1970 00:00:00 +0000", "\" 1-Jan-1970  00:00:00 +0000\"", "\" 1-Jan-1970 00:00:00 GMT\""};
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_lex lex = lex_of(good[i].text);

		if (!imap_lex_date_time(&lex, &when) || !imap_lex_end(&lex))
			fail_msg("%s", good[i].text);
		if (when != good[i].when)
			fail_msg("%s is %lld", good[i].text, (long long)when);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_lex lex = lex_of(bad[i]);

		if (imap_lex_date_time(&lex, &when) && imap_lex_end(&lex))
			fail_msg("accepted: %s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(characters_of_each_kind, setup, teardown),
	    cmocka_unit_test_setup_teardown(words_end_where_they_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_failure_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_end_of_a_command, setup, teardown),
	    cmocka_unit_test_setup_teardown(tags_have_a_length, setup, teardown),
	    cmocka_unit_test_setup_teardown(numbers, setup, teardown),
	    cmocka_unit_test_setup_teardown(sets_are_cut_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(quoted_strings, setup, teardown),
	    cmocka_unit_test_setup_teardown(literals, setup, teardown),
	    cmocka_unit_test(strings_past_the_memory),
	    cmocka_unit_test_setup_teardown(mailboxes_and_patterns, setup, teardown),
	    cmocka_unit_test_setup_teardown(flag_lists, setup, teardown),
	    cmocka_unit_test_setup_teardown(flags_have_their_bounds, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_clients_say_of_themselves, setup, teardown),
	    cmocka_unit_test_setup_teardown(dates, setup, teardown),
	    cmocka_unit_test_setup_teardown(dates_with_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
