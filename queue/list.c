/* `mailwain queue list`: rows from what is known of the messages, without reading them; and the row of a recipient. */
#include "queue/control.h"

#include "base/json.h"
#include "ipc/ipc.h"
#include "net/control.h"
#include "queue/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum { LIST_POOL_MAX = 256 * 1024, LIST_ROWS = 16 * 1024 /* octets of rows in one message, about */ };

struct listing {
	struct queue *queue;
	struct control_reply *reply;
	struct pool *pool; /* of the filter */
	struct filter filter;
	struct walk *walk;
	struct buf rows; /* on their way: a message for each would cost more than the row */
	size_t count;
	char left[QUEUE_LEFT]; /* what it cannot know; as it was at its beginning */
};

/* What all rows begin with. */
struct row {
	uint64_t id, size;
	const char *status;
	int64_t arrived, next;
	struct span sender, recipient;
};

static void row_begin(struct buf *out, const struct row *row)
{
	char id[SPOOL_ID_TEXT];

	spool_id_format(row->id, id);
	buf_printf(out, "{\"id\":\"%s\",\"status\":\"%s\",\"size\":%llu,\"arrived\":%lld,\"next\":%lld,\"sender\":", id, row->status,
	    (unsigned long long)row->size, (long long)row->arrived, (long long)row->next);
	json_add_string(out, row->sender);
	buf_add_str(out, ",\"recipient\":");
	json_add_string(out, row->recipient);
}

static void row_end(struct buf *out, struct span reason)
{
	buf_add_str(out, ",\"reason\":");
	json_add_string(out, reason);
	buf_add_char(out, '}');
}

static struct row row_of(const struct message *m, size_t recipient)
{
	const struct queue_clock *clock = &m->queue->clock;

	return (struct row){.id = m->id, .size = m->file.content, .status = filter_status_of(m), .arrived = queue_clock_shown(clock, schedule_came(m)), .next = queue_clock_shown(clock, m->next),
	    .sender = m->file.envelope.sender, .recipient = m->file.envelope.recipients[recipient].address};
}

const char *queue_status_name(enum spool_status s)
{
	static const char *const names[] = {"pending", "delivered", "deferred", "failed", "expired", "hold", "release", "dsn-sent", "warned", "target-done", "kept", "requeued", "rerouted", "owner"};

	return names[s];
}

void queue_control_row_recipient(struct control_reply *reply, const struct message *m, size_t i)
{
	struct row row = row_of(m, i);
	struct buf out;

	buf_init(&out, CONTROL_PIECE);
	row_begin(&out, &row);
	buf_printf(&out, ",\"recipient_status\":\"%s\",\"attempts\":%u", queue_status_name(m->states[i].status), m->states[i].attempts);
	buf_add_str(&out, ",\"way\":");
	json_add_string(&out, m->states[i].way);
	queue_control_add_envelope(&out, m, (uint32_t)i);
	row_end(&out, m->states[i].text);
	control_reply_row(reply, buf_span(&out));
	buf_fini(&out);
}

static void send_rows(struct listing *l)
{
	if (buf_len(&l->rows) > 0)
		control_reply_row(l->reply, buf_span(&l->rows));
	buf_clear(&l->rows);
}

static void show(struct listing *l, const struct row *row, size_t recipients, struct span reason)
{
	size_t before;

	if (buf_len(&l->rows) >= LIST_ROWS)
		send_rows(l);
	before = buf_len(&l->rows);
	if (before > 0)
		buf_add_char(&l->rows, '\n');
	row_begin(&l->rows, row);
	buf_printf(&l->rows, ",\"recipient_count\":%zu", recipients);
	row_end(&l->rows, reason);
	if (buf_failed(&l->rows))
		buf_cut(&l->rows, before); /* longer than any row is: the others are shown */
	l->count++;
}

/* The first recipient that still waits stands for the message. */
static void show_message(struct listing *l, const struct message *m)
{
	size_t shown = message_shown(m);
	struct row row = row_of(m, shown);

	show(l, &row, m->file.envelope.recipient_count, m->states[shown].text);
}

static void show_waiting(struct listing *l, const struct waiting *w)
{
	const struct queue_clock *clock = &l->queue->clock;
	int64_t next = !w->held ? queue_clock_shown(clock, waiting_due(l->queue->waiting, w)) : w->wished ? w->next : queue_clock_shown(clock, w->next);
	struct row row = {.id = w->id, .size = w->size, .status = filter_status_of_waiting(l->queue, w), .arrived = queue_clock_shown(clock, w->arrived),
	    .next = next, .sender = text_span(w->sender), .recipient = text_span(w->recipient)};

	show(l, &row, w->recipients, text_span(w->reason));
}

static void look_into_file(struct listing *l, const struct waiting *w)
{
	struct message *m;
	struct err err = {0};

	if (message_load(l->queue, w->id, false, &m, &err) != 0)
		return;
	if (!w->held)
		m->next = waiting_due(l->queue->waiting, w);
	if (filter_matches(m, &l->filter))
		show_message(l, m);
	message_free(m);
}

static enum walk_next list_one(void *arg, uint64_t id)
{
	struct listing *l = arg;
	const struct message *m = message_find(l->queue, id);
	const struct waiting *w = m == NULL ? waiting_find(l->queue->waiting, id) : NULL;
	enum filter_fit fit = w != NULL ? filter_fits(l->queue, w, &l->filter) : FILTER_NO;

	if (control_reply_is_gone(l->reply))
		return WALK_STOP;
	if (!control_reply_has_room(l->reply, walk_go_on, l->walk))
		return WALK_WAIT;
	if (m != NULL && filter_matches(m, &l->filter))
		show_message(l, m);
	else if (fit == FILTER_YES)
		show_waiting(l, w);
	else if (fit == FILTER_READ)
		look_into_file(l, w);
	return WALK_ON;
}

void queue_control_left(const struct queue *queue, char out[QUEUE_LEFT])
{
	size_t left = recover_left(queue);

	out[0] = '\0';
	if (left > 0)
		snprintf(out, QUEUE_LEFT, "the spool is being read: %zu more files are not known yet", left);
}

static void listing_free(struct listing *l)
{
	pool_free(&l->pool);
	buf_fini(&l->rows);
	free(l);
}

static void list_end(void *arg)
{
	struct listing *l = arg;

	send_rows(l);
	control_reply_done(l->reply, EX_OK, "%s", l->left[0] != '\0' ? l->left : l->count > 0 ? "" : l->filter.any ? "no message fits" : "the queue is empty");
	listing_free(l);
}

void queue_control_list(struct queue *queue, struct control_reply *reply, const struct filter *filter)
{
	struct listing *l = calloc(1, sizeof(*l));

	if (l != NULL) {
		l->queue = queue;
		l->reply = reply;
		l->pool = pool_new(NULL, LIST_POOL_MAX);
		buf_init(&l->rows, CONTROL_PIECE);
		queue_control_left(queue, l->left);
	}
	if (l != NULL && l->pool != NULL && filter_copy(l->pool, filter, &l->filter))
		l->walk = walk_begin(queue, list_one, list_end, l);
	if (l != NULL && l->walk != NULL)
		return;
	control_reply_done(reply, EX_TEMPFAIL, "no memory for the list");
	if (l != NULL)
		listing_free(l);
}
