/* Where an address leads: account, plus-addressing, alias, /etc/aliases, postmaster, catch-all, in this order. */
#include "auth/auth.h"

#include "alias/alias.h"
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

static enum directory_kind find_in_directory(struct auth *auth, struct span address, struct account *account)
{
	return directory_find(auth->directory, address, account, NULL);
}

static enum directory_kind find_in_aliases(struct auth *auth, struct span address, struct account *account)
{
	const struct alias *alias;
	int r = aliases_find(auth, address, &alias, NULL);

	(void)account;
	return r < 0 ? DIRECTORY_ERROR : r > 0 ? DIRECTORY_ALIAS : DIRECTORY_NONE;
}

typedef enum directory_kind find_in(struct auth *auth, struct span address, struct account *account);

/* As it is, then without what follows a '+'. */
static enum directory_kind find_with_detail(struct auth *auth, find_in *find, struct span address, struct account *account, char *found,
    char detail[65])
{
	struct conf_where where = where_of(auth, address);
	enum directory_kind kind = find(auth, address, account);
	char base[DIRECTORY_ADDRESS_MAX + 1];

	span_copy(address, found, DIRECTORY_ADDRESS_MAX + 1);
	if (kind == DIRECTORY_NONE && conf_bool(daemon_conf(auth->daemon), CONF_plus_addressing, &where) &&
	    without_detail(address, base, sizeof(base), detail)) {
		kind = find(auth, span_str(base), account);
		snprintf(found, DIRECTORY_ADDRESS_MAX + 1, "%s", base);
		if (kind == DIRECTORY_NONE)
			detail[0] = '\0';
	}
	return kind;
}

/* Looks under `address` (canonical, a domain of ours) and everywhere else it may lead. mailbox: not in /etc/aliases. */
static enum directory_kind find_ours(struct auth *auth, struct span address, bool mailbox, struct account *account, char *found,
    char detail[65])
{
	enum directory_kind kind = find_with_detail(auth, find_in_directory, address, account, found, detail);

	if (kind == DIRECTORY_NONE && !mailbox)
		kind = find_with_detail(auth, find_in_aliases, address, account, found, detail);
	if (kind == DIRECTORY_NONE && is_role(local_of(address)))
		kind = find_role(auth, account, found);
	if (kind == DIRECTORY_NONE)
		kind = find_catch_all(auth, address, account, found);
	return kind;
}

static int lookup(struct auth *auth, struct span address, bool mailbox, struct recipient *out, struct err *err)
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
	kind = find_ours(auth, span_str(canonical), mailbox, &account, found, out->detail);
	if (kind == DIRECTORY_NONE)
		return err_set(err, E_NOTFOUND, "no such user here");
	if (kind == DIRECTORY_ERROR)
		return err_set(err, E_IO, "the directory or the file of aliases cannot be read");
	return lead_to(auth, kind, &account, span_str(found), out, err);
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

/* Two addresses may lead to one mailbox (plus, catch-all): it gets one copy. */
struct once {
	int (*fn)(void *arg, const struct recipient *r);
	void *arg;
	uint64_t *accounts;
	size_t count;
	struct program_seen *programs;
	size_t program_count;
	size_t given; /* remote ones too */
	struct err bad; /* of what gets no mail */
};

/* Borrowed from the aliases. */
struct program_seen {
	struct span name, text;
};

/* Addresses seen so far, and those still to be looked at: breadth first, each once. */
struct expansion {
	struct auth *auth;
	struct pool *pool;
	struct step *seen;
	size_t count, next;
	unsigned depth; /* of the alias whose targets are being added */
	struct span owner; /* likewise */
	struct once once;
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

static int give_once(struct once *once, const struct recipient *r)
{
	for (size_t i = 0; i < once->count && r->account != 0; i++)
		if (once->accounts[i] == r->account)
			return 0;
	if (r->account != 0)
		once->accounts[once->count++] = r->account;
	once->given++;
	return once->fn(once->arg, r);
}

/* An alias that leads to a command twice runs it once. */
static bool is_new_program(struct once *once, const struct recipient *r)
{
	for (size_t i = 0; i < once->program_count; i++)
		if (span_eq(once->programs[i].name, r->name) && span_eq(once->programs[i].text, r->text))
			return false;
	if (once->program_count < DIRECTORY_TARGETS_MAX)
		once->programs[once->program_count++] = (struct program_seen){r->name, r->text};
	return true;
}

static const char *what_is(enum program program)
{
	return program == PROGRAM_PIPE ? "to a command, which is not allowed here"
				       : program == PROGRAM_FILE ? "to a file, which is not allowed here" : "to what is no address";
}

static int give_other(void *arg, const struct recipient *r)
{
	struct expansion *e = arg;
	struct recipient owned = *r;

	owned.owner = e->owner;
	if (!is_new_program(&e->once, r))
		return 0;
	if (r->code == 0)
		return give_once(&e->once, &owned);
	err_set(&e->once.bad, r->code, "the alias %.*s leads %s", SPAN_ARG(r->name), what_is(r->program));
	return e->once.fn(e->once.arg, &owned);
}

/* One of /etc/aliases; none: it has gone since. */
static int expand_file_alias(struct expansion *e, const struct recipient *found, struct err *err)
{
	const struct alias *alias;
	int r = aliases_find(e->auth, span_str(found->address), &alias, err);
	struct alias_walk walk = {
	    .address = span_str(found->address), .detail = span_str(found->detail), .found = add_found, .other = give_other, .arg = e};

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
	else if (kind == DIRECTORY_NONE)
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
		return give_once(&e->once, &found);
	}
	if (r == 0 && found.account == 0)
		return expand_alias(e, &found, err);
	return r == 0 ? give_once(&e->once, &found) : r;
}

static int expand_all(struct expansion *e, struct err *err)
{
	int r = 0;

	while (r == 0 && e->next < e->count) {
		r = expand_one(e, err);
		/* One target that has gone does not take the others' mail away. */
		if (r == E_NOTFOUND || r == E_DISABLED || r == E_SYNTAX) {
			if (err != NULL)
				e->once.bad = *err;
			e->once.bad.code = r;
			r = 0;
		}
	}
	return r;
}

/* RFC 5321 section 4.5.1: postmaster is somebody, also where /etc/aliases sends it to a user who is none here. */
static int expand_role(struct expansion *e, struct err *err)
{
	struct span local = local_of(e->seen[0].address);
	struct account account;
	struct recipient found = {0};
	char address[DIRECTORY_ADDRESS_MAX + 1];

	if (e->once.bad.code != E_NOTFOUND || !is_role(local) || find_role(e->auth, &account, address) != DIRECTORY_ACCOUNT)
		return 0;
	return lead_to(e->auth, DIRECTORY_ACCOUNT, &account, span_str(address), &found, err) == 0 ? give_once(&e->once, &found) : 0;
}

int auth_expand_each(struct auth *auth, struct span address, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err)
{
	struct pool *pool = pool_new(NULL, 4 * 1024 * 1024);
	struct expansion e = {.auth = auth, .pool = pool, .once = {.fn = fn, .arg = arg}};
	int r = 0;

	if (pool != NULL) {
		e.seen = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.seen));
		e.once.accounts = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.once.accounts));
		e.once.programs = pool_array(pool, DIRECTORY_TARGETS_MAX, sizeof(*e.once.programs));
	}
	if (e.seen == NULL || e.once.accounts == NULL || e.once.programs == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "out of memory");
	}
	r = expansion_add(&e, address, false, err);
	if (r == 0)
		r = expand_all(&e, err);
	if (r == 0 && e.once.given == 0)
		r = expand_role(&e, err);
	if (r == 0 && e.once.given == 0 && e.once.bad.code != 0) {
		r = e.once.bad.code;
		if (err != NULL)
			*err = e.once.bad;
	} else if (r == 0 && e.once.given == 0) {
		r = err_set(err, E_LOOP, "the alias leads only to itself");
	}
	pool_free(&pool);
	return r;
}
