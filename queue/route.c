/* Which destination an address belongs to, by the transport blocks of the configuration; without one, its own domain. */
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

bool route_find(const struct conf *conf, struct span address, struct route *route)
{
	const struct conf_transport *transport = conf_transport_for(conf, address);
	struct conf_where where = {.transport = transport};
	struct span domain = domain_of(address, route->domain, sizeof(route->domain)), host = span_str("");

	if (domain.len == 0)
		return false;
	route->domain[domain.len] = '\0';
	route->transport = transport;
	if (transport != NULL)
		host = conf_text(conf, CONF_transport_host, &where).len > 0 ? conf_text(conf, CONF_transport_host, &where)
									     : conf_text(conf, CONF_transport_lmtp, &where);
	if (host.len > 0)
		return key_of(transport, host, route->key).len > 0;
	memcpy(route->key, route->domain, domain.len + 1);
	return true;
}
