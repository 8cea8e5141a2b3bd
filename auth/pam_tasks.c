/* The questions to auth-pam: a process each, so many at once, each with a deadline. */
#include "auth/pam_daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { CHILD_PIPE = 3 };

struct task {
	struct task *next;
	struct pam_tasks *tasks;
	struct ipc_conn *conn; /* NULL: answered, or nobody waits */
	uint32_t id;
	struct event *event; /* of the deadline, and then of the pipe as well */
	int64_t deadline_ms;
	int fd;		     /* of the pipe; -1: it waits for a process */
	pid_t pid;	     /* 0: none yet */
	struct pam_question question;
};

/* Those of one kind. */
struct lane {
	struct task *waiting, **waiting_tail;
	struct task *running;
	unsigned waiting_count, waiting_most, running_count, running_most;
};

struct pam_tasks {
	struct daemon *daemon;
	struct lane logins, finds;
	struct event *child_event;
	int64_t deadline_ms;
	uint64_t total;
	pid_t self;
	unsigned char stamp_key[PAM_STAMP];
};

static struct lane *lane_of(struct task *task)
{
	return task->question.find ? &task->tasks->finds : &task->tasks->logins;
}

static void task_free(struct task *task)
{
	if (task->event != NULL)
		event_free(task->event);
	if (task->fd >= 0)
		close(task->fd);
	explicit_bzero(task, sizeof(*task));
	free(task);
}

/* ---- answers ---- */

static void send_answer(struct task *task, const struct pam_result *result)
{
	struct pam_login_answer login = {.code = result->code, .spent_us = result->spent_us, .text = span_str(result->text)};
	struct pam_found found = {.code = result->code, .uid = result->uid, .name = span_str(result->name), .stamp = span_of(result->stamp, PAM_STAMP)};

	if (task->conn == NULL)
		return;
	if (task->question.find)
		ipc_conn_answer(task->conn, &ipc_pam_found, task->id, &found, -1);
	else
		ipc_conn_answer(task->conn, &ipc_pam_login_answer, task->id, &login, -1);
	task->conn = NULL;
}

static void send_code(struct task *task, int code)
{
	struct pam_result result = {.code = code};

	send_answer(task, &result);
}

static void log_failure(const struct task *task, const char *error)
{
	log_event(EV_pam_failed, daemon_log(task->tasks->daemon), F_STR("user", task->question.user),
	    F_STR("asked", task->question.find ? "find" : "login"), F_STR("error", error));
}

/* ---- the process of a question ---- */

/* Modules start helpers: they go with the process. */
static void task_kill(const struct task *task)
{
	if (task->pid > 0 && kill(-task->pid, SIGKILL) != 0)
		kill(task->pid, SIGKILL);
}

/* It keeps its pipe and the log. What modules do with signals is their own affair. */
static _Noreturn void child_main(const struct task *task, int pipe_fd)
{
	struct pam_tasks *tasks = task->tasks;
	const struct conf *conf = daemon_conf(tasks->daemon);
	struct pam_result result = {.code = E_IO};
	char service[256];
	struct pam_settings settings = {.service = service, .first_uid = conf_u64(conf, CONF_system_first_uid, NULL), .stamp_key = tasks->stamp_key};

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != tasks->self)
		_exit(EX_UNAVAILABLE);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	/* A module that looks around finds one password, and it is the one it is given. */
	for (struct task *other = tasks->logins.waiting; other != NULL; other = other->next)
		secret_wipe(&other->question.password);
	if (dup2(pipe_fd, CHILD_PIPE) < 0)
		_exit(EX_OSERR);
	fcntl(CHILD_PIPE, F_SETFD, FD_CLOEXEC);
	close_range(CHILD_PIPE + 1, ~0U, 0);
	span_copy(conf_text(conf, CONF_pam_service, NULL), service, sizeof(service));
	pam_answer(&task->question, &settings, &result);
	_exit(write(CHILD_PIPE, &result, sizeof(result)) == (ssize_t)sizeof(result) ? EX_OK : EX_IOERR);
}

/* The answer, the end of the process without one, or the deadline. */
static void on_pipe(evutil_socket_t fd, short what, void *arg)
{
	struct task *task = arg;
	struct pam_result result;
	ssize_t n = (what & EV_READ) != 0 ? read(fd, &result, sizeof(result)) : -1;

	if ((what & EV_TIMEOUT) != 0) {
		log_failure(task, "too slow: its process was killed");
		send_code(task, E_TIMEOUT);
	} else if (n == (ssize_t)sizeof(result)) {
		result.name[PAM_TEXT_MAX] = result.text[PAM_TEXT_MAX] = '\0';
		if (result.code == E_IO)
			log_failure(task, result.text);
		else if (result.code == E_DISABLED)
			log_event(EV_pam_refused, daemon_log(task->tasks->daemon), F_STR("user", task->question.user), F_STR("service", task->question.service),
			    F_STR("rip", task->question.remote), F_STR("reason", result.text));
		send_answer(task, &result);
	} else {
		log_failure(task, "its process ended without an answer");
		send_code(task, E_IO);
	}
	/* The task stays until its process has ended. */
	task_kill(task);
	event_del(task->event);
}

static int task_fork(struct task *task)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return errno;
	log_flush();
	task->pid = fork();
	if (task->pid == 0)
		child_main(task, fds[1]);
	close(fds[1]);
	if (task->pid < 0) {
		int number = errno;

		task->pid = 0;
		close(fds[0]);
		return number;
	}
	setpgid(task->pid, task->pid); /* whoever is first */
	task->fd = fds[0];
	secret_wipe(&task->question.password);
	return 0;
}

/* What is left of its time is the process's. */
static int watch_pipe(struct task *task)
{
	int64_t left = task->deadline_ms - clock_monotonic_ms();
	struct timeval tv = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};

	if (left <= 0)
		tv = (struct timeval){0};
	event_del(task->event);
	if (event_assign(task->event, daemon_base(task->tasks->daemon), task->fd, EV_READ | EV_PERSIST, on_pipe, task) != 0)
		return E_NOMEM;
	return event_add(task->event, &tv) == 0 ? 0 : E_NOMEM;
}

/* ---- lanes ---- */

static struct task *lane_take(struct lane *lane, struct task **link)
{
	struct task *task = *link;

	*link = task->next;
	if (*link == NULL)
		lane->waiting_tail = link;
	lane->waiting_count--;
	task->next = NULL;
	return task;
}

static void task_start(struct lane *lane, struct task *task)
{
	int number = task_fork(task);

	if (number != 0) {
		log_failure(task, strerror(number));
		send_code(task, E_IO);
		task_free(task);
		return;
	}
	task->next = lane->running;
	lane->running = task;
	lane->running_count++;
	if (watch_pipe(task) != 0) {
		send_code(task, E_IO);
		task_kill(task);
	}
}

static void lane_go_on(struct lane *lane)
{
	while (lane->waiting != NULL && lane->running_count < lane->running_most)
		task_start(lane, lane_take(lane, &lane->waiting));
}

/* It never got a process. */
static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct task *task = arg;
	struct lane *lane = lane_of(task);
	struct task **link = &lane->waiting;

	(void)fd;
	(void)what;
	while (*link != NULL && *link != task)
		link = &(*link)->next;
	if (*link == NULL)
		return;
	lane_take(lane, link);
	log_failure(task, "too slow: others were before it all the time");
	send_code(task, E_TIMEOUT);
	task_free(task);
}

void pam_tasks_add(struct pam_tasks *tasks, struct ipc_conn *conn, uint32_t id, const struct pam_question *question)
{
	const struct timeval deadline = {.tv_sec = tasks->deadline_ms / 1000, .tv_usec = tasks->deadline_ms % 1000 * 1000};
	struct task none = {.tasks = tasks, .conn = conn, .id = id, .question = {.find = question->find}};
	struct lane *lane = lane_of(&none);
	struct task *task = lane->waiting_count < lane->waiting_most ? malloc(sizeof(*task)) : NULL;

	tasks->total++;
	if (task == NULL) {
		send_code(&none, E_UNAVAILABLE);
		return;
	}
	*task = (struct task){.tasks = tasks, .conn = conn, .id = id, .fd = -1, .question = *question,
	    .deadline_ms = clock_monotonic_ms() + tasks->deadline_ms};
	task->event = evtimer_new(daemon_base(tasks->daemon), on_late, task);
	if (task->event == NULL || event_add(task->event, &deadline) != 0) {
		send_code(task, E_UNAVAILABLE);
		task_free(task);
		return;
	}
	*lane->waiting_tail = task;
	lane->waiting_tail = &task->next;
	lane->waiting_count++;
	lane_go_on(lane);
}

static void lane_drop(struct lane *lane)
{
	while (lane->waiting != NULL)
		task_free(lane_take(lane, &lane->waiting));
	for (struct task *task = lane->running; task != NULL; task = task->next) {
		task->conn = NULL;
		event_del(task->event);
		task_kill(task);
	}
}

void pam_tasks_drop(struct pam_tasks *tasks)
{
	lane_drop(&tasks->logins);
	lane_drop(&tasks->finds);
}

/* ---- processes that have ended ---- */

static bool lane_ended(struct lane *lane, pid_t pid)
{
	struct task **link = &lane->running, *task;

	while (*link != NULL && (*link)->pid != pid)
		link = &(*link)->next;
	task = *link;
	if (task == NULL)
		return false;
	/* Its answer may still be in the pipe. */
	if (task->conn != NULL)
		on_pipe(task->fd, EV_READ, task);
	*link = task->next;
	lane->running_count--;
	task_free(task);
	return true;
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct pam_tasks *tasks = arg;
	siginfo_t ended = {0};

	(void)fd;
	(void)what;
	/* Reaped last: its number, by which it and its helpers are killed, is its own until then. */
	while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
		if (!lane_ended(&tasks->logins, ended.si_pid))
			lane_ended(&tasks->finds, ended.si_pid);
		waitpid(ended.si_pid, NULL, 0);
		ended.si_pid = 0; /* POSIX does not say that waitid(2) does it when there is no other */
	}
	lane_go_on(&tasks->logins);
	lane_go_on(&tasks->finds);
}

struct pam_tasks *pam_tasks_new(struct daemon *daemon, int64_t deadline_ms)
{
	struct pam_tasks *tasks = calloc(1, sizeof(*tasks));

	if (tasks == NULL)
		return NULL;
	tasks->daemon = daemon;
	tasks->deadline_ms = deadline_ms;
	tasks->self = getpid();
	tasks->logins = (struct lane){.running_most = PAM_LOGINS_MAX, .waiting_most = PAM_LOGINS_WAITING_MAX, .waiting_tail = &tasks->logins.waiting};
	tasks->finds = (struct lane){.running_most = PAM_FINDS_MAX, .waiting_most = PAM_FINDS_WAITING_MAX, .waiting_tail = &tasks->finds.waiting};
	randombytes_buf(tasks->stamp_key, sizeof(tasks->stamp_key));
	tasks->child_event = evsignal_new(daemon_base(daemon), SIGCHLD, on_child, tasks);
	if (tasks->child_event == NULL || event_add(tasks->child_event, NULL) != 0) {
		free(tasks);
		return NULL;
	}
	return tasks;
}

void pam_tasks_stats(const struct pam_tasks *tasks, struct master_stats *stats)
{
	stats->connections = tasks->logins.running_count + tasks->finds.running_count;
	stats->total = tasks->total;
}
