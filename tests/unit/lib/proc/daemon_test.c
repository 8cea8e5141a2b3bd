/* The skeleton of a daemon: what it takes from master, in which order, its end. */
#include "tests/unit/lib/proc/daemon_fixture.h"

/* daemon.h gives the order, and it is fixed. */
static void everything_is_taken_before_it_is_confined(void **state)
{
	struct master_file file = {.name = SPAN_LIT("tls-key")};
	struct master_secret secret = {.name = SPAN_LIT("grant"), .value = SPAN_LIT("12345")};

	(void)state;
	begin("smtpd");
	send_config("a.test");
	send_listener("smtp", "127.0.0.1:25");
	send_listener("imap", "127.0.0.1:143");
	send_listener("smtp", "[::1]:25");
	send_fd(&ipc_master_file, &file, file_of("old"));
	send_fd(&ipc_master_file, &file, file_of("new")); /* takes the place of the other */
	assert_int_equal(ipc_send(channel, &ipc_master_secret, 0, &secret, -1), 0);
	send_peer("auth", false);
	send_go(5);
	hear_ready(5);
	send_peer("queue", true); /* later ones are given at once */
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, "prepare host=a.test smtp=2 127.0.0.1:25 [::1]:25 max=1 imap=1 none=0 file=new other=-1 secret=12345 short=0 none=0 "
		      "confine(smtpd,/r/empty,xy-) confined peer(auth,r,0) peer(queue,r,1) halt ");
}

/* Each profile's own directory becomes its world. */
static void the_tree_is_that_of_the_profile(void **state)
{
	static const char *const rows[][2] = {{"smtpd", "/r/empty"}, {"auth", "/d/directory"}, {"queue", "/s"}, {"deliver", "/d/store"}, {"imap-session", "/d/store"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[128];

		memset(shared, 0, sizeof(*shared));
		shared->no_hooks = true;
		begin(rows[i][0]);
		send_config("a.test");
		send_peer("auth", false); /* nobody wants it: closed */
		send_go(1);
		hear_ready(1);
		send_halt(5); /* without a hook it ends at once */
		snprintf(want, sizeof(want), "confine(%s,%s,xy-) ", rows[i][0], rows[i][1]);
		finish(EX_OK, want);
	}
}

static void a_start_that_fails_is_told(void **state)
{
	enum { PREPARE, CONFINE, CONFINED_STEP, NO_CONFIG, BAD_CONFIG, NOT_YET, GARBAGE, WAYS };

	(void)state;
	for (int way = 0; way < WAYS; way++) {
		struct master_halt early = {0};
		struct master_config body = {0};

		memset(shared, 0, sizeof(*shared));
		shared->fail_prepare = way == PREPARE;
		shared->fail_confine = way == CONFINE;
		shared->fail_confined = way == CONFINED_STEP;
		begin("smtpd");
		if (way == BAD_CONFIG)
			send_fd(&ipc_master_config, &body, file_of("config-version 1\nnonsense x\n"));
		else if (way == NOT_YET)
			assert_int_equal(ipc_send(channel, &ipc_master_halt, 0, &early, -1), 0);
		else if (way == GARBAGE)
			assert_int_equal(send(channel, "what", 4, 0), 4);
		else if (way != NO_CONFIG)
			send_config("a.test");
		if (way <= NO_CONFIG)
			send_go(1);
		hear_failed(way == PREPARE ? "no good" : way == CONFINE ? "no confinement" : way == CONFINED_STEP ? "no threads"
			: way == BAD_CONFIG				     ? err_text(E_SYNTAX)
			: way == GARBAGE				     ? "master: message without a header"
										: err_text(E_PROTO));
		finish(EX_CONFIG, way == PREPARE ? "prepare " : way == CONFINE ? PREPARED "confine(smtpd,/r/empty,xy-) " : way == CONFINED_STEP ? CONFINED : "");
	}
}

static void more_than_it_takes(void **state)
{
	enum { FILES, LISTENERS, PEERS, SECRETS, KINDS };
	static const int most[] = {HANDED_FILES, HANDED_LISTENERS, HANDED_PEERS, HANDED_SECRETS};

	(void)state;
	for (int kind = 0; kind < KINDS; kind++) {
		memset(shared, 0, sizeof(*shared));
		begin("smtpd");
		for (int i = 0; i <= most[kind]; i++) {
			char name[16];
			struct master_file file = {.name = span_of(name, (size_t)snprintf(name, sizeof(name), "f%d", i))};
			struct master_secret secret = {.name = span_str(name)};

			if (kind == FILES)
				send_fd(&ipc_master_file, &file, file_of(""));
			else if (kind == LISTENERS)
				send_listener("smtp", "x");
			else if (kind == PEERS)
				send_peer("auth", false);
			else
				assert_int_equal(ipc_send(channel, &ipc_master_secret, 0, &secret, -1), 0);
		}
		hear_failed(err_text(E_LIMIT));
		finish(EX_CONFIG, "");
	}
}

static void stats_are_given(void **state)
{
	struct master_query query = {0};
	const struct master_stats *got;
	struct ipc_message m;

	(void)state;
	started();
	assert_int_equal(ipc_send(channel, &ipc_master_query, 99, &query, -1), 0);
	m = hear(&ipc_master_stats);
	got = (const void *)m.body;
	assert_int_equal(m.id, 99);
	assert_int_equal(got->connections, 3);
	assert_int_equal(got->total, 7);
	assert_span_equal(got->note, "a.test");
	shared->finish_at_halt = true;
	send_halt(5);
	finish(EX_OK, CONFINED "halt ");
}

/* It had its time: whatever is left is given up. */
static void a_halt_has_its_time(void **state)
{
	(void)state;
	started();
	send_halt(0);
	/* Once is enough; it may be gone already. */
	(void)ipc_send(channel, &ipc_master_halt, 0, &(struct master_halt){.seconds = 100}, -1);
	finish(EX_OK, CONFINED "halt ");
}

static void without_master_it_ends(void **state)
{
	(void)state;
	started();
	close(channel);
	finish(EX_OK, CONFINED);
	channel = -1;
}

static void what_master_may_not_say(void **state)
{
	(void)state;
	started();
	send_go(2); /* without a configuration */
	finish(EX_OK, CONFINED);
	memset(shared, 0, sizeof(*shared));
	started();
	assert_int_equal(send(channel, "what", 4, 0), 4);
	finish(EX_OK, CONFINED);
}

static void a_kernel_without_landlock_is_told_in_the_log(void **state)
{
	(void)state;
	shared->without_landlock = true;
	shared->finish_at_halt = true;
	started();
	send_halt(5);
	finish(EX_OK, CONFINED "halt ");
}

static void by_hand_it_does_not_start(void **state)
{
	char text[256] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct daemon_spec spec = {.name = "smtpd"};

		dup2(fds[1], STDERR_FILENO);
		dup2(open("/dev/null", O_RDONLY), 3);
		exit(daemon_run(&spec));
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), EX_USAGE);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "smtpd: is started by `mailwain start`, not by hand\n");
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(everything_is_taken_before_it_is_confined, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_tree_is_that_of_the_profile, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_start_that_fails_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(more_than_it_takes, setup, teardown),
	    cmocka_unit_test_setup_teardown(stats_are_given, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_halt_has_its_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_master_it_ends, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_master_may_not_say, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_kernel_without_landlock_is_told_in_the_log, setup, teardown),
	    cmocka_unit_test(by_hand_it_does_not_start),
	};

	return cmocka_run_group_tests(tests, make_trees, remove_trees);
}
