/* Suggestions for unknown words, and host names. */
#include "tests/unit/test.h"

#include "base/near.h"

#include <stdio.h>
#include <string.h>

static void the_word_that_was_meant(void **state)
{
	static const char *const words[] = {"account", "alias", "quota", "catch-all", "log", "list"};
	static const struct {
		const char *typed, *meant;
	} rows[] = {{"acount", "account"}, {"qouta", "quota"}, {"quotas", "quota"}, {"catchall", "catch-all"}, {"lsit", "list"}, {"alais", "alias"},
	    {"list", "list"}, {"lg", "log"}, {"foo", NULL}, {"x", NULL}, {"", NULL}, {"something-else", NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct near near = near_begin(span_str(rows[i].typed));

		for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
			near_try(&near, words[k]);
		if (near.best == NULL || rows[i].meant == NULL ? near.best != rows[i].meant : strcmp(near.best, rows[i].meant) != 0)
			fail_msg("%s: %s", rows[i].typed, near.best != NULL ? near.best : "nothing");
	}
}

static void a_very_long_word_is_near_nothing(void **state)
{
	char word[1000];
	struct near near = near_begin(span_of(memset(word, 'a', sizeof(word)), sizeof(word)));

	(void)state;
	near_try(&near, "aaaa");
	assert_null(near.best);
}

static void host_names(void **state)
{
	static const char *const good[] = {"a", "mail.example.org", "A-1.b", "xn--bcher-kva.example", "3com.com", "192.0.2.1"};
	static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "b\xc3\xbc" "cher", "[::1]"};
	char label[65], name[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!span_is_host_name(span_str(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (span_is_host_name(span_str(bad[i])))
			fail_msg("accepted: %s", bad[i]);
	memset(label, 'a', sizeof(label));
	assert_true(span_is_host_name(span_of(label, 63)));
	assert_false(span_is_host_name(span_of(label, 64)));
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 == 0 ? 'a' : '.';
	assert_true(span_is_host_name(span_of(name, 253)));
	assert_false(span_is_host_name(span_of(name, 255)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_word_that_was_meant),
	    cmocka_unit_test(a_very_long_word_is_near_nothing),
	    cmocka_unit_test(host_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
