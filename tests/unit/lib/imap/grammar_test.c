/* What FETCH and SEARCH ask for. */
#include "tests/unit/test.h"

#include "imap/fetch.h"
#include "imap/flags.h"
#include "imap/search.h"

#include <stdio.h>

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

static struct imap_fetch *fetch(const char *text)
{
	struct imap_lex lex;

	imap_lex_init(&lex, span_str(text), pool);
	return imap_fetch_parse(&lex);
}

static struct imap_search *search(const char *text)
{
	struct imap_lex lex;

	imap_lex_init(&lex, span_str(text), pool);
	return imap_search_parse(&lex, 10, 100);
}

static void macros(void **state)
{
	struct imap_fetch *f = fetch("FULL");

	(void)state;
	assert_non_null(f);
	assert_int_equal(f->count, 5);
	assert_true(f->needs_facts && !f->needs_file && !f->sets_seen && f->has_flags);
	assert_int_equal(fetch("fast")->count, 3);
	assert_null(fetch("(FAST)"));
	assert_null(fetch("ALL FLAGS"));
}

static void sections(void **state)
{
	struct imap_fetch *f = fetch("(BODY[1.2.HEADER.FIELDS (To \"Cc\")]<5.10> BODY.PEEK[] RFC822.TEXT BODY[3.MIME])");

	(void)state;
	assert_non_null(f);
	assert_int_equal(f->count, 4);
	assert_span_equal(f->items[0].label, "BODY[1.2.HEADER.FIELDS (\"To\" \"Cc\")]<5>");
	assert_int_equal(f->items[0].section.depth, 2);
	assert_int_equal(f->items[0].section.path[1], 2);
	assert_int_equal(f->items[0].section.kind, IMAP_SECTION_FIELDS);
	assert_int_equal(f->items[0].count, 10);
	assert_false(f->items[0].peek);
	assert_true(f->items[1].peek);
	assert_span_equal(f->items[1].label, "BODY[]");
	assert_span_equal(f->items[2].label, "RFC822.TEXT");
	assert_span_equal(f->items[3].label, "BODY[3.MIME]");
	assert_true(f->needs_file && f->sets_seen);
}

static void what_is_no_fetch(void **state)
{
	static const char *const bad[] = {"", "(", "()", "(FLAGS", "FLAGS)", "(FLAGS  UID)", "BODY[", "BODY[]<0>", "BODY[]<0.0>", "BODY[]<1.>", "BODY[0]", "BODY[1.]", "BODY[.1]", "BODY[MIME]",
	    "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[WHAT]", "BODY.PEEK", "RFC822.WHAT", "BODY[4294967296]", "UID UID"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (fetch(bad[i]) != NULL)
			fail_msg("accepted: %s", bad[i]);
}

static void keys_that_cost_little_come_first(void **state)
{
	struct imap_search *s = search("BODY x SUBJECT y SENTON 1-Jan-2020 UNSEEN TEXT z 1:3");
	const enum imap_search_kind order[] = {IMAP_SEARCH_NOT, IMAP_SEARCH_SEQUENCE, IMAP_SEARCH_SENTON, IMAP_SEARCH_HEADER, IMAP_SEARCH_BODY, IMAP_SEARCH_TEXT};
	const struct imap_search_key *k;
	size_t i = 0;

	(void)state;
	assert_non_null(s);
	for (k = s->root->first; k != NULL; k = k->next)
		assert_int_equal(k->kind, order[i++]);
	assert_int_equal(i, 6);
	assert_int_equal(s->root->first->first->number, IMAP_SEEN);
}

static void trees(void **state)
{
	struct imap_search *s = search("RETURN (MIN COUNT) CHARSET utf-8 OR (FROM a SEEN) NOT HEADER X-Y \"\" UID 5:*");
	const struct imap_search_key *or, *uid;

	(void)state;
	assert_non_null(s);
	assert_true(s->extended);
	assert_int_equal(s->returns, IMAP_RETURN_MIN | IMAP_RETURN_COUNT);
	assert_span_equal(s->charset, "utf-8");
	uid = s->root->first;
	assert_int_equal(uid->kind, IMAP_SEARCH_UID);
	assert_int_equal(uid->set.ranges[0].last, 100);
	or = uid->next;
	assert_int_equal(or->kind, IMAP_SEARCH_OR);
	assert_int_equal(or->first->kind, IMAP_SEARCH_AND);
	assert_int_equal(or->first->first->kind, IMAP_SEARCH_FLAG); /* SEEN before FROM */
	assert_int_equal(or->first->next->kind, IMAP_SEARCH_NOT);
	assert_int_equal(or->first->next->first->kind, IMAP_SEARCH_HEADER);
	assert_int_equal(or->first->next->first->text.len, 0);
}

static void what_is_no_search(void **state)
{
	static const char *const bad[] = {"", "WHAT", "()", "(", "(ALL", "ALL)", "NOT", "OR ALL", "OR ALL)", "BEFORE", "BEFORE x", "LARGER", "LARGER -1", "LARGER 4294967296", "HEADER x", "UID", "UID x", "0", "1:", "CHARSET", "CHARSET x",
	    "RETURN ALL", "RETURN (WHAT) ALL", "RETURN (ALL", "KEYWORD", "KEYWORD (x)", "SUBJECT", "ALL  ALL"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (search(bad[i]) != NULL)
			fail_msg("accepted: %s", bad[i]);
}

static void depth_and_number_are_limited(void **state)
{
	char text[40000];
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 40; i++)
		text[len++] = '(';
	snprintf(text + len, sizeof(text) - len, "ALL");
	assert_null(search(text));
	len = 0;
	for (int i = 0; i < IMAP_SEARCH_KEYS + 10; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "ALL ");
	text[len - 1] = '\0';
	assert_null(search(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(macros, setup, teardown),
	    cmocka_unit_test_setup_teardown(sections, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_fetch, setup, teardown),
	    cmocka_unit_test_setup_teardown(keys_that_cost_little_come_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(trees, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_search, setup, teardown),
	    cmocka_unit_test_setup_teardown(depth_and_number_are_limited, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
