/* The control requests about destinations: stats, pause, resume. */
#include "queue/control.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <stdlib.h>
#include <sysexits.h>

enum {
	STATS_AGES = 8,
	STATS_FIRST = 300,
	STATS_LOOKS = 200000, /* recipients of active messages that are looked at: a tenth of a second */
};

/* Messages for one destination, by how long ago they came: up to five minutes, ten, twenty … */
struct stats_row {
	struct text *destination; /* NULL: here, to several, or not known */
	size_t total, active;
	size_t ages[STATS_AGES];
};

struct stats {
	struct queue *queue;
	int64_t now;
	struct stats_row *rows;
	size_t count, size;
	struct text **kept; /* of active messages, until all has been said; one use each */
	size_t kept_count, looks;
};

static int compare_rows(const void *a, const void *b)
{
	const struct stats_row *x = a, *y = b;
	struct span p = text_span(x->destination), q = text_span(y->destination);
	int r = memcmp(p.ptr, q.ptr, p.len < q.len ? p.len : q.len);

	if (x->total != y->total)
		return (x->total < y->total) - (x->total > y->total);
	return r != 0 ? r : (p.len > q.len) - (p.len < q.len);
}

static void count_age(struct stats_row *row, uint64_t id, int64_t now)
{
	int64_t age = now - spool_id_ms(id) / 1000, limit = STATS_FIRST;
	size_t i = 0;

	while (i + 1 < STATS_AGES && age >= limit) {
		limit *= 2;
		i++;
	}
	row->ages[i]++;
	row->total++;
}

/* The row of a destination, whose text has its number; the first row is of those without one. NULL: no memory. */
static struct stats_row *row_for(struct stats *stats, struct text *destination)
{
	if (destination != NULL && destination->row != 0)
		return &stats->rows[destination->row];
	if (destination == NULL && stats->count > 0)
		return &stats->rows[0];
	if (stats->count == stats->size) {
		size_t size = stats->size > 0 ? 2 * stats->size : 64;
		struct stats_row *rows = reallocarray(stats->rows, size, sizeof(*rows));

		if (rows == NULL)
			return NULL;
		stats->rows = rows;
		stats->size = size;
	}
	if (destination != NULL)
		destination->row = (uint32_t)stats->count;
	stats->rows[stats->count] = (struct stats_row){.destination = destination};
	return &stats->rows[stats->count++];
}

/* NULL: here, to several, or not to be known by a look at some more. */
static struct text *destination_of(struct stats *stats, const struct message *m)
{
	struct queue *queue = stats->queue;
	struct span name = span_str("");
	struct text *text;
	struct route route;

	stats->looks += m->file.envelope.recipient_count;
	if (stats->looks <= STATS_LOOKS)
		name = outbound_destination_name(m, &route);
	text = name.len > 0 ? waiting_get(queue->waiting, name, destination_number(queue, name)) : NULL;
	if (text != NULL)
		stats->kept[stats->kept_count++] = text;
	return text;
}

static bool gather_active(struct stats *stats)
{
	struct queue *queue = stats->queue;

	stats->kept = reallocarray(NULL, queue->active_count + 1, sizeof(struct text *));
	if (stats->kept == NULL)
		return false;
	for (size_t i = 0; i < QUEUE_ACTIVE_BUCKETS; i++)
		for (const struct message *m = queue->active[i]; m != NULL; m = m->bucket_next) {
			struct stats_row *row;

			if (m->deleted || waiting_find(queue->waiting, m->id) != NULL)
				continue;
			row = row_for(stats, destination_of(stats, m));
			if (row == NULL)
				return false;
			count_age(row, m->id, stats->now);
			row->active++;
		}
	return true;
}

static bool gather_waiting(struct stats *stats)
{
	const struct waiting_set *waiting = stats->queue->waiting;

	for (size_t i = 0; i < waiting_count(waiting); i++) {
		const struct waiting *w = waiting_at(waiting, i);
		struct stats_row *row = row_for(stats, w->destination);

		if (row == NULL)
			return false;
		count_age(row, w->id, stats->now);
	}
	return true;
}

/* One row for each destination, the fullest first. false: no memory. */
static bool gather_stats(struct stats *stats)
{
	bool good = row_for(stats, NULL) != NULL && gather_waiting(stats) && gather_active(stats);

	for (size_t i = 1; i < stats->count; i++)
		stats->rows[i].destination->row = 0;
	if (good)
		qsort(stats->rows, stats->count, sizeof(*stats->rows), compare_rows);
	return good;
}

static void row_stats(struct control_reply *reply, const struct destination *d, struct span name, const struct stats_row *row)
{
	static const char *const names[STATS_AGES] = {"5m", "10m", "20m", "40m", "80m", "160m", "320m", "older"};
	struct buf out;

	buf_init(&out, CONTROL_PIECE);
	buf_add_str(&out, "{\"destination\":");
	json_add_string(&out, name);
	buf_printf(&out, ",\"total\":%zu,\"active\":%zu", row->total, row->active);
	for (size_t i = 0; i < STATS_AGES; i++)
		buf_printf(&out, ",\"%s\":%zu", names[i], row->ages[i]);
	buf_printf(&out, ",\"state\":\"%s\"", destination_state(d));
	buf_printf(&out, ",\"under_way\":%u,\"reason\":", d != NULL ? d->in_flight : 0);
	json_add_string(&out, span_str(d != NULL ? d->why : ""));
	buf_add_char(&out, '}');
	control_reply_row(reply, buf_span(&out));
	buf_fini(&out);
}

static void row_waiting(struct queue *queue, struct control_reply *reply, const struct stats_row *row)
{
	if (row->destination != NULL)
		row_stats(reply, destination_by_number(queue, row->destination->hash), text_span(row->destination), row);
	else
		row_stats(reply, NULL, SPAN_LIT("(here, or several)"), row);
}

struct idle {
	struct control_reply *reply;
	const struct stats *stats;
};

/* One that is paused is not to be forgotten when nothing waits for it. */
static void add_paused(void *arg, struct destination *d)
{
	static const struct stats_row none;
	struct idle *idle = arg;

	if (!d->paused)
		return;
	for (size_t i = 0; i < idle->stats->count; i++)
		if (idle->stats->rows[i].destination != NULL && span_eq(text_span(idle->stats->rows[i].destination), span_str(d->key)))
			return;
	row_stats(idle->reply, d, span_str(d->key), &none);
}

static void stats_fini(struct stats *stats)
{
	for (size_t i = 0; i < stats->kept_count; i++)
		waiting_put(stats->queue->waiting, stats->kept[i]);
	free(stats->kept);
	free(stats->rows);
}

void queue_control_stats(struct queue *queue, struct control_reply *reply)
{
	struct stats stats = {.queue = queue, .now = queue_now(queue)};
	struct idle idle = {reply, &stats};
	char left[QUEUE_LEFT];
	size_t rows = 0;

	queue_control_left(queue, left);
	if (gather_stats(&stats)) {
		for (size_t i = 0; i < stats.count; i++)
			if (stats.rows[i].total > 0) {
				row_waiting(queue, reply, &stats.rows[i]);
				rows++;
			}
		destination_each(queue, add_paused, &idle);
		control_reply_done(reply, EX_OK, "%s", left[0] != '\0' ? left : rows > 0 ? "" : "nothing waits");
	} else {
		control_reply_done(reply, EX_TEMPFAIL, "no memory for the figures");
	}
	stats_fini(&stats);
}

/* Something went there lately, or waits for it: the first does not hold after a start, nor where a transport block refuses it all. */
static bool is_known(struct queue *queue, struct span name)
{
	return destination_find(queue, name) != NULL || waiting_count_to(queue->waiting, destination_number(queue, name)) > 0;
}

/* As it is known; else a domain, in small letters. NULL: no memory. */
static struct destination *find_named(struct queue *queue, struct span name, bool *known)
{
	char lower[SPOOL_PAUSED_NAME];

	*known = is_known(queue, name);
	if (!*known) {
		for (size_t i = 0; i < name.len; i++)
			lower[i] = ascii_lower(name.ptr[i]);
		name = span_of(lower, name.len);
		*known = is_known(queue, name);
	}
	return destination_get(queue, name);
}

void queue_control_pause(struct queue *queue, struct control_reply *reply, struct span name, bool pause)
{
	bool known = false;
	struct destination *d = spool_paused_is_name(name) ? find_named(queue, name, &known) : NULL;
	struct err err = {0};
	int r;

	if (d == NULL || (!pause && !d->paused)) {
		control_reply_done(reply, EX_DATAERR, d == NULL ? "'%.*s' cannot be the name of a destination" : "%.*s is not paused", SPAN_ARG(span_sub(name, 0, 300)));
		return;
	}
	r = pause_set(d, pause, &err);
	if (r != 0) {
		control_reply_done(reply, r == E_LIMIT ? EX_DATAERR : EX_TEMPFAIL, "%s", err.text);
		return;
	}
	log_event(EV_queue_admin, daemon_log(queue->daemon), F_STR("destination", d->key), F_STR("action", pause ? "pause" : "resume"));
	if (!pause)
		outbound_wake(d);
	control_reply_done(reply, EX_OK,
	    !pause  ? "mail goes to %s again"
	    : known ? "nothing more goes to %s until 'mailwain queue resume'"
		    : "nothing goes to %s until 'mailwain queue resume'; no message waits for that name alone, as far as is known: 'mailwain queue stats' has the names",
	    d->key);
}
