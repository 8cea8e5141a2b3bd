/*
 * Sessions that hibernate: their process has ended, their client waits in IDLE, and all that is left of them is its
 * descriptor and one message (lib/ipc/wake.def). A change of the account, an octet from the client or the end of its
 * time makes a new process, a few at a time: a message to everybody must not keep those waiting who log in.
 */
#include "imapd/spawner.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RESUMING_MAX = 8 }; /* processes that have not come so far as to wait again */

/* Lies in memory that no fork copies: a session is not to see whose others there are. */
struct sleeper {
	struct event *event; /* the client speaks or its time is over */
	int64_t deadline;    /* monotonic ms */
	size_t size;	     /* of the mapping */
	int fd;
	bool unsaved;
	uint64_t commands;
	size_t user_len, remote_len, len;
	char bytes[]; /* user, remote, then the message */
};

static const struct timeval again_soon = {.tv_sec = 1};

static struct span user_of(const struct sleeper *sleeper, const char *bytes)
{
	return span_of(bytes, sleeper->user_len);
}

static struct span remote_of(const struct sleeper *sleeper, const char *bytes)
{
	return span_of(bytes + sleeper->user_len, sleeper->remote_len);
}

static struct span message_of(const struct sleeper *sleeper, const char *bytes)
{
	return span_of(bytes + sleeper->user_len + sleeper->remote_len, sleeper->len);
}

static struct sleeper *sleeper_new(const struct wake_hibernate *body, int64_t left_ms, int fd)
{
	struct sleeper *sleeper = MAP_FAILED;
	struct buf wire;
	size_t size;

	buf_init(&wire, IPC_MESSAGE_MAX);
	if (ipc_encode(&ipc_wake_hibernate, 0, body, &wire) == 0) {
		size = sizeof(*sleeper) + body->user.len + body->remote.len + buf_len(&wire);
		sleeper = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (sleeper != MAP_FAILED && madvise(sleeper, size, MADV_DONTFORK) == 0) {
		*sleeper = (struct sleeper){.deadline = clock_monotonic_ms() + left_ms, .size = size, .fd = fd, .unsaved = body->unsaved, .commands = body->commands,
		    .user_len = body->user.len, .remote_len = body->remote.len, .len = buf_len(&wire)};
		memcpy(sleeper->bytes, body->user.ptr, body->user.len);
		memcpy(sleeper->bytes + body->user.len, body->remote.ptr, body->remote.len);
		memcpy(sleeper->bytes + body->user.len + body->remote.len, buf_span(&wire).ptr, buf_len(&wire));
	}
	buf_fini_secret(&wire);
	return sleeper == MAP_FAILED ? NULL : sleeper;
}

static void sleeper_free(struct spawned *session)
{
	struct sleeper *sleeper = session->sleeper;

	if (sleeper->event != NULL)
		event_free(sleeper->event);
	close(sleeper->fd);
	munmap(sleeper, sleeper->size);
	session->sleeper = NULL;
	session->spawner->asleep--;
}

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

void sleeper_wake(struct spawned *session)
{
	struct spawner *spawner = session->spawner;

	if (session->queued || spawner->halting)
		return;
	event_del(session->sleeper->event); /* what it has to say is known */
	session->queued = true;
	session->wake_next = NULL;
	*spawner->waking_tail = session;
	spawner->waking_tail = &session->wake_next;
	event_active(spawner->waking_event, EV_TIMEOUT, 0);
}

/* A new process takes over client and state. */
static int resume(struct spawned *session)
{
	struct spawner *spawner = session->spawner;
	const struct sleeper *sleeper = session->sleeper;
	size_t len = sleeper->user_len + sleeper->remote_len + sleeper->len;
	char *copy = malloc(len); /* which the child inherits, of this one alone */
	struct child_words words = {.user = user_of(sleeper, copy), .remote = remote_of(sleeper, copy), .state = message_of(sleeper, copy),
	    .left_ms = sleeper->deadline - clock_monotonic_ms()};
	struct err err = {0};
	int r = copy == NULL ? err_set(&err, E_NOMEM, "no memory for a session") : 0;

	if (r == 0) {
		memcpy(copy, sleeper->bytes, len);
		r = session_fork(session, sleeper->fd, &words, &err);
		explicit_bzero(copy, len);
		free(copy);
	}
	if (r != 0) {
		log_event(EV_imap_error, daemon_log(spawner->daemon), F_U64("account", session->account), F_ERR(&err));
		return r;
	}
	queue_leave(session);
	sleeper_free(session);
	session->armed = session->dirty = false;
	session->resuming = true;
	spawner->resuming++;
	return 0;
}

static void on_waking(evutil_socket_t fd, short what, void *arg)
{
	struct spawner *spawner = arg;

	(void)fd;
	(void)what;
	while (spawner->waking != NULL && !spawner->halting && spawner->resuming < RESUMING_MAX && sessions_awake(spawner) < sessions_max(spawner))
		if (resume(spawner->waking) != 0) {
			evtimer_add(spawner->waking_event, &again_soon);
			return;
		}
}

void sleeper_resumed(struct spawned *session)
{
	if (session->resuming)
		session->spawner->resuming--;
	session->resuming = false;
	if (session->spawner->waking != NULL)
		event_active(session->spawner->waking_event, EV_TIMEOUT, 0);
}

/* ---- falling asleep, and what ends it ---- */

/* The client has gone: that needs no process, unless there is something to be written. */
static bool is_left(const struct sleeper *sleeper)
{
	int waiting = 1;

	return !sleeper->unsaved && ioctl(sleeper->fd, FIONREAD, &waiting) == 0 && waiting == 0;
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
	struct spawned *session = arg;
	struct sleeper *sleeper = session->sleeper;

	(void)fd;
	if ((what & EV_READ) == 0 || !is_left(sleeper)) {
		sleeper_wake(session);
		return;
	}
	log_event(EV_imap_disconnect, daemon_log(session->spawner->daemon), F_SPAN("user", user_of(sleeper, sleeper->bytes)),
	    F_SPAN("rip", remote_of(sleeper, sleeper->bytes)), F_U64("commands", sleeper->commands),
	    F_STR("reason", err_text(E_CLOSED)));
	session_gone(session);
}

bool sleeper_begin(struct spawned *session, const struct wake_hibernate *body, int fd)
{
	struct spawner *spawner = session->spawner;
	int64_t left_ms = body->left_ms < INT32_MAX ? (int64_t)body->left_ms : INT32_MAX;
	struct timeval left = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
	bool changed = !session->armed; /* and it went without being told */

	session->sleeper = sleeper_new(body, left_ms, fd);
	if (session->sleeper == NULL) {
		close(fd);
		return false;
	}
	spawner->asleep++;
	session->sleeper->event = event_new(daemon_base(spawner->daemon), fd, EV_READ, on_client, session);
	if (session->sleeper->event == NULL || event_add(session->sleeper->event, &left) != 0)
		return false;
	if (changed)
		sleeper_wake(session);
	return true;
}

void sleeper_end(struct spawned *session)
{
	queue_leave(session);
	if (session->sleeper != NULL)
		sleeper_free(session);
	sleeper_resumed(session);
}

void sleeper_bye(struct spawned *session)
{
	static const char bye[] = "* BYE The server is stopping\r\n";

	(void)!send(session->sleeper->fd, bye, sizeof(bye) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int sleepers_init(struct spawner *spawner, struct err *err)
{
	spawner->waking_tail = &spawner->waking;
	spawner->waking_event = evtimer_new(daemon_base(spawner->daemon), on_waking, spawner);
	return spawner->waking_event != NULL ? 0 : err_set(err, E_NOMEM, "no memory for the event loop");
}
