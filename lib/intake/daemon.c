/* What is around the sessions: listeners, the services that are asked, reload and halt. */
#include "intake/intake.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "tls/tls.h"

#include <stdio.h>
#include <unistd.h>

static int on_auth(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type == &ipc_auth_forget)
		recipients_forget(arg);
	else if (m->type == &ipc_auth_recipient_answer)
		recipient_answered(arg, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_login_answer)
		login_answered(arg, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_challenge)
		login_challenged(arg, m->id, ((const struct auth_sasl_challenge *)(const void *)m->body)->challenge);
	else if (m->type == &ipc_auth_sender_answer)
		sender_answered(arg, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_kick)
		sessions_kick(arg, ((const struct auth_kick *)(const void *)m->body)->account);
	else
		return E_PROTO;
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct intake *intake = arg;

	(void)conn;
	intake->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	daemon_peer_lost(intake->daemon, "auth");
	logins_service_lost(intake);
	senders_service_lost(intake);
	recipients_service_lost(intake);
}

static int on_queue(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct intake *intake = arg;

	(void)conn;
	if (m->type == &ipc_queue_file && m->fd_lost) {
		stock_lost(intake, ((const struct queue_file *)(const void *)m->body)->id);
	} else if (m->type == &ipc_queue_file) {
		stock_add(intake, ((const struct queue_file *)(const void *)m->body)->id, m->fd);
	} else if (m->type == &ipc_queue_committed) {
		const struct queue_committed *body = (const void *)m->body;

		content_committed(intake, body->id, body->code, body->text);
	} else {
		stock_refused(intake, ((const struct queue_no_file *)(const void *)m->body)->code);
	}
	return 0;
}

static void on_queue_closed(void *arg, struct ipc_conn *conn)
{
	struct intake *intake = arg;

	(void)conn;
	intake->queue = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "queue"));
	daemon_peer_lost(intake->daemon, "queue");
	content_service_lost(intake);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_auth, on_auth_closed};
static const struct ipc_conn_callbacks queue_callbacks = {on_queue, on_queue_closed};

static void intake_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct intake *intake = daemon_state(daemon);
	struct event_base *base = daemon_base(daemon);

	(void)role;
	if (!serving && span_eq(service, SPAN_LIT("auth"))) {
		ipc_conn_lose(&intake->auth);
		intake->auth = ipc_conn_new(base, fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, intake);
	} else if (!serving && span_eq(service, SPAN_LIT("queue"))) {
		ipc_conn_lose(&intake->queue);
		intake->queue = ipc_conn_new(base, fd, &ipc_service_queue, TO_CLIENT, &queue_callbacks, intake);
		stock_refill(intake);
	} else if (!serving && span_eq(service, SPAN_LIT("keys"))) {
		tls_daemon_connect(&intake->tls_daemon, fd);
	} else {
		close(fd);
	}
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	session_start(arg, fd, address, peer);
}

static int open_service(struct intake *intake, const struct intake_service *service, struct err *err)
{
	int fds[INTAKE_LISTENERS];
	char addresses[INTAKE_LISTENERS][128];
	size_t count = daemon_listeners(intake->daemon, service->name, fds, addresses, INTAKE_LISTENERS - intake->listener_count);

	for (size_t i = 0; i < count; i++) {
		struct intake_listener *l = &intake->listeners[intake->listener_count++];

		l->intake = intake;
		l->service = service;
		memcpy(l->address, addresses[i], sizeof(l->address));
		l->listener = listener_new(daemon_base(intake->daemon), fds[i], on_accept, l);
		if (l->listener == NULL)
			return err_set(err, E_NOMEM, "no memory for a listener");
	}
	return 0;
}

static int open_listeners(struct intake *intake, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < INTAKE_SERVICES && intake->kind->services[i].name != NULL && r == 0; i++)
		r = open_service(intake, &intake->kind->services[i], err);
	return r;
}

/* There is no name of SMTP for ALPN. */
static int load_tls(struct intake *intake, struct err *err)
{
	return tls_daemon_load(&intake->tls_daemon, intake->daemon, NULL, &intake->tls, err);
}

static int intake_prepare(struct daemon *daemon, struct err *err)
{
	struct intake *intake = daemon_state(daemon);

	intake->daemon = daemon;
	intake->waiting_tail = &intake->waiting_files;
	intake->committing_tail = &intake->committing;
	return load_tls(intake, err);
}

static int intake_confined(struct daemon *daemon, struct err *err)
{
	struct intake *intake = daemon_state(daemon);

	intake->peers = peer_count_new();
	if (intake->peers == NULL || room_open(intake) != 0)
		return err_set(err, E_NOMEM, "no memory for counters");
	return open_listeners(intake, err);
}

/* Sessions keep pointers into the old configuration's blocks: they are found again by name. */
static int intake_reload(struct daemon *daemon, struct err *err)
{
	struct intake *intake = daemon_state(daemon);
	int r = load_tls(intake, err);

	for (struct session *s = intake->sessions; s != NULL && r == 0; s = s->next)
		session_reload(s);
	return r;
}

static void intake_secrets(struct daemon *daemon)
{
	struct intake *intake = daemon_state(daemon);

	tls_daemon_secrets(&intake->tls_daemon, daemon);
}

static void intake_halt(struct daemon *daemon)
{
	struct intake *intake = daemon_state(daemon);

	intake->halting = true;
	for (size_t i = 0; i < intake->listener_count; i++)
		listener_free(&intake->listeners[i].listener);
	room_close(intake, "Server is shutting down");
	sessions_end(intake);
	if (intake->sessions == NULL)
		daemon_finished(daemon);
}

static void intake_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct intake *intake = daemon_state(daemon);

	stats->connections = intake->session_count;
	stats->total = intake->total;
	intake->note[0] = '\0';
	if (!rate_note(intake, intake->note, sizeof(intake->note)) && intake->waiting_count > 0)
		snprintf(intake->note, sizeof(intake->note), "all sessions are taken; %u clients wait", (unsigned)intake->waiting_count);
	stats->note = span_str(intake->note);
}

uint32_t intake_next_question(struct intake *intake)
{
	if (++intake->last_question == 0)
		intake->last_question = 1;
	return intake->last_question;
}

int intake_run(struct intake *intake, const struct intake_kind *kind)
{
	struct daemon_spec spec = {.name = kind->name,
	    .profile = profile_find(kind->name),
	    .prepare = intake_prepare,
	    .confined = intake_confined,
	    .reload = intake_reload,
	    .peer = intake_peer,
	    .secrets = intake_secrets,
	    .halt = intake_halt,
	    .stats = intake_stats,
	    .state = intake};

	intake->kind = kind;
	return daemon_run(&spec);
}
