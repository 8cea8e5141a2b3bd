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

/* A worker that is asked for while its client has as many as it may have. */
struct opening {
	struct opening *next;
	uint32_t id;
	uint64_t account;
};

/* queue or lmtpd. It ends a worker by closing its channel; so it is the client that chooses which one makes room. */
struct client {
	struct deliver *deliver;
	struct ipc_conn *conn;
	uint64_t workers;
	struct opening *openings, **openings_tail; /* in the order they came */
};

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

static int worker_fork(struct client *client, uint64_t account, int *out, struct err *err)
{
	struct deliver *deliver = client->deliver;
	struct worker *worker = calloc(1, sizeof(*worker));
	int fds[2], dir = -1, r;

	if (worker == NULL)
		return err_set(err, E_NOMEM, "no memory for a worker");
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
	worker->client = client;
	worker->account = account;
	worker->next = deliver->workers;
	deliver->workers = worker;
	client->workers++;
	deliver->worker_count++;
	deliver->total++;
	*out = fds[0];
	return 0;
}

static void worker_open(struct client *client, uint32_t id, uint64_t account)
{
	struct deliver_worker answer = {.account = account};
	struct err err = {0};
	int fd = -1;

	answer.code = worker_fork(client, account, &fd, &err);
	answer.text = span_str(err.text);
	if (answer.code != 0)
		log_event(EV_store_error, daemon_log(client->deliver->daemon), F_U64("account", account), F_ERR(&err));
	ipc_conn_send(client->conn, &ipc_deliver_worker, id, &answer, fd);
	if (fd >= 0)
		close(fd);
}

/* ---- clients ---- */

static bool client_is_full(const struct client *client)
{
	return client->workers >= conf_u64(daemon_conf(client->deliver->daemon), CONF_delivery_workers, NULL);
}

static struct opening *opening_take(struct client *client)
{
	struct opening *o = client->openings;

	if (o == NULL)
		return NULL;
	client->openings = o->next;
	if (client->openings == NULL)
		client->openings_tail = &client->openings;
	return o;
}

static int opening_add(struct client *client, uint32_t id, uint64_t account)
{
	struct opening *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return E_NOMEM;
	*o = (struct opening){.id = id, .account = account};
	*client->openings_tail = o;
	client->openings_tail = &o->next;
	return 0;
}

/* One of its workers has ended: there is room for the next. */
static void client_go_on(struct client *client)
{
	while (client->openings != NULL && !client_is_full(client)) {
		struct opening *o = opening_take(client);

		worker_open(client, o->id, o->account);
		free(o);
	}
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct client *client = arg;
	uint64_t account;

	(void)conn;
	if (m->type != &ipc_deliver_open) {
		if (m->fd >= 0)
			close(m->fd);
		return E_PROTO;
	}
	account = ((const struct deliver_open *)(const void *)m->body)->account;
	if (account == 0)
		return E_PROTO;
	if (client_is_full(client))
		return opening_add(client, m->id, account);
	worker_open(client, m->id, account);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct client *client = arg;
	struct opening *o;

	(void)conn;
	while ((o = opening_take(client)) != NULL)
		free(o);
	for (struct worker *w = client->deliver->workers; w != NULL; w = w->next)
		if (w->client == client)
			w->client = NULL;
	free(client);
}

static const struct ipc_conn_callbacks client_callbacks = {on_message, on_closed};

static void client_new(struct deliver *deliver, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		close(fd);
		return;
	}
	client->deliver = deliver;
	client->openings_tail = &client->openings;
	client->conn = ipc_conn_new(daemon_base(deliver->daemon), fd, &ipc_service_deliver, TO_SERVICE, &client_callbacks, client);
	if (client->conn == NULL)
		free(client);
}

/* ---- auth, for the commands ---- */

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
	if (serving)
		client_new(deliver, fd);
	else
		deliver->auth = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, deliver);
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
		if (gone->client != NULL) {
			gone->client->workers--;
			client_go_on(gone->client);
		}
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
