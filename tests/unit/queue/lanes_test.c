/* Jobs that wait for a destination: whose turn it is, and who has to leave where there are too many. */
#include "tests/unit/test.h"

#include "queue/destination.h"

#include <stdlib.h>

enum { MOST = 2000, MANY = 3500, ALICE = 1, BOB = 2, CAROL = 3 };

static struct message messages[4];

static bool enter(struct lanes *lanes, uint64_t sender, struct job *job)
{
	if (!lanes_have_room(lanes, sender, MOST))
		return false;
	job->message = &messages[sender % 4];
	assert_true(lanes_put(lanes, sender, (uint32_t)sender, job));
	return true;
}

static unsigned jobs_of(const struct lanes *lanes, uint64_t sender)
{
	for (const struct lane *lane = lanes->first; lane != NULL; lane = lane->next)
		if (lane->sender == sender)
			return lane->count;
	return 0;
}

static void take_all(struct lanes *lanes)
{
	while (lanes->count > 0)
		lanes_take(lanes);
	assert_null(lanes->first);
	assert_null(lanes->last);
}

static void lanes_take_turns(void **state)
{
	struct lanes lanes = {0};
	struct job jobs[6] = {{.tried_before = true}};
	static const unsigned order[] = {1, 3, 2, 4, 0};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_true(enter(&lanes, i < 3 ? ALICE : BOB, &jobs[i]));
	for (size_t i = 0; i < 5; i++)
		assert_ptr_equal(lanes_take(&lanes), &jobs[order[i]]);
	assert_null(lanes.first);
	assert_true(enter(&lanes, CAROL, &jobs[5]));
	assert_ptr_equal(lanes_take(&lanes), &jobs[5]);
}

/* Alice has more than there may be; bob's twenty take the places of twenty of hers, her last ones, and have their turns at once. */
static void who_has_many_makes_room(void **state)
{
	static struct job jobs[MANY], others[20];
	struct lanes lanes = {0};

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(enter(&lanes, ALICE, &jobs[i]), i < MOST);
	assert_null(lanes_crowd_out(&lanes, MOST));
	for (size_t i = 0; i < 20; i++) {
		assert_true(lanes_have_room_for_share(&lanes, BOB, MOST));
		assert_false(lanes_have_room_for_share(&lanes, ALICE, MOST));
		assert_true(enter(&lanes, BOB, &others[i]));
		assert_ptr_equal(lanes_crowd_out(&lanes, MOST), &jobs[MOST - 1 - i]);
		assert_false(enter(&lanes, ALICE, &jobs[MOST]));
	}
	assert_int_equal(lanes.count, MOST);
	for (size_t i = 0; i < 20; i++) {
		assert_ptr_equal(lanes_take(&lanes), &jobs[i]);
		assert_ptr_equal(lanes_take(&lanes), &others[i]);
	}
	take_all(&lanes);
}

/* Two that have many end with half of the places each. */
static void two_with_many_share(void **state)
{
	static struct job jobs[MOST], others[MOST];
	struct lanes lanes = {0};
	unsigned entered = 0;

	(void)state;
	for (size_t i = 0; i < MOST; i++)
		assert_true(enter(&lanes, ALICE, &jobs[i]));
	while (enter(&lanes, BOB, &others[entered])) {
		entered++;
		assert_non_null(lanes_crowd_out(&lanes, MOST));
	}
	assert_in_range(jobs_of(&lanes, BOB), MOST / 2 - 1, MOST / 2);
	assert_int_equal(lanes.count, MOST);
	take_all(&lanes);
}

/* Where each has one, another one comes in all the same, up to a bound. */
static void many_senders_have_a_bound(void **state)
{
	static struct job jobs[2 * MOST + 1];
	struct lanes lanes = {0};

	(void)state;
	for (size_t i = 0; i < 2 * MOST; i++) {
		assert_true(enter(&lanes, 10 + i, &jobs[i]));
		assert_null(lanes_crowd_out(&lanes, MOST));
	}
	assert_false(enter(&lanes, ALICE, &jobs[2 * MOST]));
	assert_false(enter(&lanes, 10, &jobs[2 * MOST]));
	take_all(&lanes);
}

static void a_message_is_withdrawn(void **state)
{
	struct lanes lanes = {0};
	struct job jobs[5] = {{0}};
	struct job *list;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_true(enter(&lanes, i < 2 ? ALICE : i < 4 ? BOB : CAROL, &jobs[i]));
	jobs[2].message = &messages[CAROL];
	list = lanes_withdraw(&lanes, &messages[CAROL]);
	assert_true(list != NULL && list->next != NULL && list->next->next == NULL);
	assert_int_equal(lanes.count, 3);
	assert_true(enter(&lanes, CAROL, &jobs[2]));
	list = lanes_withdraw(&lanes, &messages[BOB]);
	assert_ptr_equal(list, &jobs[3]);
	assert_ptr_equal(lanes_take(&lanes), &jobs[0]);
	assert_ptr_equal(lanes_take(&lanes), &jobs[2]);
	assert_ptr_equal(lanes_take(&lanes), &jobs[1]);
	assert_int_equal(lanes.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lanes_take_turns),
	    cmocka_unit_test(who_has_many_makes_room),
	    cmocka_unit_test(two_with_many_share),
	    cmocka_unit_test(many_senders_have_a_bound),
	    cmocka_unit_test(a_message_is_withdrawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
