/* Values that no daemon could use, and what is wrong with a configuration although each of its lines is right. */
#include "conf/private.h"

#include <stdarg.h>
#include <stdio.h>

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

static int check_value(enum conf_setting setting, const struct conf_value *v, struct err *err)
{
	const char *name = conf_setting_info(setting)->name;

	if ((setting == CONF_hostname || (setting == CONF_local_domain && v->text.len > 0)) && !span_is_host_name(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not a host name such as mail.example.org", name, SPAN_ARG(v->text));
	if (setting == CONF_log && !is_log_target(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is none of: syslog stderr file:/PATH", name, SPAN_ARG(v->text));
	if ((setting == CONF_catch_all || setting == CONF_postmaster) && v->text.len > 0 && !is_address(v->text))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not an address such as alice@example.org", name, SPAN_ARG(v->text));
	if (setting == CONF_pam_service && (v->text.len == 0 || span_find(v->text, '/') < v->text.len))
		return fail_at(v->origin, v->column, err, "%s: '%.*s' is not the name of a file in /etc/pam.d", name, SPAN_ARG(v->text));
	return 0;
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

/* ---- the whole ---- */

int conf_check(const struct conf *conf, const char *path, struct err *err)
{
	bool tls;
	int r;

	if (!conf->global->values[CONF_hostname].set)
		return err_set(err, E_SYNTAX, "%s: the hostname is missing; write: hostname mail.example.org", path);
	r = check_scope(conf->global, err);
	if (r == 0)
		r = check_pair(conf->global, &tls, err);
	for (const struct conf_block *b = conf->domains; b != NULL && r == 0; b = b->next)
		r = check_domain(b, tls, err);
	for (const struct conf_block *b = conf->listeners; b != NULL && r == 0; b = b->next)
		r = check_listener(b, tls, err);
	return r;
}
