/* Which names of users may be asked for. */
#include "tests/unit/test.h"

#include "auth/user_name.h"

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
		if (user_name_is_valid(span_str(cases[i].name)) != cases[i].valid)
			fail_msg("%s", cases[i].name);
	assert_false(user_name_is_valid(SPAN_LIT("a\0b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
