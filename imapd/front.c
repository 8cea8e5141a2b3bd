/* imapd: listeners, services, reload and halt of the front. */
#include "imapd/front.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdlib.h>
#include <unistd.h>

static int on_auth_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type == &ipc_auth_login_answer)
		front_login_answered(arg, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_challenge)
		front_challenged(arg, m->id, ((const struct auth_sasl_challenge *)(const void *)m->body)->challenge);
	else if (m->type == &ipc_auth_kick)
		front_kick(arg, ((const struct auth_kick *)(const void *)m->body)->account);
	else
		return E_PROTO;
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct front *front = arg;

	(void)conn;
	front->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	daemon_peer_lost(front->daemon, "auth");
	front_service_lost(front);
}

static int on_session_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type != &ipc_session_started)
		return E_PROTO;
	front_session_started(arg, m->id, (const void *)m->body);
	return 0;
}

static void on_session_closed(void *arg, struct ipc_conn *conn)
{
	struct front *front = arg;

	(void)conn;
	front->sessions_service = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "session"));
	daemon_peer_lost(front->daemon, "session");
	front_service_lost(front);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth_message, on_auth_closed};
static const struct ipc_conn_callbacks session_callbacks = {on_session_message, on_session_closed};

static void front_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct front *front = daemon_state(daemon);
	struct event_base *base = daemon_base(daemon);

	(void)role;
	if (!serving && span_eq(service, SPAN_LIT("auth"))) {
		ipc_conn_lose(&front->auth);
		front->auth = ipc_conn_new(base, fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, front);
	} else if (!serving && span_eq(service, SPAN_LIT("session"))) {
		ipc_conn_lose(&front->sessions_service);
		front->sessions_service = ipc_conn_new(base, fd, &ipc_service_session, TO_CLIENT,
		    &session_callbacks, front);
	} else if (!serving && span_eq(service, SPAN_LIT("keys"))) {
		tls_daemon_connect(&front->tls_daemon, fd);
	} else {
		close(fd);
	}
}

/* "imap": IANA's name of the protocol for ALPN. */
static int load_tls(struct front *front, struct err *err)
{
	return tls_daemon_load(&front->tls_daemon, front->daemon, "imap", &front->tls, err);
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	struct front_listener *listener = arg;

	front_session_start(listener->front, listener, fd, address, peer);
}

static int open_listeners(struct front *front, const char *service, struct err *err)
{
	int fds[FRONT_LISTENERS];
	char addresses[FRONT_LISTENERS][128];
	size_t count = daemon_listeners(front->daemon, service, fds, addresses,
	    FRONT_LISTENERS - front->listener_count);

	for (size_t i = 0; i < count; i++) {
		struct front_listener *l = &front->listeners[front->listener_count++];

		l->front = front;
		l->implicit_tls = strcmp(service, "imaps") == 0;
		memcpy(l->address, addresses[i], sizeof(l->address));
		memcpy(l->service, service, strlen(service) + 1);
		l->listener = listener_new(daemon_base(front->daemon), fds[i], on_accept, l);
		if (l->listener == NULL)
			return err_set(err, E_NOMEM, "no memory for a listener");
	}
	return 0;
}

static int front_prepare(struct daemon *daemon, struct err *err)
{
	struct front *front = daemon_state(daemon);

	front->daemon = daemon;
	return load_tls(front, err);
}

static int front_confined(struct daemon *daemon, struct err *err)
{
	struct front *front = daemon_state(daemon);
	int r;

	front->peers = peer_count_new();
	if (front->peers == NULL)
		return err_set(err, E_NOMEM, "no memory for counters");
	r = open_listeners(front, "imap", err);
	return r == 0 ? open_listeners(front, "imaps", err) : r;
}

static int front_reload(struct daemon *daemon, struct err *err)
{
	return load_tls(daemon_state(daemon), err);
}

static void front_secrets(struct daemon *daemon)
{
	struct front *front = daemon_state(daemon);

	tls_daemon_secrets(&front->tls_daemon, daemon);
}

/* Logins that have not happened yet end; the TLS end of sessions stays until they say good-bye. */
static void front_halt(struct daemon *daemon)
{
	struct front *front = daemon_state(daemon);
	struct front_session *s = front->sessions;

	front->halting = true;
	for (size_t i = 0; i < front->listener_count; i++)
		listener_free(&front->listeners[i].listener);
	while (s != NULL) {
		struct front_session *next = s->next;

		if (s->state != FRONT_PROXY)
			front_session_bye(s, "Server is shutting down");
		s = next;
	}
	if (front->sessions == NULL)
		daemon_finished(daemon);
}

static void front_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct front *front = daemon_state(daemon);

	stats->connections = front->session_count;
	stats->total = front->total;
}

int main(void)
{
	static struct front front;
	struct daemon_spec spec = {.name = "imapd",
	    .profile = profile_find("imapd"),
	    .prepare = front_prepare,
	    .confined = front_confined,
	    .reload = front_reload,
	    .peer = front_peer,
	    .secrets = front_secrets,
	    .halt = front_halt,
	    .stats = front_stats,
	    .state = &front};

	return daemon_run(&spec);
}
