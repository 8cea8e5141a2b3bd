#include "queue/walk.h"

#include "base/clock.h"
#include "queue/waiting.h"

#include <event2/event.h>
#include <stdlib.h>

enum { WALK_SLICE_MS = 5, WALK_LATER_MS = 20 };

struct walk {
	struct queue *queue;
	struct event *event;
	enum walk_next (*one)(void *arg, uint64_t id);
	void (*end)(void *arg);
	void *arg;
	size_t count, at;
	uint64_t ids[];
};

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void walk_free(struct walk *walk)
{
	if (walk->event != NULL)
		event_free(walk->event);
	free(walk);
}

static void come_back(struct walk *walk, int64_t ms)
{
	struct timeval tv = {.tv_usec = ms * 1000};

	evtimer_add(walk->event, &tv);
}

void walk_go_on(void *walk)
{
	come_back(walk, 0);
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct walk *walk = arg;
	int64_t slice_end = clock_monotonic_ms() + WALK_SLICE_MS;
	enum walk_next next = WALK_ON;
	void (*end)(void *arg) = walk->end;
	void *end_arg = walk->arg;

	(void)fd;
	(void)what;
	while (walk->at < walk->count && next == WALK_ON && clock_monotonic_ms() < slice_end) {
		next = walk->one(walk->arg, walk->ids[walk->at]);
		walk->at += next == WALK_ON;
	}
	if (next == WALK_STOP || walk->at == walk->count) {
		walk_free(walk);
		end(end_arg);
	} else if (next != WALK_WAIT) {
		come_back(walk, next == WALK_LATER ? WALK_LATER_MS : 0);
	}
}

static void note_ids(struct walk *walk)
{
	struct queue *queue = walk->queue;

	for (size_t b = 0; b < QUEUE_ACTIVE_BUCKETS; b++)
		for (struct message *m = queue->active[b]; m != NULL; m = m->bucket_next)
			walk->ids[walk->count++] = m->id;
	for (size_t i = 0; i < waiting_count(queue->waiting); i++)
		walk->ids[walk->count++] = waiting_at(queue->waiting, i)->id;
}

/* In order, and each once: what is active may wait as well for a moment. By a thread: of a million it takes longer than others like to wait. */
static void sort_ids(struct disk_job *job)
{
	struct walk *walk = job->arg;
	size_t unique = 0;

	qsort(walk->ids, walk->count, sizeof(*walk->ids), compare_ids);
	for (size_t i = 0; i < walk->count; i++)
		if (unique == 0 || walk->ids[unique - 1] != walk->ids[i])
			walk->ids[unique++] = walk->ids[i];
	walk->count = unique;
}

static void on_sorted(struct disk_job *job)
{
	walk_go_on(job->arg);
}

struct walk *walk_begin(struct queue *queue, enum walk_next (*one)(void *arg, uint64_t id), void (*end)(void *arg), void *arg)
{
	struct walk *walk = malloc(sizeof(*walk) + (queue->active_count + waiting_count(queue->waiting)) * sizeof(walk->ids[0]));

	if (walk == NULL)
		return NULL;
	*walk = (struct walk){.queue = queue, .one = one, .end = end, .arg = arg};
	walk->event = evtimer_new(daemon_base(queue->daemon), on_slice, walk);
	if (walk->event == NULL) {
		walk_free(walk);
		return NULL;
	}
	note_ids(walk);
	if (disk_work(queue->disk, 0, sort_ids, on_sorted, walk))
		return walk;
	walk_free(walk);
	return NULL;
}
