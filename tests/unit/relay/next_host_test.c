/* From one host of a domain to the next: with recipients that it has put off, and past those that could not be reached lately. */
#include "tests/unit/relay/fixture.h"

static const struct fake_row rows[] = {
    {"b.test", DNS_MX, "10 mx1.test", false}, {"b.test", DNS_MX, "20 mx2.test", false}, {"b.test", DNS_MX, "30 mx3.test", false},
    {"d.test", DNS_MX, "10 mx1.test", false}, {"d.test", DNS_MX, "20 mx2.test", false}, {"d.test", DNS_MX, "30 mx3.test", false}, {"d.test", DNS_MX, "40 mx4.test", false},
    {"f.test", DNS_MX, "10 mx1.test", false}, {"f.test", DNS_MX, "20 mx2.test", false}, {"f.test", DNS_MX, "30 mx3.test", false},
    {"f.test", DNS_MX, "40 mx4.test", false}, {"f.test", DNS_MX, "50 mx5.test", false}, {"f.test", DNS_MX, "60 mx6.test", false},
    {"g.test", DNS_MX, "10 mx1.test", false}, {"mx5.test", DNS_A, "127.0.0.5", false}, {"mx5.test", DNS_AAAA, "", false}, {"mx6.test", DNS_A, "127.0.0.6", false}, {"mx6.test", DNS_AAAA, "", false},
    {"unknown.test", DNS_MX, "10 silent.test", false}, {"unknown.test", DNS_MX, "20 mx1.test", false}, {"silent.test", DNS_A, "servfail", false},
    {"silent.test", DNS_AAAA, "servfail", false}, {"mx1.test", DNS_A, "127.0.0.1", false}, {"mx1.test", DNS_AAAA, "", false}, {"mx2.test", DNS_A, "127.0.0.2", false}, {"mx2.test", DNS_AAAA, "", false},
    {"mx3.test", DNS_A, "127.0.0.3", false}, {"mx3.test", DNS_AAAA, "", false}, {"mx4.test", DNS_A, "127.0.0.4", false}, {"mx4.test", DNS_AAAA, "", false}, {0}};

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

static void drop_sessions(void)
{
	while (relay.sessions != NULL) {
		struct session *s = relay.sessions;

		session_free(&s);
	}
}

static const struct script full = {.rows = {{"MAIL", "451 4.3.1 disk full\r\n"}}};

/* Who is put off before the content was sent goes to the next host at once, whatever the form of it. */
static void a_host_that_puts_off(void **state)
{
	static const struct script table[] = {
	    {.rows = {{"MAIL", "451 4.3.1 disk full\r\n"}}},
	    {.rows = {{"MAIL", "421 4.3.2 no time\r\n"}}},
	    {.rows = {{"MAIL", NULL}}},
	    {.rows = {{"RCPT", "450 4.2.1 busy\r\n"}}},
	    {.rows = {{"RCPT", NULL}}},
	    {.rows = {{"DATA", "451 4.3.0 not now\r\n"}}},
	    {.rows = {{"DATA", "250 what\r\n"}}},
	    {.rows = {{"DATA", NULL}}},
	};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	server_begin(1, NULL);
	server_begin(2, NULL);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		servers[0].script = &table[i];
		deliver_one(&m, "bob@b.test");
		assert_result(i, 0, "250 2.0.0 kept");
		assert_string_equal(results[i].host, "mx2.test");
		assert_int_equal(servers[1].transactions, i + 1);
		drop_sessions();
	}
	assert_int_equal(servers[2].connections, 0);
}

/* Behind the end of the content it is the recipients' answer: the host may have kept what it puts off. */
static void what_was_sent_whole_goes_nowhere_else(void **state)
{
	static const struct script table[] = {{.rows = {{".", "451 4.3.0 not now\r\n"}}}, {.rows = {{".", NULL}}}, {.rows = {{".", "421 4.3.2 no time\r\n"}}}};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	server_begin(1, NULL);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		servers[0].script = &table[i];
		deliver_one(&m, "bob@b.test");
		assert_true(results[i].code != 0 && err_is_temp(results[i].code));
		assert_string_equal(results[i].host, "mx1.test");
	}
	assert_int_equal(servers[1].connections, 0);
}

/* Each has one result, from the host that had the last word; who is served is not sent to again, nor who is refused. */
static void each_recipient_goes_its_own_way(void **state)
{
	static const struct script first = {.rows = {{"RCPT TO:<no@", "550 5.1.1 nobody\r\n"}, {"RCPT TO:<late", "450 4.2.1 busy\r\n"}, {"RCPT TO:<never@", "450 4.2.1 busy\r\n"}}};
	static const struct script second = {.rows = {{"RCPT TO:<later@", "451 4.7.1 greylisted\r\n"}, {"RCPT TO:<never@", "550 5.7.1 not by this way\r\n"}}};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &first;
	server_begin(1, &second);
	server_begin(2, &full);
	send_to(&m, 9, (const char *const[]){"no@b.test", "late@b.test", "yes@b.test", "later@b.test", "never@b.test", NULL}, -1);
	run_until_results(5);
	assert_string_equal(servers[1].said, "[]|EHLO mail.own.test|MAIL FROM:<ann@own.test>|RCPT TO:<late@b.test>|RCPT TO:<later@b.test>|RCPT TO:<never@b.test>|DATA|.|");
	assert_string_equal(strstr(servers[2].said, "RCPT"), "RCPT TO:<later@b.test>|DATA|.|"); /* an empty content, for nobody */
	for (size_t i = 0; i < 5; i++) {
		static const struct {
			uint32_t recipient;
			const char *text, *host;
		} told[] = {{0, "550 5.1.1 nobody", "mx1.test"}, {2, "250 2.0.0 kept", "mx1.test"}, {1, "250 2.0.0 kept", "mx2.test"}, {4, "450 4.2.1 busy", "mx1.test"},
		    {3, "451 4.3.1 disk full", "mx3.test"}};

		assert_int_equal(results[i].recipient, told[i].recipient);
		assert_string_equal(results[i].text, told[i].text);
		assert_string_equal(results[i].host, told[i].host);
		assert_true(results[i].reached);
		assert_int_equal(results[i].pause, i == 1 || i == 3);
		assert_int_equal(results[i].last, i == 4);
	}
}

/* The answer of a host that has spoken weighs more than that the next one cannot be reached, or refuses us. */
static void hosts_behind_one_that_puts_off(void **state)
{
	static const struct script never = {.greeting = "554 5.7.1 not from you\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &full;
	server_begin(1, &never);
	deliver_one(&m, "bob@b.test");
	assert_result(0, E_UNAVAILABLE, "451 4.3.1 disk full");
	assert_string_equal(results[0].host, "mx1.test");
	assert_true(results[0].reached);
	assert_int_equal(servers[1].connections, 1);
}

/* Two hosts after the first, and no more; also where the first connection was another message's. */
static void not_more_than_two_further_hosts(void **state)
{
	static const struct script later = {.rows = {{"MAIL FROM:<again", "451 4.3.1 disk full\r\n"}}};
	struct relay_deliver m = message_to("d.test", "x\r\n");

	(void)state;
	servers[0].script = &later;
	for (size_t i = 1; i < 4; i++)
		server_begin(i, &full);
	deliver_one(&m, "bob@d.test");
	assert_result(0, 0, "250");
	run_until(is_idle);
	m.sender = SPAN_LIT("again@own.test");
	deliver_one(&m, "bob@d.test");
	assert_result(1, E_UNAVAILABLE, "451 4.3.1 disk full");
	assert_string_equal(results[1].host, "mx3.test");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(servers[i].connections, i < 3);
}

/* Going on takes one more connection. */
static void no_room_for_a_further_connection(void **state)
{
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &full;
	server_begin(1, NULL);
	relay.under_way = RELAY_SESSIONS_MAX - 1;
	deliver_one(&m, "bob@b.test");
	assert_result(0, E_UNAVAILABLE, "451 4.3.1 disk full");
	assert_int_equal(servers[1].connections, 0);
	relay.under_way = 0;
}

static bool is_at_the_second(void)
{
	return servers[1].said[0] != '\0' && strstr(servers[1].said, "EHLO") != NULL;
}

/* Between two hosts nothing is under way: a message that was deleted goes no further. */
static void a_message_that_is_deleted_meanwhile(void **state)
{
	static const struct script silent = {.rows = {{"EHLO", ""}}};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &full;
	server_begin(1, &silent);
	send_to(&m, 3, (const char *const[]){"bob@b.test", NULL}, -1);
	run_until(is_at_the_second);
	assert_int_equal(result_count, 0);
	ipc_conn_send(queue, &ipc_relay_cancel, 3, &(struct relay_cancel){0}, -1);
	run_until_results(1);
	assert_true(results[0].last && err_is_temp(results[0].code));
	assert_int_equal(relay.job_count, 0);
}

/* ---- hosts that could not be reached ---- */

static void all_dead_end_now(void)
{
	for (size_t i = 0; i < DEAD_SETS; i++)
		for (size_t k = 0; k < DEAD_WAYS; k++)
			relay.dead.places[i][k].until_ms = 0;
}

/* A host that wants nobody is asked once, then passed by until its time is over; once it takes mail it comes first again. */
static void a_dead_host_comes_last(void **state)
{
	static const struct script busy = {.greeting = "421 4.3.2 no time\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &busy;
	server_begin(1, NULL);
	for (size_t i = 0; i < 3; i++) {
		deliver_one(&m, "bob@b.test");
		assert_string_equal(results[i].host, "mx2.test");
		assert_int_equal(servers[0].connections, 1);
		drop_sessions();
	}
	all_dead_end_now();
	deliver_one(&m, "bob@b.test");
	assert_string_equal(results[3].host, "mx2.test");
	assert_int_equal(servers[0].connections, 2);
	drop_sessions();
	all_dead_end_now();
	servers[0].script = NULL;
	for (size_t i = 4; i < 6; i++) {
		deliver_one(&m, "bob@b.test");
		assert_string_equal(results[i].host, "mx1.test");
		drop_sessions();
	}
}

/* Five connections are made for a message: the sixth host is come to by the second one. */
static void a_host_behind_five_dead_ones(void **state)
{
	struct relay_deliver m = message_to("f.test", "x\r\n");

	(void)state;
	server_begin(5, NULL);
	event_free(servers[0].event);
	close(servers[0].fd);
	servers[0] = (struct server){0};
	deliver_one(&m, "bob@f.test");
	assert_result(0, E_UNAVAILABLE, "451 4.4.1 ");
	deliver_one(&m, "bob@f.test");
	assert_result(1, 0, "250");
	assert_string_equal(results[1].host, "mx6.test");
	server_begin(0, NULL);
}

/* That five others refuse is not for good while the best host has not been asked; that those behind them have not is no reason to ask again. */
static void refusals_beside_a_better_host(void **state)
{
	static const struct script never = {.greeting = "554 5.7.1 not from you\r\n"};
	struct relay_deliver m = message_to("g.test", "x\r\n");

	(void)state;
	for (size_t i = 1; i < 6; i++)
		server_begin(i, &never);
	servers[0].script = &never;
	deliver_one(&m, "bob@g.test");
	assert_result(0, E_CANNOT, "550 5.7.1 ");
	m = message_to("f.test", "x\r\n");
	deliver_one(&m, "bob@f.test");
	assert_result(1, E_UNAVAILABLE, "451 4.4.0 none of its hosts takes mail now; the last: 5.7.1 ");
	assert_string_equal(results[1].host, "mx6.test");
	assert_int_equal(servers[0].connections, 1);
	deliver_one(&m, "bob@f.test");
	assert_result(2, E_CANNOT, "550 5.7.1 ");
	assert_string_equal(results[2].host, "mx5.test");
}

/* Nobody else is left: they are tried, in their order. */
static void all_are_dead(void **state)
{
	static const struct script busy = {.greeting = "421 4.3.2 no time\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	for (size_t i = 0; i < 3; i++)
		server_begin(i, &busy);
	deliver_one(&m, "bob@b.test");
	assert_result(0, E_UNAVAILABLE, "451 4.4.2 ");
	servers[0].script = NULL;
	deliver_one(&m, "bob@b.test");
	assert_result(1, 0, "250");
	assert_string_equal(results[1].host, "mx1.test");
}

/* ---- this server itself, behind an address that is not its own ---- */

static const struct script ourselves = {.greeting = "220 MAIL.own.test ESMTP\r\n"};

/* Nobody is better: it would go in circles for good. */
static void the_best_host_is_this_server(void **state)
{
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &ourselves;
	server_begin(1, NULL);
	deliver_one(&m, "bob@b.test");
	assert_result(0, E_LOOP, "554 5.4.6 mail for b.test comes back to this server");
	assert_string_equal(results[0].host, "mx1.test");
	assert_true(results[0].reached);
	assert_null(strstr(servers[0].said, "MAIL"));
	assert_int_equal(servers[1].connections, 0);
	run_until(is_without_sessions);
	assert_non_null(strstr(servers[0].said, "QUIT"));
}

/* It waits for the better one; those behind would hand it back. */
static void a_worse_host_is_this_server(void **state)
{
	static const struct script busy = {.greeting = "421 4.3.2 no time\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	servers[0].script = &busy;
	server_begin(1, &ourselves);
	server_begin(2, NULL);
	for (size_t i = 0; i < 2; i++) {
		deliver_one(&m, "bob@b.test");
		assert_true(err_is_temp(results[i].code));
		assert_null(strstr(servers[1].said, "MAIL"));
		assert_int_equal(servers[2].connections, 0);
	}
	servers[0].script = NULL;
	deliver_one(&m, "bob@b.test");
	assert_result(2, 0, "250");
}

/* The address of the better one cannot be told now: nothing is for good. */
static void a_better_host_that_cannot_be_told(void **state)
{
	static const struct script never = {.greeting = "554 5.7.1 not from you\r\n"};
	static const struct script *const scripts[] = {&ourselves, &never};
	struct relay_deliver m = message_to("unknown.test", "x\r\n");

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		servers[0].script = scripts[i];
		deliver_one(&m, "bob@unknown.test");
		assert_result(i, E_UNAVAILABLE, "451 4.4.0 ");
	}
}

/* Another name, and a host that the administrator sends mail to. */
static void who_is_not_this_server(void **state)
{
	static const struct script others[] = {{.greeting = "220 x.mail.own.test ESMTP\r\n"}, {.greeting = "220 own.test ESMTP\r\n"}, {.greeting = "220 mail.own.test. ESMTP\r\n"},
	    {.greeting = "220 hello, mail.own.test\r\n"}, {.greeting = "220\r\n"}};
	struct relay_deliver m = message_to("b.test", "x\r\n");
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		servers[0].script = &others[i];
		deliver_one(&m, "bob@b.test");
		assert_result(i, 0, "250");
		drop_sessions();
	}
	snprintf(text, sizeof(text), "transport b.test { host mx1.test:%u }\n", port);
	configure(text);
	servers[0].script = &ourselves;
	m.transport = SPAN_LIT("b.test");
	deliver_one(&m, "bob@b.test");
	assert_int_equal(results[result_count - 1].code, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_host_that_puts_off),
	    TEST(what_was_sent_whole_goes_nowhere_else),
	    TEST(each_recipient_goes_its_own_way),
	    TEST(hosts_behind_one_that_puts_off),
	    TEST(not_more_than_two_further_hosts),
	    TEST(no_room_for_a_further_connection),
	    TEST(a_message_that_is_deleted_meanwhile),
	    TEST(a_dead_host_comes_last),
	    TEST(a_host_behind_five_dead_ones),
	    TEST(refusals_beside_a_better_host),
	    TEST(all_are_dead),
	    TEST(the_best_host_is_this_server),
	    TEST(a_worse_host_is_this_server),
	    TEST(a_better_host_that_cannot_be_told),
	    TEST(who_is_not_this_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
