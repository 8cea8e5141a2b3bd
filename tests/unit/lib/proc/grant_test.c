/* auth's word, checked by those who have the key. */
#include "tests/unit/test.h"

#include "proc/grant.h"

static void a_grant_is_for_one_thing_only(void **state)
{
	unsigned char key[GRANT_KEY] = {1}, other[GRANT_KEY] = {2}, grant[GRANT_SIZE];
	struct span name = SPAN_LIT("a@b.test"), g = {(const char *)grant, sizeof(grant)};

	(void)state;
	grant_make(key, GRANT_LOGIN, 7, 100, name, 1000, grant);
	assert_true(grant_check(key, GRANT_LOGIN, 7, 100, name, 1000, g));
	assert_false(grant_check(key, GRANT_LOGIN, 7, 100, name, 1001, g));
	assert_false(grant_check(key, GRANT_RECIPIENT, 7, 100, name, 999, g));
	assert_false(grant_check(key, GRANT_LOGIN, 8, 100, name, 999, g));
	assert_false(grant_check(key, GRANT_LOGIN, 7, 101, name, 999, g));
	assert_false(grant_check(key, GRANT_LOGIN, 7, 100, SPAN_LIT("a@b.tes"), 999, g));
	assert_false(grant_check(other, GRANT_LOGIN, 7, 100, name, 999, g));
	assert_false(grant_check(key, GRANT_LOGIN, 7, 100, name, 999, span_sub(g, 0, GRANT_SIZE - 1)));
	assert_false(grant_check(key, GRANT_LOGIN, 7, 100, name, 999, (struct span){0}));
	for (size_t i = 0; i < sizeof(grant); i++) {
		grant[i] ^= 1;
		assert_false(grant_check(key, GRANT_LOGIN, 7, 100, name, 999, g));
		grant[i] ^= 1;
	}
}

static void a_command_is_signed_with_its_name(void **state)
{
	unsigned char key[GRANT_KEY] = {1}, grant[GRANT_SIZE];
	struct span name = SPAN_LIT("ticket"), program = SPAN_LIT("/bin/ticket -q"), g = {(const char *)grant, sizeof(grant)};

	(void)state;
	grant_make_program(key, 1, name, program, 1000, grant);
	assert_true(grant_check_program(key, 1, name, program, 1000, g));
	assert_false(grant_check_program(key, 1, name, program, 1001, g));
	assert_false(grant_check_program(key, 2, name, program, 999, g));
	assert_false(grant_check_program(key, 1, SPAN_LIT("root"), program, 999, g));
	assert_false(grant_check_program(key, 1, name, SPAN_LIT("/bin/ticket -"), 999, g));
	assert_false(grant_check_program(key, 1, SPAN_LIT("ticke"), SPAN_LIT("t/bin/ticket -q"), 999, g));
	assert_false(grant_check(key, GRANT_RECIPIENT, 1, 0, SPAN_LIT("ticket\0/bin/ticket -q"), 999, g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_grant_is_for_one_thing_only), cmocka_unit_test(a_command_is_signed_with_its_name)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
