#include "resolve/context.h"

#include "resolve/settings.h"

#include <stdio.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

enum {
	SOCKETS_UDP = 512, /* on their own ports, at once; more wait */
	SOCKETS_TCP = 32,
};

static int set(struct ub_ctx *ctx, const char *option, const char *value, struct err *err)
{
	int r = ub_ctx_set_option(ctx, option, value);

	return r == 0 ? 0 : err_set(err, E_BUG, "libunbound does not take %s %s: %s", option, value, ub_strerror(r));
}

static int set_number(struct ub_ctx *ctx, const char *option, uint64_t value, struct err *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return set(ctx, option, text, err);
}

static bool is_loopback(const struct conf_server *server)
{
	return strncmp(server->host, "127.", 4) == 0 || strcmp(server->host, "::1") == 0;
}

/* A name server on this machine is asked only where the configuration names one: what zones of others say leads nobody to it. */
static bool asks_loopback(const struct settings *s)
{
	bool does = false;

	for (size_t i = 0; i < s->server_count; i++)
		does |= is_loopback(&s->servers[i]);
	for (size_t i = 0; i < s->zone_count; i++)
		does |= is_loopback(&s->zones[i].server);
	return does;
}

static void server_text(const struct conf_server *server, char *out, size_t size)
{
	snprintf(out, size, "%s@%u", server->host, server->port);
}

static int set_servers(struct ub_ctx *ctx, const struct settings *s, struct err *err)
{
	char text[80];
	int r = 0;

	for (size_t i = 0; i < s->server_count && r == 0; i++) {
		server_text(&s->servers[i], text, sizeof(text));
		r = ub_ctx_set_fwd(ctx, text);
	}
	for (size_t i = 0; i < s->zone_count && r == 0; i++) {
		server_text(&s->zones[i].server, text, sizeof(text));
		r = ub_ctx_set_stub(ctx, s->zones[i].name, text, 0);
	}
	return r == 0 ? 0 : err_set(err, E_SYNTAX, "libunbound does not take the name server %s: %s", text, ub_strerror(r));
}

static int set_validation(struct ub_ctx *ctx, const struct settings *s, struct err *err)
{
	struct span rest = buf_span(&s->anchors);
	int r = 0;

	for (; rest.len > 0 && r == 0; rest = span_from(rest, strlen(rest.ptr) + 1))
		r = ub_ctx_add_ta(ctx, rest.ptr);
	if (r != 0)
		return err_set(err, E_SYNTAX, "resolver-trust-anchor: %s", ub_strerror(r));
	for (size_t i = 0; i < s->insecure_count && r == 0; i++)
		r = set(ctx, "domain-insecure:", s->insecure[i], err);
	return r;
}

/* The library's defaults are for one question at a time. */
static int set_sizes(struct ub_ctx *ctx, const struct settings *s, struct err *err)
{
	int r = set_number(ctx, "rrset-cache-size:", s->cache / 2, err);

	if (r == 0)
		r = set_number(ctx, "msg-cache-size:", s->cache / 4, err);
	if (r == 0)
		r = set_number(ctx, "key-cache-size:", s->cache / 8, err);
	if (r == 0)
		r = set_number(ctx, "neg-cache-size:", s->cache / 8, err);
	if (r == 0)
		r = set_number(ctx, "outgoing-range:", SOCKETS_UDP, err);
	if (r == 0)
		r = set_number(ctx, "outgoing-num-tcp:", SOCKETS_TCP, err);
	return r;
}

/*
 * This fixes all other options. A zone that has name servers of its own is asked there, also when it is one that libunbound otherwise answers
 * by itself (RFC 6761, RFC 6303): .test, or the reverse of private addresses.
 */
static int complete(struct ub_ctx *ctx, const struct settings *s, struct err *err)
{
	int r = ub_ctx_zone_add(ctx, "invalid.", "static");

	for (size_t i = 0; i < s->zone_count && r == 0; i++) {
		r = ub_ctx_zone_remove(ctx, s->zones[i].name);
		if (r == 0)
			r = ub_ctx_zone_add(ctx, s->zones[i].name, "transparent");
	}
	return r == 0 ? 0 : err_set(err, E_SYNTAX, "the resolver cannot work with its settings; look at resolver-trust-anchor and resolver-insecure (libunbound: %s)", ub_strerror(r));
}

int context_new(struct event_base *base, const struct settings *settings, struct ub_ctx **out, struct err *err)
{
	struct ub_ctx *ctx = ub_ctx_create_event(base);
	int r;

	if (ctx == NULL)
		return err_set(err, E_NOMEM, "libunbound gives no context: no memory, or it was built for another libevent");
	ub_ctx_debugout(ctx, NULL);
	r = set_sizes(ctx, settings, err);
	if (r == 0)
		r = set(ctx, "do-not-query-localhost:", asks_loopback(settings) ? "no" : "yes", err);
	if (r == 0)
		r = set_servers(ctx, settings, err);
	if (r == 0)
		r = set_validation(ctx, settings, err);
	if (r == 0)
		r = complete(ctx, settings, err);
	if (r != 0) {
		ub_ctx_delete(ctx);
		return r;
	}
	*out = ctx;
	return 0;
}
