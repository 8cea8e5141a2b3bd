/* What is told and what is kept about it: notifications, policies and reports of TLS, answers of name servers, queue's small files. */
#include "tests/fault/memory/memory.h"

#include "queue/queue.h"
#include "relay/sts_cache.h"
#include "resolve/packet.h"
#include "spool/spool.h"
#include "sts/sts.h"
#include "tests/fuzz/scratch.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"
#include "tlsrpt/traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- notifications: whole, or not yet. In place of the rest of queue, which has room for them ---- */

static const char mail[] = "From: a@example.org\r\nSubject: x\r\n\r\nHello.\r\n";
static bool accepted;

struct message *message_find(struct queue *queue, uint64_t id)
{
	(void)queue, (void)id;
	return NULL;
}

int64_t schedule_age(const struct message *message)
{
	(void)message;
	return INT32_MAX;
}

void message_remove(struct message *message)
{
	(void)message;
}

void record_rest(struct message *message)
{
	(void)message;
}

void message_step(struct message *message)
{
	(void)message;
}

static bool has(struct span text, const char *what)
{
	return text.len > 0 && memmem(text.ptr, text.len, what, strlen(what)) != NULL;
}

int accept_own(struct queue *queue, struct span content, const struct spool_envelope *envelope, void (*done)(void *arg, int code), void *arg)
{
	(void)queue;
	memory_must(span_eq(envelope->recipients[0].address, SPAN_LIT("a@example.org")));
	memory_must(has(content, "Original-Envelope-Id: e") && has(content, "Status: 5.1.1") && has(content, "Subject: x\r\n"));
	memory_must(has(content, "Original-Recipient: utf-8;b\xc3\xa4@example.org\r\n"));
	accepted = true;
	done(arg, 0);
	return 0;
}

static int run_notification(void *state)
{
	static const uint32_t first[] = {0};
	struct spool_recipient to = {.address = SPAN_LIT("b\xc3\xa4@example.org"), .orcpt = SPAN_LIT("utf-8;b\\x{E4}@example.org")};
	struct recipient_state how = {.status = SPOOL_FAILED, .text = SPAN_LIT("550 5.1.1 nobody of that name")};
	struct queue queue = {0};
	struct message m = {.queue = &queue, .id = 12345, .states = &how};
	int r;

	(void)state;
	m.file.envelope = (struct spool_envelope){.sender = SPAN_LIT("a@example.org"), .envid = SPAN_LIT("e"), .recipients = &to, .recipient_count = 1};
	m.file.content = sizeof(mail) - 1;
	m.fd = memfd_create("message", MFD_CLOEXEC);
	memory_must(m.fd >= 0 && write(m.fd, mail, sizeof(mail) - 1) == sizeof(mail) - 1);
	accepted = false;
	r = dsn_send(&m, DSN_FAILURE, first, 1);
	memory_must(accepted == (r == 0));
	close(m.fd);
	return r;
}

static void *notification_begin(void)
{
	memory_daemon();
	return NULL;
}

/* ---- MTA-STS: a policy, and what is kept of it ---- */

static const char policy_text[] = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.mail.example.org\r\nmax_age: 86400\r\n";

struct cache_state {
	char path[64];
	struct state *state;
	struct sts_cache cache;
};

static void *cache_begin(void)
{
	struct cache_state *c = calloc(1, sizeof(*c));
	struct err err;

	memory_must(c != NULL && scratch_make(c->path) == 0 && chdir(c->path) == 0 && state_open(&c->state, &err) == 0);
	sts_cache_init(&c->cache, c->state);
	return c;
}

static void cache_end(void *state)
{
	struct cache_state *c = state;

	state_close(&c->state);
	memory_must(chdir("/") == 0);
	scratch_remove(c->path);
	free(c);
}

/* A policy that is kept and in force is never taken for none: mail would go out in clear. */
static int run_cache(void *state)
{
	struct cache_state *c = state;
	struct sts_cached fresh = {.fetched = 1000, .used = 1000}, found;
	struct err err = {0};
	char id[STS_ID_MAX + 1];
	int r = sts_record_parse(SPAN_LIT("v=STSv1; id=20250101;"), id, &err);

	if (r == 0)
		r = sts_policy_parse(span_str(policy_text), &fresh.policy, &err);
	snprintf(fresh.policy.domain, sizeof(fresh.policy.domain), "example.org");
	span_copy(span_str(id), fresh.policy.id, sizeof(fresh.policy.id));
	if (r == 0)
		r = sts_cache_put(&c->cache, &fresh, &err);
	if (r == 0)
		r = sts_cache_put(&c->cache, &fresh, &err);
	memory_must(c->cache.count <= 1);
	if (r == 0)
		r = sts_cache_get(&c->cache, "example.org", 2000, &found);
	if (r == 0)
		memory_must(found.policy.mx_count == 2 && sts_policy_matches(&found.policy, "a.mail.example.org") && strcmp(found.policy.id, "20250101") == 0);
	if (r == 0)
		r = sts_cache_forget(&c->cache, "example.org", &err);
	if (r == 0)
		memory_must(c->cache.count == 0 && sts_cache_get(&c->cache, "example.org", 2000, &found) == E_NOTFOUND);
	return r;
}

/* ---- reports about TLS ---- */

static int run_report(void *state)
{
	struct tlsrpt_session one = {.type = TLSRPT_STS, .domain = SPAN_LIT("example.org"), .strings = SPAN_LIT("version: STSv1\nmode: enforce\n"), .mx = SPAN_LIT("mx.example.org\n"),
	    .result = TLSRPT_CERTIFICATE_EXPIRED, .our_address = SPAN_LIT("192.0.2.1"), .host = SPAN_LIT("mx.example.org"), .address = SPAN_LIT("192.0.2.2"), .reason = SPAN_LIT("too old")};
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(86400), *again = NULL;
	struct tlsrpt_report report = {.organization = "us", .contact = "postmaster@us.example", .domain = "example.org", .id = "x@us.example", .begin = 86400, .end = 172799};
	struct buf stored, json, gzip, text;
	int r = t != NULL ? tlsrpt_traffic_add(t, &one) : E_NOMEM;

	(void)state;
	buf_init(&stored, TLSRPT_TRAFFIC_MAX);
	buf_init(&json, TLSRPT_JSON_MAX);
	buf_init(&gzip, TLSRPT_GZIP_MAX);
	buf_init(&text, TLSRPT_MAIL_MAX);
	if (r == 0) {
		tlsrpt_traffic_encode(t, &stored);
		r = buf_failed(&stored) ? E_NOMEM : tlsrpt_traffic_decode(buf_span(&stored), &again);
	}
	if (r == 0) {
		report.traffic = again;
		tlsrpt_report_json(&report, &json);
		r = buf_failed(&json) ? E_NOMEM : tlsrpt_compress(buf_span(&json), &gzip);
	}
	if (r == 0) {
		tlsrpt_mail(&report, "reports@example.org", buf_span(&gzip), 200000, &text);
		r = buf_failed(&text) ? E_NOMEM : 0;
	}
	if (r == 0)
		memory_must(has(buf_span(&json), "\"certificate-expired\"") && has(buf_span(&json), "\"too old\"") && has(buf_span(&text), "Report Domain: example.org"));
	tlsrpt_traffic_free(&t);
	tlsrpt_traffic_free(&again);
	buf_fini(&stored);
	buf_fini(&json);
	buf_fini(&gzip);
	buf_fini(&text);
	return r;
}

/* ---- answers of name servers ---- */

/*
 * Never fewer records than there are: none at all would be a domain without MX, or a host without TLSA. So their room is made once, as in
 * resolve/flights.c.
 */
static int run_packet(void *state)
{
	static const char packet[] = "\0\1\x81\x80\0\1\0\2\0\0\0\0\7example\3org\0\0\x0f\0\1"
				     "\xc0\x0c\0\x0f\0\1\0\0\1\0\0\6\0\x0a\1a\xc0\x0c"
				     "\xc0\x0c\0\x0f\0\1\0\0\1\0\0\6\0\x14\1b\xc0\x0c";
	struct packet_answer answer;
	struct buf records;
	int r;

	(void)state;
	buf_init(&records, DNS_RECORDS_MAX);
	if (buf_reserve(&records, DNS_RECORDS_MAX) == NULL) {
		buf_fini(&records);
		return E_NOMEM;
	}
	r = packet_read(span_of(packet, sizeof(packet) - 1), SPAN_LIT("example.org"), DNS_MX, &records, &answer);
	if (r == 0)
		memory_must(!answer.cut && buf_len(&records) == 2 * (2 + 2 + 15));
	buf_fini(&records);
	return r;
}

/* ---- queue's clock, and what it has paused ---- */

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....";

static int run_clock(void *state)
{
	struct spool_clock clock = {.queue_ms = 1700000000000, .wall_ms = 1700000001000, .since_boot_ms = 5000, .boot = "0-1"}, back;
	struct err err = {0};
	struct buf text;
	int r;

	(void)state;
	buf_init(&text, SPOOL_CLOCK_SIZE);
	r = spool_clock_encode(&clock, key, &text);
	if (r == 0)
		r = spool_clock_decode(buf_span(&text), key, &back, &err);
	if (r == 0)
		memory_must(back.queue_ms == clock.queue_ms && strcmp(back.boot, clock.boot) == 0);
	buf_fini(&text);
	return r;
}

static int run_paused(void *state)
{
	static struct span back[SPOOL_PAUSED_MAX];
	const struct span names[] = {SPAN_LIT("example.org"), SPAN_LIT("transport relay")};
	struct err err = {0};
	struct buf text;
	size_t count;
	int r;

	(void)state;
	buf_init(&text, SPOOL_PAUSED_SIZE);
	r = spool_paused_encode(names, 2, key, &text);
	if (r == 0)
		r = spool_paused_decode(buf_span(&text), key, back, &count, &err);
	if (r == 0)
		memory_must(count == 2 && span_eq(back[1], names[1]));
	buf_fini(&text);
	return r;
}

const struct scenario report_scenarios[] = {
    {.name = "notification", .begin = notification_begin, .run = run_notification},
    {.name = "MTA-STS policy, kept", .begin = cache_begin, .run = run_cache, .end = cache_end},
    {.name = "TLS report", .run = run_report},
    {.name = "answer of a name server", .run = run_packet},
    {.name = "queue's clock", .run = run_clock},
    {.name = "paused destinations", .run = run_paused},
    {0},
};
