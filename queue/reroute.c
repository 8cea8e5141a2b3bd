/*
 * What an administrator changes about recipients that wait: requeue forgets what was learnt of them, so that aliases and transports of
 * today tell where they go; reroute sends them another way. Both are records in the message's file before they count, and concern nobody
 * who has the message.
 */
#include "queue/destination.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- --to ---- */

static bool is_host_letter(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
}

/* A slip must not lead to a host of that name: without a port it has a dot, or is an address in brackets. */
static bool parse_host(const struct conf *conf, struct span to, struct reroute *out)
{
	unsigned port = (unsigned)conf_u64(conf, CONF_relay_port, NULL);
	struct span host;
	uint16_t ignored;

	for (size_t i = 0; i < to.len; i++)
		if (!is_host_letter(to.ptr[i]))
			return false;
	if (to.len == 0 || to.len > ROUTE_HOST_MAX - sizeof(":65535"))
		return false;
	if (to.ptr[to.len - 1] != ']' && conf_parse_host(to, &host, &ignored)) {
		snprintf(out->way, sizeof(out->way), "host %.*s", SPAN_ARG(to));
		return host.len > 0 && (to.ptr[0] == '[' || span_find(host, ':') == host.len);
	}
	snprintf(out->way, sizeof(out->way), "host %.*s:%u", SPAN_ARG(to), port);
	return to.ptr[0] == '[' ? to.len > 2 && to.ptr[to.len - 1] == ']' : span_find(to, ':') == to.len && span_find(to, '.') < to.len;
}

int reroute_parse(const struct conf *conf, struct span to, struct reroute *out, struct err *err)
{
	char pattern[CONF_PATTERN_MAX + 1];

	out->way[0] = '\0';
	if (span_eq(to, SPAN_LIT("-")))
		return 0;
	if (to.len < sizeof(pattern)) {
		for (size_t i = 0; i < to.len; i++)
			pattern[i] = ascii_lower(to.ptr[i]);
		if (conf_transport_find(conf, span_of(pattern, to.len)) != NULL) {
			snprintf(out->way, sizeof(out->way), "transport %.*s", (int)to.len, pattern);
			return 0;
		}
	}
	return parse_host(conf, to, out) ? 0 : err_set(err, E_SYNTAX, "'%.*s' is neither the pattern of a transport block nor a host: HOST, HOST:PORT, [ADDRESS]:PORT, or - for the usual way",
	    SPAN_ARG(span_sub(to, 0, 80)));
}

/* ---- reroute ---- */

/* Not one in a mailbox here: no host takes it. */
static bool is_concerned(const struct message *m, size_t i, const struct reroute *reroute)
{
	const struct spool_recipient *r = &m->file.envelope.recipients[i];
	struct route route;

	if (!message_is_open(&m->states[i]) || (r->local && r->account != 0))
		return false;
	if (reroute->destination.len == 0)
		return true;
	return route_find(daemon_conf(m->queue->daemon), r->address, m->states[i].way, &route) && span_caseeq(span_str(route.key), reroute->destination);
}

bool reroute_concerns(const struct message *m, const struct reroute *reroute)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (is_concerned(m, i, reroute))
			return true;
	return false;
}

int reroute_message(struct message *m, const struct reroute *reroute, struct err *err)
{
	size_t all = m->file.envelope.recipient_count, count = 0;
	struct spool_record *records = calloc(all, sizeof(*records));
	struct span way = pool_span(m->pool, span_str(reroute->way));
	int r = records != NULL && way.ptr != NULL ? 0 : err_set(err, E_NOMEM, "out of memory");

	for (uint32_t i = 0; i < all && r == 0; i++)
		if (is_concerned(m, i, reroute) && !span_eq(m->states[i].way, way))
			records[count++] = (struct spool_record){.status = SPOOL_REROUTED, .recipient = i, .when = queue_now(m->queue), .text = way};
	if (r == 0 && count > 0)
		r = spool_append(m->fd, m->id, m->queue->key, records, count, true, err);
	for (size_t i = 0; i < count && r == 0; i++)
		m->states[records[i].recipient].way = way;
	free(records);
	return r;
}

/* ---- requeue ---- */

/* An order of before stays: it was not learnt. So does the time of arrival, and with it when the message is given up. */
void requeue_apply(struct message *m)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++) {
		struct recipient_state *s = &m->states[i];

		if (!message_is_open(s))
			continue;
		s->status = SPOOL_PENDING;
		s->attempts = 0;
		s->anew = true;
		s->elsewhere = false;
		s->text = span_str("");
	}
	m->next = 0;
}

int requeue_message(struct message *m, struct err *err)
{
	struct spool_record record = {.status = SPOOL_REQUEUED, .recipient = UINT32_MAX, .when = queue_now(m->queue)};
	int r = spool_append(m->fd, m->id, m->queue->key, &record, 1, true, err);

	if (r == 0)
		requeue_apply(m);
	return r;
}
