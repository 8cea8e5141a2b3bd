/* One inotify instance for all accounts: a commit writes to index/data.mdb, whoever's it is. */
#include "imapd/spawner.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { WATCH_READ = 16 * 1024 };

static const struct timeval overflow_wait = {.tv_sec = 1};
static const struct timeval unwatched_wait = {.tv_sec = 10};

static void tell(struct spawned *session)
{
	const struct wake_changed body = {0};

	if (!session->armed) {
		session->dirty = true;
		return;
	}
	session->armed = session->dirty = false;
	if (session->asleep) {
		sleeper_wake(session);
		return;
	}
	ipc_conn_send(session->wake, &ipc_wake_changed, 0, &body, -1);
}

static void tell_all(struct spawner *spawner, int wd)
{
	for (struct spawned *s = spawner->sessions; s != NULL; s = s->next)
		if (s->watch != NULL && (s->watch->wd == wd || wd < 0))
			tell(s);
}

static void set_moved(struct spawner *spawner, int wd)
{
	for (struct watch *watch = spawner->watches; watch != NULL; watch = watch->next)
		watch->moved |= watch->wd == wd;
}

static void on_overflow(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell_all(arg, -1);
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
	_Alignas(struct inotify_event) char buffer[WATCH_READ];
	struct spawner *spawner = arg;
	ssize_t n = read(fd, buffer, sizeof(buffer));
	int last = -1;

	(void)what;
	for (char *p = buffer; n > 0 && p < buffer + n;) {
		const struct inotify_event *event = (const void *)p;

		if ((event->mask & IN_MOVE_SELF) != 0)
			set_moved(spawner, event->wd);
		/* A lost event may have been anybody's. One account can make them get lost: it must not keep all others busy. */
		if ((event->mask & IN_Q_OVERFLOW) != 0) {
			if (!evtimer_pending(spawner->overflow, NULL))
				evtimer_add(spawner->overflow, &overflow_wait);
		} else if (event->wd != last) {
			tell_all(arg, event->wd);
		}
		last = event->wd;
		p += sizeof(*event) + event->len;
	}
}

/* Whose index could not be watched looks at it now and then. */
static void on_unwatched(evutil_socket_t fd, short what, void *arg)
{
	struct spawner *spawner = arg;

	(void)fd;
	(void)what;
	for (struct spawned *s = spawner->sessions; s != NULL; s = s->next)
		if (s->armed && s->watch == NULL) {
			s->dirty = true;
			watch_set(s, true);
		}
}

static void note_unwatched(struct spawner *spawner, int error)
{
	struct err err = {0};

	if (evtimer_pending(spawner->unwatched, NULL))
		return;
	err_set_errno(&err, error, "inotify; a higher fs.inotify.max_user_watches may help");
	log_event(EV_imap_error, daemon_log(spawner->daemon), F_ERR(&err));
	evtimer_add(spawner->unwatched, &unwatched_wait);
}

int watch_init(struct spawner *spawner, struct err *err)
{
	spawner->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (spawner->inotify < 0)
		return err_set_errno(err, errno, "inotify; a higher fs.inotify.max_user_instances may help");
	spawner->overflow = evtimer_new(daemon_base(spawner->daemon), on_overflow, spawner);
	spawner->inotify_event = event_new(daemon_base(spawner->daemon), spawner->inotify, EV_READ | EV_PERSIST, on_inotify, spawner);
	spawner->unwatched = evtimer_new(daemon_base(spawner->daemon), on_unwatched, spawner);
	if (spawner->overflow == NULL || spawner->unwatched == NULL || spawner->inotify_event == NULL || event_add(spawner->inotify_event, NULL) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	return 0;
}

static struct watch *watch_get(struct spawner *spawner, uint64_t account)
{
	struct watch *watch = spawner->watches;
	char path[64];

	while (watch != NULL && (watch->account != account || watch->moved))
		watch = watch->next;
	if (watch != NULL)
		return watch;
	watch = calloc(1, sizeof(*watch));
	if (watch == NULL) {
		note_unwatched(spawner, ENOMEM);
		return NULL;
	}
	snprintf(path, sizeof(path), "%02x/%llu/index", (unsigned)(account & 255), (unsigned long long)account);
	watch->account = account;
	watch->wd = inotify_add_watch(spawner->inotify, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF);
	if (watch->wd < 0) {
		note_unwatched(spawner, errno);
		free(watch);
		return NULL;
	}
	watch->next = spawner->watches;
	spawner->watches = watch;
	return watch;
}

static void watch_put(struct spawner *spawner, struct watch *watch)
{
	struct watch **link = &spawner->watches;

	if (--watch->users > 0)
		return;
	while (*link != watch)
		link = &(*link)->next;
	*link = watch->next;
	inotify_rm_watch(spawner->inotify, watch->wd);
	free(watch);
}

/* A session that begins to wait is told at once: what changed before the watch was there it finds itself. */
void watch_set(struct spawned *session, bool on)
{
	if (!on) {
		if (session->watch != NULL)
			watch_put(session->spawner, session->watch);
		session->watch = NULL;
		session->armed = session->dirty = false;
		return;
	}
	session->armed = true;
	if (session->watch != NULL && session->watch->moved) {
		watch_put(session->spawner, session->watch);
		session->watch = NULL;
	}
	if (session->watch == NULL) {
		session->watch = watch_get(session->spawner, session->account);
		if (session->watch != NULL) {
			session->watch->users++;
			session->dirty = true;
		}
	}
	if (session->dirty)
		tell(session);
}
