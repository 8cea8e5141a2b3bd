/*
 * Destinations: the next hops of mail to other hosts. Each has a window, the jobs that relay may have at once for it; it opens
 * by one with each window full of answers and closes by one with each failure. One that does not answer at all is dead for a while, and then
 * one job tries it for all. Jobs wait in lanes (lanes.h), one for each sender.
 */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
	DESTINATION_BUCKETS = 16384,
	DESTINATION_FIRST = 5,	      /* jobs at once for one of which nothing is known yet */
	DESTINATION_PROBE_WAITING = 4, /* jobs that wait for the one that tries whether it is alive */
	DESTINATION_WAITING = 2000,   /* jobs of one destination in memory, twice that where each is another sender's; further messages wait in their files */
	DESTINATION_PROBES = 2,	      /* jobs of messages tried before, in memory, while it is not known whether it answers */
	DESTINATION_BUSY_S = 10,      /* when it has enough: come again in so many seconds */
	DESTINATION_IDLE_S = 600,     /* one without jobs is forgotten */
	DESTINATION_SWEEP_S = 60,
};

struct destinations {
	struct queue *queue;
	struct destination *buckets[DESTINATION_BUCKETS];
	unsigned char hash_key[crypto_shorthash_KEYBYTES]; /* strangers choose the names */
	struct event *sweep;
};

static uint64_t hash_of(const struct destinations *all, struct span text)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t h;

	crypto_shorthash(out, (const unsigned char *)text.ptr, text.len, all->hash_key);
	memcpy(&h, out, sizeof(h));
	return h;
}

static struct destination **bucket_of(struct destinations *all, struct span key)
{
	return &all->buckets[hash_of(all, key) % DESTINATION_BUCKETS];
}

uint64_t destination_number(const struct queue *queue, struct span key)
{
	uint64_t number = hash_of(queue->destinations, key);

	return number != 0 ? number : 1;
}

struct destination *destination_by_number(const struct queue *queue, uint64_t number)
{
	struct destination *d = number != 0 ? queue->destinations->buckets[number % DESTINATION_BUCKETS] : NULL;

	while (d != NULL && d->number != number)
		d = d->next;
	return d;
}

const char *destination_state(const struct destination *d)
{
	if (d == NULL)
		return "open";
	return d->kept ? "kept" : d->paused ? "paused" : d->dead_until > queue_now(d->queue) ? "dead" : destination_is_full(d) ? "full" : "open";
}

/* Something was dead and nobody has answered since: one job tries it. */
static bool is_probed(const struct destination *d)
{
	return d->dead_until != 0;
}

/* It was dead, or nobody has reached it since the start: one attempt shows it for all that were tried before. */
static bool is_doubtful(const struct destination *d)
{
	return d->dead_until != 0 || !d->reached;
}

/* Nothing goes there, however few wait. */
static bool is_stopped(const struct destination *d)
{
	return d->paused || d->kept || destination_is_dead(d, queue_now(d->queue));
}

bool destination_is_stopped(const struct queue *queue, uint64_t number)
{
	const struct destination *d = destination_by_number(queue, number);

	return d != NULL && is_stopped(d);
}

/* Jobs of all senders that wait, but for those that have one each. */
static unsigned most_waiting(const struct destination *d)
{
	return is_probed(d) ? DESTINATION_PROBE_WAITING : DESTINATION_WAITING;
}

int64_t destination_busy_until(const struct queue *queue, uint64_t number, uint32_t share)
{
	const struct destination *d = destination_by_number(queue, number);
	int64_t now = queue_now(queue);

	if (d == NULL)
		return 0;
	if (!d->paused && !d->kept && destination_is_dead(d, now))
		return d->dead_until;
	if (d->paused || d->kept || !lanes_have_room_for_share(&d->waiting, share, most_waiting(d)) || (is_doubtful(d) && d->in_flight + d->waiting.count >= DESTINATION_PROBES))
		return now + DESTINATION_BUSY_S;
	return 0;
}

struct destination *destination_find(struct queue *queue, struct span key)
{
	struct destination *d = *bucket_of(queue->destinations, key);

	while (d != NULL && !span_eq(span_str(d->key), key))
		d = d->next;
	return d;
}

struct destination *destination_get(struct queue *queue, struct span key)
{
	struct destination **bucket = bucket_of(queue->destinations, key), *d = destination_find(queue, key);

	if (d != NULL)
		return d;
	d = calloc(1, sizeof(*d) + key.len + 1);
	if (d == NULL)
		return NULL;
	d->queue = queue;
	d->number = destination_number(queue, key);
	d->window = DESTINATION_FIRST;
	memcpy(d->key, key.ptr, key.len);
	d->next = *bucket;
	*bucket = d;
	return d;
}

static bool keeps(const struct queue *queue, const struct conf_transport *transport)
{
	return transport != NULL && conf_bool(daemon_conf(queue->daemon), CONF_transport_hold, &(struct conf_where){.transport = transport});
}

struct destination *destination_of_route(struct queue *queue, const struct route *route)
{
	struct destination *d = destination_get(queue, span_str(route->key));

	if (d == NULL)
		return NULL;
	span_copy(route->transport != NULL ? route->transport->pattern : span_str(""), d->pattern, sizeof(d->pattern));
	if (route->host[0] != '\0' && d->host == NULL && (d->host = strdup(route->host)) == NULL)
		return NULL;
	d->used = queue_now(queue); /* jobs of this turn of the loop are not counted yet */
	d->kept = keeps(queue, route->transport);
	return d;
}

/* ---- what waits ---- */

bool destination_is_dead(const struct destination *d, int64_t now)
{
	return d->dead_until > now;
}

bool destination_is_full(const struct destination *d)
{
	return d->waiting.count >= most_waiting(d);
}

/* Who submitted it; of a message of nobody's here, its sender. */
static uint64_t sender_of(const struct destinations *all, const struct message *m)
{
	const struct spool_envelope *e = &m->file.envelope;

	return e->submitter != 0 ? e->submitter : hash_of(all, e->sender) | UINT64_C(1) << 63;
}

bool destination_has_room(const struct destination *d, const struct job *job)
{
	return lanes_have_room(&d->waiting, sender_of(d->queue->destinations, job->message), most_waiting(d));
}

bool destination_enter(struct destination *d, struct job *job)
{
	job->destination = d;
	return lanes_put(&d->waiting, sender_of(d->queue->destinations, job->message), job->message->sender, job);
}

struct job *destination_crowd_out(struct destination *d)
{
	return lanes_crowd_out(&d->waiting, most_waiting(d));
}

struct job *destination_take_any(struct destination *d)
{
	return d->waiting.count > 0 ? lanes_take(&d->waiting) : NULL;
}

struct job *destination_withdraw(struct destination *d, const struct message *m)
{
	return lanes_withdraw(&d->waiting, m);
}

/* ---- how much it takes ---- */

/* Its block of today; NULL: there is none, or it has gone. */
static const struct conf_transport *transport_of(const struct destination *d)
{
	return d->pattern[0] != '\0' ? conf_transport_find(daemon_conf(d->queue->daemon), span_str(d->pattern)) : NULL;
}

static uint64_t setting_of(const struct destination *d, enum conf_setting setting)
{
	return conf_u64(daemon_conf(d->queue->daemon), setting, &(struct conf_where){.transport = transport_of(d)});
}

static unsigned most(const struct destination *d)
{
	uint64_t limit = setting_of(d, CONF_relay_connections);

	return limit < 1 ? 1 : (unsigned)limit;
}

/* relay-rate: may one more go now? If not, there is a time when it may. */
static bool has_turn(struct destination *d)
{
	int64_t wait = pace_take(&d->pace, setting_of(d, CONF_relay_rate), clock_monotonic_ms());

	if (wait > 0)
		outbound_come_back(d->queue, wait);
	return wait == 0;
}

static unsigned room(const struct destination *d)
{
	unsigned window = is_probed(d) ? 1 : (unsigned)d->window, limit = most(d);

	return window < 1 ? 1 : window < limit ? window : limit;
}

void destination_limits(const struct destination *d, struct destination_limits *out)
{
	*out = (struct destination_limits){.window = room(d), .rate = setting_of(d, CONF_relay_rate)};
}

/* What was tried before waits for the answer of the one before it: it is not known whether there is one. */
static bool waits_for_proof(const struct destination *d)
{
	return !d->reached && d->in_flight > 0 && d->waiting.first->jobs->tried_before;
}

struct job *destination_take(struct destination *d)
{
	if (d->waiting.count == 0 || d->paused || d->kept || d->in_flight >= room(d) || waits_for_proof(d) || destination_is_dead(d, queue_now(d->queue)) || !has_turn(d))
		return NULL;
	d->in_flight++;
	return lanes_take(&d->waiting);
}

static void log_state(const struct destination *d, enum log_event_id event)
{
	log_event(event, daemon_log(d->queue->daemon), F_STR("destination", d->key), F_STR("status", d->why),
	    F_I64("retry_in", d->dead_until == 0 ? 0 : d->dead_until - queue_now(d->queue)));
}

static void grow(struct destination *d)
{
	if (is_probed(d)) {
		d->dead_until = 0;
		d->window = DESTINATION_FIRST;
		log_state(d, EV_queue_alive);
	}
	d->deaths = 0;
	d->reached = true;
	if (d->window < most(d))
		d->window += 1.0 / d->window;
}

/* tried_before: it did not go through at an earlier attempt either, perhaps before a restart. */
static void shrink(struct destination *d, bool tried_before, struct span why)
{
	bool is_proven = !d->reached && tried_before;

	span_copy(utf8_cut(why, sizeof(d->why) - 1), d->why, sizeof(d->why));
	d->window -= 1;
	if (d->window >= 1 && !is_probed(d) && !is_proven)
		return;
	d->window = 1;
	if (destination_is_dead(d, queue_now(d->queue)))
		return; /* jobs that were under way when it was called dead */
	d->deaths++;
	d->dead_until = queue_now(d->queue) + schedule_backoff(daemon_conf(d->queue->daemon), d->deaths);
	log_state(d, EV_queue_dead);
}

void destination_release(struct destination *d)
{
	d->in_flight--;
}

void destination_answered(struct destination *d, bool reached, bool tried_before, struct span why)
{
	d->in_flight--;
	d->used = queue_now(d->queue);
	if (reached)
		grow(d);
	else
		shrink(d, tried_before, why);
}

/* ---- housekeeping ---- */

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct destinations *all = arg;
	int64_t now = queue_now(all->queue);

	(void)fd;
	(void)what;
	for (size_t i = 0; i < DESTINATION_BUCKETS; i++)
		for (struct destination **link = &all->buckets[i]; *link != NULL;) {
			struct destination *d = *link;

			if (d->in_flight > 0 || d->waiting.count > 0 || d->expected > 0 || d->paused || now - d->used < DESTINATION_IDLE_S || destination_is_dead(d, now - DESTINATION_IDLE_S)) {
				link = &d->next;
				continue;
			}
			*link = d->next;
			free(d->host);
			free(d);
		}
}

void destination_each(struct queue *queue, void (*fn)(void *arg, struct destination *d), void *arg)
{
	for (size_t i = 0; i < DESTINATION_BUCKETS; i++)
		for (struct destination *d = queue->destinations->buckets[i]; d != NULL; d = d->next)
			fn(arg, d);
}

static void reload_one(void *arg, struct destination *d)
{
	d->kept = keeps(arg, transport_of(d));
}

void destinations_reload(struct queue *queue)
{
	destination_each(queue, reload_one, queue);
	outbound_come_back(queue, 0); /* they may take more now */
}

int destinations_new(struct queue *queue, struct err *err)
{
	struct destinations *all = calloc(1, sizeof(*all));
	struct timeval tv = {.tv_sec = DESTINATION_SWEEP_S};

	if (all == NULL)
		return err_set(err, E_NOMEM, "no memory for destinations");
	all->queue = queue;
	crypto_shorthash_keygen(all->hash_key);
	queue->destinations = all;
	all->sweep = event_new(daemon_base(queue->daemon), -1, EV_PERSIST, on_sweep, all);
	return all->sweep != NULL && event_add(all->sweep, &tv) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for a timer");
}
