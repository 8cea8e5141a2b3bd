/* The channel to queue: jobs in, results out. */
#include "relay/relay.h"

#include "net/ipc_conn.h"
#include "spool/spool.h"

#include <stdlib.h>
#include <unistd.h>

struct channel {
	struct channel *next, **link;
	struct relay *relay;
	struct ipc_conn *conn;
};

/* ---- jobs ---- */

void channel_send(struct channel *channel, const struct ipc_type *type, uint32_t id, const void *body)
{
	ipc_conn_answer(channel->conn, type, id, body, -1);
}

static void on_result(void *arg, const struct job *job, const struct job_result *r)
{
	struct relay_result body = {.recipient = r->recipient, .code = r->code, .maybe = r->maybe, .reached = r->reached, .pause = r->pause, .last = r->last, .dsn = r->dsn, .said = r->said,
	    .host = span_str(r->host), .address = span_str(r->address), .tls = span_str(r->tls), .text = span_str(r->text)};

	channel_send(arg, &ipc_relay_result, job->id, &body);
}

static const struct job_owner owner = {on_result, NULL, NULL};

/* E_SYNTAX: its recipients are none; E_NOMEM. */
static int fill(struct job *job, const struct relay_deliver *m)
{
	struct pool *pool = job->pool;
	size_t count;
	int r = recipients_decode(pool, pool_span(pool, m->recipients), &job->recipients, &count);

	if (r != 0)
		return r;
	job->queue_id = pool_span(pool, m->queue_id);
	if (!job_take_domain(job, m->domain)) /* what cannot be asked for is found to be nobody's */
		job->domain = pool_span(pool, m->domain);
	job->content = pool_span(pool, m->content);
	job->tls_optional = m->tls_optional;
	job->message = (struct smtp_client_message){.sender = pool_span(pool, m->sender), .envid = pool_span(pool, m->envid), .ret = m->ret, .size = m->size,
	    .eightbit = m->body == SPOOL_BODY_8BITMIME, .binary = m->body == SPOOL_BODY_BINARYMIME, .smtputf8 = m->smtputf8, .requiretls = m->requiretls,
	    .recipients = job->recipients, .recipient_count = count};
	return pool_starved(pool) ? E_NOMEM : 0;
}

static bool is_right(const struct relay_deliver *m, const struct ipc_message *message)
{
	bool file = message->fd >= 0 || message->fd_lost;

	return m->ret <= SPOOL_RET_HDRS && m->body <= SPOOL_BODY_BINARYMIME && (file ? m->content.len == 0 : m->content.len == m->size);
}

/* Queue settles the whole job by its last result. That a channel ends for it would cost all jobs of it their results, and some recipients a second copy. */
static int refuse_all(struct channel *channel, uint32_t id, int code)
{
	struct relay_result body = {.code = code, .reached = true, .last = true};

	body.text = code == E_NOMEM ? SPAN_LIT("451 4.3.0 out of memory") : SPAN_LIT("554 5.5.4 the message's recipients are malformed");

	channel_send(channel, &ipc_relay_result, id, &body);
	return 0;
}

static int deliver(struct channel *channel, struct ipc_message *message)
{
	const struct relay_deliver *m = (const void *)message->body;
	struct job *job = job_new(channel->relay, &owner, channel);
	struct err err = {0};
	int r;

	if (job == NULL || !is_right(m, message)) {
		if (message->fd >= 0)
			close(message->fd);
		if (job != NULL)
			job_free(job);
		return job ? E_PROTO : refuse_all(channel, message->id, E_NOMEM);
	}
	job->id = message->id;
	job->fd = message->fd;
	r = fill(job, m);
	if (r != 0) {
		job_free(job);
		return refuse_all(channel, message->id, r);
	}
	r = settings_way(channel->relay, job->pool, m->transport, m->sender, &job->way, &err);
	if (r == 0 && m->host.len > 0 && (r = settings_redirect(job->pool, m->host, &job->way)) != 0)
		err_set(&err, r, "4.3.0 out of memory");
	if (message->fd_lost)
		result_all(job, E_NOFILES, true, "4.3.2 no descriptor is free for the message's file");
	else if (r != 0)
		result_all(job, r, true, err.text);
	else
		job_start(job);
	return 0;
}

static void cancel(struct channel *channel, uint32_t id)
{
	for (struct job *job = channel->relay->jobs; job != NULL; job = job->next)
		if (job->arg == channel && job->id == id) {
			job_cancel(job);
			return;
		}
}

/* ---- the channel ---- */

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *message)
{
	struct channel *channel = arg;

	(void)conn;
	if (message->type == &ipc_relay_deliver)
		return deliver(channel, message);
	if (message->type == &ipc_relay_mailed) {
		reports_mailed(channel->relay, message->id, ((const struct relay_mailed *)(const void *)message->body)->code);
		return 0;
	}
	if (message->type == &ipc_relay_plan) {
		plan_begin(channel->relay, channel, message->id, (const void *)message->body);
		return 0;
	}
	cancel(channel, message->id);
	return 0;
}

/* Queue tries again what it has no result of: what has not begun does not begin, what has begun cannot be taken back. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct channel *channel = arg;
	struct job *job = channel->relay->jobs;

	(void)conn;
	while (job != NULL) {
		struct job *next = job->next;

		if (job->arg == channel) {
			job->arg = NULL;
			job_cancel(job);
		}
		job = next;
	}
	*channel->link = channel->next;
	if (channel->next != NULL)
		channel->next->link = channel->link;
	reports_mail_lost(channel->relay);
	free(channel);
}

int channel_mail(struct relay *relay, uint32_t id, const struct relay_mail *mail)
{
	return relay->channels != NULL ? ipc_conn_send(relay->channels->conn, &ipc_relay_mail, id, mail, -1) : E_CLOSED;
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

void channel_new(struct relay *relay, int fd)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (channel == NULL) {
		close(fd);
		return;
	}
	channel->relay = relay;
	channel->next = relay->channels;
	channel->link = &relay->channels;
	if (channel->next != NULL)
		channel->next->link = &channel->next;
	relay->channels = channel;
	channel->conn = ipc_conn_new(daemon_base(relay->daemon), fd, &ipc_service_relay, TO_SERVICE, &callbacks, channel);
	if (channel->conn == NULL) {
		*channel->link = channel->next;
		if (channel->next != NULL)
			channel->next->link = channel->link;
		free(channel);
	}
}
