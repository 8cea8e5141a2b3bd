/* One login: look up, hash beside the loop, delay what failed, answer with a grant. */
#include "auth/auth.h"

#include "auth/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	LOGIN_GRANT_SECONDS = 30, /* the spawner is asked at once */
	LOGIN_DELAY_MAX = 15,	  /* seconds */
	LOGIN_SLOTS = 4096,
	LOGIN_FORGET_MS = 10 * 60 * 1000,
};

/* Failed logins by address and account together; a fixed table, so that guessing cannot fill memory. */
struct failure {
	uint64_t key;
	int64_t last_ms;
	uint32_t count;
};

struct failures {
	unsigned char secret[crypto_shorthash_KEYBYTES];
	struct failure slots[LOGIN_SLOTS];
	struct login *pending;
};

struct login {
	struct login *next, **link;
	struct auth *auth;
	struct ipc_conn *conn; /* NULL when the asker has gone */
	struct event *timer;
	uint32_t id;
	struct account account;
	bool known;
	int code;
	char user[DIRECTORY_ADDRESS_MAX + 1];
	char service[17];
	char remote[65];
};

static struct failure *failure_of(struct failures *f, const struct login *login)
{
	unsigned char hash[crypto_shorthash_BYTES];
	char text[512];
	uint64_t key;
	int n = snprintf(text, sizeof(text), "%s\n%s", login->remote, login->user);

	crypto_shorthash(hash, (const unsigned char *)text, (unsigned long long)n, f->secret);
	memcpy(&key, hash, sizeof(key));
	struct failure *slot = &f->slots[key % LOGIN_SLOTS];

	if (slot->key != key || clock_monotonic_ms() - slot->last_ms > LOGIN_FORGET_MS)
		*slot = (struct failure){.key = key};
	return slot;
}

static void login_free(struct login *login)
{
	*login->link = login->next;
	if (login->next != NULL)
		login->next->link = login->link;
	if (login->timer != NULL)
		event_free(login->timer);
	explicit_bzero(login, sizeof(*login));
	free(login);
}

static void login_answer(struct login *login)
{
	struct auth *auth = login->auth;
	unsigned char grant[GRANT_SIZE];
	struct auth_login_answer answer = {.code = login->code};

	if (login->code == 0) {
		answer.account = login->account.id;
		answer.quota = auth_quota(auth, &login->account);
		answer.address = span_str(login->account.address);
		grant_make(auth->grant_key, GRANT_LOGIN, answer.account, answer.quota, answer.address,
		    clock_wall() + LOGIN_GRANT_SECONDS, grant);
		answer.grant = span_of(grant, sizeof(grant));
		auth->logins++;
	} else {
		answer.text = login->code == E_UNAVAILABLE ? SPAN_LIT("Too many logins at once; try again later")
							   : SPAN_LIT("User name or password is wrong");
	}
	if (login->conn != NULL)
		ipc_conn_send(login->conn, &ipc_auth_login_answer, login->id, &answer, -1);
	login_free(login);
}

static void on_delay_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	login_answer(arg);
}

static void login_log(const struct login *login, const char *reason)
{
	if (login->code == 0)
		log_event(EV_auth_ok, daemon_log(login->auth->daemon), F_STR("user", login->account.address),
		    F_STR("service", login->service), F_STR("rip", login->remote));
	else
		log_event(EV_auth_failed, daemon_log(login->auth->daemon), F_STR("user", login->user),
		    F_STR("service", login->service), F_STR("rip", login->remote), F_STR("reason", reason));
}

/* 0 s for the first failure, then 1, 2, 4 ... 15: a typo costs nothing, guessing does. */
static void login_end(struct login *login, int code, const char *reason)
{
	struct failure *failure = failure_of(login->auth->failures, login);
	struct timeval tv = {0};

	login->code = code;
	login_log(login, reason);
	if (code == 0) {
		failure->count = 0;
		login_answer(login);
		return;
	}
	if (code == E_AUTHFAILED) {
		failure->last_ms = clock_monotonic_ms();
		if (failure->count > 0)
			tv.tv_sec = failure->count > 4 ? LOGIN_DELAY_MAX : 1 << (failure->count - 1);
		failure->count++;
	}
	evtimer_add(login->timer, &tv);
}

static void on_checked(void *arg, int code, const char *hash)
{
	struct login *login = arg;

	(void)hash;
	if (code == 0 && login->account.disabled)
		login_end(login, E_AUTHFAILED, "disabled");
	else
		login_end(login, code, login->known ? "password" : "unknown-user");
}

static void find_account(struct auth *auth, struct login *login)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];

	login->known = address_canonical(span_str(login->user), canonical, NULL) == 0 &&
		       directory_account_get(auth->directory, span_str(canonical), &login->account) == 0 &&
		       login->account.hash[0] != '\0';
}

static int failures_make(struct auth *auth)
{
	if (auth->failures != NULL)
		return 0;
	auth->failures = calloc(1, sizeof(*auth->failures));
	if (auth->failures == NULL)
		return E_NOMEM;
	randombytes_buf(auth->failures->secret, sizeof(auth->failures->secret));
	return 0;
}

int auth_login_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_login *ask)
{
	struct login *login = calloc(1, sizeof(*login));
	int r;

	if (login == NULL || failures_make(auth) != 0) {
		free(login);
		return E_NOMEM;
	}
	login->auth = auth;
	login->conn = conn;
	login->id = id;
	span_copy(ask->user, login->user, sizeof(login->user));
	span_copy(ask->service, login->service, sizeof(login->service));
	span_copy(ask->remote, login->remote, sizeof(login->remote));
	login->timer = evtimer_new(daemon_base(auth->daemon), on_delay_over, login);
	login->next = auth->failures->pending;
	login->link = &auth->failures->pending;
	if (login->next != NULL)
		login->next->link = &login->next;
	auth->failures->pending = login;
	if (login->timer == NULL) {
		login_free(login);
		return E_NOMEM;
	}
	find_account(auth, login);
	r = password_check(auth->passwords, login->account.id, login->known ? login->account.hash : NULL, ask->password,
	    on_checked, login);
	if (r != 0)
		login_end(login, E_UNAVAILABLE, "overload");
	return 0;
}

void auth_login_forget(struct auth *auth, struct ipc_conn *conn)
{
	struct login *login = auth->failures ? auth->failures->pending : NULL;

	for (; login != NULL; login = login->next)
		if (login->conn == conn)
			login->conn = NULL;
}
