/* From traffic to reports: a day, or a part of one, is closed; what waits to be sent is kept with when and how often it was tried. */
#include "relay/report_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

enum { DAY_S = 86400, DAY_TEXT = 8, END_TEXT = 11, DAY_LAST = 49991231 /* the second of its end has eleven digits */ };

/* ---- the stored form: "R <first> <next> <attempts>", then the traffic ---- */

static bool take_number(struct span *line, uint64_t *out)
{
	struct span field;

	if (line->len < 2 || line->ptr[0] != '\t')
		return false;
	*line = span_from(*line, 1);
	field = span_sub(*line, 0, span_find(*line, '\t'));
	*line = span_from(*line, field.len);
	return span_u64(field, INT64_MAX, out);
}

/* So many digits, a blank, and a domain; a string, or it could not be named when it is to go. */
static bool is_key(struct span key, size_t digits, size_t size)
{
	return key.len > digits + 1 && key.len < size && key.ptr[digits] == ' ' && span_find(key, '\0') == key.len;
}

bool report_traffic_key(struct span key, uint64_t *day)
{
	return is_key(key, DAY_TEXT, REPORT_KEY_MAX) && span_u64(span_sub(key, 0, DAY_TEXT), DAY_LAST, day);
}

bool report_parse(struct span key, struct span value, struct report_stored *out)
{
	size_t line_end = span_find(value, '\n');
	struct span line = span_sub(value, 0, line_end);
	uint64_t end, first, next, attempts;

	if (!is_key(key, END_TEXT, sizeof(out->key)) || !span_u64(span_sub(key, 0, END_TEXT), INT64_MAX, &end))
		return false;
	if (!span_startswith(line, SPAN_LIT("R\t")))
		return false;
	line = span_from(line, 1);
	if (!take_number(&line, &first) || !take_number(&line, &next) || !take_number(&line, &attempts) || line.len > 0)
		return false;
	span_copy(key, out->key, sizeof(out->key));
	out->domain = out->key + END_TEXT + 1;
	out->end = (int64_t)end;
	out->first = (int64_t)first;
	out->next = (int64_t)next;
	out->attempts = (unsigned)attempts;
	out->traffic = span_from(value, line_end + 1);
	return true;
}

static int put(struct reports *reports, const struct report_stored *r, struct err *err)
{
	struct buf text;
	int code;

	buf_init(&text, STATE_VALUE_MAX);
	buf_printf(&text, "R\t%lld\t%lld\t%u\n", (long long)r->first, (long long)r->next, r->attempts);
	buf_add_span(&text, r->traffic);
	code = buf_failed(&text) ? err_set(err, E_NOMEM, "no memory for a report") : state_put(reports->state, STATE_REPORTS, span_str(r->key), buf_span(&text), err);
	buf_fini(&text);
	return code;
}

int report_save(struct reports *reports, const struct report_stored *report, struct err *err)
{
	int r = state_begin(reports->state, err);

	if (r == 0)
		r = put(reports, report, err);
	if (r == 0)
		return state_commit(reports->state, err);
	state_abort(reports->state);
	return r;
}

void report_forget(struct reports *reports, const char *key)
{
	struct err err = {0};
	int r = state_begin(reports->state, &err);

	if (r == 0)
		r = state_delete(reports->state, STATE_REPORTS, span_str(key), &err);
	if (r == 0)
		r = state_commit(reports->state, &err);
	else
		state_abort(reports->state);
	if (r != 0)
		log_event(EV_relay_report_error, daemon_log(reports->relay->daemon), F_ERR(&err));
}

/* ---- closing ---- */

struct batch {
	unsigned today;
	bool now;
	const char *domain;
	char *cursor;
	size_t count;
	struct closed {
		char key[REPORT_KEY_MAX];
		struct tlsrpt_traffic *traffic;
	} all[REPORT_BATCH];
};

/* A value that cannot be read is closed as well: it is dropped. A key that is none is passed over, here and by all others: it cannot be named. */
static bool take_one(void *arg, struct span key, struct span value)
{
	struct batch *batch = arg;
	struct closed *c = &batch->all[batch->count];
	struct span domain = span_from(key, DAY_TEXT + 1);
	uint64_t day = 0;

	if (!report_traffic_key(key, &day))
		return true;
	if (!batch->now && day >= batch->today)
		return false;
	span_copy(key, batch->cursor, REPORT_KEY_MAX);
	if (batch->domain[0] != '\0' && !span_eq(domain, span_str(batch->domain)))
		return true;
	if (tlsrpt_traffic_decode(value, &c->traffic) == E_NOMEM)
		return false;
	if (batch->now && c->traffic != NULL && c->traffic->policy_count == 0) { /* closed before, and nothing since */
		tlsrpt_traffic_free(&c->traffic);
		return true;
	}
	span_copy(key, c->key, sizeof(c->key));
	return ++batch->count < REPORT_BATCH;
}

/* Of today a record stays, which says since when. */
static int leave_rest(struct reports *reports, const struct closed *c, int64_t begin, struct err *err)
{
	struct tlsrpt_traffic *rest = tlsrpt_traffic_new(begin);
	struct buf text;
	int r;

	if (rest == NULL)
		return err_set(err, E_NOMEM, "no memory for the counters of a domain");
	buf_init(&text, STATE_VALUE_MAX);
	tlsrpt_traffic_encode(rest, &text);
	r = buf_failed(&text) ? err_set(err, E_NOMEM, "no memory for the counters of a domain") : state_put(reports->state, STATE_TRAFFIC, span_str(c->key), buf_span(&text), err);
	buf_fini(&text);
	tlsrpt_traffic_free(&rest);
	return r;
}

static int64_t end_of_day(const char *key)
{
	unsigned day = (unsigned)strtoul(key, NULL, 10);

	return (clock_days(day / 10000, day / 100 % 100, day % 100) + 1) * DAY_S - 1;
}

static int close_one(struct reports *reports, const struct closed *c, int64_t now, bool today, struct err *err)
{
	struct report_stored report = {.next = now, .end = today ? now : end_of_day(c->key)};
	struct buf text;
	int r = 0;

	if (c->traffic != NULL && report.end < c->traffic->begin) /* twice within a second */
		report.end = c->traffic->begin;
	if (c->traffic != NULL && c->traffic->policy_count > 0) {
		snprintf(report.key, sizeof(report.key), "%0*lld %s", END_TEXT, (long long)report.end, c->key + DAY_TEXT + 1);
		buf_init(&text, STATE_VALUE_MAX);
		tlsrpt_traffic_encode(c->traffic, &text);
		report.traffic = buf_span(&text);
		r = buf_failed(&text) ? err_set(err, E_NOMEM, "no memory for a report") : put(reports, &report, err);
		buf_fini(&text);
	}
	if (r == 0)
		r = today ? leave_rest(reports, c, report.end + 1, err) : state_delete(reports->state, STATE_TRAFFIC, span_str(c->key), err);
	return r;
}

static int close_batch(struct reports *reports, const struct batch *batch, int64_t now, struct err *err)
{
	unsigned gone = 0;
	int r = state_begin(reports->state, err);

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		bool today = (unsigned)strtoul(batch->all[i].key, NULL, 10) == batch->today;

		r = close_one(reports, &batch->all[i], now, today, err);
		gone += !today;
	}
	if (r != 0) {
		state_abort(reports->state);
		return r;
	}
	r = state_commit(reports->state, err);
	if (r == 0)
		reports->stored -= gone < reports->stored ? gone : reports->stored;
	return r;
}

int reports_close(struct reports *reports, const char *domain, bool now, char cursor[REPORT_KEY_MAX])
{
	struct batch *batch = calloc(1, sizeof(*batch));
	int64_t wall = clock_wall();
	struct err err = {0};
	int count, r;

	if (batch == NULL || !reports_flush(reports)) {
		free(batch);
		return -1;
	}
	batch->today = report_day(wall);
	batch->now = now;
	batch->domain = domain;
	batch->cursor = cursor;
	r = state_each(reports->state, STATE_TRAFFIC, span_str(cursor), take_one, batch);
	if (r == 0 && batch->count > 0)
		r = close_batch(reports, batch, wall, &err);
	count = r == 0 ? (int)batch->count : -1;
	if (r != 0 && err.code != 0)
		log_event(EV_relay_report_error, daemon_log(reports->relay->daemon), F_ERR(&err));
	for (size_t i = 0; i < batch->count; i++)
		tlsrpt_traffic_free(&batch->all[i].traffic);
	free(batch);
	return count;
}
