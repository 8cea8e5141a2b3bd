/* deliver: forks a worker for an account when queue or lmtpd asks for one. */
#include "lmtp/deliver.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"
#include "net/ipc_conn.h"
#include "proc/fork.h"
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
#include <sysexits.h>
#include <unistd.h>

enum {
	CARE_FIRST_MS = 200, /* time for idle workers to end of themselves before others are told to */
	CARE_MS = 1000,
};

/*
 * In a new process: two descriptors become 3 and 4, all behind them are closed. Without that it would work with the
 * spawner's, 3 is its channel to master.
 */
void deliver_child_keep(struct deliver *deliver, int three, int four)
{
	int high[2] = {fcntl(three, F_DUPFD_CLOEXEC, 100), fcntl(four, F_DUPFD_CLOEXEC, 100)};

	if (high[0] < 0 || high[1] < 0 || dup2(high[0], 3) < 0 || dup2(high[1], 4) < 0) {
		struct err err;

		err_set_errno(&err, errno, "descriptors of a new process");
		log_event(EV_store_error, daemon_log(deliver->daemon), F_ERR(&err));
		log_flush();
		_exit(EX_OSERR);
	}
	close_range(5, ~0U, 0);
}

/* The new process keeps its channel, its directory and the log; everything of the spawner's is closed. */
static _Noreturn void child_start(struct deliver *deliver, int channel, int dir, uint64_t account)
{
	event_reinit(daemon_base(deliver->daemon));
	deliver_child_keep(deliver, channel, dir);
	explicit_bzero(deliver->grant_key, sizeof(deliver->grant_key));
	_exit(worker_main(3, 4, account, (unsigned)conf_u64(daemon_conf(deliver->daemon), CONF_undo_days, NULL)));
}

static int worker_fork(struct deliver_peer *peer, uint64_t account, int *out, struct err *err)
{
	struct deliver *deliver = peer->deliver;
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
		worker->pid = fork_holding_back(SIGTERM);
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
	worker->peer = peer;
	worker->next = deliver->workers;
	deliver->workers = worker;
	deliver->worker_count++;
	deliver->total++;
	*out = fds[0];
	return 0;
}

static void answer(struct deliver_peer *peer, uint32_t id, uint64_t account, int code, const struct err *err, int fd)
{
	struct deliver_worker body = {.account = account, .code = code, .text = span_str(err->text)};

	if (code != 0)
		log_event(EV_store_error, daemon_log(peer->deliver->daemon), F_U64("account", account), F_ERR(err));
	ipc_conn_answer(peer->conn, &ipc_deliver_worker, id, &body, fd);
}

static void open_now(struct deliver_peer *peer, uint32_t id, uint64_t account)
{
	struct err err = {0};
	int fd = -1;
	int code = worker_fork(peer, account, &fd, &err);

	answer(peer, id, account, code, &err, fd);
	if (fd >= 0)
		close(fd);
}

/* ---- when there are as many workers as there may be ---- */

static bool is_full(const struct deliver *deliver)
{
	uint64_t max = conf_u64(daemon_conf(deliver->daemon), CONF_delivery_workers, NULL);

	return deliver->worker_count >= (max > 0 ? max : 1);
}

/* It ends after the deliveries it is at; those that wait in its channel are given to the next one. */
static void tell_to_end(struct worker *worker)
{
	if (worker->told_ms != 0)
		return;
	kill(worker->pid, SIGTERM);
	worker->told_ms = clock_monotonic_ms();
}

static void arm_care(struct deliver *deliver, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (!evtimer_pending(deliver->care, NULL))
		evtimer_add(deliver->care, &tv);
}

static struct opening *take_opening(struct deliver *deliver, struct opening **link)
{
	struct opening *opening = *link;

	*link = opening->next;
	if (*link == NULL)
		deliver->openings_tail = link;
	deliver->opening_count--;
	return opening;
}

static void open_waiting(struct deliver *deliver)
{
	while (deliver->openings != NULL && !is_full(deliver) && !deliver->halting) {
		struct opening *first = take_opening(deliver, &deliver->openings);

		open_now(first->peer, first->id, first->account);
		free(first);
	}
}

/* One worker, the oldest that is left, ends for each opening that waits: so all accounts get their turn. */
static void on_care(evutil_socket_t fd, short what, void *arg)
{
	struct deliver *deliver = arg;
	int64_t late = clock_monotonic_ms() - conf_ms(daemon_conf(deliver->daemon), CONF_stop_timeout, NULL);
	unsigned ending = 0;

	(void)fd;
	(void)what;
	for (struct worker *w = deliver->workers; w != NULL; w = w->next) {
		ending += w->told_ms != 0;
		if (w->told_ms != 0 && w->told_ms < late)
			kill(w->pid, SIGKILL); /* a store another process holds fast; the work so far is as safe as after a crash */
	}
	for (; ending < deliver->opening_count; ending++) {
		struct worker *oldest = NULL;

		for (struct worker *w = deliver->workers; w != NULL; w = w->next)
			if (w->told_ms == 0)
				oldest = w;
		if (oldest == NULL)
			break;
		tell_to_end(oldest);
	}
	if (ending > 0 || deliver->openings != NULL)
		arm_care(deliver, CARE_MS);
}

static void open_later(struct deliver_peer *peer, uint32_t id, uint64_t account)
{
	struct deliver *deliver = peer->deliver;
	struct opening *opening = deliver->opening_count < DELIVER_OPENINGS_MAX ? calloc(1, sizeof(*opening)) : NULL;
	struct err err;

	if (opening == NULL) {
		err_set(&err, E_LIMIT, "too many accounts get mail at once; delivery-workers is the setting");
		answer(peer, id, account, E_LIMIT, &err, -1);
		return;
	}
	*opening = (struct opening){.peer = peer, .id = id, .account = account};
	*deliver->openings_tail = opening;
	deliver->openings_tail = &opening->next;
	deliver->opening_count++;
	arm_care(deliver, CARE_FIRST_MS);
}

/* The same daemon asks for the account again only when it has lost the worker it had. */
static unsigned end_former(struct deliver_peer *peer, uint64_t account)
{
	unsigned count = 0;

	for (struct worker *w = peer->deliver->workers; w != NULL; w = w->next) {
		if (w->account != account)
			continue;
		count++;
		if (w->peer == peer)
			tell_to_end(w);
	}
	if (count > 0)
		arm_care(peer->deliver, CARE_MS);
	return count;
}

static bool is_granted(const struct deliver_peer *peer, const struct deliver_open *ask)
{
	return ask->account != 0 &&
	       (peer->checks_grants || grant_check(peer->deliver->grant_key, GRANT_RECIPIENT, ask->account, ask->quota, ask->address,
					   grant_now() - DELIVER_GRANT_LATE, ask->grant));
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct deliver_peer *peer = arg;
	const struct deliver_open *ask = (const void *)m->body;
	struct err err;

	(void)conn;
	if (m->type != &ipc_deliver_open) {
		if (m->fd >= 0)
			close(m->fd);
		return E_PROTO;
	}
	if (!is_granted(peer, ask)) {
		err_set(&err, E_DENIED, "auth has not granted this account");
		answer(peer, m->id, ask->account, E_DENIED, &err, -1);
	} else if (end_former(peer, ask->account) >= DELIVER_ACCOUNT_MAX) {
		err_set(&err, E_BUSY, "the account's workers do not end");
		answer(peer, m->id, ask->account, E_BUSY, &err, -1);
	} else if (is_full(peer->deliver) || peer->deliver->openings != NULL) {
		open_later(peer, m->id, ask->account);
	} else {
		open_now(peer, m->id, ask->account);
	}
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct deliver_peer *peer = arg;
	struct opening **link = &peer->deliver->openings;

	(void)conn;
	while (*link != NULL)
		if ((*link)->peer == peer)
			free(take_opening(peer->deliver, link));
		else
			link = &(*link)->next;
	for (struct worker *w = peer->deliver->workers; w != NULL; w = w->next)
		if (w->peer == peer)
			w->peer = NULL;
	*peer->link = peer->next;
	if (peer->next != NULL)
		peer->next->link = peer->link;
	free(peer);
}

static const struct ipc_conn_callbacks deliver_callbacks = {on_message, on_closed};

static void peer_new(struct deliver *deliver, struct span role, int fd)
{
	struct deliver_peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL) {
		close(fd);
		return;
	}
	peer->deliver = deliver;
	peer->checks_grants = span_eq(role, SPAN_LIT("queue"));
	peer->conn = ipc_conn_new(daemon_base(deliver->daemon), fd, &ipc_service_deliver, TO_SERVICE, &deliver_callbacks, peer);
	if (peer->conn == NULL) {
		free(peer);
		return;
	}
	peer->next = deliver->peers;
	peer->link = &deliver->peers;
	if (peer->next != NULL)
		peer->next->link = &peer->next;
	deliver->peers = peer;
}

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
	daemon_peer_lost(deliver->daemon, "auth");
	deliver_auth_lost(deliver);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth, on_auth_closed};

static void deliver_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct deliver *deliver = daemon_state(daemon);

	(void)service;
	if (serving) {
		peer_new(deliver, role, fd);
		return;
	}
	ipc_conn_lose(&deliver->auth);
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
		free(gone);
	}
	open_waiting(deliver);
	if (deliver->halting && deliver->worker_count == 0)
		daemon_finished(deliver->daemon);
}

static int deliver_confined(struct daemon *daemon, struct err *err)
{
	struct deliver *deliver = daemon_state(daemon);

	deliver->daemon = daemon;
	deliver->openings_tail = &deliver->openings;
	if (!daemon_secret(daemon, "grant", deliver->grant_key, sizeof(deliver->grant_key)))
		return err_set(err, E_BUG, "master gave no key for grants");
	deliver->care = evtimer_new(daemon_base(daemon), on_care, deliver);
	deliver->child_event = evsignal_new(daemon_base(daemon), SIGCHLD, on_child, deliver);
	if (deliver->care == NULL || deliver->child_event == NULL || event_add(deliver->child_event, NULL) != 0)
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
