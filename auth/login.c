/* One login: look up, ask the defence, have the password checked beside the loop or by auth-pam, answer what failed late, and what is right with a grant. */
#include "auth/login_private.h"

#include "auth/address.h"
#include "auth/app.h"
#include "auth/hash.h"
#include "auth/marks.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/ipc_conn.h"
#include "sasl/sasl.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	LOGIN_GRANT_SECONDS = 30, /* the spawner is asked at once */
	LOGIN_PENDING_MAX = 4096, /* with more, nobody's answer waits */
	LOGIN_RANK_SUSPECT = 8,	  /* of those who belong here, while somebody guesses from where they come */
	LOGIN_RANK_STRANGER = 16, /* behind so many of somebody who belongs here */
	LOGIN_RANK_MAX = 64,
	LOGIN_PARKED_MAX = 512,	  /* who wait for others' checks of the same account, or for what auth-pam says of the user; with those who belong here twice as many */
	LOGIN_PARK_STEP_MS = 100,
	LOGIN_PARK_MS = 10 * 1000,
};

static void unpark(struct login *login)
{
	if (login->parked == NULL)
		return;
	secret_wipe(login->parked);
	free(login->parked);
	login->parked = NULL;
	login->auth->parked_count--;
}

void login_drop(struct login *login)
{
	unpark(login);
	defence_give_back(login->auth->defence, &login->attempt);
	*login->link = login->next;
	if (login->next != NULL)
		login->next->link = login->link;
	login->auth->pending_count--;
	if (login->timer != NULL)
		event_free(login->timer);
	explicit_bzero(login, sizeof(*login));
	free(login);
}

/* ---- the answer ---- */

static struct span text_of(int code)
{
	if (code == E_AUTHFAILED)
		return SPAN_LIT("User name or password is wrong");
	if (code == E_SYNTAX)
		return SPAN_LIT("The response is not what the mechanism wants");
	return code == E_UNAVAILABLE ? SPAN_LIT("Too many logins at once; try again later")
				     : SPAN_LIT("The login cannot be checked now; try again later");
}

static void send_answer(struct login *login, struct span text)
{
	struct auth *auth = login->auth;
	unsigned char grant[GRANT_SIZE];
	struct auth_login_answer answer = {.code = login->code, .text = text};

	if (login->code == 0) {
		answer.account = login->account.id;
		answer.quota = auth_quota(auth, &login->account);
		answer.address = span_str(login->account.address);
		grant_make(auth->grant_key, GRANT_LOGIN, answer.account, answer.quota, answer.address,
		    grant_now() + LOGIN_GRANT_SECONDS, grant);
		answer.grant = span_of(grant, sizeof(grant));
		auth->logins++;
	}
	ipc_conn_answer(login->conn, &ipc_auth_login_answer, login->id, &answer, -1);
}

/* It was right, by what has been revoked since. */
static void refuse_overtaken(struct login *login)
{
	login->code = E_UNAVAILABLE;
	login->refusal = SPAN_LIT("The account has just been changed; try again");
}

static void login_answer(struct login *login)
{
	struct span text;

	if (login->code == 0 && login->is_overtaken)
		refuse_overtaken(login);
	text = login->code == 0 ? span_str("") : login->refusal.len > 0 ? login->refusal : text_of(login->code);

	if (login->answered == NULL && login->conn != NULL)
		send_answer(login, text);
	else if (login->answered != NULL)
		login->answered(login->answered_arg, login->code, text, login->code == 0 ? &login->account : NULL);
	login_drop(login);
}

/* The form of auth_failed is promised in mailwain-log(5). */
static void login_log(const struct login *login, const char *reason)
{
	const struct log_ctx *ctx = daemon_log(login->auth->daemon);

	if (login->code == 0) /* a field without a key is the end */
		log_event(EV_auth_ok, ctx, F_STR("user", login->account.address), F_STR("service", login->service), F_STR("rip", login->remote),
		    F_STR("mechanism", login->mechanism), F_STR(login->app[0] != '\0' ? "app_password" : NULL, login->app));
	else if (login->code != E_AUTHFAILED && login->code != E_UNAVAILABLE && login->code != E_SYNTAX)
		log_event(EV_auth_error, ctx, F_STR("user", login->user), F_STR("service", login->service), F_STR("rip", login->remote),
		    F_STR("error", reason));
	else
		log_event(EV_auth_failed, ctx, F_STR("user", login->user), F_STR("service", login->service), F_STR("rip", login->remote),
		    F_STR("reason", reason));
}

/*
 * Not from here, not even what need not wait: the caller may still want to look at it. By the time it is now, not when this turn of
 * the loop began: what else the turn did would make it too early.
 */
static void answer_later(struct login *login, int64_t ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_update_cache_time(daemon_base(login->auth->daemon));
	evtimer_add(login->timer, &tv);
}

void login_is_wrong(struct login *login, const char *reason)
{
	if (login->is_wrong)
		return;
	login->is_wrong = true;
	login->code = E_AUTHFAILED;
	login_log(login, reason);
	login->delay_ms = login->is_repeated ? defence_repeated(login->auth->defence, &login->attempt, clock_monotonic_ms())
					     : defence_wrong(login->auth->defence, &login->attempt, clock_monotonic_ms());
}

void login_end(struct login *login, int code, const char *reason)
{
	struct defence *defence = login->auth->defence;
	int64_t wait_ms = 0;

	login->code = code;
	if (code == E_AUTHFAILED)
		login_is_wrong(login, reason);
	else
		login_log(login, reason);
	if (code == 0)
		login_is_right(login);
	else if (code == E_AUTHFAILED)
		wait_ms = login_grid_wait(login, login->delay_ms);
	else if (code == E_SYNTAX)
		wait_ms = defence_malformed(defence, &login->attempt, clock_monotonic_ms());
	else
		defence_give_back(defence, &login->attempt);
	unpark(login);
	answer_later(login, login->auth->pending_count > LOGIN_PENDING_MAX ? 0 : wait_ms);
}

void login_refuse(struct login *login, const char *reason)
{
	login->refusal = SPAN_LIT("Too many failed logins; try again later");
	login_end(login, E_UNAVAILABLE, reason);
}

void login_is_right(struct login *login)
{
	if (login->is_right)
		return;
	login->is_right = true;
	defence_right(login->auth->defence, &login->attempt);
	if (login->account.id != 0 && !login->account.disabled)
		marks_place(login->auth->marks, login->account.id, login->attempt.source);
}

void login_proved(struct login *login)
{
	if (login->account.disabled)
		login_end(login, E_AUTHFAILED, "disabled");
	else
		login_end(login, 0, NULL);
}

/* ---- who it is ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct login *login = arg;

	(void)fd;
	(void)what;
	if (login->parked != NULL)
		login_by_password(login, secret_span(login->parked));
	else
		login_answer(login);
}

static void refuse(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct login_ask *ask)
{
	struct auth_login_answer answer = {.code = E_NOMEM, .text = text_of(E_NOMEM)};

	log_event(EV_auth_error, daemon_log(auth->daemon), F_SPAN("user", ask->user), F_SPAN("service", ask->service),
	    F_SPAN("rip", ask->remote), F_STR("error", err_text(E_NOMEM)));
	if (ask->answered != NULL)
		ask->answered(ask->arg, E_NOMEM, text_of(E_NOMEM), NULL);
	else
		ipc_conn_answer(conn, &ipc_auth_login_answer, id, &answer, -1);
}

struct login *login_new(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct login_ask *ask)
{
	struct login *login = calloc(1, sizeof(*login));
	char full[DIRECTORY_ADDRESS_MAX + 1];
	struct span user = login_full_name(auth, ask->user, full);

	if (login == NULL) {
		refuse(auth, conn, id, ask);
		return NULL;
	}
	login->auth = auth;
	login->conn = conn;
	login->id = id;
	login->begun_ms = clock_monotonic_ms();
	login->answered = ask->answered;
	login->answered_arg = ask->arg;
	span_copy(user, login->user, sizeof(login->user));
	login->mechanism = ask->mechanism;
	span_copy(ask->service, login->service, sizeof(login->service));
	span_copy(ask->remote, login->remote, sizeof(login->remote));
	login->timer = evtimer_new(daemon_base(auth->daemon), on_timer, login);
	login->next = auth->pending;
	login->link = &auth->pending;
	if (login->next != NULL)
		login->next->link = &login->next;
	auth->pending = login;
	auth->pending_count++;
	if (login->timer == NULL) {
		login_drop(login);
		refuse(auth, conn, id, ask);
		return NULL;
	}
	/* Those whose token alone says who they are have each address for themselves. */
	defence_attempt(auth->defence, user.len > 0 ? user : ask->remote, ask->remote, &login->attempt);
	login->attempt.exempt = conf_in_networks(daemon_conf(auth->daemon), CONF_unlimited_from, NULL, span_str(login->remote));
	return login;
}

/* The canonical local part. */
static struct span machine_name(const struct login *login)
{
	struct span user = span_str(login->attempt.user);

	return span_sub(user, 0, span_find(user, '@'));
}

/* Not to be found is no error: the password is checked all the same, so that it takes as long. */
int login_find(struct login *login)
{
	struct auth *auth = login->auth;
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	enum directory_kind kind = DIRECTORY_NONE;
	int r = address_canonical(span_str(login->user), canonical, NULL);

	if (r == 0)
		kind = directory_find(auth->directory, span_str(canonical), &login->account, NULL);
	if (kind == DIRECTORY_ERROR)
		return E_IO;
	login->found = kind == DIRECTORY_ACCOUNT;
	login->known = login->found && !login->account.system && login->account.credentials.hash[0] != '\0';
	/* An alias takes the mail of the user of its name, who has no mailbox then. */
	login->system = r == 0 && (kind == DIRECTORY_NONE || (login->found && login->account.system)) &&
			system_name(auth, span_str(canonical)).len > 0;
	if (login->system)
		defence_attempt_machine(auth->defence, machine_name(login), &login->attempt);
	if (login->found)
		login->attempt.known = marks_is_known(auth->marks, login->account.id, login->attempt.source);
	return r != 0 && err_is_temp(r) ? r : 0;
}

int login_find_machine_user(struct login *login)
{
	int r = login->system ? system_find(login->auth->system, machine_name(login), &login->machine_user) : E_NOTFOUND;

	login->user_known = r == 0 && system_has_mailbox(login->auth, &login->machine_user);
	return r == E_NOTFOUND ? 0 : r;
}

static struct system_login ask_of(const struct login *login, bool proved)
{
	return (struct system_login){.user = machine_name(login),
	    .service = span_str(login->service),
	    .remote = span_str(login->remote),
	    .proved = proved};
}

/* Who logs in before any mail has come has a mailbox from now on. While PAM was asked, mail or another log-in may have made it. */
static int have_account(struct login *login)
{
	int r = login_find(login);

	if (r != 0)
		return r;
	if (!login->system) /* the name is an alias's since, or an account's of the directory's own */
		return E_AUTHFAILED;
	if (login->found)
		return 0;
	if (!login->user_known)
		return E_AUTHFAILED;
	return system_account_make(login->auth, span_str(login->attempt.user), &login->machine_user, &login->account);
}

void login_settle(struct login *login, int code, const char *reason)
{
	login_vouched_done *done = login->vouched;

	login->vouched = NULL;
	if (done != NULL)
		done(login->vouched_arg, code, reason);
	else if (code == 0)
		login_proved(login);
	else
		login_end(login, code, reason);
}

/* PAM has no objection, or has; or it cannot be known. */
static void machine_user_may(void *arg, int code, int64_t spent_us)
{
	struct login *login = arg;
	int r = code == 0 ? have_account(login) : code;

	(void)spent_us;
	if (r == E_DISABLED || r == E_AUTHFAILED)
		login_settle(login, E_AUTHFAILED, r == E_DISABLED ? "disabled" : "unknown-user");
	else
		login_settle(login, r, r == E_UNAVAILABLE ? "overload" : err_text(r));
}

void login_ask_whether_may(struct login *login)
{
	struct system_login ask = ask_of(login, true);
	int r = system_login(login->auth->system, &ask, span_str(""), machine_user_may, login);

	if (r != 0)
		login_settle(login, r, err_text(r));
}

/* ---- by a password ---- */

/* Keys that were missing, and a hash in place of an imported one; when that fails the next login does it. */
static void renew(struct login *login, const struct credentials *made)
{
	struct err err = {0};
	int r = directory_credentials_put(login->auth->directory, login->account.id, login->account.credentials.hash, made, &err);

	if (r != 0 && r != E_NOTFOUND)
		log_event(EV_auth_error, daemon_log(login->auth->daemon), F_STR("user", login->user), F_STR("service", login->service),
		    F_STR("rip", login->remote), F_ERR(&err));
	if (r == 0)
		login->account.credentials = *made;
}

/* Of one whose password was right it may be asked who that is, which have_account() wants to know. */
static void machine_user_proved(void *arg)
{
	struct login *login = arg;
	int r = login->found ? 0 : login_find_machine_user(login);

	if (r == E_AGAIN && login->rounds++ < SYSTEM_ROUNDS_MAX && system_wait(login->auth->system, machine_user_proved, login) == 0)
		return;
	machine_user_may(login, r == E_AGAIN ? E_UNAVAILABLE : r, 0);
}

static void on_checked(void *arg, int code, const struct credentials *made)
{
	struct login *login = arg;

	if (made != NULL)
		renew(login, made);
	if (code != E_AUTHFAILED)
		login->attempt.password = 0; /* it is not known to be wrong */
	if (login->system && code == 0)
		machine_user_proved(login);
	else if (login->system && code != E_AUTHFAILED && code != E_NOTFOUND)
		machine_user_may(login, code, 0);
	else if (code == 0)
		login_proved(login);
	else if (code == E_NOTFOUND)
		login_end(login, E_AUTHFAILED, "unknown-user");
	else if (code == E_TOOBIG) /* it came before there was a limit, or with a copy of the directory; or the password is very long */
		login_end(login, E_AUTHFAILED, "hash-cost");
	else
		login_end(login, code, code == E_UNAVAILABLE ? "overload" : code != E_AUTHFAILED ? err_text(code)
			: login->known || login->system ? "password" : "unknown-user");
}

/* For as long as the login waits. */
static bool keep_password(struct login *login, struct span password)
{
	struct auth *auth = login->auth;

	if (login->parked != NULL)
		return true;
	login->parked = auth->parked_count < (login->attempt.known ? 2 * LOGIN_PARKED_MAX : LOGIN_PARKED_MAX) ? calloc(1, sizeof(*login->parked)) : NULL;
	if (login->parked == NULL)
		return false;
	auth->parked_count++;
	return secret_set(login->parked, password);
}

/*
 * Many who know the password and come from new places at once, such as those who share an account after an outage: who finds that
 * its checks are all under way waits for them. When they are right there is room again, when not the account is refused.
 */
static bool park(struct login *login, struct span password)
{
	if (!login->attempt.may_wait || clock_monotonic_ms() - login->begun_ms > LOGIN_PARK_MS || !keep_password(login, password))
		return false;
	answer_later(login, LOGIN_PARK_STEP_MS);
	return true;
}

static void check_now(struct login *login, const struct password_ask *ask, struct span password)
{
	int r;

	login->queued_ms = clock_monotonic_ms();
	r = password_check(login->auth->passwords, ask, password, on_checked, login);
	if (r != 0)
		login_end(login, r, r == E_UNAVAILABLE ? "overload" : err_text(r));
}

static unsigned rank_of(const struct login *login, int64_t now)
{
	struct defence *defence = login->auth->defence;
	unsigned failures = defence_failures(defence, &login->attempt, now);

	if (!login->attempt.known)
		return LOGIN_RANK_STRANGER + (failures < LOGIN_RANK_MAX ? failures : LOGIN_RANK_MAX);
	if (!defence_is_suspect(defence, &login->attempt, now))
		return 0;
	return LOGIN_RANK_SUSPECT + (failures < LOGIN_RANK_STRANGER - LOGIN_RANK_SUSPECT ? failures : LOGIN_RANK_STRANGER - LOGIN_RANK_SUSPECT - 1);
}

/*
 * A client goes on with the old password, at home, while the others have the new one: what was wrong there is wrong still, and costs none of
 * the checks that the right one needs. Not so what PAM said: it may say another thing of the same password a moment later; nor what a hash from elsewhere
 * said, as want of memory looks like that.
 */
static uint64_t known_again(const struct login *login, const struct password_ask *ask, struct span password)
{
	bool is_lasting = login->attempt.known && login->known && hash_is_todays(login->account.credentials.hash);

	return is_lasting ? password_question(login->auth->passwords, ask, password) : 0;
}

static void check(struct login *login, struct span password)
{
	struct auth *auth = login->auth;
	struct system_login outside = ask_of(login, false);
	int64_t now = clock_monotonic_ms();
	struct password_ask ask = {.source = login->attempt.known ? login->attempt.pair : login->attempt.source,
	    .account = login->known ? login->account.id : login->attempt.account,
	    .have = login->known ? &login->account.credentials : NULL,
	    .rank = rank_of(login, now),
	    .pace = !login->attempt.known ? PACE_STRANGERS : defence_is_suspect(auth->defence, &login->attempt, now) ? PACE_SUSPECTS : PACE_NONE,
	    .began_ms = &login->checked_ms};
	const char *refused;

	if (login->system) {
		ask.account = login->attempt.account; /* the same before and after it has one */
		ask.outside = &outside;
		ask.stamp = login->user_known ? span_of(login->machine_user.stamp, SYSTEM_STAMP) : span_str("");
	}
	login->attempt.password = known_again(login, &ask, password);
	login->is_repeated = defence_is_repeated(auth->defence, &login->attempt, now);
	if (login->is_repeated) {
		login_end(login, E_AUTHFAILED, "password");
		return;
	}
	refused = password_is_asked(auth->passwords, &ask, password) ? NULL : defence_ask(auth->defence, &login->attempt, now);
	if (refused != NULL && park(login, password))
		return;
	if (refused == NULL)
		check_now(login, &ask, password);
	else
		login_refuse(login, refused);
	unpark(login);
}

/* An app password cannot be guessed: whoever knows one gets in, whatever others do. */
static bool by_app_password(struct login *login, struct span password)
{
	struct app_password app;

	if (login->own || !login->found || login->account.disabled ||
	    !app_password_find(login->auth->directory, login->account.id, span_str(login->service), password, &app))
		return false;
	memcpy(login->app, app.label, sizeof(login->app));
	marks_app(login->auth->marks, login->account.id, &app, span_str(login->remote));
	if (login->system)
		login_ask_whether_may(login);
	else
		login_end(login, 0, NULL);
	return true;
}

static void find_and_check(struct login *login, struct span password);

/* What it found before may have changed. */
static void on_user_known(void *arg)
{
	struct login *login = arg;

	find_and_check(login, secret_span(login->parked));
}

/* False: it cannot wait for auth-pam. */
static bool wait_for_user(struct login *login, struct span password)
{
	return login->rounds++ < SYSTEM_ROUNDS_MAX && keep_password(login, password) && system_wait(login->auth->system, on_user_known, login) == 0;
}

/*
 * Who the user is must be known to remember a password that was right. It costs a process of auth-pam: while there is guessing strangers
 * get none for it, and have their password checked by PAM itself, in their turn. Nor is it asked for who is going to be refused, at once:
 * how long that took would tell.
 */
static bool may_ask_who(struct login *login)
{
	const struct auth *auth = login->auth;

	if (login->attempt.known || !login->system || system_is_remembered(auth->system, machine_name(login)))
		return true;
	return password_is_calm(auth->passwords) && defence_look(auth->defence, &login->attempt, clock_monotonic_ms()) == NULL;
}

static void find_and_check(struct login *login, struct span password)
{
	int r = login_find(login);

	if (r == 0 && may_ask_who(login))
		r = login_find_machine_user(login);
	if (r == E_AGAIN && wait_for_user(login, password))
		return;
	if (r == E_AGAIN)
		login_end(login, E_UNAVAILABLE, "overload");
	else if (r != 0)
		login_end(login, r, err_text(r));
	else if (!by_app_password(login, password))
		check(login, password);
}

void login_by_password(struct login *login, struct span password)
{
	login->asked_ms = clock_monotonic_ms();
	find_and_check(login, password);
}

void login_by_own_password(struct login *login, struct span password)
{
	login->own = true;
	login_by_password(login, password);
}

/* ---- messages ---- */

void auth_login_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_login *ask)
{
	struct login_ask who = {.service = ask->service, .user = ask->user, .remote = ask->remote, .mechanism = "login-command"};
	struct login *login = login_new(auth, conn, id, &who);

	if (login != NULL)
		login_by_password(login, ask->password);
}

void logins_overtake(struct auth *auth, uint64_t account)
{
	for (struct login *login = auth->pending; login != NULL; login = login->next)
		login->is_overtaken |= login->account.id == account;
}

void auth_login_forget(struct auth *auth, struct ipc_conn *conn)
{
	for (struct login *login = auth->pending; login != NULL; login = login->next)
		if (login->conn == conn)
			login->conn = NULL;
}
