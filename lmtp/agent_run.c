/*
 * One message for one command or file. The supervisor stays root, so that the user's processes can neither stop nor
 * signal it; it touches nothing of the user's. The command reads a copy of the message that was complete before it began: it never
 * takes a part for the whole.
 */
#include "lmtp/agent.h"

#include "base/buf.h"
#include "proc/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 65536, ENVIRONMENT = 16 };

static volatile pid_t supervised; /* the group that ends with us */

/* ---- the message as local(8) of Postfix gives it: From_ line, headers of the delivery, LF ends ---- */

struct copy {
	FILE *out;
	bool quote;   /* "From " at the beginning of a line becomes ">From " */
	bool cr;      /* the last octet was a CR */
	unsigned from; /* octets of "From " that the line began with; 5: no more */
	bool ended;   /* the last octet was a line end */
};

static const char from_word[] = "From ";

/* What was held back while it could still be the beginning of "From ". */
static void release(struct copy *c, bool whole)
{
	if (whole && c->quote)
		fputc('>', c->out);
	fwrite(from_word, 1, c->from, c->out);
	c->from = 5;
}

static void put(struct copy *c, char octet)
{
	if (octet == '\n') {
		if (c->from < 5)
			release(c, false);
		fputc('\n', c->out);
		c->from = 0;
		c->ended = true;
		return;
	}
	c->ended = false;
	if (c->from < 5 && octet == from_word[c->from]) {
		if (c->from == 4) {
			c->from = 5;
			if (c->quote)
				fputc('>', c->out);
			fputs(from_word, c->out);
			return;
		}
		c->from++;
		return;
	}
	if (c->from < 5)
		release(c, false);
	fputc(octet, c->out);
}

static void put_content(struct copy *c, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (c->cr && data[i] != '\n')
			put(c, '\r');
		c->cr = data[i] == '\r';
		if (!c->cr)
			put(c, data[i]);
	}
}

/* An address in a line of its own kind: nothing of it may begin another line, or another word of From_. */
static void put_address(FILE *out, struct span address, bool word)
{
	for (size_t i = 0; i < address.len; i++) {
		unsigned char c = (unsigned char)address.ptr[i];

		fputc(c < ' ' || c == 0x7f || (word && c == ' ') ? '_' : c, out);
	}
}

static void put_head(FILE *out, const struct agent_run *ask)
{
	time_t when = (time_t)ask->arrived;
	char date[64] = "Thu Jan  1 00:00:00 1970";
	struct tm tm;

	if (localtime_r(&when, &tm) != NULL)
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
	fputs("From ", out);
	put_address(out, ask->sender.len > 0 ? ask->sender : SPAN_LIT("MAILER-DAEMON"), true);
	fprintf(out, "  %s\nReturn-Path: <", date);
	put_address(out, ask->sender, false);
	fputs(">\nDelivered-To: ", out);
	put_address(out, ask->recipient, false);
	fputc('\n', out);
}

static int copy_content(struct copy *c, int fd, uint64_t size)
{
	char chunk[CHUNK];

	for (uint64_t at = 0; at < size;) {
		ssize_t n = pread(fd, chunk, size - at < CHUNK ? (size_t)(size - at) : CHUNK, (off_t)at);

		if (n <= 0)
			return E_IO;
		put_content(c, chunk, (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

/* A file without a name, on disk where that can be had; what only can be read of it is what the command gets. */
static int make_copy(const struct agent_run *ask, int content, int *out, struct err *err)
{
	struct copy c = {.quote = ask->kind == AGENT_FILE};
	int fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600), r;
	char path[64];

	if (fd < 0)
		fd = memfd_create("message", MFD_CLOEXEC);
	c.out = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (c.out == NULL) {
		if (fd >= 0)
			close(fd);
		return err_set(err, E_UNAVAILABLE, "no room for a copy of the message");
	}
	put_head(c.out, ask);
	r = copy_content(&c, content, ask->size);
	if (c.cr)
		put(&c, '\r');
	if (!c.ended)
		put(&c, '\n');
	if (c.quote)
		fputc('\n', c.out); /* mbox: an empty line between messages */
	if (fflush(c.out) != 0 || ferror(c.out))
		r = E_NOSPACE;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*out = r == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	fclose(c.out);
	if (r == 0 && *out < 0)
		r = E_UNAVAILABLE;
	return r == 0 ? 0 : err_set(err, r, "the message cannot be copied for the command");
}

/* ---- the command's process ---- */

/*
 * Letters, digits and what addresses are mostly made of; all else becomes "_": scripts that are careless with their
 * variables must not be steered by strangers. The set is Postfix's command_expansion_filter.
 */
static void set_variable(char **env, size_t *count, const char *name, struct span value)
{
	size_t size = strlen(name) + value.len + 2;
	char *text = malloc(size);

	if (text == NULL || *count + 1 >= ENVIRONMENT)
		_exit(EX_TEMPFAIL);
	snprintf(text, size, "%s=%.*s", name, SPAN_ARG(value));
	for (char *c = text + strlen(name) + 1; *c != '\0'; c++)
		if (!ascii_is_alnum(*c) && strchr("!@%-_=+:,./", *c) == NULL)
			*c = '_';
	env[(*count)++] = text;
}

static void make_environment(const struct agent_run *ask, const struct agent_user *user, char *env[ENVIRONMENT])
{
	size_t count = 0, at = ask->recipient.len;

	while (at > 0 && ask->recipient.ptr[at - 1] != '@')
		at--;
	set_variable(env, &count, "PATH", SPAN_LIT("/usr/bin:/bin"));
	set_variable(env, &count, "SHELL", SPAN_LIT("/bin/sh"));
	set_variable(env, &count, "HOME", span_str(user->home));
	set_variable(env, &count, "USER", span_str(user->name));
	set_variable(env, &count, "LOGNAME", span_str(user->name));
	set_variable(env, &count, "SENDER", ask->sender);
	set_variable(env, &count, "RECIPIENT", ask->recipient);
	set_variable(env, &count, "ORIGINAL_RECIPIENT", ask->recipient);
	set_variable(env, &count, "LOCAL", span_sub(ask->recipient, 0, at > 0 ? at - 1 : ask->recipient.len));
	set_variable(env, &count, "DOMAIN", at > 0 ? span_from(ask->recipient, at) : SPAN_LIT(""));
	set_variable(env, &count, "EXTENSION", ask->detail);
	env[count] = NULL;
}

/* Only downwards: without root's powers no limit can be raised, and need not be. */
static int limit(void)
{
	struct rlimit core = {0, 0}, files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return -1;
	if (files.rlim_max > AGENT_FILES)
		files.rlim_max = AGENT_FILES;
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_CORE, &core) != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0 ? -1 : 0;
}

static void default_signals(void)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child(const struct agent_run *ask, const struct agent_user *user, pid_t supervisor, int message, int output)
{
	char *env[ENVIRONMENT], program[AGENT_PROGRAM_MAX + 1];
	struct err err;

	setsid();
	default_signals();
	span_copy(ask->program, program, sizeof(program));
	if (dup2(message, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || close_range(3, ~0U, 0) != 0)
		_exit(EX_TEMPFAIL);
	umask(077);
	if (limit() != 0 || agent_user_become(user, &err) != 0)
		_exit(EX_TEMPFAIL);
	/* Now that the user is another: the kernel forgets it with a change of user. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != supervisor)
		_exit(EX_TEMPFAIL);
	if (ask->kind == AGENT_FILE)
		_exit(agent_file_append(program));
	make_environment(ask, user, env);
	execle("/bin/sh", "sh", "-c", program, (char *)NULL, env);
	_exit(EX_TEMPFAIL);
}

/* ---- the supervisor ---- */

static void on_term(int number)
{
	(void)number;
	if (supervised > 0) {
		kill(supervised, SIGKILL); /* it may not lead its group yet */
		kill(-supervised, SIGKILL);
	}
	_exit(EX_TEMPFAIL);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What a command says is for the sender to read: its first AGENT_OUTPUT_MAX octets. */
static bool read_output(int fd, struct buf *said)
{
	char chunk[CHUNK];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	size_t room = AGENT_OUTPUT_MAX - buf_len(said);

	if (n > 0)
		buf_add(said, chunk, (size_t)n < room ? (size_t)n : room);
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* What is there already. */
static void read_rest(int fd, struct buf *said)
{
	bool more = fcntl(fd, F_SETFL, O_NONBLOCK) == 0;

	while (more && buf_len(said) < AGENT_OUTPUT_MAX) {
		errno = 0;
		more = read_output(fd, said) && errno != EAGAIN;
	}
}

/* Until the command has ended, or its time is over. A process that it left behind may keep the output open: that is not waited for. */
static int watch(pid_t pid, int output, int64_t deadline, struct buf *said)
{
	struct pollfd fds[2] = {{.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}, {.fd = output, .events = POLLIN}};
	bool over = false;

	if (fds[0].fd < 0)
		return E_UNAVAILABLE;
	while (!over) {
		int64_t left = deadline - now_ms();
		int n = left > 0 ? poll(fds, 2, left > 60000 ? 60000 : (int)left) : 0;

		if (left <= 0 || (n < 0 && errno != EINTR))
			break;
		if (n <= 0)
			continue;
		over = (fds[0].revents & POLLIN) != 0;
		if (fds[1].revents != 0 && !read_output(output, said))
			fds[1].fd = -1;
	}
	close(fds[0].fd);
	return over ? 0 : E_TIMEOUT;
}

/* sysexits(3), as Postfix takes them. */
static int code_of(int status)
{
	if (!WIFEXITED(status))
		return E_AGAIN;
	switch (WEXITSTATUS(status)) {
	case EX_OK:
		return 0;
	case EX_TEMPFAIL:
		return E_AGAIN;
	case EX_NOUSER:
		return E_NOTFOUND;
	case EX_NOPERM:
		return E_DENIED;
	case EX_DATAERR:
		return E_CONTENT;
	default:
		return E_CANNOT;
	}
}

static void describe(const struct agent_run *ask, int code, int status, struct buf *said, char *text)
{
	const char *what = ask->kind == AGENT_FILE ? "file" : "command";
	char how[64];
	struct span words = span_trim(buf_span(said));
	int n;

	if (code == E_TIMEOUT)
		snprintf(how, sizeof(how), "took too long");
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was ended by signal %d", WTERMSIG(status));
	else
		snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
	n = snprintf(text, AGENT_TEXT_MAX, code == 0 ? "given to a %s" : "a %s of the recipient's %s%s", what, how, words.len > 0 ? ": " : "");
	if (code != 0 && n > 0 && n < AGENT_TEXT_MAX - 1)
		span_copy(words, text + n, AGENT_TEXT_MAX - (size_t)n);
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = ' ';
}

static int supervise(const struct agent_run *ask, const struct agent_rules *rules, pid_t pid, int output, char *text)
{
	struct buf said;
	int status = 0, code;

	buf_init(&said, AGENT_OUTPUT_MAX + 1);
	code = watch(pid, output, now_ms() + rules->timeout_ms, &said);
	/* What it has left behind goes with it. */
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	supervised = 0; /* before its number may become another's */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	read_rest(output, &said);
	if (code == 0)
		code = code_of(status);
	describe(ask, code, status, &said, text);
	buf_fini(&said);
	return code;
}

static int start(const struct agent_run *ask, const struct agent_user *user, int message, const struct agent_rules *rules, char *text)
{
	sigset_t term;
	int fds[2], code;
	pid_t pid, self;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return E_NOFILES;
	/* Who is told to end here must know whom to end first. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	self = getpid();
	pid = fork();
	if (pid == 0)
		child(ask, user, self, message, fds[1]);
	close(fds[1]);
	supervised = pid;
	fork_ready(SIGTERM, on_term);
	code = pid > 0 ? supervise(ask, rules, pid, fds[0], text) : E_UNAVAILABLE;
	close(fds[0]);
	return code;
}

int agent_run(const struct agent_run *ask, int content, const struct agent_rules *rules, char *text)
{
	struct agent_user user;
	struct err err = {0};
	int message = -1, r = agent_user_find(ask->name, rules, &user, &err);

	if (r == 0)
		r = make_copy(ask, content, &message, &err);
	if (r == 0)
		return start(ask, &user, message, rules, text);
	snprintf(text, AGENT_TEXT_MAX, "%s", err.text);
	return r;
}
