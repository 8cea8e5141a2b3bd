/* Questions to the resolver: its channel is played by the test. */
#include "tests/unit/test.h"

#include "base/log.h"
#include "dns/dns.h"
#include "ipc/ipc.h"

#include <event2/event.h>
#include <fcntl.h>
#include <unistd.h>

static struct event_base *base;
static struct dns *dns;
static int resolver; /* the test's end of the channel */
static char buffer[IPC_MESSAGE_MAX];

static struct seen {
	int answers, lost;
	enum dns_result result;
	bool secure, ask_again, free_it;
	size_t records;
	char name[DNS_NAME_TEXT], why[256], canonical[DNS_NAME_TEXT];
} seen;

static void on_answer(void *arg, const struct dns_answer *answer)
{
	assert_ptr_equal(arg, &seen);
	seen.answers++;
	seen.result = answer->result;
	seen.secure = answer->secure;
	seen.records = answer->records.len;
	span_copy(answer->name, seen.name, sizeof(seen.name));
	span_copy(answer->why, seen.why, sizeof(seen.why));
	span_copy(answer->canonical, seen.canonical, sizeof(seen.canonical));
	if (seen.ask_again) {
		seen.ask_again = false;
		assert_int_not_equal(dns_ask(dns, SPAN_LIT("again.example"), DNS_A, 0, on_answer, &seen), 0);
		assert_int_equal(seen.answers, 1);
	}
	if (seen.free_it)
		dns_free(&dns);
}

static void on_lost(void *arg)
{
	assert_ptr_equal(arg, &seen);
	seen.lost++;
}

static void connect_resolver(void)
{
	struct err err;
	int fds[2];

	assert_int_equal(ipc_pair(fds, &err), 0);
	assert_int_equal(dns_service(dns, fds[0]), 0);
	resolver = fds[1];
	fcntl(resolver, F_SETFL, O_NONBLOCK);
}

static int setup(void **state)
{
	(void)state;
	seen = (struct seen){0};
	base = event_base_new();
	dns = dns_new(base);
	assert_non_null(dns);
	dns_on_lost(dns, on_lost, &seen);
	connect_resolver();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dns_free(&dns);
	close(resolver);
	event_base_free(base);
	return 0;
}

static uint32_t ask(const char *name)
{
	return dns_ask(dns, span_str(name), DNS_MX, 60000, on_answer, &seen);
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

/* The next question that has come; its id, 0 without one. */
static uint32_t heard(const char *name)
{
	struct ipc_message m;
	struct err err;
	const struct dns_query *query = (const void *)m.body;

	if (ipc_receive(resolver, &ipc_service_dns, TO_SERVICE, buffer, &m, &err) != 0)
		return 0;
	assert_ptr_equal(m.type, &ipc_dns_query);
	assert_span_equal(query->name, name);
	assert_int_equal(query->type, DNS_MX);
	return m.id;
}

static void say(uint32_t id, const struct dns_reply *reply)
{
	assert_int_equal(ipc_send(resolver, &ipc_dns_reply, id, reply, -1), 0);
	turn();
}

static const struct dns_reply found = {.security = DNS_SECURE, .records = {"\1\0x", 3}, .canonical = {"c.example", 9}};

static void an_answer_comes_to_its_question(void **state)
{
	uint32_t first = ask("a.example"), second = ask("b.example");

	(void)state;
	assert_int_not_equal(first, second);
	assert_int_equal(heard("a.example"), first);
	assert_int_equal(heard("b.example"), second);
	say(second, &found);
	assert_int_equal(seen.answers, 1);
	assert_int_equal(seen.result, DNS_FOUND);
	assert_true(seen.secure);
	assert_string_equal(seen.name, "b.example");
	assert_string_equal(seen.canonical, "c.example");
	assert_int_equal(seen.records, 3);
}

static void what_was_answered_or_cancelled_is_over(void **state)
{
	uint32_t id = ask("a.example");

	(void)state;
	say(id, &found);
	say(id, &found);
	assert_int_equal(seen.answers, 1);
	id = ask("a.example");
	dns_cancel(dns, id);
	dns_cancel(dns, id);
	dns_cancel(dns, 0);
	say(id, &found);
	assert_int_equal(seen.answers, 1);
	assert_int_equal(seen.lost, 0);
}

static void the_next_resolver_is_asked_again(void **state)
{
	uint32_t id = ask("a.example");

	(void)state;
	assert_int_equal(heard("a.example"), id);
	close(resolver);
	turn();
	assert_int_equal(seen.lost, 1);
	assert_int_equal(seen.answers, 0);
	connect_resolver();
	assert_int_equal(heard("a.example"), id);
	assert_int_equal(heard("a.example"), 0);
	say(id, &found);
	assert_int_equal(seen.answers, 1);
}

static void questions_wait_for_a_resolver(void **state)
{
	uint32_t id;

	(void)state;
	close(resolver);
	turn();
	id = ask("a.example");
	assert_int_not_equal(id, 0);
	assert_int_equal(seen.answers, 0);
	connect_resolver();
	assert_int_equal(heard("a.example"), id);
}

static void without_a_resolver_the_deadline_says_so(void **state)
{
	(void)state;
	close(resolver);
	turn();
	assert_int_not_equal(dns_ask(dns, SPAN_LIT("a.example"), DNS_A, 1, on_answer, &seen), 0);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(seen.answers, 1);
	assert_int_equal(seen.result, DNS_TEMPORARY);
	assert_non_null(strstr(seen.why, "not running"));
	connect_resolver();
}

static void silence_ends_at_the_deadline(void **state)
{
	uint32_t id = dns_ask(dns, SPAN_LIT("a.example"), DNS_MX, 1, on_answer, &seen);

	(void)state;
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(seen.answers, 1);
	assert_int_equal(seen.result, DNS_TEMPORARY);
	assert_string_equal(seen.why, "no answer from the name servers within 0.001 s");
	say(id, &found);
	assert_int_equal(seen.answers, 1);
}

static void a_callback_may_ask(void **state)
{
	uint32_t id = ask("a.example");

	(void)state;
	seen.ask_again = true;
	say(id, &found);
	assert_int_equal(seen.answers, 1);
}

static void a_callback_may_free(void **state)
{
	uint32_t id = ask("a.example");

	(void)state;
	ask("b.example");
	seen.free_it = true;
	say(id, &found);
	assert_int_equal(seen.answers, 1);
	assert_null(dns);
}

static void there_is_a_limit(void **state)
{
	uint32_t first = ask("a.example");

	(void)state;
	for (int i = 1; i < DNS_ASKS_MAX; i++)
		assert_int_not_equal(ask("a.example"), 0);
	assert_int_equal(ask("a.example"), 0);
	dns_cancel(dns, first);
	assert_int_not_equal(ask("a.example"), 0);
	assert_int_equal(ask("a.example"), 0);
	assert_int_equal(seen.answers, 0);
}

/* An answer to an old question must not be taken for that of a new one. */
static void numbers_are_not_used_again_soon(void **state)
{
	uint32_t last = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint32_t id = ask("a.example");

		assert_int_not_equal(id, 0);
		assert_int_not_equal(id, last);
		last = id;
		dns_cancel(dns, id);
		heard("a.example");
	}
}

static void a_name_that_is_too_long_does_no_harm(void **state)
{
	static char name[1000];

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_int_not_equal(dns_ask(dns, span_of(name, sizeof(name)), DNS_A, 0, on_answer, &seen), 0);
	assert_int_equal(seen.answers, 0);
	turn();
	assert_int_equal(seen.answers, 1);
	assert_int_equal(seen.result, DNS_NO_NAME);
}

static void a_resolver_that_talks_nonsense_is_left(void **state)
{
	struct dns_reply bad = {.security = 77};
	uint32_t id = ask("a.example");

	(void)state;
	say(id, &bad);
	assert_int_equal(seen.answers, 0);
	assert_int_equal(seen.lost, 1);
	close(resolver);
	connect_resolver();
	assert_int_equal(heard("a.example"), id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_answer_comes_to_its_question),
	    TEST(what_was_answered_or_cancelled_is_over),
	    TEST(the_next_resolver_is_asked_again),
	    TEST(questions_wait_for_a_resolver),
	    TEST(without_a_resolver_the_deadline_says_so),
	    TEST(silence_ends_at_the_deadline),
	    TEST(a_callback_may_ask),
	    TEST(a_callback_may_free),
	    TEST(there_is_a_limit),
	    TEST(numbers_are_not_used_again_soon),
	    TEST(a_name_that_is_too_long_does_no_harm),
	    TEST(a_resolver_that_talks_nonsense_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
