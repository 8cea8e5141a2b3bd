/*
 * What administrators change of messages: flush, hold, release, delete, bounce, requeue, reroute; a few by their ids, or all that fit a
 * filter, in a walk beside which mail goes on.
 */
#include "queue/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"
#include "queue/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* Then the file has no room for what may still be changed: what became of recipients comes first. */
enum { CHANGE_JOURNAL_MAX = SPOOL_JOURNAL_MAX / 2 };

enum action { ACTION_FLUSH, ACTION_HOLD, ACTION_RELEASE, ACTION_DELETE, ACTION_BOUNCE, ACTION_REQUEUE, ACTION_REROUTE };

struct change {
	struct queue *queue;
	struct filter filter;
	enum action action;
	struct reroute reroute;
	size_t count, failed;
	int code; /* of the last that failed */
	uint32_t directories; /* bit i: a file of the i-th is gone */
	struct err err;	      /* the same */
	/* Of all that fit: */
	struct control_reply *reply;
	struct pool *pool; /* of the filter and of reroute */
	struct walk *walk; /* until its end */
	unsigned flying;   /* messages that a thread has */
	uint32_t number;
	char left[QUEUE_LEFT]; /* what could not be looked at, as it was at the beginning */
};

static int keep_held(struct queue *queue, struct message *m, bool held, struct err *err)
{
	struct spool_record record = {.status = held ? SPOOL_HOLD : SPOOL_RELEASE, .recipient = UINT32_MAX, .when = queue_now(queue)};
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
	recover_forget(m->queue, m->id);
	return 0;
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

/* A file to which a script has said a million things. What ends the waiting is taken always. */
static bool is_full(const struct message *m, enum action action)
{
	return m->file.journal > CHANGE_JOURNAL_MAX && (action == ACTION_HOLD || action == ACTION_REQUEUE || action == ACTION_REROUTE);
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
	if (action == ACTION_FLUSH && m->held)
		return err_set(err, E_CANNOT, "%s is held: 'mailwain queue release %s' lets it go", id, id);
	if (action == ACTION_BOUNCE && message_is_under_way(m))
		return err_set(err, E_BUSY, "%s is being delivered now; hold it first, or try again", id);
	if (action == ACTION_REROUTE && !reroute_concerns(m, &c->reroute))
		return err_set(err, E_NOTFOUND, "no recipient of %s waits to be sent there", id);
	r = is_full(m, action) ? err_set(err, E_LIMIT, "the file of %s has too many records already: release, bounce or delete it", id) : write_down(c, m, err);
	if (r != 0) {
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", id), F_STR("action", action_names[action]), F_ERR(err));
		return r;
	}
	log_event(EV_queue_admin, daemon_log(queue->daemon), F_STR("qid", id), F_STR("action", action_names[action]));
	if (message_is_under_way(m)) {
		m->flushed |= action == ACTION_FLUSH && m->busy == 0;
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
	m->next = queue_now(m->queue);
	if (action != ACTION_DELETE)
		schedule_message(m);
	return 0;
}

/* One has been done with, or has not. */
static void change_count(struct change *c, uint64_t id, int code)
{
	if (code != 0) {
		c->code = code;
		c->failed++;
		return;
	}
	c->count++;
	if (c->action == ACTION_DELETE)
		c->directories |= UINT32_C(1) << queue_directory_of(id);
}

static void change_message(struct change *c, struct message *m)
{
	uint64_t id = m->id;

	change_count(c, id, act(c, m, &c->err));
}

static bool is_meant(const struct change *c, const struct message *m)
{
	return filter_matches(m, &c->filter) && !(c->action == ACTION_FLUSH && (m->held || schedule_is_early(m))) &&
	       (c->action != ACTION_REROUTE || reroute_concerns(m, &c->reroute));
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
	if (c->failed > 0)
		control_reply_done(reply, queue_control_exit(c->code), "%zu of %zu done; %s", c->count, c->count + c->failed, c->err.text);
	else
		control_reply_done(reply, EX_OK, "%zu message%s%s%s", c->count, c->count == 1 ? "" : "s", c->left[0] != '\0' ? "; " : "", c->left);
}

static void change_ids(struct change *c, const struct span *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct message *m;
		uint64_t id;
		bool loaded;
		int r = queue_control_message(c->queue, ids[i], &m, &loaded, &c->err);

		if (r != 0) {
			c->code = r;
			c->failed++;
			continue;
		}
		id = m->id;
		change_message(c, m);
		m = message_find(c->queue, id); /* it may be gone, or its notification on the way */
		if (loaded && m != NULL && !message_is_under_way(m))
			message_free(m);
	}
}

/* ---- changes of all that fit, while mail goes on ---- */

enum { CHANGE_FLYING = 64 /* commits wait behind them */, CHANGE_POOL_MAX = 256 * 1024 };

static void log_change(const struct change *c, uint64_t id, const struct err *err)
{
	const struct log_ctx *log = daemon_log(c->queue->daemon);
	char text[SPOOL_ID_TEXT];

	spool_id_format(id, text);
	if (err != NULL)
		log_event(EV_queue_error, log, F_STR("qid", text), F_STR("action", action_names[c->action]), F_ERR(err));
	else
		log_event(EV_queue_admin, log, F_STR("qid", text), F_STR("action", action_names[c->action]));
}

/* A thread has done its part of one. */
static void change_landed(struct change *c, const struct disk_job *job)
{
	if (job->code != 0)
		c->err = job->err;
	change_count(c, job->id, job->code);
	log_change(c, job->id, job->code != 0 ? &job->err : NULL);
	c->flying--;
}

static void change_go_on(struct change *c);

static void on_deleted(struct disk_job *job)
{
	struct change *c = job->arg;

	if (job->code == E_NOTFOUND)
		job->code = 0;
	if (job->code != 0)
		schedule_add(c->queue, job->id, queue_now(c->queue) + 60, false);
	change_landed(c, job);
	change_go_on(c);
}

/* What waits is nobody's: its file goes without having been read. */
static enum walk_next delete_waiting(struct change *c, uint64_t id)
{
	struct disk_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return WALK_LATER;
	schedule_remove(c->queue, id);
	job->kind = DISK_WORK;
	job->id = id;
	job->fd = -1;
	job->work = removal_job;
	job->done = on_deleted;
	job->arg = c;
	c->flying++;
	disk_submit(c->queue->disk, job);
	return WALK_ON;
}

/* Once for all of a change that go there. */
static void wake_once(struct change *c, struct destination *d)
{
	if (d == NULL || d->woken == c->number)
		return;
	d->woken = c->number;
	outbound_wake(d);
}

/* Its destination is tried though it may be dead. */
static enum walk_next flush_waiting(struct change *c, struct waiting *w)
{
	struct destination *d = w->destination != NULL ? destination_by_number(c->queue, w->destination->hash) : NULL;
	uint64_t id = w->id;

	if (w->held || (w->wished && waiting_due(c->queue->waiting, w) > queue_now(c->queue)))
		return WALK_ON;
	schedule_now(c->queue, w);
	wake_once(c, d);
	change_count(c, id, 0);
	log_change(c, id, NULL);
	return WALK_ON;
}

static void on_noted(struct disk_job *job)
{
	struct message *m = message_find(((struct change *)job->arg)->queue, job->id);
	struct change *c = job->arg;

	m->writing = false;
	change_landed(c, job);
	if (m->deleted) {
		message_remove(m);
	} else if (job->code == 0) {
		message_rest(m);
	} else { /* its file knows */
		schedule_add(c->queue, m->id, queue_now(c->queue) + 60, false);
		message_free(m);
	}
	change_go_on(c);
}

static bool is_noted(enum action action)
{
	return action == ACTION_HOLD || action == ACTION_RELEASE || action == ACTION_REQUEUE;
}

/* What its record says, though the thread is not back: others may change it before. */
static void take_note(struct change *c, struct message *m)
{
	struct route route;

	m->next = queue_now(c->queue);
	if (c->action != ACTION_REQUEUE) {
		m->held = c->action == ACTION_HOLD;
		return;
	}
	wake_once(c, destination_find(c->queue, outbound_destination_name(m, &route)));
	requeue_apply(m);
	m->anew = true;
}

/* By a thread; m is on no way but this one. */
static bool note_waiting(struct change *c, struct message *m)
{
	struct disk_job *job = calloc(1, sizeof(*job));

	if (job != NULL)
		job->records = calloc(1, sizeof(*job->records));
	if (job == NULL || job->records == NULL) {
		free(job);
		return false;
	}
	*job->records = (struct spool_record){.status = c->action == ACTION_HOLD ? SPOOL_HOLD : c->action == ACTION_RELEASE ? SPOOL_RELEASE : SPOOL_REQUEUED, .recipient = UINT32_MAX, .when = queue_now(c->queue)};
	job->record_count = 1;
	job->kind = DISK_APPEND;
	job->id = m->id;
	job->fd = m->fd;
	job->done = on_noted;
	job->arg = c;
	schedule_remove(c->queue, m->id);
	take_note(c, m);
	m->writing = true;
	c->flying++;
	disk_submit(c->queue->disk, job);
	return true;
}

/* From its file: what is known of it does not suffice. */
static enum walk_next change_file(struct change *c, const struct waiting *w)
{
	struct message *m;
	struct err err = {0};
	uint64_t id = w->id;
	int r;

	if (c->queue->active_count > c->queue->active_max - c->queue->active_max / 8)
		return WALK_LATER; /* notifications of those before are on their way */
	r = message_load(c->queue, id, false, &m, &err);
	if (r != 0 && r != E_NOTFOUND && r != E_CORRUPT) { /* it is there, and was not looked at */
		c->err = err;
		change_count(c, id, r);
		log_change(c, id, &err);
	}
	if (r != 0)
		return WALK_ON;
	if (!w->held)
		m->next = waiting_due(c->queue->waiting, w);
	if (is_meant(c, m) && !(is_noted(c->action) && !is_full(m, c->action) && note_waiting(c, m)))
		change_message(c, m);
	m = message_find(c->queue, id); /* it may be gone, or its notification on the way */
	if (m != NULL && !message_is_under_way(m))
		message_free(m);
	return WALK_ON;
}

static enum walk_next change_active(struct change *c, struct message *m)
{
	if (!is_meant(c, m))
		return WALK_ON;
	if (m->writing)
		disk_settle(c->queue->disk);
	change_message(c, m);
	return WALK_ON;
}

static enum walk_next change_one(void *arg, uint64_t id)
{
	struct change *c = arg;
	struct message *m = message_find(c->queue, id);
	struct waiting *w = m == NULL ? waiting_find(c->queue->waiting, id) : NULL;
	enum filter_fit fit = w != NULL ? filter_fits(c->queue, w, &c->filter) : FILTER_NO;

	if (c->flying >= CHANGE_FLYING)
		return WALK_WAIT;
	if (m != NULL)
		return change_active(c, m);
	if (fit == FILTER_NO)
		return WALK_ON;
	if (fit == FILTER_YES && c->action == ACTION_DELETE)
		return delete_waiting(c, id);
	if (fit == FILTER_YES && c->action == ACTION_FLUSH && (w->destination != NULL || !w->several))
		return flush_waiting(c, w);
	return change_file(c, w);
}

static void change_free(struct change *c)
{
	pool_free(&c->pool);
	free(c);
}

static void sync_by_thread(struct disk_job *job)
{
	sync_directories(job->arg);
}

static void on_synced(struct disk_job *job)
{
	struct change *c = job->arg;

	change_done(c, c->reply);
	change_free(c);
}

/* After a thread's work: more of them, or the end. */
static void change_go_on(struct change *c)
{
	if (c->walk != NULL) {
		walk_go_on(c->walk);
		return;
	}
	if (c->flying > 0)
		return;
	if (c->directories != 0 && disk_work(c->queue->disk, 0, sync_by_thread, on_synced, c))
		return;
	sync_directories(c);
	change_done(c, c->reply);
	change_free(c);
}

static void change_walked(void *arg)
{
	struct change *c = arg;

	c->walk = NULL;
	change_go_on(c);
}

static bool change_all(struct queue *queue, struct control_reply *reply, const struct filter *filter, enum action action, const struct reroute *reroute)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return false;
	*c = (struct change){.queue = queue, .reply = reply, .action = action, .number = ++queue->last_change, .reroute = *reroute, .pool = pool_new(NULL, CHANGE_POOL_MAX)};
	queue_control_left(queue, c->left);
	if (c->pool != NULL && reroute->destination.len > 0)
		c->reroute.destination = pool_span(c->pool, reroute->destination);
	if (c->pool != NULL && filter_copy(c->pool, filter, &c->filter) && !pool_starved(c->pool))
		c->walk = walk_begin(queue, change_one, change_walked, c);
	if (c->walk != NULL)
		return true;
	change_free(c);
	return false;
}

static void change_begin(struct queue *queue, struct control_reply *reply, const struct span *args, struct filter *filter, size_t ids, enum action action)
{
	struct change change = {.queue = queue, .action = action};

	if (action == ACTION_REROUTE && filter->to.len == 0) {
		control_reply_done(reply, EX_USAGE, "where to? --to WAY is missing");
		return;
	}
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
		sync_directories(&change);
		change_done(&change, reply);
		return;
	}
	if (!filter->any || ids > 0) {
		control_reply_done(reply, EX_USAGE, "name messages by id or by filters (see --help), not both, or --all for all %zu of them",
		    waiting_count(queue->waiting) + queue->active_count);
		return;
	}
	if (!change_all(queue, reply, filter, action, &change.reroute))
		control_reply_done(reply, EX_TEMPFAIL, "no memory for that");
}

bool queue_control_change(struct queue *queue, struct control_reply *reply, const struct span *args, struct filter *filter, size_t ids)
{
	enum action action;

	if (!action_find(args[1], &action))
		return false;
	change_begin(queue, reply, args, filter, ids, action);
	return true;
}
