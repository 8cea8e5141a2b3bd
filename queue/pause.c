/*
 * Destinations that an administrator has paused, in a file of their own beside the messages (doc/spool.md): they stay so over a restart.
 * The file is written whole, under another name first; what cannot be read as a whole is set aside, and then nothing is paused.
 */
#include "queue/destination.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSED_FILE "paused"
#define PAUSED_NEW "paused.new"
#define PAUSED_ASIDE "corrupt/paused"

struct paused {
	struct span names[SPOOL_PAUSED_MAX];
	size_t count, all; /* all: also those that had no room */
	const struct destination *changed; /* counts as paused when `pause` says so */
	bool pause;
};

/* ---- writing ---- */

static void collect(void *arg, struct destination *d)
{
	struct paused *p = arg;

	if (!(d == p->changed ? p->pause : d->paused))
		return;
	if (p->all++ < SPOOL_PAUSED_MAX)
		p->names[p->count++] = span_str(d->key);
}

static int write_whole(int fd, struct span text, struct err *err)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, errno, "writing %s in the spool", PAUSED_NEW);
		text = span_from(text, (size_t)n);
	}
	return fsync(fd) == 0 ? 0 : err_set_errno(err, errno, "sync of %s in the spool", PAUSED_NEW);
}

static int replace(struct span text, struct err *err)
{
	int fd = open(PAUSED_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), r;

	if (fd < 0)
		return err_set_errno(err, errno, "%s in the spool", PAUSED_NEW);
	r = write_whole(fd, text, err);
	close(fd);
	if (r == 0 && rename(PAUSED_NEW, PAUSED_FILE) != 0)
		r = err_set_errno(err, errno, "renaming %s in the spool", PAUSED_NEW);
	return r == 0 ? queue_sync_directory(".", err) : r;
}

int pause_set(struct destination *d, bool pause, struct err *err)
{
	struct paused *p = calloc(1, sizeof(*p));
	struct buf text;
	int r;

	if (p == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	p->changed = d;
	p->pause = pause;
	buf_init(&text, SPOOL_PAUSED_SIZE);
	destination_each(d->queue, collect, p);
	if (p->all > SPOOL_PAUSED_MAX)
		r = err_set(err, E_LIMIT, "more than %d destinations would be paused", SPOOL_PAUSED_MAX);
	else if ((r = spool_paused_encode(p->names, p->count, d->queue->key, &text)) != 0)
		err_set(err, r, "%s", err_text(r));
	else
		r = replace(buf_span(&text), err);
	if (r == 0)
		d->paused = pause;
	buf_fini(&text);
	free(p);
	return r;
}

/* ---- at the start ---- */

static int open_file(int *fd, struct err *err)
{
	struct stat st;

	*fd = open(PAUSED_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == ELOOP ? err_set(err, E_CORRUPT, "is a symbolic link") : err_set_errno(err, errno, "%s in the spool", PAUSED_FILE);
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return 0;
	close(*fd);
	return err_set(err, E_CORRUPT, "is no plain file");
}

/* More than the most there can be is not read: the checksum does not fit then. */
static int read_whole(struct buf *out, struct err *err)
{
	char *room = buf_reserve(out, SPOOL_PAUSED_SIZE);
	ssize_t n;
	int fd, r = room != NULL ? open_file(&fd, err) : err_set(err, E_NOMEM, "out of memory");

	if (r != 0)
		return r;
	n = read(fd, room, SPOOL_PAUSED_SIZE);
	if (n < 0)
		r = err_set_errno(err, errno, "reading %s in the spool", PAUSED_FILE);
	else
		buf_added(out, (size_t)n);
	close(fd);
	return r;
}

static void set_aside(struct queue *queue, const struct err *why)
{
	log_event(EV_queue_corrupt, daemon_log(queue->daemon), F_STR("file", PAUSED_FILE), F_STR("reason", why->text), F_STR("moved_to", PAUSED_ASIDE));
	if (rename(PAUSED_FILE, PAUSED_ASIDE) != 0)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("file", PAUSED_FILE), F_STR("error", "cannot be moved to corrupt/"));
}

static int take(struct queue *queue, struct span text, struct err *err)
{
	struct paused *p = calloc(1, sizeof(*p));
	int r = p != NULL ? spool_paused_decode(text, queue->key, p->names, &p->count, err) : err_set(err, E_NOMEM, "out of memory");

	for (size_t i = 0; r == 0 && i < p->count; i++) {
		struct destination *d = destination_get(queue, p->names[i]);

		if (d == NULL)
			r = err_set(err, E_NOMEM, "out of memory");
		else
			d->paused = true;
	}
	free(p);
	return r;
}

void pause_load(struct queue *queue)
{
	struct err err = {0};
	struct buf text;
	int r;

	buf_init(&text, SPOOL_PAUSED_SIZE);
	r = read_whole(&text, &err);
	if (r == 0)
		r = take(queue, buf_span(&text), &err);
	buf_fini(&text);
	if (r == E_CORRUPT)
		set_aside(queue, &err);
	else if (r != 0 && r != E_NOTFOUND)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("file", PAUSED_FILE), F_ERR(&err));
}

static void count_one(void *arg, struct destination *d)
{
	*(unsigned *)arg += d->paused;
}

unsigned pause_count(struct queue *queue)
{
	unsigned count = 0;

	if (queue->destinations != NULL)
		destination_each(queue, count_one, &count);
	return count;
}
