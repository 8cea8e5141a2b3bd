/* The control request auth test: would this user be let in with this password? Nothing is counted, and nothing is changed. */
#include "auth/request.h"

#include "auth/address.h"
#include "auth/app.h"
#include "auth/login_private.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/control.h"

#include <stdlib.h>
#include <sysexits.h>

struct test {
	struct auth *auth;
	struct control_reply *reply;
	struct account account;
	bool found, system; /* there is an account; PAM knows the password */
	struct system_login outside;
	struct secret password;
	unsigned round; /* of waiting for what auth-pam says of the user */
	char address[DIRECTORY_ADDRESS_MAX + 1];
	char service[17];
	char app[DIRECTORY_LABEL_MAX + 1]; /* "": none */
};

static void test_free(struct test *t)
{
	secret_wipe(&t->password);
	free(t);
}

static void refused(struct test *t, unsigned status, const char *why)
{
	control_reply_done(t->reply, status, "%s would not be let in: %s", t->address, why);
	test_free(t);
}

static void unknown(struct test *t, int code)
{
	control_reply_done(t->reply, EX_TEMPFAIL, "it cannot be known now: %s", err_text(code));
	test_free(t);
}

static void right(struct test *t)
{
	const struct credentials *own = &t->account.credentials;

	if (t->app[0] != '\0')
		control_reply_done(t->reply, EX_OK, "%s would be let in, by the app password %s", t->address, t->app);
	else if (t->system)
		control_reply_done(t->reply, EX_OK, "%s would be let in, by PAM", t->address);
	else if (own->scram_sha_1[0] == '\0' || own->scram_sha_256[0] == '\0')
		control_reply_done(t->reply, EX_OK, "%s would be let in, by SCRAM not before a login that sends the password", t->address);
	else
		control_reply_done(t->reply, EX_OK, "%s would be let in", t->address);
	test_free(t);
}

static void on_checked(void *arg, int code, const struct credentials *made)
{
	struct test *t = arg;

	(void)made; /* a login will make them */
	if (code == 0 && t->account.disabled)
		refused(t, EX_NOPERM, "the password is right, but the account is disabled");
	else if (code == 0)
		right(t);
	else if (code == E_AUTHFAILED)
		refused(t, EX_NOPERM, t->system ? "PAM says that the password is wrong" : "the password is wrong");
	else if (code == E_DISABLED)
		refused(t, EX_NOPERM, "PAM's account phase does not let this user in");
	else if (code == E_NOTFOUND)
		refused(t, EX_NOUSER, "there is no such user of this machine");
	else if (code == E_TOOBIG)
		refused(t, EX_NOPERM, "the account's imported hash costs too much to be checked; it needs a new password");
	else
		unknown(t, code);
}

static void on_vouched(void *arg, int code, int64_t spent_us)
{
	(void)spent_us;
	on_checked(arg, code, NULL);
}

/* A user of the machine may have no account yet: what tells one from another then is what a login goes by, so that none gets the other's answer. */
static uint64_t account_of(const struct test *t)
{
	struct attempt attempt;

	if (!t->system)
		return t->account.id;
	defence_attempt(t->auth->defence, span_str(t->address), t->outside.remote, &attempt);
	defence_attempt_machine(t->auth->defence, t->outside.user, &attempt);
	return attempt.account;
}

static void check(struct test *t)
{
	struct password_ask ask = {.account = account_of(t), .have = t->system ? NULL : &t->account.credentials, .outside = t->system ? &t->outside : NULL};
	struct span password = secret_span(&t->password);
	struct app_password app;
	int r = 0;

	if (t->found && app_password_find(t->auth->directory, t->account.id, span_str(t->service), password, &app))
		memcpy(t->app, app.label, sizeof(t->app));
	t->outside.proved = t->app[0] != '\0';
	if (t->app[0] != '\0' && (!t->system || t->account.disabled))
		on_checked(t, 0, NULL);
	else if (t->app[0] != '\0')
		r = system_login(t->auth->system, &t->outside, span_str(""), on_vouched, t);
	else if (!t->system && t->account.credentials.hash[0] == '\0')
		refused(t, EX_NOPERM, "the account has no password");
	else
		r = password_check(t->auth->passwords, &ask, password, on_checked, t);
	if (r != 0)
		unknown(t, r);
}

static void find_user(void *arg)
{
	struct test *t = arg;
	struct system_user user;
	int r = system_find(t->auth->system, t->outside.user, &user);

	if (r == E_AGAIN && t->round++ < SYSTEM_ROUNDS_MAX && system_wait(t->auth->system, find_user, t) == 0)
		return;
	if (r == E_NOTFOUND)
		refused(t, EX_NOUSER, "there is no such account, and no such user of this machine");
	else if (r != 0)
		unknown(t, r == E_AGAIN ? E_UNAVAILABLE : r);
	else if (!system_has_mailbox(t->auth, &user))
		refused(t, EX_NOPERM, "system-first-uid says that this user of the machine has no mailbox");
	else
		check(t);
}

static void find(struct test *t)
{
	struct span name = system_name(t->auth, span_str(t->address));
	enum directory_kind kind = directory_find(t->auth->directory, span_str(t->address), &t->account, NULL);

	t->found = kind == DIRECTORY_ACCOUNT;
	t->system = name.len > 0 && (kind == DIRECTORY_NONE || (t->found && t->account.system));
	t->outside = (struct system_login){.user = span_sub(span_str(t->address), 0, span_find(span_str(t->address), '@')), .service = span_str(t->service), .remote = SPAN_LIT("127.0.0.1")};
	log_event(EV_auth_tested, daemon_log(t->auth->daemon), F_STR("object", t->address));
	if (kind == DIRECTORY_ERROR)
		unknown(t, E_IO);
	else if (t->system)
		find_user(t);
	else if (!t->found)
		refused(t, EX_NOUSER, kind == DIRECTORY_NONE ? "there is no such account" : "it is an alias, not an account");
	else
		check(t);
}

/* Who may set passwords has no right yet to find out those that are set, without anybody seeing how often it was tried. */
void control_test(struct request *q)
{
	struct span service = request_option(q, "--service");
	char full[DIRECTORY_ADDRESS_MAX + 1], canonical[DIRECTORY_ADDRESS_MAX + 1];
	unsigned protocols;
	struct err err = {0};
	struct test *t;
	int r;

	if (!control_reply_is_to_root(q->reply)) {
		control_reply_done(q->reply, EX_NOPERM, "only root may test passwords");
		return;
	}
	if (service.len == 0)
		service = SPAN_LIT("imap");
	if (q->count < 3 || q->secret.len == 0 || span_find(service, ',') != service.len || !app_protocols_parse(service, &protocols)) {
		control_reply_done(q->reply, EX_USAGE, "an address, a password and a service of imap, pop3 and submission are needed");
		return;
	}
	r = address_canonical(login_full_name(q->auth, q->args[2], full), canonical, &err);
	if (r != 0) {
		request_failed(q, r, &err);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL || !secret_set(&t->password, q->secret)) {
		control_reply_done(q->reply, EX_TEMPFAIL, "out of memory");
		free(t);
		return;
	}
	t->auth = q->auth;
	t->reply = q->reply;
	span_copy(span_str(canonical), t->address, sizeof(t->address));
	span_copy(service, t->service, sizeof(t->service));
	find(t);
}
