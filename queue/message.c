/* A message while something is done with it: recipients to targets, results to records, then rest or removal. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE_POOL_MAX = 8 * 1024 * 1024 };

static struct message **bucket_of(struct queue *queue, uint64_t id)
{
	return &queue->active[(id ^ id >> 14) % QUEUE_ACTIVE_BUCKETS];
}

struct message *message_find(struct queue *queue, uint64_t id)
{
	struct message *m = *bucket_of(queue, id);

	while (m != NULL && m->id != id)
		m = m->bucket_next;
	return m;
}

/* What the file's records say about each recipient. */
static void apply_records(struct message *m)
{
	for (size_t i = 0; i < m->file.record_count; i++) {
		const struct spool_record *r = &m->file.records[i];
		struct recipient_state *s = r->recipient < m->file.envelope.recipient_count ? &m->states[r->recipient] : NULL;

		if (r->status == SPOOL_HOLD || r->status == SPOOL_RELEASE)
			m->held = r->status == SPOOL_HOLD;
		else if (r->status == SPOOL_WARNED)
			m->warned = true;
		else if (s != NULL && r->status == SPOOL_DSN_SENT)
			s->told = true;
		else if (s != NULL && r->status != SPOOL_TARGET_DONE) {
			s->status = r->status;
			s->attempts = r->attempts;
			s->text = r->text;
			if (r->status == SPOOL_DEFERRED)
				m->next = r->next;
		}
	}
}

struct message *message_new(struct queue *queue, int fd, struct pool *pool, const struct spool_file *file)
{
	struct message *m = pool_new_object(pool, struct message);
	struct message **bucket = bucket_of(queue, file->id);

	if (m != NULL)
		m->states = pool_array(pool, file->envelope.recipient_count, sizeof(*m->states));
	if (m == NULL || m->states == NULL) {
		pool_free(&pool);
		return NULL;
	}
	m->queue = queue;
	m->pool = pool;
	m->id = file->id;
	m->fd = fd;
	m->file = *file;
	apply_records(m);
	m->bucket_next = *bucket;
	*bucket = m;
	queue->active_count++;
	return m;
}

static int load(struct queue *queue, uint64_t id, bool content_too, struct message **out, struct err *err)
{
	struct pool *pool;
	struct spool_file file;
	int fd, r;

	r = queue_open_file(id, O_RDWR, &fd, err);
	if (r != 0)
		return r;
	pool = pool_new(NULL, MESSAGE_POOL_MAX);
	r = pool ? spool_read(fd, id, queue->key, content_too, pool, &file, err) : E_NOMEM;
	if (r == 0) {
		*out = message_new(queue, fd, pool, &file);
		if (*out != NULL)
			return 0;
		pool = NULL;
		r = err_set(err, E_NOMEM, "out of memory");
	}
	pool_free(&pool);
	close(fd);
	return r;
}

int message_load(struct queue *queue, uint64_t id, bool content_too, struct message **out, struct err *err)
{
	int r = load(queue, id, content_too, out, err);

	if (r == E_CORRUPT)
		queue_set_aside(queue, id, err->text);
	return r;
}

void message_free(struct message *m)
{
	struct message **link = bucket_of(m->queue, m->id);
	struct queue *queue = m->queue;
	struct pool *pool = m->pool;

	deliver_forget(m);
	agent_forget(m);
	expand_forget(m);
	while (*link != m)
		link = &(*link)->bucket_next;
	*link = m->bucket_next;
	queue->active_count--;
	if (m->fd >= 0)
		close(m->fd);
	pool_free(&pool);
	queue_try_finish(queue);
}

struct target *message_add_target(struct message *m, uint32_t recipient, uint64_t account, uint64_t quota,
    struct span address, struct span detail)
{
	struct target *t = pool_new_object(m->pool, struct target);
	bool was_incomplete = m->states[recipient].incomplete;

	/* What is left out here would count as delivered. */
	m->states[recipient].incomplete = true;
	if (t == NULL)
		return NULL;
	t->message = m;
	t->recipient = recipient;
	t->account = account;
	t->quota = quota;
	t->address = pool_span(m->pool, address);
	t->detail = pool_span(m->pool, detail);
	if (t->address.ptr == NULL || t->detail.ptr == NULL)
		return NULL;
	m->states[recipient].incomplete = was_incomplete;
	t->next = m->targets;
	m->targets = t;
	return t;
}

struct span target_sender(const struct target *t)
{
	struct span sender = t->message->file.envelope.sender;

	return sender.len > 0 && t->sender.len > 0 ? t->sender : sender;
}

struct target *message_add_program(struct message *m, uint32_t recipient, const struct auth_target *body)
{
	struct target *t = message_add_target(m, recipient, 0, 0, body->address, body->detail);

	if (t == NULL)
		return NULL;
	t->kind = body->kind;
	t->name = pool_span(m->pool, body->name);
	t->program = pool_span(m->pool, body->program);
	t->grant = pool_span(m->pool, body->grant);
	if (t->name.ptr != NULL && t->program.ptr != NULL && t->grant.ptr != NULL)
		return t;
	m->states[recipient].incomplete = true;
	return NULL;
}

static bool is_open(const struct recipient_state *s)
{
	return s->status == SPOOL_PENDING || s->status == SPOOL_DEFERRED;
}

/* ---- the results of targets become the recipient's ---- */

static void set_status(struct message *m, uint32_t recipient, enum spool_status status, struct span text)
{
	struct recipient_state *s = &m->states[recipient];

	s->status = status;
	s->dirty = true;
	s->text = pool_span(m->pool, span_sub(text, 0, SPOOL_TEXT_MAX));
}

static void log_target(const struct target *t, enum log_event_id event)
{
	const struct message *m = t->message;
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	log_event(event, daemon_log(m->queue->daemon), F_STR("qid", text),
	    F_SPAN("to", m->file.envelope.recipients[t->recipient].address), F_SPAN("mailbox", t->address),
	    F_SPAN("status", t->text));
}

/* The mailboxes that a recipient leads to and that must be tried again; none when where it leads is not known. */
static void log_deferred(const struct message *m, uint32_t recipient)
{
	const struct spool_recipient *r = &m->file.envelope.recipients[recipient];
	int64_t wait = m->next - clock_wall();
	bool any = false;
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	for (const struct target *t = m->targets; t != NULL; t = t->next) {
		if (t->recipient != recipient || t->state != TARGET_DEFERRED)
			continue;
		any = true;
		log_event(EV_queue_deferred, daemon_log(m->queue->daemon), F_STR("qid", text), F_SPAN("to", r->address),
		    F_SPAN("mailbox", t->address), F_SPAN("status", t->text), F_I64("retry_in", wait));
	}
	if (!any)
		log_event(EV_queue_deferred, daemon_log(m->queue->daemon), F_STR("qid", text), F_SPAN("to", r->address),
		    F_SPAN("status", m->states[recipient].text), F_I64("retry_in", wait));
}

void target_result(struct target *t, int code, struct span text)
{
	struct message *m = t->message;
	struct buf line;

	buf_init(&line, SPOOL_TEXT_MAX);
	buf_printf(&line, "%d %s%s%.*s", err_smtp_code(code), err_smtp_enhanced(code), text.len > 0 ? " " : "", SPAN_ARG(span_sub(text, 0, 300)));
	t->text = pool_span(m->pool, buf_span(&line));
	buf_fini(&line);
	if (code == 0) {
		t->state = TARGET_DONE;
		m->queue->delivered++;
		log_target(t, EV_queue_delivered);
	} else if (err_is_temp(code)) {
		t->state = TARGET_DEFERRED; /* logged when it is known until when */
	} else {
		t->state = TARGET_FAILED;
		log_target(t, EV_queue_bounced);
	}
}

/* A recipient is delivered when all its targets are; one that failed for good fails it once the rest has ended. */
static void gather(struct message *m)
{
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++) {
		struct recipient_state *s = &m->states[i];
		const struct target *failed = NULL, *deferred = NULL;
		unsigned count = 0;

		if (!is_open(s) || s->dirty)
			continue;
		for (const struct target *t = m->targets; t != NULL; t = t->next) {
			if (t->recipient != i)
				continue;
			count++;
			if (t->state == TARGET_FAILED)
				failed = t;
			else if (t->state != TARGET_DONE)
				deferred = t;
		}
		s->attempts++;
		if (failed != NULL || deferred != NULL)
			s->owner = (deferred != NULL ? deferred : failed)->sender;
		if (s->incomplete)
			set_status(m, i, SPOOL_DEFERRED, SPAN_LIT("451 4.3.0 not enough memory for all the addresses it leads to"));
		else if (count == 0)
			set_status(m, i, SPOOL_DEFERRED, SPAN_LIT("451 4.3.0 where it leads could not be found out"));
		else if (deferred != NULL)
			set_status(m, i, SPOOL_DEFERRED, deferred->text);
		else if (failed != NULL)
			set_status(m, i, SPOOL_FAILED, failed->text);
		else
			set_status(m, i, SPOOL_DELIVERED, SPAN_LIT("250 2.0.0 delivered"));
	}
}

static size_t count_open(const struct message *m)
{
	size_t open = 0;

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		open += is_open(&m->states[i]);
	return open;
}

/* Only after an attempt since the start: a clock that jumped must not bounce a queue full of mail. */
static void expire(struct message *m)
{
	int64_t life = conf_ms(daemon_conf(m->queue->daemon), CONF_queue_lifetime, NULL) / 1000;

	if (clock_wall() - schedule_begin(&m->file.envelope) < life)
		return;
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (m->states[i].status == SPOOL_DEFERRED && m->states[i].dirty && m->states[i].attempts > 1) {
			set_status(m, i, SPOOL_EXPIRED, m->states[i].text);
			char text[SPOOL_ID_TEXT];

			spool_id_format(m->id, text);
			log_event(EV_queue_expired, daemon_log(m->queue->daemon), F_STR("qid", text),
			    F_SPAN("to", m->file.envelope.recipients[i].address));
		}
}

/* ---- rest or removal ---- */

static void remove_message(struct message *m)
{
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	log_event(EV_queue_removed, daemon_log(m->queue->daemon), F_STR("qid", text));
	if (!m->deleted)
		accept_retire(m);
	message_free(m);
}

static void rest(struct message *m)
{
	schedule_message(m);
	message_free(m);
}

static void on_kept(struct disk_job *job)
{
	struct message *m = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(m->queue->daemon), F_ERR(&job->err));
	m->writing = false;
	if (m->deleted)
		remove_message(m);
	else
		rest(m);
}

/*
 * Too early for it (RFC 4865). The record gives the file the mark of one that rests: should it be damaged until its time has
 * come, it is set aside, and not taken for one that nobody was told of.
 */
static void keep(struct message *m)
{
	struct disk_job *job = m->file.record_count == 0 ? calloc(1, sizeof(*job)) : NULL;

	if (job != NULL)
		job->records = calloc(1, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		rest(m);
		return;
	}
	*job->records = (struct spool_record){.status = SPOOL_KEPT, .recipient = UINT32_MAX, .when = clock_wall(), .next = m->file.envelope.release};
	job->record_count = 1;
	m->writing = true;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_kept;
	job->arg = m;
	disk_submit(m->queue->disk, job);
}

static void on_appended(struct disk_job *job)
{
	struct message *m = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(m->queue->daemon), F_ERR(&job->err));
	m->writing = false;
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		m->states[i].dirty = false;
	if (m->deleted)
		remove_message(m);
	else
		rest(m);
}

/* The commands and files that have had the message: what else its recipient leads to is tried again without them. */
static void add_done(const struct message *m, struct disk_job *job)
{
	for (const struct target *t = m->targets; t != NULL; t = t->next)
		if (t->kind != 0 && t->state == TARGET_DONE && is_open(&m->states[t->recipient]) && !agent_was_done(t))
			job->records[job->record_count++] = (struct spool_record){
			    .status = SPOOL_TARGET_DONE, .recipient = t->recipient, .when = clock_wall(), .text = agent_done_text(t)};
}

static size_t count_programs(const struct message *m)
{
	size_t count = 0;

	for (const struct target *t = m->targets; t != NULL; t = t->next)
		count += t->kind != 0;
	return count;
}

/* Writes down what changed; the message rests when it is durable. */
static void record_and_rest(struct message *m)
{
	size_t count = m->file.envelope.recipient_count;
	struct disk_job *job = calloc(1, sizeof(*job));
	uint32_t attempts = 0;

	for (size_t i = 0; i < count; i++)
		if (is_open(&m->states[i]) && m->states[i].attempts > attempts)
			attempts = m->states[i].attempts;
	m->next = clock_wall() + schedule_backoff(daemon_conf(m->queue->daemon), attempts);
	for (uint32_t i = 0; i < count; i++)
		if (m->states[i].status == SPOOL_DEFERRED && m->states[i].dirty)
			log_deferred(m, i);
	if (job != NULL)
		job->records = calloc(2 * count + count_programs(m) + 1, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		rest(m);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct recipient_state *s = &m->states[i];

		if (s->dirty)
			job->records[job->record_count++] = (struct spool_record){.status = s->status,
			    .recipient = i, .attempts = s->attempts, .when = clock_wall(), .next = m->next, .text = s->text};
		if (s->told && s->dirty)
			job->records[job->record_count++] =
			    (struct spool_record){.status = SPOOL_DSN_SENT, .recipient = i, .when = clock_wall()};
	}
	add_done(m, job);
	if (m->warned)
		job->records[job->record_count++] =
		    (struct spool_record){.status = SPOOL_WARNED, .recipient = UINT32_MAX, .when = clock_wall()};
	m->writing = true;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_appended;
	job->arg = m;
	disk_submit(m->queue->disk, job);
}

/*
 * Notifications are queued before the message that caused them may go. 0: none is due any more; E_AGAIN: one
 * is on its way, message_step comes back when it is durable; others: it could not be made now.
 */
static int send_dsns(struct message *m)
{
	static const enum dsn_kind kinds[] = {DSN_FAILURE, DSN_SUCCESS, DSN_DELAY};
	uint32_t *recipients = pool_array(m->pool, m->file.envelope.recipient_count, sizeof(*recipients));
	int r = recipients != NULL ? 0 : E_NOMEM;

	for (size_t k = 0; k < 3 && r == 0; k++) {
		size_t count = dsn_due(m, kinds[k], recipients);

		if (count == 0)
			continue;
		r = dsn_send(m, kinds[k], recipients, count);
		if (r == 0) {
			m->dsn_pending = true;
			return E_AGAIN;
		}
		if (r == E_CANNOT)
			r = 0; /* nobody is to be told */
	}
	return r;
}

static void settle(struct message *m)
{
	int r;

	if (m->deleted) {
		remove_message(m);
		return;
	}
	r = send_dsns(m);
	if (r == E_AGAIN)
		return;
	if (r != 0 || count_open(m) > 0)
		record_and_rest(m); /* with a notification still owed it comes round again */
	else
		remove_message(m);
}

void message_step(struct message *m)
{
	if (m->busy > 0 || m->dsn_pending)
		return;
	gather(m);
	expire(m);
	settle(m);
}

/* A recipient of ours, by auth's word, or one to be expanded, or one elsewhere. */
static void start_recipient(struct message *m, uint32_t i)
{
	const struct spool_recipient *r = &m->file.envelope.recipients[i];
	struct target *t;

	/* After a failure the directory is asked again: quota, account or alias may be another. */
	if (r->local && r->account != 0 && m->states[i].attempts == 0) {
		t = message_add_target(m, i, r->account, r->quota, r->canonical, r->detail);
		if (t != NULL)
			deliver_target(t);
	} else if (r->local || m->file.envelope.source == SPOOL_FROM_BOUNCE || m->file.envelope.source == SPOOL_FROM_LOCAL) {
		/* For pickup nobody has asked auth yet: its letters are taken while auth is away. */
		expand_recipient(m, i);
	} else {
		t = message_add_target(m, i, 0, 0, r->address, span_str(""));
		if (t != NULL)
			target_result(t, E_UNAVAILABLE, SPAN_LIT("mail to other hosts waits for the relay"));
	}
}

void message_run(struct message *m)
{
	if (m->held) {
		rest(m);
		return;
	}
	if (schedule_is_early(m)) {
		keep(m);
		return;
	}
	m->busy++; /* an answer that comes at once must not end the loop early */
	m->targets = NULL;
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (is_open(&m->states[i]))
			start_recipient(m, i);
	m->busy--;
	message_step(m);
}
