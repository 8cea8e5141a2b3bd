/*
 * Delivery into accounts: one channel to each account's worker, asked for once
 * and kept; and the expansion of aliases by auth.
 */
#include "queue/queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

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
	unsigned flying_count;
	uint32_t last_id;
	int64_t used_ms;
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

static void flights_fail(struct flight *flight, const char *why)
{
	while (flight != NULL) {
		struct flight *next = flight->next;

		flight_end(flight, E_UNAVAILABLE, span_str(why));
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
	channel->used_ms = clock_monotonic_ms();
	flight_end(flight, body->code, body->text);
	if (!channel->queue->halting)
		channel_pump(channel);
	queue_try_finish(channel->queue);
	return 0;
}

/* The worker has ended: what it had is given to the next one. The delivery key makes a repeat harmless. */
static void on_channel_closed(void *arg, struct ipc_conn *conn)
{
	struct channel *channel = arg;
	struct flight *again = channel->flying;

	(void)conn;
	channel->conn = NULL;
	channel->flying = NULL;
	channel->flying_count = 0;
	while (again != NULL) {
		struct flight *next = again->next;

		again->next = channel->waiting;
		channel->waiting = again;
		if (again->next == NULL)
			channel->waiting_tail = &again->next;
		again = next;
	}
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
	struct target *t = flight->target;
	struct message *m = t->message;
	const struct spool_envelope *e = &m->file.envelope;
	unsigned char key[16];
	struct deliver_message body = {.key = span_of(key, sizeof(key)),
	    .size = m->file.content,
	    .quota = t->quota,
	    .arrived = e->arrived,
	    .sender = e->sender,
	    .recipient = t->address,
	    .detail = t->detail};
	struct err err;
	int fd, r;

	delivery_key(t, key);
	/* A descriptor of its own, for reading alone: the worker cannot change the message. */
	r = queue_open_file(m->id, O_RDONLY, &fd, &err);
	if (r != 0)
		return err_is_temp(r) ? r : E_IO; /* a fault of this machine is never the sender's */
	flight->id = ++channel->last_id;
	r = ipc_conn_send(channel->conn, &ipc_deliver_message, flight->id, &body, fd);
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
	while (channel->waiting != NULL && channel->flying_count < QUEUE_CHANNEL_IN_FLIGHT) {
		struct flight *flight = channel->waiting;
		int r;

		channel->waiting = flight->next;
		if (channel->waiting == NULL)
			channel->waiting_tail = &channel->waiting;
		if (flight->target == NULL) {
			free(flight);
			continue;
		}
		r = flight_send(channel, flight);
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

	while (channel != NULL && channel->account != account)
		channel = channel->next;
	if (channel != NULL)
		return channel;
	if (queue->channel_count >= QUEUE_CHANNELS)
		make_room(queue);
	channel = calloc(1, sizeof(*channel));
	if (channel == NULL)
		return NULL;
	channel->queue = queue;
	channel->account = account;
	channel->waiting_tail = &channel->waiting;
	channel->next = queue->channels;
	queue->channels = channel;
	queue->channel_count++;
	return channel;
}

void deliver_target(struct target *target)
{
	struct queue *queue = target->message->queue;
	struct channel *channel = channel_for(queue, target->account);
	struct flight *flight = calloc(1, sizeof(*flight));
	bool first;

	if (channel == NULL || flight == NULL) {
		free(flight);
		target_result(target, E_NOMEM, SPAN_LIT("out of memory"));
		return;
	}
	flight->target = target;
	target->state = TARGET_IN_FLIGHT;
	target->message->busy++;
	first = channel->waiting == NULL;
	*channel->waiting_tail = flight;
	channel->waiting_tail = &flight->next;
	channel->used_ms = clock_monotonic_ms();
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
		if (channel != NULL && channel->conn == NULL && m->fd < 0) {
			struct flight *list = channel->waiting;

			channel->waiting = NULL;
			channel->waiting_tail = &channel->waiting;
			flights_fail(list, "the account's store cannot be opened now");
		}
		return 0;
	}
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
}

static const struct ipc_conn_callbacks service_callbacks = {on_worker, on_service_closed};

void deliver_service(struct queue *queue, int fd)
{
	ipc_conn_free(&queue->deliver);
	queue->deliver = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_deliver, TO_CLIENT, &service_callbacks, queue);
	for (struct channel *c = queue->channels; c != NULL && queue->deliver != NULL; c = c->next)
		if (c->conn == NULL)
			channel_ask(c);
}

/* ---- expansion ---- */

struct expansion {
	struct expansion *next;
	struct message *message; /* NULL: forgotten */
	uint32_t recipient;
	uint32_t id;
	bool sent;
};

static void expansion_send(struct queue *queue, struct expansion *e)
{
	struct auth_expand ask = {.address = e->message->file.envelope.recipients[e->recipient].address};

	e->sent = queue->auth != NULL && ipc_conn_send(queue->auth, &ipc_auth_expand, e->id, &ask, -1) == 0;
}

void expand_recipient(struct message *message, uint32_t recipient)
{
	struct queue *queue = message->queue;
	struct expansion *e = calloc(1, sizeof(*e));

	if (e == NULL) {
		message->states[recipient].status = SPOOL_DEFERRED;
		return;
	}
	e->message = message;
	e->recipient = recipient;
	e->id = ++queue->last_question;
	e->next = queue->expansions;
	queue->expansions = e;
	message->busy++;
	expansion_send(queue, e);
}

void expand_forget(struct message *message)
{
	for (struct expansion *e = message->queue->expansions; e != NULL; e = e->next)
		if (e->message == message)
			e->message = NULL;
}

static struct expansion **find_expansion(struct queue *queue, uint32_t id)
{
	struct expansion **link = &queue->expansions;

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

/* What auth could not tell is the recipient's own failure: one target that carries it. */
static void expansion_failed(struct expansion *e, int code, struct span text)
{
	struct message *m = e->message;
	const struct spool_recipient *r = &m->file.envelope.recipients[e->recipient];
	struct target *t = message_add_target(m, e->recipient, 0, 0, r->address, span_str(""));

	if (t == NULL)
		return;
	/* A notification for somebody elsewhere waits for the relay; it is not a failure. */
	if (code == E_DENIED)
		target_result(t, E_UNAVAILABLE, SPAN_LIT("mail to other hosts waits for the relay"));
	else
		target_result(t, code, text);
}

static int on_expand(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct queue *queue = arg;
	struct expansion **link = find_expansion(queue, m->id), *e = *link;
	struct message *message = e ? e->message : NULL;

	(void)conn;
	if (m->type == &ipc_auth_target && message != NULL) {
		const struct auth_target *body = (const void *)m->body;
		struct target *t = message_add_target(message, e->recipient, body->account, body->quota, body->address, body->detail);

		if (t != NULL && body->account != 0)
			deliver_target(t);
		else if (t != NULL)
			target_result(t, E_UNAVAILABLE, SPAN_LIT("mail to other hosts waits for the relay"));
	} else if (m->type == &ipc_auth_expanded && e != NULL) {
		const struct auth_expanded *body = (const void *)m->body;

		if (message != NULL && body->code != 0)
			expansion_failed(e, body->code, body->text);
		*link = e->next;
		free(e);
		if (message != NULL) {
			message->busy--;
			message_step(message);
		}
	} else if (m->type != &ipc_auth_target && m->type != &ipc_auth_expanded) {
		return E_PROTO;
	}
	return 0;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct queue *queue = arg;

	(void)conn;
	queue->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	for (struct expansion *e = queue->expansions; e != NULL; e = e->next)
		e->sent = false;
}

static const struct ipc_conn_callbacks auth_callbacks = {on_expand, on_auth_closed};

void auth_service(struct queue *queue, int fd)
{
	ipc_conn_free(&queue->auth);
	queue->auth = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, queue);
	for (struct expansion *e = queue->expansions; e != NULL && queue->auth != NULL; e = e->next)
		if (e->message != NULL && !e->sent)
			expansion_send(queue, e);
}
