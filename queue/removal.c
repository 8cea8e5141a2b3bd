/*
 * Files that are done with leave the spool (doc/spool.md, S5 and S6). No client waits for it, so it is not synced each time; but a host elsewhere, a
 * command or a file that has had a message does not know it again, as a store does. So behind the last removal of such a message there is a sync, of
 * its file or its directory: on ext4 and xfs it makes all those before it last, too.
 */
#include "queue/queue.h"

#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	REMOVAL_SYNC_MS = 100,
	UNLINK_AGAIN_MIN_S = 1,
	UNLINK_AGAIN_MAX_S = 64,
};

/* A file that could not be removed. */
struct remainder {
	struct remainder *next;
	uint64_t id;
};

struct removal {
	struct queue *queue;
	struct remainder *remainders; /* removed when the timer says so */
	struct event *again;
	unsigned again_s;
	struct event *sync; /* pending: last_id is to be synced */
	uint64_t last_id;
	bool syncing, more; /* a thread is at it: no other waits for a slow disk with it; a removal has come meanwhile */
};

/* ---- its sync ---- */

/*
 * A change of its own first: a sync takes along what was done before it to the directory's own inode, and then, on ext4 and xfs, all that was done
 * before that, also to other files and by other threads.
 */
static int sync_directory_of(uint64_t id, struct err *err)
{
	char path[QUEUE_PATH];
	struct stat st;
	int fd, r = 0;

	queue_directory(queue_directory_of(id), path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || fchmod(fd, st.st_mode & 07777) != 0 || fsync(fd) != 0)
		r = err_set_errno(err, errno, "sync of %s in the spool", path);
	if (fd >= 0)
		close(fd);
	return r;
}

/* On btrfs a mode is the file's own affair. It may serve another client by now, under another name: then that is what is synced, with its message. */
static int sync_file(uint64_t id, struct err *err)
{
	char path[QUEUE_PATH];
	int fd, r = 0;

	queue_path(id, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fsync(fd) != 0)
		r = err_set_errno(err, errno, "sync of %s in the spool", path);
	if (fd >= 0)
		close(fd);
	return r;
}

static void sync_removal(struct disk_job *job)
{
	job->code = sync_directory_of(job->id, &job->err);
	if (job->code == 0)
		job->code = sync_file(job->id, &job->err);
}

static void sync_soon(struct removal *removal)
{
	struct timeval wait = {.tv_usec = REMOVAL_SYNC_MS * 1000};

	if (!evtimer_pending(removal->sync, NULL))
		evtimer_add(removal->sync, &wait);
}

static void on_synced(struct disk_job *job)
{
	struct removal *removal = job->arg;

	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(removal->queue->daemon), F_ERR(&job->err));
	removal->syncing = false;
	/* A sync that failed is not made again; what could not be opened is. */
	if (removal->more || (!removal->queue->halting && (job->code == E_NOFILES || job->code == E_NOMEM)))
		sync_soon(removal);
	removal->more = false;
}

static void on_sync(evutil_socket_t fd, short what, void *arg)
{
	struct removal *removal = arg;

	(void)fd;
	(void)what;
	removal->syncing = true;
	if (disk_work(removal->queue->disk, removal->last_id, sync_removal, on_synced, removal))
		return;
	removal->syncing = false;
	sync_soon(removal);
}

void removal_sync_soon(struct queue *queue, uint64_t id)
{
	struct removal *removal = queue->removal;

	removal->last_id = id;
	if (removal->syncing)
		removal->more = true;
	else
		sync_soon(removal);
}

void removal_sync_now(struct queue *queue)
{
	if (!evtimer_pending(queue->removal->sync, NULL))
		return;
	evtimer_del(queue->removal->sync);
	on_sync(-1, 0, queue->removal);
}

/* ---- its name ---- */

/* Nothing else would look for it before the next start. */
static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct removal *removal = arg;
	struct remainder *list = removal->remainders;

	(void)fd;
	(void)what;
	removal->remainders = NULL;
	removal->again_s = 2 * removal->again_s < UNLINK_AGAIN_MAX_S ? 2 * removal->again_s : UNLINK_AGAIN_MAX_S;
	while (list != NULL) {
		struct remainder *one = list;

		list = one->next;
		removal_unlink(removal->queue, one->id, true); /* whose it was is forgotten: the sync costs little */
		free(one);
	}
}

static void unlink_later(struct removal *removal, uint64_t id)
{
	struct timeval wait = {.tv_sec = removal->again_s};
	struct remainder *one = malloc(sizeof(*one));

	if (one == NULL)
		return; /* it will be found delivered at the next start */
	*one = (struct remainder){.next = removal->remainders, .id = id};
	removal->remainders = one;
	if (!evtimer_pending(removal->again, NULL))
		evtimer_add(removal->again, &wait);
}

void removal_job(struct disk_job *job)
{
	char path[QUEUE_PATH];

	queue_path(job->id, path);
	if (unlink(path) != 0)
		job->code = err_set_errno(&job->err, errno, "unlink of %s", path);
}

static void unlinked(struct queue *queue, struct disk_job *job, bool durable)
{
	if (job->code != 0 && job->code != E_NOTFOUND) {
		log_event(EV_queue_error, daemon_log(queue->daemon), F_ERR(&job->err));
		unlink_later(queue->removal, job->id);
		return;
	}
	if (queue->removal->remainders == NULL)
		queue->removal->again_s = UNLINK_AGAIN_MIN_S;
	if (durable)
		removal_sync_soon(queue, job->id);
}

static void on_unlinked(struct disk_job *job)
{
	unlinked(job->arg, job, false);
}

static void on_unlinked_durable(struct disk_job *job)
{
	unlinked(job->arg, job, true);
}

void removal_unlink(struct queue *queue, uint64_t id, bool durable)
{
	struct disk_job job = {.id = id};

	if (disk_work(queue->disk, id, removal_job, durable ? on_unlinked_durable : on_unlinked, queue))
		return;
	/* Without memory the loop waits for the disk, which is better than to leave the file. */
	removal_job(&job);
	unlinked(queue, &job, durable);
}

int removal_new(struct queue *queue, struct err *err)
{
	struct event_base *base = daemon_base(queue->daemon);
	struct removal *removal = calloc(1, sizeof(*removal));

	if (removal == NULL)
		return err_set(err, E_NOMEM, "no memory for removals");
	removal->queue = queue;
	removal->again_s = UNLINK_AGAIN_MIN_S;
	removal->again = evtimer_new(base, on_again, removal);
	removal->sync = evtimer_new(base, on_sync, removal);
	queue->removal = removal;
	return removal->again != NULL && removal->sync != NULL ? 0 : err_set(err, E_NOMEM, "no memory for removals");
}
