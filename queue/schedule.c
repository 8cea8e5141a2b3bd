/* When what waits is taken up: the timer of queue->waiting, what is put off without being read, and who gets room. */
#include "queue/destination.h"
#include "queue/waiting.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdlib.h>

enum {
	SCHEDULE_NO_ROOM_S = 4,
	SCHEDULE_SLICE_MS = 5,	 /* then others get their turn */
	SCHEDULE_LOOKS = 20000,	 /* messages a second that are looked at and put off again, about, however many wait */
	SCHEDULE_SLEEP_MAX = 3600,
};

/*
 * But for senders' wishes nothing is put off for longer than queue-retry-max and a quarter. What is due later than twice that was put
 * off by a clock that is not known any more (of an earlier release; or the file `clock` is lost), and would wait for it for ever.
 */
static bool is_due(struct queue *queue, const struct waiting *w)
{
	int64_t next = waiting_due(queue->waiting, w), now = queue_now(queue), most = 2 * conf_ms(daemon_conf(queue->daemon), CONF_queue_retry_max, NULL) / 1000;

	return next <= now || (!w->wished && next != WAITING_NEVER && next > now + (most > SCHEDULE_SLEEP_MAX ? most : SCHEDULE_SLEEP_MAX));
}

/* What is read from its file has half of all places: what comes anew finds one, whatever is tried again and does not end. */
static bool has_room(const struct queue *queue)
{
	return queue->active_count < queue->active_max && queue->retried_count < queue->active_max / 2;
}

static void arm(struct queue *queue)
{
	const struct waiting *first = waiting_first(queue->waiting);
	struct timeval tv = {0};
	int64_t wait;

	if (queue->timer == NULL || first == NULL || waiting_due(queue->waiting, first) == WAITING_NEVER)
		return;
	wait = is_due(queue, first) ? 0 : waiting_due(queue->waiting, first) - queue_now(queue);
	if (wait < 1 && !has_room(queue))
		wait = 1; /* there is no room for it now */
	tv.tv_sec = wait < 0 ? 0 : wait > SCHEDULE_SLEEP_MAX ? SCHEDULE_SLEEP_MAX : wait;
	evtimer_add(queue->timer, &tv);
}

static struct waiting *add(struct queue *queue, uint64_t id, int64_t due)
{
	struct waiting *w = waiting_add(queue->waiting, id, due);

	if (w == NULL) {
		/* The message is safe in its file; the next start finds it. */
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("error", "no memory for the schedule"));
		return NULL;
	}
	w->wished = w->telling = w->held = false;
	if (waiting_first(queue->waiting) == w)
		arm(queue);
	return w;
}

void schedule_add(struct queue *queue, uint64_t id, int64_t next, bool held)
{
	struct waiting *w = add(queue, id, held ? WAITING_NEVER : next);

	if (w == NULL)
		return;
	w->held = held;
	w->known = false;
	w->share = QUEUE_SENDERS;
}

/* A time of the envelope, by queue's clock. Where the two were further apart than can be written down the id says when it came. */
static int64_t by_queue(const struct message *m, int64_t when)
{
	int32_t ahead = m->file.ahead;

	if (ahead == INT32_MIN || ahead == INT32_MAX)
		return spool_id_ms(m->id) / 1000 + when - m->file.envelope.arrived;
	return when - ahead;
}

bool schedule_is_early(const struct message *m)
{
	int64_t release = m->file.envelope.release;

	return release > clock_wall() && by_queue(m, release) > queue_now(m->queue);
}

int64_t schedule_came(const struct message *m)
{
	return by_queue(m, m->file.envelope.arrived);
}

/* When its life in the queue begins, by queue's time. */
static int64_t begun(const struct message *m)
{
	return by_queue(m, schedule_begin(&m->file.envelope));
}

int64_t schedule_age(const struct message *m)
{
	return queue_now(m->queue) - begun(m);
}

/* By queue's time: at the wished time by the machine's clock, or when as much time has passed as was wished; whichever is first. */
static int64_t wish_due(const struct message *m)
{
	int64_t release = m->file.envelope.release, by_wall = release - queue_clock_ahead(&m->queue->clock), by_span = by_queue(m, release);

	return by_wall < by_span ? by_wall : by_span;
}

void schedule_wish(struct queue *queue, struct waiting *w)
{
	int64_t due = w->known ? w->next - queue_clock_ahead(&queue->clock) : queue_now(queue);

	if (due >= waiting_due(queue->waiting, w))
		return;
	waiting_move(queue->waiting, w, due);
	arm(queue);
}

static uint64_t hash_of(void *queue, struct span s)
{
	return destination_number(queue, s);
}

void schedule_message(const struct message *m)
{
	const struct spool_envelope *e = &m->file.envelope;
	bool early = schedule_is_early(m);
	struct waiting *w = add(m->queue, m->id, m->held ? WAITING_NEVER : early ? wish_due(m) : m->next);
	struct route route;
	size_t shown = message_shown(m);

	if (w == NULL)
		return;
	w->held = m->held;
	w->wished = early;
	w->share = m->sender & 8191;
	waiting_tell(m->queue->waiting, w, &(struct waiting_facts){.size = m->file.content, .arrived = schedule_came(m), .begun = begun(m), .warns = dsn_warns(m), .next = early ? e->release : m->next, .recipients = e->recipient_count,
	    .destination = outbound_destination_name(m, &route), .sender = e->sender, .recipient = e->recipients[shown].address,
	    .reason = m->states[shown].text, .hash = hash_of, .arg = m->queue});
}

bool schedule_remove(struct queue *queue, uint64_t id)
{
	return waiting_remove(queue->waiting, id);
}

bool schedule_now(struct queue *queue, struct waiting *w)
{
	if (w->held || w->wished)
		return false;
	w->telling = false;
	waiting_move(queue->waiting, w, queue_now(queue));
	arm(queue);
	return true;
}

/* When the sender is to be told next, of the delay or that it was given up; what is late is told at once. */
static int64_t next_telling(const struct queue *queue, const struct waiting *w)
{
	const struct conf *conf = daemon_conf(queue->daemon);
	int64_t warn = conf_ms(conf, CONF_queue_warn_after, NULL) / 1000, life = conf_ms(conf, CONF_queue_lifetime, NULL) / 1000;

	return w->begun + (w->warns && warn != 0 && warn < life ? warn : life);
}

/* A part of a wait by chance, larger where many wait: what is only looked at and put off again must not keep the machine busy. */
static int64_t spread(const struct queue *queue, int64_t wait)
{
	uint64_t most = (uint64_t)(wait > 0 ? wait : 0) + waiting_count(queue->waiting) / SCHEDULE_LOOKS;

	return (int64_t)randombytes_uniform(most < UINT32_MAX ? (uint32_t)most + 1 : UINT32_MAX);
}

/*
 * Whether its sender is to hear of it before it is looked at again. What is late already, as after a night in which the machine was off, has its
 * turn first where the others only have to be awaited.
 */
static bool is_to_tell(const struct queue *queue, const struct waiting *w, int64_t telling, int64_t until)
{
	return telling <= until && (telling > queue_now(queue) || destination_is_stopped(queue, w->destination->hash));
}

/* Its destination is dead, or its sender has enough under way: it waits on without being read. */
static bool postpone_first(struct queue *queue)
{
	struct waiting *w = waiting_first(queue->waiting);
	int64_t now = queue_now(queue), until = w->telling || w->destination == NULL ? 0 : destination_busy_until(queue, w->destination->hash, w->share), telling;

	if (until <= now && message_has_room(queue, w->share))
		return false;
	if (until <= now) {
		until = now + 1 + spread(queue, SCHEDULE_NO_ROOM_S - 1);
	} else {
		telling = next_telling(queue, w);
		w->telling = is_to_tell(queue, w, telling, until);
		until = w->telling ? telling : until + spread(queue, (until - now) / 4);
	}
	waiting_move(queue->waiting, w, until);
	return true;
}

static void run_first(struct queue *queue)
{
	uint64_t id = waiting_first(queue->waiting)->id;
	struct message *message;
	char text[SPOOL_ID_TEXT];
	struct err err = {0};
	int r;

	schedule_remove(queue, id);
	if (message_find(queue, id) != NULL)
		return;
	r = message_load(queue, id, true, &message, &err);
	if (r == 0) {
		message->retried = true;
		queue->retried_count++;
		message_run(message);
		return;
	}
	if (r != E_CORRUPT && r != E_NOTFOUND) {
		spool_id_format(id, text);
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", text), F_ERR(&err));
		schedule_add(queue, id, queue_now(queue) + 60, false);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	int64_t end = clock_monotonic_ms() + SCHEDULE_SLICE_MS;

	(void)fd;
	(void)what;
	queue_clock_look(queue);
	while (waiting_count(queue->waiting) > 0 && !queue->halting && is_due(queue, waiting_first(queue->waiting)) && has_room(queue)) {
		if (!postpone_first(queue))
			run_first(queue);
		if (clock_monotonic_ms() >= end)
			break;
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
