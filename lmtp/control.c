/* store check, store rebuild-index, mailbox list, mailbox undo: asks auth who is meant, then lets a confined child do it. */
#include "lmtp/deliver.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "lmtp/job.h"
#include "net/control.h"
#include "net/ipc_conn.h"
#include "proc/fork.h"
#include "store/account.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { REQUEST_LINE_MAX = 128 * 1024 };

struct request {
	struct request *next, **link;
	struct deliver *deliver;
	struct control_reply *reply;
	enum job_kind kind;
	int64_t since;
	uint32_t question; /* to auth; 0: answered */
	uint64_t account;
	bool by_number; /* the account may not exist: nothing is made for it */
	bool waits;	/* for the account's worker to end */
	int fd;
	struct event *event;
	struct buf in;
};

static void request_end(struct request *q)
{
	*q->link = q->next;
	if (q->next != NULL)
		q->next->link = q->link;
	if (q->event != NULL)
		event_free(q->event);
	if (q->fd >= 0)
		close(q->fd);
	buf_fini(&q->in);
	free(q);
}

static void request_fail(struct request *q, int exit_code, const char *text)
{
	control_reply_done(q->reply, (unsigned)exit_code, "%s", text);
	request_end(q);
}

/* ---- what the child writes ---- */

/* True when the request has ended. */
static bool take_line(struct request *q, struct span line)
{
	uint64_t code;
	size_t blank;

	if (line.len == 0 || line.ptr[0] != '=') {
		control_reply_row(q->reply, line);
		return false;
	}
	line = span_from(line, 1);
	blank = span_find(line, ' ');
	if (!span_u64(span_sub(line, 0, blank), 255, &code))
		code = EX_SOFTWARE;
	line = span_from(line, blank + 1);
	control_reply_done(q->reply, (unsigned)code, "%.*s", SPAN_ARG(line));
	request_end(q);
	return true;
}

static void on_child_output(evutil_socket_t fd, short what, void *arg)
{
	struct request *q = arg;
	char *room = buf_reserve(&q->in, 16 * 1024);
	ssize_t n = room != NULL ? read(fd, room, 16 * 1024) : 0;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		request_fail(q, EX_TEMPFAIL, room != NULL ? "the work ended before it was done; the log says why" : err_text(E_NOMEM));
		return;
	}
	buf_added(&q->in, (size_t)n);
	for (;;) {
		struct span rest = buf_span(&q->in);
		size_t end = span_find(rest, '\n');

		if (end == rest.len)
			return;
		if (take_line(q, span_sub(rest, 0, end)))
			return;
		buf_take(&q->in, end + 1);
	}
}

static _Noreturn void child_start(struct request *q, int dir, int out)
{
	event_reinit(daemon_base(q->deliver->daemon));
	signal(SIGCHLD, SIG_DFL);
	fork_ready(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	deliver_child_keep(q->deliver, dir, out);
	explicit_bzero(q->deliver->grant_key, sizeof(q->deliver->grant_key));
	_exit(job_main(q->kind, q->account, 3, q->since, 4));
}

static void request_start(struct request *q)
{
	struct err err = {0};
	char text[64];
	int fds[2] = {-1, -1};
	int dir = q->by_number ? store_account_find(q->account, &err) : store_account_open(q->account, &err);
	pid_t pid = -1;

	q->waits = false;
	if (dir == E_NOTFOUND) {
		snprintf(text, sizeof(text), "there is no mail store of an account %llu", (unsigned long long)q->account);
		request_fail(q, EX_NOUSER, text);
		return;
	}
	if (dir >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) {
		log_flush();
		pid = fork_holding_back(SIGTERM);
		if (pid == 0)
			child_start(q, dir, fds[1]);
		close(fds[1]);
		q->fd = fds[0];
	}
	if (dir >= 0)
		close(dir);
	if (pid < 0) {
		request_fail(q, EX_OSERR, err.text[0] ? err.text : "no process can be started");
		return;
	}
	fcntl(q->fd, F_SETFL, O_NONBLOCK);
	q->event = event_new(daemon_base(q->deliver->daemon), q->fd, EV_READ | EV_PERSIST, on_child_output, q);
	if (q->event == NULL || event_add(q->event, NULL) != 0)
		request_fail(q, EX_OSERR, "out of memory");
}

/* A rebuild needs the account for itself: its worker ends first. */
static void request_ready(struct request *q)
{
	if (q->kind == JOB_REBUILD)
		for (struct worker *w = q->deliver->workers; w != NULL; w = w->next)
			if (w->account == q->account) {
				kill(w->pid, SIGTERM);
				q->waits = true;
			}
	if (!q->waits)
		request_start(q);
}

void deliver_worker_gone(struct deliver *deliver, uint64_t account)
{
	struct request *q = deliver->requests;

	while (q != NULL) {
		struct request *next = q->next;

		if (q->waits && q->account == account)
			request_start(q);
		q = next;
	}
}

/* ---- the question ---- */

void deliver_account_answered(struct deliver *deliver, uint32_t id, const struct auth_recipient_answer *answer)
{
	struct request *q = deliver->requests;

	while (q != NULL && q->question != id)
		q = q->next;
	if (q == NULL || id == 0)
		return;
	q->question = 0;
	q->account = answer->account;
	if (answer->code != 0 && (answer->code != E_DISABLED || answer->account == 0))
		control_reply_done(q->reply, err_is_temp(answer->code) ? EX_TEMPFAIL : EX_NOUSER, "%.*s", SPAN_ARG(answer->text));
	else if (answer->account == 0)
		control_reply_done(q->reply, EX_NOUSER, "that is an alias, not an account");
	else {
		request_ready(q);
		return;
	}
	request_end(q);
}

void deliver_auth_lost(struct deliver *deliver)
{
	struct request *q = deliver->requests;

	while (q != NULL) {
		struct request *next = q->next;

		if (q->question != 0)
			request_fail(q, EX_TEMPFAIL, "auth was restarted; try again");
		q = next;
	}
}

/* "2h", "3d": before now; a plain number: seconds since 1970. */
static bool parse_since(struct span text, int64_t *out)
{
	uint64_t n;

	if (span_u64(text, INT64_MAX, &n)) {
		*out = (int64_t)n;
		return true;
	}
	if (!conf_parse_time(text, &n))
		return false;
	*out = clock_wall() - (int64_t)(n / 1000);
	return true;
}

static bool parse_kind(struct span noun, struct span verb, enum job_kind *out)
{
	static const struct {
		const char *noun, *verb;
		enum job_kind kind;
	} kinds[] = {{"store", "check", JOB_CHECK}, {"store", "rebuild-index", JOB_REBUILD}, {"mailbox", "list", JOB_LIST},
	    {"mailbox", "undo", JOB_UNDO}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (span_eq(noun, span_str(kinds[i].noun)) && span_eq(verb, span_str(kinds[i].verb))) {
			*out = kinds[i].kind;
			return true;
		}
	return false;
}

static struct request *request_new(struct deliver *deliver, struct control_reply *reply, enum job_kind kind)
{
	struct request *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->deliver = deliver;
	q->reply = reply;
	q->kind = kind;
	q->fd = -1;
	buf_init(&q->in, REQUEST_LINE_MAX);
	q->next = deliver->requests;
	q->link = &deliver->requests;
	if (q->next != NULL)
		q->next->link = &q->next;
	deliver->requests = q;
	return q;
}

static void ask(struct request *q, struct span name)
{
	struct auth_recipient body = {.address = name};
	uint64_t number;

	/* The number, as `account show` and the log have it: also for an account that is disabled or removed. */
	if (span_u64(name, UINT64_MAX, &number) && number > 0) {
		q->account = number;
		q->by_number = true;
		request_ready(q);
		return;
	}
	if (++q->deliver->last_question == 0)
		q->deliver->last_question = 1;
	q->question = q->deliver->last_question;
	if (q->deliver->auth == NULL || ipc_conn_send(q->deliver->auth, &ipc_auth_recipient, q->question, &body, -1) != 0)
		request_fail(q, EX_TEMPFAIL, "auth cannot be asked now; try again");
}

void deliver_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret)
{
	struct request *q;
	enum job_kind kind;
	int64_t since = 0;

	(void)input;
	(void)secret;
	if (count < 3 || !parse_kind(args[0], args[1], &kind)) {
		control_reply_done(reply, EX_USAGE, "an account is missing");
		return;
	}
	if (kind == JOB_UNDO && (count != 5 || !span_eq(args[3], SPAN_LIT("--since")) || !parse_since(args[4], &since))) {
		control_reply_done(reply, EX_USAGE, "undo needs --since TIME, as 2h, 3d or seconds since 1970");
		return;
	}
	q = request_new(arg, reply, kind);
	if (q == NULL) {
		control_reply_done(reply, EX_OSERR, "out of memory");
		return;
	}
	q->since = since;
	ask(q, args[2]);
}
