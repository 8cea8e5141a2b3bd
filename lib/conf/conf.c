/* The schema, values by scope, and the flattened text that daemons get. */
#include "conf/private.h"

#include "base/near.h"

#include <stdio.h>
#include <stdlib.h>

#define G CONF_SCOPE_GLOBAL
#define D CONF_SCOPE_DOMAIN
#define L CONF_SCOPE_LISTENER
#define T CONF_SCOPE_TRANSPORT

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
	for (size_t kind = 0; kind < BLOCK_KINDS; kind++)
		conf->blocks[kind].tail = &conf->blocks[kind].first;
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

int conf_finish(struct conf *conf, int r, struct conf **out, struct err *err)
{
	if (r == 0)
		r = conf_blocks_index(conf, err);
	if (r != 0)
		conf_free(&conf);
	*out = conf;
	return r;
}

/* The blocks of where, the first to be looked in first. */
static size_t find_scopes(const struct conf *conf, const struct conf_where *where, const struct conf_scope_values *out[BLOCK_KINDS])
{
	size_t count = 0;

	if (where != NULL && where->domain != NULL)
		out[count++] = conf->blocks[BLOCK_DOMAIN].index[where->domain->index]->scope;
	if (where != NULL && where->listener != NULL)
		out[count++] = conf->blocks[BLOCK_LISTENER].index[where->listener->index]->scope;
	if (where != NULL && where->transport != NULL)
		out[count++] = conf->blocks[BLOCK_TRANSPORT].index[where->transport->index]->scope;
	return count;
}

static const struct conf_value *find_value(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	const struct conf_scope_values *scopes[BLOCK_KINDS];
	size_t count = find_scopes(conf, where, scopes);

	for (size_t i = 0; i < count; i++)
		if (scopes[i]->values[setting].set)
			return &scopes[i]->values[setting];
	return conf->global->values[setting].set ? &conf->global->values[setting] : &conf->defaults->values[setting];
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
	const struct conf_scope_values *scopes[BLOCK_KINDS];

	return (find_scopes(conf, where, scopes) > 0 ? scopes[0] : conf->global)->values[setting].set;
}

struct span conf_origin(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return find_value(conf, setting, where)->origin;
}

bool conf_takes_tokens(const struct conf *conf)
{
	return conf_text(conf, CONF_oauth_introspection, NULL).len > 0 || conf_text(conf, CONF_oauth_jwks, NULL).len > 0;
}

void conf_places(unsigned scopes, char out[CONF_PLACES])
{
	static const char *const names[] = {"domain", "listen", "transport"};
	bool top = (scopes & CONF_SCOPE_GLOBAL) != 0;
	unsigned blocks = scopes >> 1;
	int len = snprintf(out, CONF_PLACES, "%s%s", top ? "at the top level" : "", top && blocks != 0 ? " or " : "");

	if (blocks != 0)
		len += snprintf(out + len, CONF_PLACES - (size_t)len, "in a ");
	for (size_t i = 0; i < 3; i++, blocks >>= 1) {
		unsigned rest = blocks >> 1;

		if (blocks & 1)
			len += snprintf(out + len, CONF_PLACES - (size_t)len, "%s%s", names[i], rest == 0 ? " block" : rest & (rest - 1) ? ", " : " or ");
	}
}

static void dump_quoted(struct span text, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.ptr[i]);
	}
	buf_add_char(out, '"');
}

bool conf_has_system_users(const struct conf *conf)
{
	for (size_t i = 0; i < conf_domain_count(conf); i++) {
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
		buf_printf(out, "%s#@ %.*s\n%s%s ", indent, SPAN_ARG(v->origin), indent, conf_settings[i].name);
		dump_quoted(v->text, out);
		buf_add_char(out, '\n');
	}
}

static void dump_head(const struct conf_block *block, enum conf_block_kind kind, struct buf *out)
{
	if (kind == BLOCK_LISTENER)
		buf_printf(out, "listen %.*s on %.*s", SPAN_ARG(block->listener.service), SPAN_ARG(block->listener.address));
	else if (kind == BLOCK_DOMAIN)
		buf_printf(out, "domain %.*s", SPAN_ARG(block->domain.name));
	else
		buf_add_str(out, "transport ");
	if (kind == BLOCK_TRANSPORT)
		dump_quoted(block->transport.pattern, out);
}

void conf_dump(const struct conf *conf, struct buf *out)
{
	buf_add_str(out, "config-version 1\n");
	dump_values(conf->global, "", out);
	for (size_t kind = 0; kind < BLOCK_KINDS; kind++)
		for (size_t i = 0; i < conf->blocks[kind].count; i++) {
			dump_head(conf->blocks[kind].index[i], (enum conf_block_kind)kind, out);
			buf_add_str(out, " {\n");
			dump_values(conf->blocks[kind].index[i]->scope, "\t", out);
			buf_add_str(out, "}\n");
		}
}
