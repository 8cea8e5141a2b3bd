/* Proofs, which cost no hash, have a price of their own; tokens of one who is known count once they were wrong. */
#include "tests/unit/test.h"

#include "tests/unit/auth/defence_fixture.h"

/* The identity provider takes its time: as many tokens as come at once are checked, and wait for no password. Those that were wrong count. */
static void tokens_of_who_is_known_count_when_they_were_wrong(void **state)
{
	struct attempt password = who_is_known(*state, "a@example.org", "192.0.2.1"), token = password, under_way[2 * DEFENCE_KNOWN_CHECKS];
	struct attempt passwords[DEFENCE_KNOWN_CHECKS];

	token.proof = token.token = true;
	for (int i = 0; i < 2 * DEFENCE_KNOWN_CHECKS; i++) {
		under_way[i] = token;
		assert_null(defence_ask(*state, &under_way[i], START));
	}
	for (int i = 0; i < DEFENCE_KNOWN_CHECKS; i++) { /* nor do these wait for tokens */
		passwords[i] = password;
		assert_null(defence_ask(*state, &passwords[i], START));
	}
	assert_string_equal(defence_ask(*state, &password, START), "refused-pair");
	assert_null(defence_ask(*state, &token, START));
	for (int i = 0; i < DEFENCE_KNOWN_CHECKS; i++) /* what was right, or was not checked, gives back nobody else's */
		defence_right(*state, &under_way[i]);
	assert_int_equal(defence_failures(*state, &password, START), DEFENCE_KNOWN_CHECKS);
	for (int i = 0; i < DEFENCE_KNOWN_CHECKS; i++)
		defence_right(*state, &passwords[i]);
	assert_int_equal(defence_failures(*state, &password, START), 0);
	for (int i = 0; i < DEFENCE_KNOWN_CHECKS; i++) {
		assert_null(defence_ask(*state, &token, START));
		assert_int_equal(defence_failures(*state, &password, START), i);
		defence_wrong(*state, &under_way[DEFENCE_KNOWN_CHECKS + i], START);
	}
	assert_string_equal(defence_ask(*state, &token, START + MINUTE - 1), "refused-pair");
	assert_string_equal(defence_ask(*state, &password, START + MINUTE - 1), "refused-pair");
	assert_false(token.may_wait);
	assert_null(defence_ask(*state, &token, START + MINUTE));
}

static bool prove(struct defence *d, int number, bool known, int64_t now)
{
	char remote[32], user[32];
	struct attempt a;

	address_of(number, remote, sizeof(remote));
	snprintf(user, sizeof(user), "u%d@example.org", number);
	a = who(d, user, remote);
	a.proof = true;
	a.known = known;
	if (defence_ask(d, &a, now) != NULL)
		return false;
	defence_wrong(d, &a, now);
	return true;
}

/* From addresses without end, at names without end, ten of each millisecond. */
static void strangers_proofs_have_a_pace(void **state)
{
	char remote[32];
	int count = 0;

	for (int i = 0; i < 10 * MINUTE; i++)
		count += prove(*state, i, false, START + i / 10);
	assert_in_range(count, DEFENCE_PROOFS, 2 * DEFENCE_PROOFS + 1);
	assert_true(prove(*state, 1, true, START + MINUTE));
	/* What was right is given back. */
	for (int i = 0; i < 3 * DEFENCE_PROOFS; i++) {
		struct attempt a;

		address_of(i, remote, sizeof(remote));
		a = who(*state, "right@example.org", remote);
		a.proof = true;
		assert_null(defence_ask(*state, &a, START + 3 * MINUTE));
		defence_right(*state, &a);
	}
	for (int i = 0; i < DEFENCE_PROOFS; i++)
		assert_true(prove(*state, i, false, START + 3 * MINUTE));
	assert_false(prove(*state, DEFENCE_PROOFS, false, START + 3 * MINUTE));
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", START + 3 * MINUTE), "go"); /* by a password */
}

static bool prove_from(struct defence *d, const char *user, const char *remote, int64_t now)
{
	struct attempt a = who(d, user, remote);

	a.proof = true;
	if (defence_ask(d, &a, now) != NULL)
		return false;
	defence_wrong(d, &a, now);
	return true;
}

/* One customer's /56 has 256 of what is counted as an address: as many proofs as it gets, for ten minutes, leave room for newcomers, who get in by theirs. */
static void who_has_failed_leaves_room_for_proofs_of_others(void **state)
{
	char remote[32], user[32];
	int count = 0;

	for (int i = 0; i < 10 * 60 * 100; i++) {
		int64_t now = START + i * 10;
		struct attempt newcomer = who(*state, "new@example.org", "192.0.2.1");

		snprintf(remote, sizeof(remote), "2001:db8:1:%x::1", i % 256);
		snprintf(user, sizeof(user), "u%d@example.org", i);
		count += prove_from(*state, user, remote, now);
		newcomer.proof = true;
		assert_null(defence_ask(*state, &newcomer, now));
		defence_right(*state, &newcomer);
	}
	assert_true(count > DEFENCE_PROOFS);
	/* Of them all at once half. */
	count = 0;
	for (int i = 0; i < 4 * DEFENCE_PROOFS; i++) {
		snprintf(remote, sizeof(remote), "2001:db8:2:%x::1", i % 256);
		snprintf(user, sizeof(user), "v%d@example.org", i);
		count += prove_from(*state, user, remote, START + 60 * MINUTE);
	}
	assert_in_range(count, DEFENCE_PROOFS / 2, DEFENCE_PROOFS / 2 + 1);
}

/* Newcomers' names, too, when all proofs that there may be in a minute have a row each, and hashes some hundred more. */
static void proofs_leave_rows_for_others(void **state)
{
	char user[32];
	int refused = 0;

	for (int i = 0; i < DEFENCE_PROOFS; i++)
		assert_true(prove(*state, i, false, START));
	for (int i = 1; i < DEFENCE_PROOFS; i++)
		assert_true(prove(*state, DEFENCE_PROOFS + i, false, START + i * (MINUTE / DEFENCE_PROOFS)));
	for (int i = 0; i < 1000; i++) {
		snprintf(user, sizeof(user), "new%d@example.org", i);
		refused += strcmp(asked(*state, user, "192.0.2.1", START + MINUTE - 1), "go") != 0;
	}
	assert_in_range(refused, 0, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(tokens_of_who_is_known_count_when_they_were_wrong, begin, end),
	    cmocka_unit_test_setup_teardown(strangers_proofs_have_a_pace, begin, end),
	    cmocka_unit_test_setup_teardown(who_has_failed_leaves_room_for_proofs_of_others, begin, end),
	    cmocka_unit_test_setup_teardown(proofs_leave_rows_for_others, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
