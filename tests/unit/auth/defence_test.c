/* Guessing is answered late and then refused; nobody shuts out whom an account knows; tables stay as large as they are. */
#include "tests/unit/test.h"

#include "tests/unit/auth/defence_fixture.h"

/* A wrong guess: what the defence says of it; the delay, or -1. */
static int64_t guess(struct defence *d, const char *user, const char *remote, int64_t now)
{
	struct attempt a = who(d, user, remote);

	return defence_ask(d, &a, now) != NULL ? -1 : defence_wrong(d, &a, now);
}

static void a_pair_waits_ever_longer_and_is_refused(void **state)
{
	static const int64_t delays[] = {0, 1, 2, 4, 8, 15, 15, 15, 15};
	int64_t now = START;

	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++, now += 7 * SECOND)
		assert_int_equal(guess(*state, "a@example.org", "192.0.2.1", now), delays[i] * SECOND);
	assert_int_equal(guess(*state, "a@example.org", "192.0.2.1", now), 15 * SECOND);
	now += 20 * SECOND; /* the checks of the account's minute are over */
	assert_string_equal(asked(*state, "A@EXAMPLE.org", "192.0.2.1", now), "refused-pair");
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.2", now), "go");
	assert_string_equal(asked(*state, "b@example.org", "192.0.2.1", now), "go");
	/* One a minute is forgotten. */
	now += MINUTE;
	assert_int_equal(guess(*state, "a@example.org", "192.0.2.1", now), 15 * SECOND);
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.1", now), "refused-pair");
	assert_int_equal(guess(*state, "a@example.org", "192.0.2.1", now + 10 * MINUTE), 0);
}

static void a_success_forgets_the_pair(void **state)
{
	struct attempt a = who(*state, "a@example.org", "192.0.2.1");

	for (int i = 0; i < 5; i++)
		guess(*state, "a@example.org", "192.0.2.1", START);
	assert_int_equal(defence_failures(*state, &a, START), 10); /* five of the pair, five of the address */
	defence_right(*state, &a);
	assert_int_equal(guess(*state, "a@example.org", "192.0.2.1", START), 0);
}

static void an_address_is_refused_whatever_the_accounts(void **state)
{
	char user[32];

	for (int i = 0; i < 60; i++) {
		snprintf(user, sizeof(user), "u%d@example.org", i);
		assert_int_equal(guess(*state, user, "2001:db8:1:2::5", START), i < 20 ? 0 : i < 24 ? SECOND << (i - 20) : 15 * SECOND);
	}
	assert_string_equal(asked(*state, "new@example.org", "2001:db8:1:2::5", START), "refused-address");
	assert_string_equal(asked(*state, "new@example.org", "2001:db8:1:2:ffff::1", START), "refused-address");
	assert_string_equal(asked(*state, "new@example.org", "2001:db8:1:3::5", START), "go");
	assert_string_equal(asked(*state, "new@example.org", "2001:db8:1:2::5", START + MINUTE), "go");
}

static void an_ipv4_address_has_one_form(void **state)
{
	struct attempt a = who(*state, "a@example.org", "::ffff:192.0.2.1"), b = who(*state, "a@example.org", "192.0.2.1");

	assert_true(a.source == b.source);
	assert_string_equal(a.address, "192.0.2.1");
}

static void unlimited_from_is_no_address(void **state)
{
	char user[32];

	for (int i = 0; i < 200; i++) {
		struct attempt a;

		snprintf(user, sizeof(user), "u%d@example.org", i);
		a = who(*state, user, "192.0.2.1");
		a.exempt = true;
		assert_null(defence_ask(*state, &a, START));
		assert_int_equal(defence_wrong(*state, &a, START), 0);
	}
}

/* Whatever the domain in the address: a user of the machine has one password. */
static void a_user_of_the_machine_is_one_account(void **state)
{
	char remote[32], user[64];

	for (int i = 0; i < 2 * DEFENCE_CHECKS; i++) {
		struct attempt a;
		bool more = i < DEFENCE_CHECKS;

		snprintf(remote, sizeof(remote), "192.0.2.%d", i);
		snprintf(user, sizeof(user), "anna@%d.example", i % 3);
		a = who(*state, user, remote);
		defence_attempt_machine(*state, SPAN_LIT("anna"), &a);
		assert_true((defence_ask(*state, &a, START) == NULL) == more);
		if (more)
			defence_wrong(*state, &a, START);
	}
	assert_string_equal(asked(*state, "anna@0.example", "192.0.2.77", START), "go"); /* an account of the directory's own */
}

/* From addresses without end; also in every window of a minute. */
static void strangers_have_ten_checks_a_minute(void **state)
{
	int64_t checks[2000];
	char remote[32];
	size_t count = 0;

	for (int i = 0; i < 600 * 3; i++) {
		int64_t now = START + i * 333;

		snprintf(remote, sizeof(remote), "10.%d.%d.1", i / 250, i % 250);
		if (guess(*state, "a@example.org", remote, now) >= 0)
			checks[count++] = now;
	}
	assert_in_range(count, 90, 110);
	for (size_t i = 10; i < count; i++)
		assert_true(checks[i] - checks[i - 10] >= MINUTE);
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.1", START + 600 * SECOND), "refused-account");
}

/* A check may have to wait before it is made: it counts until a minute after that. */
static void a_check_that_waits_counts_until_a_minute_after_its_end(void **state)
{
	struct attempt waiting[DEFENCE_CHECKS];
	char remote[32];

	for (int i = 0; i < DEFENCE_CHECKS; i++) {
		snprintf(remote, sizeof(remote), "10.0.%d.1", i);
		waiting[i] = who(*state, "a@example.org", remote);
		assert_null(defence_ask(*state, &waiting[i], START));
	}
	assert_string_equal(asked(*state, "a@example.org", "10.1.0.1", START + 2 * MINUTE), "refused-account");
	defence_give_back(*state, &waiting[0]);
	assert_string_equal(asked(*state, "a@example.org", "10.1.0.1", START + 2 * MINUTE), "go");
	defence_wrong(*state, &waiting[1], START + 2 * MINUTE);
	assert_int_equal(guess(*state, "a@example.org", "10.2.0.1", START + 2 * MINUTE + 30 * SECOND), 0);
	assert_string_equal(asked(*state, "a@example.org", "10.1.0.1", START + 3 * MINUTE - 1), "refused-account");
	assert_string_equal(asked(*state, "a@example.org", "10.1.0.1", START + 3 * MINUTE), "go");
}

/* Neither strangers elsewhere nor his neighbours at accounts that do not know the address. */
static void who_is_known_is_refused_for_nothing_that_others_do(void **state)
{
	struct attempt owner = who_is_known(*state, "a@example.org", "192.0.2.1");
	char remote[32];

	for (int i = 0; i < 200; i++) {
		snprintf(remote, sizeof(remote), "10.0.%d.1", i);
		guess(*state, "a@example.org", remote, START);
		guess(*state, "a@example.org", "192.0.2.1", START);
		guess(*state, "b@example.org", "192.0.2.1", START);
	}
	defence_spent(*state, 60 * 1000 * 1000, START);
	assert_null(defence_ask(*state, &owner, START));
	assert_false(defence_is_suspect(*state, &owner, START));
}

static bool guess_known(struct defence *d, const char *user, const char *remote, uint64_t password, int64_t now)
{
	struct attempt a = who_is_known(d, user, remote);

	a.password = password;
	if (defence_ask(d, &a, now) != NULL)
		return false;
	defence_wrong(d, &a, now);
	return true;
}

/* Also of ten connections at once. A success is none of them, and does not make room for more. */
static void who_is_known_has_thirty_checks_a_minute(void **state)
{
	struct attempt owner = who_is_known(*state, "a@example.org", "192.0.2.1"), elsewhere = who_is_known(*state, "a@example.org", "192.0.2.2");
	struct attempt neighbour = who_is_known(*state, "b@example.org", "192.0.2.1"), at_once[DEFENCE_KNOWN_CHECKS - 1];

	assert_true(guess_known(*state, "a@example.org", "192.0.2.1", 0, START));
	for (int i = 0; i < DEFENCE_KNOWN_CHECKS - 1; i++) {
		at_once[i] = owner;
		assert_null(defence_ask(*state, &at_once[i], START));
	}
	assert_string_equal(defence_ask(*state, &owner, START), "refused-pair");
	assert_true(owner.may_wait);
	defence_right(*state, &at_once[0]);
	assert_null(defence_ask(*state, &owner, START));
	defence_wrong(*state, &owner, START);
	for (int i = 1; i < DEFENCE_KNOWN_CHECKS - 1; i++)
		defence_wrong(*state, &at_once[i], START + SECOND);
	assert_string_equal(defence_ask(*state, &owner, START + 2 * SECOND), "refused-pair");
	assert_false(owner.may_wait);
	assert_null(defence_ask(*state, &elsewhere, START + 2 * SECOND));
	assert_null(defence_ask(*state, &neighbour, START + 2 * SECOND));
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.99", START + 2 * SECOND), "go"); /* strangers' checks are others */
	assert_string_equal(defence_ask(*state, &owner, START + MINUTE - 1), "refused-pair");
	assert_null(defence_ask(*state, &owner, START + MINUTE));
}

/* A client with the old password, for an hour: one check, and whoever has the right one has the rest. */
static void what_was_wrong_is_known_again(void **state)
{
	struct attempt phone = who_is_known(*state, "a@example.org", "192.0.2.1"), other;
	int64_t now = START;

	phone.password = 7;
	assert_false(defence_is_repeated(*state, &phone, now));
	assert_null(defence_ask(*state, &phone, now));
	assert_false(defence_is_repeated(*state, &phone, now));
	assert_int_equal(defence_wrong(*state, &phone, now), 0);
	for (; now < START + 60 * MINUTE; now += SECOND) {
		assert_true(defence_is_repeated(*state, &phone, now));
		assert_int_equal(defence_repeated(*state, &phone, now), SECOND);
	}
	assert_false(defence_is_repeated(*state, &phone, now));
	assert_int_equal(defence_failures(*state, &phone, START + SECOND), 1);
	/* Of no other pair, nor of one that the account does not know, nor what was not found wrong. */
	other = who_is_known(*state, "a@example.org", "192.0.2.2");
	other.password = 7;
	assert_false(defence_is_repeated(*state, &other, START));
	other = phone;
	other.known = false;
	assert_false(defence_is_repeated(*state, &other, START));
	other = phone;
	other.password = 8;
	assert_null(defence_ask(*state, &other, START));
	defence_right(*state, &other);
	assert_false(defence_is_repeated(*state, &other, START));
	other.password = 0;
	assert_true(guess_known(*state, "a@example.org", "192.0.2.1", 0, START));
	assert_false(defence_is_repeated(*state, &other, START));
	/* Thirty others make it forgotten. */
	for (unsigned i = 0; i < DEFENCE_KNOWN_CHECKS; i++)
		assert_true(guess_known(*state, "a@example.org", "192.0.2.1", 100 + i, START + MINUTE));
	assert_false(defence_is_repeated(*state, &phone, START + MINUTE));
}

static void who_guesses_from_a_known_address_is_a_suspect(void **state)
{
	struct attempt owner = who_is_known(*state, "a@example.org", "192.0.2.1"), neighbour = who_is_known(*state, "z@example.org", "192.0.2.1");
	char user[32];

	for (int i = 0; i < 3; i++) {
		assert_false(defence_is_suspect(*state, &owner, START));
		assert_true(guess_known(*state, "a@example.org", "192.0.2.1", 0, START));
	}
	assert_true(defence_is_suspect(*state, &owner, START));
	assert_false(defence_is_suspect(*state, &owner, START + MINUTE));
	for (int i = 0; i < 8; i++) {
		assert_false(defence_is_suspect(*state, &neighbour, START));
		snprintf(user, sizeof(user), "u%d@example.org", i);
		assert_true(guess_known(*state, user, "192.0.2.1", 0, START));
	}
	assert_true(defence_is_suspect(*state, &neighbour, START));
	assert_null(defence_ask(*state, &neighbour, START));
	defence_give_back(*state, &neighbour);
	assert_string_equal(asked(*state, "b@example.org", "192.0.2.1", START), "go"); /* a stranger there is not refused for it */
	assert_false(defence_is_suspect(*state, &neighbour, START + MINUTE));
	/* Of one password, asked about by many programs at once, one is asked for. */
	for (int i = 0; i < 40; i++)
		defence_wrong(*state, &neighbour, START + MINUTE);
	assert_false(defence_is_suspect(*state, &neighbour, START + MINUTE));
}

static void a_right_password_is_no_check(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct attempt a = who(*state, "a@example.org", "192.0.2.1");

		assert_null(defence_ask(*state, &a, START));
		assert_true(a.counted);
		defence_right(*state, &a);
	}
}

/* While checks are under way it is not known whether there is room. */
static void whose_turn_may_come_can_wait(void **state)
{
	struct attempt under_way[DEFENCE_CHECKS], next = who(*state, "a@example.org", "192.0.2.1");
	char remote[32];

	for (int i = 0; i < DEFENCE_CHECKS; i++) {
		snprintf(remote, sizeof(remote), "10.0.0.%d", i);
		under_way[i] = who(*state, "a@example.org", remote);
		assert_null(defence_ask(*state, &under_way[i], START));
	}
	assert_non_null(defence_ask(*state, &next, START));
	assert_true(next.may_wait);
	defence_right(*state, &under_way[0]);
	assert_null(defence_ask(*state, &next, START));
	assert_false(next.may_wait);
	defence_give_back(*state, &next);
	defence_give_back(*state, &next); /* once */
	for (int i = 1; i < DEFENCE_CHECKS; i++)
		defence_wrong(*state, &under_way[i], START);
	assert_int_equal(guess(*state, "a@example.org", "10.0.1.1", START), 0);
	assert_non_null(defence_ask(*state, &next, START));
	assert_false(next.may_wait);
}

static void wrong_guesses_have_a_quarter_of_a_processor(void **state)
{
	int64_t spent = 0, now = START;
	char remote[32], user[32];

	for (int i = 0; i < 60 * 50; i++, now += 20) {
		struct attempt a;

		snprintf(remote, sizeof(remote), "10.%d.%d.1", i / 250, i % 250);
		snprintf(user, sizeof(user), "u%d@example.org", i);
		a = who(*state, user, remote);
		if (defence_ask(*state, &a, now) != NULL)
			continue;
		defence_wrong(*state, &a, now);
		defence_spent(*state, 100 * 1000, now);
		spent += 100;
	}
	assert_in_range(spent, 18 * SECOND, 21 * SECOND);
	defence_spent(*state, 100 * 1000, now);
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", now), "refused-load");
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", now + SECOND), "go");
	/* Who has failed is put off for longer. */
	now += 20 * SECOND;
	assert_int_equal(guess(*state, "u0@example.org", "10.0.0.1", now), 0);
	defence_spent(*state, 3 * 1000 * 1000, now);
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", now), "go");
	assert_string_equal(asked(*state, "u0@example.org", "10.0.0.1", now), "refused-load");
}

/* A million names and addresses, of which each is hashed: who was refused still is, until his minute is over. */
static void guessing_does_not_wash_counts_away(void **state)
{
	char remote[32], user[32];

	for (int i = 0; i < DEFENCE_CHECKS; i++) {
		snprintf(remote, sizeof(remote), "192.0.2.%d", i);
		guess(*state, "a@example.org", remote, START);
	}
	for (int i = 0; i < 1000000; i++) {
		address_of(i, remote, sizeof(remote));
		snprintf(user, sizeof(user), "u%d@example.org", i);
		guess(*state, user, remote, START + 1);
	}
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.99", START + MINUTE - 1), "refused-account");
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.99", START + MINUTE), "refused-load"); /* no row: theirs stay for their minute, too */
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.99", START + MINUTE), "go");
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.99", START + MINUTE + 1), "go");
}

/* What is asked for and given back leaves no row: as many as you like push nobody's out, and none keeps a newcomer from his. */
static void what_is_given_back_leaves_nothing(void **state)
{
	char remote[32], user[32];

	for (int i = 0; i < DEFENCE_CHECKS; i++) {
		snprintf(remote, sizeof(remote), "192.0.2.%d", i);
		guess(*state, "a@example.org", remote, START);
	}
	for (int i = 0; i < 100000; i++) {
		address_of(i, remote, sizeof(remote));
		snprintf(user, sizeof(user), "u%d@example.org", i);
		assert_string_equal(asked(*state, user, remote, START), "go");
	}
	assert_string_equal(asked(*state, "a@example.org", "192.0.2.99", START), "refused-account");
	assert_int_equal(defence_clear_all(*state), 2 * DEFENCE_CHECKS + 1);
}

/* An address at its limit stays there while others fail once, whatever their number. */
static void an_address_is_not_washed_away_by_others(void **state)
{
	char remote[32], user[32];

	for (int i = 0; i < 60; i++) {
		snprintf(user, sizeof(user), "u%d@example.org", i);
		guess(*state, user, "192.0.2.1", START);
	}
	for (int i = 0; i < 100000; i++) {
		address_of(i, remote, sizeof(remote));
		guess(*state, "a@example.org", remote, START + 7 * SECOND * (int64_t)(i / 20000));
		defence_malformed(*state, &(struct attempt){.source = (uint64_t)i + 1}, START);
	}
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", START + 29 * SECOND), "refused-address");
}

static void what_is_malformed_counts_for_the_address(void **state)
{
	struct attempt owner = who_is_known(*state, "a@example.org", "192.0.2.1");
	char user[32];

	for (int i = 0; i < 60; i++) {
		struct attempt a;

		snprintf(user, sizeof(user), "u%d@example.org", i);
		a = who(*state, user, "192.0.2.1");
		a.proof = true;
		assert_null(defence_ask(*state, &a, START));
		assert_int_equal(defence_malformed(*state, &a, START), i < 20 ? 0 : i < 24 ? SECOND << (i - 20) : 15 * SECOND);
		assert_false(a.counted);
	}
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.1", START), "refused-address");
	assert_string_equal(asked(*state, "new@example.org", "192.0.2.2", START), "go");
	/* Nobody's password was guessed; and a client of one who belongs here may be a poor one. */
	assert_int_equal(defence_clear(*state, &(struct attempt){.account = who(*state, "u1@example.org", "192.0.2.1").account, .source = 1}), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(defence_malformed(*state, &owner, START), 0);
	assert_null(defence_ask(*state, &owner, START));
}

struct seen {
	unsigned rows, failures;
	char last[200];
};

static void see(void *arg, const struct defence_row *row)
{
	struct seen *seen = arg;

	seen->rows++;
	seen->failures += row->failures;
	snprintf(seen->last, sizeof(seen->last), "%d %s %s", (int)row->kind, row->address, row->user);
}

static struct seen look(struct defence *d, int64_t now)
{
	struct seen seen = {0};

	defence_each(d, now, see, &seen);
	return seen;
}

static void what_is_counted_can_be_seen_and_cleared(void **state)
{
	struct attempt a = who(*state, "a@example.org", "a@example.org"), address = who(*state, "192.0.2.1", "192.0.2.1");

	guess(*state, "a@example.org", "192.0.2.1", START);
	guess(*state, "b@example.org", "192.0.2.1", START);
	assert_int_equal(look(*state, START).rows, 5); /* two pairs, an address, two accounts */
	assert_int_equal(look(*state, START).failures, 6);
	assert_int_equal(defence_clear(*state, &a), 2);
	assert_int_equal(look(*state, START).rows, 3);
	assert_int_equal(defence_clear(*state, &address), 2);
	assert_string_equal(look(*state, START).last, "2  b@example.org");
	assert_int_equal(look(*state, START + 10 * MINUTE).rows, 0);
	assert_int_equal(defence_clear_all(*state), 1);
	assert_int_equal(look(*state, START).rows, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_pair_waits_ever_longer_and_is_refused, begin, end),
	    cmocka_unit_test_setup_teardown(a_success_forgets_the_pair, begin, end),
	    cmocka_unit_test_setup_teardown(an_address_is_refused_whatever_the_accounts, begin, end),
	    cmocka_unit_test_setup_teardown(an_ipv4_address_has_one_form, begin, end),
	    cmocka_unit_test_setup_teardown(unlimited_from_is_no_address, begin, end),
	    cmocka_unit_test_setup_teardown(a_user_of_the_machine_is_one_account, begin, end),
	    cmocka_unit_test_setup_teardown(strangers_have_ten_checks_a_minute, begin, end),
	    cmocka_unit_test_setup_teardown(a_check_that_waits_counts_until_a_minute_after_its_end, begin, end),
	    cmocka_unit_test_setup_teardown(who_is_known_is_refused_for_nothing_that_others_do, begin, end),
	    cmocka_unit_test_setup_teardown(who_is_known_has_thirty_checks_a_minute, begin, end),
	    cmocka_unit_test_setup_teardown(what_was_wrong_is_known_again, begin, end),
	    cmocka_unit_test_setup_teardown(who_guesses_from_a_known_address_is_a_suspect, begin, end),
	    cmocka_unit_test_setup_teardown(a_right_password_is_no_check, begin, end),
	    cmocka_unit_test_setup_teardown(whose_turn_may_come_can_wait, begin, end),
	    cmocka_unit_test_setup_teardown(wrong_guesses_have_a_quarter_of_a_processor, begin, end),
	    cmocka_unit_test_setup_teardown(guessing_does_not_wash_counts_away, begin, end),
	    cmocka_unit_test_setup_teardown(what_is_given_back_leaves_nothing, begin, end),
	    cmocka_unit_test_setup_teardown(an_address_is_not_washed_away_by_others, begin, end),
	    cmocka_unit_test_setup_teardown(what_is_malformed_counts_for_the_address, begin, end),
	    cmocka_unit_test_setup_teardown(what_is_counted_can_be_seen_and_cleared, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
