/*
 * The text of a notification (RFC 3464, RFC 6522, RFC 6533): what happened, to whom, which server said what, and what to do; the same for programs; and
 * the original, or its header section. UTF-8 stands in it only where an address or the original has it: programs that know no more read all else.
 */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "queue/advice.h"
#include "queue/said.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	REPORT_RETURN_MAX = 256 * 1024, /* octets of the message that is given back whole */
	REPORT_HEADER_MAX = 64 * 1024,	/* of its header section */
};

static const char eight_bits[] = "Content-Transfer-Encoding: 8bit\r\n";

struct report {
	const struct message *m;
	enum dsn_kind kind;
	const uint32_t *recipients;
	size_t count;
	struct span host; /* ours */
	bool is_global;	  /* a part is of RFC 6533 */
};

static const struct spool_recipient *recipient_of(const struct report *r, size_t i)
{
	return &r->m->file.envelope.recipients[r->recipients[i]];
}

static const struct recipient_state *state_of(const struct report *r, size_t i)
{
	return &r->m->states[r->recipients[i]];
}

/* Text from elsewhere, made harmless for a header or a body line. */
static void add_clean(struct buf *out, struct span s, bool utf8)
{
	utf8 = utf8 && utf8_is_valid(s);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		buf_add_char(out, c < ' ' || c == 0x7f ? ' ' : c >= 0x80 && !utf8 ? '?' : (char)c);
	}
}

static void add_date(struct buf *out, const char *field, int64_t when)
{
	char date[CLOCK_RFC5322_MAX];

	buf_printf(out, "%s: %s\r\n", field, clock_format_rfc5322(when, date));
}

static int64_t shown(const struct report *r, int64_t when)
{
	return queue_clock_shown(&r->m->queue->clock, when);
}

/* When it is given up, by the clock of the machine; 0: at any moment, which is nothing to promise. */
static int64_t retried_until(const struct report *r)
{
	const struct queue *queue = r->m->queue;
	int64_t left = conf_ms(daemon_conf(queue->daemon), CONF_queue_lifetime, NULL) / 1000 - schedule_age(r->m);

	return left > 0 ? shown(r, queue_now(queue) + left) : 0;
}

/* ---- for people ---- */

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

static void add_person(struct buf *out, const struct report *r, size_t i)
{
	struct said said;

	said_parse(state_of(r, i)->text, &said);
	buf_add_str(out, "  ");
	add_clean(out, recipient_of(r, i)->address, true);
	buf_add_str(out, "\r\n    ");
	add_clean(out, state_of(r, i)->text, true);
	buf_add_str(out, "\r\n");
	if (r->kind == DSN_FAILURE)
		advice_add(out, status_of(said.reply, r->kind));
	buf_add_str(out, "\r\n");
}

static void add_people(struct buf *out, const struct report *r)
{
	static const char *const first[] = {
	    "your message could not be delivered to the recipients below. It will not be\r\ntried again.\r\n",
	    "your message has not yet been delivered to the recipients below. You need not\r\nsend it again: delivery goes on being tried.\r\n",
	    "your message was delivered to the recipients below.\r\n"};
	char date[CLOCK_RFC5322_MAX];

	buf_printf(out, "This is the mail server at %.*s:\r\n%s", SPAN_ARG(r->host), first[r->kind]);
	if (r->kind == DSN_DELAY && retried_until(r) != 0)
		buf_printf(out, "It comes back to you when it cannot be delivered until\r\n%s.\r\n", clock_format_rfc5322(retried_until(r), date));
	buf_add_str(out, "\r\n");
	for (size_t i = 0; i < r->count; i++)
		add_person(out, r, i);
	if (r->kind == DSN_FAILURE)
		buf_printf(out, "For help write to postmaster@%.*s and include this message.\r\n\r\n", SPAN_ARG(r->host));
}

/* ---- for programs ---- */

static int hex_value(char c)
{
	return ascii_is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* An EmbeddedUnicodeChar (RFC 6533 section 3) at the front of s; 0: there is none. */
static size_t embedded_char(struct span s, uint32_t *cp)
{
	size_t i = 3;

	*cp = 0;
	if (!span_startswith(s, SPAN_LIT("\\x{")))
		return 0;
	for (; i < s.len && i < 9 && hex_value(s.ptr[i]) >= 0; i++)
		*cp = *cp * 16 + (uint32_t)hex_value(s.ptr[i]);
	return i >= 5 && i < s.len && s.ptr[i] == '}' && *cp <= 0x10ffff && (*cp < 0xd800 || *cp > 0xdfff) ? i + 1 : 0;
}

/* utf-8-address: the unitext encoding is taken off. */
static void add_unitext(struct buf *out, struct span s)
{
	struct buf text;
	char octets[4];
	uint32_t cp;

	buf_init(&text, s.len); /* it becomes shorter */
	while (s.len > 0) {
		size_t len = embedded_char(s, &cp);

		buf_add(&text, len > 0 ? octets : s.ptr, len > 0 ? utf8_put(cp, octets) : 1);
		s = span_from(s, len > 0 ? len : 1);
	}
	add_clean(out, buf_span(&text), true);
	out->failed |= buf_failed(&text);
	buf_fini(&text);
}

static void add_original_recipient(struct buf *out, struct span orcpt, bool utf8)
{
	if (orcpt.len == 0)
		return;
	buf_add_str(out, "Original-Recipient: ");
	if (utf8 && span_startscase(orcpt, SPAN_LIT("utf-8;")))
		add_unitext(out, orcpt);
	else
		add_clean(out, orcpt, utf8);
	buf_add_str(out, "\r\n");
}

/* RFC 3464 section 2.3.5: only of what a host has said itself; where it is missing the reporting MTA found what the diagnostic says. */
static void add_remote(struct buf *out, const struct said *said)
{
	if (!said->by_host)
		return;
	buf_add_str(out, said->host.len > 0 ? "Remote-MTA: dns; " : "Remote-MTA: dns; [");
	add_clean(out, said->host.len > 0 ? said->host : said->address, false);
	buf_add_str(out, said->host.len > 0 ? "\r\n" : "]\r\n");
}

static void add_recipient(struct buf *out, const struct report *r, size_t i, bool utf8)
{
	static const char *const actions[] = {"failed", "delayed", "delivered"};
	const struct spool_recipient *to = recipient_of(r, i);
	const struct recipient_state *s = state_of(r, i);
	struct span status;
	struct said said;

	said_parse(s->text, &said);
	status = status_of(said.reply, r->kind);
	buf_add_str(out, "\r\n");
	add_original_recipient(out, to->orcpt, utf8);
	buf_printf(out, "Final-Recipient: %s; ", utf8_is_ascii(to->address) ? "rfc822" : "utf-8");
	add_clean(out, to->address, utf8);
	buf_printf(out, "\r\nAction: %s\r\nStatus: %.*s\r\n", r->kind == DSN_SUCCESS && !to->local ? "relayed" : actions[r->kind], SPAN_ARG(status));
	add_remote(out, &said);
	buf_add_str(out, "Diagnostic-Code: smtp; ");
	add_clean(out, said.reply, utf8);
	buf_add_str(out, "\r\n");
	if (s->tried != 0)
		add_date(out, "Last-Attempt-Date", shown(r, s->tried));
	if (r->kind == DSN_DELAY && retried_until(r) != 0)
		add_date(out, "Will-Retry-Until", retried_until(r));
}

static bool has_utf8_address(const struct report *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (!utf8_is_ascii(recipient_of(r, i)->address) || !utf8_is_ascii(recipient_of(r, i)->orcpt))
			return true;
	return false;
}

/* RFC 3464 sections 2.2 and 2.3 */
static void add_programs(struct buf *out, struct report *r)
{
	const struct spool_envelope *e = &r->m->file.envelope;
	bool utf8 = has_utf8_address(r);
	char until[CLOCK_RFC3339_MAX];

	r->is_global |= utf8;
	buf_printf(out, "Content-Type: message/%sdelivery-status\r\n%s\r\n", utf8 ? "global-" : "", utf8 ? eight_bits : "");
	if (e->envid.len > 0) {
		buf_add_str(out, "Original-Envelope-Id: ");
		add_clean(out, e->envid, false);
		buf_add_str(out, "\r\n");
	}
	buf_printf(out, "Reporting-MTA: dns; %.*s\r\n", SPAN_ARG(r->host));
	add_date(out, "Arrival-Date", e->arrived);
	if (e->release != 0) {
		clock_format_rfc3339(e->release, until);
		buf_printf(out, "Future-Release-Request: until;%s\r\n", until);
	}
	for (size_t i = 0; i < r->count; i++)
		add_recipient(out, r, i, utf8);
	buf_add_str(out, "\r\n");
}

/* ---- the original ---- */

/* Not what a notification cannot carry as it is; RFC 8689 section 5. */
static bool is_returned_whole(const struct message *m)
{
	const struct spool_envelope *e = &m->file.envelope;

	return e->ret == SPOOL_RET_FULL && !e->requiretls && e->body != SPOOL_BODY_BINARYMIME && m->file.content <= REPORT_RETURN_MAX;
}

static struct span header_of(struct span text)
{
	const char *end = text.len > 0 ? memmem(text.ptr, text.len, "\r\n\r\n", 4) : NULL;

	return end != NULL ? span_of(text.ptr, (size_t)(end - text.ptr) + 2) : text;
}

/*
 * The header section, or all of a small message when RET=FULL was asked for. Without memory the notification waits; of a file that cannot
 * be read it goes without: that the message has failed is worth more. E_NOMEM.
 */
static int add_original(struct buf *out, struct report *r)
{
	static const char *const types[2][2] = {{"text/rfc822-headers", "message/rfc822"}, {"message/global-headers", "message/global"}};
	const struct message *m = r->m;
	bool whole = is_returned_whole(m), utf8;
	size_t most = whole ? REPORT_RETURN_MAX : REPORT_HEADER_MAX, want = m->file.content < most ? (size_t)m->file.content : most;
	char *text = malloc(want + 1);
	struct span got, header;
	ssize_t n;

	if (text == NULL)
		return E_NOMEM;
	n = pread(m->fd, text, want, 0);
	got = span_of(text, n > 0 ? (size_t)n : 0);
	header = header_of(got);
	utf8 = m->file.envelope.smtputf8 && !utf8_is_ascii(header);
	r->is_global |= utf8;
	if (!whole)
		got = header;
	buf_printf(out, "Content-Type: %s\r\n%s\r\n", types[utf8][whole], utf8_is_ascii(got) ? "" : eight_bits);
	buf_add_span(out, got);
	buf_add_str(out, "\r\n");
	free(text);
	return 0;
}

/* ---- all of it ---- */

/* Notifications of one message to several addressees are made within the same second. */
static void add_head(struct buf *out, const struct report *r, struct span to, const char *boundary, bool eight)
{
	static const char *const subjects[] = {"Your message could not be delivered", "Your message is delayed", "Your message was delivered"};
	char date[CLOCK_RFC5322_MAX], id[SPOOL_ID_TEXT];

	spool_id_format(r->m->id, id);
	buf_printf(out, "Date: %s\r\nFrom: Mail server %.*s <postmaster@%.*s>\r\nTo: <", clock_format_rfc5322(clock_wall(), date), SPAN_ARG(r->host),
	    SPAN_ARG(r->host));
	if (to.len == 0)
		buf_printf(out, "postmaster@%.*s", SPAN_ARG(r->host));
	add_clean(out, to, true);
	buf_printf(out,
	    ">\r\nSubject: %s\r\nMessage-ID: <%s.%d.%u.%lld@%.*s>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n%s\r\n",
	    subjects[r->kind], id, (int)r->kind, r->recipients[0], (long long)clock_wall(), SPAN_ARG(r->host), boundary, eight ? eight_bits : "");
}

int dsn_report(const struct message *m, enum dsn_kind kind, const uint32_t *recipients, size_t count, struct span to, struct buf *out, bool *utf8)
{
	struct report r = {.m = m, .kind = kind, .recipients = recipients, .count = count, .host = conf_text(daemon_conf(m->queue->daemon), CONF_hostname, NULL)};
	struct buf people, rest;
	char boundary[32];
	bool failed;

	/* Nobody can know it who writes the original, or what a host answers: neither ends a part. */
	snprintf(boundary, sizeof(boundary), "=_%08x%08x%08x", randombytes_random(), randombytes_random(), randombytes_random());
	buf_init(&people, DSN_MAX);
	buf_init(&rest, DSN_MAX);
	add_people(&people, &r);
	buf_printf(&rest, "--%s\r\n", boundary);
	add_programs(&rest, &r);
	buf_printf(&rest, "--%s\r\n", boundary);
	failed = add_original(&rest, &r) != 0;
	buf_printf(&rest, "--%s--\r\n", boundary);
	add_head(out, &r, to, boundary, !utf8_is_ascii(buf_span(&people)) || !utf8_is_ascii(buf_span(&rest)));
	buf_printf(out, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n%s\r\n", boundary, utf8_is_ascii(buf_span(&people)) ? "" : eight_bits);
	buf_add_span(out, buf_span(&people));
	buf_add_span(out, buf_span(&rest));
	*utf8 = r.is_global || !utf8_is_ascii(to);
	failed |= buf_failed(&people) || buf_failed(&rest) || buf_failed(out);
	buf_fini(&people);
	buf_fini(&rest);
	return failed ? E_NOMEM : 0;
}
