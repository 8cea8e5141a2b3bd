/* One LMTP client: recipients asked of auth, the message into memory, one answer for each recipient. */
#include "lmtp/lmtpd.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Deliveries that have a result are freed; the others by their flights. */
static void deliveries_drop(struct lmtp_session *s)
{
	for (size_t i = 0; i < s->delivery_count; i++)
		if (s->deliveries[i]->done)
			free(s->deliveries[i]);
		else
			s->deliveries[i]->session = NULL;
	free(s->deliveries);
	s->deliveries = NULL;
	s->delivery_count = s->answered = 0;
}

static void session_end(struct lmtp_session *s)
{
	struct lmtpd *lmtpd = s->lmtpd;

	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	lmtpd->session_count--;
	deliveries_drop(s);
	smtp_server_free(&s->server);
	lmtp_content_release(&s->content);
	conn_free(&s->conn);
	free(s);
	if (lmtpd->halting && lmtpd->sessions == NULL)
		daemon_finished(lmtpd->daemon);
}

static void go_on(struct lmtp_session *s)
{
	if (conn_input(s->conn).len > 0)
		conn_resume(s->conn);
	else if (smtp_server_ended(s->server))
		conn_finish(s->conn);
	else if (s->lmtpd->halting && !smtp_server_waits(s->server))
		lmtp_session_shutdown(s);
	else
		conn_flush(s->conn);
}

void lmtp_session_shutdown(struct lmtp_session *s)
{
	smtp_server_shutdown(s->server, "Server is shutting down");
	conn_finish(s->conn);
}

/* ---- recipients ---- */

static void refuse_recipient(struct lmtp_session *s, int code, const char *text)
{
	struct err err;

	err_set(&err, code, "%s", text);
	smtp_server_rcpt_done(s->server, code, &err, NULL);
}

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	struct lmtp_session *s = arg;
	struct lmtpd *lmtpd = s->lmtpd;
	struct auth_recipient ask = {.address = address};

	(void)server;
	if (++lmtpd->last_question == 0)
		lmtpd->last_question = 1;
	s->question = lmtpd->last_question;
	if (lmtpd->auth == NULL || ipc_conn_send(lmtpd->auth, &ipc_auth_recipient, s->question, &ask, -1) != 0) {
		s->question = 0;
		refuse_recipient(s, E_UNAVAILABLE, "Recipients cannot be checked now; try again");
	}
}

void lmtp_recipient_answered(struct lmtpd *lmtpd, uint32_t id, const struct auth_recipient_answer *answer)
{
	struct lmtp_session *s = lmtpd->sessions;
	struct lmtp_delivery *d;

	while (s != NULL && (s->question != id || id == 0))
		s = s->next;
	if (s == NULL)
		return;
	s->question = 0;
	d = answer->code == 0 && answer->account != 0
		? pool_new_object(smtp_server_transaction(s->server)->pool, struct lmtp_delivery) : NULL;
	if (d != NULL) {
		d->account = answer->account;
		d->quota = answer->quota;
		span_copy(answer->address, d->address, sizeof(d->address));
		span_copy(answer->detail, d->detail, sizeof(d->detail));
		d->grant_len = answer->grant.len <= sizeof(d->grant) ? answer->grant.len : 0;
		memcpy(d->grant, answer->grant.ptr, d->grant_len);
		smtp_server_rcpt_done(s->server, 0, NULL, d);
	} else if (answer->code == 0 && answer->account == 0) {
		refuse_recipient(s, E_NOTFOUND, "This is an alias; LMTP takes mailboxes, send it over SMTP");
	} else {
		refuse_recipient(s, answer->code != 0 ? answer->code : E_NOMEM,
		    answer->code == E_NOTFOUND ? "No such user here" : answer->code == E_DENIED ? "This domain is not served here" : "Not possible");
	}
	go_on(s);
}

void lmtp_auth_lost(struct lmtpd *lmtpd)
{
	struct lmtp_session *s = lmtpd->sessions;

	while (s != NULL) {
		struct lmtp_session *next = s->next;

		if (s->question != 0) {
			s->question = 0;
			refuse_recipient(s, E_UNAVAILABLE, "Recipients cannot be checked now; try again");
			go_on(s);
		}
		s = next;
	}
}

/* ---- content ---- */

static void on_data_begin(void *arg, struct smtp_server *server)
{
	struct lmtp_session *s = arg;
	char received[1024], date[CLOCK_RFC5322_MAX];
	struct err err;
	int n, r;

	lmtp_content_release(&s->content);
	r = lmtp_content_new(&s->lmtpd->memory, &s->content, &err);
	if (r == 0) {
		n = snprintf(received, sizeof(received), "Received: from %.*s ([%s])\r\n\tby %.*s with LMTP; %s\r\n",
		    SPAN_ARG(smtp_server_helo(server)), conn_peer(s->conn),
		    SPAN_ARG(conf_text(daemon_conf(s->lmtpd->daemon), CONF_hostname, NULL)), clock_format_rfc5322(clock_wall(), date));
		r = lmtp_content_write(s->content, span_of(received, (size_t)n), &err);
	}
	smtp_server_data_ready(server, r, r != 0 ? &err : NULL);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	struct lmtp_session *s = arg;

	(void)server;
	return lmtp_content_write(s->content, bytes, err);
}

static void on_data_abort(void *arg, struct smtp_server *server)
{
	struct lmtp_session *s = arg;

	(void)server;
	lmtp_content_release(&s->content);
}

/* ---- the answers ---- */

/* In the order of the recipients (RFC 2033 section 4.2): each as soon as those before it are there. */
static void answer_ready(struct lmtp_session *s)
{
	while (s->answered < s->delivery_count && s->deliveries[s->answered]->done) {
		struct lmtp_delivery *d = s->deliveries[s->answered++];
		bool last = s->answered == s->delivery_count;
		int code = d->code;
		char text[360];

		snprintf(text, sizeof(text), d->code == 0 ? "<%s> Delivered" : "%s", d->code == 0 ? d->address : d->text);
		log_event(d->code == 0 ? EV_lmtp_accepted : EV_lmtp_failed, daemon_log(s->lmtpd->daemon), F_STR("to", d->address),
		    F_U64("size", s->content->size), F_STR("status", d->code == 0 ? "delivered" : d->text), F_STR("rip", conn_peer(s->conn)));
		if (last) {
			deliveries_drop(s);
			lmtp_content_release(&s->content);
		}
		smtp_server_data_done(s->server, code, span_str(text));
		if (last)
			return;
	}
}

void lmtp_delivered(struct lmtp_delivery *d)
{
	struct lmtp_session *s = d->session;

	d->done = true;
	if (s == NULL) {
		free(d);
		return;
	}
	answer_ready(s);
	go_on(s);
}

/* Copies that outlive the transaction and the session; false without memory. */
static bool deliveries_make(struct lmtp_session *s, const struct smtp_transaction *tx)
{
	s->deliveries = calloc(tx->recipient_count + 1, sizeof(struct lmtp_delivery *));
	for (const struct smtp_recipient *r = tx->recipients; r != NULL && s->deliveries != NULL; r = r->next) {
		struct lmtp_delivery *d = malloc(sizeof(*d));

		if (d == NULL)
			return false;
		*d = *(const struct lmtp_delivery *)r->owner;
		d->session = s;
		d->done = true; /* until it flies */
		randombytes_buf(d->key, sizeof(d->key));
		s->deliveries[s->delivery_count++] = d;
	}
	return s->deliveries != NULL;
}

static void on_data_end(void *arg, struct smtp_server *server)
{
	struct lmtp_session *s = arg;
	const struct smtp_transaction *tx = smtp_server_transaction(server);
	uint32_t count = tx->recipient_count;

	if (!deliveries_make(s, tx)) {
		deliveries_drop(s);
		lmtp_content_release(&s->content);
		while (count-- > 0)
			smtp_server_data_done(server, E_NOMEM, SPAN_LIT("out of memory"));
		return;
	}
	for (size_t i = 0; i < s->delivery_count; i++) {
		struct lmtp_delivery *d = s->deliveries[i];

		d->done = false;
		d->code = lmtp_deliver(s->lmtpd, d, s->content, tx->sender);
		d->done = d->code != 0;
	}
	answer_ready(s);
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	struct lmtp_session *s = arg;

	(void)server;
	log_event(EV_smtp_reject, daemon_log(s->lmtpd->daemon), F_SPAN("reply", reply), F_STR("rip", conn_peer(s->conn)));
}

static const struct smtp_server_callbacks engine_callbacks = {.rcpt = on_rcpt, .data_begin = on_data_begin, .data = on_data, .data_end = on_data_end,
    .data_abort = on_data_abort, .refused = on_refused};

/* ---- bytes ---- */

/* Found by name each time: a reload makes the blocks anew. */
static struct conf_where where_of(const struct lmtpd *lmtpd, const struct lmtpd_listener *listener)
{
	return (struct conf_where){.listener = conf_listener_find(daemon_conf(lmtpd->daemon), SPAN_LIT("lmtp"), span_str(listener->address))};
}

static void set_timeout(struct lmtp_session *s)
{
	const struct conf_where where = where_of(s->lmtpd, s->listener);

	conn_timeout(s->conn, conf_ms(daemon_conf(s->lmtpd->daemon), CONF_smtp_timeout, &where));
}

static void on_input(void *arg, struct conn *conn)
{
	struct lmtp_session *s = arg;
	size_t consumed;
	enum smtp_event event = smtp_server_feed(s->server, conn_input(conn), &consumed);

	conn_consume(conn, consumed);
	set_timeout(s);
	if (event == SMTP_CLOSE)
		conn_finish(conn);
	else if (s->lmtpd->halting && !smtp_server_waits(s->server) && !smtp_server_in_content(s->server))
		lmtp_session_shutdown(s);
}

static void on_closed(void *arg, struct conn *conn, const struct err *why)
{
	struct lmtp_session *s = arg;

	if (why->code == E_NOMEM)
		log_event(EV_smtp_failed, daemon_log(s->lmtpd->daemon), F_STR("rip", conn_peer(conn)), F_ERR(why));
	session_end(s);
}

static const struct conn_callbacks client_callbacks = {on_input, on_closed, NULL, NULL};

static struct smtp_server *make_server(struct lmtp_session *s, const struct conf_where *where)
{
	const struct conf *conf = daemon_conf(s->lmtpd->daemon);
	struct smtp_server_config config = {.hostname = conf_text(conf, CONF_hostname, NULL),
	    .limits = {.message_size = conf_u64(conf, CONF_message_size, where),
		.header_size = conf_u64(conf, CONF_header_size, NULL),
		.received_lines = (uint32_t)conf_u64(conf, CONF_received_lines, NULL),
		.recipients = (uint32_t)conf_u64(conf, CONF_recipients, where),
		.errors = (uint32_t)conf_u64(conf, CONF_session_errors, where)},
	    .lmtp = true};

	return smtp_server_new(&config, &engine_callbacks, s, conn_output(s->conn));
}

static void refuse_at_door(struct lmtpd *lmtpd, int fd, const char *peer, const char *why)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "421 4.3.2 %s\r\n", why);

	(void)!send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_event(EV_smtp_refused, daemon_log(lmtpd->daemon), F_STR("rip", peer), F_STR("reason", why));
}

void lmtp_session_start(struct lmtpd *lmtpd, const struct lmtpd_listener *listener, int fd, const char *peer)
{
	const struct conf *conf = daemon_conf(lmtpd->daemon);
	const struct conf_where where = where_of(lmtpd, listener);
	struct lmtp_session *s = calloc(1, sizeof(*s));

	if (s == NULL || lmtpd->session_count >= conf_u64(conf, CONF_connections, &where)) {
		refuse_at_door(lmtpd, fd, peer, s == NULL ? "Out of memory; try again later" : "Too many connections; try again later");
		free(s);
		close(fd);
		return;
	}
	s->lmtpd = lmtpd;
	s->listener = listener;
	s->conn = conn_new(daemon_base(lmtpd->daemon), fd, peer, &client_callbacks, s);
	s->server = s->conn != NULL ? make_server(s, &where) : NULL;
	if (s->server == NULL) {
		refuse_at_door(lmtpd, s->conn != NULL ? conn_fd(s->conn) : -1, peer, "Out of memory; try again later");
		conn_free(&s->conn);
		free(s);
		return;
	}
	s->next = lmtpd->sessions;
	s->link = &lmtpd->sessions;
	if (s->next != NULL)
		s->next->link = &s->next;
	lmtpd->sessions = s;
	lmtpd->session_count++;
	lmtpd->total++;
	set_timeout(s);
	smtp_server_greet(s->server);
	conn_flush(s->conn);
}
