/* A binary heap of (time, id): 16 bytes for each message that waits. */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdlib.h>

enum { SCHEDULE_NO_ROOM = 4, SCHEDULE_BURST = 200, SCHEDULE_SLEEP_MAX = 3600 };

/*
 * But for senders' wishes nothing is put off for longer than queue-retry-max and a quarter. What is due later than twice that was put
 * off while the clock was wrong, and would wait for it for ever.
 */
static bool is_due(struct queue *queue, const struct waiting *w)
{
	int64_t next = w->next, now = clock_wall(), most = 2 * conf_ms(daemon_conf(queue->daemon), CONF_queue_retry_max, NULL) / 1000;

	return next <= now || (!w->wished && next != INT64_MAX && next > now + (most > SCHEDULE_SLEEP_MAX ? most : SCHEDULE_SLEEP_MAX));
}

static bool before(const struct waiting *a, const struct waiting *b)
{
	return a->next != b->next ? a->next < b->next : a->id < b->id;
}

static void sift_up(struct waiting *heap, size_t i)
{
	while (i > 0 && before(&heap[i], &heap[(i - 1) / 2])) {
		struct waiting t = heap[i];

		heap[i] = heap[(i - 1) / 2];
		heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

static void sift_down(struct waiting *heap, size_t count, size_t i)
{
	for (;;) {
		size_t least = i, left = 2 * i + 1, right = left + 1;
		struct waiting t;

		if (left < count && before(&heap[left], &heap[least]))
			least = left;
		if (right < count && before(&heap[right], &heap[least]))
			least = right;
		if (least == i)
			return;
		t = heap[i];
		heap[i] = heap[least];
		heap[least] = t;
		i = least;
	}
}

static void arm(struct queue *queue)
{
	struct timeval tv = {0};
	int64_t wait;

	if (queue->timer == NULL || queue->heap_count == 0 || queue->heap[0].next == INT64_MAX)
		return;
	wait = is_due(queue, &queue->heap[0]) ? 0 : queue->heap[0].next - clock_wall();
	if (wait < 1 && queue->active_count >= queue->active_max)
		wait = 1; /* there is no room for it now */
	tv.tv_sec = wait < 0 ? 0 : wait > SCHEDULE_SLEEP_MAX ? SCHEDULE_SLEEP_MAX : wait;
	evtimer_add(queue->timer, &tv);
}

static void add(struct queue *queue, struct waiting waiting)
{
	if (queue->heap_count == queue->heap_size) {
		size_t size = queue->heap_size ? queue->heap_size * 2 : 256;
		struct waiting *heap = reallocarray(queue->heap, size, sizeof(*heap));

		if (heap == NULL) {
			/* The message is safe in its file; the next start finds it. */
			log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("error", "no memory for the schedule"));
			return;
		}
		queue->heap = heap;
		queue->heap_size = size;
	}
	queue->heap[queue->heap_count] = waiting;
	sift_up(queue->heap, queue->heap_count++);
	if (queue->heap[0].id == waiting.id)
		arm(queue);
}

void schedule_add(struct queue *queue, uint64_t id, int64_t next, bool held)
{
	add(queue, (struct waiting){.next = held ? INT64_MAX : next, .id = id & (UINT64_MAX >> 2), .sender = QUEUE_SENDERS});
}

void schedule_new(struct queue *queue, uint64_t id, uint32_t sender)
{
	add(queue, (struct waiting){.next = clock_wall() + 1, .id = id & (UINT64_MAX >> 2), .sender = sender});
}

bool schedule_is_early(const struct message *m)
{
	return m->file.envelope.release > clock_wall();
}

void schedule_message(const struct message *m)
{
	bool early = schedule_is_early(m);
	int64_t next = m->held ? INT64_MAX : early ? m->file.envelope.release : m->next;

	add(m->queue, (struct waiting){.next = next, .id = m->id & (UINT64_MAX >> 2), .wished = early, .destination = outbound_destination_of(m), .sender = m->sender});
}

static void remove_at(struct queue *queue, size_t i)
{
	queue->heap[i] = queue->heap[--queue->heap_count];
	if (i < queue->heap_count) {
		sift_down(queue->heap, queue->heap_count, i);
		sift_up(queue->heap, i);
	}
}

bool schedule_remove(struct queue *queue, uint64_t id)
{
	for (size_t i = 0; i < queue->heap_count; i++)
		if (queue->heap[i].id == id) {
			remove_at(queue, i);
			return true;
		}
	return false;
}

/* When the sender is to be told next; INT64_MAX: not any more. The id says when it came. */
static int64_t next_telling(struct queue *queue, uint64_t id, int64_t now)
{
	const struct conf *conf = daemon_conf(queue->daemon);
	int64_t came = spool_id_ms(id) / 1000, warn = conf_ms(conf, CONF_queue_warn_after, NULL) / 1000;
	int64_t life = conf_ms(conf, CONF_queue_lifetime, NULL) / 1000;

	return warn != 0 && came + warn > now ? came + warn : came + life > now ? came + life : INT64_MAX;
}

/* Its destination is dead, or its sender has enough under way: it waits on without being read. */
static bool postpone_first(struct queue *queue)
{
	struct waiting w = queue->heap[0];
	int64_t now = clock_wall(), until = w.telling ? 0 : destination_busy_until(queue, w.destination), telling;

	if (until <= now && message_has_room(queue, w.sender))
		return false;
	if (until <= now) {
		until = now + 1 + (int64_t)randombytes_uniform(SCHEDULE_NO_ROOM);
	} else {
		telling = next_telling(queue, w.id, now);
		w.telling = telling <= until;
		until = w.telling ? telling : until + (int64_t)randombytes_uniform((uint32_t)(until - now) / 4 + 1);
	}
	remove_at(queue, 0);
	w.next = until;
	add(queue, w);
	return true;
}

static void run_first(struct queue *queue)
{
	uint64_t id = queue->heap[0].id;
	struct message *message;
	char text[SPOOL_ID_TEXT];
	struct err err = {0};
	int r;

	remove_at(queue, 0);
	if (message_find(queue, id) != NULL)
		return;
	r = message_load(queue, id, true, &message, &err);
	if (r == 0) {
		message_run(message);
		return;
	}
	if (r != E_CORRUPT && r != E_NOTFOUND) {
		spool_id_format(id, text);
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", text), F_ERR(&err));
		schedule_add(queue, id, clock_wall() + 60, false);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < SCHEDULE_BURST && queue->heap_count > 0 && !queue->halting; i++) {
		if (!is_due(queue, &queue->heap[0]) || queue->active_count >= queue->active_max)
			break;
		if (!postpone_first(queue))
			run_first(queue);
	}
	if (!queue->halting)
		arm(queue);
}

void schedule_start(struct queue *queue)
{
	queue->timer = evtimer_new(daemon_base(queue->daemon), on_timer, queue);
	arm(queue);
}

int64_t schedule_backoff(const struct conf *conf, uint32_t attempts)
{
	int64_t first = conf_ms(conf, CONF_queue_retry_first, NULL) / 1000;
	int64_t max = conf_ms(conf, CONF_queue_retry_max, NULL) / 1000;
	int64_t wait = first < 1 ? 1 : first;

	for (uint32_t i = 1; i < attempts && wait < max; i++)
		wait *= 2;
	if (wait > max)
		wait = max < 1 ? 1 : max;
	/* A quarter up or down, so that what failed together does not come back together. */
	return wait - wait / 4 + (int64_t)randombytes_uniform((uint32_t)(wait / 2 + 1));
}
