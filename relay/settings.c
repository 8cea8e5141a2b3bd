/* What the configuration says of a message's way, and what master has handed over for it. */
#include "relay/relay.h"

#include "net/connect.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RELAY_SMTP_PORT = 25 /* with another one relay-port has been set for a network of its own */ };

/* ---- TLS ---- */

static int load_own(struct relay *relay, struct tls_context **out, struct err *err)
{
	const struct conf *conf = daemon_conf(relay->daemon);
	struct err why = {0};
	int r = 0;

	*out = NULL;
	if (conf_is_set(conf, CONF_relay_authorities, NULL))
		r = tls_context_client(daemon_file(relay->daemon, "relay-authorities"), out, &why);
	return r == 0 ? 0 : err_set(err, r, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_relay_authorities, NULL)), why.text);
}

int settings_load(struct relay *relay, struct err *err)
{
	struct tls_context *own = NULL;
	int r = relay->system != NULL ? 0 : tls_context_client(-1, &relay->system, err);

	if (r == 0)
		r = load_own(relay, &own, err);
	if (r != 0)
		return r;
	tls_context_free(&relay->own);
	relay->own = own;
	return 0;
}

struct tls_context *settings_tls(const struct relay *relay)
{
	return relay->own != NULL ? relay->own : relay->system;
}

/* ---- ourselves ---- */

/*
 * The kernel sends from the address itself to what is of this machine, and from no other machine's. It is asked anew each time, as addresses
 * come and go; nothing is sent.
 */
static bool is_of_machine(const struct sockaddr_storage *address)
{
	struct sockaddr_storage to = *address, from = {0};
	socklen_t len = address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6), from_len = sizeof(from);
	int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char there[INET6_ADDRSTRLEN], here[INET6_ADDRSTRLEN];
	bool told;

	if (fd < 0)
		return false;
	connect_port(&to, RELAY_SMTP_PORT);
	told = connect(fd, (const struct sockaddr *)&to, len) == 0 && getsockname(fd, (struct sockaddr *)&from, &from_len) == 0;
	close(fd);
	if (!told)
		return false;
	connect_text(&to, there);
	connect_text(&from, here);
	return strcmp(there, here) == 0;
}

/* What others have in DNS must not lead to who trusts this machine. */
static bool is_unspecified(const char *text)
{
	return strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0 || strcmp(text, "::ffff:0.0.0.0") == 0;
}

static bool is_loopback(const char *text)
{
	return strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0 || strncmp(text, "::ffff:127.", 11) == 0;
}

/* The address itself, or all addresses of this machine. */
bool settings_is_ours(void *arg, const struct sockaddr_storage *address)
{
	struct relay *relay = arg;
	const struct conf *conf = daemon_conf(relay->daemon);
	uint64_t port = conf_u64(conf, CONF_relay_port, NULL);
	char text[INET6_ADDRSTRLEN];

	connect_text(address, text);
	if (is_unspecified(text) || (is_loopback(text) && port == RELAY_SMTP_PORT))
		return true;
	for (size_t i = 0; i < conf_listener_count(conf); i++) {
		const struct conf_listener *l = conf_listener(conf, i);
		bool every = span_eq(l->host, address->ss_family == AF_INET ? SPAN_LIT("0.0.0.0") : SPAN_LIT("::"));

		if (!span_eq(l->service, SPAN_LIT("smtp")) || l->port != port)
			continue;
		if (span_eq(l->host, span_str(text)) || (every && (is_loopback(text) || is_of_machine(address))))
			return true;
	}
	return false;
}

/* ---- the way of a message ---- */

static int take_secret(struct relay *relay, struct pool *pool, struct span pattern, struct way *out, struct err *err)
{
	const char *kind = out->is_token ? "token-file" : "password-file";
	char name[CONF_PATTERN_MAX + 32], *text = pool_alloc(pool, RELAY_SECRET_MAX);
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "%s %.*s", kind, SPAN_ARG(pattern));
	fd = daemon_file(relay->daemon, name);
	if (text == NULL)
		return err_set(err, E_NOMEM, "4.3.0 out of memory");
	n = fd >= 0 ? pread(fd, text, RELAY_SECRET_MAX, 0) : -1;
	out->secret = span_of(text, n > 0 ? (size_t)n : 0);
	out->secret.len = span_find(span_sub(out->secret, 0, span_find(out->secret, '\n')), '\r');
	return out->secret.len > 0 ? 0 : err_set(err, E_UNAVAILABLE, "4.3.5 there is no password in the %s of transport %.*s", kind, SPAN_ARG(pattern));
}

static int take_login(struct relay *relay, struct pool *pool, const struct conf_where *where, struct way *out, struct err *err)
{
	const struct conf *conf = daemon_conf(relay->daemon);
	struct span login = conf_text(conf, CONF_login, where);

	if (login.len == 0)
		return 0;
	out->login = pool_span(pool, login);
	out->is_token = conf_is_set(conf, CONF_token_file, where);
	return take_secret(relay, pool, where->transport->pattern, out, err);
}

/* A name as DNS and policies have it, in small letters; an address as it is. */
static struct span take_name(struct pool *pool, struct span host)
{
	char name[DNS_NAME_TEXT];

	return pool_span(pool, dns_name_normalize(host, name) == 0 ? span_str(name) : host);
}

static void take_host(struct relay *relay, struct pool *pool, const struct conf_where *where, struct way *out)
{
	const struct conf *conf = daemon_conf(relay->daemon);
	struct span text = conf_text(conf, CONF_transport_host, where), host = {0};

	out->kind = WAY_MX;
	out->port = (uint16_t)conf_u64(conf, CONF_relay_port, NULL);
	if (where->transport == NULL)
		return;
	if (text.len > 0) {
		out->kind = WAY_HOST;
	} else if (text = conf_text(conf, CONF_transport_lmtp, where), text.len > 0) {
		out->kind = WAY_LMTP;
	} else if (text = conf_text(conf, CONF_transport_error, where), text.len > 0) {
		out->kind = WAY_ERROR;
		out->error = pool_span(pool, text);
		return;
	} else if (conf_bool(conf, CONF_transport_hold, where)) {
		out->kind = WAY_HOLD;
		return;
	} else {
		return;
	}
	conf_parse_host(text, &host, &out->port);
	out->host = take_name(pool, host);
	out->implicit_tls = conf_bool(conf, CONF_transport_implicit_tls, where);
}

static void take_senders(struct span text, struct way *out)
{
	while (text.len > 0) {
		size_t end = span_find(text, ' ');
		char one[INET6_ADDRSTRLEN];
		struct sockaddr_in *v4 = (void *)&out->from[0];
		struct sockaddr_in6 *v6 = (void *)&out->from[1];

		span_copy(span_sub(text, 0, end), one, sizeof(one));
		if (inet_pton(AF_INET, one, &v4->sin_addr) == 1)
			v4->sin_family = AF_INET;
		else if (inet_pton(AF_INET6, one, &v6->sin6_addr) == 1)
			v6->sin6_family = AF_INET6;
		out->bound = true;
		text = span_from(text, end + 1);
	}
}

static struct span domain_of(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return span_from(address, at);
}

int settings_way(struct relay *relay, struct pool *pool, struct span pattern, struct span sender, struct way *out, struct err *err)
{
	const struct conf *conf = daemon_conf(relay->daemon);
	const struct conf_where to = {.transport = pattern.len > 0 ? conf_transport_find(conf, pattern) : NULL};
	const struct conf_where from = {.domain = conf_domain_find(conf, domain_of(sender))};
	struct span as = conf_text(conf, CONF_send_as, &from);
	int r;

	*out = (struct way){0};
	take_host(relay, pool, &to, out);
	out->tls = pool_span(pool, conf_text(conf, CONF_relay_tls, &to));
	out->sts = conf_bool(conf, CONF_relay_mta_sts, &to);
	out->helo = pool_span(pool, as.len > 0 ? as : conf_text(conf, CONF_hostname, NULL));
	take_senders(conf_text(conf, CONF_send_from, &from), out);
	r = to.transport != NULL ? take_login(relay, pool, &to, out, err) : 0;
	return r == 0 && pool_starved(pool) ? err_set(err, E_NOMEM, "4.3.0 out of memory") : r;
}

int settings_redirect(struct pool *pool, struct span text, struct way *way)
{
	struct span host = text;

	way->kind = WAY_HOST;
	conf_parse_host(text, &host, &way->port);
	way->host = take_name(pool, host);
	return pool_starved(pool) ? E_NOMEM : 0;
}
