/* The schema, look-ups, and the flattened text that daemons get. */
#include "conf/private.h"

#include "base/near.h"

#include <stdio.h>
#include <stdlib.h>

#define G CONF_SCOPE_GLOBAL
#define D CONF_SCOPE_DOMAIN
#define L CONF_SCOPE_LISTENER

static const struct conf_setting_info conf_settings[CONF_COUNT] = {
#define SETTING(id, name, type, values, scopes, default_text, sentence)                                    \
	[CONF_##id] = {name, CONF_TYPE_##type, values, scopes, default_text, sentence},
#include "conf/schema.def"
};

const struct conf_setting_info *conf_setting_info(enum conf_setting setting)
{
	return &conf_settings[setting];
}

bool conf_setting_find(struct span name, enum conf_setting *out, const char **near)
{
	struct near search = near_begin(name);

	for (size_t i = 0; i < CONF_COUNT; i++) {
		near_try(&search, conf_settings[i].name);
		if (span_eq(name, span_str(conf_settings[i].name))) {
			*out = (enum conf_setting)i;
			return true;
		}
	}
	if (near != NULL)
		*near = search.best;
	return false;
}

static int fill_defaults(struct conf *conf, struct err *err)
{
	for (size_t i = 0; i < CONF_COUNT; i++) {
		struct conf_value *value = &conf->defaults->values[i];
		struct span text = span_str(conf_settings[i].default_text);
		int r = text.len == 0 ? 0 : conf_value_parse(conf->pool, (enum conf_setting)i, text, SPAN_LIT(""), value, err);

		if (r != 0)
			return r;
		value->origin = SPAN_LIT("default");
	}
	return 0;
}

struct conf *conf_new(struct err *err)
{
	struct pool *pool = pool_new(NULL, CONF_MEMORY_MAX);
	struct conf *conf = pool ? pool_new_object(pool, struct conf) : NULL;

	if (conf == NULL)
		goto fail;
	conf->pool = pool;
	conf->global = pool_new_object(pool, struct conf_scope_values);
	conf->defaults = pool_new_object(pool, struct conf_scope_values);
	conf->listener_tail = &conf->listeners;
	conf->domain_tail = &conf->domains;
	if (conf->global == NULL || conf->defaults == NULL)
		goto fail;
	if (fill_defaults(conf, err) == 0)
		return conf;
	pool_free(&pool);
	return NULL;
fail:
	pool_free(&pool);
	err_set(err, E_NOMEM, "out of memory");
	return NULL;
}

void conf_free(struct conf **conf)
{
	struct pool *pool = *conf ? (*conf)->pool : NULL;

	*conf = NULL;
	pool_free(&pool);
}

static int compare_domains(const void *a, const void *b)
{
	const struct conf_block *const *x = a, *const *y = b;
	struct span s = (*x)->domain.name, t = (*y)->domain.name;
	int c = memcmp(s.ptr, t.ptr, s.len < t.len ? s.len : t.len);

	return c ? c : (s.len > t.len) - (s.len < t.len);
}

static int conf_index(struct conf *conf, struct err *err)
{
	size_t i = 0;

	conf->listener_index = pool_array(conf->pool, conf->listener_count + 1, sizeof(struct conf_block *));
	conf->domain_index = pool_array(conf->pool, conf->domain_count + 1, sizeof(struct conf_block *));
	if (conf->listener_index == NULL || conf->domain_index == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (struct conf_block *b = conf->listeners; b != NULL; b = b->next)
		conf->listener_index[i++] = b;
	i = 0;
	for (struct conf_block *b = conf->domains; b != NULL; b = b->next)
		conf->domain_index[i++] = b;
	qsort(conf->domain_index, conf->domain_count, sizeof(struct conf_block *), compare_domains);
	for (i = 0; i < conf->listener_count; i++)
		conf->listener_index[i]->listener.index = (uint32_t)i;
	for (i = 0; i < conf->domain_count; i++)
		conf->domain_index[i]->domain.index = (uint32_t)i;
	return 0;
}

int conf_finish(struct conf *conf, int r, struct conf **out, struct err *err)
{
	if (r == 0)
		r = conf_index(conf, err);
	if (r != 0)
		conf_free(&conf);
	*out = conf;
	return r;
}

static const struct conf_value *find_value(const struct conf *conf, enum conf_setting setting,
    const struct conf_where *where)
{
	const struct conf_value *value;

	if (where != NULL && where->domain != NULL) {
		value = &conf->domain_index[where->domain->index]->scope->values[setting];
		if (value->set)
			return value;
	}
	if (where != NULL && where->listener != NULL) {
		value = &conf->listener_index[where->listener->index]->scope->values[setting];
		if (value->set)
			return value;
	}
	value = &conf->global->values[setting];
	return value->set ? value : &conf->defaults->values[setting];
}

struct span conf_text(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return find_value(conf, setting, where)->text;
}

uint64_t conf_u64(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return find_value(conf, setting, where)->number;
}

int64_t conf_ms(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return (int64_t)find_value(conf, setting, where)->number;
}

bool conf_bool(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return find_value(conf, setting, where)->number != 0;
}

bool conf_in_networks(const struct conf *conf, enum conf_setting setting, const struct conf_where *where,
    struct span address)
{
	const struct conf_value *value = find_value(conf, setting, where);
	unsigned char binary[16];

	if (value->network_count == 0 || !conf_address_parse(address, binary))
		return false;
	for (size_t i = 0; i < value->network_count; i++)
		if (conf_network_contains(&value->networks[i], binary))
			return true;
	return false;
}

bool conf_is_set(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	const struct conf_scope_values *scope = conf->global;

	if (where != NULL && where->domain != NULL)
		scope = conf->domain_index[where->domain->index]->scope;
	else if (where != NULL && where->listener != NULL)
		scope = conf->listener_index[where->listener->index]->scope;
	return scope->values[setting].set;
}

struct span conf_origin(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return find_value(conf, setting, where)->origin;
}

bool conf_takes_tokens(const struct conf *conf)
{
	return conf_text(conf, CONF_oauth_introspection, NULL).len > 0 || conf_text(conf, CONF_oauth_jwks, NULL).len > 0;
}

size_t conf_listener_count(const struct conf *conf)
{
	return conf->listener_count;
}

const struct conf_listener *conf_listener(const struct conf *conf, size_t i)
{
	return i < conf->listener_count ? &conf->listener_index[i]->listener : NULL;
}

const struct conf_listener *conf_listener_find(const struct conf *conf, struct span service, struct span address)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *l = &conf->listener_index[i]->listener;

		if (span_eq(l->service, service) && span_eq(l->address, address))
			return l;
	}
	return NULL;
}

size_t conf_domain_count(const struct conf *conf)
{
	return conf->domain_count;
}

const struct conf_domain *conf_domain(const struct conf *conf, size_t i)
{
	return i < conf->domain_count ? &conf->domain_index[i]->domain : NULL;
}

const struct conf_domain *conf_domain_find(const struct conf *conf, struct span name)
{
	struct conf_block wanted = {.domain.name = name}, *key = &wanted, **hit;

	if (name.len == 0 || conf->domain_count == 0)
		return NULL;
	hit = bsearch(&key, conf->domain_index, conf->domain_count, sizeof(*hit), compare_domains);
	return hit ? &(*hit)->domain : NULL;
}

bool conf_has_system_users(const struct conf *conf)
{
	for (size_t i = 0; i < conf->domain_count; i++) {
		struct conf_where where = {.domain = conf_domain(conf, i)};

		if (span_eq(conf_text(conf, CONF_accounts, &where), SPAN_LIT("system")))
			return true;
	}
	return false;
}

static void dump_values(const struct conf_scope_values *scope, const char *indent, struct buf *out)
{
	for (size_t i = 0; i < CONF_COUNT; i++) {
		const struct conf_value *v = &scope->values[i];

		if (!v->set)
			continue;
		buf_printf(out, "%s#@ %.*s\n%s%s \"", indent, SPAN_ARG(v->origin), indent, conf_settings[i].name);
		for (size_t k = 0; k < v->text.len; k++) {
			if (v->text.ptr[k] == '"' || v->text.ptr[k] == '\\')
				buf_add_char(out, '\\');
			buf_add_char(out, v->text.ptr[k]);
		}
		buf_add_str(out, "\"\n");
	}
}

void conf_dump(const struct conf *conf, struct buf *out)
{
	buf_add_str(out, "config-version 1\n");
	dump_values(conf->global, "", out);
	for (size_t i = 0; i < conf->domain_count; i++) {
		buf_printf(out, "domain %.*s {\n", SPAN_ARG(conf->domain_index[i]->domain.name));
		dump_values(conf->domain_index[i]->scope, "\t", out);
		buf_add_str(out, "}\n");
	}
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *l = &conf->listener_index[i]->listener;

		buf_printf(out, "listen %.*s on %.*s {\n", SPAN_ARG(l->service), SPAN_ARG(l->address));
		dump_values(conf->listener_index[i]->scope, "\t", out);
		buf_add_str(out, "}\n");
	}
}
