/* What is written into a message's file while it is in the queue: what became of its recipients, and that it waits. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/said.h"

#include <event2/event.h>
#include <stdlib.h>

enum {
	RECORD_AGAIN_MAX_S = 64,
	RECORD_JOURNAL_LONG = SPOOL_JOURNAL_MAX / 4, /* read in a fifth of a second, at each try; the rest is for what must be noted */
	RECORD_TRIES_NOTED = 32,		     /* of a recipient, in whatever file */
};

/* The mailboxes that a recipient leads to and that must be tried again; none when where it leads is not known. */
static void log_deferred(const struct message *m, uint32_t recipient)
{
	const struct spool_recipient *r = &m->file.envelope.recipients[recipient];
	int64_t wait = m->next - queue_now(m->queue);
	struct said said;
	bool any = false;
	char text[SPOOL_ID_TEXT];

	spool_id_format(m->id, text);
	for (const struct target *t = m->targets; t != NULL; t = t->next) {
		if (t->recipient != recipient || t->state != TARGET_DEFERRED)
			continue;
		any = true;
		said_parse(t->text, &said);
		log_event(EV_queue_deferred, daemon_log(m->queue->daemon), F_STR("qid", text), F_SPAN("to", r->address),
		    F_SPAN("mailbox", t->address), F_SPAN("status", said.reply), F_I64("retry_in", wait));
	}
	said_parse(m->states[recipient].text, &said);
	if (!any)
		log_event(EV_queue_deferred, daemon_log(m->queue->daemon), F_STR("qid", text), F_SPAN("to", r->address),
		    F_SPAN("status", said.reply), F_I64("retry_in", wait));
}

static void on_kept(struct disk_job *job)
{
	struct message *m = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(m->queue->daemon), F_ERR(&job->err));
	m->writing = false;
	if (m->deleted)
		message_remove(m);
	else
		message_rest(m);
}

/*
 * Too early for it (RFC 4865). The record gives the file the mark of one that rests: should it be damaged until its time has
 * come, it is set aside, and not taken for one that nobody was told of.
 */
void record_keep(struct message *m)
{
	struct disk_job *job = m->file.record_count == 0 ? calloc(1, sizeof(*job)) : NULL;

	if (job != NULL)
		job->records = calloc(1, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		message_rest(m);
		return;
	}
	*job->records = (struct spool_record){.status = SPOOL_KEPT, .recipient = UINT32_MAX, .when = queue_now(m->queue), .next = m->file.envelope.release};
	job->record_count = 1;
	m->writing = true;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_kept;
	job->arg = m;
	disk_submit(m->queue->disk, job);
}

/* It has had the message: what else its recipient leads to is tried again without it. */
static bool is_done_now(const struct message *m, const struct target *t)
{
	return target_is_noted(t) && t->state == TARGET_DONE && t->note != NOTE_DURABLE && message_is_open(&m->states[t->recipient]);
}

/* Forgotten, its notification would be sent once more. */
static bool is_told_now(const struct recipient_state *s)
{
	return s->told && !s->told_noted;
}

/* Of those who have had the message, or a notification of it, or never will: a try that is forgotten does no harm. */
static bool has_news(const struct message *m)
{
	bool news = m->warned && !m->warning_noted;

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		news |= is_told_now(&m->states[i]) || (m->states[i].dirty && !message_is_open(&m->states[i]));
	for (const struct target *t = m->targets; t != NULL; t = t->next)
		news |= is_done_now(m, t);
	return news;
}

static void write_rest(struct message *m);

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct message *m = arg;

	(void)fd;
	(void)what;
	if (m->deleted)
		message_remove(m);
	else
		write_rest(m);
}

/*
 * Read again from its file, the message would go once more to who has had it, and that as often as it is tried while the disk is full.
 * So it stays in memory and is tried no further until the disk takes what is known: after a second, then after two, four, up to 64.
 */
static bool write_again(struct message *m)
{
	struct timeval tv;

	if (m->deleted || !has_news(m))
		return false;
	m->again_s = m->again_s == 0 ? 1 : m->again_s < RECORD_AGAIN_MAX_S ? 2 * m->again_s : RECORD_AGAIN_MAX_S;
	tv = (struct timeval){.tv_sec = m->again_s};
	return event_base_once(daemon_base(m->queue->daemon), -1, EV_TIMEOUT, on_again, m, &tv) == 0;
}

/* Its file says what there is to say. */
static void end_rest(struct message *m)
{
	m->writing = false;
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		m->states[i].dirty = false;
	if (m->deleted)
		message_remove(m);
	else
		message_rest(m);
}

static void on_appended(struct disk_job *job)
{
	struct message *m = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(m->queue->daemon), F_ERR(&job->err));
	if (job->code == 0 || !write_again(m))
		end_rest(m);
}

bool record_is_owed(const struct message *m)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (m->states[i].dirty)
			return true;
	return has_news(m);
}

static void add_told(const struct message *m, uint32_t recipient, struct disk_job *job)
{
	if (is_told_now(&m->states[recipient]))
		job->records[job->record_count++] = (struct spool_record){.status = SPOOL_DSN_SENT, .recipient = recipient, .when = queue_now(m->queue)};
}

static void add_done(const struct target *t, struct disk_job *job)
{
	job->records[job->record_count++] = (struct spool_record){
	    .status = SPOOL_TARGET_DONE, .recipient = t->recipient, .when = queue_now(t->message->queue), .text = target_done_text(t)};
}

static size_t count_noted(const struct message *m)
{
	size_t count = 0;

	for (const struct target *t = m->targets; t != NULL; t = t->next)
		count += target_is_noted(t);
	return count;
}

/* Writes down what changed; the message rests when it is durable. */
void record_rest(struct message *m)
{
	size_t count = m->file.envelope.recipient_count;
	uint32_t attempts = 0;

	for (size_t i = 0; i < count; i++)
		if (message_is_open(&m->states[i]) && m->states[i].attempts > attempts)
			attempts = m->states[i].attempts;
	m->next = queue_now(m->queue) + schedule_backoff(daemon_conf(m->queue->daemon), attempts);
	if (m->next < m->put_off)
		m->next = m->put_off;
	for (uint32_t i = 0; i < count; i++)
		if (m->states[i].status == SPOOL_DEFERRED && m->states[i].dirty)
			log_deferred(m, i);
	m->writing = true;
	write_rest(m);
}

/*
 * A file does not grow for ever by tries that only put off. That one is missing costs a start an earlier try and a lower count; how long to
 * wait and when to give up need no more than the first of them, also behind a requeuing.
 */
static bool is_worth_noting(const struct message *m, const struct recipient_state *s)
{
	return s->status != SPOOL_DEFERRED || m->file.journal < RECORD_JOURNAL_LONG || s->attempts <= RECORD_TRIES_NOTED;
}

static void write_rest(struct message *m)
{
	size_t count = m->file.envelope.recipient_count;
	struct disk_job *job = calloc(1, sizeof(*job));

	if (job != NULL)
		job->records = calloc(3 * count + count_noted(m) + 2, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		if (!write_again(m))
			message_rest(m);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct recipient_state *s = &m->states[i];

		if (s->owner_new) /* ahead of its failure: torn between the two, it is tried once more */
			job->records[job->record_count++] = (struct spool_record){.status = SPOOL_OWNER, .recipient = i, .when = queue_now(m->queue), .text = s->owner};
		if (s->dirty && is_worth_noting(m, s))
			job->records[job->record_count++] = (struct spool_record){.status = s->status,
			    .recipient = i, .attempts = s->attempts, .when = queue_now(m->queue), .next = m->next, .text = s->text};
		add_told(m, i, job);
	}
	for (const struct target *t = m->targets; t != NULL; t = t->next)
		if (is_done_now(m, t))
			add_done(t, job);
	if (m->warned && !m->warning_noted)
		job->records[job->record_count++] =
		    (struct spool_record){.status = SPOOL_WARNED, .recipient = UINT32_MAX, .when = queue_now(m->queue)};
	/* Behind what makes it so: torn before that, it is held on. */
	if (m->let_go && !m->held)
		job->records[job->record_count++] =
		    (struct spool_record){.status = SPOOL_RELEASE, .recipient = UINT32_MAX, .when = queue_now(m->queue)};
	if (job->record_count == 0 && m->file.journal >= RECORD_JOURNAL_LONG) {
		free(job->records);
		free(job);
		end_rest(m);
		return;
	}
	m->writing = true;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_appended;
	job->arg = m;
	disk_submit(m->queue->disk, job);
}

/* What could not be written is written down with all else, when the attempt has ended. */
static void on_noted(struct disk_job *job)
{
	struct message *m = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(m->queue->daemon), F_ERR(&job->err));
	for (size_t i = 0; i < job->record_count; i++) {
		struct recipient_state *s = &m->states[job->records[i].recipient];

		if (job->records[i].status == SPOOL_DSN_SENT)
			s->told_noted = job->code == 0;
		else if (job->records[i].status == SPOOL_DELIVERED)
			s->dirty = job->code != 0;
	}
	for (struct target *t = m->targets; t != NULL; t = t->next)
		if (t->note == NOTE_BEGUN)
			t->note = job->code == 0 ? NOTE_DURABLE : NOTE_FAILED;
	m->writing = false;
	m->busy--;
	message_step(m);
}

/* It is done, and that has not been tried to be written down. */
static bool is_news(const struct message *m, const struct target *t)
{
	return t->note == NOTE_NONE && is_done_now(m, t);
}

/* All there is for its recipient is done. */
static void add_delivered(struct message *m, const struct target *t, struct disk_job *job)
{
	struct recipient_state *s = &m->states[t->recipient];

	*s = (struct recipient_state){.status = SPOOL_DELIVERED, .attempts = s->attempts + 1, .tried = queue_now(m->queue), .told = s->told, .way = s->way, .text = t->text};
	job->records[job->record_count++] = (struct spool_record){.status = SPOOL_DELIVERED, .recipient = t->recipient, .attempts = s->attempts,
	    .when = queue_now(m->queue), .text = s->text};
	add_told(m, t->recipient, job);
}

/*
 * Some have their copy while others are still under way, which may take long: it is written down at once, since nothing else keeps a host, a
 * command or a file from getting a second one after a crash or a stop. (A store knows a repeat by its key.)
 */
void record_done(struct message *m)
{
	struct disk_job *job;
	size_t count = 0;

	for (const struct target *t = m->targets; t != NULL; t = t->next)
		count += is_news(m, t);
	job = count > 0 ? calloc(1, sizeof(*job)) : NULL;
	if (job != NULL)
		job->records = calloc(2 * count, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		return;
	}
	for (struct target *t = m->targets; t != NULL; t = t->next) {
		if (!is_news(m, t))
			continue;
		t->note = NOTE_BEGUN;
		if (target_is_all(t))
			add_delivered(m, t, job);
		else
			add_done(t, job);
	}
	m->writing = true;
	m->busy++;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_noted;
	job->arg = m;
	disk_submit(m->queue->disk, job);
}
