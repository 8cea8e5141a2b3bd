/*
 * Reports about TLS as relay has stored them, and traffic that is closed: what is read is written as the same and read again, what cannot be
 * read goes away, and what is closed is a report. Each is shown as JSON that anybody can read.
 *
 * Input: an octet: which table, and whether the day is over; the key, a line; the value.
 */
#include "tests/fuzz/fuzz.h"

#include "relay/relay.h"
#include "relay/report_private.h"
#include "tests/daemon.h"
#include "tlsrpt/report.h"

#include <jansson.h>
#include <stdlib.h>

enum { OPTION_REPORT = 1, OPTION_NOW = 2, TODAY = 20261126 };

/* ---- the state: one record of each table ---- */

static struct {
	bool there;
	char *key, *value;
	struct span key_span, value_span;
} records[STATE_TABLES];

static void drop(enum state_table table)
{
	free(records[table].key);
	free(records[table].value);
	records[table].key = records[table].value = NULL;
	records[table].there = false;
}

static void set(enum state_table table, struct span key, struct span value)
{
	char *k = fuzz_copy(key), *v = fuzz_copy(value);

	drop(table);
	records[table].there = true;
	records[table].key_span = span_of(records[table].key = k, key.len);
	records[table].value_span = span_of(records[table].value = v, value.len);
}

int state_begin(struct state *state, struct err *err)
{
	(void)state, (void)err;
	return 0;
}

int state_commit(struct state *state, struct err *err)
{
	(void)state, (void)err;
	return 0;
}

void state_abort(struct state *state)
{
	(void)state;
	fuzz_failed("nothing fails", __FILE__, __LINE__);
}

int state_put(struct state *state, enum state_table table, struct span key, struct span value, struct err *err)
{
	(void)state, (void)err;
	fuzz_assert(key.len > 0 && key.len <= STATE_KEY_MAX && value.len <= STATE_VALUE_MAX);
	set(table, key, value);
	return 0;
}

int state_delete(struct state *state, enum state_table table, struct span key, struct err *err)
{
	(void)state, (void)err;
	fuzz_assert(records[table].there);
	fuzz_assert_same(records[table].key_span, key);
	drop(table);
	return 0;
}

int state_each(struct state *state, enum state_table table, struct span from, state_each_record *each, void *arg)
{
	(void)state, (void)from;
	if (records[table].there)
		each(arg, records[table].key_span, records[table].value_span);
	return 0;
}

/* ---- of report.c ---- */

bool reports_flush(struct reports *reports)
{
	(void)reports;
	return true;
}

unsigned report_day(int64_t wall)
{
	(void)wall;
	return TODAY;
}

/* ---- the target ---- */

static void show(const struct report_stored *stored)
{
	struct tlsrpt_traffic *traffic;
	struct tlsrpt_report report;
	json_t *json;
	struct buf text;

	if (tlsrpt_traffic_decode(stored->traffic, &traffic) != 0)
		return;
	report = (struct tlsrpt_report){.organization = "we", .contact = "tls@we.example", .domain = stored->domain, .id = "1@we.example", .begin = traffic->begin, .end = stored->end, .traffic = traffic};
	buf_init(&text, TLSRPT_JSON_MAX);
	tlsrpt_report_json(&report, &text);
	fuzz_assert(!buf_failed(&text));
	json = json_loadb(buf_span(&text).ptr, buf_len(&text), JSON_ALLOW_NUL, NULL);
	fuzz_assert(json_is_object(json));
	json_decref(json);
	buf_fini(&text);
	tlsrpt_traffic_free(&traffic);
}

static bool same(const struct report_stored *a, const struct report_stored *b)
{
	return strcmp(a->key, b->key) == 0 && strcmp(a->domain, b->domain) == 0 && a->end == b->end && a->first == b->first && a->next == b->next && a->attempts == b->attempts &&
	       span_eq(a->traffic, b->traffic);
}

static void take_report(struct reports *reports, struct span key, struct span value)
{
	struct report_stored stored, again;
	struct err err;

	if (!report_parse(key, value, &stored))
		return;
	fuzz_assert(fuzz_within(value, stored.traffic) && strlen(stored.key) < sizeof(stored.key) && stored.domain > stored.key && stored.domain <= stored.key + strlen(stored.key));
	show(&stored);
	fuzz_assert(report_save(reports, &stored, &err) == 0);
	fuzz_assert(report_parse(records[STATE_REPORTS].key_span, records[STATE_REPORTS].value_span, &again) && same(&stored, &again));
	report_forget(reports, stored.key);
	fuzz_assert(!records[STATE_REPORTS].there);
}

static void take_traffic(struct reports *reports, bool now, struct span key, struct span value)
{
	char cursor[REPORT_KEY_MAX] = "";
	struct report_stored stored;
	int closed;

	set(STATE_TRAFFIC, key, value);
	closed = reports_close(reports, "", now, cursor);
	fuzz_assert(closed == 0 || closed == 1);
	if (records[STATE_REPORTS].there) {
		fuzz_assert(closed == 1 && report_parse(records[STATE_REPORTS].key_span, records[STATE_REPORTS].value_span, &stored));
		fuzz_assert(stored.first == 0 && stored.attempts == 0);
		show(&stored);
	}
}

void fuzz_one(struct span input)
{
	struct relay relay = {0};
	struct reports reports = {.relay = &relay};
	unsigned options = fuzz_byte(&input);
	struct span key = fuzz_until(&input, '\n');

	if (options & OPTION_REPORT)
		take_report(&reports, key, input);
	else if (key.len < STATE_KEY_MAX)
		take_traffic(&reports, options & OPTION_NOW, key, input);
	drop(STATE_REPORTS);
	drop(STATE_TRAFFIC);
}
