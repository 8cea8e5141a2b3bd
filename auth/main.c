/* auth: who is this, and is this recipient ours? */
#include "auth/auth.h"

#include "auth/defence.h"
#include "auth/marks.h"
#include "auth/system.h"
#include "auth/token.h"
#include "base/log.h"
#include "net/control.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of answers that a peer has not taken yet; with more it asks nothing further. One expansion, the longest answer, is less than half of what may wait. */
enum { UNREAD_MAX = 1024 * 1024 };

/* What a role may ask: decided by who is connected, which master says, not by what the peer says. */
enum { MAY_RECIPIENT = 1, MAY_EXPAND = 2, MAY_LOGIN = 4, REMEMBERS = 8, MAY_SENDER = 16, MAY_CHANGE = 32 };

static const struct {
	const char *role;
	unsigned may;
} permissions[] = {{"smtpd", MAY_RECIPIENT | REMEMBERS}, {"lmtpd", MAY_RECIPIENT}, {"queue", MAY_EXPAND},
    {"deliver", MAY_RECIPIENT}, {"imapd", MAY_LOGIN},
    {"submission", MAY_RECIPIENT | REMEMBERS | MAY_LOGIN | MAY_SENDER},
    {"web", MAY_LOGIN | MAY_CHANGE}}; /* what will be webmail */

/* One connected daemon. */
struct auth_peer {
	struct auth_peer *next, **link;
	struct auth *auth;
	struct ipc_conn *conn;
	unsigned may;
};

static int take_login(struct auth_peer *peer, struct ipc_conn *conn, struct ipc_message *m)
{
	if (m->type == &ipc_auth_login)
		auth_login_begin(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_begin)
		auth_sasl_start(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_response)
		auth_sasl_next(peer->auth, conn, m->id, ((const struct auth_sasl_response *)(const void *)m->body)->response);
	else if (m->type == &ipc_auth_sasl_cancel)
		auth_sasl_end(peer->auth, conn, m->id);
	else
		return E_DENIED;
	return 0;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct auth_peer *peer = arg;

	const struct auth_sender *sender = (const void *)m->body;

	if (m->type == &ipc_auth_recipient && (peer->may & MAY_RECIPIENT))
		auth_question(peer->auth, conn, m->id, m->type, ((const struct auth_recipient *)(const void *)m->body)->address, 0);
	else if (m->type == &ipc_auth_expand && (peer->may & MAY_EXPAND))
		auth_question(peer->auth, conn, m->id, m->type, ((const struct auth_expand *)(const void *)m->body)->address, 0);
	else if (m->type == &ipc_auth_explain && (peer->may & MAY_EXPAND))
		auth_question(peer->auth, conn, m->id, m->type, ((const struct auth_explain *)(const void *)m->body)->address, 0);
	else if (m->type == &ipc_auth_sender && (peer->may & MAY_SENDER))
		auth_question(peer->auth, conn, m->id, m->type, sender->address, sender->account);
	else if (m->type == &ipc_auth_password_change && (peer->may & MAY_CHANGE))
		auth_change_begin(peer->auth, conn, m->id, (const void *)m->body);
	else if (peer->may & MAY_LOGIN)
		return take_login(peer, conn, m);
	else
		return E_DENIED;
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct auth_peer *peer = arg;

	auth_sasl_forget(peer->auth, conn);
	auth_login_forget(peer->auth, conn);
	auth_change_forget(peer->auth, conn);
	auth_question_forget(peer->auth, conn);
	*peer->link = peer->next;
	if (peer->next != NULL)
		peer->next->link = peer->link;
	free(peer);
}

static const struct ipc_conn_callbacks auth_callbacks = {on_message, on_closed};

static void auth_peer_came(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct auth_peer *peer;

	if (!serving && span_eq(service, SPAN_LIT("fetch"))) {
		tokens_service(((struct auth *)daemon_state(daemon))->tokens, fd);
		return;
	}
	if (!serving && span_eq(service, SPAN_LIT("pam"))) {
		system_connect(((struct auth *)daemon_state(daemon))->system, fd);
		return;
	}
	peer = calloc(1, sizeof(*peer));
	if (peer == NULL || !serving) {
		free(peer);
		close(fd);
		return;
	}
	peer->auth = daemon_state(daemon);
	for (size_t i = 0; i < sizeof(permissions) / sizeof(permissions[0]); i++)
		if (span_eq(role, span_str(permissions[i].role)))
			peer->may = permissions[i].may;
	peer->conn = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_auth, TO_SERVICE, &auth_callbacks, peer);
	if (peer->conn == NULL) {
		free(peer);
		return;
	}
	ipc_conn_pause_above(peer->conn, UNREAD_MAX);
	peer->next = peer->auth->peers;
	peer->link = &peer->auth->peers;
	if (peer->next != NULL)
		peer->next->link = &peer->next;
	peer->auth->peers = peer;
}

void auth_changed(struct auth *auth)
{
	const struct auth_forget body = {0};

	for (struct auth_peer *peer = auth->peers; peer != NULL; peer = peer->next)
		if ((peer->may & REMEMBERS) != 0)
			ipc_conn_send(peer->conn, &ipc_auth_forget, 0, &body, -1);
}

bool auth_kick(struct auth *auth, uint64_t account)
{
	const struct auth_kick body = {.account = account};
	bool told = true;

	logins_overtake(auth, account);
	for (struct auth_peer *peer = auth->peers; peer != NULL; peer = peer->next)
		if ((peer->may & MAY_LOGIN) != 0)
			told &= ipc_conn_send(peer->conn, &ipc_auth_kick, 0, &body, -1) == 0;
	if (!told)
		log_event(EV_auth_kick_failed, daemon_log(auth->daemon), F_U64("account", account));
	return told;
}

/* Not even the names of the store can be seen once confined. */
static int auth_prepare(struct daemon *daemon, struct err *err)
{
	struct span data = conf_text(daemon_conf(daemon), CONF_data_directory, NULL);
	struct auth *auth = daemon_state(daemon);
	char store[4096];

	snprintf(store, sizeof(store), "%.*s/store", SPAN_ARG(data));
	return numbers_highest(store, &auth->highest, err);
}

static int auth_confined(struct daemon *daemon, struct err *err)
{
	struct auth *auth = daemon_state(daemon);
	int r;

	auth->daemon = daemon;
	if (!daemon_secret(daemon, "grant", auth->grant_key, sizeof(auth->grant_key)))
		return err_set(err, E_BUG, "master gave no key for grants");
	if (!daemon_secret(daemon, "programs", auth->program_key, sizeof(auth->program_key)))
		return err_set(err, E_BUG, "master gave no key for grants of programs");
	r = directory_open(".", &auth->directory, err);
	if (r == 0 && directory_is_damaged(auth->directory))
		log_event(EV_auth_directory_error, daemon_log(daemon),
		    F_STR("error", "records are damaged: addresses that are not found are deferred; restore data.mdb, or move it away and import what `directory export` wrote"));
	if (r == 0)
		directory_reserve(auth->directory, auth->highest);
	/* Without it logins are as good as with it; only a restart can be told from the salts of those who do not exist. */
	randombytes_buf(auth->secret, sizeof(auth->secret));
	if (r == 0 && directory_secret(auth->directory, auth->secret, err) != 0)
		log_event(EV_auth_directory_error, daemon_log(daemon), F_ERR(err));
	if (r == 0) {
		auth->defence = defence_new(auth->secret);
		auth->marks = marks_new(auth);
		auth->system = system_users_new(auth);
	}
	if (r == 0 && (auth->defence == NULL || auth->marks == NULL || auth->system == NULL))
		r = err_set(err, E_NOMEM, "no memory for counting failed logins and for users of this machine");
	if (r == 0)
		r = aliases_load(auth, err);
	if (r == 0)
		r = password_pool_new(auth, &auth->passwords, err);
	if (r == 0)
		r = tokens_new(auth, &auth->tokens, err);
	if (r == 0)
		auth->control = control_server_new(daemon, auth_control, auth);
	return r;
}

/* What holds for an address may be another thing now. */
static int auth_reload(struct daemon *daemon, struct err *err)
{
	struct auth *auth = daemon_state(daemon);
	int r = aliases_load(auth, err);

	if (r != 0)
		return r;
	system_forget(auth->system);
	auth_changed(auth);
	return tokens_reload(auth->tokens, err);
}

static void auth_halt(struct daemon *daemon)
{
	struct auth *auth = daemon_state(daemon);

	marks_flush(auth->marks);
	daemon_finished(daemon);
}

static void auth_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct auth *auth = daemon_state(daemon);

	stats->total = auth->logins;
}

int main(void)
{
	static struct auth auth;
	struct daemon_spec spec = {.name = "auth",
	    .profile = profile_find("auth"),
	    .prepare = auth_prepare,
	    .confined = auth_confined,
	    .reload = auth_reload,
	    .halt = auth_halt,
	    .peer = auth_peer_came,
	    .stats = auth_stats,
	    .state = &auth};

	if (sodium_init() < 0)
		return 1;
	return daemon_run(&spec);
}
