/* What a daemon is handed while it runs: another configuration and its files, connections in place of those that were lost. */
#include "tests/unit/lib/proc/daemon_fixture.h"

/* A configuration that the daemon refuses leaves the old one in place. */
static void a_reload_is_taken_or_refused(void **state)
{
	struct master_query query = {0};
	struct ipc_message m;

	(void)state;
	started();
	send_config("b.test");
	send_go(2);
	hear_ready(2);
	shared->fail_reload = true;
	send_config("c.test");
	send_go(3);
	hear_failed("not that one");
	assert_int_equal(ipc_send(channel, &ipc_master_query, 1, &query, -1), 0);
	m = hear(&ipc_master_stats);
	assert_span_equal(((const struct master_stats *)(const void *)m.body)->note, "b.test");
	/* Sent twice before the word: the last one counts. */
	shared->fail_reload = false;
	send_config("d.test");
	send_config("e.test");
	send_go(4);
	hear_ready(4);
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, CONFINED "reload(b.test) reload(c.test) reload(e.test) halt ");
}

static struct ipc_message ask_stats(void)
{
	struct master_query query = {0};

	assert_int_equal(ipc_send(channel, &ipc_master_query, 1, &query, -1), 0);
	return hear(&ipc_master_stats);
}

static void send_file(const char *text)
{
	struct master_file file = {.name = SPAN_LIT("tls-key")};

	send_fd(&ipc_master_file, &file, file_of(text));
}

/* Files in memory that the child has open. */
static unsigned files_open(void)
{
	char path[64], where[64];
	unsigned count = 0;

	for (int fd = 0; fd < 64; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)child, fd);
		n = readlink(path, where, sizeof(where));
		count += n > 7 && memcmp(where, "/memfd:", 7) == 0;
	}
	return count;
}

/* Those of a reload are all there are; with one that is refused the old ones stay. */
static void files_go_with_their_configuration(void **state)
{
	(void)state;
	shared->tell_file = true;
	begin("smtpd");
	send_config("a.test");
	send_file("one");
	send_go(1);
	hear_ready(1);
	shared->fail_reload = true;
	send_config("b.test");
	send_file("two");
	send_go(2);
	hear_failed("not that one");
	ask_stats();
	send_config("c.test");
	send_go(3);
	hear_failed("not that one");
	ask_stats();
	assert_int_equal(files_open(), 1);
	shared->fail_reload = false;
	send_config("d.test");
	send_go(4);
	hear_ready(4);
	ask_stats();
	assert_int_equal(files_open(), 0);
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, "prepare host=a.test smtp=0 max=0 imap=0 none=0 file=one other=-1 short=0 none=0 confine(smtpd,/r/empty,xy-) confined "
		      "reload(b.test) file=two file=one reload(c.test) file=- file=one reload(d.test) file=- file=- halt ");
}

/* A hand-out that was broken off: what the next one brings is all there is. */
static void what_no_go_came_for_is_forgotten(void **state)
{
	(void)state;
	shared->tell_file = true;
	started();
	send_config("b.test");
	send_file("half");
	send_config("c.test");
	send_go(3);
	hear_ready(3);
	assert_int_equal(files_open(), 0);
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, CONFINED "reload(c.test) file=- halt ");
}

/* It goes on with what it has. */
static void a_reload_that_finds_no_descriptor_free_is_refused(void **state)
{
	struct ipc_message m;

	(void)state;
	shared->poor = true;
	started();
	send_config("b.test");
	send_file("lost");
	send_go(2);
	hear_failed("not all of it could be received: no file descriptors left");
	m = ask_stats();
	assert_span_equal(((const struct master_stats *)(const void *)m.body)->note, "a.test");
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, CONFINED "halt ");
}

static bool says_something(int ms)
{
	struct pollfd p = {.fd = channel, .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* One that was replaced is not: the connection that is there is healthy. */
static void a_service_that_was_lost_is_asked_for(void **state)
{
	struct ipc_message m;

	(void)state;
	started();
	shared->replaces = true;
	send_peer("auth", false);
	assert_false(says_something(1300));
	send_peer("queue", false);
	m = hear(&ipc_master_lost);
	assert_span_equal(((const struct master_lost *)(const void *)m.body)->service, "auth");
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, CONFINED "peer(auth,r,0) peer(queue,r,0) halt ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_reload_is_taken_or_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(files_go_with_their_configuration, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_no_go_came_for_is_forgotten, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reload_that_finds_no_descriptor_free_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_service_that_was_lost_is_asked_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, make_trees, remove_trees);
}
