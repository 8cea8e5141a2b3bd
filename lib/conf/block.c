/* Blocks by name, and the transport block that holds for an address. */
#include "conf/private.h"

#include <stdlib.h>

/* ---- by name ---- */

static int compare_blocks(const void *a, const void *b)
{
	const struct conf_block *const *x = a, *const *y = b;
	struct span s = (*x)->name, t = (*y)->name;
	int c = memcmp(s.ptr, t.ptr, s.len < t.len ? s.len : t.len);

	return c ? c : (s.len > t.len) - (s.len < t.len);
}

static int index_blocks(struct conf *conf, enum conf_block_kind kind)
{
	struct conf_blocks *blocks = &conf->blocks[kind];
	size_t i = 0;

	blocks->index = pool_array(conf->pool, blocks->count + 1, sizeof(struct conf_block *));
	if (blocks->index == NULL)
		return E_NOMEM;
	for (struct conf_block *b = blocks->first; b != NULL; b = b->next)
		blocks->index[i++] = b;
	if (kind != BLOCK_LISTENER)
		qsort(blocks->index, blocks->count, sizeof(struct conf_block *), compare_blocks);
	for (i = 0; i < blocks->count; i++)
		if (kind == BLOCK_LISTENER)
			blocks->index[i]->listener.index = (uint32_t)i;
		else if (kind == BLOCK_DOMAIN)
			blocks->index[i]->domain.index = (uint32_t)i;
		else
			blocks->index[i]->transport.index = (uint32_t)i;
	return 0;
}

int conf_blocks_index(struct conf *conf, struct err *err)
{
	int r = 0;

	for (size_t kind = 0; kind < BLOCK_KINDS && r == 0; kind++)
		r = index_blocks(conf, (enum conf_block_kind)kind);
	return r == 0 ? 0 : err_set(err, r, "out of memory");
}

static const struct conf_block *find(const struct conf *conf, enum conf_block_kind kind, struct span name)
{
	const struct conf_blocks *blocks = &conf->blocks[kind];
	struct conf_block wanted = {.name = name}, *key = &wanted, **hit;

	if (name.len == 0 || blocks->count == 0)
		return NULL;
	hit = bsearch(&key, blocks->index, blocks->count, sizeof(*hit), compare_blocks);
	return hit ? *hit : NULL;
}

size_t conf_listener_count(const struct conf *conf)
{
	return conf->blocks[BLOCK_LISTENER].count;
}

const struct conf_listener *conf_listener(const struct conf *conf, size_t i)
{
	return i < conf_listener_count(conf) ? &conf->blocks[BLOCK_LISTENER].index[i]->listener : NULL;
}

const struct conf_listener *conf_listener_find(const struct conf *conf, struct span service, struct span address)
{
	for (size_t i = 0; i < conf_listener_count(conf); i++) {
		const struct conf_listener *l = conf_listener(conf, i);

		if (span_eq(l->service, service) && span_eq(l->address, address))
			return l;
	}
	return NULL;
}

size_t conf_domain_count(const struct conf *conf)
{
	return conf->blocks[BLOCK_DOMAIN].count;
}

const struct conf_domain *conf_domain(const struct conf *conf, size_t i)
{
	return i < conf_domain_count(conf) ? &conf->blocks[BLOCK_DOMAIN].index[i]->domain : NULL;
}

const struct conf_domain *conf_domain_find(const struct conf *conf, struct span name)
{
	const struct conf_block *block = find(conf, BLOCK_DOMAIN, name);

	return block ? &block->domain : NULL;
}

size_t conf_transport_count(const struct conf *conf)
{
	return conf->blocks[BLOCK_TRANSPORT].count;
}

const struct conf_transport *conf_transport(const struct conf *conf, size_t i)
{
	return i < conf_transport_count(conf) ? &conf->blocks[BLOCK_TRANSPORT].index[i]->transport : NULL;
}

const struct conf_transport *conf_transport_find(const struct conf *conf, struct span pattern)
{
	const struct conf_block *block = find(conf, BLOCK_TRANSPORT, pattern);

	return block ? &block->transport : NULL;
}

/* ---- patterns ---- */

static bool is_domain_letter(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_';
}

/* Where the domain of an address begins; 0 of what has no @. */
static size_t domain_at(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return at;
}

int conf_pattern_parse(struct pool *pool, struct span text, struct span *out, struct err *err)
{
	size_t domain = domain_at(text);
	bool wild = domain == 0 && span_startswith(text, SPAN_LIT("*"));
	bool all = wild && text.len == 1;
	char *pattern = pool_strndup(pool, text.ptr, text.len);

	if (pattern == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	if (text.len == 0 || text.len > CONF_PATTERN_MAX || domain == 1 || domain == text.len || (wild && !all && (text.len < 3 || text.ptr[1] != '.')))
		return err_set(err, E_SYNTAX, "is none of: example.org *.example.org user@example.org *");
	for (size_t i = 0; i < text.len; i++) {
		pattern[i] = ascii_lower(pattern[i]);
		if (i < domain ? (unsigned char)pattern[i] < ' ' || pattern[i] == 0x7f : !is_domain_letter(pattern[i]) && !(wild && i == 0))
			return err_set(err, E_SYNTAX, "is no pattern%s", (unsigned char)pattern[i] >= 0x80 ? "; write its domain as A-labels: xn--..." : "");
	}
	*out = span_of(pattern, text.len);
	return 0;
}

/* pattern: "*" and, from 1 on, a domain with a dot before it: the nearest of those above. */
static const struct conf_transport *find_above(const struct conf *conf, char *pattern, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		const struct conf_transport *transport;

		if (pattern[i] != '.')
			continue;
		pattern[i - 1] = '*';
		transport = conf_transport_find(conf, span_of(pattern + i - 1, len - i + 1));
		if (transport != NULL)
			return transport;
	}
	return conf_transport_find(conf, SPAN_LIT("*"));
}

const struct conf_transport *conf_transport_for(const struct conf *conf, struct span address)
{
	const struct conf_transport *transport;
	char lower[CONF_PATTERN_MAX];
	size_t at = domain_at(address);

	if (conf_transport_count(conf) == 0)
		return NULL;
	if (address.len == 0 || address.len > sizeof(lower))
		return conf_transport_find(conf, SPAN_LIT("*"));
	for (size_t i = 0; i < address.len; i++)
		lower[i] = ascii_lower(address.ptr[i]);
	transport = at > 0 ? conf_transport_find(conf, span_of(lower, address.len)) : NULL;
	if (transport == NULL)
		transport = conf_transport_find(conf, span_of(lower + at, address.len - at));
	return transport ? transport : find_above(conf, lower + at, address.len - at);
}
