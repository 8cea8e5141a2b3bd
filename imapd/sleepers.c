/*
 * Sessions that hibernate: their process has ended, their client waits in IDLE, and what is left of them is with the
 * keeper. A change of the account, an octet from the client or the end of its time makes a new process, a few at a
 * time: a message to everybody must not keep those waiting who log in.
 */
#include "imapd/spawner.h"

#include "base/buf.h"
#include "base/log.h"
#include "imapd/keeper.h"
#include "net/ipc_conn.h"
#include "proc/fork.h"

#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

/* An account whose index is being made again opens for nobody until that is done: its sessions leave room for those of others. */
enum { RESUMING_OF_ACCOUNT_MAX = 2 };

static const struct timeval again_soon = {.tv_sec = 1};

/* ---- the queue of those to be woken ---- */

static void queue_leave(struct spawned *session)
{
	struct spawned **link = &session->spawner->waking;

	if (!session->queued)
		return;
	while (*link != session)
		link = &(*link)->wake_next;
	*link = session->wake_next;
	if (*link == NULL)
		session->spawner->waking_tail = link;
	session->queued = false;
}

static void queue_enter(struct spawned *session)
{
	session->queued = true;
	session->wake_next = NULL;
	*session->spawner->waking_tail = session;
	session->spawner->waking_tail = &session->wake_next;
}

void sleeper_wake(struct spawned *session)
{
	struct spawner *spawner = session->spawner;

	if (session->queued || session->resuming || spawner->halting)
		return;
	queue_enter(session);
	event_active(spawner->waking_event, EV_TIMEOUT, 0);
}

static unsigned resuming_of(const struct spawner *spawner, uint64_t account)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < spawner->resuming; i++)
		count += spawner->resuming_accounts[i] == account;
	return count;
}

static void resuming_begin(struct spawned *session)
{
	struct spawner *spawner = session->spawner;

	session->resuming = true;
	spawner->resuming_accounts[spawner->resuming++] = session->account;
}

static void resuming_end(struct spawned *session)
{
	struct spawner *spawner = session->spawner;
	uint32_t i = 0;

	while (spawner->resuming_accounts[i] != session->account)
		i++;
	spawner->resuming_accounts[i] = spawner->resuming_accounts[--spawner->resuming];
	session->resuming = false;
}

static bool may_resume(const struct spawner *spawner)
{
	return spawner->keeper != NULL && !spawner->halting && spawner->resuming < RESUMING_MAX &&
	       sessions_awake(spawner) + spawner->resuming < sessions_max(spawner);
}

static struct spawned *next_to_wake(const struct spawner *spawner)
{
	struct spawned *session = spawner->waking;

	while (session != NULL && resuming_of(spawner, session->account) >= RESUMING_OF_ACCOUNT_MAX)
		session = session->wake_next;
	return session;
}

/* The keeper gives them back one by one. */
static void on_waking(evutil_socket_t fd, short what, void *arg)
{
	const struct keep_take body = {0};
	struct spawner *spawner = arg;
	struct spawned *session;

	(void)fd;
	(void)what;
	while (may_resume(spawner) && (session = next_to_wake(spawner)) != NULL) {
		if (ipc_conn_send(spawner->keeper, &ipc_keep_take, session->number, &body, -1) != 0) {
			evtimer_add(spawner->waking_event, &again_soon);
			return;
		}
		queue_leave(session);
		resuming_begin(session);
	}
}

/* There may be room for one more. */
static void wake_next(struct spawner *spawner)
{
	if (spawner->waking != NULL)
		event_active(spawner->waking_event, EV_TIMEOUT, 0);
}

void sleeper_resumed(struct spawned *session)
{
	if (session->resuming)
		resuming_end(session);
	wake_next(session->spawner);
}

/* ---- falling asleep and waking up ---- */

static int hold(struct spawned *session, uint64_t left_ms, struct span state, int fd)
{
	struct keep_hold body = {.left_ms = left_ms, .state = state};
	struct spawner *spawner = session->spawner;

	if (spawner->keeper == NULL || spawner->halting)
		return E_UNAVAILABLE;
	return ipc_conn_send(spawner->keeper, &ipc_keep_hold, session->number, &body, fd);
}

bool sleeper_begin(struct spawned *session, const struct wake_hibernate *body, int fd)
{
	bool changed = !session->armed || session->kicked; /* and it went without being told */
	struct buf state;
	int r;

	buf_init(&state, IPC_MESSAGE_MAX);
	r = ipc_encode(&ipc_wake_hibernate, 0, body, &state);
	if (r == 0)
		r = hold(session, body->left_ms, buf_span(&state), fd);
	buf_fini_secret(&state); /* a child would inherit it */
	close(fd);
	if (r != 0)
		return false;
	session->asleep = true;
	session->spawner->asleep++;
	if (changed)
		sleeper_wake(session);
	wake_next(session->spawner);
	return true;
}

static void wake_up(struct spawned *session)
{
	if (session->asleep)
		session->spawner->asleep--;
	session->asleep = false;
}

void sleeper_end(struct spawned *session)
{
	queue_leave(session);
	wake_up(session);
	sleeper_resumed(session);
}

/* A new process takes over client and state. */
static int resume(struct spawned *session, const struct keep_given *given, int client, struct err *err)
{
	const struct wake_hibernate *state;
	struct child_words words = {.state = given->state, .left_ms = (int64_t)given->left_ms};
	struct ipc_message m;
	int r = ipc_decode(&ipc_service_wake, TO_SERVICE, given->state, &m, err);

	if (r != 0 || m.type != &ipc_wake_hibernate)
		return E_PROTO;
	state = (const void *)m.body;
	words.user = state->user;
	words.remote = state->remote;
	return session_fork(session, client, &words, err);
}

/* When there is no process to be had now it goes back, and is tried again. */
static void on_given(struct spawned *session, const struct keep_given *given, int client)
{
	struct spawner *spawner = session->spawner;
	struct err err = {0};
	int r = spawner->halting ? E_UNAVAILABLE : resume(session, given, client, &err);

	if (r == 0) {
		wake_up(session);
		session->armed = session->dirty = false;
		if (session->kicked)
			session_say_kick(session);
		return;
	}
	log_event(EV_imap_error, daemon_log(spawner->daemon), F_U64("account", session->account), F_ERR(&err));
	sleeper_resumed(session);
	if (r == E_PROTO || hold(session, given->left_ms, given->state, client) != 0) {
		session_gone(session);
		return;
	}
	queue_enter(session);
	evtimer_add(spawner->waking_event, &again_soon);
}

/* ---- the keeper ---- */

static struct spawned *session_find(struct spawner *spawner, uint32_t number)
{
	struct spawned *session = spawner->numbers[number % SPAWNER_BUCKETS];

	while (session != NULL && session->number != number)
		session = session->number_next;
	return session;
}

static int on_keeper(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct spawned *session = session_find(arg, m->id);

	(void)conn;
	if (session == NULL || !session->asleep) {
		if (m->fd >= 0)
			close(m->fd);
	} else if (m->type == &ipc_keep_wants) {
		sleeper_wake(session);
	} else if (m->type == &ipc_keep_gone || m->fd_lost) {
		session_gone(session);
	} else {
		on_given(session, (const void *)m->body, m->fd);
		close(m->fd);
	}
	return 0;
}

/* It held what nobody else has: its clients connect again. */
static void keeper_lost(struct spawner *spawner)
{
	struct spawned *s = spawner->sessions;

	if (!spawner->halting)
		log_event(EV_imap_error, daemon_log(spawner->daemon), F_U64("sessions", spawner->asleep), F_STR("error", "the keeper of sessions that hibernate has ended"));
	while (s != NULL) {
		struct spawned *next = s->next;

		if (s->asleep)
			session_gone(s);
		s = next;
	}
}

static void on_keeper_closed(void *arg, struct ipc_conn *conn)
{
	struct spawner *spawner = arg;

	(void)conn;
	spawner->keeper = NULL;
	keeper_lost(spawner);
}

static const struct ipc_conn_callbacks keeper_callbacks = {on_keeper, on_keeper_closed};

static int keeper_start(struct spawner *spawner, struct err *err)
{
	int channel[2], r = ipc_pair(channel, err);

	if (r != 0)
		return r;
	log_flush();
	spawner->keeper_pid = fork_holding_back(SIGTERM);
	if (spawner->keeper_pid == 0) {
		explicit_bzero(spawner->key, sizeof(spawner->key));
		keeper_main(channel[1]);
	}
	close(channel[1]);
	if (spawner->keeper_pid < 0) {
		spawner->keeper_pid = 0;
		close(channel[0]);
		return err_set_errno(err, errno, "fork");
	}
	spawner->keeper = ipc_conn_new(daemon_base(spawner->daemon), channel[0], &ipc_service_keep, TO_CLIENT, &keeper_callbacks, spawner);
	return spawner->keeper != NULL ? 0 : err_set(err, E_NOMEM, "no memory for the keeper");
}

static void keeper_try(struct spawner *spawner)
{
	struct err err = {0};

	if (spawner->halting || spawner->keeper_pid != 0 || keeper_start(spawner, &err) == 0)
		return;
	log_event(EV_imap_error, daemon_log(spawner->daemon), F_ERR(&err));
	evtimer_add(spawner->keeper_event, &again_soon);
}

static void on_keeper_missing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	keeper_try(arg);
}

void keeper_ended(struct spawner *spawner)
{
	spawner->keeper_pid = 0;
	if (spawner->keeper != NULL) {
		ipc_conn_free(&spawner->keeper);
		keeper_lost(spawner);
	}
	keeper_try(spawner);
}

int sleepers_init(struct spawner *spawner, struct err *err)
{
	spawner->waking_tail = &spawner->waking;
	spawner->waking_event = evtimer_new(daemon_base(spawner->daemon), on_waking, spawner);
	spawner->keeper_event = evtimer_new(daemon_base(spawner->daemon), on_keeper_missing, spawner);
	return spawner->waking_event != NULL && spawner->keeper_event != NULL ? keeper_start(spawner, err) : err_set(err, E_NOMEM, "no memory for the event loop");
}
