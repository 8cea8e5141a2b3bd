/* Queue's side: jobs that are withdrawn, and messages that are none. */
#include "tests/unit/relay/fixture.h"

static const struct fake_row rows[] = {{"a.test", DNS_MX, "10 mx1.test", false}, {"mx1.test", DNS_A, "127.0.0.1", false}, {"mx1.test", DNS_AAAA, "", false}, {0}};

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

static bool was_told_twice(void)
{
	const char *first = strstr(servers[0].said, "MAIL");

	return first != NULL && strstr(first + 1, "MAIL") != NULL;
}

static bool is_withdrawn(void)
{
	return relay.jobs == NULL || relay.jobs->cancelled;
}

static void what_is_withdrawn_does_not_begin(void **state)
{
	static const struct script slow = {.greeting = ""};
	struct relay_deliver m = message_to("a.test", "x\r\n");
	struct relay_cancel body = {0};

	(void)state;
	servers[0].script = &slow;
	send_to(&m, 5, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_connected);
	ipc_conn_send(queue, &ipc_relay_cancel, 5, &body, -1);
	run_until_results(1);
	assert_result(0, E_UNAVAILABLE, "450 4.7.0 ");
	assert_int_equal(relay.job_count, 0);
	/* Queue dies: neither does what it has asked for. */
	send_to(&m, 6, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_connected);
	ipc_conn_free(&queue);
	run_until(is_without_jobs);
	for (struct peer *p = servers[0].peers; p != NULL; p = p->next) {
		peer_say(p, "220 at last\r\n");
		conn_flush(p->conn);
	}
	run_until(is_idle);
	assert_null(strstr(servers[0].said, "MAIL"));
	queue_begin();
}

/* A connection that was idle takes the job, its server goes instead of answering: a job that is withdrawn meanwhile is not sent on a new one. */
static void what_is_withdrawn_does_not_begin_again(void **state)
{
	static const struct script silent = {.rows = {{"MAIL", ""}, {"RCPT", ""}, {"DATA", ""}}};
	struct relay_deliver m = message_to("a.test", "x\r\n");
	struct relay_cancel body = {0};

	(void)state;
	deliver_one(&m, "bob@a.test");
	servers[0].script = &silent;
	send_to(&m, 5, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(was_told_twice);
	ipc_conn_send(queue, &ipc_relay_cancel, 5, &body, -1);
	run_until(is_withdrawn);
	peer_close(servers[0].peers);
	run_until_results(2);
	assert_result(1, E_UNAVAILABLE, "450 4.7.0 the message was withdrawn");
	assert_int_equal(servers[0].connections, 1);
	assert_int_equal(relay.job_count, 0);
}

static void messages_that_are_none(void **state)
{
	static const struct {
		const char *packed;
		size_t len;
	} rows_[] = {{"", 0}, {"\0", 1}, {"\3\0ab", 4}, {"\1\0a\0\0", 5}, {"\0\0\0\0\0", 5}, {"\1\0a\0\0\20", 6}, {"\1\0a\1\0\0\0\0", 6}, {"\1\0\0\0\0\0", 6}};
	struct relay_deliver body = message_to("a.test", "x\r\n");
	struct pool *pool = pool_new(NULL, 100000);
	struct smtp_client_recipient *out;
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++)
		if (recipients_decode(pool, span_of(rows_[i].packed, rows_[i].len), &out, &count) != E_SYNTAX)
			fail_msg("row %zu", i);
	assert_int_equal(recipients_decode(pool, span_of("\1\0a\2\0bc\3\1\0d\0\0\0", 14), &out, &count), 0);
	assert_int_equal(count, 2);
	assert_span_equal(out[0].orcpt, "bc");
	assert_int_equal(out[0].notify, 3);
	assert_span_equal(out[1].address, "d");
	pool_free(&pool);
	/* Such a job is refused, and others do not hear of it. */
	body.recipients = span_of("\1\0a\3\0b\0c\0", 9);
	ipc_conn_send(queue, &ipc_relay_deliver, 1, &body, -1);
	run_until_results(1);
	assert_result(0, E_SYNTAX, "554 5.5.4 ");
	assert_true(results[0].last);
	deliver_one(&body, "bob@a.test");
	assert_result(1, 0, "250");
	/* One whose content is not what it says costs the channel. */
	body.size++;
	ipc_conn_send(queue, &ipc_relay_deliver, 2, &body, -1);
	run_until(is_without_queue);
	queue_begin();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_withdrawn_does_not_begin),
	    TEST(what_is_withdrawn_does_not_begin_again),
	    TEST(messages_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
