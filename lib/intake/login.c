/* Logins of a submission server: the engine's lines on one side, auth's exchange on the other (RFC 4954). */
#include "intake/intake.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "tls/tls.h"

#include <stdio.h>

static const char no_auth[] = "Logins cannot be checked now; try again";

/* Sent, or the client is told that it was not. */
static void await_auth(struct session *s, int sent)
{
	if (sent == 0)
		return;
	s->exchange = 0;
	smtp_server_auth_done(s->server, E_UNAVAILABLE, span_str(no_auth));
}

void login_begin(struct session *s, enum sasl_mechanism mechanism, const struct buf *initial)
{
	struct intake *intake = s->intake;
	struct tls_bindings bindings;
	struct auth_sasl_begin ask = {.service = SPAN_LIT("submission"),
	    .mechanism = span_str(sasl_mechanism_name(mechanism)),
	    .remote = span_str(conn_peer(s->conn)),
	    .plus_offered = smtp_server_plus_offered(s->server),
	    .certificate = span_str(conn_tls_client(s->conn)),
	    .initial = initial != NULL};

	conn_tls_bindings(s->conn, &bindings);
	ask.exporter = span_of(bindings.exporter, bindings.exporter_len);
	ask.unique = span_of(bindings.unique, bindings.unique_len);
	ask.endpoint = span_of(bindings.endpoint, bindings.endpoint_len);
	if (initial != NULL)
		ask.response = buf_span(initial);
	s->mechanism = mechanism;
	s->exchange = intake_next_question(intake);
	await_auth(s, intake->auth ? ipc_conn_send(intake->auth, &ipc_auth_sasl_begin, s->exchange, &ask, -1) : E_UNAVAILABLE);
}

void login_respond(struct session *s, struct span response)
{
	struct auth_sasl_response body = {.response = response};

	/* An exchange that went down with auth cannot be taken up again. */
	await_auth(s, s->exchange != 0 && s->intake->auth != NULL ? ipc_conn_send(s->intake->auth, &ipc_auth_sasl_response, s->exchange, &body, -1) : E_UNAVAILABLE);
}

void login_cancel(struct session *s)
{
	const struct auth_sasl_cancel body = {0};

	if (s->exchange != 0 && s->intake->auth != NULL)
		ipc_conn_send(s->intake->auth, &ipc_auth_sasl_cancel, s->exchange, &body, -1);
	s->exchange = 0;
}

static struct session *find_exchange(struct intake *intake, uint32_t id)
{
	struct session *s = intake->sessions;

	while (s != NULL && s->exchange != id)
		s = s->next;
	return id != 0 ? s : NULL;
}

void login_challenged(struct intake *intake, uint32_t id, struct span challenge)
{
	struct session *s = find_exchange(intake, id);

	if (s == NULL)
		return;
	smtp_server_auth_challenge(s->server, challenge);
	session_go_on(s);
}

void login_answered(struct intake *intake, uint32_t id, const struct auth_login_answer *answer)
{
	struct session *s = find_exchange(intake, id);

	if (s == NULL)
		return;
	s->exchange = 0;
	if (answer->code == 0) {
		s->account = answer->account;
		span_copy(answer->address, s->user, sizeof(s->user));
		log_event(EV_smtp_login, daemon_log(intake->daemon), F_STR("user", s->user), F_STR("rip", conn_peer(s->conn)),
		    F_STR("tls", conn_is_tls(s->conn) ? conn_tls_version(s->conn) : "no"),
		    F_STR("mechanism", sasl_mechanism_name(s->mechanism)));
	}
	smtp_server_auth_done(s->server, answer->code, answer->text);
	session_go_on(s);
}

void logins_service_lost(struct intake *intake)
{
	struct session *s = intake->sessions;

	while (s != NULL) {
		struct session *next = s->next;
		bool waits = s->exchange != 0 && smtp_server_waits(s->server);

		/* Between a challenge and its answer nobody waits; the answer will find no exchange. */
		s->exchange = 0;
		if (waits) {
			smtp_server_auth_done(s->server, E_UNAVAILABLE, span_str(no_auth));
			session_go_on(s);
		}
		s = next;
	}
}
