/* SASL exchanges under way: the engine's questions are answered from the directory, and its end is a login like any other. */
#include "auth/auth.h"

#include "auth/token.h"
#include "net/ipc_conn.h"
#include "sasl/sasl.h"

#include <stdlib.h>

enum { EXCHANGES_MAX = 4096 }; /* for one more the oldest goes: a client that means it takes milliseconds */

struct exchange {
	struct exchange *next, **link; /* auth->exchanges, the oldest first */
	struct auth *auth;
	struct ipc_conn *conn;
	uint32_t id;
	enum sasl_mechanism mechanism;
	struct sasl *sasl;
	struct login *login; /* once it is known who wants in; NULL: not yet */
	bool proved;	     /* SCRAM: the proof was right */
	bool refused;	     /* its token was not good: the client has still to answer that */
	bool vouched;	     /* its token is good: whether the user may come in is being asked */
	struct token_check *check; /* NULL: nobody is being asked about its token */
	char service[17];
	char remote[65];
};

static void exchange_free(struct exchange *x)
{
	*x->link = x->next;
	if (x->next != NULL)
		x->next->link = x->link;
	else
		x->auth->exchanges_tail = x->link;
	x->auth->exchange_count--;
	if (x->check != NULL)
		token_check_drop(x->check);
	if (x->login != NULL && x->vouched)
		login_let_go(x->login);
	else if (x->login != NULL)
		login_drop(x->login);
	sasl_free(&x->sasl);
	free(x);
}

static struct login_ask ask_for(const struct exchange *x, struct span user)
{
	return (struct login_ask){.service = span_str(x->service), .user = user, .remote = span_str(x->remote), .mechanism = sasl_mechanism_name(x->mechanism)};
}

/* It may be gone afterwards: what it was for is the login's from here on. */
static struct login *take_login(struct exchange *x)
{
	struct login_ask ask = ask_for(x, sasl_user(x->sasl));
	struct login *login = x->login != NULL ? x->login : login_new(x->auth, x->conn, x->id, &ask);

	x->login = NULL;
	return login;
}

static bool may_act_as(const struct exchange *x, const struct login *login)
{
	struct span other = sasl_authzid(x->sasl);

	return other.len == 0 || login_is_user(login, other);
}

/* All ends of an exchange are answers to a login. */
static void finish(struct exchange *x, int code, const char *reason)
{
	struct login *login = take_login(x);

	if (login == NULL) {
		/* Answered. */
	} else if (code == 0 && !may_act_as(x, login)) {
		login_end(login, E_AUTHFAILED, "acts-for-another");
	} else if (code == 0) {
		login_proved(login);
	} else {
		login_end(login, code, reason);
	}
	exchange_free(x);
}

static void check_password(struct exchange *x)
{
	struct login *login = take_login(x);

	if (login != NULL && !may_act_as(x, login))
		login_end(login, E_AUTHFAILED, "acts-for-another");
	else if (login != NULL)
		login_by_password(login, sasl_secret(x->sasl));
	exchange_free(x);
}

/* A certificate says who it is; of users of the machine PAM may still have another opinion. */
static void take_identity(struct exchange *x)
{
	struct login *login = take_login(x);

	if (login != NULL && !may_act_as(x, login))
		login_end(login, E_AUTHFAILED, "acts-for-another");
	else if (login != NULL)
		login_vouched(login, NULL, NULL);
	exchange_free(x);
}

/* ---- bearer tokens ---- */

static void send_challenge(struct exchange *x)
{
	struct auth_sasl_challenge body = {.challenge = sasl_challenge(x->sasl)};

	ipc_conn_answer(x->conn, &ipc_auth_sasl_challenge, x->id, &body, -1);
}

/* It has failed now: a client that leaves before it is told has guessed all the same. */
static void refuse_token(struct exchange *x, const char *reason, const char *status)
{
	char configuration[TOKEN_CONFIGURATION_MAX];
	const struct sasl_refusal refusal = token_refusal(daemon_conf(x->auth->daemon), status, configuration);

	login_is_wrong(x->login, reason);
	x->refused = true;
	if (sasl_refuse_token(x->sasl, &refusal) == SASL_CHALLENGE)
		send_challenge(x);
	else
		finish(x, E_AUTHFAILED, reason);
}

/* Who did not say who it is, is whom the token names. */
static bool take_name_of_token(struct exchange *x, const char *user)
{
	struct login_ask ask = ask_for(x, span_str(user));

	login_drop(x->login);
	x->login = login_new(x->auth, x->conn, x->id, &ask);
	return x->login != NULL && login_find(x->login) == 0;
}

/* Whom the machine does not let in is told as one whose token is not good: the client may ask for another user's. */
static void on_vouched(void *arg, int code, const char *reason)
{
	struct exchange *x = arg;

	x->vouched = false;
	if (code == E_AUTHFAILED)
		refuse_token(x, reason, "invalid_token");
	else
		finish(x, code, reason);
}

static void take_token(struct exchange *x, const char *user)
{
	if (strchr(user, '@') == NULL) { /* what others name so is nobody's here: a name is completed for who types it */
		refuse_token(x, "unknown-user", "invalid_token");
	} else if (sasl_user(x->sasl).len == 0 && !take_name_of_token(x, user)) {
		if (x->login != NULL)
			finish(x, E_IO, err_text(E_IO));
		else
			exchange_free(x); /* the login has answered */
	} else if (!login_is_user(x->login, span_str(user))) {
		refuse_token(x, "token-of-another", "invalid_token");
	} else if (login_why_not(x->login) != NULL) {
		refuse_token(x, login_why_not(x->login), "invalid_token");
	} else {
		x->vouched = true;
		login_vouched(x->login, on_vouched, x);
	}
}

static void on_token(void *arg, const struct token_word *word)
{
	struct exchange *x = arg;

	x->check = NULL;
	if (word->code == 0)
		take_token(x, word->user);
	else if (word->code == E_AUTHFAILED)
		refuse_token(x, word->reason, word->status);
	else
		finish(x, word->code, word->reason);
}

static void check_token(struct exchange *x)
{
	int r;

	x->login = take_login(x);
	if (x->login == NULL) {
		exchange_free(x);
		return;
	}
	r = login_find(x->login);
	if (r != 0) {
		finish(x, r, err_text(r));
		return;
	}
	if (!login_may_show_token(x->login)) {
		x->login = NULL; /* answered */
		exchange_free(x);
		return;
	}
	x->check = token_check_new(x->auth->tokens, sasl_secret(x->sasl), on_token, x);
	if (x->check == NULL)
		finish(x, E_UNAVAILABLE, "overload");
}

/* ---- keys ---- */

/* 0: *step is the next one. */
static int give_keys(struct exchange *x, enum sasl_step *step)
{
	struct scram_keys keys;
	int r;

	x->login = take_login(x);
	if (x->login == NULL)
		return E_NOMEM;
	r = login_keys(x->login, scram_size(x->mechanism), &keys);
	if (r == 0)
		*step = sasl_keys(x->sasl, &keys);
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

static void go_on(struct exchange *x, enum sasl_step step)
{
	int r = step == SASL_KEYS ? give_keys(x, &step) : 0;

	if (r != 0 && x->login == NULL) {
		exchange_free(x); /* the login has answered */
		return;
	}
	if (r != 0) {
		finish(x, r, err_text(r));
		return;
	}
	switch (step) {
	case SASL_CHALLENGE:
		send_challenge(x);
		break;
	case SASL_PASSWORD:
		check_password(x);
		break;
	case SASL_IDENTITY:
		take_identity(x);
		break;
	case SASL_TOKEN:
		check_token(x);
		break;
	case SASL_DONE:
		finish(x, 0, NULL);
		break;
	case SASL_WRONG:
		finish(x, E_AUTHFAILED, "proof");
		break;
	case SASL_STARVED:
		finish(x, E_NOMEM, err_text(E_NOMEM));
		break;
	default:
		finish(x, E_SYNTAX, "malformed");
		break;
	}
}

/* Of SCRAM: who knows the account has still to prove it, and then has only to say that it is done. */
static void take_proof(struct exchange *x, struct span response)
{
	enum sasl_step step;
	int r;

	if (!x->proved && !login_may_prove(x->login)) {
		x->login = NULL; /* answered */
		exchange_free(x);
		return;
	}
	step = sasl_respond(x->sasl, response);
	r = step == SASL_CHALLENGE || step == SASL_DONE ? login_keys_hold(x->login, scram_size(x->mechanism)) : 0;
	if (r != 0) {
		finish(x, r, r == E_AUTHFAILED ? "proof" : err_text(r));
		return;
	}
	if (!x->proved && step == SASL_CHALLENGE) {
		x->proved = true;
		login_is_right(x->login);
	}
	go_on(x, step);
}

static void answer_busy(struct ipc_conn *conn, uint32_t id)
{
	struct auth_login_answer answer = {.code = E_UNAVAILABLE, .text = SPAN_LIT("Too many logins at once; try again later")};

	ipc_conn_answer(conn, &ipc_auth_login_answer, id, &answer, -1);
}

static struct exchange *exchange_new(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_sasl_begin *ask)
{
	struct sasl_channel channel = {.plus_offered = ask->plus_offered,
	    .exporter = ask->exporter,
	    .unique = ask->unique,
	    .endpoint = ask->endpoint,
	    .certificate = ask->certificate};
	struct exchange *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->auth = auth;
	x->conn = conn;
	x->id = id;
	span_copy(ask->service, x->service, sizeof(x->service));
	span_copy(ask->remote, x->remote, sizeof(x->remote));
	if (sasl_mechanism_find(ask->mechanism, &x->mechanism))
		x->sasl = sasl_new(x->mechanism, &channel);
	if (x->sasl == NULL) {
		free(x);
		return NULL;
	}
	if (auth->exchange_count == EXCHANGES_MAX)
		exchange_free(auth->exchanges); /* its client is told when it says something */
	if (auth->exchanges_tail == NULL)
		auth->exchanges_tail = &auth->exchanges;
	x->link = auth->exchanges_tail;
	*auth->exchanges_tail = x;
	auth->exchanges_tail = &x->next;
	auth->exchange_count++;
	return x;
}

static struct exchange *find(struct auth *auth, const struct ipc_conn *conn, uint32_t id)
{
	for (struct exchange *x = auth->exchanges; x != NULL; x = x->next)
		if (x->id == id && x->conn == conn)
			return x;
	return NULL;
}

void auth_sasl_start(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_sasl_begin *ask)
{
	struct exchange *x = find(auth, conn, id) == NULL ? exchange_new(auth, conn, id, ask) : NULL;
	enum sasl_step step;

	if (x == NULL) {
		answer_busy(conn, id);
		return;
	}
	step = sasl_begin(x->sasl);
	if (ask->initial && step == SASL_CHALLENGE)
		step = sasl_respond(x->sasl, ask->response);
	go_on(x, step);
}

void auth_sasl_next(struct auth *auth, struct ipc_conn *conn, uint32_t id, struct span response)
{
	struct exchange *x = find(auth, conn, id);

	if (x == NULL)
		answer_busy(conn, id);
	else if (x->vouched || x->check != NULL)
		return; /* nothing was asked */
	else if (x->refused)
		finish(x, E_AUTHFAILED, "token"); /* whatever it says (RFC 7628 section 3.2.3) */
	else if (x->login == NULL)
		go_on(x, sasl_respond(x->sasl, response));
	else
		take_proof(x, response);
}

void auth_sasl_end(struct auth *auth, struct ipc_conn *conn, uint32_t id)
{
	struct exchange *x = find(auth, conn, id);

	if (x != NULL)
		exchange_free(x);
}

void auth_sasl_forget(struct auth *auth, struct ipc_conn *conn)
{
	struct exchange *next;

	for (struct exchange *x = auth->exchanges; x != NULL; x = next) {
		next = x->next;
		if (x->conn == conn)
			exchange_free(x);
	}
}
