/* One client: limits at its door, the engine's callbacks, its end. */
#include "intake/intake.h"

#include "base/log.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t idle_ms(const struct session *s)
{
	return conf_ms(daemon_conf(s->intake->daemon), CONF_smtp_timeout, &s->where);
}

static int64_t login_ms(const struct session *s)
{
	return conf_ms(daemon_conf(s->intake->daemon), CONF_login_timeout, &s->where);
}

static void session_end(struct session **sp)
{
	struct session *s = *sp;
	struct intake *intake = s->intake;

	*sp = NULL;
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	intake->session_count--;
	if (s->counted)
		peer_count_leave(intake->peers, &s->address);
	log_event(EV_smtp_disconnect, daemon_log(intake->daemon), F_STR("rip", conn_peer(s->conn)));
	if (s->waits_commit)
		rate_use(s);
	content_forget(s);
	login_cancel(s);
	smtp_server_free(&s->server);
	if (s->greeting != NULL)
		event_free(s->greeting);
	buf_fini(&s->content);
	conn_free(&s->conn);
	free(s);
	room_turn(intake);
	if (intake->halting && intake->sessions == NULL)
		daemon_finished(intake->daemon);
}

/* ---- the engine's questions ---- */

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	(void)server;
	recipient_ask(arg, address);
}

static void on_data_begin(void *arg, struct smtp_server *server)
{
	(void)server;
	content_begin(arg);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	(void)server;
	return content_add(arg, bytes, err);
}

static void on_data_end(void *arg, struct smtp_server *server)
{
	(void)server;
	content_commit(arg);
}

static void on_data_abort(void *arg, struct smtp_server *server)
{
	(void)server;
	content_abort(arg);
}

static void on_over(void *arg, struct smtp_server *server)
{
	(void)server;
	rate_give_back(arg);
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	struct session *s = arg;
	const struct smtp_transaction *tx = smtp_server_transaction(server);

	log_event(EV_smtp_reject, daemon_log(s->intake->daemon), F_SPAN("reply", reply), F_SPAN("from", tx ? tx->sender : span_str("")),
	    F_STR("rip", conn_peer(s->conn)));
}

static void on_mail(void *arg, struct smtp_server *server, struct span sender)
{
	(void)server;
	sender_ask(arg, sender);
}

static void on_auth(void *arg, struct smtp_server *server, enum sasl_mechanism mechanism, const struct buf *initial)
{
	(void)server;
	login_begin(arg, mechanism, initial);
}

static void on_auth_response(void *arg, struct smtp_server *server, struct span response)
{
	(void)server;
	login_respond(arg, response);
}

static void on_auth_cancel(void *arg, struct smtp_server *server)
{
	(void)server;
	login_cancel(arg);
}

static const struct smtp_server_callbacks engine_callbacks = {.rcpt = on_rcpt, .data_begin = on_data_begin, .data = on_data, .data_end = on_data_end,
    .data_abort = on_data_abort, .over = on_over, .refused = on_refused, .mail = on_mail, .auth = on_auth, .auth_response = on_auth_response, .auth_cancel = on_auth_cancel};

/* ---- bytes ---- */

/*
 * Octets alone do not keep a session alive: a command that was begun has login-timeout to become complete,
 * and a message must come at INTAKE_OCTET_MS an octet once smtp-timeout is used up.
 */
static void set_deadline(struct session *s, size_t consumed)
{
	bool waits = smtp_server_waits(s->server), begun = !waits && conn_input(s->conn).len > 0;
	int64_t idle = idle_ms(s), ms = idle;

	if (s->waits_file)
		return;
	if (!waits && smtp_server_in_content(s->server))
		ms = conn_time_left(s->conn) + (int64_t)consumed * INTAKE_OCTET_MS;
	else if (begun && consumed == 0 && s->in_line)
		ms = conn_time_left(s->conn);
	else if (begun)
		ms = login_ms(s);
	s->in_line = begun;
	conn_timeout(s->conn, ms < 1 ? 1 : ms < idle ? ms : idle);
}

static void session_shutdown(struct session *s, const char *why)
{
	smtp_server_shutdown(s->server, why);
	conn_finish(s->conn);
}

/* A message that is on its way in may still come when the suite stops, but not from who may send no more. */
static bool must_end(const struct session *s)
{
	return !smtp_server_waits(s->server) && !smtp_server_ended(s->server) && (s->kicked || (s->intake->halting && !smtp_server_in_content(s->server)));
}

static void end_now(struct session *s)
{
	if (s->kicked)
		log_event(EV_smtp_kicked, daemon_log(s->intake->daemon), F_STR("user", s->user), F_STR("rip", conn_peer(s->conn)));
	session_shutdown(s, s->kicked ? "Log in again" : "Server is shutting down");
}

static void run(struct session *s)
{
	size_t consumed;
	enum smtp_event event = smtp_server_feed(s->server, conn_input(s->conn), &consumed);

	conn_consume(s->conn, consumed);
	set_deadline(s, consumed);
	if (event == SMTP_STARTTLS) {
		if (conn_start_tls(s->conn, s->intake->tls) != 0)
			conn_finish(s->conn);
		conn_timeout(s->conn, login_ms(s));
	} else if (event == SMTP_CLOSE) {
		conn_finish(s->conn);
	} else if (must_end(s)) {
		end_now(s);
	}
}

void session_go_on(struct session *s)
{
	/* Before what it has sent ahead. */
	if (s->kicked && must_end(s)) {
		end_now(s);
		return;
	}
	if (conn_input(s->conn).len > 0) {
		conn_resume(s->conn);
		return;
	}
	conn_timeout(s->conn, idle_ms(s));
	if (smtp_server_ended(s->server))
		conn_finish(s->conn);
	else if (must_end(s))
		end_now(s);
	else
		conn_flush(s->conn);
}

void sessions_end(struct intake *intake)
{
	struct session *s = intake->sessions;

	while (s != NULL) {
		struct session *next = s->next;

		if (must_end(s))
			end_now(s);
		s = next;
	}
}

void sessions_kick(struct intake *intake, uint64_t account)
{
	for (struct session *s = intake->sessions; s != NULL; s = s->next)
		s->kicked |= s->account == account && account != 0 && !smtp_server_ended(s->server);
	sessions_end(intake);
}

static void refuse_early(struct session *s)
{
	static const char text[] = "554 5.5.1 You spoke before the greeting\r\n";

	log_event(EV_smtp_refused, daemon_log(s->intake->daemon), F_STR("rip", conn_peer(s->conn)), F_STR("reason", "early-talker"));
	conn_consume(s->conn, conn_input(s->conn).len);
	buf_add_str(conn_output(s->conn), text);
	conn_finish(s->conn);
}

static void on_input(void *arg, struct conn *conn)
{
	struct session *s = arg;

	(void)conn;
	if (!s->greeted)
		refuse_early(s);
	else
		run(s);
}

static void on_closed(void *arg, struct conn *conn, const struct err *why)
{
	struct session *s = arg;
	static const char slow[] = "421 4.4.2 Timeout, closing\r\n";

	if (why->code == E_NOMEM)
		log_event(EV_smtp_failed, daemon_log(s->intake->daemon), F_STR("rip", conn_peer(conn)), F_ERR(why));
	if (why->code == E_TIMEOUT && conn_is_plain(conn))
		(void)!send(conn_fd(conn), slow, sizeof(slow) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	session_end(&s);
}

static void greet(struct session *s);

static void on_tls(void *arg, struct conn *conn, int code, const struct err *why)
{
	struct session *s = arg;

	if (code == 0 && conn_tls_client(conn)[0] != '\0')
		smtp_server_certificate(s->server);
	if (code == 0 && conn_tls_is_bound(conn))
		smtp_server_bound(s->server);
	if (code == 0 && s->implicit_tls) {
		s->implicit_tls = false;
		smtp_server_tls_from_the_start(s->server);
		greet(s);
	} else if (code == 0)
		smtp_server_tls_started(s->server);
	else
		log_event(EV_tls_failed, daemon_log(s->intake->daemon), F_STR("rip", conn_peer(conn)), F_ERR(why));
}

static const struct conn_callbacks client_callbacks = {on_input, on_closed, NULL, on_tls};

/* ---- the door ---- */

static const char no_memory[] = "Out of memory; try again later";

static void say_at_door(struct intake *intake, int fd, const char *peer, const char *enhanced, const char *why)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "421 %s %s\r\n", enhanced, why);

	if (fd >= 0)
		(void)!send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_event(EV_smtp_refused, daemon_log(intake->daemon), F_STR("rip", peer), F_STR("reason", why));
}

void visitor_refuse(struct intake *intake, const struct visitor *v, const char *why)
{
	say_at_door(intake, v->implicit_tls ? -1 : v->fd, v->peer, "4.7.0", why);
	close(v->fd);
	if (v->counted)
		peer_count_leave(intake->peers, &v->address);
}

static struct conf_where where_of(const struct intake *intake, const struct intake_listener *l)
{
	return (struct conf_where){.listener = conf_listener_find(daemon_conf(intake->daemon), span_str(l->service->name), span_str(l->address))};
}

void session_reload(struct session *s)
{
	s->where = where_of(s->intake, s->listener);
}

bool session_full(const struct intake *intake, const struct intake_listener *l)
{
	struct conf_where where = where_of(intake, l);

	return intake->session_count >= conf_u64(daemon_conf(intake->daemon), CONF_connections, &where);
}

static bool admit(struct intake_listener *l, struct visitor *v)
{
	struct intake *intake = l->intake;
	const struct conf *conf = daemon_conf(intake->daemon);
	struct conf_where where = where_of(intake, l);

	if (conf_in_networks(conf, CONF_unlimited_from, &where, span_str(v->peer)))
		return true;
	v->counted = peer_count_enter(intake->peers, &v->address, (uint32_t)conf_u64(conf, CONF_connections_per_address, &where));
	if (!v->counted)
		visitor_refuse(intake, v, "Too many connections from your address");
	return v->counted;
}

/* Before anything is made for the client: under a flood of them a refusal must cost next to nothing. */
void session_start(struct intake_listener *l, int fd, const struct sockaddr_storage *address, const char *peer)
{
	struct visitor visitor = {.fd = fd, .address = *address, .implicit_tls = l->service->implicit_tls};

	snprintf(visitor.peer, sizeof(visitor.peer), "%s", peer);
	if (!admit(l, &visitor))
		return;
	if (session_full(l->intake, l))
		room_enter(l, &visitor);
	else
		session_begin(l, &visitor);
}

static void on_greeting(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	s->greeted = true;
	smtp_server_greet(s->server);
	conn_flush(s->conn);
}

/* With a delay, whoever speaks before the greeting is no mail server. */
static void greet(struct session *s)
{
	int64_t ms = conf_ms(daemon_conf(s->intake->daemon), CONF_greeting_delay, &s->where);
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	conn_timeout(s->conn, idle_ms(s) + ms);
	if (ms == 0) {
		on_greeting(-1, 0, s);
		return;
	}
	s->greeting = evtimer_new(daemon_base(s->intake->daemon), on_greeting, s);
	if (s->greeting != NULL)
		evtimer_add(s->greeting, &tv);
}

static struct smtp_server *make_server(struct session *s)
{
	const struct conf *conf = daemon_conf(s->intake->daemon);
	struct smtp_server_config config = {.hostname = conf_text(conf, CONF_hostname, NULL),
	    .limits = {.message_size = conf_u64(conf, CONF_message_size, &s->where),
		.header_size = conf_u64(conf, CONF_header_size, NULL),
		.received_lines = (uint32_t)conf_u64(conf, CONF_received_lines, NULL),
		.recipients = (uint32_t)conf_u64(conf, CONF_recipients, &s->where),
		.errors = (uint32_t)conf_u64(conf, CONF_session_errors, &s->where),
		.future_release = (uint32_t)(conf_ms(conf, CONF_future_release, &s->where) / 1000)},
	    .wall = clock_wall,
	    .tls_offered = s->intake->tls != NULL,
	    .submission = s->intake->kind->submission,
	    .bearer = conf_takes_tokens(conf),
	    .withheld = sasl_withheld(conf_text(conf, CONF_sasl_mechanisms, &s->where)),
	    .plain_login = conf_in_networks(conf, CONF_plain_login_from, &s->where, span_str(conn_peer(s->conn)))};

	return smtp_server_new(&config, &engine_callbacks, s, conn_output(s->conn));
}

/* The kernel's share of the replies that a client does not read; without a bound it grows to megabytes. */
static void limit_output(int fd)
{
	int most = CONN_OUTPUT_HIGH;

	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof(most));
}

static void refuse_for_memory(struct intake *intake, int fd, const struct visitor *v)
{
	say_at_door(intake, v->implicit_tls ? -1 : fd, v->peer, "4.3.2", no_memory);
	if (v->counted)
		peer_count_leave(intake->peers, &v->address);
}

void session_begin(struct intake_listener *l, const struct visitor *v)
{
	struct intake *intake = l->intake;
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		refuse_for_memory(intake, v->fd, v);
		close(v->fd);
		return;
	}
	s->intake = intake;
	s->address = v->address;
	s->counted = v->counted;
	s->file.fd = -1;
	s->listener = l;
	s->where = where_of(intake, l);
	buf_init(&s->content, INTAKE_GATHER + 4096);
	limit_output(v->fd);
	s->conn = conn_new(daemon_base(intake->daemon), v->fd, v->peer, &client_callbacks, s);
	s->server = s->conn ? make_server(s) : NULL;
	if (s->server == NULL) {
		refuse_for_memory(intake, s->conn != NULL ? conn_fd(s->conn) : -1, v);
		conn_free(&s->conn);
		free(s);
		return;
	}
	s->next = intake->sessions;
	s->link = &intake->sessions;
	if (s->next != NULL)
		s->next->link = &s->next;
	intake->sessions = s;
	intake->session_count++;
	intake->total++;
	log_event(EV_smtp_connect, daemon_log(intake->daemon), F_STR("rip", v->peer));
	s->implicit_tls = v->implicit_tls;
	if (!s->implicit_tls) {
		greet(s);
		return;
	}
	conn_timeout(s->conn, login_ms(s));
	if (intake->tls == NULL || conn_start_tls(s->conn, intake->tls) != 0)
		conn_finish(s->conn);
}
