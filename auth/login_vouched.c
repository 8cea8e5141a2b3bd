/* Logins without a password: by the word of another, and by a proof; and what a name stands for. */
#include "auth/login_private.h"

#include "auth/address.h"
#include "base/clock.h"
#include "sasl/sasl.h"

#include <stdio.h>

/*
 * A name without a domain is of the default one: what clients are used to who come from servers with users of the machine. SCRAM's proof is made
 * of the name as the client sent it, and nothing here changes that.
 */
struct span login_full_name(struct auth *auth, struct span user, char text[DIRECTORY_ADDRESS_MAX + 1])
{
	const struct conf *conf = daemon_conf(auth->daemon);
	struct span domain = conf_text(conf, CONF_login_default_domain, NULL);

	if (domain.len == 0 && conf_domain_count(conf) == 1)
		domain = conf_domain(conf, 0)->name;
	if (user.len == 0 || domain.len == 0 || span_find(user, '@') < user.len || user.len + 1 + domain.len > DIRECTORY_ADDRESS_MAX)
		return user;
	snprintf(text, DIRECTORY_ADDRESS_MAX + 1, "%.*s@%.*s", SPAN_ARG(user), SPAN_ARG(domain));
	return span_str(text);
}

/* ---- by the word of another ---- */

static void take_word(void *arg)
{
	struct login *login = arg;
	int r = login_find(login);

	if (r == 0)
		r = login_find_machine_user(login);
	if (r == E_AGAIN && login->rounds++ < SYSTEM_ROUNDS_MAX && system_wait(login->auth->system, take_word, login) == 0)
		return;
	if (r == E_AGAIN)
		login_settle(login, E_UNAVAILABLE, "overload");
	else if (r != 0)
		login_settle(login, r, err_text(r));
	else if (login->user_known)
		login_ask_whether_may(login);
	else if (login->found && !login->account.system)
		login_settle(login, login->account.disabled ? E_AUTHFAILED : 0, "disabled");
	else
		login_settle(login, E_AUTHFAILED, "unknown-user");
}

void login_vouched(struct login *login, login_vouched_done *done, void *arg)
{
	login->vouched = done;
	login->vouched_arg = arg;
	take_word(login);
}

/* auth-pam may still have to answer: what it says is nobody's then, but for the log and the counts. */
void login_let_go(struct login *login)
{
	login->vouched = NULL;
	login->conn = NULL;
}

/* ---- by a token ---- */

const char *login_why_not(const struct login *login)
{
	if (!login->found && !login->system)
		return "unknown-user";
	return login->account.disabled ? "disabled" : NULL;
}

/* ---- by a proof ---- */

static const char *keys_of(const struct account *account, size_t size)
{
	return size == 20 ? account->credentials.scram_sha_1 : account->credentials.scram_sha_256;
}

int login_keys(struct login *login, size_t size, struct scram_keys *out)
{
	int r = login_find(login);

	if (r != 0)
		return r;
	r = login->known ? scram_parse(span_str(keys_of(&login->account, size)), out) : E_SYNTAX;
	if (r == E_NOMEM)
		return r;
	if (r != 0)
		scram_make_up(size, login->auth->secret, span_str(login->attempt.user), out); /* canonical: as an account has one salt for all spellings */
	return 0;
}

/* The client says when the exchange goes on: meanwhile the account may have been taken from who knows the old password. */
int login_keys_hold(struct login *login, size_t size)
{
	struct account now;
	int r = directory_account_by_id(login->auth->directory, login->account.id, &now);

	if (r == 0 && strcmp(keys_of(&now, size), keys_of(&login->account, size)) != 0)
		r = E_NOTFOUND;
	if (r == 0)
		login->account = now;
	explicit_bzero(&now, sizeof(now));
	return r == E_NOTFOUND ? E_AUTHFAILED : r;
}

bool login_may_prove(struct login *login)
{
	const char *refused;

	login->attempt.proof = true;
	refused = defence_ask(login->auth->defence, &login->attempt, clock_monotonic_ms());
	if (refused != NULL)
		login_refuse(login, refused);
	return refused == NULL;
}

bool login_may_show_token(struct login *login)
{
	login->attempt.token = true;
	return login_may_prove(login);
}

bool login_is_user(const struct login *login, struct span name)
{
	char own[DIRECTORY_ADDRESS_MAX + 1], other[DIRECTORY_ADDRESS_MAX + 1], full[DIRECTORY_ADDRESS_MAX + 1];

	name = login_full_name(login->auth, name, full);
	return address_canonical(span_str(login->user), own, NULL) == 0 && address_canonical(name, other, NULL) == 0 && strcmp(own, other) == 0;
}
