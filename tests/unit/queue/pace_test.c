/* Turns at even distances, by a clock of the test's own. */
#include "tests/unit/test.h"

#include "queue/pace.h"

enum { LOOK_MS = 10 };

/* How many turns there are in a minute for somebody who looks each LOOK_MS. */
static uint64_t turns_in_a_minute(uint64_t rate)
{
	struct pace pace = {0};
	uint64_t turns = 0;

	for (int64_t now = 1000; now < 61000; now += LOOK_MS)
		while (pace_take(&pace, rate, now) == 0)
			turns++;
	return turns;
}

static void there_are_as_many_as_were_asked_for(void **state)
{
	static const uint64_t rates[] = {1, 7, 60, 999, 40000, 60001, 90000, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t turns = turns_in_a_minute(rates[i]);

		if (turns > rates[i] + 1 || turns + rates[i] / 100 + 1 < rates[i])
			fail_msg("%llu turns at a rate of %llu", (unsigned long long)turns, (unsigned long long)rates[i]);
	}
}

static void without_a_rate_there_is_no_limit(void **state)
{
	struct pace pace = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(pace_take(&pace, 0, 5), 0);
}

static void what_is_not_given_says_when(void **state)
{
	struct pace pace = {0};

	(void)state;
	assert_int_equal(pace_take(&pace, 120, 1000), 0);
	assert_int_equal(pace_take(&pace, 120, 1000), 500);
	assert_int_equal(pace_take(&pace, 120, 1499), 1);
	assert_int_equal(pace_take(&pace, 120, 1510), 0);
	assert_int_equal(pace_take(&pace, 120, 1510), 490); /* it was late, and the next one is not */
	assert_int_equal(pace_take(&pace, 120, 5000), 0);
	assert_int_equal(pace_take(&pace, 120, 5000), 500); /* what nobody took is gone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_are_as_many_as_were_asked_for),
	    cmocka_unit_test(without_a_rate_there_is_no_limit),
	    cmocka_unit_test(what_is_not_given_says_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
