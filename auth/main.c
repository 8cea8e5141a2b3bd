/* auth: who is this, and is this recipient ours? */
#include "auth/auth.h"

#include "auth/defence.h"
#include "auth/marks.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROGRAM_SECONDS = 86400 }; /* of a grant for a command: it is asked for anew with each attempt, and may have to wait its turn */
enum { GRANT_SECONDS = 2 * 86400 }; /* longer than the largest message takes at the slowest pace that is allowed */

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

static int ignore_target(void *arg, const struct recipient *r)
{
	(void)arg;
	(void)r;
	return 0;
}

static void answer_recipient(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_recipient *ask)
{
	struct auth_recipient_answer answer = {0};
	unsigned char grant[GRANT_SIZE];
	struct recipient found = {0};
	struct err err = {0};

	answer.code = auth_lookup(auth, ask->address, &found, &err);
	/* An alias that leads nowhere is refused while the sender is still there. */
	if (answer.code == 0 && found.account == 0)
		answer.code = auth_expand_each(auth, ask->address, ignore_target, NULL, &err);
	if (answer.code == 0) {
		answer.account = found.account;
		answer.quota = found.quota;
		answer.address = span_str(found.address);
		answer.detail = span_str(found.detail);
		grant_make(auth->grant_key, GRANT_RECIPIENT, found.account, found.quota, answer.address,
		    clock_wall() + GRANT_SECONDS, grant);
		answer.grant = span_of(grant, sizeof(grant));
	} else {
		answer.account = answer.code == E_DISABLED ? found.account : 0; /* its mail can still be looked after */
		answer.text = span_str(err.text);
		if (err_class(answer.code) != ERR_CLASS_PERM)
			log_event(EV_auth_directory_error, daemon_log(auth->daemon), F_ERR(&err));
	}
	ipc_conn_send(conn, &ipc_auth_recipient_answer, id, &answer, -1);
}

struct expanding {
	struct auth *auth;
	struct ipc_conn *conn;
	uint32_t id;
};

static int send_target(void *arg, const struct recipient *r)
{
	static const char *const refusals[] = {"an alias leads to what is no address", "an alias leads to a command, which is not allowed here",
	    "an alias leads to a file, which is not allowed here"};
	struct expanding *e = arg;
	unsigned char grant[GRANT_SIZE];
	struct auth_target target = {.code = r->code,
	    .account = r->account,
	    .quota = r->quota,
	    .address = span_str(r->address),
	    .detail = span_str(r->detail),
	    .sender = r->owner};

	if (r->code != 0) {
		target.text = span_str(refusals[r->program]);
	} else if (r->program != PROGRAM_NONE) {
		grant_make_program(e->auth->program_key, r->program, r->name, r->text, clock_wall() + PROGRAM_SECONDS, grant);
		target.kind = r->program;
		target.name = r->name;
		target.program = r->text;
		target.grant = span_of(grant, sizeof(grant));
	}
	return ipc_conn_send(e->conn, &ipc_auth_target, e->id, &target, -1);
}

static void answer_expand(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_expand *ask)
{
	struct expanding e = {.auth = auth, .conn = conn, .id = id};
	struct auth_expanded done = {0};
	struct err err = {0};

	/* All or none: what was delivered before a failure would be delivered again. */
	done.code = auth_expand_each(auth, ask->address, ignore_target, NULL, &err);
	if (done.code == 0)
		done.code = auth_expand_each(auth, ask->address, send_target, &e, &err);
	done.text = span_str(err.text);
	ipc_conn_send(conn, &ipc_auth_expanded, id, &done, -1);
}

static void answer_sender(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_sender *ask)
{
	struct err err = {0};
	struct auth_sender_answer answer = {.code = auth_may_send_as(auth, ask->account, ask->address, &err)};

	answer.text = span_str(err.text);
	if (answer.code != 0 && err_class(answer.code) != ERR_CLASS_PERM)
		log_event(EV_auth_directory_error, daemon_log(auth->daemon), F_ERR(&err));
	ipc_conn_send(conn, &ipc_auth_sender_answer, id, &answer, -1);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct auth_peer *peer = arg;

	if (m->type == &ipc_auth_recipient && (peer->may & MAY_RECIPIENT))
		answer_recipient(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_expand && (peer->may & MAY_EXPAND))
		answer_expand(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_login && (peer->may & MAY_LOGIN))
		auth_login_begin(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sender && (peer->may & MAY_SENDER))
		answer_sender(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_begin && (peer->may & MAY_LOGIN))
		auth_sasl_start(peer->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_response && (peer->may & MAY_LOGIN))
		auth_sasl_next(peer->auth, conn, m->id, ((const struct auth_sasl_response *)(const void *)m->body)->response);
	else if (m->type == &ipc_auth_sasl_cancel && (peer->may & MAY_LOGIN))
		auth_sasl_end(peer->auth, conn, m->id);
	else if (m->type == &ipc_auth_password_change && (peer->may & MAY_CHANGE))
		auth_change_begin(peer->auth, conn, m->id, (const void *)m->body);
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

/* Not even the names of the store can be seen once confined. */
static int auth_prepare(struct daemon *daemon, struct err *err)
{
	struct span data = conf_text(daemon_conf(daemon), CONF_data_directory, NULL);
	struct auth *auth = daemon_state(daemon);
	char store[4096];

	(void)err;
	snprintf(store, sizeof(store), "%.*s/store", SPAN_ARG(data));
	auth->highest = numbers_highest(store);
	return 0;
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
	}
	if (r == 0 && (auth->defence == NULL || auth->marks == NULL))
		r = err_set(err, E_NOMEM, "no memory for counting failed logins");
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
