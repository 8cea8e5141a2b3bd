/* Search keys (RFC 3501 section 9: search, search-key), RETURN (RFC 4731). */
#include "tests/unit/test.h"

#include "imap/flags.h"
#include "imap/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

static struct imap_search *search(const char *text)
{
	struct imap_lex lex;
	struct imap_search *s;

	imap_lex_init(&lex, span_str(text), pool);
	s = imap_search_parse(&lex, 10, 100);
	if ((s == NULL) != (lex.wrong != NULL))
		fail_msg("%s", text);
	return s;
}

/* The only key of a search. */
static const struct imap_search_key *key(const char *text)
{
	struct imap_search *s = search(text);

	if (s == NULL)
		fail_msg("%s", text);
	assert_int_equal(s->root->kind, IMAP_SEARCH_AND);
	assert_null(s->root->first->next);
	return s->root->first;
}

/* not: wrapped in a NOT. */
static const struct {
	const char *text;
	enum imap_search_kind kind;
	bool is_not;
	const char *name, *value;
	uint64_t number;
	int64_t when;
} keys[] = {
    {"ALL", IMAP_SEARCH_ALL, false, "", "", 0, 0},
    {"ANSWERED", IMAP_SEARCH_FLAG, false, "", "", IMAP_ANSWERED, 0},
    {"BCC x", IMAP_SEARCH_HEADER, false, "Bcc", "x", 0, 0},
    {"BEFORE 2-Jan-1970", IMAP_SEARCH_BEFORE, false, "", "", 0, 86400},
    {"BODY \"a b\"", IMAP_SEARCH_BODY, false, "", "a b", 0, 0},
    {"CC {1}\r\nx", IMAP_SEARCH_HEADER, false, "Cc", "x", 0, 0},
    {"DELETED", IMAP_SEARCH_FLAG, false, "", "", IMAP_DELETED, 0},
    {"FLAGGED", IMAP_SEARCH_FLAG, false, "", "", IMAP_FLAGGED, 0},
    {"FROM x]", IMAP_SEARCH_HEADER, false, "From", "x]", 0, 0},
    {"KEYWORD $Junk", IMAP_SEARCH_KEYWORD, false, "", "$Junk", 0, 0},
    {"OLD", IMAP_SEARCH_RECENT, true, "", "", 0, 0},
    {"ON \"2-Jan-1970\"", IMAP_SEARCH_ON, false, "", "", 0, 86400},
    {"RECENT", IMAP_SEARCH_RECENT, false, "", "", 0, 0},
    {"SEEN", IMAP_SEARCH_FLAG, false, "", "", IMAP_SEEN, 0},
    {"SINCE 2-Jan-1970", IMAP_SEARCH_SINCE, false, "", "", 0, 86400},
    {"SUBJECT \"\"", IMAP_SEARCH_HEADER, false, "Subject", "", 0, 0},
    {"TEXT x", IMAP_SEARCH_TEXT, false, "", "x", 0, 0},
    {"TO x", IMAP_SEARCH_HEADER, false, "To", "x", 0, 0},
    {"UNANSWERED", IMAP_SEARCH_FLAG, true, "", "", IMAP_ANSWERED, 0},
    {"UNDELETED", IMAP_SEARCH_FLAG, true, "", "", IMAP_DELETED, 0},
    {"UNFLAGGED", IMAP_SEARCH_FLAG, true, "", "", IMAP_FLAGGED, 0},
    {"UNKEYWORD x", IMAP_SEARCH_KEYWORD, true, "", "x", 0, 0},
    {"UNSEEN", IMAP_SEARCH_FLAG, true, "", "", IMAP_SEEN, 0},
    {"DRAFT", IMAP_SEARCH_FLAG, false, "", "", IMAP_DRAFT, 0},
    {"HEADER X-Spam \"\"", IMAP_SEARCH_HEADER, false, "X-Spam", "", 0, 0},
    {"LARGER 4294967295", IMAP_SEARCH_LARGER, false, "", "", 4294967295, 0},
    {"SENTBEFORE 2-Jan-1970", IMAP_SEARCH_SENTBEFORE, false, "", "", 0, 86400},
    {"SENTON 2-Jan-1970", IMAP_SEARCH_SENTON, false, "", "", 0, 86400},
    {"SENTSINCE 2-Jan-1970", IMAP_SEARCH_SENTSINCE, false, "", "", 0, 86400},
    {"SMALLER 0", IMAP_SEARCH_SMALLER, false, "", "", 0, 0},
    {"UNDRAFT", IMAP_SEARCH_FLAG, true, "", "", IMAP_DRAFT, 0},
};

/* Every search-key, in any case. */
static void every_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		for (int lower = 0; lower < 2; lower++) {
			char text[64];
			const struct imap_search_key *k;

			snprintf(text, sizeof(text), "%s", keys[i].text);
			for (char *c = text; lower && *c != ' ' && *c != '\0'; c++)
				*c = ascii_lower(*c);
			k = key(text);
			if (keys[i].is_not) {
				assert_int_equal(k->kind, IMAP_SEARCH_NOT);
				k = k->first;
				assert_null(k->next);
			}
			if (k->kind != keys[i].kind)
				fail_msg("%s is %d", text, k->kind);
			assert_span_equal(k->name, keys[i].name);
			assert_span_equal(k->text, keys[i].value);
			assert_true(k->number == keys[i].number);
			assert_true(k->when == keys[i].when);
		}
}

static void sets_are_keys(void **state)
{
	const struct imap_search_key *k = key("3,5:*");

	(void)state;
	assert_int_equal(k->kind, IMAP_SEARCH_SEQUENCE);
	assert_int_equal(k->set.count, 2);
	assert_int_equal(k->set.ranges[1].last, 10); /* '*': the last message */
	k = key("*");
	assert_int_equal(k->set.ranges[0].first, 10);
	k = key("UID 7:*");
	assert_int_equal(k->kind, IMAP_SEARCH_UID);
	assert_int_equal(k->set.ranges[0].first, 7);
	assert_int_equal(k->set.ranges[0].last, 100);
	/* An empty mailbox has no last message; the command is right all the same. */
	struct imap_lex lex;

	imap_lex_init(&lex, SPAN_LIT("1:* UID *"), pool);
	assert_non_null(imap_search_parse(&lex, 0, 0));
}

/* NEW: "functionally equivalent to (RECENT UNSEEN)". */
static void combinations(void **state)
{
	const struct imap_search_key *k = key("NEW");

	(void)state;
	assert_int_equal(k->kind, IMAP_SEARCH_AND);
	assert_int_equal(k->first->kind, IMAP_SEARCH_RECENT);
	assert_int_equal(k->first->next->kind, IMAP_SEARCH_NOT);
	assert_int_equal(k->first->next->first->number, IMAP_SEEN);
	assert_null(k->first->next->next);
	k = key("NOT NOT (SEEN 1)");
	assert_int_equal(k->kind, IMAP_SEARCH_NOT);
	assert_int_equal(k->first->kind, IMAP_SEARCH_NOT);
	assert_int_equal(k->first->first->kind, IMAP_SEARCH_AND);
	k = key("OR OR SEEN DRAFT NEW");
	assert_int_equal(k->kind, IMAP_SEARCH_OR);
	assert_int_equal(k->first->kind, IMAP_SEARCH_OR);
	assert_int_equal(k->first->first->number, IMAP_SEEN);
	assert_int_equal(k->first->first->next->number, IMAP_DRAFT);
	assert_int_equal(k->first->next->kind, IMAP_SEARCH_AND);
	k = key("OR (BODY x SEEN) (TEXT y)");
	assert_int_equal(k->first->first->kind, IMAP_SEARCH_FLAG); /* what costs little comes first in every AND */
	assert_int_equal(k->first->next->first->kind, IMAP_SEARCH_TEXT);
	k = key("((((SEEN))))");
	assert_int_equal(k->first->first->first->first->kind, IMAP_SEARCH_FLAG);
}

static void charsets_and_returns(void **state)
{
	static const struct {
		const char *text;
		bool extended;
		unsigned returns;
		const char *charset;
	} rows[] = {
	    {"ALL", false, 0, ""},
	    {"CHARSET UTF-8 ALL", false, 0, "UTF-8"},
	    {"charset \"utf-8\" ALL", false, 0, "utf-8"},
	    {"RETURN () ALL", true, IMAP_RETURN_ALL, ""}, /* RFC 4731 section 3.1 */
	    {"RETURN (MIN) ALL", true, IMAP_RETURN_MIN, ""},
	    {"RETURN (max ALL count MIN) CHARSET x 1", true, IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_ALL | IMAP_RETURN_COUNT, "x"},
	    {"RETURN (COUNT COUNT) ALL", true, IMAP_RETURN_COUNT, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_search *s = search(rows[i].text);

		if (s == NULL)
			fail_msg("%s", rows[i].text);
		assert_int_equal(s->extended, rows[i].extended);
		assert_int_equal(s->returns, rows[i].returns);
		assert_span_equal(s->charset, rows[i].charset);
	}
}

static void what_is_none(void **state)
{
	static const char *const bad[] = {
	    "", " ", "ALL  SEEN", "ALLSEEN", "()", "(", "(SEEN", "SEEN)", "(SEEN )", "( SEEN)", "SEENX", "UN SEEN",
	    "BCC", "BCC ", "BODY", "SUBJECT (x)", "SUBJECT %", "HEADER", "HEADER x", "HEADER x  y", "KEYWORD", "KEYWORD \\Seen", "KEYWORD \"x\"", "KEYWORD a]",
	    "BEFORE", "BEFORE x", "BEFORE 1-1-1970", "SENTON \"1-Jan-1970", "LARGER", "LARGER x", "LARGER -1", "SMALLER 4294967296",
	    "UID", "UID x", "UID 0", "0", "1:", ":1", "1,,2", "1:2:3", "1;2", "4294967296", "1x",
	    "NOT", "NOT ", "OR", "OR SEEN", "OR SEEN ", "OR SEEN  DRAFT", "OR SEEN)", "NEWER",
	    "CHARSET", "CHARSET ALL", "CHARSET (x) ALL", "SEEN CHARSET x", "RETURN", "RETURN ALL", "RETURN (ALL)", "RETURN (ALL", "RETURN (X) ALL", "RETURN (ALL)SEEN", "RETURN(ALL) SEEN",
	    "CHARSET x RETURN (ALL) ALL",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (search(bad[i]) != NULL)
			fail_msg("accepted: %s", bad[i]);
}

/* As deep as is allowed, of what costs the most: the order of keys must not be found out again and again. */
static void depth_costs_nothing(void **state)
{
	char text[1000] = "";
	clock_t start = clock();

	(void)state;
	for (int i = 0; i < IMAP_SEARCH_DEPTH; i++)
		strcat(text, "NOT ");
	strcat(text, "BODY x");
	assert_non_null(search(text));
	text[0] = '\0';
	for (int i = 0; i < IMAP_SEARCH_DEPTH / 2; i++)
		strcat(text, "NOT (");
	strcat(text, "BODY x");
	for (int i = 0; i < IMAP_SEARCH_DEPTH / 2; i++)
		strcat(text, ")");
	assert_non_null(search(text));
	assert_true(clock() - start < CLOCKS_PER_SEC / 5);
	/* One deeper is too deep. */
	text[0] = '\0';
	for (int i = 0; i <= IMAP_SEARCH_DEPTH; i++)
		strcat(text, "NOT ");
	strcat(text, "BODY x");
	assert_null(search(text));
	text[0] = '\0';
	for (int i = 0; i <= IMAP_SEARCH_DEPTH; i++)
		strcat(text, "OR SEEN ");
	strcat(text, "DRAFT");
	assert_null(search(text));
}

/* Wherever the command's memory ends, it is an error. */
static void without_memory(void **state)
{
	bool made = false;

	(void)state;
	for (size_t max = 16; !made; max += 16) {
		struct pool *small = pool_new(NULL, max);
		struct imap_lex lex;

		imap_lex_init(&lex, SPAN_LIT("RETURN (ALL) NEW OR SEEN 1,2,3 (UNSEEN BODY \"\\\"\")"), small);
		made = imap_search_parse(&lex, 10, 100) != NULL;
		assert_int_equal(made, lex.wrong == NULL);
		pool_free(&small);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_key, setup, teardown),
	    cmocka_unit_test_setup_teardown(sets_are_keys, setup, teardown),
	    cmocka_unit_test_setup_teardown(combinations, setup, teardown),
	    cmocka_unit_test_setup_teardown(charsets_and_returns, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(depth_costs_nothing, setup, teardown),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
