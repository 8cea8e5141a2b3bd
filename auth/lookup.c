/*
 * Where an address leads: account or alias of the directory, /etc/aliases, user of this machine, the same without "+detail", postmaster,
 * catch-all, in this order.
 */
#include "auth/auth.h"

#include "alias/alias.h"
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
	enum found_how how;
	bool from_file; /* the alias is one of /etc/aliases */
};

static int lead_to(struct auth *auth, const struct found *f, struct recipient *out, struct err *err)
{
	const struct account *account = &f->account;

	memcpy(out->detail, f->detail, sizeof(out->detail));
	out->how = f->how;
	out->of_machine = f->kind == DIRECTORY_ALIAS ? f->from_file : account->system;
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

struct search {
	struct auth *auth;
	bool mailbox; /* /etc/aliases has been asked already, and means the mailbox of this name */
	bool low;     /* found so far: a user of this machine who has no mailbox, for his number is low */
	bool unread;  /* what failed is /etc/aliases */
};

/*
 * In a domain with users of this machine, under an address that is no alias and no account of the directory's own: is there a user of this
 * name? An account whose user has gone has gone, too, until he is back.
 */
static int find_user(struct search *s, struct span address, struct found *f)
{
	struct system_user user;
	int r = system_find(s->auth->system, local_of(address), &user);

	if (r != 0 || !system_has_mailbox(s->auth, &user)) {
		s->low |= r == 0;
		f->kind = DIRECTORY_NONE;
		return r == E_NOTFOUND ? 0 : r;
	}
	if (f->kind == DIRECTORY_ACCOUNT)
		return 0;
	r = system_account_make(s->auth, address, &user, &f->account);
	if (r == 0)
		f->kind = DIRECTORY_ACCOUNT;
	return r;
}

/* 1: it is one of /etc/aliases. */
static int find_alias(struct search *s, struct span address)
{
	const struct alias *alias;
	int r = s->mailbox ? 0 : aliases_find(s->auth, address, &alias, NULL);

	s->unread |= r < 0;
	return r;
}

/* What stands under this very address (canonical, a domain of ours). 0, E_IO, E_UNAVAILABLE, and of users what system_find() says. */
static int find_at(struct search *s, struct span address, struct found *f)
{
	int r;

	span_copy(address, f->address, sizeof(f->address));
	f->kind = directory_find(s->auth->directory, address, &f->account, NULL);
	if (f->kind == DIRECTORY_ERROR)
		return E_IO;
	if (f->kind == DIRECTORY_ALIAS || (f->kind == DIRECTORY_ACCOUNT && !f->account.system))
		return 0;
	r = find_alias(s, address);
	f->from_file = r > 0;
	if (r > 0)
		f->kind = DIRECTORY_ALIAS;
	if (r != 0)
		return r > 0 ? 0 : r;
	return system_is_domain(s->auth, domain_of(address)) ? find_user(s, address, f) : 0;
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
	return span_caseeq(local, SPAN_LIT("postmaster")) || span_caseeq(local, SPAN_LIT("abuse"));
}

static int find_role(struct search *s, struct found *f)
{
	struct span configured = conf_text(daemon_conf(s->auth->daemon), CONF_postmaster, NULL);
	char address[DIRECTORY_ADDRESS_MAX + 1];
	int r = configured.len > 0 ? address_canonical(configured, address, NULL) : E_NOTFOUND;

	if (r == 0)
		r = find_at(s, span_str(address), f);
	if (r != 0 && err_is_temp(r))
		return r;
	if (r == 0 && f->kind != DIRECTORY_NONE)
		return 0;
	r = directory_account_first(s->auth->directory, &f->account);
	if (r == 0)
		snprintf(f->address, sizeof(f->address), "%s", f->account.address);
	f->kind = r == 0 ? DIRECTORY_ACCOUNT : DIRECTORY_NONE;
	return r == E_NOTFOUND ? 0 : r;
}

static int find_catch_all(struct search *s, struct span address, struct found *f)
{
	struct conf_where where = where_of(s->auth, address);
	struct span target = where.domain ? conf_text(daemon_conf(s->auth->daemon), CONF_catch_all, &where) : span_str("");
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	int r = target.len > 0 ? address_canonical(target, canonical, NULL) : E_NOTFOUND;

	if (r != 0)
		return err_is_temp(r) ? r : 0;
	return find_at(s, span_str(canonical), f);
}

/* Looks under `address` (canonical, a domain of ours) and everywhere else it may lead. As find_at(). */
static int find_ours(struct search *s, struct span address, struct found *f)
{
	struct conf_where where = where_of(s->auth, address);
	char base[DIRECTORY_ADDRESS_MAX + 1];
	int r = find_at(s, address, f);

	if (r == 0 && f->kind == DIRECTORY_NONE && conf_bool(daemon_conf(s->auth->daemon), CONF_plus_addressing, &where) &&
	    without_detail(address, base, sizeof(base), f->detail)) {
		r = find_at(s, span_str(base), f);
		if (f->kind == DIRECTORY_NONE)
			f->detail[0] = '\0';
		else
			f->how = FOUND_WITHOUT_DETAIL;
	}
	if (r == 0 && f->kind == DIRECTORY_NONE && (s->low || is_role(local_of(address)))) {
		f->how = FOUND_ROLE;
		r = find_role(s, f);
	}
	if (r == 0 && f->kind == DIRECTORY_NONE) {
		f->how = FOUND_CATCH_ALL;
		r = find_catch_all(s, address, f);
	}
	return r;
}

static int explain(const struct search *s, int code, struct err *err)
{
	if (s->unread)
		return err_set(err, code, "the file of aliases cannot be read");
	if (code == E_AGAIN)
		return err_set(err, code, "it is being asked whether this machine has such a user");
	if (code == E_IO)
		return err_set(err, code, "the directory cannot be read");
	return err_set(err, code, "it cannot be known now whether this machine has such a user: %s", err_text(code));
}

static int lookup(struct auth *auth, struct span address, bool mailbox, struct recipient *out, struct err *err)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	struct search search = {.auth = auth, .mailbox = mailbox};
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
	r = find_ours(&search, span_str(canonical), &found);
	if (r != 0)
		return explain(&search, r, err);
	if (found.kind == DIRECTORY_NONE)
		return err_set(err, E_NOTFOUND, "no such user here");
	return lead_to(auth, &found, out, err);
}

int auth_lookup(struct auth *auth, struct span address, struct recipient *out, struct err *err)
{
	return lookup(auth, address, false, out, err);
}

int auth_lookup_mailbox(struct auth *auth, struct span address, struct recipient *out, struct err *err)
{
	return lookup(auth, address, true, out, err);
}

/* ---- expansion ---- */

/* One address. mailbox: /etc/aliases has said that this is the mailbox of this name. */
struct step {
	struct span address;
	struct span owner; /* as in struct recipient */
	unsigned char depth;
	bool mailbox;
};

/* name, text: borrowed from the aliases; owner: pooled. */
struct target {
	struct target *next;
	struct recipient recipient;
};

/*
 * Addresses seen so far, and those still to be looked at: breadth first, each once. What they lead to is given when all of it is known:
 * what was delivered before a failure would be delivered again.
 */
struct expansion {
	struct auth *auth;
	struct pool *pool;
	struct step *seen;
	size_t count, next;
	unsigned depth; /* of the alias whose targets are being added */
	struct span owner; /* likewise */
	struct target *first, **tail;
	size_t others;	/* of them that are no mailboxes and no addresses */
	bool may_have;	/* one of them may have the message */
	struct err bad; /* of what gets no mail */
};

static int expansion_add(struct expansion *e, struct span address, bool mailbox, struct err *err)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->seen[i].mailbox == mailbox && span_eq(e->seen[i].address, address))
			return 0;
	if (e->count == DIRECTORY_TARGETS_MAX)
		return err_set(err, E_LIMIT, "the alias leads to more than %d addresses", DIRECTORY_TARGETS_MAX);
	if (e->depth > DIRECTORY_DEPTH_MAX)
		return err_set(err, E_LOOP, "aliases lead to aliases more than %d times", DIRECTORY_DEPTH_MAX);
	e->seen[e->count] = (struct step){.address = pool_span(e->pool, address), .owner = e->owner, .depth = (unsigned char)e->depth, .mailbox = mailbox};
	if (e->seen[e->count].address.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	e->count++;
	return 0;
}

static int add_found(void *arg, struct span address, bool mailbox, struct err *err)
{
	return expansion_add(arg, address, mailbox, err);
}

/* Two addresses may lead to one mailbox (plus, catch-all), and an alias twice to one command: each gets one copy. */
static bool is_same(const struct recipient *a, const struct recipient *b)
{
	if (a->account != 0 || b->account != 0)
		return a->account == b->account;
	return a->name.len > 0 && span_eq(a->name, b->name) && span_eq(a->text, b->text);
}

static bool is_there(const struct expansion *e, const struct recipient *r)
{
	const struct target *t = e->first;

	while (t != NULL && !is_same(&t->recipient, r))
		t = t->next;
	return t != NULL;
}

static int keep(struct expansion *e, const struct recipient *r)
{
	struct target *t;

	if (is_there(e, r))
		return 0;
	t = pool_new_object(e->pool, struct target);
	if (t == NULL)
		return E_NOMEM;
	*t = (struct target){.recipient = *r};
	*e->tail = t;
	e->tail = &t->next;
	e->may_have |= r->code == 0;
	return 0;
}

static const char *what_is(enum program program)
{
	return program == PROGRAM_PIPE ? "to a command, which is not allowed here"
				       : program == PROGRAM_FILE ? "to a file, which is not allowed here" : "to what is no address";
}

static int keep_other(void *arg, const struct recipient *r)
{
	struct expansion *e = arg;
	struct recipient owned = *r;

	owned.owner = e->owner;
	if (r->code != 0)
		err_set(&e->bad, r->code, "the alias %.*s leads %s", SPAN_ARG(r->name), what_is(r->program));
	return !is_there(e, r) && ++e->others > DIRECTORY_TARGETS_MAX ? E_LIMIT : keep(e, &owned);
}

/* One of /etc/aliases; none: it has gone since. */
static int expand_file_alias(struct expansion *e, const struct recipient *found, struct err *err)
{
	const struct alias *alias;
	int r = aliases_find(e->auth, span_str(found->address), &alias, err);
	struct alias_walk walk = {
	    .address = span_str(found->address), .detail = span_str(found->detail), .found = add_found, .other = keep_other, .arg = e};
	char owner[DIRECTORY_ADDRESS_MAX + 1];

	if (r > 0 && aliases_owner(e->auth, alias, span_str(found->address), owner)) {
		e->owner = pool_span(e->pool, span_str(owner));
		if (e->owner.ptr == NULL)
			return err_set(err, E_NOMEM, "out of memory");
	}
	return r > 0 ? aliases_each(e->auth, alias, &walk, err) : r;
}

static int expand_alias(struct expansion *e, const struct recipient *found, struct err *err)
{
	enum directory_kind kind;
	struct buf targets;
	struct account account;
	struct span rest;
	int r = 0;

	buf_init(&targets, DIRECTORY_ALIAS_MAX);
	kind = directory_find(e->auth->directory, span_str(found->address), &account, &targets);
	/* A target that is left out here would get no mail, and nobody would know. */
	if (kind == DIRECTORY_ERROR)
		r = err_set(err, E_IO, "the directory cannot be read");
	else if (buf_failed(&targets))
		r = err_set(err, E_NOMEM, "out of memory");
	else if (kind != DIRECTORY_ALIAS) /* none, or the account of a user of this machine */
		r = expand_file_alias(e, found, err);
	for (rest = buf_span(&targets); rest.len > 0 && r == 0;) {
		size_t end = span_find(rest, '\0');

		r = expansion_add(e, span_sub(rest, 0, end), false, err);
		rest = span_from(rest, end + 1);
	}
	buf_fini(&targets);
	return r;
}

static int expand_one(struct expansion *e, struct err *err)
{
	const struct step *step = &e->seen[e->next++];
	struct recipient found;
	int r = step->mailbox ? auth_lookup_mailbox(e->auth, step->address, &found, err) : auth_lookup(e->auth, step->address, &found, err);

	e->depth = step->depth + 1U;
	e->owner = found.owner = step->owner;
	if (r == E_DENIED) { /* not ours: a remote target of an alias */
		found = (struct recipient){.owner = step->owner};
		span_copy(step->address, found.address, sizeof(found.address));
		return keep(e, &found);
	}
	if (r == 0 && found.account == 0)
		return expand_alias(e, &found, err);
	return r == 0 ? keep(e, &found) : r;
}

/* RFC 5321 section 4.5.1: postmaster is somebody, also where /etc/aliases sends it to a user who is none here. */
static int expand_role(struct expansion *e, struct err *err)
{
	struct search search = {.auth = e->auth, .mailbox = true};
	struct found found = {0};
	struct recipient somebody = {0};
	int r;

	if (e->bad.code != E_NOTFOUND || !is_role(local_of(e->seen[0].address)))
		return 0;
	r = find_role(&search, &found);
	if (r != 0)
		return explain(&search, r, err);
	if (found.kind != DIRECTORY_ACCOUNT)
		return 0;
	return lead_to(e->auth, &found, &somebody, NULL) == 0 ? keep(e, &somebody) : 0;
}

/* One target that has gone does not take the others' mail away. Of users who are not known all are asked for at once. */
static int expand_all(struct expansion *e, struct err *err)
{
	struct err asking = {0}, one;
	int r = 0;

	while (r == 0 && e->next < e->count) {
		one = (struct err){0};
		r = expand_one(e, &one);
		if (r != E_AGAIN && r != E_NOTFOUND && r != E_DISABLED && r != E_SYNTAX)
			continue;
		one.code = r;
		*(r == E_AGAIN ? &asking : &e->bad) = one;
		r = 0;
	}
	if (r == 0 && asking.code != 0)
		return err_set(err, asking.code, "%s", asking.text);
	one = r == 0 ? (struct err){0} : one;
	if (r == 0 && !e->may_have)
		r = expand_role(e, &one);
	if (r != 0)
		return err_set(err, r, "%s", one.text[0] != '\0' ? one.text : err_text(r));
	if (e->may_have)
		return 0;
	return e->bad.code != 0 ? err_set(err, e->bad.code, "%s", e->bad.text) : err_set(err, E_LOOP, "the alias leads only to itself");
}

int auth_expand_each(struct auth *auth, struct span address, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err)
{
	struct pool *pool = pool_new(NULL, 4 * 1024 * 1024);
	struct expansion e = {.auth = auth, .pool = pool, .tail = &e.first};
	int r;

	if (pool != NULL)
		e.seen = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.seen));
	if (e.seen == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "out of memory");
	}
	r = expansion_add(&e, address, false, err);
	if (r == 0)
		r = expand_all(&e, err);
	for (const struct target *t = e.first; t != NULL && r == 0; t = t->next)
		r = fn(arg, &t->recipient);
	pool_free(&pool);
	return r;
}
