/*
 * May an account send as an address? Its own and the aliases that lead to it, and what an administrator has allowed beside
 * them: addresses, here or elsewhere, and "*@domain" for all of a domain; a blank between two.
 */
#include "auth/auth.h"

#include "auth/address.h"

#include <stdio.h>

struct leads_to {
	uint64_t account;
	bool found;
};

static int note_target(void *arg, const struct recipient *r)
{
	struct leads_to *l = arg;

	l->found |= r->account == l->account;
	return 0;
}

static bool next_pattern(struct span *rest, struct span *pattern)
{
	size_t end;

	*rest = span_trim(*rest);
	end = span_find(*rest, ' ');
	*pattern = span_sub(*rest, 0, end);
	*rest = span_from(*rest, end);
	return pattern->len > 0;
}

static bool fits(struct span pattern, struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	if (span_startswith(pattern, SPAN_LIT("*@")))
		return span_eq(span_from(pattern, 2), span_from(address, at));
	return span_eq(pattern, address);
}

/* What stands in its record. */
static bool is_allowed(const struct account *account, struct span address)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	struct span rest = span_str(account->senders), pattern;

	if (address_canonical(address, canonical, NULL) != 0)
		return false;
	while (next_pattern(&rest, &pattern))
		if (fits(pattern, span_str(canonical)))
			return true;
	return false;
}

static int leads_to(struct auth *auth, uint64_t id, struct span address, bool *leads, struct err *err)
{
	struct leads_to l = {.account = id};
	struct recipient found;
	int r = auth_lookup(auth, address, &found, err);

	if (r == 0 && found.account == 0)
		r = auth_expand_each(auth, address, note_target, &l, err);
	*leads = l.found || (r == 0 && found.account == id);
	return r != 0 && err_is_temp(r) ? r : 0;
}

/* Its own address needs no look-up, and the null sender is that of notifications. */
static bool is_own(const struct account *account, struct span address)
{
	return address.len == 0 || span_caseeq(address, span_str(account->address));
}

int auth_may_send_as(struct auth *auth, uint64_t id, struct span address, struct err *err)
{
	struct account account;
	int r = directory_account_by_id(auth->directory, id, &account);
	bool may;

	if (r == E_NOTFOUND)
		return err_set(err, E_DENIED, "your account has been removed");
	if (r != 0)
		return err_set(err, r, "the directory cannot be read");
	if (account.disabled)
		return err_set(err, E_DISABLED, "your account is disabled");
	if (is_own(&account, address) || is_allowed(&account, address))
		return 0;
	r = leads_to(auth, id, address, &may, err);
	if (may)
		return 0;
	if (r != 0)
		return err_set(err, r, "the directory cannot be read");
	return err_set(err, E_DENIED, "<%.*s> is not an address of yours", SPAN_ARG(span_sub(address, 0, 200)));
}

static int add_pattern(struct span word, struct buf *out, struct err *err)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1], text[DIRECTORY_ADDRESS_MAX + 1];
	bool all = span_startswith(word, SPAN_LIT("*@"));
	int n = snprintf(text, sizeof(text), "%s%.*s", all ? "x" : "", SPAN_ARG(span_from(span_sub(word, 0, DIRECTORY_ADDRESS_MAX), all ? 1 : 0)));
	int r = n < (int)sizeof(text) ? address_canonical(span_of(text, (size_t)n), canonical, err) : err_set(err, E_TOOBIG, "an address is too long");

	if (r != 0)
		return r;
	if (strchr(canonical, ' ') != NULL || strchr(canonical, ',') != NULL)
		return err_set(err, E_SYNTAX, "an address with blanks or commas cannot be allowed alone; *@domain can");
	buf_printf(out, "%s%s%s", buf_len(out) > 0 ? " " : "", all ? "*" : "", canonical + (all ? 1 : 0));
	return 0;
}

int senders_set(struct account *account, const struct span *words, size_t count, struct err *err)
{
	struct buf out;
	int r = 0;

	buf_init(&out, DIRECTORY_SENDERS_MAX);
	for (size_t i = 0; i < count && r == 0; i++)
		r = add_pattern(words[i], &out, err);
	if (r == 0 && out.starved)
		r = err_set(err, E_NOMEM, "out of memory");
	else if (r == 0 && buf_failed(&out))
		r = err_set(err, E_TOOBIG, "the addresses are longer than %d octets together", DIRECTORY_SENDERS_MAX);
	if (r == 0)
		span_copy(buf_span(&out), account->senders, sizeof(account->senders));
	buf_fini(&out);
	return r;
}
