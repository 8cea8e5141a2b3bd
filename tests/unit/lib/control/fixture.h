/* An instance's directory with a socket of its own, a command in a child, and what it prints. */
#ifndef MW_TESTS_UNIT_CONTROL_FIXTURE_H
#define MW_TESTS_UNIT_CONTROL_FIXTURE_H

#include "tests/unit/test.h"

#include "ipc/ipc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

struct command {
	pid_t pid;
	int in, out, err; /* of the child: what it reads, what it wrote */
};

static char root[64];	 /* of the instance */
static int listener = -1; /* run/test.sock */

static inline int make_instance(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[80];

	(void)state;
	snprintf(root, sizeof(root), "/tmp/control-test-XXXXXX");
	if (mkdtemp(root) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/run", root);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/test.sock", root);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return mkdir(path, 0700) != 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 8) != 0;
}

static inline int remove_instance(void **state)
{
	char command[128];

	(void)state;
	close(listener);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

/* Runs fn(arg) in a child whose standard streams are kept; its result is the exit status. */
static inline struct command start(int (*fn)(void *arg), void *arg, const char *input)
{
	struct command c = {.in = memfd_create("in", 0), .out = memfd_create("out", 0), .err = memfd_create("err", 0)};

	if (input != NULL)
		assert_int_equal(write(c.in, input, strlen(input)), strlen(input));
	assert_int_equal(lseek(c.in, 0, SEEK_SET), 0);
	fflush(NULL);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		dup2(c.in, STDIN_FILENO);
		dup2(c.out, STDOUT_FILENO);
		dup2(c.err, STDERR_FILENO);
		alarm(60);
		exit(fn(arg));
	}
	return c;
}

/* Waits for the end and compares all three. */
static inline void finish(struct command *c, int status, const char *out, const char *err)
{
	char text[3][70000] = {"", "", ""};
	int how;

	assert_int_equal(waitpid(c->pid, &how, 0), c->pid);
	assert_true(pread(c->out, text[1], sizeof(text[1]) - 1, 0) >= 0);
	assert_true(pread(c->err, text[2], sizeof(text[2]) - 1, 0) >= 0);
	close(c->in);
	close(c->out);
	close(c->err);
	assert_string_equal(text[2], err);
	assert_string_equal(text[1], out);
	assert_true(WIFEXITED(how));
	assert_int_equal(WEXITSTATUS(how), status);
}

/* ---- the daemon's side, word by word ---- */

static char wire[IPC_MESSAGE_MAX];

static inline int accept_command(void)
{
	int fd = accept(listener, NULL, NULL);

	assert_true(fd >= 0);
	return fd;
}

static inline struct ipc_message hear(int fd)
{
	struct ipc_message m;
	struct err err = {0};

	if (ipc_receive(fd, &ipc_service_control, TO_SERVICE, wire, &m, &err) != 0)
		fail_msg("%s", err.text);
	return m;
}

static inline void say_row(int fd, const char *json)
{
	struct control_row row = {.json = span_str(json)};

	assert_int_equal(ipc_send(fd, &ipc_control_row, 1, &row, -1), 0);
}

static inline void say_text(int fd, const char *text)
{
	struct control_text body = {.text = span_str(text)};

	assert_int_equal(ipc_send(fd, &ipc_control_text, 1, &body, -1), 0);
}

static inline void say_done(int fd, unsigned status, const char *text)
{
	struct control_done done = {.exit = status, .text = span_str(text)};

	assert_int_equal(ipc_send(fd, &ipc_control_done, 1, &done, -1), 0);
}

/* Takes a whole request whose arguments must be `args` ("a|b|c"); its secret is kept. */
static char heard_secret[2048];

static inline int hear_request(const char *args)
{
	int fd = accept_command();
	struct ipc_message m = hear(fd);
	const struct control_request *request = (const void *)m.body;
	char got[40000];

	assert_ptr_equal(m.type, &ipc_control_request);
	for (size_t i = 0; i < request->args.len; i++)
		got[i] = request->args.ptr[i] == '\0' ? '|' : request->args.ptr[i];
	got[request->args.len] = '\0';
	assert_string_equal(got, args);
	snprintf(heard_secret, sizeof(heard_secret), "%.*s", SPAN_ARG(request->secret));
	return fd;
}

#endif
