#include "lmtp/lmtpd.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <sodium.h>
#include <unistd.h>

enum { WATCH_S = 30 };

static int on_auth(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type != &ipc_auth_recipient_answer)
		return E_PROTO;
	lmtp_recipient_answered(arg, m->id, (const void *)m->body);
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct lmtpd *lmtpd = arg;

	(void)conn;
	lmtpd->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	daemon_peer_lost(lmtpd->daemon, "auth");
	lmtp_auth_lost(lmtpd);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth, on_auth_closed};

static void lmtpd_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct lmtpd *lmtpd = daemon_state(daemon);

	(void)role;
	if (!serving && span_eq(service, SPAN_LIT("auth"))) {
		ipc_conn_lose(&lmtpd->auth);
		lmtpd->auth = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, lmtpd);
	} else if (!serving && span_eq(service, SPAN_LIT("deliver"))) {
		lmtp_deliver_service(lmtpd, fd);
	} else {
		close(fd);
	}
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	struct lmtpd_listener *listener = arg;

	(void)address;
	lmtp_session_start(listener->lmtpd, listener, fd, peer);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lmtp_channels_look(arg, clock_monotonic_ms());
}

static int watch_begin(struct lmtpd *lmtpd, struct err *err)
{
	struct timeval tv = {.tv_sec = WATCH_S};

	lmtpd->watch = event_new(daemon_base(lmtpd->daemon), -1, EV_PERSIST, on_watch, lmtpd);
	return lmtpd->watch != NULL && event_add(lmtpd->watch, &tv) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for a timer");
}

static int lmtpd_confined(struct daemon *daemon, struct err *err)
{
	struct lmtpd *lmtpd = daemon_state(daemon);
	int fds[LMTPD_LISTENERS];
	char addresses[LMTPD_LISTENERS][128];

	lmtpd->daemon = daemon;
	lmtpd->memory.max = LMTPD_MEMORY_MAX;
	lmtpd->listener_count = daemon_listeners(daemon, "lmtp", fds, addresses, LMTPD_LISTENERS);
	for (size_t i = 0; i < lmtpd->listener_count; i++) {
		struct lmtpd_listener *l = &lmtpd->listeners[i];

		l->lmtpd = lmtpd;
		memcpy(l->address, addresses[i], sizeof(l->address));
		l->listener = listener_new(daemon_base(daemon), fds[i], on_accept, l);
		if (l->listener == NULL)
			return err_set(err, E_NOMEM, "no memory for a listener");
	}
	return watch_begin(lmtpd, err);
}

static void lmtpd_halt(struct daemon *daemon)
{
	struct lmtpd *lmtpd = daemon_state(daemon);
	struct lmtp_session *s = lmtpd->sessions;

	lmtpd->halting = true;
	for (size_t i = 0; i < lmtpd->listener_count; i++)
		listener_free(&lmtpd->listeners[i].listener);
	while (s != NULL) {
		struct lmtp_session *next = s->next;

		if (!smtp_server_waits(s->server) && !smtp_server_in_content(s->server))
			lmtp_session_shutdown(s);
		s = next;
	}
	if (lmtpd->sessions == NULL)
		daemon_finished(daemon);
}

static void lmtpd_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct lmtpd *lmtpd = daemon_state(daemon);

	stats->connections = lmtpd->session_count;
	stats->total = lmtpd->total;
}

int main(void)
{
	static struct lmtpd lmtpd;
	struct daemon_spec spec = {.name = "lmtpd",
	    .profile = profile_find("lmtpd"),
	    .confined = lmtpd_confined,
	    .peer = lmtpd_peer,
	    .halt = lmtpd_halt,
	    .stats = lmtpd_stats,
	    .state = &lmtpd};

	if (sodium_init() < 0)
		return 1;
	return daemon_run(&spec);
}
