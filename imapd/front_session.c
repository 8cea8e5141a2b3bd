/* One connection of the front: greeting, login, hand-over, and the TLS end of a session. */
#include "imapd/front.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "sasl/sasl.h"
#include "tls/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void session_run(struct front_session *s);

static struct conf_where session_where(const struct front_session *s)
{
	const struct conf *conf = daemon_conf(s->front->daemon);
	const struct front_listener *l = s->listener;

	return (struct conf_where){
	    .listener = conf_listener_find(conf, span_str(l->service), span_str(l->address))};
}

/* The client no longer wants to know; what auth says of it later finds nobody. */
static void exchange_end(struct front_session *s)
{
	const struct auth_sasl_cancel body = {0};

	if (s->exchange != 0 && s->front->auth != NULL)
		ipc_conn_send(s->front->auth, &ipc_auth_sasl_cancel, s->exchange, &body, -1);
	s->exchange = 0;
}

static void session_end(struct front_session **sp)
{
	struct front_session *s = *sp;
	struct front *front = s->front;

	*sp = NULL;
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	front->session_count--;
	exchange_end(s);
	if (s->counted)
		peer_count_leave(front->peers, &s->address);
	conn_free(&s->conn);
	conn_free(&s->plain);
	prelogin_fini(&s->login);
	free(s);
	if (front->halting && front->sessions == NULL)
		daemon_finished(front->daemon);
}

void front_session_bye(struct front_session *s, const char *why)
{
	char text[256];

	s->state = FRONT_CLOSING;
	s->question = 0;
	exchange_end(s);
	snprintf(text, sizeof(text), "* BYE %s\r\n", why);
	buf_add_str(conn_output(s->conn), text);
	conn_finish(s->conn); /* s may be gone now */
}

/* ---- proxy ---- */

/* Bytes go from one side to the other; a side that does not take them stops the other. */
static void proxy_input(struct conn *from, struct conn *to)
{
	struct span input = conn_input(from);
	size_t len = input.len;

	buf_add_span(conn_output(to), input);
	conn_consume(from, len);
	if (conn_output_len(to) > CONN_OUTPUT_HIGH)
		conn_pause(from, true);
	conn_flush(to);
}

static void on_plain_input(void *arg, struct conn *conn)
{
	struct front_session *s = arg;

	proxy_input(conn, s->conn);
}

static void on_plain_drained(void *arg, struct conn *conn)
{
	struct front_session *s = arg;

	(void)conn;
	conn_pause(s->conn, false);
}

/* The session process has ended: what it wrote last still goes to the client. */
static void on_plain_closed(void *arg, struct conn *conn, const struct err *why)
{
	struct front_session *s = arg;

	(void)conn;
	(void)why;
	s->state = FRONT_CLOSING;
	conn_free(&s->plain);
	conn_finish(s->conn);
}

static const struct conn_callbacks plain_callbacks = {on_plain_input, on_plain_closed, on_plain_drained, NULL};

/* ---- login ---- */

static uint32_t next_question(struct front *front)
{
	if (++front->last_question == 0)
		front->last_question = 1;
	return front->last_question;
}

static void login_refuse(struct front_session *s, const char *code, const char *text)
{
	s->state = FRONT_LOGIN;
	s->question = s->exchange = 0;
	buf_printf(conn_output(s->conn), "%s NO [%s] %s\r\n", s->login.tag, code, text);
	conn_pause(s->conn, false);
	conn_resume(s->conn);
}

static void ask_auth(struct front_session *s)
{
	struct front *front = s->front;
	struct auth_login ask = {.service = SPAN_LIT("imap"),
	    .user = span_str(s->login.user),
	    .password = secret_span(&s->login.password),
	    .remote = span_str(conn_peer(s->conn)),
	    .tls = s->login.tls};
	int r;

	s->state = FRONT_CHECKING;
	s->question = next_question(front);
	/* Reading goes on so that a client that leaves is noticed; its bytes wait. */
	r = front->auth ? ipc_conn_send(front->auth, &ipc_auth_login, s->question, &ask, -1) : E_UNAVAILABLE;
	secret_wipe(&s->login.password);
	if (r != 0)
		login_refuse(s, "UNAVAILABLE", "Logins cannot be checked now; try again");
}

/* Before the reply to a challenge nothing else of the client is looked at. */
static void await_auth(struct front_session *s, int sent)
{
	s->state = FRONT_CHECKING;
	if (sent != 0)
		login_refuse(s, "UNAVAILABLE", "Logins cannot be checked now; try again");
}

static void sasl_start(struct front_session *s)
{
	struct front *front = s->front;
	struct tls_bindings bindings;
	struct auth_sasl_begin ask = {.service = SPAN_LIT("imap"),
	    .mechanism = span_str(sasl_mechanism_name(s->login.mechanism)),
	    .remote = span_str(conn_peer(s->conn)),
	    .plus_offered = prelogin_plus_offered(&s->login),
	    .certificate = span_str(conn_tls_client(s->conn)),
	    .initial = s->login.has_response};

	conn_tls_bindings(s->conn, &bindings);
	ask.exporter = span_of(bindings.exporter, bindings.exporter_len);
	ask.unique = span_of(bindings.unique, bindings.unique_len);
	ask.endpoint = span_of(bindings.endpoint, bindings.endpoint_len);
	ask.certificate = span_str(conn_tls_client(s->conn));
	if (s->login.has_response)
		ask.response = buf_span(&s->login.response);
	s->question = s->exchange = next_question(front);
	await_auth(s, front->auth ? ipc_conn_send(front->auth, &ipc_auth_sasl_begin, s->exchange, &ask, -1) : E_UNAVAILABLE);
	buf_fini_secret(&s->login.response);
}

static void sasl_respond_to(struct front_session *s)
{
	struct auth_sasl_response body = {.response = buf_span(&s->login.response)};

	s->question = s->exchange;
	await_auth(s, s->front->auth ? ipc_conn_send(s->front->auth, &ipc_auth_sasl_response, s->exchange, &body, -1) : E_UNAVAILABLE);
	buf_fini_secret(&s->login.response);
}

static struct front_session *find_waiting(struct front *front, uint32_t id)
{
	for (struct front_session *s = front->sessions; s != NULL; s = s->next)
		if (s->question == id && id != 0 && s->state == FRONT_CHECKING)
			return s;
	return NULL;
}

/* The client's bytes behind its login go along; nothing may be lost or read twice. */
static int hand_over(struct front_session *s, const struct auth_login_answer *answer)
{
	struct span input = conn_input(s->conn);
	struct session_start start = {.account = answer->account,
	    .quota = answer->quota,
	    .user = answer->address,
	    .grant = answer->grant,
	    .remote = span_str(conn_peer(s->conn)),
	    .tls = s->login.tls,
	    .listener = span_str(s->listener->address),
	    .tag = span_str(s->login.tag),
	    .input = input};
	int fds[2] = {-1, -1};
	int r;

	if (s->front->sessions_service == NULL)
		return E_UNAVAILABLE;
	if (input.len > 49152)
		return E_TOOBIG;
	s->question = next_question(s->front);
	if (!s->login.tls)
		return ipc_conn_send(s->front->sessions_service, &ipc_session_start, s->question, &start,
		    conn_fd(s->conn));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_from_errno(errno);
	r = ipc_conn_send(s->front->sessions_service, &ipc_session_start, s->question, &start, fds[1]);
	close(fds[1]);
	if (r != 0) {
		close(fds[0]);
		return r;
	}
	s->plain = conn_new(daemon_base(s->front->daemon), fds[0], "session", &plain_callbacks, s);
	if (s->plain == NULL)
		return E_NOMEM;
	conn_pause(s->plain, true); /* until the spawner says that it has started */
	return 0;
}

void front_challenged(struct front *front, uint32_t id, struct span challenge)
{
	struct front_session *s = find_waiting(front, id);

	if (s == NULL)
		return;
	s->state = FRONT_LOGIN;
	s->question = 0;
	prelogin_challenge(&s->login, challenge, conn_output(s->conn));
	conn_flush(s->conn);
	conn_resume(s->conn);
}

void front_login_answered(struct front *front, uint32_t id, const struct auth_login_answer *answer)
{
	struct front_session *s = find_waiting(front, id);
	const char *mechanism;
	int r;

	if (s == NULL)
		return; /* the client did not wait */
	mechanism = s->exchange != 0 ? sasl_mechanism_name(s->login.mechanism) : "login-command";
	s->exchange = 0;
	if (answer->code != 0) {
		char text[300];

		span_copy(answer->text, text, sizeof(text));
		login_refuse(s, answer->code == E_SYNTAX ? "AUTHENTICATIONFAILED" : err_imap_code(answer->code), text[0] ? text : err_text(answer->code));
		return;
	}
	/* From here on every byte that comes belongs to the session process. */
	conn_pause(s->conn, true);
	r = hand_over(s, answer);
	if (r != 0) {
		conn_free(&s->plain);
		log_event(EV_imap_error, daemon_log(front->daemon), F_SPAN("user", answer->address), F_STR("rip", conn_peer(s->conn)),
		    F_STR("error", err_text(r)));
		login_refuse(s, "UNAVAILABLE", "No session can be started now; try again");
		return;
	}
	conn_consume(s->conn, conn_input(s->conn).len);
	log_event(EV_imap_login, daemon_log(front->daemon), F_SPAN("user", answer->address),
	    F_STR("rip", conn_peer(s->conn)), F_STR("tls", s->login.tls ? conn_tls_version(s->conn) : "no"),
	    F_STR("mechanism", mechanism));
}

void front_session_started(struct front *front, uint32_t id, const struct session_started *answer)
{
	struct front_session *s = find_waiting(front, id);

	if (s == NULL)
		return;
	if (answer->code != 0) {
		buf_printf(conn_output(s->conn), "%s NO [%s] No session can be started now; try again\r\n", s->login.tag, err_imap_code(answer->code));
		/* What the client sent behind its login is gone with the descriptor's queue: start afresh. */
		front_session_bye(s, "No session can be started now; connect again");
		return;
	}
	s->question = 0;
	if (s->plain == NULL) {
		session_end(&s); /* the process has its own descriptor of the connection */
		return;
	}
	s->state = FRONT_PROXY;
	conn_timeout(s->conn, 0); /* the session process keeps the time from here on */
	conn_pause(s->plain, false);
	conn_pause(s->conn, false);
}

void front_kick(struct front *front, uint64_t account)
{
	const struct session_kick body = {.account = account};

	/* One that has ended has no sessions. */
	if (front->sessions_service != NULL && ipc_conn_send(front->sessions_service, &ipc_session_kick, 0, &body, -1) != 0)
		log_event(EV_imap_error, daemon_log(front->daemon), F_U64("account", account), F_STR("error", "imap-session could not be told that the account's sessions end"));
}

void front_service_lost(struct front *front)
{
	struct front_session *s = front->sessions;

	while (s != NULL) {
		struct front_session *next = s->next;

		if (s->state == FRONT_CHECKING || s->exchange != 0)
			front_session_bye(s, "A part of the server was restarted; connect again");
		s = next;
	}
}

/* ---- commands before login ---- */

static void session_starttls(struct front_session *s)
{
	s->state = FRONT_GREETING;
	if (conn_start_tls(s->conn, s->front->tls) != 0)
		front_session_bye(s, "No memory for TLS");
}

static void session_run(struct front_session *s)
{
	while (s->state == FRONT_LOGIN) {
		size_t consumed;
		enum prelogin_event event =
		    prelogin_feed(&s->login, conn_input(s->conn), &consumed, conn_output(s->conn));

		conn_consume(s->conn, consumed);
		switch (event) {
		case PRELOGIN_MORE:
			return;
		case PRELOGIN_GO_ON:
			break;
		case PRELOGIN_STARTTLS:
			session_starttls(s);
			return;
		case PRELOGIN_CHECK:
			ask_auth(s);
			return;
		case PRELOGIN_SASL:
			sasl_start(s);
			return;
		case PRELOGIN_RESPONSE:
			sasl_respond_to(s);
			return;
		case PRELOGIN_CANCEL:
			exchange_end(s);
			break;
		case PRELOGIN_CLOSE:
			if (s->login.starved)
				log_event(EV_imap_error, daemon_log(s->front->daemon), F_STR("rip", conn_peer(s->conn)), F_STR("error", err_text(E_NOMEM)));
			s->state = FRONT_CLOSING;
			conn_finish(s->conn);
			return;
		}
	}
}

static void on_input(void *arg, struct conn *conn)
{
	struct front_session *s = arg;

	if (s->state == FRONT_PROXY)
		proxy_input(conn, s->plain);
	else if (s->state == FRONT_LOGIN)
		session_run(s);
}

static void on_closed(void *arg, struct conn *conn, const struct err *why)
{
	struct front_session *s = arg;

	if (why->code == E_NOMEM)
		log_event(EV_imap_error, daemon_log(s->front->daemon), F_STR("rip", conn_peer(conn)), F_ERR(why));
	if (why->code == E_TIMEOUT && (s->state == FRONT_LOGIN || s->state == FRONT_CHECKING)) {
		static const char bye[] = "* BYE Login took too long\r\n";

		if (conn_is_plain(s->conn))
			(void)!send(conn_fd(s->conn), bye, sizeof(bye) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	session_end(&s);
}

static void on_drained(void *arg, struct conn *conn)
{
	struct front_session *s = arg;

	(void)conn;
	if (s->state == FRONT_PROXY && s->plain != NULL)
		conn_pause(s->plain, false);
}

static void greet(struct front_session *s)
{
	s->state = FRONT_LOGIN;
	prelogin_greeting(&s->login, conf_text(daemon_conf(s->front->daemon), CONF_hostname, NULL),
	    conn_output(s->conn));
}

static void on_tls(void *arg, struct conn *conn, int code, const struct err *why)
{
	struct front_session *s = arg;
	bool implicit = !s->login.tls && s->login.tls_offered == false;

	if (code != 0) {
		log_event(EV_tls_failed, daemon_log(s->front->daemon), F_STR("rip", conn_peer(conn)), F_ERR(why));
		return;
	}
	s->login.tls = true;
	s->login.bound = conn_tls_is_bound(conn);
	s->login.certificate = conn_tls_client(conn)[0] != '\0';
	if (implicit)
		greet(s);
	else
		s->state = FRONT_LOGIN;
}

static const struct conn_callbacks client_callbacks = {on_input, on_closed, on_drained, on_tls};

static void refuse(struct front *front, int fd, const char *peer, const char *why, bool tls)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "* BYE %s\r\n", why);

	if (!tls)
		(void)!send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	log_event(EV_imap_refused, daemon_log(front->daemon), F_STR("rip", peer), F_STR("reason", why));
}

/* False when a limit does not allow one more connection. */
static bool admit(struct front_session *s, const struct conf_where *where, const char *peer, int fd, bool tls)
{
	struct front *front = s->front;
	const struct conf *conf = daemon_conf(front->daemon);

	if (front->session_count >= conf_u64(conf, CONF_connections, where)) {
		refuse(front, fd, peer, "Too many connections; try again later", tls);
		return false;
	}
	if (conf_in_networks(conf, CONF_unlimited_from, where, span_str(peer)))
		return true;
	s->counted = peer_count_enter(front->peers, &s->address,
	    (uint32_t)conf_u64(conf, CONF_connections_per_address, where));
	if (!s->counted)
		refuse(front, fd, peer, "Too many connections from your address", tls);
	return s->counted;
}

void front_session_start(struct front *front, const struct front_listener *listener, int fd,
    const struct sockaddr_storage *address, const char *peer)
{
	struct front_session *s = calloc(1, sizeof(*s));
	struct conf_where where = {0};

	if (s == NULL) {
		refuse(front, fd, peer, "Out of memory; try again later", listener->implicit_tls);
		return;
	}
	s->front = front;
	s->listener = listener;
	s->address = *address;
	prelogin_init(&s->login);
	where = session_where(s);
	if (!admit(s, &where, peer, fd, listener->implicit_tls)) {
		free(s);
		return;
	}
	s->login.bearer = conf_takes_tokens(daemon_conf(front->daemon));
	s->login.withheld = sasl_withheld(conf_text(daemon_conf(front->daemon), CONF_sasl_mechanisms, &where));
	s->login.plain_login = conf_in_networks(daemon_conf(front->daemon), CONF_plain_login_from, &where,
	    span_str(peer));
	s->login.tls_offered = front->tls != NULL && !listener->implicit_tls;
	s->conn = conn_new(daemon_base(front->daemon), fd, peer, &client_callbacks, s);
	if (s->conn == NULL || (listener->implicit_tls && front->tls == NULL)) {
		log_event(EV_imap_refused, daemon_log(front->daemon), F_STR("rip", peer),
		    F_STR("reason", s->conn == NULL ? err_text(E_NOMEM) : "there is no certificate"));
		if (s->counted)
			peer_count_leave(front->peers, address);
		conn_free(&s->conn);
		free(s);
		return;
	}
	s->next = front->sessions;
	s->link = &front->sessions;
	if (s->next != NULL)
		s->next->link = &s->next;
	front->sessions = s;
	front->session_count++;
	front->total++;
	log_event(EV_imap_connect, daemon_log(front->daemon), F_STR("rip", peer));
	/* For the handshake and all attempts to log in together: none of them buys more. */
	conn_timeout(s->conn, conf_ms(daemon_conf(front->daemon), CONF_login_timeout, &where));
	if (listener->implicit_tls) {
		session_starttls(s);
	} else {
		greet(s);
		conn_flush(s->conn);
	}
}
