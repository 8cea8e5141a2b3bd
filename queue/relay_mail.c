/*
 * Messages that relay has written itself: reports about TLS. Queue says what their envelope is, but for the addresses: nobody is told
 * when one cannot be delivered, and TLS is no condition (RFC 8460 section 3).
 */
#include "queue/destination.h"

#include "base/clock.h"
#include "net/ipc_conn.h"

#include <stdlib.h>

enum { RELAY_MAILS_MAX = 32 /* that are being written at once */ };

struct relay_mailing {
	struct queue *queue;
	uint32_t id;
};

/* Relay may have been started again meanwhile: it knows no such id then. */
static void answer(struct queue *queue, uint32_t id, int code)
{
	struct relay_mailed body = {.code = code};

	if (queue->relay != NULL)
		ipc_conn_send(queue->relay, &ipc_relay_mailed, id, &body, -1);
}

static void on_committed(void *arg, int code)
{
	struct relay_mailing *mailing = arg;

	mailing->queue->relay_mails--;
	answer(mailing->queue, mailing->id, code);
	free(mailing);
}

int relay_mail_take(struct queue *queue, uint32_t id, const struct relay_mail *body)
{
	struct spool_recipient to = {.address = body->recipient, .notify = SPOOL_NOTIFY_NEVER};
	struct spool_envelope envelope = {.source = SPOOL_FROM_LOCAL, .arrived = clock_wall(), .sender = body->sender, .tls_optional = true, .recipient_count = 1, .recipients = &to};
	struct relay_mailing *mailing;
	int r;

	if (body->sender.len == 0 || body->recipient.len == 0 || body->content.len == 0)
		return E_PROTO;
	mailing = queue->relay_mails < RELAY_MAILS_MAX && !queue->halting ? calloc(1, sizeof(*mailing)) : NULL;
	if (mailing == NULL) {
		answer(queue, id, E_BUSY);
		return 0;
	}
	mailing->queue = queue;
	mailing->id = id;
	queue->relay_mails++;
	r = accept_own(queue, body->content, &envelope, on_committed, mailing);
	if (r != 0) {
		queue->relay_mails--;
		free(mailing);
		answer(queue, id, r);
	}
	return 0;
}
