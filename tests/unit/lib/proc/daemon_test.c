/* The skeleton of a daemon: what it takes from master, in which order, reloads, its end. */
#include "tests/unit/test.h"

#include "net/ipc_conn.h"
#include "proc/daemon.h"
#include "proc/handover.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* Shared with the child: the steps in their order, and what it was to be like. */
static struct shared {
	char steps[1024];
	bool fail_prepare, fail_confine, fail_confined, fail_reload, without_landlock, finish_at_halt, no_hooks, poor, tell_file, replaces;
} *shared;

static char top[] = "/tmp/daemon-test-XXXXXX"; /* the directories that a daemon may be confined to lie below it */
static const char *const trees[] = {"", "/r", "/r/empty", "/d", "/d/directory", "/d/store", "/s"};
enum { TREES = sizeof(trees) / sizeof(trees[0]) };

static void step(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void step(const char *fmt, ...)
{
	size_t used = strlen(shared->steps);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(shared->steps + used, sizeof(shared->steps) - used, fmt, ap);
	va_end(ap);
}

/* Takes the place of the library's: confine_test.c has that one. What is asked of it is looked at here. */
int proc_confine(const struct profile *profile, const char *tree, const char *user_prefix, bool *landlock, struct err *err)
{
	step("confine(%s,%s,%s) ", profile->name, strncmp(tree, top, strlen(top)) == 0 ? tree + strlen(top) : tree, user_prefix);
	*landlock = !shared->without_landlock;
	return shared->fail_confine ? err_set(err, E_DENIED, "no confinement") : 0;
}

/* ---- the daemon, in the child ---- */

static int number;

static int prepare(struct daemon *daemon, struct err *err)
{
	int fds[4], one[1];
	char addresses[4][128], text[8] = "";
	unsigned char secret[5];
	size_t n = daemon_listeners(daemon, "smtp", fds, addresses, 4);

	step("prepare ");
	if (shared->fail_prepare)
		return err_set(err, E_SYNTAX, "no good");
	if (*(int *)daemon_state(daemon) != 42)
		step("STATE ");
	step("host=%.*s ", SPAN_ARG(conf_text(daemon_conf(daemon), CONF_hostname, NULL)));
	step("smtp=%zu ", n);
	for (size_t i = 0; i < n; i++)
		step("%s ", addresses[i]);
	step("max=%zu imap=%zu none=%zu ", daemon_listeners(daemon, "smtp", one, NULL, 1), daemon_listeners(daemon, "imap", fds, NULL, 4),
	    daemon_listeners(daemon, "pop3", fds, NULL, 4));
	if (daemon_file(daemon, "tls-key") >= 0 && pread(daemon_file(daemon, "tls-key"), text, sizeof(text) - 1, 0) > 0)
		step("file=%s ", text);
	step("other=%d ", daemon_file(daemon, "other"));
	if (daemon_secret(daemon, "grant", secret, 5))
		step("secret=%.5s ", (const char *)secret);
	step("short=%d none=%d ", daemon_secret(daemon, "grant", secret, 4), daemon_secret(daemon, "x", secret, 5));
	return 0;
}

/* What there is of the file "tls-key"; "-": nothing. */
static void step_file(struct daemon *daemon)
{
	char text[8] = "-";

	if (daemon_file(daemon, "tls-key") >= 0 && pread(daemon_file(daemon, "tls-key"), text, sizeof(text) - 1, 0) < 0)
		step("? ");
	step("file=%s ", text);
}

/* No descriptor is left to take what comes. */
static void be_poor(void)
{
	int fd = open("/dev/null", O_RDONLY);
	struct rlimit limit = {.rlim_cur = (rlim_t)fd, .rlim_max = (rlim_t)fd};

	close(fd);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int confined(struct daemon *daemon, struct err *err)
{
	if (shared->poor)
		be_poor();
	step("confined%s ", daemon_base(daemon) != NULL && daemon_log(daemon) != NULL ? "" : "?");
	return shared->fail_confined ? err_set(err, E_NOMEM, "no threads") : 0;
}

static int reload(struct daemon *daemon, struct err *err)
{
	step("reload(%.*s) ", SPAN_ARG(conf_text(daemon_conf(daemon), CONF_hostname, NULL)));
	if (shared->tell_file)
		step_file(daemon);
	return shared->fail_reload ? err_set(err, E_SYNTAX, "not that one") : 0;
}

/* replaces: it has not yet seen that the connection before this one has ended. */
static void on_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	if (shared->replaces)
		daemon_peer_lost(daemon, "auth");
	step("peer(%.*s,%.*s,%d) ", SPAN_ARG(service), SPAN_ARG(role), serving);
	close(fd);
}

static void halt(struct daemon *daemon)
{
	step("halt ");
	if (shared->finish_at_halt)
		daemon_finished(daemon);
}

static void stats(struct daemon *daemon, struct master_stats *out)
{
	daemon_finished(daemon); /* not halting: nothing happens */
	if (shared->tell_file)
		step_file(daemon);
	out->connections = 3;
	out->total = 7;
	out->note = conf_text(daemon_conf(daemon), CONF_hostname, NULL);
}

/* ---- master, here ---- */

static pid_t child;
static int channel;
static char buffer[IPC_MESSAGE_MAX];

static void begin(const char *profile)
{
	static const struct daemon_spec full = {.name = "smtpd", .prepare = prepare, .confined = confined, .reload = reload, .peer = on_peer,
	    .halt = halt, .stats = stats, .state = &number};
	static const struct daemon_spec bare = {.name = "smtpd", .state = &number};
	struct err err;
	int fds[2];

	number = 42;
	assert_int_equal(ipc_pair(fds, &err), 0);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct daemon_spec spec = shared->no_hooks ? bare : full;

		spec.profile = profile_find(profile);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		close(fds[0]);
		if (fds[1] != 3) {
			dup2(fds[1], 3);
			close(fds[1]);
		}
		alarm(10);
		exit(daemon_run(&spec));
	}
	close(fds[1]);
	channel = fds[0];
}

static int make_trees(void **state)
{
	char path[64];

	(void)state;
	if (mkdtemp(top) == NULL)
		return 1;
	for (size_t i = 1; i < TREES; i++) {
		snprintf(path, sizeof(path), "%s%s", top, trees[i]);
		if (mkdir(path, 0700) != 0)
			return 1;
	}
	return 0;
}

static int remove_trees(void **state)
{
	char path[64];

	(void)state;
	for (size_t i = TREES; i > 0; i--) {
		snprintf(path, sizeof(path), "%s%s", top, trees[i - 1]);
		if (rmdir(path) != 0)
			return 1;
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(shared, sizeof(*shared));
}

static void finish(int status, const char *steps)
{
	int how;

	assert_int_equal(waitpid(child, &how, 0), child);
	assert_string_equal(shared->steps, steps);
	assert_true(WIFEXITED(how));
	assert_int_equal(WEXITSTATUS(how), status);
	close(channel);
}

static int file_of(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void send_fd(const struct ipc_type *type, const void *body, int fd)
{
	assert_int_equal(ipc_send(channel, type, 0, body, fd), 0);
	close(fd);
}

static void send_config(const char *hostname)
{
	struct master_config body = {0};
	char text[512];

	snprintf(text, sizeof(text), "config-version 1\nhostname %s\ndata-directory %s/d\nspool-directory %s/s\nrun-directory %s/r\nuser-prefix xy-\nlog-level error\n",
	    hostname, top, top, top);
	send_fd(&ipc_master_config, &body, file_of(text));
}

static void send_listener(const char *name, const char *address)
{
	struct master_listener body = {.name = span_str(name), .address = span_str(address)};

	send_fd(&ipc_master_listener, &body, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void send_peer(const char *service, bool serving)
{
	struct master_peer body = {.service = span_str(service), .role = SPAN_LIT("r"), .serving = serving};

	send_fd(&ipc_master_peer, &body, socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

static void send_go(uint32_t generation)
{
	struct master_go body = {.generation = generation};

	assert_int_equal(ipc_send(channel, &ipc_master_go, 0, &body, -1), 0);
}

static void send_halt(uint32_t seconds)
{
	struct master_halt body = {.seconds = seconds};

	assert_int_equal(ipc_send(channel, &ipc_master_halt, 0, &body, -1), 0);
}

static struct ipc_message hear(const struct ipc_type *type)
{
	struct ipc_message m = {0};
	struct err err = {0};

	if (ipc_receive(channel, &ipc_service_master, TO_SERVICE, buffer, &m, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(m.type->name, type->name);
	return m;
}

static void hear_ready(uint32_t generation)
{
	struct ipc_message m = hear(&ipc_master_ready);

	assert_int_equal(((const struct master_ready *)(const void *)m.body)->generation, generation);
}

static void hear_failed(const char *text)
{
	struct ipc_message m = hear(&ipc_master_failed);

	assert_span_equal(((const struct master_failed *)(const void *)m.body)->text, text);
}

#define PREPARED "prepare host=a.test smtp=0 max=0 imap=0 none=0 other=-1 short=0 none=0 "
#define CONFINED PREPARED "confine(smtpd,/r/empty,xy-) confined "

static void started(void)
{
	begin("smtpd");
	send_config("a.test");
	send_go(1);
	hear_ready(1);
}

/* daemon.h gives the order, and it is fixed. */
static void everything_is_taken_before_it_is_confined(void **state)
{
	struct master_file file = {.name = SPAN_LIT("tls-key")};
	struct master_secret secret = {.name = SPAN_LIT("grant"), .value = SPAN_LIT("12345")};

	(void)state;
	begin("smtpd");
	send_listener("smtp", "127.0.0.1:25");
	send_listener("imap", "127.0.0.1:143");
	send_listener("smtp", "[::1]:25");
	send_fd(&ipc_master_file, &file, file_of("old"));
	send_fd(&ipc_master_file, &file, file_of("new")); /* takes the place of the other */
	assert_int_equal(ipc_send(channel, &ipc_master_secret, 0, &secret, -1), 0);
	send_peer("auth", false);
	send_config("a.test");
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
	send_file("one");
	send_config("a.test");
	send_go(1);
	hear_ready(1);
	shared->fail_reload = true;
	send_file("two");
	send_config("b.test");
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

/* It goes on with what it has. */
static void a_reload_that_finds_no_descriptor_free_is_refused(void **state)
{
	struct ipc_message m;

	(void)state;
	shared->poor = true;
	started();
	send_file("lost");
	send_config("b.test");
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
	    cmocka_unit_test_setup_teardown(a_reload_is_taken_or_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(files_go_with_their_configuration, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reload_that_finds_no_descriptor_free_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_service_that_was_lost_is_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_halt_has_its_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_master_it_ends, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_master_may_not_say, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_kernel_without_landlock_is_told_in_the_log, setup, teardown),
	    cmocka_unit_test(by_hand_it_does_not_start),
	};

	return cmocka_run_group_tests(tests, make_trees, remove_trees);
}
