/*
 * The spool at start: names are gathered, then files are read, oldest first, by the threads that wait for the disk, a batch of names each.
 * The loop takes what they found, and new mail flows meanwhile.
 */
#include "queue/queue.h"
#include "queue/waiting.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	RECOVER_BATCH = 32,  /* files that a thread reads in a row */
	RECOVER_FLYING = 16, /* batches at once: a commit waits behind few */
	RECOVER_POOL_MAX = 8 * 1024 * 1024,
};

struct recovery {
	struct queue *queue;
	uint64_t *ids;
	size_t count, size, next;
	size_t known;	 /* those that are no more to be looked at */
	struct batch *batches; /* under way; the loop's */
	unsigned flying;       /* so many */
	uint64_t ready, deferred, held, removed, damaged;
};

/* What a thread found under one name. */
struct found {
	uint64_t id;
	const char *odd; /* it is no file of queue's; static */
	int code;	 /* of spool_read */
	struct err err;
	struct pool *pool; /* of file */
	struct spool_file file;
};

struct batch {
	struct batch *next;
	struct recovery *recovery;
	size_t count;
	struct found found[RECOVER_BATCH];
	bool gone[RECOVER_BATCH]; /* deleted while it was read; the loop's */
};

static int note(struct recovery *r, uint64_t id)
{
	if (r->count == r->size) {
		size_t size = r->size ? 2 * r->size : 1024;
		uint64_t *ids = reallocarray(r->ids, size, sizeof(*ids));

		if (ids == NULL)
			return E_NOMEM;
		r->ids = ids;
		r->size = size;
	}
	r->ids[r->count++] = id;
	return 0;
}

static bool lies_in(uint64_t id, const char *directory)
{
	char path[QUEUE_PATH];
	size_t len = strlen(directory);

	queue_path(id, path);
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/* NULL: there is no more, or *r says why it is not known. */
static struct dirent *next_entry(DIR *dir, const char *path, int *r, struct err *err)
{
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (entry == NULL && errno != 0)
		*r = err_set_errno(err, errno, "reading %s in the spool", path);
	return entry;
}

/* What is no queue id has no business here: named in the log and left alone. */
static int read_directory(struct queue *queue, const char *path, struct recovery *r, struct err *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int failed = 0;

	if (dir == NULL)
		return err_set_errno(err, errno, "%s in the spool", path);
	while ((entry = next_entry(dir, path, &failed, err)) != NULL) {
		uint64_t id;

		if (entry->d_name[0] == '.')
			continue;
		if (!spool_id_parse(span_str(entry->d_name), &id) || !lies_in(id, path)) {
			log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("directory", path), F_STR("file", entry->d_name),
			    F_STR("error", "is not the name of a queue file of this directory; remove it from the spool"));
			continue;
		}
		if (id > queue->last_id)
			queue->last_id = id;
		if (note(r, id) != 0) {
			closedir(dir);
			return err_set(err, E_NOMEM, "no memory for the spool's names");
		}
	}
	closedir(dir);
	return failed;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Whoever put something else here meant no good, or did not know what he did: it is neither followed nor waited for. */
static const char *what_is_odd(uint64_t id)
{
	char path[QUEUE_PATH];
	struct stat st;

	queue_path(id, path);
	if (lstat(path, &st) != 0)
		return NULL;
	if (!S_ISREG(st.st_mode))
		return "is no regular file";
	return st.st_uid != geteuid() ? "belongs to another user" : NULL;
}

/* ---- by a thread ---- */

static void read_one(const struct queue *queue, struct found *f)
{
	int fd;

	f->odd = what_is_odd(f->id);
	if (f->odd != NULL)
		return;
	f->pool = pool_new(NULL, RECOVER_POOL_MAX);
	if (f->pool == NULL) {
		f->code = err_set(&f->err, E_NOMEM, "out of memory");
		return;
	}
	f->code = queue_open_file(f->id, O_RDONLY, &fd, &f->err);
	if (f->code != 0)
		return;
	f->code = spool_read(fd, f->id, queue->key, false, f->pool, &f->file, &f->err);
	close(fd);
}

static void read_batch(struct disk_job *job)
{
	struct batch *batch = job->arg;

	for (size_t i = 0; i < batch->count; i++)
		read_one(batch->recovery->queue, &batch->found[i]);
}

/* ---- by the loop ---- */

static void take_message(struct recovery *r, struct message *m)
{
	bool open = false;

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		open |= message_is_open(&m->states[i]) || (!m->states[i].told && m->states[i].status >= SPOOL_FAILED);
	*(m->held ? &r->held : m->next > queue_now(m->queue) || schedule_is_early(m) ? &r->deferred : &r->ready) += 1;
	if (!open)
		m->next = 0;
	schedule_message(m);
	message_free(m);
}

/* Temporary: it is looked at again. */
static void take_later(struct queue *queue, const struct found *f)
{
	log_event(EV_queue_error, daemon_log(queue->daemon), F_ERR(&f->err));
	schedule_add(queue, f->id, queue_now(queue) + 60, false);
}

static void take_one(struct recovery *r, struct found *f)
{
	struct queue *queue = r->queue;
	struct message *m = NULL;

	/* An administrator was here while it was read. */
	if (message_find(queue, f->id) != NULL || waiting_find(queue->waiting, f->id) != NULL)
		return;
	if (f->code == 0 && f->odd == NULL) {
		m = message_new(queue, -1, f->pool, &f->file);
		f->pool = NULL; /* the message's, or gone with it */
		if (m == NULL)
			f->code = err_set(&f->err, E_NOMEM, "out of memory");
	}
	if (m != NULL) {
		take_message(r, m);
	} else if (f->odd != NULL || f->code == E_CORRUPT) {
		queue_set_aside(queue, f->id, f->odd != NULL ? f->odd : f->err.text);
		r->damaged++;
	} else if (f->code == E_NOTFOUND) {
		removal_unlink(queue, f->id, false); /* never acknowledged, or done with */
		r->removed++;
	} else {
		take_later(queue, f);
	}
}

static void end(struct recovery *r)
{
	if (r->count > 0)
		log_event(EV_queue_recovered, daemon_log(r->queue->daemon), F_U64("ready", r->ready), F_U64("deferred", r->deferred),
		    F_U64("held", r->held), F_U64("no_message", r->removed), F_U64("damaged", r->damaged));
	r->queue->recovery = NULL;
	free(r->ids);
	free(r);
#ifdef __GLIBC__
	malloc_trim(0); /* each thread's share of the allocator keeps what its files took */
#endif
}

static void go_on(struct recovery *r);

static void unlink_batch(struct recovery *r, const struct batch *batch)
{
	struct batch **link = &r->batches;

	while (*link != batch)
		link = &(*link)->next;
	*link = batch->next;
}

static void on_read(struct disk_job *job)
{
	struct batch *batch = job->arg;
	struct recovery *r = batch->recovery;

	unlink_batch(r, batch);
	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->gone[i])
			take_one(r, &batch->found[i]);
		pool_free(&batch->found[i].pool);
	}
	r->known += batch->count;
	free(batch);
	r->flying--;
	go_on(r);
}

/* Without memory for a batch its files are read when their turn comes. */
static void leave_batch(struct recovery *r, size_t count)
{
	struct err err;

	err_set(&err, E_NOMEM, "out of memory");
	log_event(EV_queue_error, daemon_log(r->queue->daemon), F_ERR(&err));
	for (size_t i = 0; i < count; i++)
		schedule_add(r->queue, r->ids[r->next + i], queue_now(r->queue) + 60, false);
	r->known += count;
}

static void send_batch(struct recovery *r)
{
	size_t left = r->count - r->next, count = left < RECOVER_BATCH ? left : RECOVER_BATCH;
	struct batch *batch = calloc(1, sizeof(*batch));

	if (batch != NULL) {
		batch->recovery = r;
		batch->count = count;
		batch->next = r->batches;
		r->batches = batch;
		for (size_t i = 0; i < count; i++)
			batch->found[i].id = r->ids[r->next + i];
	}
	r->flying++;
	if (batch == NULL || !disk_work(r->queue->disk, 0, read_batch, on_read, batch)) {
		r->flying--;
		if (batch != NULL)
			unlink_batch(r, batch);
		free(batch);
		leave_batch(r, count);
	}
	r->next += count;
}

static void go_on(struct recovery *r)
{
	while (r->next < r->count && r->flying < RECOVER_FLYING && !r->queue->halting)
		send_batch(r);
	if (r->flying == 0 && r->next == r->count)
		end(r);
}

void recover_forget(struct queue *queue, uint64_t id)
{
	struct batch *batch = queue->recovery != NULL ? queue->recovery->batches : NULL;

	for (; batch != NULL; batch = batch->next)
		for (size_t i = 0; i < batch->count; i++)
			batch->gone[i] |= batch->found[i].id == id;
}

size_t recover_left(const struct queue *queue)
{
	return queue->recovery != NULL ? queue->recovery->count - queue->recovery->known : 0;
}

int recover_start(struct queue *queue, struct err *err)
{
	struct recovery *r = calloc(1, sizeof(*r));
	int code = r ? 0 : E_NOMEM;

	for (unsigned i = 0; i < QUEUE_DIRECTORIES && code == 0; i++) {
		char path[QUEUE_PATH];

		queue_directory(i, path);
		code = read_directory(queue, path, r, err);
	}
	if (code != 0)
		return code;
	if (r->count > 0)
		qsort(r->ids, r->count, sizeof(*r->ids), compare_ids);
	r->queue = queue;
	queue->recovery = r;
	go_on(r);
	return 0;
}
