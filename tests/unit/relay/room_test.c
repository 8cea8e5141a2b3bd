/* How many connections there are at once, and what it means when there is no room for one. */
#include "tests/unit/relay/fixture.h"

#include <sys/resource.h>

static const struct fake_row rows[] = {
    {"a.test", DNS_MX, "10 mx1.test", false}, {"mx1.test", DNS_A, "127.0.0.1", false}, {"mx1.test", DNS_AAAA, "", false}, {"null.test", DNS_MX, "0 .", false}, {0}};

static int setup(void **state)
{
	(void)state;
	return relay_begin(rows);
}

static int teardown(void **state)
{
	(void)state;
	return relay_end();
}

static bool is_waiting(void)
{
	return relay.waiting != NULL;
}

/* Who is on the way to a connection counts as one. Who waits takes the one that becomes idle. */
static void connections_are_bounded(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	relay.under_way = RELAY_SESSIONS_MAX - 1;
	for (uint32_t i = 0; i < 3; i++)
		send_to(&m, i, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_waiting);
	assert_int_equal(relay.under_way, RELAY_SESSIONS_MAX);
	run_until_results(3);
	for (size_t i = 0; i < 3; i++)
		assert_result(i, 0, "250");
	assert_int_equal(servers[0].connections, 1);
	assert_int_equal(relay.under_way, RELAY_SESSIONS_MAX - 1);
	relay.under_way = 0;
}

/* A job that ends without a session makes room as well. */
static void who_gives_up_makes_room(void **state)
{
	struct relay_deliver none = message_to("null.test", "x\r\n"), m = message_to("a.test", "x\r\n");

	(void)state;
	relay.under_way = RELAY_SESSIONS_MAX - 1;
	send_to(&none, 1, (const char *const[]){"bob@null.test", NULL}, -1);
	send_to(&m, 2, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until_results(2);
	assert_result(0, E_CANNOT, "556 ");
	assert_result(1, 0, "250");
	relay.under_way = 0;
}

static void no_descriptor_is_nobodys_fault(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");
	struct rlimit before, none;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){.rlim_cur = (rlim_t)servers[0].fd, .rlim_max = before.rlim_max};
	send_to(&m, 1, (const char *const[]){"bob@a.test", NULL}, -1);
	setrlimit(RLIMIT_NOFILE, &none);
	run_until_results(1);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_result(0, E_NOFILES, "451 4.3.2 no descriptor");
	assert_true(results[0].reached);
	deliver_one(&m, "bob@a.test");
	assert_result(1, 0, "250");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(connections_are_bounded),
	    TEST(who_gives_up_makes_room),
	    TEST(no_descriptor_is_nobodys_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
