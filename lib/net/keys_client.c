#include "net/keys_client.h"

#include "base/clock.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "net/ipc_conn.h"
#include "proc/daemon.h"
#include "tls/sign.h"

#include <event2/event.h>
#include <stdlib.h>

enum { KEYS_AGAIN_MS = 100 }; /* after "there is no such key" */

/* One who waits. The list is in the order of the deadlines. */
struct keys_waiting {
	struct keys_waiting *next, **link;
	struct tls_session *session;
	int64_t deadline;
	uint32_t id;
	bool again; /* to be asked once more */
	struct tls_question question;
	unsigned char data[TLS_SIGN_DATA_MAX];
};

struct keys_client {
	struct daemon *daemon;
	struct ipc_conn *conn;
	struct event *timer;
	struct keys_waiting *first, **tail;
	uint32_t last_id;
};

static void waiting_remove(struct keys_client *client, struct keys_waiting *w)
{
	*w->link = w->next;
	if (w->next != NULL)
		w->next->link = w->link;
	else
		client->tail = w->link;
	free(w);
}

static void arm(struct keys_client *client, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(client->timer, &tv);
}

static void answer(struct keys_client *client, struct keys_waiting *w, int code, struct span signature)
{
	struct tls_session *session = w->session;

	waiting_remove(client, w);
	tls_session_signed(session, code, signature);
}

static void send_question(struct keys_client *client, struct keys_waiting *w)
{
	struct keys_sign body = {.key = span_of(w->question.key, TLS_FINGERPRINT),
	    .algorithm = w->question.algorithm,
	    .digest = w->question.digest,
	    .data = w->question.data};

	w->again = client->conn == NULL || ipc_conn_send(client->conn, &ipc_keys_sign, w->id, &body, -1) != 0;
}

/* The deadlines, and who has to ask again. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct keys_client *client = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	while (client->first != NULL && client->first->deadline <= now) {
		log_event(EV_tls_no_signature, daemon_log(client->daemon), F_STR("why", "keys did not answer in time"));
		answer(client, client->first, E_TIMEOUT, SPAN_LIT(""));
	}
	for (struct keys_waiting *w = client->first; w != NULL; w = w->next)
		if (w->again)
			send_question(client, w);
	if (client->first != NULL)
		arm(client, KEYS_AGAIN_MS);
}

static bool ask(void *arg, struct tls_session *session, const struct tls_question *question)
{
	struct keys_client *client = arg;
	struct keys_waiting *w = question->data.len <= TLS_SIGN_DATA_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (w == NULL)
		return false;
	if (client->timer == NULL)
		client->timer = evtimer_new(daemon_base(client->daemon), on_timer, client);
	if (client->timer == NULL) {
		free(w);
		return false;
	}
	w->session = session;
	w->deadline = clock_monotonic_ms() + KEYS_WAIT_MS;
	w->id = ++client->last_id;
	w->question = *question;
	memcpy(w->data, question->data.ptr, question->data.len);
	w->question.data.ptr = (const char *)w->data;
	w->link = client->tail;
	*client->tail = w;
	client->tail = &w->next;
	send_question(client, w);
	if (client->first == w)
		arm(client, KEYS_AGAIN_MS);
	return true;
}

static void forget(void *arg, struct tls_session *session)
{
	struct keys_client *client = arg;

	for (struct keys_waiting *w = client->first; w != NULL; w = w->next)
		if (w->session == session) {
			waiting_remove(client, w);
			return;
		}
}

static const struct tls_signer_callbacks signer_callbacks = {ask, forget};

/* Nobody waits for this id any more: its client has gone. */
static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct keys_client *client = arg;
	const struct keys_signed *body = (const void *)m->body;
	struct keys_waiting *w = client->first;

	(void)conn;
	if (m->type != &ipc_keys_signed)
		return E_PROTO;
	while (w != NULL && w->id != m->id)
		w = w->next;
	if (w == NULL)
		return 0;
	if (body->code == E_NOTFOUND) {
		w->again = true; /* a reload hands the certificate to us and the key to keys, in no certain order */
		return 0;
	}
	if (body->code != 0)
		log_event(EV_tls_no_signature, daemon_log(client->daemon), F_STR("why", err_text(body->code)));
	answer(client, w, body->code, body->signature);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct keys_client *client = arg;

	(void)conn;
	client->conn = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "keys"));
	daemon_peer_lost(client->daemon, "keys");
	for (struct keys_waiting *w = client->first; w != NULL; w = w->next)
		w->again = true;
}

static const struct ipc_conn_callbacks keys_callbacks = {on_message, on_closed};

void keys_client_connect(struct keys_client *client, int fd)
{
	ipc_conn_free(&client->conn);
	client->conn = ipc_conn_new(daemon_base(client->daemon), fd, &ipc_service_keys, TO_CLIENT, &keys_callbacks, client);
	for (struct keys_waiting *w = client->first; w != NULL; w = w->next)
		send_question(client, w);
}

int keys_client_new(struct daemon *daemon, struct keys_client **out, struct tls_signer **signer, struct err *err)
{
	struct keys_client *client = calloc(1, sizeof(*client));

	*out = client;
	if (client == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	client->daemon = daemon;
	client->tail = &client->first;
	return tls_signer_new(&signer_callbacks, client, signer, err);
}
