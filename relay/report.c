/* Counting: what is counted is in memory for some seconds, and then on the disk, by day and domain. */
#include "relay/report_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum { DAY_S = 86400, DAY_TEXT = 8 };

/* A domain whose counters are in memory. */
struct counted {
	struct counted *next;
	char key[REPORT_KEY_MAX]; /* "20261126 example.com" */
	struct tlsrpt_traffic *traffic;
};

bool reports_are_on(const struct relay *relay)
{
	return relay->reports != NULL && conf_bool(daemon_conf(relay->daemon), CONF_relay_tls_reports, NULL);
}

unsigned report_day(int64_t wall)
{
	char text[CLOCK_RFC3339_MAX];
	unsigned year, month, day;

	clock_format_rfc3339(wall, text);
	return sscanf(text, "%4u-%2u-%2u", &year, &month, &day) == 3 ? year * 10000 + month * 100 + day : 0;
}

/* ---- to and from the disk ---- */

static struct tlsrpt_traffic *load(struct reports *reports, const char *key, int64_t now)
{
	struct tlsrpt_traffic *traffic = NULL;
	struct buf text;
	bool new = true;

	buf_init(&text, STATE_VALUE_MAX);
	if (state_get(reports->state, STATE_TRAFFIC, span_str(key), &text) == 0)
		new = tlsrpt_traffic_decode(buf_span(&text), &traffic) == E_CORRUPT;
	buf_fini(&text);
	if (!new || reports->stored >= REPORT_DOMAINS_MAX)
		return traffic;
	traffic = tlsrpt_traffic_new(now - now % DAY_S);
	reports->stored += traffic != NULL;
	return traffic;
}

static int put(struct reports *reports, const struct counted *c, struct buf *text, struct err *err)
{
	buf_clear(text);
	tlsrpt_traffic_encode(c->traffic, text);
	return buf_failed(text) ? err_set(err, E_NOMEM, "no memory for the counters of a domain") :
				  state_put(reports->state, STATE_TRAFFIC, span_str(c->key), buf_span(text), err);
}

static void drop_counted(struct reports *reports)
{
	while (reports->counted != NULL) {
		struct counted *c = reports->counted;

		reports->counted = c->next;
		tlsrpt_traffic_free(&c->traffic);
		free(c);
	}
	reports->counted_count = 0;
}

bool reports_flush(struct reports *reports)
{
	struct err err = {0};
	struct buf text;
	int r;

	reports->flush_ms = 0;
	if (reports->counted == NULL)
		return true;
	buf_init(&text, STATE_VALUE_MAX);
	r = state_begin(reports->state, &err);
	for (const struct counted *c = reports->counted; c != NULL && r == 0; c = c->next)
		r = put(reports, c, &text, &err);
	r = r == 0 ? state_commit(reports->state, &err) : r;
	buf_fini(&text);
	reports->flush_failed = r != 0;
	if (r == 0) {
		drop_counted(reports);
		return true;
	}
	state_abort(reports->state);
	log_event(EV_relay_report_error, daemon_log(reports->relay->daemon), F_ERR(&err));
	reports->flush_ms = clock_monotonic_ms() + REPORT_FLUSH_MS;
	return false;
}

/* ---- counting ---- */

/* NULL: there is no room for the domain, or no memory. */
static struct counted *find(struct reports *reports, struct span domain, int64_t now)
{
	char key[REPORT_KEY_MAX];
	struct counted *c = reports->counted;

	snprintf(key, sizeof(key), "%0*u %.*s", DAY_TEXT, report_day(now), SPAN_ARG(domain));
	while (c != NULL && strcmp(c->key, key) != 0)
		c = c->next;
	if (c != NULL)
		return c;
	if (reports->counted_count >= REPORT_CACHE_MAX && (reports->flush_failed || !reports_flush(reports)))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c == NULL || (c->traffic = load(reports, key, now)) == NULL) {
		free(c);
		return NULL;
	}
	snprintf(c->key, sizeof(c->key), "%s", key);
	c->next = reports->counted;
	reports->counted = c;
	reports->counted_count++;
	return c;
}

void report_note(struct relay *relay, const struct report_attempt *attempt)
{
	struct reports *reports = relay->reports;
	struct counted *c;

	if (!reports_are_on(relay))
		return;
	c = find(reports, attempt->domain, clock_wall());
	if (c == NULL || tlsrpt_traffic_add(c->traffic, &attempt->session) != 0)
		reports->not_counted++;
	if (reports->flush_ms == 0)
		reports->flush_ms = clock_monotonic_ms() + REPORT_FLUSH_MS;
}

/* ---- by the clock ---- */

/* The end of the day that `now` is in, and a delay. */
static int64_t next_day_end(const struct relay *relay, int64_t now)
{
	return now - now % DAY_S + DAY_S + 1 + (int64_t)(relay->seed ^ (uint32_t)now) % REPORT_DELAY_MAX_S;
}

static bool count_one(void *arg, struct span key, struct span value)
{
	struct reports *reports = arg;
	uint64_t day;

	(void)value;
	reports->stored += report_traffic_key(key, &day);
	return true;
}

int reports_open(struct relay *relay)
{
	int64_t now = clock_wall();
	struct reports *reports;

	if (relay->state == NULL)
		return 0;
	reports = calloc(1, sizeof(*reports));
	if (reports == NULL)
		return E_NOMEM;
	reports->relay = relay;
	reports->state = relay->state;
	reports->day_end = now + relay->seed % REPORT_LATE_S;
	reports->pass_at = now;
	state_each(relay->state, STATE_TRAFFIC, span_str(""), count_one, reports);
	relay->reports = reports;
	return 0;
}

/* A batch in each turn, so that nothing else waits. */
static void close_days(struct reports *reports, int64_t now)
{
	char cursor[REPORT_KEY_MAX] = "";

	/* A clock that was ahead must not leave a day open until it is that late again. */
	if (now >= reports->day_end || reports->day_end > now + DAY_S + 1 + REPORT_DELAY_MAX_S) {
		reports->day_end = next_day_end(reports->relay, now);
		reports->closing = true;
	}
	if (!reports->closing || reports_close(reports, "", false, cursor) > 0)
		return;
	reports->closing = false;
	reports->pass_at = now;
}

void reports_sweep(struct relay *relay)
{
	struct reports *reports = relay->reports;
	int64_t now = clock_wall();

	if (reports == NULL || relay->halting)
		return;
	if (reports->flush_ms != 0 && clock_monotonic_ms() >= reports->flush_ms)
		reports_flush(reports);
	close_days(reports, now);
	if (!reports->pass.active && (now >= reports->pass_at || reports->pass_at > now + REPORT_PASS_S)) { /* also while they are off: what is left is forgotten */
		reports->pass_at = now + REPORT_PASS_S;
		reports->pass = (struct report_pass){.active = true};
	}
	reports_pump(reports);
}

void reports_halt(struct relay *relay)
{
	if (relay->reports == NULL)
		return;
	report_tasks_free(relay->reports);
	if (relay->reports->pass.reply != NULL)
		control_reply_done(relay->reports->pass.reply, EX_TEMPFAIL, "relay is being stopped");
	reports_flush(relay->reports);
	drop_counted(relay->reports);
	free(relay->reports);
	relay->reports = NULL;
}
