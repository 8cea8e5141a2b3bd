/*
 * Delivery status notifications (RFC 3461, RFC 3464, RFC 6522). Their text says what
 * happened, to whom, what the server said, and what to do. They have the null
 * sender, so that none is ever answered by another; what cannot be told to a
 * sender without an address goes to postmaster, once.
 */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	DSN_MAX = 16 * 1024 * 1024,
	DSN_RETURN_MAX = 256 * 1024,  /* of the message that is given back whole */
	DSN_HEADER_MAX = 64 * 1024,   /* of its header section */
};

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

/* Text from elsewhere, made harmless for a header or a body line. */
static void add_clean(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_add_char(out, (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f ? ' ' : s.ptr[i]);
}

/* recipient: the first it tells of. Notifications of one message to several addressees are made within the same second. */
static void add_head(struct buf *out, const struct message *m, enum dsn_kind kind, uint32_t recipient, struct span to, const char *boundary)
{
	static const char *const subjects[] = {"Your message could not be delivered", "Your message is delayed",
	    "Your message was delivered"};
	struct span host = conf_text(daemon_conf(m->queue->daemon), CONF_hostname, NULL);
	char date[CLOCK_RFC5322_MAX], id[SPOOL_ID_TEXT];

	spool_id_format(m->id, id);
	buf_printf(out, "Date: %s\r\nFrom: Mail server %.*s <postmaster@%.*s>\r\nTo: <", clock_format_rfc5322(clock_wall(), date),
	    SPAN_ARG(host), SPAN_ARG(host));
	add_clean(out, to);
	buf_printf(out,
	    ">\r\nSubject: %s\r\nMessage-ID: <%s.%d.%u.%lld@%.*s>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n",
	    subjects[kind], id, (int)kind, recipient, (long long)clock_wall(), SPAN_ARG(host), boundary);
}

static void add_text(struct buf *out, const struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count)
{
	static const char *const first[] = {
	    "your message could not be delivered to the recipients below. It will not be\r\ntried again.",
	    "your message has not yet been delivered to the recipients below. You need not\r\nsend it again: delivery goes on being tried.",
	    "your message was delivered to the recipients below."};
	struct span host = conf_text(daemon_conf(m->queue->daemon), CONF_hostname, NULL);

	buf_printf(out, "Content-Type: text/plain; charset=utf-8\r\n\r\nThis is the mail server at %.*s:\r\n%s\r\n\r\n", SPAN_ARG(host), first[kind]);
	for (size_t i = 0; i < count; i++) {
		buf_add_str(out, "  ");
		add_clean(out, m->file.envelope.recipients[recipients[i]].address);
		buf_add_str(out, "\r\n    ");
		add_clean(out, m->states[recipients[i]].text);
		buf_add_str(out, "\r\n\r\n");
	}
	if (kind == DSN_FAILURE)
		buf_printf(out,
		    "What to do: check the address for a slip; when it is right, ask the recipient\r\nin another way, or write to "
		    "postmaster@%.*s and include this message.\r\n\r\n",
		    SPAN_ARG(host));
}

/* status-code = class "." subject "." detail (RFC 3463 section 2), behind the reply's code; an answer without one says what kind it was. */
static struct span status_of(struct span text, enum dsn_kind kind)
{
	static const char *const general[] = {"5.0.0", "4.0.0", "2.0.0"};
	struct span code = span_sub(text, 4, span_find(span_from(text, 4), ' '));
	unsigned digits = 0, dots = 0;

	for (size_t i = 0; i < code.len; i++) {
		bool digit = ascii_is_digit(code.ptr[i]);

		if (digit ? ++digits > 3 : code.ptr[i] != '.' || digits == 0 || ++dots > 2)
			return span_str(general[kind]);
		digits = digit ? digits : 0;
	}
	return dots == 2 && digits > 0 && code.ptr[1] == '.' && text.ptr[3] == ' ' ? code : span_str(general[kind]);
}

/* RFC 3464 sections 2.2 and 2.3 */
static void add_status(struct buf *out, const struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count)
{
	static const char *const actions[] = {"failed", "delayed", "delivered"};
	const struct spool_envelope *e = &m->file.envelope;
	char date[CLOCK_RFC5322_MAX];

	buf_printf(out, "Content-Type: message/%sdelivery-status\r\n\r\n", e->smtputf8 ? "global-" : "");
	if (e->envid.len > 0) {
		buf_add_str(out, "Original-Envelope-Id: ");
		add_clean(out, e->envid);
		buf_add_str(out, "\r\n");
	}
	buf_printf(out, "Reporting-MTA: dns; %.*s\r\nArrival-Date: %s\r\n",
	    SPAN_ARG(conf_text(daemon_conf(m->queue->daemon), CONF_hostname, NULL)), clock_format_rfc5322(e->arrived, date));
	if (e->release != 0) {
		char until[CLOCK_RFC3339_MAX];

		clock_format_rfc3339(e->release, until);
		buf_printf(out, "Future-Release-Request: until;%s\r\n", until);
	}
	for (size_t i = 0; i < count; i++) {
		const struct spool_recipient *r = &e->recipients[recipients[i]];
		struct span text = m->states[recipients[i]].text, status = status_of(text, kind);

		buf_add_str(out, "\r\n");
		if (r->orcpt.len > 0) {
			buf_add_str(out, "Original-Recipient: ");
			add_clean(out, r->orcpt);
			buf_add_str(out, "\r\n");
		}
		buf_printf(out, "Final-Recipient: %s; ", e->smtputf8 ? "utf-8" : "rfc822");
		add_clean(out, r->address);
		buf_printf(out, "\r\nAction: %s\r\nStatus: %.*s\r\nDiagnostic-Code: smtp; ", kind == DSN_SUCCESS && !r->local ? "relayed" : actions[kind], SPAN_ARG(status));
		add_clean(out, text);
		buf_add_str(out, "\r\n");
	}
	buf_add_str(out, "\r\n");
}

/*
 * The header section, or all of a small message when RET=FULL was asked for. Without memory the notification waits; of a file that cannot
 * be read it goes without: that the message has failed is worth more. E_NOMEM.
 */
static int add_original(struct buf *out, const struct message *m)
{
	/* RFC 8689 section 5 */
	bool full = m->file.envelope.ret == SPOOL_RET_FULL && !m->file.envelope.requiretls && m->file.content <= DSN_RETURN_MAX;
	size_t want = full ? (size_t)m->file.content : m->file.content < DSN_HEADER_MAX ? (size_t)m->file.content : DSN_HEADER_MAX;
	char *text = malloc(want + 1);
	struct span got;
	ssize_t n;

	if (text == NULL)
		return E_NOMEM;
	n = pread(m->fd, text, want, 0);
	got = span_of(text, n > 0 ? (size_t)n : 0);
	if (!full) {
		char *end = n > 0 ? memmem(text, (size_t)n, "\r\n\r\n", 4) : NULL;

		if (end != NULL)
			got.len = (size_t)(end - text) + 2;
	}
	buf_printf(out, "Content-Type: %s\r\n\r\n", full ? "message/rfc822" : "text/rfc822-headers");
	buf_add_span(out, got);
	buf_add_str(out, "\r\n");
	free(text);
	return 0;
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
	struct span host = conf_text(daemon_conf(m->queue->daemon), CONF_hostname, NULL);
	struct spool_recipient to = {.address = sender};
	struct spool_envelope envelope = {.source = SPOOL_FROM_BOUNCE, .arrived = clock_wall(),
	    .smtputf8 = m->file.envelope.smtputf8, .requiretls = m->file.envelope.requiretls, .body = SPOOL_BODY_8BITMIME, .recipient_count = 1, .recipients = &to};
	char boundary[32];
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
	/* Nobody can know it who writes the original, or what a host answers: neither ends a part. */
	snprintf(boundary, sizeof(boundary), "=_%08x%08x%08x", randombytes_random(), randombytes_random(), randombytes_random());
	buf_init(&text, DSN_MAX);
	add_head(&text, m, kind, recipients[0], sender.len > 0 ? sender : host, boundary);
	buf_printf(&text, "--%s\r\n", boundary);
	add_text(&text, m, kind, recipients, count);
	buf_printf(&text, "--%s\r\n", boundary);
	add_status(&text, m, kind, recipients, count);
	buf_printf(&text, "--%s\r\n", boundary);
	r = add_original(&text, m);
	buf_printf(&text, "--%s--\r\n", boundary);
	if (r == 0)
		r = buf_failed(&text) ? E_NOMEM : accept_own(m->queue, buf_span(&text), &envelope, on_queued, dsn);
	buf_fini(&text);
	if (r != 0) {
		free(dsn->recipients);
		free(dsn);
		return r;
	}
	log_dsn(m, to.address, kind);
	return 0;
}
