/* Which destination an address belongs to: by an administrator's word, else by the transport blocks of the configuration; without one, its own domain. */
#include "queue/destination.h"

#include <stdio.h>
#include <string.h>

/* In small letters; empty when the address has none. */
static struct span domain_of(struct span address, char *out, size_t size)
{
	size_t at = address.len;
	struct span domain;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	domain = span_from(address, at);
	if (at == 0 || domain.len == 0 || domain.len >= size)
		return span_str("");
	for (size_t i = 0; i < domain.len; i++)
		out[i] = (char)ascii_lower(domain.ptr[i]);
	return span_of(out, domain.len);
}

/* The same host for two patterns is two destinations: they may have different log-ins, and different limits. */
static struct span key_of(const struct conf_transport *transport, struct span host, char *out)
{
	int n = snprintf(out, ROUTE_KEY_MAX, "%.*s%s%.*s", SPAN_ARG(span_sub(host, 0, 300)), span_eq(transport->pattern, SPAN_LIT("*")) ? "" : " for ",
	    SPAN_ARG(span_eq(transport->pattern, SPAN_LIT("*")) ? span_str("") : span_sub(transport->pattern, 0, 320)));

	return span_of(out, n > 0 && n < ROUTE_KEY_MAX ? (size_t)n : 0);
}

static struct span behind(struct span text, const char *word)
{
	return span_startswith(text, span_str(word)) ? span_from(text, strlen(word)) : span_str("");
}

/* What an administrator made of it (doc/spool.md). A block that has gone since says nothing. true: the route is known. */
static bool take_way(const struct conf *conf, struct span way, struct route *route)
{
	struct span host = behind(way, "host "), pattern = behind(way, "transport ");

	if (host.len > 0 && host.len <= ROUTE_HOST_MAX) {
		route->transport = NULL;
		span_copy(host, route->host, sizeof(route->host));
		return snprintf(route->key, sizeof(route->key), "%s by reroute", route->host) > 0;
	}
	if (pattern.len > 0 && conf_transport_find(conf, pattern) != NULL)
		route->transport = conf_transport_find(conf, pattern);
	return false;
}

bool route_find(const struct conf *conf, struct span address, struct span way, struct route *route)
{
	const struct conf_transport *usual = conf_transport_for(conf, address), *transport;
	struct span domain = domain_of(address, route->domain, sizeof(route->domain)), host = span_str("");
	struct conf_where where = {0};

	if (domain.len == 0)
		return false;
	route->domain[domain.len] = '\0';
	route->host[0] = '\0';
	route->transport = usual;
	if (take_way(conf, way, route))
		return true;
	where.transport = transport = route->transport;
	if (transport != NULL)
		host = conf_text(conf, CONF_transport_host, &where).len > 0 ? conf_text(conf, CONF_transport_host, &where)
									     : conf_text(conf, CONF_transport_lmtp, &where);
	if (host.len > 0)
		return key_of(transport, host, route->key).len > 0;
	/* The same domain by another block is another destination. */
	if (transport != usual)
		return snprintf(route->key, sizeof(route->key), "%s by %.*s", route->domain, SPAN_ARG(span_sub(transport->pattern, 0, 320))) > 0;
	memcpy(route->key, route->domain, domain.len + 1);
	return true;
}

/* As far as is known without asking auth. */
static bool is_elsewhere(const struct message *m, size_t i)
{
	const struct recipient_state *s = &m->states[i];
	bool asked = s->anew && s->status == SPOOL_PENDING;

	return !m->file.envelope.recipients[i].local && (!message_is_unasked(m) || s->elsewhere) && !asked;
}

struct span outbound_destination_name(const struct message *m, struct route *route)
{
	struct span key = span_str("");

	for (size_t i = 0; i < m->file.envelope.recipient_count; i++) {
		const struct spool_recipient *r = &m->file.envelope.recipients[i];
		struct route this;

		if (m->states[i].status != SPOOL_PENDING && m->states[i].status != SPOOL_DEFERRED)
			continue;
		if (!is_elsewhere(m, i) || !route_find(daemon_conf(m->queue->daemon), r->address, m->states[i].way, &this))
			return span_str("");
		if (key.len > 0 && !span_eq(key, span_str(this.key)))
			return span_str("");
		*route = this;
		key = span_str(route->key);
	}
	return key;
}
