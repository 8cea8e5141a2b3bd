/* The control requests: list, show, cat, flush, hold, release, delete. */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

struct filter {
	struct span sender, recipient, status, destination, reason;
	int64_t before; /* came before that, seconds since 1970; 0: whenever */
	bool any; /* one of them, or --all */
	struct span to; /* of reroute; no filter */
};

const char *queue_status_name(enum spool_status s)
{
	static const char *const names[] = {"pending", "delivered", "deferred", "failed", "expired", "hold", "release", "dsn-sent", "warned", "target-done", "kept", "requeued", "rerouted"};

	return names[s];
}

static const char *message_status(const struct message *m)
{
	if (m->held)
		return "held";
	if (schedule_is_early(m))
		return "scheduled";
	return m->busy > 0 || m->dsn_pending ? "active" : "deferred";
}

static void row_begin(struct buf *row, const struct message *m, size_t recipient)
{
	char id[SPOOL_ID_TEXT];

	spool_id_format(m->id, id);
	buf_init(row, CONTROL_PIECE);
	buf_printf(row, "{\"id\":\"%s\",\"status\":\"%s\",\"size\":%llu,\"arrived\":%lld,\"next\":%lld,\"sender\":", id, message_status(m),
	    (unsigned long long)m->file.content, (long long)m->file.envelope.arrived, (long long)m->next);
	json_add_string(row, m->file.envelope.sender);
	buf_add_str(row, ",\"recipient\":");
	json_add_string(row, m->file.envelope.recipients[recipient].address);
}

static void row_end(struct control_reply *reply, struct buf *row, struct span reason)
{
	buf_add_str(row, ",\"reason\":");
	json_add_string(row, reason);
	buf_add_char(row, '}');
	control_reply_row(reply, buf_span(row));
	buf_fini(row);
}

/* The first recipient that still waits stands for the message in the list. */
static void row_message(struct control_reply *reply, const struct message *m)
{
	struct buf row;
	size_t shown = 0;

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (m->states[i].status == SPOOL_PENDING || m->states[i].status == SPOOL_DEFERRED) {
			shown = i;
			break;
		}
	row_begin(&row, m, shown);
	buf_printf(&row, ",\"recipient_count\":%zu", m->file.envelope.recipient_count);
	row_end(reply, &row, m->states[shown].text);
}

static void row_recipient(struct control_reply *reply, const struct message *m, size_t i)
{
	struct buf row;

	row_begin(&row, m, i);
	buf_printf(&row, ",\"recipient_status\":\"%s\",\"attempts\":%u", queue_status_name(m->states[i].status), m->states[i].attempts);
	buf_add_str(&row, ",\"way\":");
	json_add_string(&row, m->states[i].way);
	row_end(reply, &row, m->states[i].text);
}

static bool has_reason(const struct message *m, struct span part)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (memmem(m->states[i].text.ptr, m->states[i].text.len, part.ptr, part.len) != NULL)
			return true;
	return false;
}

static bool matches(const struct message *m, const struct filter *f)
{
	bool recipient = f->recipient.len == 0;
	struct route route;

	if (f->before != 0 && m->file.envelope.arrived >= f->before)
		return false;
	if (f->destination.len > 0 && !span_caseeq(outbound_destination_name(m, &route), f->destination))
		return false;
	if (f->reason.len > 0 && !has_reason(m, f->reason))
		return false;
	for (size_t i = 0; i < m->file.envelope.recipient_count && !recipient; i++)
		recipient = span_caseeq(m->file.envelope.recipients[i].address, f->recipient);
	return recipient && !m->deleted && (f->sender.len == 0 || span_caseeq(m->file.envelope.sender, f->sender)) &&
	       (f->status.len == 0 || span_eq(f->status, span_str(message_status(m))));
}

/* Calls fn for each message of the queue, waiting ones read from their files. fn may free the message. */
static size_t each_message(struct queue *queue, void (*fn)(void *arg, struct message *m), void *arg)
{
	size_t count = queue->heap_count, seen = 0;
	struct waiting *copy = reallocarray(NULL, count + 1, sizeof(*copy));
	uint64_t *active = reallocarray(NULL, queue->active_count + 1, sizeof(*active));
	size_t active_count = 0;

	if (copy == NULL || active == NULL)
		goto out;
	if (count > 0)
		memcpy(copy, queue->heap, count * sizeof(*copy));
	for (size_t b = 0; b < QUEUE_ACTIVE_BUCKETS; b++)
		for (struct message *m = queue->active[b]; m != NULL; m = m->bucket_next)
			active[active_count++] = m->id;
	for (size_t i = 0; i < active_count; i++) {
		struct message *m = message_find(queue, active[i]);

		if (m != NULL) {
			fn(arg, m);
			seen++;
		}
	}
	for (size_t i = 0; i < count; i++) {
		struct message *m;
		struct err err = {0};

		if (message_find(queue, copy[i].id) != NULL || message_load(queue, copy[i].id, false, &m, &err) != 0)
			continue;
		if (copy[i].next != INT64_MAX)
			m->next = copy[i].next;
		fn(arg, m);
		seen++;
		m = message_find(queue, copy[i].id);
		if (m != NULL && m->busy == 0 && !m->dsn_pending && !m->writing)
			message_free(m);
	}
out:
	free(copy);
	free(active);
	return seen;
}

struct listing {
	struct control_reply *reply;
	const struct filter *filter;
	size_t count;
};

static void list_one(void *arg, struct message *m)
{
	struct listing *l = arg;

	if (!matches(m, l->filter))
		return;
	row_message(l->reply, m);
	l->count++;
}

/* ---- one message by its id ---- */

static int with_message(struct queue *queue, struct span text, struct message **m, bool *loaded, struct err *err)
{
	uint64_t id;
	int r;

	*loaded = false;
	if (!spool_id_parse(text, &id))
		return err_set(err, E_SYNTAX, "'%.*s' is not a queue id", SPAN_ARG(span_sub(text, 0, 40)));
	*m = message_find(queue, id);
	if (*m != NULL && !(*m)->deleted)
		return 0;
	*loaded = true;
	r = *m != NULL ? E_NOTFOUND : message_load(queue, id, false, m, err);
	if (r == E_NOTFOUND)
		err_set(err, r, "there is no message %.*s", SPAN_ARG(text));
	return r;
}

static void send_content(struct control_reply *reply, const struct message *m)
{
	char *piece = malloc(CONTROL_PIECE);
	uint64_t at = 0;

	while (piece != NULL && at < m->file.content) {
		uint64_t left = m->file.content - at;
		ssize_t n = pread(m->fd, piece, left < CONTROL_PIECE ? (size_t)left : CONTROL_PIECE, (off_t)at);

		if (n <= 0)
			break;
		control_reply_text(reply, span_of(piece, (size_t)n));
		at += (uint64_t)n;
	}
	free(piece);
}

static unsigned exit_of(int code)
{
	return err_is_temp(code) ? EX_TEMPFAIL : EX_DATAERR;
}

enum show { SHOW_RECIPIENTS, SHOW_CONTENT, SHOW_ATTEMPTS };

static void do_show(struct queue *queue, struct control_reply *reply, struct span id, enum show what)
{
	struct message *m;
	struct err err = {0};
	bool loaded;
	int r = with_message(queue, id, &m, &loaded, &err);

	if (r != 0) {
		control_reply_done(reply, exit_of(r), "%s", err.text);
		return;
	}
	if (what == SHOW_CONTENT)
		send_content(reply, m);
	else if (what == SHOW_ATTEMPTS)
		queue_control_attempts(reply, m);
	else
		for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
			row_recipient(reply, m, i);
	if (loaded)
		message_free(m);
	control_reply_done(reply, EX_OK, "%s", "");
}

/* ---- changes ---- */

enum action { ACTION_FLUSH, ACTION_HOLD, ACTION_RELEASE, ACTION_DELETE, ACTION_BOUNCE, ACTION_REQUEUE, ACTION_REROUTE };

struct change {
	struct queue *queue;
	const struct filter *filter;
	enum action action;
	struct reroute reroute;
	size_t count, failed;
	int code; /* of the last that failed */
	uint32_t directories; /* bit i: a file of the i-th is gone */
	struct err err;	      /* the same */
};

static int keep_held(struct queue *queue, struct message *m, bool held, struct err *err)
{
	struct spool_record record = {.status = held ? SPOOL_HOLD : SPOOL_RELEASE, .recipient = UINT32_MAX, .when = clock_wall()};
	int r = spool_append(m->fd, m->id, queue->key, &record, 1, true, err);

	if (r == 0)
		m->held = held;
	return r;
}

static int remove_file(struct message *m, struct err *err)
{
	char path[QUEUE_PATH];

	queue_path(m->id, path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno(err, errno, "unlink of %s", path);
	m->deleted = true;
	return 0;
}

static bool is_under_way(const struct message *m)
{
	return m->busy > 0 || m->dsn_pending || m->writing;
}

static const char *const action_names[] = {"flush", "hold", "release", "delete", "bounce", "requeue", "reroute"};

static bool action_find(struct span verb, enum action *out)
{
	for (unsigned i = 0; i < sizeof(action_names) / sizeof(action_names[0]); i++)
		if (span_eq(verb, span_str(action_names[i]))) {
			*out = (enum action)i;
			return true;
		}
	return false;
}

/* What stands on the disk when it counts. */
static int write_down(struct change *c, struct message *m, struct err *err)
{
	switch (c->action) {
	case ACTION_DELETE:
		return remove_file(m, err);
	case ACTION_HOLD:
	case ACTION_RELEASE:
		return keep_held(c->queue, m, c->action == ACTION_HOLD, err);
	case ACTION_REQUEUE:
		return requeue_message(m, err);
	case ACTION_REROUTE:
		return reroute_message(m, &c->reroute, err);
	default:
		return 0;
	}
}

/* After disk_settle: no thread is writing into the file. What is under way takes it into account when it ends. The message may be gone afterwards. */
static int act(struct change *c, struct message *m, struct err *err)
{
	struct queue *queue = c->queue;
	enum action action = c->action;
	bool again = action == ACTION_REQUEUE || action == ACTION_REROUTE;
	char id[SPOOL_ID_TEXT];
	int r;

	spool_id_format(m->id, id);
	if (action == ACTION_FLUSH && schedule_is_early(m))
		return err_set(err, E_CANNOT, "%s is not sent before the time its sender asked for, see 'next' of 'mailwain queue show'", id);
	if (action == ACTION_BOUNCE && is_under_way(m))
		return err_set(err, E_BUSY, "%s is being delivered now; hold it first, or try again", id);
	if (action == ACTION_REROUTE && !reroute_concerns(m, &c->reroute))
		return err_set(err, E_NOTFOUND, "no recipient of %s waits to be sent there", id);
	r = write_down(c, m, err);
	if (r != 0) {
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", id), F_STR("action", action_names[action]), F_ERR(err));
		return r;
	}
	log_event(EV_queue_admin, daemon_log(queue->daemon), F_STR("qid", id), F_STR("action", action_names[action]));
	if (is_under_way(m)) {
		m->anew |= again;
		if (again)
			outbound_withdraw(m);
		return 0;
	}
	schedule_remove(queue, m->id);
	if (action == ACTION_BOUNCE) {
		message_bounce(m);
		return 0;
	}
	if (action == ACTION_FLUSH || again)
		outbound_retry(m);
	m->next = clock_wall();
	if (action != ACTION_DELETE)
		schedule_message(m);
	return 0;
}

static void change_message(struct change *c, struct message *m)
{
	unsigned directory = queue_directory_of(m->id);
	int r = act(c, m, &c->err);

	if (r != 0) {
		c->code = r;
		c->failed++;
		return;
	}
	c->count++;
	if (c->action == ACTION_DELETE)
		c->directories |= UINT32_C(1) << directory;
}

static void change_one(void *arg, struct message *m)
{
	struct change *c = arg;

	if (matches(m, c->filter) && !(c->action == ACTION_FLUSH && schedule_is_early(m)) && (c->action != ACTION_REROUTE || reroute_concerns(m, &c->reroute)))
		change_message(c, m);
}

/* What was deleted does not come back after a power cut: once for a directory, however many it were. */
static void sync_directories(struct change *c)
{
	for (unsigned i = 0; i < QUEUE_DIRECTORIES; i++) {
		char path[QUEUE_PATH];
		int r;

		queue_directory(i, path);
		if ((c->directories >> i & 1) == 0)
			continue;
		r = queue_sync_directory(path, &c->err);
		if (r != 0) {
			c->code = r;
			c->failed++;
		}
	}
}

static void change_done(struct change *c, struct control_reply *reply)
{
	sync_directories(c);
	if (c->failed > 0)
		control_reply_done(reply, exit_of(c->code), "%zu of %zu done; %s", c->count, c->count + c->failed, c->err.text);
	else
		control_reply_done(reply, EX_OK, "%zu message%s", c->count, c->count == 1 ? "" : "s");
}

static void change_ids(struct change *c, const struct span *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct message *m;
		uint64_t id;
		bool loaded;
		int r = with_message(c->queue, ids[i], &m, &loaded, &c->err);

		if (r != 0) {
			c->code = r;
			c->failed++;
			continue;
		}
		id = m->id;
		change_message(c, m);
		m = message_find(c->queue, id); /* it may be gone, or its notification on the way */
		if (loaded && m != NULL && !is_under_way(m))
			message_free(m);
	}
}

static bool parse_filter(const struct span *args, size_t count, struct filter *f, size_t *ids)
{
	struct span older = span_str("");
	uint64_t ms;

	*ids = 0;
	for (size_t i = 2; i < count; i++) {
		struct span *value = span_eq(args[i], SPAN_LIT("--sender")) || span_eq(args[i], SPAN_LIT("--from")) ? &f->sender
			: span_eq(args[i], SPAN_LIT("--recipient")) ? &f->recipient
			: span_eq(args[i], SPAN_LIT("--destination")) ? &f->destination
			: span_eq(args[i], SPAN_LIT("--reason")) ? &f->reason
			: span_eq(args[i], SPAN_LIT("--older")) ? &older
			: span_eq(args[i], SPAN_LIT("--status")) ? &f->status
			: span_eq(args[i], SPAN_LIT("--to")) ? &f->to : NULL;

		if (span_eq(args[i], SPAN_LIT("--all"))) {
			f->any = true;
		} else if (value != NULL) {
			if (i + 1 == count)
				return false;
			*value = args[++i];
			f->any |= value != &f->to;
		} else if (span_startswith(args[i], SPAN_LIT("--"))) {
			return false;
		} else {
			(*ids)++;
		}
	}
	if (older.len > 0 && !conf_parse_time(older, &ms))
		return false;
	f->before = older.len > 0 ? clock_wall() - (int64_t)(ms / 1000) : 0;
	return true;
}

static bool is_status(struct span s)
{
	return s.len == 0 || span_eq(s, SPAN_LIT("active")) || span_eq(s, SPAN_LIT("deferred")) || span_eq(s, SPAN_LIT("scheduled")) ||
	       span_eq(s, SPAN_LIT("held"));
}

static void do_change(struct queue *queue, struct control_reply *reply, const struct span *args,
    struct filter *filter, size_t ids, enum action action)
{
	struct change change = {.queue = queue, .filter = filter, .action = action};

	if (action == ACTION_REROUTE && reroute_parse(daemon_conf(queue->daemon), filter->to, &change.reroute, &change.err) != 0) {
		control_reply_done(reply, EX_USAGE, "%s", change.err.text);
		return;
	}
	if (action == ACTION_REROUTE) { /* of a message to several, those who go there */
		change.reroute.destination = filter->destination;
		filter->destination = span_str("");
	}
	if (ids > 0 && !filter->any) {
		disk_settle(queue->disk);
		change_ids(&change, args + 2, ids);
		change_done(&change, reply);
		return;
	}
	if (!filter->any || ids > 0) {
		control_reply_done(reply, EX_USAGE, "name messages by id, or by --sender or --recipient, or --all for all %zu of them",
		    queue->heap_count + queue->active_count);
		return;
	}
	disk_settle(queue->disk);
	each_message(queue, change_one, &change);
	change_done(&change, reply);
}

void queue_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret)
{
	struct queue *queue = arg;
	struct filter filter = {0};
	struct listing listing = {.reply = reply, .filter = &filter};
	struct span verb = count > 1 ? args[1] : span_str("");
	enum action action;
	size_t ids;

	(void)input;
	(void)secret;
	if (!parse_filter(args, count, &filter, &ids)) {
		control_reply_done(reply, EX_USAGE, "see `mailwain queue --help`");
	} else if (!is_status(filter.status)) {
		control_reply_done(reply, EX_USAGE, "a status is active, deferred, scheduled or held");
	} else if (span_eq(verb, SPAN_LIT("list"))) {
		each_message(queue, list_one, &listing);
		control_reply_done(reply, EX_OK, "%s", listing.count > 0 ? "" : filter.any ? "no message fits" : "the queue is empty");
	} else if (span_eq(verb, SPAN_LIT("show")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_RECIPIENTS);
	} else if (span_eq(verb, SPAN_LIT("cat")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_CONTENT);
	} else if (span_eq(verb, SPAN_LIT("attempts")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_ATTEMPTS);
	} else if (span_eq(verb, SPAN_LIT("explain")) && ids == 1) {
		explain_begin(queue, reply, args[2], filter.sender);
	} else if (span_eq(verb, SPAN_LIT("stats")) && count == 2) {
		queue_control_stats(queue, reply);
	} else if ((span_eq(verb, SPAN_LIT("pause")) || span_eq(verb, SPAN_LIT("resume"))) && ids == 1) {
		queue_control_pause(queue, reply, args[2], span_eq(verb, SPAN_LIT("pause")));
	} else if (action_find(verb, &action)) {
		do_change(queue, reply, args, &filter, ids, action);
	} else {
		control_reply_done(reply, EX_USAGE, "see `mailwain queue --help`");
	}
}
