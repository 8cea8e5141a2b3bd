/* Addresses that could not be reached lately: for how long, and whose place is given up. */
#include "tests/unit/test.h"

#include "relay/dead.h"

#include <arpa/inet.h>
#include <stdio.h>

static struct dead dead;

static struct sockaddr_storage address(const char *text, uint16_t port)
{
	struct sockaddr_storage a = {0};
	struct sockaddr_in *v4 = (void *)&a;
	struct sockaddr_in6 *v6 = (void *)&a;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
	}
	return a;
}

static int setup(void **state)
{
	(void)state;
	dead = (struct dead){0};
	return 0;
}

static void who_is_dead(void **state)
{
	struct sockaddr_storage a = address("192.0.2.1", 25), others[] = {address("192.0.2.1", 26), address("192.0.2.2", 25), address("2001:db8::1", 25)};

	(void)state;
	assert_false(dead_is(&dead, &a, 0));
	dead_add(&dead, &a, 0);
	assert_true(dead_is(&dead, &a, 1));
	for (size_t i = 0; i < 3; i++) {
		assert_false(dead_is(&dead, &others[i], 1));
		dead_add(&dead, &others[i], 1);
		assert_true(dead_is(&dead, &others[i], 2));
	}
	dead_remove(&dead, &a);
	assert_false(dead_is(&dead, &a, 2));
	assert_true(dead_is(&dead, &others[2], 2));
}

/* How long from its adding on. */
static int64_t time_of(const struct sockaddr_storage *a, int64_t now)
{
	int64_t ms = 0;

	while (dead_is(&dead, a, now + ms))
		ms += 1000;
	return ms;
}

static void the_time_grows(void **state)
{
	static const int64_t times[] = {30000, 60000, 120000, 240000, 300000, 300000, 300000};
	struct sockaddr_storage a = address("192.0.2.1", 25);
	int64_t now = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		dead_add(&dead, &a, now);
		dead_add(&dead, &a, now + 10); /* was under way as well */
		assert_int_equal(time_of(&a, now), times[i]);
		now += times[i];
	}
	now += DEAD_FORGET_MS + 1000; /* long ago */
	dead_ask(&dead, &a, now);
	dead_add(&dead, &a, now);
	assert_int_equal(time_of(&a, now), 30000);
}

/* When its time has passed one asks, and the others wait for what that finds. */
static void one_asks(void **state)
{
	struct sockaddr_storage a = address("192.0.2.1", 25);

	(void)state;
	dead_ask(&dead, &a, 0);
	assert_false(dead_is(&dead, &a, 0));
	dead_add(&dead, &a, 0);
	dead_ask(&dead, &a, 30000);
	assert_true(dead_is(&dead, &a, 30000));
	dead_add(&dead, &a, 30001);
	assert_int_equal(time_of(&a, 30001), 60000);
	dead_ask(&dead, &a, 90001);
	assert_int_equal(time_of(&a, 90001), DEAD_FIRST_MS); /* whoever asked never came back */
}

/* More than there is room for: the last ones are known. */
static void there_is_an_end(void **state)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_storage a;
	unsigned known = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		snprintf(text, sizeof(text), "2001:db8::%x", i + 1);
		a = address(text, 25);
		dead_add(&dead, &a, i);
		assert_true(dead_is(&dead, &a, i));
	}
	for (int i = 0; i < 20000; i++) {
		snprintf(text, sizeof(text), "2001:db8::%x", i + 1);
		a = address(text, 25);
		known += dead_is(&dead, &a, 20000);
	}
	assert_true(known > DEAD_SETS && known <= DEAD_SETS * DEAD_WAYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(who_is_dead, setup),
	    cmocka_unit_test_setup(the_time_grows, setup),
	    cmocka_unit_test_setup(one_asks, setup),
	    cmocka_unit_test_setup(there_is_an_end, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
