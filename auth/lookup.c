/* Where an address leads: account or alias, user of this machine, the same without "+detail", postmaster, catch-all, in this order. */
#include "auth/auth.h"

#include "auth/address.h"
#include "auth/system.h"
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

/* What stands at an address, or at the one that it leads to. */
struct found {
	enum directory_kind kind; /* none, account or alias */
	struct account account;
	char address[DIRECTORY_ADDRESS_MAX + 1];
	char detail[65];
};

static int lead_to(struct auth *auth, const struct found *f, struct recipient *out, struct err *err)
{
	const struct account *account = &f->account;

	memcpy(out->detail, f->detail, sizeof(out->detail));
	if (f->kind == DIRECTORY_ALIAS) {
		out->account = 0;
		out->quota = 0;
		memcpy(out->address, f->address, sizeof(out->address));
		return 0;
	}
	out->account = account->id;
	out->quota = auth_quota(auth, account);
	snprintf(out->address, sizeof(out->address), "%s", account->address);
	return account->disabled ? err_set(err, E_DISABLED, "the account %s is disabled", account->address) : 0;
}

/* ---- one address ---- */

/*
 * In a domain with users of this machine, under an address that is no alias and no account of the directory's own: is there a user of this
 * name? Who has no mailbox for his number is low. An account whose user has gone has gone, too, until he is back.
 */
static int find_user(struct auth *auth, struct span address, struct found *f, bool *low)
{
	struct system_user user;
	int r = system_find(auth->system, local_of(address), &user);

	if (r != 0 || !system_has_mailbox(auth, &user)) {
		*low = r == 0;
		f->kind = DIRECTORY_NONE;
		return r == E_NOTFOUND ? 0 : r;
	}
	if (f->kind == DIRECTORY_ACCOUNT)
		return 0;
	r = system_account_make(auth, address, &user, &f->account, NULL);
	if (r == 0)
		f->kind = DIRECTORY_ACCOUNT;
	return r;
}

/* What stands under this very address (canonical, a domain of ours). 0, E_IO, and of users what system_find() says. */
static int find_at(struct auth *auth, struct span address, struct found *f, bool *low)
{
	span_copy(address, f->address, sizeof(f->address));
	f->kind = directory_find(auth->directory, address, &f->account, NULL);
	if (f->kind == DIRECTORY_ERROR)
		return E_IO;
	if (f->kind == DIRECTORY_ALIAS || (f->kind == DIRECTORY_ACCOUNT && !f->account.system))
		return 0;
	/* Here, before the user, is the place of what aliases(5) says of the name. */
	return system_is_domain(auth, domain_of(address)) ? find_user(auth, address, f, low) : 0;
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

static int find_role(struct auth *auth, struct found *f)
{
	struct span configured = conf_text(daemon_conf(auth->daemon), CONF_postmaster, NULL);
	char address[DIRECTORY_ADDRESS_MAX + 1];
	bool low = false;
	int r = configured.len > 0 ? address_canonical(configured, address, NULL) : E_NOTFOUND;

	if (r == 0)
		r = find_at(auth, span_str(address), f, &low);
	if (r != 0 && err_is_temp(r))
		return r;
	if (r == 0 && f->kind != DIRECTORY_NONE)
		return 0;
	r = directory_account_first(auth->directory, &f->account);
	if (r == 0)
		snprintf(f->address, sizeof(f->address), "%s", f->account.address);
	f->kind = r == 0 ? DIRECTORY_ACCOUNT : DIRECTORY_NONE;
	return r == E_NOTFOUND ? 0 : r;
}

static int find_catch_all(struct auth *auth, struct span address, struct found *f)
{
	struct conf_where where = where_of(auth, address);
	struct span target = where.domain ? conf_text(daemon_conf(auth->daemon), CONF_catch_all, &where) : span_str("");
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	bool low = false;
	int r = target.len > 0 ? address_canonical(target, canonical, NULL) : E_NOTFOUND;

	if (r != 0)
		return err_is_temp(r) ? r : 0;
	return find_at(auth, span_str(canonical), f, &low);
}

/* Looks under `address` (canonical, a domain of ours) and everywhere else it may lead. As find_at(). */
static int find_ours(struct auth *auth, struct span address, struct found *f)
{
	struct conf_where where = where_of(auth, address);
	char base[DIRECTORY_ADDRESS_MAX + 1];
	bool low = false;
	int r = find_at(auth, address, f, &low);

	if (r == 0 && f->kind == DIRECTORY_NONE && conf_bool(daemon_conf(auth->daemon), CONF_plus_addressing, &where) &&
	    without_detail(address, base, sizeof(base), f->detail)) {
		r = find_at(auth, span_str(base), f, &low);
		if (f->kind == DIRECTORY_NONE)
			f->detail[0] = '\0';
	}
	if (r == 0 && f->kind == DIRECTORY_NONE && (low || is_role(local_of(address))))
		r = find_role(auth, f);
	if (r == 0 && f->kind == DIRECTORY_NONE)
		r = find_catch_all(auth, address, f);
	return r;
}

static int explain(int code, struct err *err)
{
	if (code == E_AGAIN)
		return err_set(err, code, "it is being asked whether this machine has such a user");
	if (code == E_IO)
		return err_set(err, code, "the directory cannot be read");
	return err_set(err, code, "it cannot be known now whether this machine has such a user: %s", err_text(code));
}

int auth_lookup(struct auth *auth, struct span address, struct recipient *out, struct err *err)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	struct found found = {0};
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
	r = find_ours(auth, span_str(canonical), &found);
	if (r != 0)
		return explain(r, err);
	if (found.kind == DIRECTORY_NONE)
		return err_set(err, E_NOTFOUND, "no such user here");
	return lead_to(auth, &found, out, err);
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
struct target {
	struct target *next;
	struct recipient recipient;
};

struct targets {
	struct pool *pool;
	struct target *first, **tail;
};

static int keep_once(void *arg, const struct recipient *r)
{
	struct targets *targets = arg;
	struct target *t;

	for (t = targets->first; t != NULL && r->account != 0; t = t->next)
		if (t->recipient.account == r->account)
			return 0;
	t = pool_new_object(targets->pool, struct target);
	if (t == NULL)
		return E_NOMEM;
	t->recipient = *r;
	*targets->tail = t;
	targets->tail = &t->next;
	return 0;
}

/* One target that has gone does not take the others' mail away. Of users who are not known all are asked for at once. */
static int expand_all(struct auth *auth, struct expansion *e, struct targets *targets, struct err *err)
{
	struct err one = {0}, first = {0};
	int r = 0, bad = 0, again = 0;

	while (r == 0 && e->next < e->count) {
		one.text[0] = '\0';
		r = expand_one(auth, e, keep_once, targets, &one);
		if (r == E_AGAIN) {
			again = r;
			r = 0;
		} else if (r == E_NOTFOUND || r == E_DISABLED || r == E_SYNTAX) {
			bad = r;
			first = one;
			r = 0;
		}
	}
	if (r != 0)
		return err_set(err, r, "%s", one.text[0] != '\0' ? one.text : err_text(r));
	if (again != 0)
		return explain(again, err);
	if (targets->first != NULL)
		return 0;
	return bad != 0 ? err_set(err, bad, "%s", first.text) : err_set(err, E_LOOP, "the alias leads only to itself");
}

int auth_expand_each(struct auth *auth, struct span address, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err)
{
	struct pool *pool = pool_new(NULL, 4 * 1024 * 1024);
	struct expansion e = {.pool = pool};
	struct targets targets = {.pool = pool, .tail = &targets.first};
	int r;

	if (pool != NULL) {
		e.seen = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.seen));
		e.depth = pool_array(pool, DIRECTORY_TARGETS_MAX, 1);
	}
	if (e.seen == NULL || e.depth == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "out of memory");
	}
	r = expansion_add(&e, address, 0, err);
	if (r == 0)
		r = expand_all(auth, &e, &targets, err);
	for (struct target *t = targets.first; t != NULL && r == 0; t = t->next)
		r = fn(arg, &t->recipient);
	pool_free(&pool);
	return r;
}
