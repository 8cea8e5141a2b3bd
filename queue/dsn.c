/*
 * Delivery status notifications (RFC 3461): who is told of what, and when; dsn_report.c writes them. They have the null
 * sender, so that none is ever answered by another; what cannot be told to a
 * sender without an address goes to postmaster, once.
 */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

static bool wants(const struct spool_recipient *r, enum spool_notify what, bool without)
{
	return r->notify == 0 ? without : (r->notify & what) != 0;
}

bool dsn_warns(const struct message *m)
{
	const struct spool_envelope *e = &m->file.envelope;

	for (size_t i = 0; i < e->recipient_count && e->sender.len > 0 && !m->warned; i++)
		if (message_is_open(&m->states[i]) && !m->states[i].warned && wants(&e->recipients[i], SPOOL_NOTIFY_DELAY, true))
			return true;
	return false;
}

/* May this kind be told of the message at all? */
static bool is_told_of(const struct message *m, enum dsn_kind kind)
{
	const struct spool_envelope *e = &m->file.envelope;
	int64_t warn = conf_ms(daemon_conf(m->queue->daemon), CONF_queue_warn_after, NULL) / 1000;

	if (kind == DSN_DELAY && (m->warned || warn == 0 || schedule_age(m) < warn))
		return false;
	return kind == DSN_FAILURE || e->sender.len > 0;
}

static bool is_due(const struct message *m, enum dsn_kind kind, uint32_t recipient)
{
	const struct recipient_state *s = &m->states[recipient];
	const struct spool_recipient *r = &m->file.envelope.recipients[recipient];

	if (s->told)
		return false;
	if (kind == DSN_FAILURE)
		return (s->status == SPOOL_FAILED || s->status == SPOOL_EXPIRED) && wants(r, SPOOL_NOTIFY_FAILURE, true);
	if (kind == DSN_SUCCESS)
		return s->status == SPOOL_DELIVERED && wants(r, SPOOL_NOTIFY_SUCCESS, false);
	return s->status == SPOOL_DEFERRED && !s->warned && wants(r, SPOOL_NOTIFY_DELAY, true);
}

size_t dsn_due(struct message *m, enum dsn_kind kind, uint32_t *recipients)
{
	size_t count = 0;

	if (!is_told_of(m, kind))
		return 0;
	/* One notification has one addressee; those of others come next. */
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (is_due(m, kind, i) && (kind == DSN_SUCCESS || count == 0 || span_eq(m->states[i].owner, m->states[recipients[0]].owner)))
			recipients[count++] = i;
	return count;
}

/* Failures and delays behind an alias that has an owner are the owner's: the sender can do nothing about a list's members. */
static struct span addressee(const struct message *m, enum dsn_kind kind, uint32_t recipient)
{
	struct span sender = m->file.envelope.sender, owner = m->states[recipient].owner;

	return kind != DSN_SUCCESS && sender.len > 0 && owner.len > 0 ? owner : sender;
}

/* The message as a whole is one that was warned of when nobody is left who should be. */
static void note_warned(struct message *m, const uint32_t *recipients, size_t count)
{
	bool left = false;

	for (size_t i = 0; i < count; i++)
		m->states[recipients[i]].warned = true;
	for (uint32_t i = 0; i < m->file.envelope.recipient_count; i++)
		left = left || is_due(m, DSN_DELAY, i);
	m->warned = !left;
}

/* The original, found again by its id: it may have been deleted meanwhile. */
struct dsn {
	struct queue *queue;
	uint64_t id;
	enum dsn_kind kind;
	uint32_t *recipients;
	size_t count;
};

static void note_told(struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count)
{
	if (kind == DSN_DELAY)
		note_warned(m, recipients, count);
	else
		for (size_t i = 0; i < count; i++)
			m->states[recipients[i]].told = true;
}

static void on_queued(void *arg, int code)
{
	struct dsn *dsn = arg;
	struct message *m = message_find(dsn->queue, dsn->id);

	if (m != NULL) {
		m->dsn_pending = false;
		if (code == 0) {
			note_told(m, dsn->kind, dsn->recipients, dsn->count);
			message_step(m);
		} else if (m->deleted) {
			message_remove(m);
		} else {
			record_rest(m); /* what has become of its recipients is known; the notification comes at its next turn */
		}
	}
	free(dsn->recipients);
	free(dsn);
}

static void log_dsn(const struct message *m, struct span to, enum dsn_kind kind)
{
	static const char *const kinds[] = {"failure", "delay", "success"};
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	log_event(EV_queue_dsn, daemon_log(m->queue->daemon), F_STR("for", text), F_SPAN("to", to), F_STR("kind", kinds[kind]));
}

static struct dsn *dsn_new(struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count)
{
	struct dsn *dsn = calloc(1, sizeof(*dsn));

	if (dsn == NULL)
		return NULL;
	dsn->queue = m->queue;
	dsn->id = m->id;
	dsn->kind = kind;
	dsn->count = count;
	dsn->recipients = reallocarray(NULL, count, sizeof(*recipients));
	if (dsn->recipients == NULL) {
		free(dsn);
		return NULL;
	}
	memcpy(dsn->recipients, recipients, count * sizeof(*recipients));
	return dsn;
}

static bool all_postmaster(const struct message *m, const uint32_t *recipients, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct span address = m->file.envelope.recipients[recipients[i]].address;

		if (!span_caseeq(address, SPAN_LIT("postmaster")) && !span_startscase(address, SPAN_LIT("postmaster@")))
			return false;
	}
	return true;
}

int dsn_send(struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count)
{
	struct span sender = addressee(m, kind, recipients[0]);
	struct spool_recipient to = {.address = sender};
	struct spool_envelope envelope = {.source = SPOOL_FROM_BOUNCE, .arrived = clock_wall(), .requiretls = m->file.envelope.requiretls, .body = SPOOL_BODY_8BITMIME, .recipient_count = 1, .recipients = &to};
	struct dsn *dsn;
	struct buf text;
	int r;

	/* A notification that fails is told to postmaster; one to postmaster that fails is told to nobody. */
	if (sender.len == 0) {
		if (all_postmaster(m, recipients, count)) {
			note_told(m, kind, recipients, count);
			return E_CANNOT;
		}
		to.address = SPAN_LIT("postmaster");
	}
	dsn = dsn_new(m, kind, recipients, count);
	if (dsn == NULL)
		return E_NOMEM;
	buf_init(&text, DSN_MAX);
	r = dsn_report(m, kind, recipients, count, sender, &text, &envelope.smtputf8);
	if (r == 0)
		r = accept_own(m->queue, buf_span(&text), &envelope, on_queued, dsn);
	buf_fini(&text);
	if (r != 0) {
		free(dsn->recipients);
		free(dsn);
		return r;
	}
	log_dsn(m, to.address, kind);
	return 0;
}
