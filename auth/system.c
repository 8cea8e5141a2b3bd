#include "auth/system.h"

#include "auth/auth.h"
#include "auth/machine_user.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { SYSTEM_ROWS = 1024 }; /* of the table of names */

struct waiting {
	struct waiting *next;
	void (*fn)(void *arg);
	void *arg;
};

/* A name that was asked for. */
struct known {
	struct known *same;	       /* of one row */
	struct known *newer, *older;   /* by when it was asked for */
	struct waiting *waiting;
	uint32_t id;	   /* of the question */
	bool asked;	   /* and not yet answered */
	int code;
	int64_t until_ms;
	struct system_user user;
	char name[MACHINE_USER_NAME_MAX + 1];
};

struct login_asked {
	struct login_asked *next;
	uint32_t id;
	system_done *done;
	void *arg;
};

struct system_users {
	struct auth *auth;
	struct ipc_conn *conn; /* to auth-pam; NULL while there is none */
	struct known *rows[SYSTEM_ROWS];
	struct known *newest, *oldest, *last; /* last: that was looked for */
	struct login_asked *logins;
	unsigned known_count, waiting_count, login_count;
	uint32_t next_id;
	unsigned char key[crypto_shorthash_KEYBYTES];
};

struct system_users *system_users_new(struct auth *auth)
{
	struct system_users *users = calloc(1, sizeof(*users));

	if (users == NULL)
		return NULL;
	users->auth = auth;
	randombytes_buf(users->key, sizeof(users->key));
	return users;
}

bool system_is_domain(const struct auth *auth, struct span domain)
{
	const struct conf *conf = daemon_conf(auth->daemon);
	struct conf_where where = {.domain = conf_domain_find(conf, domain)};

	return where.domain != NULL && span_eq(conf_text(conf, CONF_accounts, &where), SPAN_LIT("system"));
}

struct span system_name(const struct auth *auth, struct span address)
{
	struct span name = span_sub(address, 0, span_find(address, '@'));
	bool fits = machine_user_name_is_valid(name) && system_is_domain(auth, span_from(address, name.len + 1));

	return fits ? name : span_str("");
}

bool system_has_mailbox(const struct auth *auth, const struct system_user *user)
{
	return machine_user_has_mailbox(user->uid, conf_u64(daemon_conf(auth->daemon), CONF_system_first_uid, NULL));
}

/* ---- what is known ---- */

static struct known **row_of(struct system_users *users, struct span name)
{
	unsigned char hash[crypto_shorthash_BYTES];
	uint32_t index;

	crypto_shorthash(hash, (const unsigned char *)name.ptr, name.len, users->key);
	memcpy(&index, hash, sizeof(index));
	return &users->rows[index % SYSTEM_ROWS];
}

static struct known *known_find(struct system_users *users, struct span name)
{
	struct known *k = *row_of(users, name);

	while (k != NULL && !span_eq(span_str(k->name), name))
		k = k->same;
	return k;
}

static void known_drop(struct system_users *users, struct known *k)
{
	struct known **link = row_of(users, span_str(k->name));

	while (*link != k)
		link = &(*link)->same;
	*link = k->same;
	*(k->newer != NULL ? &k->newer->older : &users->newest) = k->older;
	*(k->older != NULL ? &k->older->newer : &users->oldest) = k->newer;
	if (users->last == k)
		users->last = NULL;
	users->known_count--;
	free(k);
}

/* For one more the oldest goes that nobody waits for. */
static void make_room(struct system_users *users)
{
	struct known *k = users->oldest;

	while (k != NULL && k->asked)
		k = k->newer;
	if (k != NULL)
		known_drop(users, k);
}

static struct known *known_add(struct system_users *users, struct span name)
{
	struct known **row = row_of(users, name), *k;

	if (users->known_count == SYSTEM_KEPT_MAX)
		make_room(users);
	k = users->known_count < SYSTEM_KEPT_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL)
		return NULL;
	span_copy(name, k->name, sizeof(k->name));
	k->same = *row;
	*row = k;
	k->older = users->newest;
	*(k->older != NULL ? &k->older->newer : &users->oldest) = k;
	users->newest = k;
	users->known_count++;
	return k;
}

void system_forget(struct system_users *users)
{
	for (struct known *k = users->newest, *older; k != NULL; k = older) {
		older = k->older;
		if (!k->asked)
			known_drop(users, k);
	}
}

/* ---- questions ---- */

static int ask(struct system_users *users, struct span name, struct known *old)
{
	struct pam_find body = {.user = name};
	struct known *k;

	if (users->conn == NULL)
		return E_CLOSED;
	if (old != NULL)
		known_drop(users, old);
	k = known_add(users, name);
	if (k == NULL)
		return E_LIMIT;
	k->id = ++users->next_id;
	if (ipc_conn_send(users->conn, &ipc_pam_find, k->id, &body, -1) != 0) {
		known_drop(users, k);
		return E_CLOSED;
	}
	k->asked = true;
	users->last = k;
	return E_AGAIN;
}

int system_find(struct system_users *users, struct span name, struct system_user *out)
{
	struct known *k;

	if (!machine_user_name_is_valid(name))
		return E_NOTFOUND;
	if (users == NULL)
		return E_CLOSED;
	k = known_find(users, name);
	if (k == NULL || (!k->asked && k->until_ms < clock_monotonic_ms()))
		return ask(users, name, k);
	if (k->asked) {
		users->last = k;
		return E_AGAIN;
	}
	if (k->code == 0)
		*out = k->user;
	return k->code;
}

bool system_is_remembered(struct system_users *users, struct span name)
{
	struct known *k = users != NULL ? known_find(users, name) : NULL;

	return k != NULL && !k->asked && k->until_ms >= clock_monotonic_ms();
}

int system_wait(struct system_users *users, void (*fn)(void *arg), void *arg)
{
	struct waiting *w;

	if (users == NULL || users->last == NULL || !users->last->asked || users->waiting_count == SYSTEM_WAITING_MAX)
		return E_LIMIT;
	w = malloc(sizeof(*w));
	if (w == NULL)
		return E_NOMEM;
	*w = (struct waiting){.next = users->last->waiting, .fn = fn, .arg = arg};
	users->last->waiting = w;
	users->waiting_count++;
	return 0;
}

/* Whoever waited may look for others at once: nothing of what is known is touched afterwards. */
static void call_waiting(struct system_users *users, struct waiting *list)
{
	while (list != NULL) {
		struct waiting one = *list;

		free(list);
		list = one.next;
		users->waiting_count--;
		one.fn(one.arg);
	}
}

static void known_answered(struct system_users *users, struct known *k, int code)
{
	struct waiting *list = k->waiting;

	k->asked = false;
	k->waiting = NULL;
	k->code = code;
	k->until_ms = clock_monotonic_ms() + (code == 0 ? SYSTEM_KEEP_MS : code == E_NOTFOUND ? SYSTEM_KEEP_NOT_MS : SYSTEM_KEEP_FAILED_MS);
	call_waiting(users, list);
}

static void take_found(struct system_users *users, uint32_t id, const struct pam_found *found)
{
	struct known *k = users->newest;

	while (k != NULL && !(k->asked && k->id == id))
		k = k->older;
	if (k == NULL)
		return;
	k->user.uid = found->uid;
	span_copy(found->name, k->user.name, sizeof(k->user.name));
	if (found->stamp.len == SYSTEM_STAMP)
		memcpy(k->user.stamp, found->stamp.ptr, SYSTEM_STAMP);
	known_answered(users, k, found->code);
}

/* ---- logins ---- */

int system_login(struct system_users *users, const struct system_login *ask, struct span password, system_done *done, void *arg)
{
	struct pam_login body = {.user = ask->user, .service = ask->service, .remote = ask->remote, .proved = ask->proved, .password = password};
	struct login_asked *l;
	int r;

	if (users == NULL || users->conn == NULL)
		return E_CLOSED;
	l = users->login_count < SYSTEM_LOGINS_MAX ? malloc(sizeof(*l)) : NULL;
	if (l == NULL)
		return E_LIMIT;
	*l = (struct login_asked){.next = users->logins, .id = ++users->next_id, .done = done, .arg = arg};
	r = ipc_conn_send(users->conn, &ipc_pam_login, l->id, &body, -1);
	if (r != 0) {
		free(l);
		return E_CLOSED;
	}
	users->logins = l;
	users->login_count++;
	return 0;
}

static void login_answered(struct system_users *users, struct login_asked **link, int code, int64_t spent_us)
{
	struct login_asked l = **link;

	free(*link);
	*link = l.next;
	users->login_count--;
	l.done(l.arg, code, spent_us);
}

static void take_login(struct system_users *users, uint32_t id, const struct pam_login_answer *answer)
{
	struct login_asked **link = &users->logins;

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	if (*link != NULL)
		login_answered(users, link, answer->code, (int64_t)(answer->spent_us & INT64_MAX));
}

/* ---- the connection to auth-pam ---- */

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct system_users *users = arg;

	(void)conn;
	if (m->type == &ipc_pam_found)
		take_found(users, m->id, (const void *)m->body);
	else
		take_login(users, m->id, (const void *)m->body);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct system_users *users = arg;

	(void)conn;
	users->conn = NULL;
	log_event(EV_ipc_peer_lost, daemon_log(users->auth->daemon), F_STR("service", "pam"));
	daemon_peer_lost(users->auth->daemon, "pam");
	while (users->logins != NULL)
		login_answered(users, &users->logins, E_CLOSED, 0);
	for (struct known *k = users->newest, *older; k != NULL; k = older) {
		older = k->older; /* who is told of this one asks for nobody: there is no connection */
		if (k->asked)
			known_answered(users, k, E_CLOSED);
	}
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

void system_connect(struct system_users *users, int fd)
{
	ipc_conn_lose(&users->conn); /* auth-pam has died, and its end is not yet seen */
	users->conn = ipc_conn_new(daemon_base(users->auth->daemon), fd, &ipc_service_pam, TO_CLIENT, &callbacks, users);
}

/* ---- accounts ---- */

int system_account_make(struct auth *auth, struct span address, const struct system_user *user, struct account *out)
{
	char name[sizeof(user->name)];
	struct err err = {0};
	size_t len = 0;
	int r;

	*out = (struct account){.quota = UINT64_MAX, .system = true};
	span_copy(address, out->address, sizeof(out->address));
	/* What an account's name may not have is left out. */
	for (size_t i = 0; user->name[i] != '\0'; i++)
		if ((unsigned char)user->name[i] >= ' ' && user->name[i] != 0x7f)
			name[len++] = user->name[i];
	account_set_name(out, span_of(name, len));
	r = directory_account_add(auth->directory, out, &err);
	if (r != 0)
		log_event(EV_auth_directory_error, daemon_log(auth->daemon), F_ERR(&err));
	else
		log_event(EV_auth_directory_changed, daemon_log(auth->daemon), F_STR("kind", "account"), F_STR("change", "system-user"),
		    F_STR("object", out->address));
	return r;
}
