/* A letter on its way into the queue: it waits for a spool file, is copied into it in slices, and committed. */
#include "submission/pickup.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

enum { JOB_ENVELOPE_PIECE = 56 * 1024, JOB_OUT_MAX = PICKUP_COMPLETE_MAX + 8192, JOB_FROM_MAX = 2048 };

/* ---- letters that came lately ---- */

static const struct remembered *find_remembered(const struct pickup *pickup, uid_t uid, const unsigned char *handover)
{
	for (size_t i = 0; i < PICKUP_REMEMBERED; i++) {
		const struct remembered *r = &pickup->remembered[i];

		if (r->qid[0] != '\0' && r->uid == uid && memcmp(r->handover, handover, LETTER_HANDOVER) == 0)
			return r;
	}
	return NULL;
}

static void remember(const struct job *job)
{
	struct pickup *pickup = job->pickup;
	struct remembered *r = &pickup->remembered[pickup->remembered_next++ % PICKUP_REMEMBERED];

	r->uid = job->uid;
	memcpy(r->handover, job->letter.handover, LETTER_HANDOVER);
	memcpy(r->qid, job->qid, sizeof(r->qid));
}

bool job_runs(const struct pickup *pickup, uid_t uid, const unsigned char handover[LETTER_HANDOVER])
{
	for (const struct job *job = pickup->jobs; job != NULL; job = job->next)
		if (job->uid == uid && memcmp(job->letter.handover, handover, LETTER_HANDOVER) == 0)
			return true;
	return false;
}

/* ---- its life ---- */

static void file_close(struct job *job)
{
	if (job->file >= 0)
		close(job->file);
	job->file = -1;
}

static void log_end(const struct job *job, int code, const char *text)
{
	const struct letter *letter = &job->letter;

	if (code == 0)
		log_event(EV_pickup_queued, daemon_log(job->pickup->daemon), F_STR("qid", job->qid), F_STR("from", job->sender), F_SPAN("to", letter->recipients[0].address),
		    F_U64("rcpts", letter->recipient_count), F_U64("size", job->written), F_U64("uid", job->uid), F_SPAN("user", letter->user));
	else
		log_event(EV_pickup_failed, daemon_log(job->pickup->daemon), F_U64("uid", job->uid), F_SPAN("user", letter->user), F_STR("error", text));
}

static void job_end(struct job *job, int code, const char *text)
{
	struct pickup *pickup = job->pickup;

	log_end(job, code, text);
	if (code == 0)
		remember(job);
	*job->link = job->next;
	if (job->next != NULL)
		job->next->link = job->link;
	pickup->job_count--;
	pickup->total += code == 0;
	job->done(job->arg, code, code == 0 ? job->qid : "", text);
	file_close(job);
	close(job->fd);
	event_free(job->timer);
	buf_fini(&job->from);
	complete_fini(&job->complete);
	buf_fini(&job->out);
	pool_free(&job->pool);
	free(job);
	pickup_try_finish(pickup);
}

/* The file goes back to queue when it still has to do with it. */
static void job_fail(struct job *job, int code, const char *text)
{
	struct queue_discard body = {.id = job->id};

	if (job->file >= 0 && job->pickup->queue != NULL)
		ipc_conn_send(job->pickup->queue, &ipc_queue_discard, 0, &body, -1);
	job_end(job, code, text);
}

static int send_commit(struct job *job, struct span envelope)
{
	struct ipc_conn *queue = job->pickup->queue;
	struct queue_commit body = {.id = job->id, .content = job->written};
	int r = queue != NULL ? 0 : E_UNAVAILABLE;

	while (envelope.len > JOB_ENVELOPE_PIECE && r == 0) {
		struct queue_envelope piece = {.id = job->id, .part = span_sub(envelope, 0, JOB_ENVELOPE_PIECE)};

		r = ipc_conn_send(queue, &ipc_queue_envelope, 0, &piece, -1);
		envelope = span_from(envelope, JOB_ENVELOPE_PIECE);
	}
	body.envelope = envelope;
	return r == 0 ? ipc_conn_send(queue, &ipc_queue_commit, 0, &body, -1) : r;
}

static void job_commit(struct job *job)
{
	struct buf envelope;
	int r;

	buf_init(&envelope, SPOOL_ENVELOPE_MAX);
	r = message_encode_envelope(job, &envelope);
	if (r == 0)
		r = send_commit(job, buf_span(&envelope));
	buf_fini(&envelope);
	if (r == 0)
		job->state = JOB_COMMITS;
	else
		job_fail(job, r, r == E_TOOBIG ? "The recipients take too much room" : err_text(r));
}

static void copy_slice(struct job *job)
{
	bool more = false;
	struct err err = {0};
	int r = message_copy(job, &more, &err);

	if (r != 0)
		job_fail(job, r, err.text);
	else if (more)
		event_active(job->timer, EV_TIMEOUT, 0);
	else
		job_commit(job);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;

	(void)fd;
	(void)what;
	if (job->state == JOB_COPIES)
		copy_slice(job);
	else if (job->state == JOB_WAITS_FILE)
		job_fail(job, E_UNAVAILABLE, "The queue is not to be reached");
}

static void ask_file(struct job *job)
{
	struct timeval tv = {.tv_sec = PICKUP_FILE_MS / 1000};
	struct queue_take ask = {.count = 1};

	job->state = JOB_WAITS_FILE;
	evtimer_add(job->timer, &tv);
	if (job->pickup->queue != NULL)
		ipc_conn_send(job->pickup->queue, &ipc_queue_take, 0, &ask, -1);
}

/* Without memory for a job there is none that could end. */
static void refuse(struct pool *pool, int fd, job_done *done, void *arg)
{
	close(fd);
	pool_free(&pool);
	done(arg, E_NOMEM, "", err_text(E_NOMEM));
}

void job_start(struct pickup *pickup, const struct letter *letter, struct pool *pool, uid_t uid, int fd, uint64_t begin, uint64_t end, job_done *done, void *arg)
{
	const struct remembered *known = find_remembered(pickup, uid, letter->handover);
	struct job *job = known == NULL ? calloc(1, sizeof(*job)) : NULL;

	if (known != NULL) {
		log_event(EV_pickup_repeated, daemon_log(pickup->daemon), F_STR("qid", known->qid), F_U64("uid", uid));
		done(arg, 0, known->qid, "");
		close(fd);
		pool_free(&pool);
		return;
	}
	if (job != NULL)
		job->timer = evtimer_new(daemon_base(pickup->daemon), on_timer, job);
	if (job == NULL || job->timer == NULL) {
		free(job);
		refuse(pool, fd, done, arg);
		return;
	}
	job->pickup = pickup;
	job->pool = pool;
	job->letter = *letter;
	job->uid = uid;
	job->fd = fd;
	job->begin = begin;
	job->end = end;
	job->file = -1;
	job->done = done;
	job->arg = arg;
	buf_init(&job->from, JOB_FROM_MAX);
	buf_init(&job->out, JOB_OUT_MAX);
	job->next = pickup->jobs;
	job->link = &pickup->jobs;
	if (job->next != NULL)
		job->next->link = &job->next;
	pickup->jobs = job;
	pickup->job_count++;
	ask_file(job);
}

/* ---- what queue says ---- */

static struct job *find_waiting(struct pickup *pickup)
{
	struct job *job = pickup->jobs, *found = NULL;

	for (; job != NULL; job = job->next)
		if (job->state == JOB_WAITS_FILE)
			found = job; /* the last in the list has waited longest */
	return found;
}

void job_file(struct pickup *pickup, uint64_t id, int fd)
{
	struct job *job = find_waiting(pickup);
	struct queue_discard back = {.id = id};
	struct err err = {0};
	int r;

	if (job == NULL || fd < 0) {
		if (fd >= 0)
			close(fd);
		ipc_conn_send(pickup->queue, &ipc_queue_discard, 0, &back, -1);
		if (job != NULL)
			job_fail(job, E_NOFILES, err_text(E_NOFILES));
		return;
	}
	evtimer_del(job->timer);
	job->state = JOB_COPIES;
	job->file = fd;
	job->id = id;
	spool_id_format(id, job->qid);
	r = message_begin(job, &err);
	if (r != 0)
		job_fail(job, r, err.text);
	else
		copy_slice(job);
}

/* queue answers in the order in which it was asked, but what it cannot give to one it cannot give to the others. */
void job_no_file(struct pickup *pickup, int code)
{
	struct job *job;

	while ((job = find_waiting(pickup)) != NULL)
		job_fail(job, code, err_text(code));
}

void job_committed(struct pickup *pickup, uint64_t id, int code, struct span text)
{
	char why[ERR_TEXT_MAX];
	struct job *job = pickup->jobs;

	while (job != NULL && !(job->state == JOB_COMMITS && job->id == id))
		job = job->next;
	if (job == NULL)
		return;
	span_copy(text, why, sizeof(why));
	job_end(job, code, code == 0 ? "" : why[0] != '\0' ? why : err_text(code));
}

/* What was being committed may be safe or not: who hands it in does so again. The rest begins anew when queue is back. */
void jobs_queue_lost(struct pickup *pickup)
{
	struct job *job = pickup->jobs;

	while (job != NULL) {
		struct job *next = job->next;

		if (job->state == JOB_COMMITS) {
			job_end(job, E_UNAVAILABLE, "The queue was restarted");
		} else if (job->state == JOB_COPIES) {
			file_close(job);
			evtimer_del(job->timer);
			ask_file(job);
		}
		job = next;
	}
}

void jobs_queue_found(struct pickup *pickup)
{
	struct queue_take ask = {0};

	for (const struct job *job = pickup->jobs; job != NULL; job = job->next)
		ask.count += job->state == JOB_WAITS_FILE;
	if (ask.count > 0 && pickup->queue != NULL)
		ipc_conn_send(pickup->queue, &ipc_queue_take, 0, &ask, -1);
}
