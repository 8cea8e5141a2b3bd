/* The control requests about destinations: stats, pause, resume; and what was tried for one message. */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <stdlib.h>
#include <sysexits.h>

enum { STATS_AGES = 8, STATS_FIRST = 300 };

/* Messages of one destination that wait, by how long ago they came: up to five minutes, ten, twenty … */
struct stats_row {
	uint64_t destination;
	uint64_t example; /* one of them */
	size_t total;
	size_t ages[STATS_AGES];
};

static int compare_rows(const void *a, const void *b)
{
	const struct stats_row *x = a, *y = b;

	return x->total != y->total ? (x->total < y->total) - (x->total > y->total) : (x->destination > y->destination) - (x->destination < y->destination);
}

static int compare_waiting(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return (x->destination > y->destination) - (x->destination < y->destination);
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

/* One row for each destination, the fullest first. NULL: no memory. */
static struct stats_row *gather_stats(struct queue *queue, size_t *count)
{
	struct waiting *copy = reallocarray(NULL, queue->heap_count + 1, sizeof(*copy));
	struct stats_row *rows = calloc(queue->heap_count + 1, sizeof(*rows));
	int64_t now = clock_wall();

	*count = 0;
	if (copy == NULL || rows == NULL) {
		free(copy);
		free(rows);
		return NULL;
	}
	if (queue->heap_count > 0)
		memcpy(copy, queue->heap, queue->heap_count * sizeof(*copy));
	qsort(copy, queue->heap_count, sizeof(*copy), compare_waiting);
	for (size_t i = 0; i < queue->heap_count; i++) {
		if (i == 0 || copy[i].destination != copy[i - 1].destination)
			rows[(*count)++] = (struct stats_row){.destination = copy[i].destination, .example = copy[i].id};
		count_age(&rows[*count - 1], copy[i].id, now);
	}
	free(copy);
	qsort(rows, *count, sizeof(*rows), compare_rows);
	return rows;
}

/* The heap has numbers; a message of it has the name. */
static void add_name(struct queue *queue, struct buf *out, const struct stats_row *row)
{
	struct message *m;
	struct err err;
	struct route route;
	bool loaded = message_find(queue, row->example) == NULL;

	if (row->destination == 0) {
		json_add_string(out, SPAN_LIT("(here, or several)"));
		return;
	}
	if (row->total == 0) {
		json_add_string(out, span_str(destination_by_number(queue, row->destination)->key));
		return;
	}
	m = message_find(queue, row->example);
	if (m == NULL && message_load(queue, row->example, false, &m, &err) != 0) {
		json_add_string(out, SPAN_LIT("(unknown)"));
		return;
	}
	json_add_string(out, outbound_destination_name(m, &route));
	if (loaded)
		message_free(m);
}

static void row_stats(struct queue *queue, struct control_reply *reply, const struct stats_row *row)
{
	static const char *const names[STATS_AGES] = {"5m", "10m", "20m", "40m", "80m", "160m", "320m", "older"};
	const struct destination *d = destination_by_number(queue, row->destination);
	struct buf out;

	buf_init(&out, CONTROL_PIECE);
	buf_add_str(&out, "{\"destination\":");
	add_name(queue, &out, row);
	buf_printf(&out, ",\"total\":%zu", row->total);
	for (size_t i = 0; i < STATS_AGES; i++)
		buf_printf(&out, ",\"%s\":%zu", names[i], row->ages[i]);
	buf_printf(&out, ",\"state\":\"%s\"", destination_state(d));
	buf_printf(&out, ",\"under_way\":%u,\"reason\":", d != NULL ? d->in_flight : 0);
	json_add_string(&out, span_str(d != NULL ? d->why : ""));
	buf_add_char(&out, '}');
	control_reply_row(reply, buf_span(&out));
	buf_fini(&out);
}

struct idle {
	struct queue *queue;
	struct control_reply *reply;
	const struct stats_row *rows;
	size_t count;
};

/* One that is paused is not to be forgotten when nothing waits for it. */
static void add_paused(void *arg, struct destination *d)
{
	struct idle *idle = arg;
	struct stats_row none = {.destination = d->number};

	for (size_t i = 0; i < idle->count; i++)
		if (idle->rows[i].destination == d->number)
			return;
	if (d->paused)
		row_stats(idle->queue, idle->reply, &none);
}

void queue_control_stats(struct queue *queue, struct control_reply *reply)
{
	struct idle idle = {.queue = queue, .reply = reply};
	struct stats_row *rows = gather_stats(queue, &idle.count);

	if (rows == NULL) {
		control_reply_done(reply, EX_TEMPFAIL, "no memory for the figures");
		return;
	}
	for (size_t i = 0; i < idle.count; i++)
		row_stats(queue, reply, &rows[i]);
	idle.rows = rows;
	destination_each(queue, add_paused, &idle);
	free(rows);
	control_reply_done(reply, EX_OK, "%s", idle.count > 0 ? "" : "nothing waits");
}

/* As it is known; else a domain, in small letters. NULL: no memory. */
static struct destination *find_named(struct queue *queue, struct span name)
{
	struct destination *d = destination_find(queue, name);
	char lower[SPOOL_PAUSED_NAME];

	for (size_t i = 0; i < name.len; i++)
		lower[i] = ascii_lower(name.ptr[i]);
	return d != NULL ? d : destination_get(queue, span_of(lower, name.len));
}

void queue_control_pause(struct queue *queue, struct control_reply *reply, struct span name, bool pause)
{
	struct destination *d = spool_paused_is_name(name) ? find_named(queue, name) : NULL;
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
	control_reply_done(reply, EX_OK, pause ? "nothing more goes to %s until 'mailwain queue resume'" : "mail goes to %s again", d->key);
}

void queue_control_attempts(struct control_reply *reply, const struct message *m)
{
	for (size_t i = 0; i < m->file.record_count; i++) {
		const struct spool_record *r = &m->file.records[i];
		struct buf out;

		buf_init(&out, CONTROL_PIECE);
		buf_printf(&out, "{\"when\":%lld,\"recipient\":", (long long)r->when);
		json_add_string(&out, r->recipient < m->file.envelope.recipient_count ? m->file.envelope.recipients[r->recipient].address : span_str(""));
		buf_printf(&out, ",\"status\":\"%s\",\"attempts\":%u,\"next\":%lld,\"reason\":", queue_status_name(r->status), r->attempts, (long long)r->next);
		json_add_string(&out, r->text);
		buf_add_char(&out, '}');
		control_reply_row(reply, buf_span(&out));
		buf_fini(&out);
	}
}
