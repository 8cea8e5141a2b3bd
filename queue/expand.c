/* Where a recipient leads: auth is asked, and its answer makes targets. */
#include "queue/destination.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdlib.h>

struct expansion {
	struct expansion *next;
	struct message *message; /* NULL: forgotten */
	uint32_t recipient;
	uint32_t id;
	bool again; /* auth had it before: part of the answer may be here */
};

static void push(struct expansion_list *list, struct expansion *e)
{
	if (list->first == NULL)
		list->tail = &list->first;
	*list->tail = e;
	list->tail = &e->next;
}

static struct expansion *take(struct expansion_list *list, struct expansion **link)
{
	struct expansion *e = *link;

	*link = e->next;
	if (*link == NULL)
		list->tail = link;
	e->next = NULL;
	return e;
}

static int ask(struct queue *queue, const struct expansion *e)
{
	struct auth_expand body = {.address = e->message->file.envelope.recipients[e->recipient].address};

	return ipc_conn_send(queue->auth, &ipc_auth_expand, e->id, &body, -1);
}

static void forget(struct expansion *e, const struct message *message)
{
	for (; e != NULL; e = e->next)
		if (e->message == message)
			e->message = NULL;
}

void expand_forget(struct message *message)
{
	if (message->busy == 0)
		return;
	forget(message->queue->expansions.first, message);
	forget(message->queue->expansions_waiting.first, message);
}

static struct expansion **find_expansion(struct queue *queue, uint32_t id)
{
	struct expansion **link = &queue->expansions.first;

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
	/* A notification for somebody elsewhere. */
	if (code == E_DENIED)
		outbound_target(t);
	else
		target_result(t, code, text);
}

/*
 * A recipient that auth calls remote is no alias that leads there, it was remote from the beginning: its grant was for
 * another address, and who said so is not to be believed.
 */
static bool is_relaying(const struct expansion *e, struct span address)
{
	const struct spool_envelope *envelope = &e->message->file.envelope;

	return envelope->source == SPOOL_FROM_SMTP && span_eq(envelope->recipients[e->recipient].address, address);
}

/* Does the recipient lead there already? */
static bool has_target(const struct expansion *e, const struct auth_target *body)
{
	for (const struct target *t = e->message->targets; t != NULL; t = t->next) {
		if (t->recipient != e->recipient || t->account != body->account || t->kind != body->kind)
			continue;
		if (t->account != 0 || (t->kind == 0 ? span_eq(t->address, body->address) : span_eq(t->name, body->name) && span_eq(t->program, body->program)))
			return true;
	}
	return false;
}

static void take_target(struct expansion *e, const struct auth_target *body)
{
	struct message *message = e->message;
	struct target *t;

	/* Another host and a command would have the message twice. */
	if (e->again && has_target(e, body))
		return;
	t = body->kind != 0 ? message_add_program(message, e->recipient, body)
			    : message_add_target(message, e->recipient, body->account, body->quota, body->address, body->detail);
	if (t == NULL)
		return;
	if (body->sender.len > 0)
		t->sender = pool_span(message->pool, body->sender);
	if (body->code != 0)
		target_result(t, body->code, body->text);
	else if (body->kind != 0)
		agent_target(t);
	else if (body->account != 0)
		deliver_target(t);
	else if (is_relaying(e, body->address))
		target_result(t, E_DENIED, SPAN_LIT("this host does not relay"));
	else
		outbound_target(t);
}

/* e: taken from its list; freed. */
static void expansion_end(struct expansion *e, int code, struct span text)
{
	struct message *message = e->message;
	uint32_t recipient = e->recipient;

	if (message != NULL && code != 0)
		expansion_failed(e, code, text);
	free(e);
	if (message == NULL)
		return;
	message->states[recipient].expanding = false;
	message->busy--;
	message_step(message);
}

void expand_go_on(struct queue *queue)
{
	struct expansion_list *waiting = &queue->expansions_waiting;

	while (queue->auth != NULL && waiting->first != NULL) {
		int r = waiting->first->message != NULL ? ask(queue, waiting->first) : 0;
		struct expansion *e;

		if (r != 0 && err_is_temp(r))
			return;
		e = take(waiting, &waiting->first);
		if (r == 0 && e->message != NULL)
			push(&queue->expansions, e);
		else
			expansion_end(e, r, span_str(err_text(r)));
	}
}

void expand_recipient(struct message *message, uint32_t recipient)
{
	struct queue *queue = message->queue;
	struct expansion *e = calloc(1, sizeof(*e));

	if (e == NULL) {
		message->states[recipient].incomplete = true;
		return;
	}
	message->states[recipient].expanding = true;
	e->message = message;
	e->recipient = recipient;
	e->id = ++queue->last_question;
	message->busy++;
	push(&queue->expansions_waiting, e);
	expand_go_on(queue);
}

static int on_expand(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct queue *queue = arg;
	struct expansion **link = find_expansion(queue, m->id), *e = *link;

	(void)conn;
	if (e == NULL && explain_auth(queue, m))
		return 0;
	if (m->type == &ipc_auth_target) {
		if (e != NULL && e->message != NULL)
			take_target(e, (const void *)m->body);
	} else if (m->type == &ipc_auth_expanded) {
		const struct auth_expanded *body = (const void *)m->body;

		if (e != NULL)
			expansion_end(take(&queue->expansions, link), body->code, body->text);
		expand_go_on(queue);
	} else {
		return E_PROTO;
	}
	return 0;
}

/* What auth had comes before what it has not heard of. */
static void ask_again(struct queue *queue)
{
	struct expansion_list had = queue->expansions;

	for (struct expansion *e = had.first; e != NULL; e = e->next)
		e->again = true;
	queue->expansions = (struct expansion_list){0};
	while (queue->expansions_waiting.first != NULL)
		push(&had, take(&queue->expansions_waiting, &queue->expansions_waiting.first));
	queue->expansions_waiting = had;
}

static void on_auth_closed(void *arg, struct ipc_conn *conn)
{
	struct queue *queue = arg;

	(void)conn;
	queue->auth = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "auth"));
	daemon_peer_lost(queue->daemon, "auth");
	ask_again(queue);
	explain_lost(queue, false);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_expand, on_auth_closed};

static void on_drained(void *arg, struct ipc_conn *conn)
{
	(void)conn;
	expand_go_on(arg);
}

void auth_service(struct queue *queue, int fd)
{
	ipc_conn_lose(&queue->auth);
	queue->auth = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_auth, TO_CLIENT, &auth_callbacks, queue);
	if (queue->auth == NULL)
		return;
	ipc_conn_on_drained(queue->auth, on_drained);
	expand_go_on(queue);
}
