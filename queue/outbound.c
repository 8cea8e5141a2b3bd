/* Mail to other hosts: targets become jobs, jobs go to relay when their destination takes them, results come back. */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"
#include "queue/said.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	JOB_BYTES = 20000, /* of recipients in one relay_deliver */
	OUTBOUND_WAITING = 2 * 1024 * 1024, /* octets that wait for relay to read; then no more are sent */
	OUTBOUND_LOOK_MS = 10, /* between two looks at all jobs that wait, at least, however many destinations have a rate */
	OUTBOUND_CROWDED_MS = 100, /* then it is looked whether relay has read */
	OUTBOUND_NO_RELAY_S = 30,
	OUTBOUND_KEPT_S = 30,
	OUTBOUND_FULL_S = 10,
	OUTBOUND_SPREAD = 4, /* what was put off comes again within a quarter of the wait behind it */
};

/* ---- jobs ---- */

/* Its targets are under way until then. */
static void job_free(struct job *job)
{
	struct message *m = job->message;

	free(job->domain);
	free(job);
	m->busy--;
	message_step(m);
}

static unsigned bytes_of(const struct target *t)
{
	return (unsigned)(t->address.len + t->message->file.envelope.recipients[t->recipient].orcpt.len + 5);
}

static void job_add(struct job *job, struct target *t)
{
	struct target **link = &job->targets;

	while (*link != NULL)
		link = &(*link)->job_next;
	t->job_next = NULL;
	*link = t;
	job->count++;
	job->bytes += bytes_of(t);
}

static struct job *job_new(struct destination *d, struct message *m, const char *domain)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job != NULL)
		job->domain = strdup(domain);
	if (job != NULL && job->domain == NULL) {
		free(job);
		job = NULL;
	}
	if (job != NULL) {
		job->destination = d;
		job->message = m;
		m->busy++;
	}
	return job;
}

static void job_fail(struct job *job, int code, struct span line)
{
	for (struct target *t = job->targets; t != NULL; t = t->job_next)
		target_reply(t, code, line);
	job_free(job);
}

static void put_off(struct job *job, int64_t until, struct span why, bool tells)
{
	int64_t now = queue_now(job->message->queue), wait = until > now ? until - now : 1;

	until = now + wait + (int64_t)randombytes_uniform((uint32_t)(wait / OUTBOUND_SPREAD + 1));
	for (struct target *t = job->targets; t != NULL; t = t->job_next)
		target_put_off(t, until, why, tells);
	job_free(job);
}

/* Without an attempt of its own: nothing goes there now. */
void outbound_put_off(struct job *job, int64_t until, struct span why)
{
	put_off(job, until, why, true);
}

/* Its turn comes soon: what is late is not given up before it has had it. */
static void await_turn(struct job *job, int64_t wait, struct span why)
{
	put_off(job, queue_now(job->message->queue) + wait, why, false);
}

static void await_full(struct job *job)
{
	await_turn(job, OUTBOUND_FULL_S, SPAN_LIT("451 4.4.5 others wait for the same destination"));
}

/* As if it had not been tried. */
static void job_give_back(struct job *job)
{
	int64_t now = queue_now(job->message->queue);

	for (struct target *t = job->targets; t != NULL; t = t->job_next)
		t->state = TARGET_PUT_OFF;
	if (job->message->put_off < now)
		job->message->put_off = now;
	job_free(job);
}

struct withdrawal {
	const struct message *message;
	struct job *jobs;
};

static void withdraw_one(void *arg, struct destination *d)
{
	struct withdrawal *w = arg;
	struct job *jobs = destination_withdraw(d, w->message);

	while (jobs != NULL) {
		struct job *job = jobs;

		jobs = job->next;
		job->next = w->jobs;
		w->jobs = job;
	}
}

void outbound_withdraw(struct message *m)
{
	struct withdrawal w = {.message = m, .jobs = sending_withdraw(m->queue, m)};

	destination_each(m->queue, withdraw_one, &w);
	while (w.jobs != NULL) {
		struct job *job = w.jobs;

		w.jobs = job->next;
		job_give_back(job);
	}
}

static void put_off_dead(struct destination *d, struct job *job)
{
	char text[DESTINATION_WHY + ROUTE_KEY_MAX + 40];

	snprintf(text, sizeof(text), "451 4.4.1 %s does not answer: %s", d->key, d->why);
	outbound_put_off(job, d->dead_until, span_str(text));
}

/* ---- on their way ---- */

/* In relay_deliver's form. */
static void put_text(struct buf *out, struct span s)
{
	unsigned char len[2] = {(unsigned char)s.len, (unsigned char)(s.len >> 8)};

	buf_add(out, len, sizeof(len));
	buf_add_span(out, s);
}

/* A spool of an earlier version may have a NUL in what a client gave as ORCPT or ENVID; relay takes none, and the message goes without. */
static struct span text_or_none(struct span s)
{
	return s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL ? span_of(NULL, 0) : s;
}

static void put_recipients(const struct job *job, struct buf *out)
{
	for (const struct target *t = job->targets; t != NULL; t = t->job_next) {
		const struct spool_recipient *r = &job->message->file.envelope.recipients[t->recipient];

		put_text(out, t->address);
		put_text(out, text_or_none(r->orcpt));
		buf_add_char(out, (char)r->notify);
	}
}

static int send_job(struct queue *queue, struct job *job)
{
	static char small[QUEUE_INLINE_MAX];
	const struct message *m = job->message;
	const struct spool_envelope *e = &m->file.envelope;
	char id[SPOOL_ID_TEXT];
	struct relay_deliver body = {.queue_id = span_of(id, SPOOL_ID_TEXT - 1), .domain = span_str(job->domain), .transport = span_str(job->destination->pattern),
	    .host = span_str(job->destination->host != NULL ? job->destination->host : ""), .size = m->file.content, .body = e->body, .smtputf8 = e->smtputf8, .requiretls = e->requiretls, .tls_optional = e->tls_optional,
	    .ret = e->ret, .envid = text_or_none(e->envid), .sender = target_sender(job->targets)};
	struct buf recipients;
	int fd = -1, r;

	spool_id_format(m->id, id);
	buf_init(&recipients, JOB_BYTES + 2048);
	put_recipients(job, &recipients);
	body.recipients = buf_span(&recipients);
	r = buf_failed(&recipients) ? E_NOMEM : message_content(job->message, small, sizeof(small), &body.content, &fd);
	if (r == 0) {
		job->id = ++queue->last_job;
		r = ipc_conn_send(queue->relay, &ipc_relay_deliver, job->id, &body, fd);
	}
	if (fd >= 0)
		close(fd);
	buf_fini(&recipients);
	return r;
}

static void fly(struct queue *queue, struct job *job)
{
	job->next = queue->jobs;
	queue->jobs = job;
}

static void pump(struct destination *d)
{
	struct queue *queue = d->queue;
	struct job *job;

	if (queue->relay != NULL && d->waiting.count > 0 && ipc_conn_waiting(queue->relay) >= OUTBOUND_WAITING)
		outbound_come_back(queue, OUTBOUND_CROWDED_MS);
	while (queue->relay != NULL && !queue->halting && ipc_conn_waiting(queue->relay) < OUTBOUND_WAITING && (job = destination_take(d)) != NULL) {
		bool is_kept = job->message->deleted || job->message->held; /* by an administrator, while it waited here */
		int r = is_kept ? E_BUSY : send_job(queue, job);

		if (r == 0 || r == E_CLOSED) { /* relay has just ended: on_relay_closed comes */
			fly(queue, job);
			continue;
		}
		destination_release(d);
		if (is_kept)
			outbound_put_off(job, queue_now(d->queue), SPAN_LIT("451 4.3.0 it is kept by this server's administrator"));
		else
			job_fail(job, E_UNAVAILABLE, SPAN_LIT("451 4.3.0 it could not be handed to the relay"));
	}
}

void outbound_wake(struct destination *d)
{
	d->dead_until = d->dead_until != 0 ? 1 : 0; /* one job tries it */
	pump(d);
}

void outbound_retry(const struct message *m)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++) {
		struct destination *d;
		struct route route;

		if (!message_is_open(&m->states[i]) || !route_find(daemon_conf(m->queue->daemon), m->file.envelope.recipients[i].address, m->states[i].way, &route))
			continue;
		d = destination_find(m->queue, span_str(route.key));
		if (d != NULL)
			outbound_wake(d);
	}
}

/* ---- new jobs: those of one turn of the loop, so that a message's recipients at a destination go together ---- */

static void enter(struct destination *d, struct job *job)
{
	if (!destination_enter(d, job)) {
		job_fail(job, E_NOMEM, SPAN_LIT("451 4.3.0 out of memory"));
		return;
	}
	pump(d);
	job = destination_crowd_out(d);
	if (job != NULL)
		await_full(job);
}

void outbound_settle(struct job *job)
{
	struct destination *d = job->destination;

	if (d->queue->relay == NULL)
		await_turn(job, OUTBOUND_NO_RELAY_S, SPAN_LIT("451 4.3.2 the relay is not running"));
	else if (destination_is_dead(d, queue_now(d->queue)))
		put_off_dead(d, job);
	else if (d->paused || d->kept)
		outbound_put_off(job, queue_now(d->queue) + OUTBOUND_KEPT_S, SPAN_LIT("451 4.3.0 mail for this destination is kept by this server's administrator"));
	else if (!destination_has_room(d, job))
		await_full(job);
	else if (sending_may_go(d->queue, job)) /* else it comes back */
		enter(d, job);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	struct job *jobs = queue->new_jobs;

	(void)fd;
	(void)what;
	queue->new_jobs = NULL;
	queue->new_jobs_tail = &queue->new_jobs;
	while (jobs != NULL) {
		struct job *job = jobs;

		jobs = job->next;
		job->next = NULL;
		outbound_settle(job);
	}
}

static struct job *find_new(struct queue *queue, const struct target *t, const struct destination *d)
{
	for (struct job *job = queue->new_jobs; job != NULL; job = job->next)
		if (job->message == t->message && job->destination == d && span_eq(target_sender(job->targets), target_sender(t)) && job->count < JOB_RECIPIENTS && job->bytes + bytes_of(t) <= JOB_BYTES)
			return job;
	return NULL;
}

static struct job *add_new(struct queue *queue, struct target *t, struct destination *d, const char *domain)
{
	struct timeval now = {0};
	struct job *job = job_new(d, t->message, domain);

	if (job == NULL)
		return NULL;
	job->tried_before = t->message->states[t->recipient].attempts > 0;
	*queue->new_jobs_tail = job;
	queue->new_jobs_tail = &job->next;
	evtimer_add(queue->turn, &now);
	return job;
}

/* "5.7.1 We do not write to them", of the transport block, as a reply. */
static void refuse(struct target *t, struct span text)
{
	bool temporary = text.ptr[0] == '4';
	char line[400];

	snprintf(line, sizeof(line), "%s %.*s", temporary ? "450" : "550", SPAN_ARG(span_sub(text, 0, 380)));
	target_reply(t, temporary ? E_UNAVAILABLE : E_CANNOT, span_str(line));
}

void outbound_target(struct target *t)
{
	struct queue *queue = t->message->queue;
	const struct conf *conf = daemon_conf(queue->daemon);
	struct route route;
	struct destination *d;
	struct job *job;

	if (span_eq(t->address, t->message->file.envelope.recipients[t->recipient].address))
		t->message->states[t->recipient].elsewhere = true;
	if (target_was_done(t)) {
		target_reply(t, 0, SPAN_LIT("250 2.0.0 done"));
		return;
	}
	if (!route_find(conf, t->address, t->message->states[t->recipient].way, &route)) {
		target_reply(t, E_SYNTAX, SPAN_LIT("550 5.1.2 there is no domain in the address that mail could go to"));
		return;
	}
	if (route.transport != NULL && conf_text(conf, CONF_transport_error, &(struct conf_where){.transport = route.transport}).len > 0) {
		refuse(t, conf_text(conf, CONF_transport_error, &(struct conf_where){.transport = route.transport}));
		return;
	}
	d = destination_of_route(queue, &route);
	job = d != NULL ? find_new(queue, t, d) : NULL;
	if (d != NULL && job == NULL)
		job = add_new(queue, t, d, route.domain);
	if (job == NULL) {
		target_reply(t, E_NOMEM, SPAN_LIT("451 4.3.0 out of memory"));
		return;
	}
	t->state = TARGET_IN_FLIGHT;
	job_add(job, t);
}

/* ---- results ---- */

static struct job **find_flying(struct queue *queue, uint32_t id)
{
	struct job **link = &queue->jobs;

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

static struct target *target_at(struct job *job, uint32_t place)
{
	struct target *t = job->targets;

	while (t != NULL && place-- > 0)
		t = t->job_next;
	return t != NULL && t->state == TARGET_IN_FLIGHT ? t : NULL;
}

/* Those that a host put off for their number go once more, at once. */
static void repeat_rest(struct job *job)
{
	struct job *again = NULL;

	for (struct target *t = job->targets, *next; t != NULL; t = next) {
		next = t->job_next;
		if (t->state != TARGET_AGAIN)
			continue;
		if (again == NULL)
			again = job_new(job->destination, job->message, job->domain);
		if (again == NULL) {
			target_reply(t, E_NOMEM, SPAN_LIT("451 4.3.0 out of memory"));
			continue;
		}
		t->state = TARGET_IN_FLIGHT;
		job_add(again, t);
	}
	if (again == NULL)
		return;
	again->repeats = job->repeats + 1;
	again->tried_before = job->tried_before;
	again->passed = true;
	outbound_settle(again);
}

/* What has no result is put off. */
static void job_settle(struct job *job)
{
	for (struct target *t = job->targets; t != NULL; t = t->job_next)
		if (t->state == TARGET_IN_FLIGHT)
			target_reply(t, E_UNAVAILABLE, SPAN_LIT("451 4.3.0 the relay gave no answer"));
	repeat_rest(job);
	job_free(job);
}

/* relay said "last". */
static void job_end(struct job *job, bool reached, struct span why)
{
	struct destination *d = job->destination;

	destination_answered(d, reached, job->tried_before, why);
	job_settle(job);
	if (destination_is_dead(d, queue_now(d->queue))) {
		while ((job = destination_take_any(d)) != NULL)
			put_off_dead(d, job);
	} else {
		pump(d);
	}
	queue_try_finish(d->queue);
}

static struct span words_of(const struct relay_result *body, char out[SPOOL_TEXT_MAX + 1])
{
	const struct said said = {.host = body->host, .address = body->address, .tls = body->tls, .by_host = body->said, .reply = body->text};

	return said_format(&said, out);
}

static void take_result(struct target *t, const struct relay_result *body, struct span words)
{
	target_reply(t, body->code, words);
	if (body->code == 0 && body->dsn && target_is_all(t))
		t->message->states[t->recipient].told = true;
}

static int on_relay(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct queue *queue = arg;
	const struct relay_result *body = (const void *)m->body;
	struct job **link = find_flying(queue, m->id), *job = *link;
	char text[SPOOL_TEXT_MAX + 1];
	struct span words;
	struct target *t;

	(void)conn;
	if (m->type == &ipc_relay_mail)
		return relay_mail_take(queue, m->id, (const void *)m->body);
	if (m->type == &ipc_relay_step || m->type == &ipc_relay_planned) {
		explain_relay(queue, m);
		return 0;
	}
	if (m->type != &ipc_relay_result || job == NULL)
		return E_PROTO;
	t = target_at(job, body->recipient);
	if (t == NULL)
		return E_PROTO;
	words = words_of(body, text);
	if (body->last)
		*link = job->next;
	if (body->code == E_LIMIT && body->reached && job->repeats < JOB_REPEATS && job->count > 1)
		t->state = TARGET_AGAIN;
	else
		take_result(t, body, words);
	if (body->last)
		job_end(job, body->reached, words);
	else if (body->pause)
		message_step(job->message); /* which the job keeps: only what is done is written down */
	return 0;
}

/* What it had under way may have been taken by the remote hosts or not: it comes again in its own time. */
static void relay_lost(struct queue *queue)
{
	struct job *jobs = queue->jobs;

	queue->relay = NULL;
	queue->jobs = NULL;
	explain_lost(queue, true);
	while (jobs != NULL) {
		struct job *job = jobs;

		jobs = job->next;
		destination_release(job->destination);
		job_settle(job);
	}
	queue_try_finish(queue);
}

static void on_relay_closed(void *arg, struct ipc_conn *conn)
{
	struct queue *queue = arg;

	(void)conn;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "relay"));
	daemon_peer_lost(queue->daemon, "relay");
	relay_lost(queue);
}

static const struct ipc_conn_callbacks relay_callbacks = {on_relay, on_relay_closed};

static void pump_one(void *arg, struct destination *d)
{
	(void)arg;
	pump(d);
}

static void on_rate(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;

	(void)fd;
	(void)what;
	queue->rate_ms = 0;
	destination_each(queue, pump_one, NULL);
}

void outbound_come_back(struct queue *queue, int64_t ms)
{
	int64_t wait = ms > OUTBOUND_LOOK_MS ? ms : OUTBOUND_LOOK_MS, due = clock_monotonic_ms() + wait;
	struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};

	if (queue->rate_ms != 0 && queue->rate_ms <= due)
		return;
	queue->rate_ms = due;
	evtimer_add(queue->rate, &tv);
}

void outbound_service(struct queue *queue, int fd)
{
	if (queue->relay != NULL) {
		struct ipc_conn *old = queue->relay;

		relay_lost(queue);
		ipc_conn_free(&old);
	}
	queue->relay = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_relay, TO_CLIENT, &relay_callbacks, queue);
	destination_each(queue, pump_one, NULL);
}

bool outbound_flying(const struct queue *queue)
{
	return queue->jobs != NULL && queue->relay != NULL;
}

int outbound_start(struct queue *queue, struct err *err)
{
	queue->new_jobs_tail = &queue->new_jobs;
	queue->turn = evtimer_new(daemon_base(queue->daemon), on_turn, queue);
	queue->rate = evtimer_new(daemon_base(queue->daemon), on_rate, queue);
	if (queue->turn == NULL || queue->rate == NULL)
		return err_set(err, E_NOMEM, "no memory for a timer");
	return sending_start(queue, err) == 0 ? destinations_new(queue, err) : err->code;
}
