/* Values that no daemon could use, and what is wrong with a configuration although each of its lines is right. */
#include "conf/private.h"

#include <stdarg.h>
#include <stdio.h>

enum { REFUSAL_MAX = 400 }; /* octets of what error says */

static int fail_at(struct span origin, unsigned column, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int fail_at(struct span origin, unsigned column, struct err *err, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, E_SYNTAX, "%.*s:%u: %s", SPAN_ARG(origin), column, text);
}

/* ---- one value ---- */

/* Good enough to tell an address from a name: the directory says the rest when it is used. */
static bool is_address(struct span text)
{
	size_t at = span_find(text, '@');

	return at > 0 && at + 1 < text.len && span_find(text, ' ') == text.len;
}

static bool is_log_target(struct span text)
{
	return span_eq(text, SPAN_LIT("syslog")) || span_eq(text, SPAN_LIT("stderr")) || span_startswith(text, SPAN_LIT("file:/"));
}

/* fetch says the rest when it is asked for. */
static bool is_https_url(struct span text)
{
	struct span rest = span_from(text, strlen("https://"));

	return span_startswith(text, SPAN_LIT("https://")) && span_find(rest, '/') > 0 && span_find(text, ' ') == text.len && text.len <= 2048;
}

static bool is_host(struct span text)
{
	unsigned char binary[16];
	struct span host;
	uint16_t port;

	if (!conf_parse_host(text, &host, &port))
		return false;
	if (conf_address_parse(host, binary)) /* in brackets when it has colons */
		return (span_find(host, ':') < host.len) == span_startswith(text, SPAN_LIT("["));
	return span_is_host_name(host) && host.ptr == text.ptr;
}

/* "5.7.1 text" (RFC 3463 section 2), which becomes the text of a reply. */
static bool is_refusal(struct span text)
{
	size_t at = 2;

	if (text.len < 2 || (text.ptr[0] != '4' && text.ptr[0] != '5') || text.ptr[1] != '.')
		return false;
	for (size_t number = 0; number < 2; number++) {
		size_t begin = at;

		while (at < text.len && ascii_is_digit(text.ptr[at]))
			at++;
		if (at == begin || at > begin + 3 || at + 1 >= text.len || text.ptr[at++] != (number == 0 ? '.' : ' '))
			return false;
	}
	for (size_t i = at; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return false;
	return text.len <= REFUSAL_MAX;
}

/* One address of a family, no networks. */
static int check_senders(const struct conf_value *v, struct err *err)
{
	unsigned seen = 0;

	for (size_t i = 0; i < v->network_count; i++) {
		static const struct conf_network v4 = {.address = {[10] = 0xff, [11] = 0xff}, .bits = 96};
		unsigned family = conf_network_contains(&v4, v->networks[i].address) ? 1 : 2;

		if (v->networks[i].bits != 128)
			return fail_at(v->origin, v->column, err, "send-from: write addresses, not networks");
		if (seen & family)
			return fail_at(v->origin, v->column, err, "send-from: one address of IPv4 and one of IPv6, not two of one");
		seen |= family;
	}
	return 0;
}

/* system, which stands alone, or servers. */
static bool are_resolvers(struct span list)
{
	struct conf_server server;
	struct span item;

	if (span_eq(list, SPAN_LIT("system")))
		return true;
	while (conf_list_next(&list, &item))
		if (!conf_server_parse(item, 53, &server))
			return false;
	return true;
}

static bool are_zones(struct span list, bool servers)
{
	struct conf_server server;
	struct span item, zone;

	while (conf_list_next(&list, &item))
		if (servers ? !conf_zone_server_parse(item, &zone, &server) : !span_is_host_name(item))
			return false;
	return true;
}

static int check_value(enum conf_setting setting, const struct conf_value *v, struct err *err)
{
	const char *name = conf_setting_info(setting)->name;

	bool names_domain = (setting == CONF_local_domain || setting == CONF_login_default_domain) && v->text.len > 0;

	if ((setting == CONF_hostname || names_domain) && !span_is_host_name(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a host name such as mail.example.org", name, SPAN_ARG(v->text));
	if (setting == CONF_log && !is_log_target(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is none of: syslog stderr file:/PATH", name, SPAN_ARG(v->text));
	if ((setting == CONF_oauth_introspection || setting == CONF_oauth_jwks) && v->text.len > 0 && !is_https_url(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a URL such as https://id.example.org/keys", name, SPAN_ARG(v->text));
	if ((setting == CONF_catch_all || setting == CONF_postmaster || setting == CONF_relay_tls_reports_contact) && v->text.len > 0 && !is_address(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not an address such as alice@example.org", name, SPAN_ARG(v->text));
	if (setting == CONF_pam_service && (v->text.len == 0 || span_find(v->text, '/') < v->text.len))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not the name of a file in /etc/pam.d", name, SPAN_ARG(v->text));
	if (setting == CONF_resolver && !are_resolvers(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is neither system nor a list such as 192.0.2.53 [2001:db8::53]:5353", name, SPAN_ARG(v->text));
	if (setting == CONF_resolver_zones && !are_zones(v->text, true))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a list such as corp.example=192.0.2.53 corp.example=[2001:db8::53]:53", name, SPAN_ARG(v->text));
	if (setting == CONF_resolver_insecure && !are_zones(v->text, false))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a list of zones such as corp.example", name, SPAN_ARG(v->text));
	if (setting == CONF_send_as && !span_is_host_name(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a host name such as mail.example.org", name, SPAN_ARG(v->text));
	if ((setting == CONF_transport_host || setting == CONF_transport_lmtp) && !is_host(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is none of: mail.example.org:25 192.0.2.1:25 [2001:db8::1]:25", name, SPAN_ARG(v->text));
	if (setting == CONF_transport_error && !is_refusal(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a status and a text, as in: \"5.7.1 We do not write to them\"", name, SPAN_ARG(v->text));
	return setting == CONF_send_from ? check_senders(v, err) : 0;
}

static int check_scope(const struct conf_scope_values *scope, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < CONF_COUNT && r == 0; i++)
		if (scope->values[i].set)
			r = check_value((enum conf_setting)i, &scope->values[i], err);
	return r;
}

/* ---- blocks ---- */

static int check_listener(const struct conf_block *block, bool tls, struct err *err)
{
	const struct conf_listener *l = &block->listener;
	const struct conf_scope_values *scope = block->scope;

	if (span_find(l->host, ':') < l->host.len && l->address.ptr[0] != '[')
		return fail_at(scope->origin, scope->column, err, "listen %.*s: an IPv6 address stands in brackets: [%.*s]:%u",
		    SPAN_ARG(l->address), SPAN_ARG(l->host), l->port);
	if ((span_eq(l->service, SPAN_LIT("imaps")) || span_eq(l->service, SPAN_LIT("submissions"))) && !tls)
		return fail_at(scope->origin, scope->column, err, "listen %.*s needs a certificate; write at the top level: tls certificate FILE key FILE", SPAN_ARG(l->service));
	return check_scope(scope, err);
}

/* Both or none. */
static int check_pair(const struct conf_scope_values *scope, bool *tls, struct err *err)
{
	const struct conf_value *certificate = &scope->values[CONF_tls_certificate], *key = &scope->values[CONF_tls_key];
	const struct conf_value *set = certificate->set ? certificate : key;

	*tls = certificate->set && key->set;
	if (certificate->set == key->set)
		return 0;
	return fail_at(set->origin, set->column, err, "only half of what TLS needs; write: tls certificate FILE key FILE");
}

static int check_domain_tls(const struct conf_block *block, bool tls, struct err *err)
{
	const struct conf_value *certificate = &block->scope->values[CONF_tls_certificate];
	bool own;
	int r = check_pair(block->scope, &own, err);

	if (r != 0 || !own || tls)
		return r;
	return fail_at(certificate->origin, certificate->column, err,
	    "a domain's certificate needs one for clients that name no domain; write at the top level: tls certificate FILE key FILE");
}

static int check_domain(const struct conf_block *block, bool tls, struct err *err)
{
	int r;

	if (!span_is_host_name(block->domain.name))
		return fail_at(block->scope->origin, block->scope->column, err, "domain '%.*s' is not a domain name", SPAN_ARG(block->domain.name));
	r = check_scope(block->scope, err);
	return r == 0 ? check_domain_tls(block, tls, err) : r;
}

static int check_clients(const struct conf_scope_values *scope, struct err *err)
{
	const struct conf_value *lists = &scope->values[CONF_tls_client_revocations];

	if (!lists->set || scope->values[CONF_tls_client_authorities].set)
		return 0;
	return fail_at(lists->origin, lists->column, err, "tls-client-revocations is of no use without tls-client-authorities");
}

/* ---- bearer tokens ---- */

/* Without issuer and audience every token of the provider's, for whatever program, would open a mailbox. */
static int check_tokens(const struct conf_scope_values *scope, struct err *err)
{
	const struct conf_value *all = scope->values, *ask = &all[CONF_oauth_introspection], *keys = &all[CONF_oauth_jwks];

	if (ask->set && keys->set)
		return fail_at(keys->origin, keys->column, err, "tokens are checked by oauth-introspection (%.*s) or by oauth-jwks, not by both", SPAN_ARG(ask->origin));
	if (ask->set && (!all[CONF_oauth_client_id].set || !all[CONF_oauth_client_secret].set))
		return fail_at(ask->origin, ask->column, err, "oauth-introspection needs oauth-client-id and oauth-client-secret");
	if (keys->set && (!all[CONF_oauth_issuer].set || !all[CONF_oauth_audience].set))
		return fail_at(keys->origin, keys->column, err, "oauth-jwks needs oauth-issuer and oauth-audience: else any token of the provider would do");
	return 0;
}

/* At most one of the ways that mail can take, and a login where it can be used and is kept from listeners. */
static int check_transport(const struct conf *conf, const struct conf_block *block, struct err *err)
{
	static const enum conf_setting ways[] = {CONF_transport_host, CONF_transport_lmtp, CONF_transport_error, CONF_transport_hold};
	const struct conf_where where = {.transport = &block->transport};
	const struct conf_value *values = block->scope->values, *way = NULL;
	const struct conf_value *login = &values[CONF_login], *password = &values[CONF_password_file], *token = &values[CONF_token_file];
	const struct conf_value *secret = password->set ? password : token;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		const struct conf_value *v = &values[ways[i]];

		if (!v->set || (ways[i] == CONF_transport_hold && v->number == 0))
			continue;
		if (way != NULL)
			return fail_at(v->origin, v->column, err, "mail can take one way: one of host, lmtp, error and hold; the other is at %.*s", SPAN_ARG(way->origin));
		way = v;
	}
	if (login->set && !values[CONF_transport_host].set)
		return fail_at(login->origin, login->column, err, "login needs a host to log in at; write: host mail.example.org:587");
	if (secret->set && !login->set)
		return fail_at(secret->origin, secret->column, err, "a %s without login", password->set ? "password-file" : "token-file");
	if (login->set && password->set == token->set)
		return fail_at(login->origin, login->column, err, "login needs either password-file or token-file");
	if (login->set && span_eq(conf_text(conf, CONF_relay_tls, &where), SPAN_LIT("none")))
		return fail_at(login->origin, login->column, err, "login needs TLS, but relay-tls is none, from %.*s", SPAN_ARG(conf_origin(conf, CONF_relay_tls, &where)));
	return check_scope(block->scope, err);
}

/* ---- the whole ---- */

int conf_check(const struct conf *conf, const char *path, struct err *err)
{
	bool tls = false;
	int r;

	if (!conf->global->values[CONF_hostname].set)
		return err_set(err, E_SYNTAX, "%s: the hostname is missing; write: hostname mail.example.org", path);
	r = check_scope(conf->global, err);
	if (r == 0)
		r = check_pair(conf->global, &tls, err);
	if (r == 0)
		r = check_clients(conf->global, err);
	if (r == 0)
		r = check_tokens(conf->global, err);
	for (const struct conf_block *b = conf->blocks[BLOCK_DOMAIN].first; b != NULL && r == 0; b = b->next)
		r = check_domain(b, tls, err);
	for (const struct conf_block *b = conf->blocks[BLOCK_TRANSPORT].first; b != NULL && r == 0; b = b->next)
		r = check_transport(conf, b, err);
	for (const struct conf_block *b = conf->blocks[BLOCK_LISTENER].first; b != NULL && r == 0; b = b->next)
		r = check_listener(b, tls, err);
	return r;
}
