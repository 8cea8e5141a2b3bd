/* smtpd: mail from the internet, port 25. */
#include "smtpd/smtpd.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdio.h>
#include <unistd.h>

static int on_auth(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type == &ipc_auth_forget)
		recipients_forget(arg);
	else if (m->type == &ipc_auth_recipient_answer)
		recipient_answered(arg, m->id, (const void *)m->body);
	else
		return E_PROTO;
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct smtpd *smtpd = arg;

	(void)conn;
	smtpd->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	daemon_peer_lost(smtpd->daemon, "auth");
	recipients_service_lost(smtpd);
}

static int on_queue(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct smtpd *smtpd = arg;

	(void)conn;
	if (m->type == &ipc_queue_file && m->fd_lost) {
		stock_lost(smtpd, ((const struct queue_file *)(const void *)m->body)->id);
	} else if (m->type == &ipc_queue_file) {
		stock_add(smtpd, ((const struct queue_file *)(const void *)m->body)->id, m->fd);
	} else if (m->type == &ipc_queue_committed) {
		const struct queue_committed *body = (const void *)m->body;

		content_committed(smtpd, body->id, body->code, body->text);
	} else {
		stock_refused(smtpd, ((const struct queue_no_file *)(const void *)m->body)->code);
	}
	return 0;
}

static void on_queue_closed(void *arg, struct ipc_conn *conn)
{
	struct smtpd *smtpd = arg;

	(void)conn;
	smtpd->queue = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "queue"));
	daemon_peer_lost(smtpd->daemon, "queue");
	content_service_lost(smtpd);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth, on_auth_closed};
static const struct ipc_conn_callbacks queue_callbacks = {on_queue, on_queue_closed};

static void smtpd_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct smtpd *smtpd = daemon_state(daemon);
	struct event_base *base = daemon_base(daemon);

	(void)role;
	if (!serving && span_eq(service, SPAN_LIT("auth"))) {
		ipc_conn_free(&smtpd->auth);
		smtpd->auth = ipc_conn_new(base, fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, smtpd);
	} else if (!serving && span_eq(service, SPAN_LIT("queue"))) {
		if (smtpd->queue != NULL) {
			ipc_conn_free(&smtpd->queue);
			content_service_lost(smtpd);
		}
		smtpd->queue = ipc_conn_new(base, fd, &ipc_service_queue, TO_CLIENT, &queue_callbacks, smtpd);
		stock_refill(smtpd);
	} else if (!serving && span_eq(service, SPAN_LIT("keys"))) {
		tls_daemon_connect(&smtpd->tls_daemon, fd);
	} else {
		close(fd);
	}
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	session_start(arg, fd, address, peer);
}

static int open_listeners(struct smtpd *smtpd, struct err *err)
{
	int fds[SMTPD_LISTENERS];
	char addresses[SMTPD_LISTENERS][128];

	smtpd->listener_count = daemon_listeners(smtpd->daemon, "smtp", fds, addresses, SMTPD_LISTENERS);
	for (size_t i = 0; i < smtpd->listener_count; i++) {
		struct smtpd_listener *l = &smtpd->listeners[i];

		l->smtpd = smtpd;
		memcpy(l->address, addresses[i], sizeof(l->address));
		l->listener = listener_new(daemon_base(smtpd->daemon), fds[i], on_accept, l);
		if (l->listener == NULL)
			return err_set(err, E_NOMEM, "no memory for a listener");
	}
	return 0;
}

/* There is no name of SMTP for ALPN. */
static int load_tls(struct smtpd *smtpd, struct err *err)
{
	return tls_daemon_load(&smtpd->tls_daemon, smtpd->daemon, NULL, &smtpd->tls, err);
}

static int smtpd_prepare(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);

	smtpd->daemon = daemon;
	smtpd->waiting_tail = &smtpd->waiting_files;
	smtpd->committing_tail = &smtpd->committing;
	return load_tls(smtpd, err);
}

static int smtpd_confined(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);

	smtpd->peers = peer_count_new();
	if (smtpd->peers == NULL || room_open(smtpd) != 0)
		return err_set(err, E_NOMEM, "no memory for counters");
	return open_listeners(smtpd, err);
}

/* Sessions keep pointers into the old configuration's blocks: they are found again by name. */
static int smtpd_reload(struct daemon *daemon, struct err *err)
{
	struct smtpd *smtpd = daemon_state(daemon);
	int r = load_tls(smtpd, err);

	for (struct session *s = smtpd->sessions; s != NULL && r == 0; s = s->next)
		s->where.listener = NULL;
	return r;
}

static void smtpd_halt(struct daemon *daemon)
{
	struct smtpd *smtpd = daemon_state(daemon);
	struct session *s = smtpd->sessions;

	smtpd->halting = true;
	for (size_t i = 0; i < smtpd->listener_count; i++)
		listener_free(&smtpd->listeners[i].listener);
	room_close(smtpd, "Server is shutting down");
	while (s != NULL) {
		struct session *next = s->next;

		if (!smtp_server_waits(s->server) && !smtp_server_in_content(s->server))
			session_shutdown(s, "Server is shutting down");
		s = next;
	}
	if (smtpd->sessions == NULL)
		daemon_finished(daemon);
}

static void smtpd_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct smtpd *smtpd = daemon_state(daemon);

	stats->connections = smtpd->session_count;
	stats->total = smtpd->total;
	smtpd->note[0] = '\0';
	if (smtpd->waiting_count > 0)
		snprintf(smtpd->note, sizeof(smtpd->note), "all sessions are taken; %u clients wait", (unsigned)smtpd->waiting_count);
	stats->note = span_str(smtpd->note);
}

int main(void)
{
	static struct smtpd smtpd;
	struct daemon_spec spec = {.name = "smtpd",
	    .profile = profile_find("smtpd"),
	    .prepare = smtpd_prepare,
	    .confined = smtpd_confined,
	    .reload = smtpd_reload,
	    .peer = smtpd_peer,
	    .halt = smtpd_halt,
	    .stats = smtpd_stats,
	    .state = &smtpd};

	return daemon_run(&spec);
}
