/* One connection to a host: the engine of lib/smtp on a socket, TLS, deadlines. One transaction after the other. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/conn.h"
#include "net/connect.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SESSION_TLS_MS = 60000 };

static bool run(struct session *s);
static void finish(struct session *s);

/* ---- for who looks on ---- */

/* What a log-in says stays secret: behind AUTH and its mechanism, and the answer to each 334. */
static void trace_line(struct session *s, const char *arrow, struct span line)
{
	bool out = arrow[0] == '>';

	if (out && s->hides) {
		job_trace(s->job, "> [secret]");
	} else if (out && span_startswith(line, SPAN_LIT("AUTH "))) {
		size_t mechanism = 5 + span_find(span_from(line, 5), ' ');

		job_trace(s->job, "> %.*s%s", SPAN_ARG(span_sub(line, 0, mechanism)), mechanism < line.len ? " [secret]" : "");
	} else {
		job_trace(s->job, "%s %.*s", arrow, SPAN_ARG(line));
	}
	s->hides = !out && span_startswith(line, SPAN_LIT("334"));
}

static void trace(struct session *s, const char *arrow, struct span text)
{
	if (s->job == NULL || s->job->owner->trace == NULL || s->content)
		return;
	while (text.len > 0) {
		size_t end = span_find(text, '\n');
		struct span line = span_sub(text, 0, end);

		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		trace_line(s, arrow, line);
		text = span_from(text, end + 1);
	}
}

/* ---- deadlines ---- */

static void begin_phase(struct session *s, int64_t more_ms)
{
	s->phase_end_ms = clock_monotonic_ms() + RELAY_PHASE_MS + more_ms;
}

/* The engine's patience with each answer, within the phase's end: a server that drips is not waited for without end. */
static void arm(struct session *s)
{
	int64_t left = s->phase_end_ms - clock_monotonic_ms(), patience = s->handshaking ? SESSION_TLS_MS : smtp_client_patience_ms(s->client);

	if (s->quitting)
		patience = RELAY_QUIT_MS;
	conn_timeout(s->conn, left < 1 ? 1 : left < patience ? left : patience);
}

/* ---- TLS ---- */

/* RFC 7672 section 3.2.2: the host, the domain that mail is for, and where its CNAMEs led to are right in a certificate as well. */
static void expect_dane(const struct session *s, struct tls_peer *peer)
{
	const char *const names[TLS_PEER_NAMES] = {s->dane->base, s->host, s->domain, s->canonical};

	peer->name_count = 0;
	for (size_t i = 0; i < TLS_PEER_NAMES; i++)
		if (names[i][0] != '\0')
			peer->names[peer->name_count++] = names[i];
	peer->tlsa = s->dane->records;
	peer->tlsa_count = s->dane->count;
}

/* Whoever comes again shows no certificate, so that a ticket serves only where the same is asked for. What domains publish may be another thing each time. */
static bool keeps_tickets(const struct session *s)
{
	return s->policy.source == SOURCE_NONE && s->policy.trust == TLS_ANYBODY;
}

/* A policy in testing: what is wrong is told, and no more. */
static bool only_observes(const struct session *s)
{
	return s->policy.testing && s->policy.trust == TLS_ANYBODY;
}

static int start_tls(struct session *s)
{
	struct destination *d = s->destination;
	struct tls_peer peer = {.trust = s->policy.trust, .names = {s->host}, .name_count = 1, .observe = only_observes(s),
	    .no_subject = s->policy.source == SOURCE_STS && (!s->policy.testing || only_observes(s))};

	if (s->policy.trust == TLS_DANE)
		expect_dane(s, &peer);
	else if (keeps_tickets(s) && d->ticket != NULL && strcmp(d->ticket_host, s->host) == 0)
		peer.ticket = d->ticket;
	if (conn_start_tls_client(s->conn, settings_tls(s->relay), &peer, &s->ended) != 0)
		return s->ended.code;
	s->handshaking = true;
	if (peer.ticket != NULL) /* it serves once: RFC 8446 section C.4 */
		tls_ticket_free(&d->ticket);
	arm(s);
	return 0;
}

static void keep_ticket(struct session *s)
{
	struct tls_ticket *ticket = keeps_tickets(s) ? conn_tls_ticket(s->conn) : NULL;

	if (ticket == NULL)
		return;
	tls_ticket_free(&s->destination->ticket);
	s->destination->ticket = ticket;
	snprintf(s->destination->ticket_host, sizeof(s->destination->ticket_host), "%s", s->host);
}

static int make_client(struct session *s, const struct sasl_channel *channel);

/* What of the certificate was wrong. */
static void take_verdict(struct session *s)
{
	static const enum outcome_kind kinds[] = {[TLS_RIGHT] = OUTCOME_GOOD, [TLS_WRONG_NAME] = OUTCOME_WRONG_NAME, [TLS_EXPIRED] = OUTCOME_EXPIRED,
	    [TLS_NOT_TRUSTED] = OUTCOME_NOT_TRUSTED, [TLS_WRONG_OTHERWISE] = OUTCOME_FAILED};
	const char *why;

	s->kind = kinds[conn_tls_verdict(s->conn, &why)];
	if (s->kind != OUTCOME_GOOD)
		snprintf(s->doubt, sizeof(s->doubt), "its certificate: %s", why);
}

/* Who has vouched for the host. */
static const char *trust_word(const struct policy *policy)
{
	static const char *const trusts[] = {[TLS_ANYBODY] = "", [TLS_AUTHORITIES] = " verified", [TLS_DANE] = " DANE"};

	return policy->source == SOURCE_STS && policy->trust == TLS_AUTHORITIES && !policy->testing ? " MTA-STS" : trusts[policy->trust];
}

static void on_tls(void *arg, struct conn *conn, int code, const struct err *why)
{
	struct session *s = arg;
	struct tls_bindings bindings;
	struct sasl_channel channel = {0};

	s->handshaking = false;
	if (only_observes(s) || (code != 0 && s->policy.trust != TLS_ANYBODY))
		take_verdict(s);
	if (code != 0) { /* closed comes next */
		s->tls_failed = true;
		err_set(&s->ended, code, "%s%s", code == E_DENIED ? "" : "the TLS handshake failed: ", why->text);
		return;
	}
	snprintf(s->tls, sizeof(s->tls), "%s%s", conn_tls_version(conn), trust_word(&s->policy));
	if (s->job != NULL)
		job_trace(s->job, "  %s, %s", s->tls, conn_tls_cipher(conn));
	if (s->doubt[0] != '\0')
		job_trace(s->job, "  %s; the MTA-STS policy is in testing, mail goes all the same", s->doubt);
	conn_tls_bindings(conn, &bindings);
	channel.exporter = span_of(bindings.exporter, bindings.exporter_len);
	channel.endpoint = span_of(bindings.endpoint, bindings.endpoint_len);
	begin_phase(s, 0);
	if (s->client != NULL)
		smtp_client_tls_started(s->client, &channel);
	else if (s->job == NULL || make_client(s, &channel) != 0) { /* nobody wants it any more, or there is no memory */
		finish(s);
		return;
	}
	run(s);
}

/* ---- reports ---- */

static enum outcome_kind kind_of(const struct session *s)
{
	bool is_tls = strcmp(s->tls, "none") != 0;

	if (s->kind != OUTCOME_GOOD)
		return s->kind;
	if (s->tls_failed)
		return OUTCOME_FAILED;
	if (is_tls && s->policy.source == SOURCE_TLSA && s->policy.trust != TLS_DANE)
		return OUTCOME_TLSA_INVALID;
	return !is_tls ? OUTCOME_NO_STARTTLS : s->policy.not_named ? OUTCOME_FAILED : OUTCOME_GOOD;
}

static const char *doubt_of(const struct session *s, enum outcome_kind kind)
{
	if (s->doubt[0] != '\0' || kind == OUTCOME_GOOD)
		return s->doubt;
	if (s->tls_failed)
		return s->ended.text;
	if (kind == OUTCOME_TLSA_INVALID)
		return "none of its TLSA records can be used";
	return kind == OUTCOME_NO_STARTTLS ? "the server does not offer STARTTLS" : "the policy does not name the host";
}

void session_tell(struct session *s, bool delivered)
{
	enum outcome_kind kind = kind_of(s);
	const struct outcome outcome = {.kind = kind, .source = s->policy.source, .delivered = delivered, .sts = s->job != NULL ? s->job->sts : NULL, .dane = s->dane,
	    .domain = s->job != NULL ? s->job->domain : span_str(s->domain), .host = s->host, .address = s->address, .our_address = s->our_address, .text = doubt_of(s, kind)};

	if (!s->told && s->job != NULL)
		outcome_tell(s->job, &outcome);
	s->told = true;
}

/* ---- the end ---- */

/* Only codes that mean "another time": what a broken connection is called elsewhere may be for good. */
static int code_of_end(const struct err *why)
{
	return why->code == E_TIMEOUT || why->code == E_NOMEM || why->code == E_LIMIT ? why->code : E_CLOSED;
}

static void log_failure(const struct session *s)
{
	struct err failure = s->ended;

	if (s->client != NULL)
		smtp_client_failure(s->client, &failure, NULL);
	if (failure.code == 0 || s->quitting || (s->job == NULL && s->messages > 0)) /* whom we keep waiting may go */
		return;
	s->relay->failed_sessions++;
	log_event(EV_relay_session_failed, daemon_log(s->relay->daemon), F_STR("host", s->host), F_STR("address", s->address), F_STR("tls", s->tls),
	    F_STR("error", failure.text));
}

/* The engine is CLOSED, or there is none yet. */
static void finish(struct session *s)
{
	struct relay *relay = s->relay;
	struct job *job = s->job;

	log_failure(s);
	if (job != NULL)
		job_session_failed(job);
	session_free(&s);
	job_wake_waiting(relay);
	relay_try_finish(relay);
}

/* STARTTLS was offered, and asked for, and that was the end: there are servers whose TLS is broken like that. */
static bool is_before_tls(const struct session *s)
{
	return s->client != NULL && s->policy.use != SMTP_TLS_NEVER && !conn_is_tls(s->conn) && smtp_client_offers(s->client)->starttls && !smtp_client_was_ready(s->client);
}

static void on_closed(void *arg, struct conn *conn, const struct err *why)
{
	struct session *s = arg;
	size_t none;

	(void)conn;
	s->tls_failed |= s->handshaking || is_before_tls(s);
	if (s->ended.code == 0)
		err_set(&s->ended, code_of_end(why), "%s", why->code == E_TIMEOUT ? "the server did not answer in time" : why->code == 0 ? "the connection was closed" : why->text);
	if (s->client != NULL) {
		smtp_client_ended(s->client, code_of_end(&s->ended), &s->ended);
		if (smtp_client_feed(s->client, SPAN_LIT(""), &none) == SMTP_CLIENT_DONE && s->job != NULL)
			job_session_done(s->job);
	}
	finish(s);
}

static void leave_idle(struct session *s)
{
	*s->idle_link = s->idle_next;
	if (s->idle_next != NULL)
		s->idle_next->idle_link = s->idle_link;
	else
		s->relay->idle_tail = s->idle_link;
	s->idle_link = NULL;
	destination_unidle(s);
}

static void quit(struct session *s)
{
	if (s->idle_link != NULL)
		leave_idle(s);
	s->quitting = true;
	keep_ticket(s);
	smtp_client_quit(s->client);
	arm(s);
}

void session_quit(struct session *s)
{
	quit(s);
	conn_flush(s->conn); /* s may be gone */
}

/* ---- idle ---- */

static bool is_worn(const struct session *s)
{
	return s->worn || s->relay->halting || s->messages >= RELAY_SESSION_MESSAGES ||
	       clock_monotonic_ms() - s->began_ms > RELAY_SESSION_MS;
}

static void become_idle(struct session *s)
{
	struct relay *relay = s->relay;

	s->idle_ms = clock_monotonic_ms();
	s->idle_next = NULL;
	s->idle_link = relay->idle_tail;
	*s->idle_link = s;
	relay->idle_tail = &s->idle_next;
	destination_idle(s);
	conn_timeout(s->conn, 0);
	keep_ticket(s);
	job_wake_waiting(relay);
}

void session_sweep(struct relay *relay)
{
	int64_t now = clock_monotonic_ms();

	while (relay->idle != NULL && (relay->halting || now - relay->idle->idle_ms >= RELAY_IDLE_MS))
		session_quit(relay->idle);
}

void session_drop_unused(struct relay *relay)
{
	struct session *s = relay->sessions;

	while (s != NULL) {
		struct session *next = s->next;

		if (s->job == NULL && !s->quitting)
			session_free(&s);
		s = next;
	}
}

/* ---- the content ---- */

static void send_content(struct session *s)
{
	struct err why = {0};

	while (s->content && conn_output_len(s->conn) < CONN_OUTPUT_HIGH) {
		struct span piece;
		bool last;

		if (job_read(s->job, &piece, &last, &why) != 0) {
			smtp_client_abandon(s->client, &why);
			s->content = false;
			return;
		}
		smtp_client_content(s->client, piece, last);
		s->content = !last;
		if (last)
			begin_phase(s, 0);
	}
	arm(s);
}

static void begin_content(struct session *s)
{
	begin_phase(s, (int64_t)(s->job->message.size / RELAY_RATE_MIN) * 1000);
	s->content = true;
	send_content(s);
}

/* ---- the conversation ---- */

static void on_ready(struct session *s)
{
	begin_phase(s, 0);
	dead_remove(&s->relay->dead, &s->at);
	outcome_count(s);
	session_tell(s, true);
	if (s->job != NULL)
		job_session_ready(s->job);
}

static void on_done(struct session *s)
{
	struct job *job = s->job;

	s->messages++;
	s->reused = true;
	s->destination->messages++;
	job_session_done(job);
}

enum step { STEP_ON, STEP_WAIT, STEP_GONE };

/* One event. STEP_GONE: so is s. */
static enum step step(struct session *s, enum smtp_client_event event)
{
	switch (event) {
	case SMTP_CLIENT_MORE:
		return STEP_WAIT;
	case SMTP_CLIENT_STARTTLS:
		if (start_tls(s) != 0) {
			smtp_client_ended(s->client, code_of_end(&s->ended), &s->ended);
			return STEP_ON;
		}
		return STEP_WAIT;
	case SMTP_CLIENT_READY:
		if (s->job != NULL) {
			on_ready(s);
			return STEP_ON;
		}
		if (is_worn(s))
			quit(s);
		else if (s->idle_link == NULL)
			become_idle(s);
		return STEP_WAIT;
	case SMTP_CLIENT_CONTENT:
		if (s->content)
			return STEP_WAIT;
		begin_content(s);
		return s->content ? STEP_WAIT : STEP_ON;
	case SMTP_CLIENT_DONE:
		on_done(s);
		return STEP_ON;
	case SMTP_CLIENT_CLOSED:
		break;
	}
	finish(s);
	return STEP_GONE;
}

/* Gives the engine what has come, until it wants more. False: s is gone. */
static bool run(struct session *s)
{
	enum step next = STEP_ON;

	while (next == STEP_ON && s->client != NULL && !s->handshaking) {
		struct span input = conn_input(s->conn);
		size_t before = conn_output_len(s->conn), consumed;
		enum smtp_client_event event = smtp_client_feed(s->client, input, &consumed);

		trace(s, "<", span_sub(input, 0, consumed));
		trace(s, ">", span_from(buf_span(conn_output(s->conn)), before));
		conn_consume(s->conn, consumed);
		if (consumed > 0 && s->idle_link == NULL)
			arm(s);
		next = step(s, event);
	}
	return next != STEP_GONE;
}

static void on_input(void *arg, struct conn *conn)
{
	(void)conn;
	run(arg);
}

static void on_drained(void *arg, struct conn *conn)
{
	struct session *s = arg;

	(void)conn;
	if (!s->content)
		return;
	send_content(s);
	run(s);
}

static const struct conn_callbacks callbacks = {on_input, on_closed, on_drained, on_tls};

int session_send(struct session *s, struct err *err)
{
	struct job *job = s->job;
	size_t before = conn_output_len(s->conn);
	int r = smtp_client_send(s->client, &job->message, err);

	if (r != 0)
		return r;
	trace(s, ">", span_from(buf_span(conn_output(s->conn)), before));
	begin_phase(s, 0);
	arm(s);
	return 0;
}

void session_take(struct session *s, struct job *job)
{
	leave_idle(s);
	s->job = job;
	s->reused = true;
	job->session = s;
	if (run(s))
		conn_flush(s->conn);
}

void session_release(struct session *s)
{
	s->job = NULL;
	s->content = false;
}

/* ---- birth and death ---- */

static int make_client(struct session *s, const struct sasl_channel *channel)
{
	const struct way *way = &s->job->way;
	struct smtp_client_config config = {.helo = way->helo, .lmtp = way->kind == WAY_LMTP, .tls_done = channel != NULL, .tls = s->policy.use};

	config.login.user = way->login;
	config.login.password = way->secret;
	config.login.is_token = way->is_token;
	if (channel != NULL)
		config.channel = *channel;
	s->client = smtp_client_new(&config, conn_output(s->conn));
	return s->client ? 0 : err_set(&s->ended, E_NOMEM, "no memory for a session");
}

struct session *session_new(struct job *job, int fd, const char *address, struct err *err)
{
	struct relay *relay = job->relay;
	struct session *s = calloc(1, sizeof(*s));
	char peer[CONN_PEER_TEXT];

	snprintf(peer, sizeof(peer), "%s", address);
	if (s == NULL) {
		close(fd);
		err_set(err, E_NOMEM, "no memory for a session");
		return NULL;
	}
	s->relay = relay;
	s->job = job;
	s->policy = job->policy;
	s->dane = job->dane;
	job->dane = NULL;
	if (job->way.kind == WAY_MX) {
		span_copy(job->domain, s->domain, sizeof(s->domain));
		snprintf(s->canonical, sizeof(s->canonical), "%s", job->route->canonical);
	}
	s->worn = job->message.probe || job->distrusted;
	/* Without TLS by our own will; or a connection with it has failed, and that is told. Who asks for less than the domain does says nothing of it. */
	s->told = job->policy.use == SMTP_TLS_NEVER || (job->tls_optional && !job->message.requiretls);
	s->began_ms = clock_monotonic_ms();
	snprintf(s->tls, sizeof(s->tls), "none");
	snprintf(s->address, sizeof(s->address), "%s", address);
	s->at = job->route->hosts[job->host].addresses[job->clear_address];
	connect_port(&s->at, job->way.port);
	outcome_our_address(fd, s->our_address);
	snprintf(s->host, sizeof(s->host), "%s", job->route->hosts[job->host].name);
	s->next = relay->sessions;
	s->link = &relay->sessions;
	if (s->next != NULL)
		s->next->link = &s->next;
	relay->sessions = s;
	relay->session_count++;
	s->destination = job->destination;
	s->destination->sessions++;
	s->conn = conn_new(daemon_base(relay->daemon), fd, peer, &callbacks, s);
	if (s->conn != NULL)
		conn_keep_reading(s->conn); /* a server may refuse a message in the midst of it, and take no more */
	else
		err_set(&s->ended, E_NOMEM, "no memory for a connection");
	begin_phase(s, 0);
	if (s->conn == NULL || (job->way.implicit_tls ? start_tls(s) : make_client(s, NULL)) != 0) {
		*err = s->ended;
		session_free(&s);
		return NULL;
	}
	arm(s);
	return s;
}

void session_free(struct session **sp)
{
	struct session *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (s->idle_link != NULL)
		leave_idle(s);
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	s->relay->session_count--;
	s->destination->sessions--;
	smtp_client_free(&s->client);
	conn_free(&s->conn);
	dane_free(&s->dane);
	free(s);
}
