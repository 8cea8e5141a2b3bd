/* A daemon in a child, which writes down what it is asked, and master here. */
#ifndef MW_TESTS_UNIT_LIB_PROC_DAEMON_FIXTURE_H
#define MW_TESTS_UNIT_LIB_PROC_DAEMON_FIXTURE_H

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

static inline void step(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void step(const char *fmt, ...)
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

static inline int prepare(struct daemon *daemon, struct err *err)
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
static inline void step_file(struct daemon *daemon)
{
	char text[8] = "-";

	if (daemon_file(daemon, "tls-key") >= 0 && pread(daemon_file(daemon, "tls-key"), text, sizeof(text) - 1, 0) < 0)
		step("? ");
	step("file=%s ", text);
}

/* No descriptor is left to take what comes. */
static inline void be_poor(void)
{
	int fd = open("/dev/null", O_RDONLY);
	struct rlimit limit = {.rlim_cur = (rlim_t)fd, .rlim_max = (rlim_t)fd};

	close(fd);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static inline int confined(struct daemon *daemon, struct err *err)
{
	if (shared->poor)
		be_poor();
	step("confined%s ", daemon_base(daemon) != NULL && daemon_log(daemon) != NULL ? "" : "?");
	return shared->fail_confined ? err_set(err, E_NOMEM, "no threads") : 0;
}

static inline int reload(struct daemon *daemon, struct err *err)
{
	step("reload(%.*s) ", SPAN_ARG(conf_text(daemon_conf(daemon), CONF_hostname, NULL)));
	if (shared->tell_file)
		step_file(daemon);
	return shared->fail_reload ? err_set(err, E_SYNTAX, "not that one") : 0;
}

/* replaces: it has not yet seen that the connection before this one has ended. */
static inline void on_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	if (shared->replaces)
		daemon_peer_lost(daemon, "auth");
	step("peer(%.*s,%.*s,%d) ", SPAN_ARG(service), SPAN_ARG(role), serving);
	close(fd);
}

static inline void halt(struct daemon *daemon)
{
	step("halt ");
	if (shared->finish_at_halt)
		daemon_finished(daemon);
}

static inline void stats(struct daemon *daemon, struct master_stats *out)
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

static inline void begin(const char *profile)
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
		alarm(60);
		exit(daemon_run(&spec));
	}
	close(fds[1]);
	channel = fds[0];
}

static inline int make_trees(void **state)
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

static inline int remove_trees(void **state)
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

static inline int setup(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED;
}

static inline int teardown(void **state)
{
	(void)state;
	return munmap(shared, sizeof(*shared));
}

static inline void finish(int status, const char *steps)
{
	int how;

	assert_int_equal(waitpid(child, &how, 0), child);
	assert_string_equal(shared->steps, steps);
	assert_true(WIFEXITED(how));
	assert_int_equal(WEXITSTATUS(how), status);
	close(channel);
}

static inline int file_of(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static inline void send_fd(const struct ipc_type *type, const void *body, int fd)
{
	assert_int_equal(ipc_send(channel, type, 0, body, fd), 0);
	close(fd);
}

static inline void send_config(const char *hostname)
{
	struct master_config body = {0};
	char text[512];

	snprintf(text, sizeof(text), "config-version 1\nhostname %s\ndata-directory %s/d\nspool-directory %s/s\nrun-directory %s/r\nuser-prefix xy-\nlog-level error\n",
	    hostname, top, top, top);
	send_fd(&ipc_master_config, &body, file_of(text));
}

static inline void send_listener(const char *name, const char *address)
{
	struct master_listener body = {.name = span_str(name), .address = span_str(address)};

	send_fd(&ipc_master_listener, &body, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static inline void send_peer(const char *service, bool serving)
{
	struct master_peer body = {.service = span_str(service), .role = SPAN_LIT("r"), .serving = serving};

	send_fd(&ipc_master_peer, &body, socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

static inline void send_go(uint32_t generation)
{
	struct master_go body = {.generation = generation};

	assert_int_equal(ipc_send(channel, &ipc_master_go, 0, &body, -1), 0);
}

static inline void send_halt(uint32_t seconds)
{
	struct master_halt body = {.seconds = seconds};

	assert_int_equal(ipc_send(channel, &ipc_master_halt, 0, &body, -1), 0);
}

static inline struct ipc_message hear(const struct ipc_type *type)
{
	struct ipc_message m = {0};
	struct err err = {0};

	if (ipc_receive(channel, &ipc_service_master, TO_SERVICE, buffer, &m, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(m.type->name, type->name);
	return m;
}

static inline void hear_ready(uint32_t generation)
{
	struct ipc_message m = hear(&ipc_master_ready);

	assert_int_equal(((const struct master_ready *)(const void *)m.body)->generation, generation);
}

static inline void hear_failed(const char *text)
{
	struct ipc_message m = hear(&ipc_master_failed);

	assert_span_equal(((const struct master_failed *)(const void *)m.body)->text, text);
}

#define PREPARED "prepare host=a.test smtp=0 max=0 imap=0 none=0 other=-1 short=0 none=0 "
#define CONFINED PREPARED "confine(smtpd,/r/empty,xy-) confined "

static inline void started(void)
{
	begin("smtpd");
	send_config("a.test");
	send_go(1);
	hear_ready(1);
}

#endif
