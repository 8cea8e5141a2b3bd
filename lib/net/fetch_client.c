#include "net/fetch_client.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "proc/daemon.h"

#include <event2/event.h>
#include <stdlib.h>

struct question {
	struct question *next, **link;
	struct fetch_client *client;
	struct event *timer;
	uint32_t id;
	struct fetch_request ask; /* its spans point into text */
	struct buf text;
	fetch_answered *done;
	void *arg;
};

struct fetch_client {
	struct daemon *daemon;
	struct ipc_conn *conn;
	struct question *first;
	unsigned count;
	uint32_t last_id;
};

static void question_free(struct question *q)
{
	*q->link = q->next;
	if (q->next != NULL)
		q->next->link = q->link;
	q->client->count--;
	if (q->timer != NULL)
		event_free(q->timer);
	buf_fini_secret(&q->text);
	free(q);
}

static void answer(struct question *q, const struct fetch_answer *body)
{
	fetch_answered *done = q->done;
	void *arg = q->arg;

	question_free(q);
	done(arg, body);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct fetch_answer late = {.code = E_TIMEOUT, .max_age = -1, .text = {"the fetch process does not answer", 33}};

	(void)fd;
	(void)what;
	answer(arg, &late);
}

/* Nobody waits for this id any more: it was too late, or has been forgotten. */
static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct fetch_client *client = arg;
	struct question *q = client->first;

	(void)conn;
	if (m->type != &ipc_fetch_answer)
		return E_PROTO;
	while (q != NULL && q->id != m->id)
		q = q->next;
	if (q != NULL)
		answer(q, (const void *)m->body);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct fetch_client *client = arg;

	(void)conn;
	client->conn = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "fetch"));
	daemon_peer_lost(client->daemon, "fetch");
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

/* Without a channel it waits for the next one, or for its deadline. */
static void send_question(struct question *q)
{
	if (q->client->conn != NULL)
		ipc_conn_send(q->client->conn, &ipc_fetch_request, q->id, &q->ask, -1);
}

void fetch_client_connect(struct fetch_client *client, int fd)
{
	ipc_conn_free(&client->conn);
	client->conn = ipc_conn_new(daemon_base(client->daemon), fd, &ipc_service_fetch, TO_CLIENT, &callbacks, client);
	for (struct question *q = client->first; q != NULL; q = q->next)
		send_question(q);
}

struct fetch_client *fetch_client_new(struct daemon *daemon)
{
	struct fetch_client *client = calloc(1, sizeof(*client));

	if (client != NULL)
		client->daemon = daemon;
	return client;
}

/* A copy of s at the end of text, whose memory is all there already. */
static struct span keep(struct buf *text, struct span s)
{
	size_t at = buf_len(text);

	buf_add_span(text, s);
	return span_from(buf_span(text), at);
}

static bool keep_request(struct question *q, const struct fetch_request *ask)
{
	size_t size = ask->url.len + ask->accept.len + ask->content_type.len + ask->authorization.len + ask->body.len;

	buf_init(&q->text, size + 1);
	if (buf_reserve(&q->text, size + 1) == NULL)
		return false;
	q->ask = *ask;
	q->ask.url = keep(&q->text, ask->url);
	q->ask.accept = keep(&q->text, ask->accept);
	q->ask.content_type = keep(&q->text, ask->content_type);
	q->ask.authorization = keep(&q->text, ask->authorization);
	q->ask.body = keep(&q->text, ask->body);
	return true;
}

uint32_t fetch_ask(struct fetch_client *client, const struct fetch_request *ask, fetch_answered *done, void *arg)
{
	uint32_t ms = ask->timeout_ms + FETCH_GRACE_MS;
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
	struct question *q = client->count < FETCH_ASKS_MAX ? calloc(1, sizeof(*q)) : NULL;

	if (q == NULL)
		return 0;
	q->client = client;
	q->done = done;
	q->arg = arg;
	q->id = ++client->last_id != 0 ? client->last_id : ++client->last_id;
	q->next = client->first;
	q->link = &client->first;
	if (q->next != NULL)
		q->next->link = &q->next;
	client->first = q;
	client->count++;
	q->timer = evtimer_new(daemon_base(client->daemon), on_timer, q);
	if (q->timer == NULL || !keep_request(q, ask)) {
		question_free(q);
		return 0;
	}
	evtimer_add(q->timer, &tv);
	send_question(q);
	return q->id;
}

void fetch_forget(struct fetch_client *client, uint32_t question)
{
	const struct fetch_cancel body = {0};

	for (struct question *q = client->first; q != NULL; q = q->next)
		if (q->id == question) {
			if (client->conn != NULL)
				ipc_conn_send(client->conn, &ipc_fetch_cancel, q->id, &body, -1);
			question_free(q);
			return;
		}
}
