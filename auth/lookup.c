/* Where an address leads: account, plus-addressing, alias, postmaster, catch-all, in this order. */
#include "auth/auth.h"

#include "auth/address.h"
#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

static struct span domain_of(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return span_from(address, at);
}

static struct span local_of(struct span address)
{
	struct span domain = domain_of(address);

	return span_sub(address, 0, address.len - domain.len - 1);
}

int auth_domain_is_ours(struct auth *auth, struct span domain)
{
	return conf_domain_find(daemon_conf(auth->daemon), domain) != NULL ? 1 : directory_domain_has(auth->directory, domain);
}

static struct conf_where where_of(struct auth *auth, struct span address)
{
	return (struct conf_where){.domain = conf_domain_find(daemon_conf(auth->daemon), domain_of(address))};
}

uint64_t auth_quota(struct auth *auth, const struct account *account)
{
	struct conf_where where = where_of(auth, span_str(account->address));

	return account->quota != UINT64_MAX ? account->quota : conf_u64(daemon_conf(auth->daemon), CONF_quota, &where);
}

static int lead_to(struct auth *auth, enum directory_kind kind, const struct account *account, struct span found,
    struct recipient *out, struct err *err)
{
	if (kind == DIRECTORY_ALIAS) {
		out->account = 0;
		out->quota = 0;
		span_copy(found, out->address, sizeof(out->address));
		return 0;
	}
	out->account = account->id;
	out->quota = auth_quota(auth, account);
	snprintf(out->address, sizeof(out->address), "%s", account->address);
	return account->disabled ? err_set(err, E_DISABLED, "the account %s is disabled", account->address) : 0;
}

/* alice+lists@example.org: what follows the first '+' is the detail. */
static bool without_detail(struct span address, char *out, size_t size, char detail[65])
{
	struct span local = local_of(address);
	size_t plus = span_find(local, '+');

	if (plus == local.len || plus == 0)
		return false;
	span_copy(span_from(local, plus + 1), detail, 65);
	snprintf(out, size, "%.*s@%.*s", (int)plus, local.ptr, SPAN_ARG(domain_of(address)));
	return true;
}

/* RFC 2142, RFC 5321 section 4.5.1: these two always lead somewhere. */
static bool is_role(struct span local)
{
	return span_eq(local, SPAN_LIT("postmaster")) || span_eq(local, SPAN_LIT("abuse"));
}

static enum directory_kind find_role(struct auth *auth, struct account *account, char *address)
{
	struct span configured = conf_text(daemon_conf(auth->daemon), CONF_postmaster, NULL);
	enum directory_kind kind = DIRECTORY_NONE;
	int r = configured.len > 0 ? address_canonical(configured, address, NULL) : E_NOTFOUND;

	if (r != 0 && err_is_temp(r))
		return DIRECTORY_ERROR;
	if (r == 0)
		kind = directory_find(auth->directory, span_str(address), account, NULL);
	if (kind != DIRECTORY_NONE)
		return kind;
	r = directory_account_first(auth->directory, account);
	if (r == 0)
		snprintf(address, DIRECTORY_ADDRESS_MAX + 1, "%s", account->address);
	return r == 0 ? DIRECTORY_ACCOUNT : r == E_NOTFOUND ? DIRECTORY_NONE : DIRECTORY_ERROR;
}

static enum directory_kind find_catch_all(struct auth *auth, struct span address, struct account *account, char *found)
{
	struct conf_where where = where_of(auth, address);
	struct span target = where.domain ? conf_text(daemon_conf(auth->daemon), CONF_catch_all, &where) : span_str("");

	int r = target.len > 0 ? address_canonical(target, found, NULL) : E_NOTFOUND;

	if (r != 0)
		return err_is_temp(r) ? DIRECTORY_ERROR : DIRECTORY_NONE;
	return directory_find(auth->directory, span_str(found), account, NULL);
}

/* Looks under `address` (canonical, a domain of ours) and everywhere else it may lead. */
static enum directory_kind find_ours(struct auth *auth, struct span address, struct account *account, char *found,
    char detail[65])
{
	struct conf_where where = where_of(auth, address);
	enum directory_kind kind;
	char base[DIRECTORY_ADDRESS_MAX + 1];

	span_copy(address, found, DIRECTORY_ADDRESS_MAX + 1);
	kind = directory_find(auth->directory, address, account, NULL);
	if (kind == DIRECTORY_NONE && conf_bool(daemon_conf(auth->daemon), CONF_plus_addressing, &where) &&
	    without_detail(address, base, sizeof(base), detail)) {
		kind = directory_find(auth->directory, span_str(base), account, NULL);
		snprintf(found, DIRECTORY_ADDRESS_MAX + 1, "%s", base);
		if (kind == DIRECTORY_NONE)
			detail[0] = '\0';
	}
	if (kind == DIRECTORY_NONE && is_role(local_of(address)))
		kind = find_role(auth, account, found);
	if (kind == DIRECTORY_NONE)
		kind = find_catch_all(auth, address, account, found);
	return kind;
}

int auth_lookup(struct auth *auth, struct span address, struct recipient *out, struct err *err)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1], found[DIRECTORY_ADDRESS_MAX + 1];
	struct account account;
	enum directory_kind kind;
	int r;

	*out = (struct recipient){0};
	/* RFC 5321 section 4.5.1: <Postmaster> without a domain is ours. */
	if (span_caseeq(address, SPAN_LIT("postmaster")))
		snprintf(canonical, sizeof(canonical), "postmaster@%.*s",
		    SPAN_ARG(conf_text(daemon_conf(auth->daemon), CONF_hostname, NULL)));
	else if ((r = address_canonical(address, canonical, err)) != 0)
		return r;
	r = span_caseeq(address, SPAN_LIT("postmaster")) ? 1 : auth_domain_is_ours(auth, domain_of(span_str(canonical)));
	if (r < 0)
		return err_set(err, E_IO, "the directory cannot be read");
	if (r == 0)
		return err_set(err, E_DENIED, "the domain is not served here");
	kind = find_ours(auth, span_str(canonical), &account, found, out->detail);
	if (kind == DIRECTORY_NONE)
		return err_set(err, E_NOTFOUND, "no such user here");
	if (kind == DIRECTORY_ERROR)
		return err_set(err, E_IO, "the directory cannot be read");
	return lead_to(auth, kind, &account, span_str(found), out, err);
}

/* ---- expansion ---- */

/* Addresses seen so far, and those still to be looked at: breadth first, each once. */
struct expansion {
	struct pool *pool;
	struct span *seen;
	unsigned char *depth;
	size_t count, next;
};

static int expansion_add(struct expansion *e, struct span address, unsigned depth, struct err *err)
{
	for (size_t i = 0; i < e->count; i++)
		if (span_eq(e->seen[i], address))
			return 0;
	if (e->count == DIRECTORY_TARGETS_MAX)
		return err_set(err, E_LIMIT, "the alias leads to more than %d addresses", DIRECTORY_TARGETS_MAX);
	if (depth > DIRECTORY_DEPTH_MAX)
		return err_set(err, E_LOOP, "aliases lead to aliases more than %d times", DIRECTORY_DEPTH_MAX);
	e->seen[e->count] = pool_span(e->pool, address);
	if (e->seen[e->count].ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	e->depth[e->count++] = (unsigned char)depth;
	return 0;
}

static int expand_alias(struct auth *auth, struct expansion *e, const char *alias, unsigned depth, struct err *err)
{
	struct buf targets;
	struct account account;
	struct span rest;
	int r = 0;

	buf_init(&targets, DIRECTORY_ALIAS_MAX);
	/* A target that is left out here would get no mail, and nobody would know. */
	if (directory_find(auth->directory, span_str(alias), &account, &targets) == DIRECTORY_ERROR)
		r = err_set(err, E_IO, "the directory cannot be read");
	else if (buf_failed(&targets))
		r = err_set(err, E_NOMEM, "out of memory");
	for (rest = buf_span(&targets); rest.len > 0 && r == 0;) {
		size_t end = span_find(rest, '\0');

		r = expansion_add(e, span_sub(rest, 0, end), depth + 1, err);
		rest = span_from(rest, end + 1);
	}
	buf_fini(&targets);
	return r;
}

static int expand_one(struct auth *auth, struct expansion *e, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err)
{
	struct span address = e->seen[e->next];
	unsigned depth = e->depth[e->next++];
	struct recipient found;
	int r = auth_lookup(auth, address, &found, err);

	if (r == E_DENIED) { /* not ours: a remote target of an alias */
		found = (struct recipient){0};
		span_copy(address, found.address, sizeof(found.address));
		return fn(arg, &found);
	}
	if (r == 0 && found.account == 0)
		return expand_alias(auth, e, found.address, depth, err);
	return r == 0 ? fn(arg, &found) : r;
}

/* Two addresses may lead to one mailbox (plus, catch-all): it gets one copy. */
struct once {
	int (*fn)(void *arg, const struct recipient *r);
	void *arg;
	uint64_t *accounts;
	size_t count;
	size_t given; /* remote ones too */
};

static int give_once(void *arg, const struct recipient *r)
{
	struct once *once = arg;

	for (size_t i = 0; i < once->count && r->account != 0; i++)
		if (once->accounts[i] == r->account)
			return 0;
	if (r->account != 0)
		once->accounts[once->count++] = r->account;
	once->given++;
	return once->fn(once->arg, r);
}

int auth_expand_each(struct auth *auth, struct span address, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err)
{
	struct pool *pool = pool_new(NULL, 4 * 1024 * 1024);
	struct expansion e = {.pool = pool};
	struct once once = {.fn = fn, .arg = arg};
	int r = 0, bad = 0;
	struct err first = {0};

	if (pool != NULL) {
		e.seen = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.seen));
		e.depth = pool_array(pool, DIRECTORY_TARGETS_MAX, 1);
		once.accounts = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*once.accounts));
	}
	if (e.seen == NULL || e.depth == NULL || once.accounts == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "out of memory");
	}
	r = expansion_add(&e, address, 0, err);
	while (r == 0 && e.next < e.count) {
		r = expand_one(auth, &e, give_once, &once, err);
		/* One target that has gone does not take the others' mail away. */
		if (r == E_NOTFOUND || r == E_DISABLED || r == E_SYNTAX) {
			bad = r;
			if (err != NULL)
				first = *err;
			r = 0;
		}
	}
	if (r == 0 && once.given == 0 && bad != 0) {
		r = bad;
		if (err != NULL)
			*err = first;
	} else if (r == 0 && once.given == 0) {
		r = err_set(err, E_LOOP, "the alias leads only to itself");
	}
	pool_free(&pool);
	return r;
}
