/* Who may send: asked for each message, so that an account that is disabled or gone sends nothing, whoever was not told that its sessions end. */
#include "tests/unit/auth/fixture.h"

#include "auth/auth.h"

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\n";

static int begin(void **state)
{
	static struct auth auth;

	if (fixture_begin(config) != 0 || fixture_directory(&auth.directory) != 0)
		return -1;
	*state = &auth;
	return 0;
}

static void what_the_account_is_now_counts(void **state)
{
	static const char *const addresses[] = {"a@example.org", "A@EXAMPLE.org", "anybody@allowed.test", ""};
	struct auth *auth = *state;
	struct account account = {.address = "a@example.org", .senders = "*@allowed.test", .quota = UINT64_MAX};

	assert_int_equal(directory_account_add(auth->directory, &account, NULL), 0);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct err err = {0};

		assert_int_equal(auth_may_send_as(auth, account.id, span_str(addresses[i]), &err), 0);
		account.disabled = true;
		assert_int_equal(directory_account_put(auth->directory, &account, NULL), 0);
		assert_int_equal(auth_may_send_as(auth, account.id, span_str(addresses[i]), &err), E_DISABLED);
		account.disabled = false;
		assert_int_equal(directory_account_put(auth->directory, &account, NULL), 0);
		assert_int_equal(auth_may_send_as(auth, account.id + 1, span_str(addresses[i]), &err), E_DENIED);
		assert_string_equal(err.text, "your account has been removed");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_the_account_is_now_counts, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
