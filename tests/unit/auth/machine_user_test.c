/* Which names of users may be asked for, and which users have mailboxes. */
#include "tests/unit/test.h"

#include "auth/machine_user.h"

static void names(void **state)
{
	static const struct {
		const char *name;
		bool valid;
	} cases[] = {{"alice", true}, {"a", true}, {"Alice.B-c_9", true}, {"_apt", true}, {"4all", true}, {"", false}, {"-rf", false}, {"1000", false},
	    {"a b", false}, {"a:b", false}, {"a/b", false}, {"../x", false}, {"a+b", false}, {"a\n", false}, {"\xc3\xa4", false}, {"a@b", false}, {"a$", false},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (machine_user_name_is_valid(span_str(cases[i].name)) != cases[i].valid)
			fail_msg("%s", cases[i].name);
	assert_false(machine_user_name_is_valid(SPAN_LIT("a\0b")));
}

static void numbers(void **state)
{
	(void)state;
	assert_false(machine_user_has_mailbox(0, 1000));
	assert_false(machine_user_has_mailbox(999, 1000));
	assert_true(machine_user_has_mailbox(1000, 1000));
	assert_true(machine_user_has_mailbox(4000000000, 1000));
	assert_false(machine_user_has_mailbox(65534, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(numbers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
