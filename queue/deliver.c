/* Delivery into accounts: one channel to each account's worker, asked for once and kept. */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CHANNEL_LOST_MAX = 3,		/* workers in a row that end without an answer: then the deliveries are put off */
	CHANNEL_WATCH_S = 30,
	CHANNEL_SLOW_MS = 10 * 1000,	/* no answer for this long, and many wait: no more are taken in */
	CHANNEL_SLOW_COUNT = 500,
	CHANNEL_STUCK_MS = 600 * 1000,	/* no answer for this long: the worker is given up */
};

/* One delivery that a worker has, or that waits for its channel. */
struct flight {
	struct flight *next;
	struct target *target; /* NULL: nobody waits for the result any more */
	uint32_t id;
};

struct channel {
	struct channel *next;
	struct queue *queue;
	uint64_t account;
	struct ipc_conn *conn; /* NULL: asked for */
	struct flight *flying;
	struct flight *waiting, **waiting_tail;
	unsigned flying_count, waiting_count;
	unsigned lost; /* workers that ended before they answered anything */
	bool answered; /* the present one has */
	uint32_t last_id;
	int64_t used_ms;
	int64_t progress_ms; /* the last answer, or when there began to be something to answer */
};

static void channel_pump(struct channel *channel);

static void channel_free(struct channel *channel)
{
	struct channel **link = &channel->queue->channels;

	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
	channel->queue->channel_count--;
	ipc_conn_free(&channel->conn);
	free(channel);
}

/* Ends a flight; its target goes on. */
static void flight_end(struct flight *flight, int code, struct span text)
{
	struct target *target = flight->target;

	free(flight);
	if (target == NULL)
		return;
	target_result(target, code, text);
	target->message->busy--;
	message_step(target->message);
}

static void flights_fail(struct flight *flight, int code, const char *why)
{
	while (flight != NULL) {
		struct flight *next = flight->next;

		flight_end(flight, code, span_str(why));
		flight = next;
	}
}

/* ---- the channel to a worker ---- */

static int on_result(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct channel *channel = arg;
	const struct deliver_result *body = (const void *)m->body;
	struct flight **link = &channel->flying, *flight;

	(void)conn;
	if (m->type != &ipc_deliver_result)
		return E_PROTO;
	while (*link != NULL && (*link)->id != m->id)
		link = &(*link)->next;
	if (*link == NULL)
		return E_PROTO;
	flight = *link;
	*link = flight->next;
	channel->flying_count--;
	channel->used_ms = channel->progress_ms = clock_monotonic_ms();
	channel->answered = true;
	flight_end(flight, body->code, body->text);
	if (!channel->queue->halting)
		channel_pump(channel);
	queue_try_finish(channel->queue);
	return 0;
}

static void push_waiting(struct channel *channel, struct flight *flight)
{
	flight->next = channel->waiting;
	channel->waiting = flight;
	if (flight->next == NULL)
		channel->waiting_tail = &flight->next;
	channel->waiting_count++;
}

static struct flight *take_waiting(struct channel *channel)
{
	struct flight *flight = channel->waiting;

	channel->waiting = flight->next;
	if (channel->waiting == NULL)
		channel->waiting_tail = &channel->waiting;
	channel->waiting_count--;
	return flight;
}

/* All that flies goes back to what waits. */
static void channel_ground(struct channel *channel)
{
	while (channel->flying != NULL) {
		struct flight *flight = channel->flying;

		channel->flying = flight->next;
		push_waiting(channel, flight);
	}
	channel->flying_count = 0;
}

/* What waits is put off; each message comes again in its own time. */
static void channel_give_up(struct channel *channel, int code, const char *why)
{
	struct flight *list = channel->waiting;

	channel->waiting = NULL;
	channel->waiting_tail = &channel->waiting;
	channel->waiting_count = 0;
	channel->lost = 0;
	flights_fail(list, code, why);
}

/*
 * The worker has ended: what it had is given to the next one. The delivery key makes a repeat harmless. But a message
 * that no worker survives, or a store that cannot be opened, must not be tried without end.
 */
static void on_channel_closed(void *arg, struct ipc_conn *conn)
{
	struct channel *channel = arg;

	(void)conn;
	channel->conn = NULL;
	channel_ground(channel);
	channel->lost = channel->answered ? 0 : channel->lost + 1;
	if (channel->lost >= CHANNEL_LOST_MAX)
		channel_give_up(channel, E_UNAVAILABLE, "the account's worker ended badly; the log says why");
	if (channel->waiting == NULL)
		channel_free(channel);
	else
		channel_pump(channel);
}

static const struct ipc_conn_callbacks channel_callbacks = {on_result, on_channel_closed};

static void delivery_key(const struct target *t, unsigned char out[16])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, t->message->file.check, sizeof(t->message->file.check), 16);
	crypto_generichash_update(&state, (const unsigned char *)&t->account, sizeof(t->account));
	crypto_generichash_final(&state, out, 16);
}

static int flight_send(struct channel *channel, struct flight *flight)
{
	static char small[QUEUE_INLINE_MAX];
	struct target *t = flight->target;
	struct message *m = t->message;
	const struct spool_envelope *e = &m->file.envelope;
	unsigned char key[16];
	struct deliver_message body = {.key = span_of(key, sizeof(key)),
	    .size = m->file.content,
	    .quota = t->quota,
	    .arrived = schedule_begin(e),
	    .sender = target_sender(t),
	    .recipient = t->address,
	    .detail = t->detail};
	int fd = -1, r;

	delivery_key(t, key);
	r = message_content(m, small, sizeof(small), &body.content, &fd);
	if (r != 0)
		return r;
	flight->id = ++channel->last_id;
	r = ipc_conn_send(channel->conn, &ipc_deliver_message, flight->id, &body, fd);
	if (fd >= 0)
		close(fd);
	return r;
}

static void channel_ask(struct channel *channel)
{
	struct deliver_open ask = {.account = channel->account};

	if (channel->queue->deliver != NULL)
		ipc_conn_send(channel->queue->deliver, &ipc_deliver_open, 0, &ask, -1);
	/* else: asked for when the service is back */
}

static void channel_pump(struct channel *channel)
{
	if (channel->conn == NULL) {
		channel_ask(channel);
		return;
	}
	while (channel->waiting != NULL && channel->flying_count < QUEUE_CHANNEL_IN_FLIGHT &&
	       ipc_conn_waiting(channel->conn) < QUEUE_CHANNEL_WAITING) {
		struct flight *flight = take_waiting(channel);
		int r;

		if (flight->target == NULL) {
			free(flight);
			continue;
		}
		r = flight_send(channel, flight);
		if (r == E_CLOSED) { /* the worker has just ended: on_channel_closed comes, and gives it to the next one */
			push_waiting(channel, flight);
			return;
		}
		if (r != 0) {
			flight_end(flight, r, span_str(err_text(r)));
			continue;
		}
		flight->next = channel->flying;
		channel->flying = flight;
		channel->flying_count++;
	}
}

/* The idlest channel ends: its worker, which has nothing to do, ends with it. */
static void make_room(struct queue *queue)
{
	struct channel *oldest = NULL;

	for (struct channel *c = queue->channels; c != NULL; c = c->next)
		if (c->flying == NULL && c->waiting == NULL && (oldest == NULL || c->used_ms < oldest->used_ms))
			oldest = c;
	if (oldest != NULL)
		channel_free(oldest);
}

static struct channel *channel_for(struct queue *queue, uint64_t account)
{
	struct channel *channel = queue->channels;
	uint64_t workers = conf_u64(daemon_conf(queue->daemon), CONF_delivery_workers, NULL);

	while (channel != NULL && channel->account != account)
		channel = channel->next;
	if (channel != NULL)
		return channel;
	if (queue->channel_count >= workers || queue->channel_count >= QUEUE_CHANNELS)
		make_room(queue);
	channel = calloc(1, sizeof(*channel));
	if (channel == NULL)
		return NULL;
	channel->queue = queue;
	channel->account = account;
	channel->waiting_tail = &channel->waiting;
	channel->used_ms = clock_monotonic_ms();
	channel->next = queue->channels;
	queue->channels = channel;
	queue->channel_count++;
	return channel;
}

/* One account that takes nothing must not fill the memory that all share. */
static bool is_slow(const struct channel *channel, int64_t now)
{
	return channel->flying_count + channel->waiting_count >= CHANNEL_SLOW_COUNT && now - channel->progress_ms > CHANNEL_SLOW_MS;
}

void deliver_target(struct target *target)
{
	struct queue *queue = target->message->queue;
	struct channel *channel = channel_for(queue, target->account);
	struct flight *flight = calloc(1, sizeof(*flight));
	int64_t now = clock_monotonic_ms();
	bool first;

	if (channel == NULL || flight == NULL || is_slow(channel, now)) {
		free(flight);
		target_result(target, channel == NULL || flight == NULL ? E_NOMEM : E_BUSY, SPAN_LIT("the account takes no mail now"));
		return;
	}
	flight->target = target;
	target->state = TARGET_IN_FLIGHT;
	target->message->busy++;
	first = channel->waiting == NULL;
	if (first && channel->flying == NULL)
		channel->progress_ms = now;
	*channel->waiting_tail = flight;
	channel->waiting_tail = &flight->next;
	channel->waiting_count++;
	channel->used_ms = now;
	if (channel->conn != NULL || first)
		channel_pump(channel);
}

void deliver_forget(struct message *message)
{
	if (message->busy == 0)
		return;
	for (struct channel *c = message->queue->channels; c != NULL; c = c->next) {
		for (struct flight *f = c->flying; f != NULL; f = f->next)
			if (f->target != NULL && f->target->message == message)
				f->target = NULL;
		for (struct flight *f = c->waiting; f != NULL; f = f->next)
			if (f->target != NULL && f->target->message == message)
				f->target = NULL;
	}
}

bool deliver_flying(const struct queue *queue)
{
	for (const struct channel *c = queue->channels; c != NULL; c = c->next)
		if (c->conn != NULL && c->flying != NULL)
			return true;
	return false;
}

/* ---- the deliver service ---- */

/* Why there is no worker. */
static int code_of(const struct ipc_message *m, const struct deliver_worker *body)
{
	int code = m->fd_lost ? E_NOFILES : body->code;

	return code != 0 && err_is_temp(code) ? code : E_UNAVAILABLE;
}

static int on_worker(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct queue *queue = arg;
	const struct deliver_worker *body = (const void *)m->body;
	struct channel *channel = queue->channels;

	(void)conn;
	if (m->type != &ipc_deliver_worker)
		return E_PROTO;
	while (channel != NULL && channel->account != body->account)
		channel = channel->next;
	if (channel == NULL || channel->conn != NULL || m->fd < 0) {
		if (m->fd >= 0)
			close(m->fd);
		if (channel != NULL && channel->conn == NULL && m->fd < 0)
			channel_give_up(channel, code_of(m, body), "the account's store cannot be opened now");
		return 0;
	}
	channel->answered = false;
	channel->conn = ipc_conn_new(daemon_base(queue->daemon), m->fd, &ipc_service_deliver, TO_CLIENT,
	    &channel_callbacks, channel);
	channel_pump(channel);
	return 0;
}

static void on_service_closed(void *arg, struct ipc_conn *conn)
{
	struct queue *queue = arg;

	(void)conn;
	queue->deliver = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "deliver"));
	daemon_peer_lost(queue->daemon, "deliver");
}

/* A worker that hangs is left to its spawner. */
static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	int64_t now = clock_monotonic_ms();
	struct channel *next;

	(void)fd;
	(void)what;
	for (struct channel *c = queue->channels; c != NULL; c = next) {
		next = c->next;
		if ((c->flying == NULL && c->waiting == NULL) || now - c->progress_ms < CHANNEL_STUCK_MS)
			continue;
		ipc_conn_free(&c->conn);
		channel_ground(c);
		channel_give_up(c, E_UNAVAILABLE, "the account's worker does not answer");
		channel_free(c);
	}
	agent_look(queue);
	expand_go_on(queue);
	queue_try_finish(queue);
}

int deliver_watch(struct queue *queue, struct err *err)
{
	struct timeval tv = {.tv_sec = CHANNEL_WATCH_S};

	queue->watch = event_new(daemon_base(queue->daemon), -1, EV_PERSIST, on_watch, queue);
	return queue->watch != NULL && event_add(queue->watch, &tv) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for a timer");
}

static const struct ipc_conn_callbacks service_callbacks = {on_worker, on_service_closed};

void deliver_service(struct queue *queue, int fd)
{
	ipc_conn_lose(&queue->deliver);
	queue->deliver = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_deliver, TO_CLIENT, &service_callbacks, queue);
	for (struct channel *c = queue->channels; c != NULL && queue->deliver != NULL; c = c->next)
		if (c->conn == NULL)
			channel_ask(c);
}
