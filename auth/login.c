/* One login: look up, hash beside the loop, delay what failed, answer with a grant. */
#include "auth/auth.h"

#include "auth/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"
#include "sasl/sasl.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	LOGIN_GRANT_SECONDS = 30, /* the spawner is asked at once */
	LOGIN_DELAY_MAX = 15,	  /* seconds */
	LOGIN_SPRAY_MAX = 20,	  /* failures of one address, whatever the account, that cost nothing more */
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
	uint64_t source;
	struct account account;
	bool known;
	int code;
	char user[DIRECTORY_ADDRESS_MAX + 1];
	char service[17];
	char remote[65];
};

static uint64_t key_of(const struct failures *f, const char *a, const char *b)
{
	unsigned char hash[crypto_shorthash_BYTES];
	char text[512];
	uint64_t key;
	int n = snprintf(text, sizeof(text), "%s\n%s", a, b);

	crypto_shorthash(hash, (const unsigned char *)text, (unsigned long long)n, f->secret);
	memcpy(&key, hash, sizeof(key));
	return key;
}

static struct failure *failure_of(struct failures *f, uint64_t key)
{
	struct failure *slot = &f->slots[key % LOGIN_SLOTS];

	if (slot->key != key || clock_monotonic_ms() - slot->last_ms > LOGIN_FORGET_MS)
		*slot = (struct failure){.key = key};
	return slot;
}

/* Stands for the client's address, of IPv6 for its /64, which is one customer. Never 0. */
static uint64_t source_of(const struct failures *f, const char *remote)
{
	unsigned char binary[16];
	char prefix[INET6_ADDRSTRLEN];

	if (inet_pton(AF_INET6, remote, binary) != 1)
		return key_of(f, remote, "") | 1;
	memset(binary + 8, 0, 8);
	return key_of(f, inet_ntop(AF_INET6, binary, prefix, sizeof(prefix)), "") | 1;
}

void login_drop(struct login *login)
{
	*login->link = login->next;
	if (login->next != NULL)
		login->next->link = login->link;
	if (login->timer != NULL)
		event_free(login->timer);
	explicit_bzero(login, sizeof(*login));
	free(login);
}

static struct span text_of(int code)
{
	if (code == E_AUTHFAILED)
		return SPAN_LIT("User name or password is wrong");
	if (code == E_SYNTAX)
		return SPAN_LIT("The response is not what the mechanism wants");
	return code == E_UNAVAILABLE ? SPAN_LIT("Too many logins at once; try again later")
				     : SPAN_LIT("The login cannot be checked now; try again later");
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
		answer.text = text_of(login->code);
	}
	if (login->conn != NULL)
		ipc_conn_send(login->conn, &ipc_auth_login_answer, login->id, &answer, -1);
	login_drop(login);
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
	else if (login->code != E_AUTHFAILED && login->code != E_UNAVAILABLE && login->code != E_SYNTAX)
		log_event(EV_auth_error, daemon_log(login->auth->daemon), F_STR("user", login->user),
		    F_STR("service", login->service), F_STR("rip", login->remote), F_STR("error", reason));
	else
		log_event(EV_auth_failed, daemon_log(login->auth->daemon), F_STR("user", login->user),
		    F_STR("service", login->service), F_STR("rip", login->remote), F_STR("reason", reason));
}

/* One more failure; seconds to wait for its answer: none for the first `allowed`, then 1, 2, 4, 8, 15. */
static time_t note_failure(struct failure *failure, unsigned allowed)
{
	unsigned over = failure->count >= allowed ? failure->count - allowed : 0;
	time_t wait = failure->count < allowed ? 0 : over > 3 ? LOGIN_DELAY_MAX : 1 << over;

	failure->last_ms = clock_monotonic_ms();
	failure->count++;
	return wait;
}

/*
 * A typo costs nothing, guessing does: of one account from one address, and of many accounts from one address. A right
 * password never waits.
 */
void login_end(struct login *login, int code, const char *reason)
{
	struct failures *f = login->auth->failures;
	struct failure *failure = failure_of(f, key_of(f, login->remote, login->user));
	struct timeval tv = {0};

	login->code = code;
	login_log(login, reason);
	if (code == 0) {
		failure->count = 0;
		login_answer(login);
		return;
	}
	if (code == E_AUTHFAILED) {
		tv.tv_sec = note_failure(failure, 1);
		if (!conf_in_networks(daemon_conf(login->auth->daemon), CONF_unlimited_from, NULL, span_str(login->remote))) {
			time_t wait = note_failure(failure_of(f, login->source), LOGIN_SPRAY_MAX);

			tv.tv_sec = wait > tv.tv_sec ? wait : tv.tv_sec;
		}
	}
	evtimer_add(login->timer, &tv);
}

/* Keys that were missing, and a hash in place of an imported one; when that fails the next login does it. */
static void renew(struct login *login, const struct credentials *made)
{
	struct err err = {0};
	int r = directory_credentials_put(login->auth->directory, login->account.id, login->account.credentials.hash, made, &err);

	if (r != 0 && r != E_NOTFOUND)
		log_event(EV_auth_error, daemon_log(login->auth->daemon), F_STR("user", login->user), F_STR("service", login->service),
		    F_STR("rip", login->remote), F_ERR(&err));
}

void login_proved(struct login *login)
{
	if (login->account.disabled)
		login_end(login, E_AUTHFAILED, "disabled");
	else
		login_end(login, 0, NULL);
}

static void on_checked(void *arg, int code, const struct credentials *made)
{
	struct login *login = arg;

	if (made != NULL)
		renew(login, made);
	if (code == 0)
		login_proved(login);
	else
		login_end(login, code, code == E_UNAVAILABLE ? "overload" : code != E_AUTHFAILED ? err_text(code)
			: login->known ? "password" : "unknown-user");
}

/* Not to be found is no error: the password is checked all the same, so that it takes as long. */
static int find_account(struct auth *auth, struct login *login)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	int r = address_canonical(span_str(login->user), canonical, NULL);

	if (r == 0)
		r = directory_account_get(auth->directory, span_str(canonical), &login->account);
	login->known = r == 0 && login->account.credentials.hash[0] != '\0';
	return err_is_temp(r) ? r : 0;
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

static void refuse(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct login_ask *ask)
{
	struct auth_login_answer answer = {.code = E_NOMEM, .text = text_of(E_NOMEM)};

	log_event(EV_auth_error, daemon_log(auth->daemon), F_SPAN("user", ask->user), F_SPAN("service", ask->service),
	    F_SPAN("rip", ask->remote), F_STR("error", err_text(E_NOMEM)));
	ipc_conn_send(conn, &ipc_auth_login_answer, id, &answer, -1);
}

struct login *login_new(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct login_ask *ask)
{
	struct login *login = calloc(1, sizeof(*login));

	if (login == NULL || failures_make(auth) != 0) {
		free(login);
		refuse(auth, conn, id, ask);
		return NULL;
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
		login_drop(login);
		refuse(auth, conn, id, ask);
		return NULL;
	}
	login->source = source_of(auth->failures, login->remote);
	return login;
}

void login_by_password(struct login *login, struct span password)
{
	struct auth *auth = login->auth;
	int r = find_account(auth, login);

	if (r == 0)
		r = password_check(auth->passwords, login->source, login->account.id, login->known ? &login->account.credentials : NULL, password,
		    on_checked, login);
	if (r != 0)
		login_end(login, r, r == E_UNAVAILABLE ? "overload" : err_text(r));
}

int login_keys(struct login *login, size_t size, struct scram_keys *out)
{
	const struct credentials *have = &login->account.credentials;
	int r = find_account(login->auth, login);

	if (r != 0)
		return r;
	if (!login->known || !scram_parse(span_str(size == 20 ? have->scram_sha_1 : have->scram_sha_256), out))
		scram_make_up(size, login->auth->scram_secret, span_str(login->user), out);
	return 0;
}

bool login_is_user(const struct login *login, struct span name)
{
	char own[DIRECTORY_ADDRESS_MAX + 1], other[DIRECTORY_ADDRESS_MAX + 1];

	return address_canonical(span_str(login->user), own, NULL) == 0 && address_canonical(name, other, NULL) == 0 && strcmp(own, other) == 0;
}

void auth_login_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_login *ask)
{
	struct login_ask who = {ask->service, ask->user, ask->remote};
	struct login *login = login_new(auth, conn, id, &who);

	if (login != NULL)
		login_by_password(login, ask->password);
}

void auth_login_forget(struct auth *auth, struct ipc_conn *conn)
{
	struct login *login = auth->failures ? auth->failures->pending : NULL;

	for (; login != NULL; login = login->next)
		if (login->conn == conn)
			login->conn = NULL;
}
