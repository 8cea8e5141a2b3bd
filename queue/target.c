/* Where copies of a message go, what became of each, and how the content gets there. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "ipc/ipc.h"
#include "queue/said.h"

#include <fcntl.h>
#include <unistd.h>

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

static void log_target(const struct target *t, enum log_event_id event)
{
	const struct message *m = t->message;
	char text[SPOOL_ID_TEXT];
	struct said said;

	said_parse(t->text, &said);
	spool_id_format(m->id, text);
	log_event(event, daemon_log(m->queue->daemon), F_STR("qid", text),
	    F_SPAN("to", m->file.envelope.recipients[t->recipient].address), F_SPAN("mailbox", t->address),
	    F_SPAN("status", said.reply));
}

void target_result(struct target *t, int code, struct span text)
{
	struct buf line;

	buf_init(&line, SPOOL_TEXT_MAX);
	buf_printf(&line, "%d %s%s%.*s", err_smtp_code(code), err_smtp_enhanced(code), text.len > 0 ? " " : "", SPAN_ARG(span_sub(text, 0, 300)));
	target_reply(t, code, buf_span(&line));
	buf_fini(&line);
}

void target_reply(struct target *t, int code, struct span line)
{
	struct message *m = t->message;

	t->text = pool_span(m->pool, utf8_cut(line, SPOOL_TEXT_MAX));
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

/* It is time for the sender to hear of the delay, or that it was given up. */
static bool is_time_to_tell(const struct message *m)
{
	const struct conf *conf = daemon_conf(m->queue->daemon);
	int64_t age = schedule_age(m), warn = conf_ms(conf, CONF_queue_warn_after, NULL) / 1000;

	return age >= conf_ms(conf, CONF_queue_lifetime, NULL) / 1000 || (warn != 0 && age >= warn && dsn_warns(m));
}

void target_put_off(struct target *t, int64_t until, struct span why, bool tells)
{
	struct message *m = t->message;

	if (until > m->put_off)
		m->put_off = until;
	if (m->states[t->recipient].attempts == 0 || (tells && is_time_to_tell(m)))
		target_reply(t, E_UNAVAILABLE, why);
	else
		t->state = TARGET_PUT_OFF; /* its file says already what there is to say */
}

/*
 * A worker sees one account only, but lives longer than one message: a descriptor it kept must never show another
 * message. So a file whose descriptor was lent is not used again; small messages, which are most, are copied.
 */
int message_lend(struct message *m, int *fd)
{
	struct err err;
	int r = queue_open_file(m->id, O_RDONLY, fd, &err);

	m->lent = true;
	return r == 0 || err_is_temp(r) ? r : E_IO; /* a fault of this machine is never the sender's */
}

int message_content(struct message *m, char *buffer, size_t size, struct span *small, int *fd)
{
	ssize_t n;

	if (m->file.content <= size) {
		n = pread(m->fd, buffer, (size_t)m->file.content, 0);
		*small = span_of(buffer, n > 0 ? (size_t)n : 0);
		return small->len == m->file.content ? 0 : E_IO;
	}
	return message_lend(m, fd);
}
