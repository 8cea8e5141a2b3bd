/* The spool at start: names are gathered, then files read in slices while new mail flows. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <event2/event.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECOVER_SLICE = 200 };

struct recovery {
	uint64_t *ids;
	size_t count, size, next;
	uint64_t ready, deferred, held, removed, damaged;
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

/* What is no queue id has no business here: named in the log and left alone. */
static int read_directory(struct queue *queue, const char *path, struct recovery *r, struct err *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (dir == NULL)
		return err_set_errno(err, errno, "%s in the spool", path);
	while ((entry = readdir(dir)) != NULL) {
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
	return 0;
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

static void recover_one(struct queue *queue, struct recovery *r, uint64_t id)
{
	const char *odd = what_is_odd(id);
	char path[QUEUE_PATH];
	struct message *m;
	struct err err = {0};
	int code;

	/* A file handed out since the start is not ours to judge. */
	if (message_find(queue, id) != NULL)
		return;
	if (odd != NULL) {
		queue_set_aside(queue, id, odd);
		r->damaged++;
		return;
	}
	code = message_load(queue, id, false, &m, &err);
	if (code == 0) {
		bool open = false;

		for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
			open |= m->states[i].status == SPOOL_PENDING || m->states[i].status == SPOOL_DEFERRED ||
				(!m->states[i].told && m->states[i].status >= SPOOL_FAILED);
		*(m->held ? &r->held : m->next > clock_wall() || schedule_is_early(m) ? &r->deferred : &r->ready) += 1;
		if (!open)
			m->next = 0;
		schedule_message(m);
		message_free(m);
	} else if (code == E_NOTFOUND) {
		queue_path(id, path);
		unlink(path); /* never acknowledged */
		r->removed++;
	} else if (code == E_CORRUPT) {
		r->damaged++;
	} else {
		log_event(EV_queue_error, daemon_log(queue->daemon), F_ERR(&err));
		schedule_add(queue, id, clock_wall() + 60, false);
	}
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	struct recovery *r = queue->recovery_state;
	struct timeval now = {0};

	(void)fd;
	(void)what;
	for (int i = 0; i < RECOVER_SLICE && r->next < r->count; i++)
		recover_one(queue, r, r->ids[r->next++]);
	if (r->next < r->count) {
		evtimer_add(queue->recovery, &now);
		return;
	}
	if (r->count > 0)
		log_event(EV_queue_recovered, daemon_log(queue->daemon), F_U64("ready", r->ready), F_U64("deferred", r->deferred),
		    F_U64("held", r->held), F_U64("no_message", r->removed), F_U64("damaged", r->damaged));
	event_free(queue->recovery);
	queue->recovery = NULL;
	free(r->ids);
	free(r);
}

int recover_start(struct queue *queue, struct err *err)
{
	struct recovery *r = calloc(1, sizeof(*r));
	struct timeval now = {0};
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
	queue->recovery_state = r;
	queue->recovery = evtimer_new(daemon_base(queue->daemon), on_slice, queue);
	return queue->recovery && evtimer_add(queue->recovery, &now) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for the recovery");
}
