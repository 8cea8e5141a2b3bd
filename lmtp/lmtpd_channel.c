/* Channels to workers, one for each account that has deliveries; closed when it has none left. */
#include "lmtp/lmtpd.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void flight_end(struct lmtp_flight *flight, int code, struct span text)
{
	struct lmtp_delivery *delivery = flight->delivery;

	lmtp_content_release(&flight->content);
	free(flight);
	delivery->code = code;
	span_copy(text, delivery->text, sizeof(delivery->text));
	lmtp_delivered(delivery);
}

static void channel_end(struct lmtp_channel *channel)
{
	struct lmtp_channel **link = &channel->lmtpd->channels;

	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
	ipc_conn_free(&channel->conn);
	free(channel);
}

static void flights_end(struct lmtp_flight *flight, int code, const char *why)
{
	while (flight != NULL) {
		struct lmtp_flight *next = flight->next;

		flight_end(flight, code, span_str(why));
		flight = next;
	}
}

/* The channel and all that flew on it end: the client is told to try again. */
static void channel_fail(struct lmtp_channel *channel, int code, const char *why)
{
	struct lmtp_flight *flying = channel->flying, *waiting = channel->waiting;

	channel_end(channel);
	flights_end(flying, code, why);
	flights_end(waiting, code, why);
}

static void channel_pump(struct lmtp_channel *channel);

static int on_result(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct lmtp_channel *channel = arg;
	const struct deliver_result *body = (const void *)m->body;
	struct lmtp_flight **link = &channel->flying, *flight;

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
	channel->progress_ms = clock_monotonic_ms();
	flight_end(flight, body->code, body->text);
	channel_pump(channel);
	return 0;
}

static void on_channel_closed(void *arg, struct ipc_conn *conn)
{
	struct lmtp_channel *channel = arg;

	(void)conn;
	channel->conn = NULL;
	channel_fail(channel, E_UNAVAILABLE, "the delivery was interrupted; try again");
}

static const struct ipc_conn_callbacks channel_callbacks = {on_result, on_channel_closed};

static int flight_send(struct lmtp_channel *channel, struct lmtp_flight *flight)
{
	const struct lmtp_delivery *d = flight->delivery;
	struct deliver_message body = {.key = span_of(d->key, sizeof(d->key)),
	    .size = flight->content->size,
	    .quota = d->quota,
	    .arrived = clock_wall(),
	    .sender = span_str(flight->sender),
	    .recipient = span_str(d->address),
	    .detail = span_str(d->detail)};
	int r;

	flight->id = ++channel->last_id;
	r = ipc_conn_send(channel->conn, &ipc_deliver_message, flight->id, &body, flight->content->file);
	if (r != 0)
		return err_is_temp(r) ? r : E_UNAVAILABLE;
	flight->next = channel->flying;
	channel->flying = flight;
	channel->flying_count++;
	return 0;
}

static bool has_room(const struct lmtp_channel *channel)
{
	return channel->conn != NULL && channel->flying_count < LMTPD_IN_FLIGHT;
}

/* Those that came before the worker did, or before there was room. One that cannot be sent fails alone. */
static void channel_pump(struct lmtp_channel *channel)
{
	while (channel->waiting != NULL && has_room(channel)) {
		struct lmtp_flight *flight = channel->waiting;
		int r;

		channel->waiting = flight->next;
		if (channel->waiting == NULL)
			channel->waiting_tail = &channel->waiting;
		r = flight_send(channel, flight);
		if (r != 0)
			flight_end(flight, r, span_str(err_text(r)));
	}
}

static struct lmtp_channel *channel_for(struct lmtpd *lmtpd, const struct lmtp_delivery *d)
{
	struct lmtp_channel *channel = lmtpd->channels;
	struct deliver_open ask = {.account = d->account,
	    .quota = d->quota,
	    .address = span_str(d->address),
	    .grant = span_of(d->grant, d->grant_len)};

	while (channel != NULL && channel->account != d->account)
		channel = channel->next;
	if (channel != NULL)
		return channel;
	channel = calloc(1, sizeof(*channel));
	if (channel == NULL || lmtpd->deliver == NULL || ipc_conn_send(lmtpd->deliver, &ipc_deliver_open, 0, &ask, -1) != 0) {
		free(channel);
		return NULL;
	}
	channel->lmtpd = lmtpd;
	channel->account = d->account;
	channel->waiting_tail = &channel->waiting;
	channel->next = lmtpd->channels;
	lmtpd->channels = channel;
	return channel;
}

static int refuse(struct lmtp_delivery *delivery, int code)
{
	snprintf(delivery->text, sizeof(delivery->text), "delivery is not possible now; try again");
	return code;
}

int lmtp_deliver(struct lmtpd *lmtpd, struct lmtp_delivery *delivery, struct lmtp_content *content, struct span sender)
{
	struct lmtp_channel *channel = channel_for(lmtpd, delivery);
	struct lmtp_flight *flight = calloc(1, sizeof(*flight));
	int r;

	if (channel == NULL || flight == NULL) {
		free(flight);
		return refuse(delivery, E_UNAVAILABLE);
	}
	flight->delivery = delivery;
	flight->content = content;
	span_copy(sender, flight->sender, sizeof(flight->sender));
	if (channel->flying == NULL && channel->waiting == NULL)
		channel->progress_ms = clock_monotonic_ms();
	if (has_room(channel) && channel->waiting == NULL) {
		r = flight_send(channel, flight);
		if (r != 0) {
			free(flight);
			return refuse(delivery, r);
		}
	} else {
		*channel->waiting_tail = flight;
		channel->waiting_tail = &flight->next;
	}
	lmtp_content_hold(content);
	return 0;
}

/* Nobody is told that a worker hangs, and its client may have gone: what it holds would stay. Its spawner ends it when another one is asked for. */
void lmtp_channels_look(struct lmtpd *lmtpd, int64_t now_ms)
{
	struct lmtp_channel *channel = lmtpd->channels;

	while (channel != NULL) {
		struct lmtp_channel *next = channel->next;

		if ((channel->flying != NULL || channel->waiting != NULL) && now_ms - channel->progress_ms >= LMTPD_STUCK_MS)
			channel_fail(channel, E_UNAVAILABLE, "the account's worker does not answer; try again");
		channel = next;
	}
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
	struct lmtpd *lmtpd = arg;
	const struct deliver_worker *body = (const void *)m->body;
	struct lmtp_channel *channel = lmtpd->channels;

	(void)conn;
	if (m->type != &ipc_deliver_worker)
		return E_PROTO;
	while (channel != NULL && (channel->account != body->account || channel->conn != NULL))
		channel = channel->next;
	if (channel == NULL || m->fd < 0) {
		if (m->fd >= 0)
			close(m->fd);
		if (channel != NULL)
			channel_fail(channel, code_of(m, body), "the account's store cannot be opened now");
		return 0;
	}
	channel->conn =
	    ipc_conn_new(daemon_base(lmtpd->daemon), m->fd, &ipc_service_deliver, TO_CLIENT, &channel_callbacks, channel);
	if (channel->conn == NULL) {
		channel_fail(channel, E_NOMEM, "out of memory");
		return 0;
	}
	channel_pump(channel);
	return 0;
}

static void on_service_closed(void *arg, struct ipc_conn *conn)
{
	struct lmtpd *lmtpd = arg;
	struct lmtp_channel *channel = lmtpd->channels;

	(void)conn;
	lmtpd->deliver = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "deliver"));
	daemon_peer_lost(lmtpd->daemon, "deliver");
	while (channel != NULL) {
		struct lmtp_channel *next = channel->next;

		if (channel->conn == NULL)
			channel_fail(channel, E_UNAVAILABLE, "delivery was restarted; try again");
		channel = next;
	}
}

static const struct ipc_conn_callbacks service_callbacks = {on_worker, on_service_closed};

void lmtp_deliver_service(struct lmtpd *lmtpd, int fd)
{
	ipc_conn_lose(&lmtpd->deliver);
	lmtpd->deliver =
	    ipc_conn_new(daemon_base(lmtpd->daemon), fd, &ipc_service_deliver, TO_CLIENT, &service_callbacks, lmtpd);
}
