#include "resolve/flights.h"

#include "base/clock.h"
#include "resolve/context.h"
#include "resolve/packet.h"
#include "resolve/settings.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound-event.h>
#include <unbound.h>

enum {
	BUCKETS = 4096,
	FLIGHTS_BACK_MS = 60 * 1000, /* by so much the machine's clock may be set back */
	CLASS_IN = 1,
	UB_BOGUS = 1,
	UB_SECURE = 2,
	RCODE_NOERROR = 0,
	RCODE_SERVFAIL = 2,
	RCODE_NXDOMAIN = 3,
	WHY_MAX = 256, /* of dns_reply */
};

struct flight {
	struct flight *next, **link; /* in its bucket */
	struct flights *flights;
	struct flight_waiter *waiters, **last;
	struct event timer;
	int id; /* libunbound's */
	bool asked; /* id holds */
	unsigned type;
	char name[DNS_NAME_TEXT];
};

struct flights {
	struct event_base *base;
	struct settings *settings;
	struct ub_ctx *ctx;
	struct flight *buckets[BUCKETS];
	struct flight *starting; /* the one that libunbound is just being asked; NULL once it has answered */
	struct buf records;
	struct flights_stats stats;
	int64_t wall_ms; /* what the machine's clock said when it had just booted, as far as can be told now */
};

static struct flight **bucket_of(struct flights *flights, const char *name, unsigned type)
{
	uint32_t hash = 2166136261u ^ type;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return &flights->buckets[hash % BUCKETS];
}

static void waiter_add(struct flight *f, struct flight_waiter *waiter, flight_done *done, void *arg)
{
	*waiter = (struct flight_waiter){.link = f->last, .flight = f, .done = done, .arg = arg};
	*f->last = waiter;
	f->last = &waiter->next;
}

/* One whom nobody waits for goes on: its answer is kept. */
void flights_leave(struct flight_waiter *waiter)
{
	if (waiter->flight == NULL)
		return;
	*waiter->link = waiter->next;
	if (waiter->next != NULL)
		waiter->next->link = waiter->link;
	else
		waiter->flight->last = waiter->link;
	*waiter = (struct flight_waiter){0};
}

static void flight_end(struct flight *f, struct dns_reply *reply)
{
	struct flights *flights = f->flights;

	if (flights->starting == f)
		flights->starting = NULL;
	*f->link = f->next;
	if (f->next != NULL)
		f->next->link = f->link;
	flights->stats.under_way--;
	event_del(&f->timer);
	reply->why = span_sub(reply->why, 0, WHY_MAX);
	while (f->waiters != NULL) {
		struct flight_waiter waiter = *f->waiters;

		flights_leave(f->waiters);
		waiter.done(waiter.arg, reply);
	}
	free(f);
}

static void flight_fail(struct flight *f, int code, const char *why)
{
	struct dns_reply reply = {.code = code, .why = span_str(why)};

	flight_end(f, &reply);
}

/* libunbound goes on by itself for a while, and what it finds is kept for the next question. */
static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct flight *f = arg;
	struct flights *flights = f->flights;
	char who[128], why[WHY_MAX];

	(void)fd;
	(void)what;
	flights->stats.timeouts++;
	if (f->asked)
		ub_cancel(flights->ctx, f->id);
	settings_describe(flights->settings, span_str(f->name), who, sizeof(who));
	snprintf(why, sizeof(why), "no answer from %s within %.3g s: reachable? See resolver in mailwain.conf(5)", who, flights->settings->timeout_ms / 1000.0);
	flight_fail(f, E_TIMEOUT, why);
}

static enum dns_security security_of(int sec)
{
	return sec == UB_SECURE ? DNS_SECURE : sec == UB_BOGUS ? DNS_BOGUS : DNS_INSECURE;
}

static void fill(struct flight *f, const struct packet_answer *answer, int sec, const char *why_bogus, char why[WHY_MAX], struct dns_reply *reply)
{
	struct flights *flights = f->flights;
	char who[128];

	*reply = (struct dns_reply){.rcode = answer->rcode, .security = security_of(sec), .ttl = answer->ttl, .cut = answer->cut,
	    .canonical = span_str(answer->canonical), .records = buf_span(&flights->records)};
	if (reply->security == DNS_BOGUS) {
		flights->stats.bogus++;
		snprintf(why, WHY_MAX, "%s", why_bogus != NULL ? why_bogus : "the answer does not agree with the signatures of its zone");
	} else if (answer->rcode != RCODE_NOERROR && answer->rcode != RCODE_NXDOMAIN) {
		flights->stats.failures++;
		settings_describe(flights->settings, span_str(f->name), who, sizeof(who));
		snprintf(why, WHY_MAX, "%s: %s could not be asked, or gave no usable answer", answer->rcode == RCODE_SERVFAIL ? "SERVFAIL" : "an error", who);
	}
	/* Of an answer that must not be believed nothing is handed on. */
	if (why[0] != '\0') {
		reply->records = reply->canonical = SPAN_LIT("");
		reply->ttl = 0;
		reply->cut = false;
	}
	reply->why = span_str(why);
}

/* rcode: of libunbound itself; that of the answer is in the packet. */
static void on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	struct flight *f = arg;
	struct packet_answer answer = {.rcode = (unsigned)rcode};
	struct dns_reply reply;
	char why[WHY_MAX] = "";
	int r = 0;

	(void)limited;
	f->asked = false;
	buf_clear(&f->flights->records);
	if (rcode == 0 && packet != NULL && len > 0)
		r = packet_read(span_of(packet, (size_t)len), span_str(f->name), f->type, &f->flights->records, &answer);
	else if (rcode == 0)
		answer.rcode = RCODE_SERVFAIL;
	if (r != 0) {
		flight_fail(f, E_UNAVAILABLE, "the answer cannot be used: it is damaged, or leads to a name that no host has");
		return;
	}
	fill(f, &answer, sec, why_bogus, why, &reply);
	flight_end(f, &reply);
}

/* libunbound may answer at once, from what it has kept: then f is gone when this returns. */
static void flight_start(struct flight *f)
{
	struct flights *flights = f->flights;
	int id = 0, r;

	flights->starting = f;
	r = ub_resolve_event(flights->ctx, f->name, (int)f->type, CLASS_IN, f, on_answer, &id);
	if (flights->starting != f)
		return;
	flights->starting = NULL;
	if (r != 0) {
		flight_fail(f, r == UB_NOMEM ? E_NOMEM : E_UNAVAILABLE, ub_strerror(r));
		return;
	}
	f->asked = true;
	f->id = id;
}

static struct flight *flight_find(struct flights *flights, const char *name, unsigned type)
{
	struct flight *f = *bucket_of(flights, name, type);

	while (f != NULL && (f->type != type || strcmp(f->name, name) != 0))
		f = f->next;
	return f;
}

static struct flight *flight_new(struct flights *flights, const char *name, unsigned type)
{
	struct timeval tv = {.tv_sec = flights->settings->timeout_ms / 1000, .tv_usec = flights->settings->timeout_ms % 1000 * 1000};
	struct flight *f = flights->stats.under_way < FLIGHTS_MAX ? calloc(1, sizeof(*f)) : NULL;

	if (f == NULL)
		return NULL;
	f->flights = flights;
	f->type = type;
	f->last = &f->waiters;
	span_copy(span_str(name), f->name, sizeof(f->name));
	f->link = bucket_of(flights, name, type);
	f->next = *f->link;
	if (f->next != NULL)
		f->next->link = &f->next;
	*f->link = f;
	flights->stats.under_way++;
	evtimer_assign(&f->timer, flights->base, on_timeout, f);
	evtimer_add(&f->timer, &tv);
	return f;
}

/*
 * libunbound keeps what it knows until a time by the machine's clock: set back by a day, it would keep a failure for a day longer. Set
 * forward it forgets by itself.
 */
static void look_at_clock(struct flights *flights)
{
	int64_t wall_ms = clock_wall_ms() - clock_boot_ms();
	struct err err;

	if (wall_ms > flights->wall_ms - FLIGHTS_BACK_MS || flights_flush(flights, &err) == 0)
		flights->wall_ms = wall_ms;
}

void flights_ask(struct flights *flights, struct span name, unsigned type, struct flight_waiter *waiter, flight_done *done, void *arg)
{
	const struct dns_reply busy = {.code = E_UNAVAILABLE, .why = SPAN_LIT("the resolver has too many questions under way")};
	char text[DNS_NAME_TEXT];
	struct flight *f;

	*waiter = (struct flight_waiter){0};
	span_copy(name, text, sizeof(text));
	look_at_clock(flights);
	flights->stats.questions++;
	f = flight_find(flights, text, type);
	if (f != NULL) {
		flights->stats.shared++;
		waiter_add(f, waiter, done, arg);
		return;
	}
	f = flight_new(flights, text, type);
	if (f == NULL) {
		done(arg, &busy);
		return;
	}
	waiter_add(f, waiter, done, arg);
	flight_start(f);
}

/* ---- another context ---- */

/* All of them, in an array of their own: each may end while the others are asked. */
static struct flight **list_all(struct flights *flights)
{
	struct flight **all = calloc(flights->stats.under_way + 1, sizeof(struct flight *));
	size_t n = 0;

	for (size_t i = 0; i < BUCKETS && all != NULL; i++)
		for (struct flight *f = flights->buckets[i]; f != NULL; f = f->next)
			all[n++] = f;
	return all;
}

static int switch_to(struct flights *flights, struct ub_ctx *ctx, struct err *err)
{
	struct flight **all = list_all(flights);

	if (all == NULL) {
		ub_ctx_delete(ctx);
		return err_set(err, E_NOMEM, "no memory for the questions that are under way");
	}
	for (size_t i = 0; all[i] != NULL; i++) {
		if (all[i]->asked)
			ub_cancel(flights->ctx, all[i]->id);
		all[i]->asked = false;
	}
	ub_ctx_delete(flights->ctx);
	flights->ctx = ctx;
	for (size_t i = 0; all[i] != NULL; i++)
		flight_start(all[i]);
	free(all);
	return 0;
}

int flights_flush(struct flights *flights, struct err *err)
{
	struct ub_ctx *ctx;
	int r = context_new(flights->base, flights->settings, &ctx, err);

	return r == 0 ? switch_to(flights, ctx, err) : r;
}

int flights_change(struct flights *flights, struct settings *settings, struct err *err)
{
	struct settings *before = flights->settings;
	int r = 0;

	flights->settings = settings;
	if (!settings_same(before, settings))
		r = flights_flush(flights, err);
	if (r != 0)
		flights->settings = before;
	settings_free(r == 0 ? &before : &settings);
	return r;
}

int flights_new(struct event_base *base, struct settings *settings, struct flights **out, struct err *err)
{
	struct flights *flights = calloc(1, sizeof(*flights));
	int r = flights != NULL ? 0 : err_set(err, E_NOMEM, "no memory for the resolver");

	if (r == 0) {
		buf_init(&flights->records, DNS_RECORDS_MAX);
		flights->base = base;
		flights->settings = settings;
		flights->wall_ms = clock_wall_ms() - clock_boot_ms();
		if (buf_reserve(&flights->records, DNS_RECORDS_MAX) == NULL)
			r = err_set(err, E_NOMEM, "no memory for answers");
	}
	if (r == 0)
		r = context_new(base, settings, &flights->ctx, err);
	if (r != 0) {
		settings_free(&settings);
		free(flights);
		return r;
	}
	*out = flights;
	return 0;
}

const struct flights_stats *flights_stats(const struct flights *flights)
{
	return &flights->stats;
}
