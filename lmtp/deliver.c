/* deliver: forks a worker for an account when queue or lmtpd asks for one. */
#include "lmtp/deliver.h"

#include "base/log.h"
#include "net/control.h"
#include "net/ipc_conn.h"
#include "store/account.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The new process keeps its channel, its directory and the log; everything of the spawner's is closed. */
static _Noreturn void child_start(struct deliver *deliver, int channel, int dir, uint64_t account)
{
	int keep_channel, keep_dir;

	event_reinit(daemon_base(deliver->daemon));
	keep_channel = fcntl(channel, F_DUPFD_CLOEXEC, 100);
	keep_dir = fcntl(dir, F_DUPFD_CLOEXEC, 100);
	dup2(keep_channel, 3);
	dup2(keep_dir, 4);
	close_range(5, ~0U, 0);
	_exit(worker_main(3, 4, account, (unsigned)conf_u64(daemon_conf(deliver->daemon), CONF_undo_days, NULL)));
}

static int worker_fork(struct deliver *deliver, uint64_t account, int *out, struct err *err)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int fds[2], dir = -1, r;

	if (worker == NULL || deliver->worker_count >= conf_u64(daemon_conf(deliver->daemon), CONF_delivery_workers, NULL)) {
		free(worker);
		return err_set(err, E_LIMIT, "too many accounts get mail at once; delivery-workers is the setting");
	}
	dir = store_account_open(account, err);
	if (dir < 0) {
		free(worker);
		return dir;
	}
	r = ipc_pair(fds, err);
	if (r == 0) {
		log_flush();
		worker->pid = fork();
		if (worker->pid == 0)
			child_start(deliver, fds[1], dir, account);
		if (worker->pid < 0)
			r = err_set_errno(err, errno, "fork");
		close(fds[1]);
		if (r != 0)
			close(fds[0]);
	}
	close(dir);
	if (r != 0) {
		free(worker);
		return r;
	}
	worker->account = account;
	worker->next = deliver->workers;
	deliver->workers = worker;
	deliver->worker_count++;
	deliver->total++;
	*out = fds[0];
	return 0;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct deliver *deliver = arg;
	struct deliver_worker answer = {0};
	struct err err = {0};
	int fd = -1;

	if (m->type != &ipc_deliver_open) {
		if (m->fd >= 0)
			close(m->fd);
		return E_PROTO;
	}
	answer.account = ((const struct deliver_open *)(const void *)m->body)->account;
	answer.code = answer.account == 0 ? E_PROTO : worker_fork(deliver, answer.account, &fd, &err);
	answer.text = span_str(err.text);
	if (answer.code != 0)
		log_event(EV_store_error, daemon_log(deliver->daemon), F_U64("account", answer.account), F_ERR(&err));
	ipc_conn_send(conn, &ipc_deliver_worker, m->id, &answer, fd);
	if (fd >= 0)
		close(fd);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
}

static const struct ipc_conn_callbacks deliver_callbacks = {on_message, on_closed};

static int on_auth(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type != &ipc_auth_recipient_answer)
		return E_PROTO;
	deliver_account_answered(arg, m->id, (const void *)m->body);
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct deliver *deliver = arg;

	(void)conn;
	deliver->auth = NULL;
	deliver_auth_lost(deliver);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth, on_auth_closed};

static void deliver_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct deliver *deliver = daemon_state(daemon);

	(void)service;
	(void)role;
	if (!serving)
		deliver->auth = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, deliver);
	else
		ipc_conn_new(daemon_base(daemon), fd, &ipc_service_deliver, TO_SERVICE, &deliver_callbacks, daemon_state(daemon));
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct deliver *deliver = arg;
	int status;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct worker **link = &deliver->workers, *gone;

		while (*link != NULL && (*link)->pid != pid)
			link = &(*link)->next;
		if (*link == NULL)
			continue;
		gone = *link;
		*link = gone->next;
		deliver->worker_count--;
		if (WIFSIGNALED(status) && !deliver->halting)
			log_event(EV_store_error, daemon_log(deliver->daemon), F_U64("account", gone->account), F_I64("signal", WTERMSIG(status)),
			    F_STR("error", "a delivery worker ended badly; its deliveries are repeated"));
		deliver_worker_gone(deliver, gone->account);
		free(gone);
	}
	if (deliver->halting && deliver->worker_count == 0)
		daemon_finished(deliver->daemon);
}

static int deliver_confined(struct daemon *daemon, struct err *err)
{
	struct deliver *deliver = daemon_state(daemon);

	deliver->daemon = daemon;
	deliver->child_event = evsignal_new(daemon_base(daemon), SIGCHLD, on_child, deliver);
	if (deliver->child_event == NULL || event_add(deliver->child_event, NULL) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	deliver->control = control_server_new(daemon, deliver_control, deliver);
	return 0;
}

static void deliver_halt(struct daemon *daemon)
{
	struct deliver *deliver = daemon_state(daemon);

	deliver->halting = true;
	for (struct worker *w = deliver->workers; w != NULL; w = w->next)
		kill(w->pid, SIGTERM);
	if (deliver->worker_count == 0)
		daemon_finished(daemon);
}

static void deliver_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct deliver *deliver = daemon_state(daemon);

	stats->connections = deliver->worker_count;
	stats->total = deliver->total;
}

int main(void)
{
	static struct deliver deliver;
	struct daemon_spec spec = {.name = "deliver",
	    .profile = profile_find("deliver"),
	    .confined = deliver_confined,
	    .peer = deliver_peer,
	    .halt = deliver_halt,
	    .stats = deliver_stats,
	    .state = &deliver};

	if (sodium_init() < 0)
		return 1;
	return daemon_run(&spec);
}
