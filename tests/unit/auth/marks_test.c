/* The places that an account is known to log in from: for a month after the last time. */
#include "tests/unit/auth/fixture.h"

#include "auth/auth.h"
#include "auth/marks.h"
#include "base/clock.h"

enum { HERE = 7, THERE = 8 };

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\n";
static struct auth auth;
static uint64_t account;

static int begin(void **state)
{
	struct account added = {.address = "a@example.org", .quota = UINT64_MAX};
	struct err err;

	(void)state;
	auth = (struct auth){0};
	if (fixture_begin(config) != 0 || fixture_directory(&auth.directory) != 0 || directory_account_add(auth.directory, &added, &err) != 0)
		return -1;
	account = added.id;
	auth.marks = marks_new(&auth);
	return auth.marks != NULL ? 0 : -1;
}

static uint32_t today(void)
{
	return (uint32_t)(clock_wall() / (24 * 60 * 60));
}

static void put(uint64_t place, uint32_t day)
{
	struct err err;

	assert_int_equal(directory_place_put(auth.directory, account, &(struct place){place, day}, &err), 0);
}

static void a_place_is_known_at_once(void **state)
{
	(void)state;
	assert_false(marks_is_known(auth.marks, account, HERE));
	marks_place(auth.marks, account, HERE);
	assert_true(marks_is_known(auth.marks, account, HERE));
	marks_flush(auth.marks);
	assert_true(marks_is_known(auth.marks, account, HERE));
	assert_false(marks_is_known(auth.marks, account, THERE));
	assert_false(marks_is_known(auth.marks, 0, HERE));
}

static void a_place_is_forgotten_after_a_month(void **state)
{
	(void)state;
	put(HERE, today() - MARKS_PLACE_DAYS + 1); /* whatever midnight does */
	put(THERE, today() - MARKS_PLACE_DAYS - 1);
	assert_true(marks_is_known(auth.marks, account, HERE));
	assert_false(marks_is_known(auth.marks, account, THERE));
	marks_place(auth.marks, account, THERE);
	assert_true(marks_is_known(auth.marks, account, THERE));
	marks_flush(auth.marks);
	assert_true(marks_is_known(auth.marks, account, THERE));
}

/* A clock that was a year ahead: the next log-in puts it right, or the place would be known for a year. */
static void a_day_to_come_is_put_right(void **state)
{
	struct place places[DIRECTORY_PLACES];

	(void)state;
	put(HERE, today() + 365);
	assert_true(marks_is_known(auth.marks, account, HERE));
	marks_place(auth.marks, account, HERE);
	marks_flush(auth.marks);
	directory_places_get(auth.directory, account, places);
	assert_in_range(places[0].day, today() - 1, today());
	assert_int_equal(places[0].hash, HERE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_place_is_known_at_once, begin),
	    cmocka_unit_test_setup(a_place_is_forgotten_after_a_month, begin),
	    cmocka_unit_test_setup(a_day_to_come_is_put_right, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
