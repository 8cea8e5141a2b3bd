/* A message while something is done with it: recipients to targets, results to records, then rest or removal. */
#include "queue/destination.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/waiting.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { MESSAGE_POOL_MAX = 8 * 1024 * 1024, MESSAGE_FEW = 32 };

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
			m->warned = m->warning_noted = true;
		else if (r->status == SPOOL_REQUEUED)
			requeue_apply(m);
		else if (s != NULL && r->status == SPOOL_REROUTED) {
			s->way = r->text;
			m->next = r->when;
		} else if (s != NULL && r->status == SPOOL_DSN_SENT)
			s->told = s->told_noted = true;
		else if (s != NULL && r->status == SPOOL_OWNER)
			s->owner = r->text;
		else if (s != NULL && r->status != SPOOL_TARGET_DONE) {
			if (r->attempts > s->attempts)
				s->tried = r->when;
			s->status = r->status;
			s->attempts = r->attempts;
			s->text = r->text;
			if (r->status == SPOOL_DEFERRED)
				m->next = r->next;
		}
	}
}

uint32_t message_sender(const struct queue *queue, const struct spool_envelope *e)
{
	uint64_t seed;

	memcpy(&seed, queue->key, sizeof(seed)); /* strangers choose senders, but not whose place they share */
	return (uint32_t)((e->submitter != 0 ? checksum(&e->submitter, sizeof(e->submitter), seed) : checksum(e->sender.ptr, e->sender.len, seed)) % QUEUE_SENDERS);
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
	m->sender = message_sender(queue, &file->envelope);
	queue->senders[m->sender]++;
	return m;
}

/* Where all that is open goes is known only of what is elsewhere. */
static void recall(struct message *m)
{
	const struct waiting *w = waiting_find(m->queue->waiting, m->id);

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		m->states[i].elsewhere = w != NULL && w->destination != NULL && message_is_open(&m->states[i]);
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
	r = pool ? spool_read(fd, id, queue->key, content_too, pool, &file, err) : err_set(err, E_NOMEM, "out of memory");
	if (r == 0) {
		*out = message_new(queue, fd, pool, &file);
		if (*out != NULL) {
			recall(*out);
			return 0;
		}
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
	queue->retried_count -= m->retried;
	queue->senders[m->sender]--;
	if (m->fd >= 0)
		close(m->fd);
	pool_free(&pool);
	queue_try_finish(queue);
}

bool message_has_room(const struct queue *queue, uint32_t sender)
{
	unsigned max = queue->active_max, mine = sender < QUEUE_SENDERS ? queue->senders[sender] : 0;

	return queue->active_count < max && mine < max / 2 && (queue->active_count < max - max / 4 || mine < MESSAGE_FEW);
}

/* ---- the results of targets become the recipient's ---- */

static void set_status(struct message *m, uint32_t recipient, enum spool_status status, struct span text)
{
	struct recipient_state *s = &m->states[recipient];

	s->status = status;
	s->dirty = true;
	s->text = pool_span(m->pool, span_sub(text, 0, SPOOL_TEXT_MAX));
}

/* One that is too long for a record is known while the message is in memory. */
static void set_owner(struct recipient_state *s, struct span owner)
{
	s->owner_new |= !span_eq(s->owner, owner) && owner.len <= SPOOL_TEXT_MAX;
	s->owner = owner;
}

/* A recipient is delivered when all its targets are; one that failed for good fails it once the rest has ended. */
static void gather(struct message *m)
{
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++) {
		struct recipient_state *s = &m->states[i];
		const struct target *failed = NULL, *deferred = NULL, *put_off = NULL, *done = NULL;
		unsigned count = 0;

		if (!message_is_open(s) || s->dirty)
			continue;
		for (const struct target *t = m->targets; t != NULL; t = t->next) {
			if (t->recipient != i)
				continue;
			count++;
			if (t->state == TARGET_FAILED)
				failed = t;
			else if (t->state == TARGET_PUT_OFF)
				put_off = t;
			else if (t->state == TARGET_DONE)
				done = t;
			else
				deferred = t;
		}
		if (put_off != NULL && deferred == NULL && !s->incomplete)
			continue; /* nobody tried */
		s->attempts++;
		s->tried = queue_now(m->queue);
		if (failed != NULL || deferred != NULL)
			set_owner(s, (deferred != NULL ? deferred : failed)->sender);
		if (s->incomplete)
			set_status(m, i, SPOOL_DEFERRED, SPAN_LIT("451 4.3.0 not enough memory for all the addresses it leads to"));
		else if (count == 0)
			set_status(m, i, SPOOL_DEFERRED, SPAN_LIT("451 4.3.0 where it leads could not be found out"));
		else if (deferred != NULL)
			set_status(m, i, SPOOL_DEFERRED, deferred->text);
		else if (failed != NULL)
			set_status(m, i, SPOOL_FAILED, failed->text);
		else
			set_status(m, i, SPOOL_DELIVERED, done->account == 0 ? done->text : SPAN_LIT("250 2.0.0 delivered"));
	}
}

static size_t count_open(const struct message *m)
{
	size_t open = 0;

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		open += message_is_open(&m->states[i]);
	return open;
}

/* Only after an attempt since the start: a machine that was off must not bounce a queue full of mail. */
static void expire(struct message *m)
{
	int64_t life = conf_ms(daemon_conf(m->queue->daemon), CONF_queue_lifetime, NULL) / 1000;

	if (schedule_age(m) < life)
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

/* Whether somebody may have it, or a notification of it, who would not know it again, were a power cut to bring it back: a host, a command, a file, its sender. */
static bool may_come_twice(const struct message *m)
{
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (m->states[i].told)
			return true;
	for (const struct target *t = m->targets; t != NULL; t = t->next)
		if (target_is_noted(t))
			return true;
	return false;
}

void message_remove(struct message *m)
{
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	log_event(EV_queue_removed, daemon_log(m->queue->daemon), F_STR("qid", text));
	if (!m->deleted)
		accept_retire(m, may_come_twice(m));
	message_free(m);
}

void message_rest(struct message *m)
{
	if (m->flushed)
		outbound_retry(m);
	if (m->flushed || m->anew)
		m->next = queue_now(m->queue);
	schedule_message(m);
	message_free(m);
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

	for (size_t k = 0; k < 3 && r == 0;) {
		size_t count = dsn_due(m, kinds[k], recipients);

		if (count == 0) {
			k++;
			continue;
		}
		r = dsn_send(m, kinds[k], recipients, count);
		if (r == 0) {
			m->dsn_pending = true;
			return E_AGAIN;
		}
		if (r == E_CANNOT)
			r = 0; /* nobody is to be told of these, which count as told; of others perhaps */
		else if (r == E_AGAIN)
			r = E_UNAVAILABLE; /* a call that was interrupted: none is on its way */
	}
	return r;
}

size_t message_shown(const struct message *m)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (message_is_open(&m->states[i]))
			return i;
	return 0;
}

static void settle(struct message *m)
{
	int r;

	if (m->deleted) {
		message_remove(m);
		return;
	}
	r = send_dsns(m);
	if (r == E_AGAIN)
		return;
	if (r == 0 && count_open(m) > 0 && !record_is_owed(m)) {
		m->next = m->put_off;
		message_rest(m);
	} else if (r != 0 || count_open(m) > 0)
		record_rest(m); /* with a notification still owed it comes round again */
	else
		message_remove(m);
}

void message_bounce(struct message *m)
{
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (message_is_open(&m->states[i]))
			set_status(m, i, SPOOL_FAILED, SPAN_LIT("550 5.0.0 the administrator of this server gave it up"));
	m->let_go = m->held;
	m->held = false;
	settle(m);
}

void message_step(struct message *m)
{
	if (m->busy > 0 && !m->writing && !m->deleted)
		record_done(m);
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

	/* Of what has waited in its file, auth is asked again: quota, account or alias may be another. */
	if (r->local && r->account != 0 && !m->retried) {
		t = message_add_target(m, i, r->account, r->quota, r->canonical, r->detail);
		if (t != NULL)
			deliver_target(t);
	} else if (r->local || m->states[i].anew || message_is_unasked(m)) {
		expand_recipient(m, i);
	} else {
		t = message_add_target(m, i, 0, 0, r->address, span_str(""));
		if (t != NULL)
			outbound_target(t);
	}
}

void message_run(struct message *m)
{
	if (m->held) {
		message_rest(m);
		return;
	}
	if (schedule_is_early(m)) {
		record_keep(m);
		return;
	}
	m->busy++; /* an answer that comes at once must not end the loop early */
	m->targets = NULL;
	m->put_off = 0;
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (message_is_open(&m->states[i]))
			start_recipient(m, i);
	m->busy--;
	message_step(m);
}
