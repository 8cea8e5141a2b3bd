/* A message on its way into the spool: a file from the stock, gathered writes, one commit. */
#include "intake/intake.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/whole.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { ENVELOPE_PIECE = 56 * 1024 };

/* ---- the stock of files ---- */

void stock_refill(struct intake *intake)
{
	struct queue_take ask;

	if (intake->queue == NULL || intake->stock_count + intake->stock_asked > INTAKE_STOCK / 2)
		return;
	ask.count = (uint32_t)(INTAKE_STOCK - intake->stock_count - intake->stock_asked);
	if (ipc_conn_send(intake->queue, &ipc_queue_take, 0, &ask, -1) == 0)
		intake->stock_asked += ask.count;
}

static struct session *next_waiting(struct intake *intake)
{
	struct session *s = intake->waiting_files;

	if (s == NULL)
		return NULL;
	intake->waiting_files = s->wait_next;
	if (intake->waiting_files == NULL)
		intake->waiting_tail = &intake->waiting_files;
	s->wait_next = NULL;
	s->waits_file = false;
	return s;
}

/* RFC 3848 and RFC 6531 section 4.3: what the client could do. */
static const char *protocol_of(const struct session *s)
{
	static const char *const names[2][2][2] = {{{"ESMTP", "ESMTPS"}, {"ESMTPA", "ESMTPSA"}}, {{"UTF8SMTP", "UTF8SMTPS"}, {"UTF8SMTPA", "UTF8SMTPSA"}}};
	bool utf8 = smtp_server_transaction(s->server)->smtputf8;

	if (!utf8 && !smtp_server_extended(s->server) && s->account == 0)
		return "SMTP";
	return names[utf8][s->account != 0][conn_is_tls(s->conn)];
}

/* Where its users are is nobody's business (received-client). */
static void add_received_from(struct session *s)
{
	bool tls = conn_is_tls(s->conn), v6 = strchr(conn_peer(s->conn), ':') != NULL;

	if (s->intake->kind->submission && !conf_bool(daemon_conf(s->intake->daemon), CONF_received_client, &s->where)) {
		buf_add_str(&s->content, "Received: ");
		return;
	}
	/* RFC 5321 section 4.4; what the client said stands beside what we saw. */
	buf_printf(&s->content, "Received: from %.*s ([%s%s])", SPAN_ARG(smtp_server_helo(s->server)), v6 ? "IPv6:" : "", conn_peer(s->conn));
	if (tls)
		buf_printf(&s->content, "\r\n\t(using %s with cipher %s)", conn_tls_version(s->conn), conn_tls_cipher(s->conn));
	buf_add_str(&s->content, "\r\n\t");
}

static void add_received(struct session *s)
{
	const struct smtp_transaction *tx = smtp_server_transaction(s->server);
	const struct conf *conf = daemon_conf(s->intake->daemon);
	char date[CLOCK_RFC5322_MAX];

	add_received_from(s);
	buf_printf(&s->content, "by %.*s with %s id %s", SPAN_ARG(conf_text(conf, CONF_hostname, NULL)), protocol_of(s), s->id);
	if (tx->recipient_count == 1)
		buf_printf(&s->content, "\r\n\tfor <%.*s>", SPAN_ARG(tx->recipients->address));
	buf_printf(&s->content, "; %s\r\n", clock_format_rfc5322(clock_wall(), date));
}

/* A Message-ID of ours is as unique as the spool's id, and tells nothing of the client. */
static void mend_begin(struct session *s)
{
	struct span host = conf_text(daemon_conf(s->intake->daemon), CONF_hostname, NULL);

	clock_format_rfc5322(clock_wall(), s->date);
	snprintf(s->message_id, sizeof(s->message_id), "<%s.%llx@%.*s>", s->id, (unsigned long long)clock_wall_us(), SPAN_ARG(span_sub(host, 0, 80)));
	mend_init(&s->mend, s->date, s->message_id);
}

static void content_start(struct session *s, struct stock file)
{
	s->file = file;
	s->written = 0;
	spool_id_format(file.id, s->id);
	buf_clear(&s->content);
	add_received(s);
	if (s->intake->kind->submission)
		mend_begin(s);
	smtp_server_data_ready(s->server, 0, NULL);
}

static void content_refuse(struct session *s, int code, const char *text)
{
	struct err err;

	err_set(&err, code, "%s", text);
	smtp_server_data_ready(s->server, code, &err);
}

void content_begin(struct session *s)
{
	struct intake *intake = s->intake;

	if (intake->stock_count > 0) {
		content_start(s, intake->stock[--intake->stock_count]);
		stock_refill(intake);
		return;
	}
	/* Without a queue the client waits a moment: a restart takes less. */
	s->waits_file = true;
	s->wait_next = NULL;
	*intake->waiting_tail = s;
	intake->waiting_tail = &s->wait_next;
	conn_timeout(s->conn, INTAKE_WAIT_FILE_MS);
	stock_refill(intake);
}

void stock_add(struct intake *intake, uint64_t id, int fd)
{
	struct stock file = {id, fd};
	struct session *s = next_waiting(intake);

	if (intake->stock_asked > 0)
		intake->stock_asked--;
	if (s != NULL) {
		stock_refill(intake); /* more may wait than were asked for */
		content_start(s, file);
		session_go_on(s);
	} else if (intake->stock_count < INTAKE_STOCK) {
		intake->stock[intake->stock_count++] = file;
	} else {
		struct queue_discard body = {.id = id};

		close(fd);
		ipc_conn_send(intake->queue, &ipc_queue_discard, 0, &body, -1);
	}
}

/* The file came, but there was no descriptor free for it: queue takes it back, and who waited for it tries again later. */
void stock_lost(struct intake *intake, uint64_t id)
{
	struct queue_discard body = {.id = id};
	struct session *s = next_waiting(intake);

	if (intake->stock_asked > 0)
		intake->stock_asked--;
	ipc_conn_send(intake->queue, &ipc_queue_discard, 0, &body, -1);
	if (s == NULL)
		return;
	content_refuse(s, E_NOFILES, err_text(E_NOFILES));
	session_go_on(s);
}

void stock_refused(struct intake *intake, int code)
{
	struct session *s;

	intake->stock_asked = 0;
	while ((s = next_waiting(intake)) != NULL) {
		content_refuse(s, code, err_text(code));
		session_go_on(s);
	}
}

/* ---- content ---- */

/* E_UNAVAILABLE: the queue that the file is of has gone. */
static int flush(struct session *s, struct err *err)
{
	struct span all = buf_span(&s->content);

	if (s->file.fd < 0)
		return err_set(err, E_UNAVAILABLE, "The queue was restarted; send it again");
	if (!pwrite_whole(s->file.fd, all, s->written)) {
		int r = err_set_errno(err, errno, "The message could not be written");

		log_event(EV_smtp_failed, daemon_log(s->intake->daemon), F_STR("qid", s->id), F_ERR(err));
		return err_set(err, r, "%s; try again later", err_text(r));
	}
	s->written += all.len;
	buf_clear(&s->content);
	return 0;
}

int content_add(struct session *s, struct span bytes, struct err *err)
{
	int r = 0;

	if (buf_len(&s->content) + bytes.len > INTAKE_GATHER)
		r = flush(s, err);
	if (r != 0)
		return r;
	if (s->intake->kind->submission)
		mend_feed(&s->mend, bytes, &s->content);
	else
		buf_add_span(&s->content, bytes);
	return buf_failed(&s->content) ? err_set(err, E_NOMEM, "Out of memory; try again later") : 0;
}

static void fill_recipients(const struct smtp_transaction *tx, struct spool_recipient *out)
{
	for (const struct smtp_recipient *r = tx->recipients; r != NULL; r = r->next, out++) {
		const struct verdict *v = r->owner;

		if (v->remote) {
			*out = (struct spool_recipient){.address = r->address, .orcpt = r->orcpt, .notify = r->notify};
			continue;
		}
		*out = (struct spool_recipient){.address = r->address, .orcpt = r->orcpt, .notify = r->notify, .local = true,
		    .account = v->account, .quota = v->quota, .canonical = span_str(v->address), .detail = span_str(v->detail),
		    .grant = span_of(v->grant, v->grant_len)};
	}
}

/* RFC 6531 section 3.5: whether the next host must have SMTPUTF8 too, which is not the same as that this client asked for it. */
static bool needs_utf8(const struct smtp_transaction *tx)
{
	bool needs = tx->utf8_content || !utf8_is_ascii(tx->sender);

	for (const struct smtp_recipient *r = tx->recipients; r != NULL; r = r->next)
		needs |= !utf8_is_ascii(r->address);
	return needs && tx->smtputf8;
}

static int encode_envelope(struct session *s, struct buf *out)
{
	const struct smtp_transaction *tx = smtp_server_transaction(s->server);
	struct spool_recipient *recipients = pool_array(tx->pool, tx->recipient_count, sizeof(*recipients));
	struct spool_envelope envelope = {.source = s->intake->kind->submission ? SPOOL_FROM_SUBMISSION : SPOOL_FROM_SMTP, .arrived = clock_wall(), .sender = tx->sender,
	    .envid = tx->envid, .ret = (enum spool_ret)tx->ret, .body = (enum spool_body)tx->body, .smtputf8 = needs_utf8(tx), .requiretls = tx->requiretls, .tls_optional = tx->tls_optional && !tx->requiretls,
	    .release = tx->release, .submitter = s->account,
	    .client = span_str(conn_peer(s->conn)), .helo = smtp_server_helo(s->server),
	    .recipient_count = tx->recipient_count, .recipients = recipients};

	if (recipients == NULL)
		return E_NOMEM;
	fill_recipients(tx, recipients);
	return spool_envelope_encode(&envelope, out);
}

static int send_commit(struct session *s, struct span envelope)
{
	struct queue_commit body = {.id = s->file.id, .content = s->written};
	int r = 0;

	while (envelope.len > ENVELOPE_PIECE && r == 0) {
		struct queue_envelope piece = {.id = s->file.id, .part = span_sub(envelope, 0, ENVELOPE_PIECE)};

		r = ipc_conn_send(s->intake->queue, &ipc_queue_envelope, 0, &piece, -1);
		envelope = span_from(envelope, ENVELOPE_PIECE);
	}
	body.envelope = envelope;
	return r == 0 ? ipc_conn_send(s->intake->queue, &ipc_queue_commit, 0, &body, -1) : r;
}

/* In the order in which they were sent, which is nearly that of queue's answers. */
static void commit_await(struct session *s)
{
	struct intake *intake = s->intake;

	s->waits_commit = true;
	s->commit_next = NULL;
	s->commit_link = intake->committing_tail;
	*intake->committing_tail = s;
	intake->committing_tail = &s->commit_next;
}

static void commit_over(struct session *s)
{
	if (!s->waits_commit)
		return;
	s->waits_commit = false;
	*s->commit_link = s->commit_next;
	if (s->commit_next != NULL)
		s->commit_next->commit_link = s->commit_link;
	else
		s->intake->committing_tail = s->commit_link;
}

void content_commit(struct session *s)
{
	struct err err = {0};
	struct buf wire;
	int r;

	if (s->intake->kind->submission)
		mend_end(&s->mend, &s->content);
	r = buf_failed(&s->content) ? err_set(&err, E_NOMEM, "Out of memory; try again later") : flush(s, &err);
	buf_fini(&s->content);
	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	if (r == 0)
		r = encode_envelope(s, &wire);
	if (r == 0)
		r = s->intake->queue ? send_commit(s, buf_span(&wire)) : E_UNAVAILABLE;
	buf_fini(&wire);
	if (r == 0) {
		commit_await(s);
		return;
	}
	content_abort(s);
	smtp_server_data_done(s->server, r, span_str(err.text[0] ? err.text : err_text(r)));
}

static void close_file(struct session *s)
{
	if (s->file.fd >= 0)
		close(s->file.fd);
	s->file.fd = -1;
	commit_over(s);
	buf_fini(&s->content);
}

void content_abort(struct session *s)
{
	struct queue_discard body = {.id = s->file.id};

	if (s->file.fd < 0)
		return;
	if (s->intake->queue != NULL && !s->waits_commit)
		ipc_conn_send(s->intake->queue, &ipc_queue_discard, 0, &body, -1);
	close_file(s);
}

/* Who logged in may send as an alias, and from an address that many have: only the account's name leads to the password that was used. */
static void log_queued(struct session *s)
{
	const struct smtp_transaction *tx = smtp_server_transaction(s->server);
	const struct log_ctx *ctx = daemon_log(s->intake->daemon);

	if (s->account != 0)
		log_event(EV_smtp_queued, ctx, F_STR("qid", s->id), F_SPAN("from", tx->sender), F_SPAN("to", tx->recipients->address),
		    F_U64("rcpts", tx->recipient_count), F_U64("size", s->written), F_STR("rip", conn_peer(s->conn)), F_STR("user", s->user));
	else
		log_event(EV_smtp_queued, ctx, F_STR("qid", s->id), F_SPAN("from", tx->sender), F_SPAN("to", tx->recipients->address),
		    F_U64("rcpts", tx->recipient_count), F_U64("size", s->written), F_STR("rip", conn_peer(s->conn)));
}

void content_committed(struct intake *intake, uint64_t id, int code, struct span text)
{
	struct session *s = intake->committing;
	char line[300];

	while (s != NULL && s->file.id != id)
		s = s->commit_next;
	if (s == NULL) {
		spool_id_format(id, line);
		if (code == 0)
			log_event(EV_smtp_reply_lost, daemon_log(intake->daemon), F_STR("qid", line));
		return;
	}
	if (code == 0) {
		log_queued(s);
		rate_use(s);
		snprintf(line, sizeof(line), "Ok: queued as %s", s->id);
	} else {
		log_event(EV_smtp_failed, daemon_log(intake->daemon), F_STR("qid", s->id), F_SPAN("error", text));
		snprintf(line, sizeof(line), "%s; try again later", err_text(code));
	}
	close_file(s);
	smtp_server_data_done(s->server, code, span_str(line));
	session_go_on(s);
}

/* queue went away. What was committed may be safe or not: 451 makes the client repeat it; the stock is worth nothing now. */
void content_service_lost(struct intake *intake)
{
	struct session *s = intake->sessions;

	while (intake->stock_count > 0)
		close(intake->stock[--intake->stock_count].fd);
	intake->stock_asked = 0;
	while (s != NULL) {
		struct session *next = s->next;

		if (s->waits_commit) {
			rate_use(s); /* it may have it */
			close_file(s);
			smtp_server_data_done(s->server, E_UNAVAILABLE, SPAN_LIT("The queue was restarted; send it again"));
			session_go_on(s);
		} else if (s->file.fd >= 0) {
			close_file(s); /* flush fails on the missing file: 451 */
		}
		s = next;
	}
}

void content_forget(struct session *s)
{
	struct session **link = &s->intake->waiting_files;

	if (s->waits_file) {
		while (*link != s)
			link = &(*link)->wait_next;
		*link = s->wait_next;
		if (*link == NULL)
			s->intake->waiting_tail = link;
		s->waits_file = false;
	}
	content_abort(s);
}
