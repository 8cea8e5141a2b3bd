/* A user changes the own password: the old one is checked as at a login, with all its delays; then the new one is stored. */
#include "auth/auth.h"

#include "base/log.h"
#include "base/secret.h"
#include "net/ipc_conn.h"

#include <stdlib.h>

enum { CHANGE_LEAST = 8 }; /* octets of a new password */

struct change {
	struct change *next, **link; /* auth->changes */
	struct auth *auth;
	struct ipc_conn *conn; /* NULL when the asker has gone */
	uint32_t id;
	struct account account;
	struct secret wanted;
};

static void change_free(struct change *change)
{
	*change->link = change->next;
	if (change->next != NULL)
		change->next->link = change->link;
	explicit_bzero(change, sizeof(*change));
	free(change);
}

static void send_answer(struct ipc_conn *conn, uint32_t id, int code, struct span text)
{
	struct auth_password_changed answer = {.code = code, .text = span_sub(text, 0, 256)};

	if (conn != NULL)
		ipc_conn_answer(conn, &ipc_auth_password_changed, id, &answer, -1);
}

static void change_end(struct change *change, int code, struct span text)
{
	send_answer(change->conn, change->id, code, text);
	change_free(change);
}

/* Of the account as it was when the old password was right: who was faster wins. */
static void on_made(void *arg, int code, const struct credentials *made)
{
	struct change *change = arg;
	const struct account *account = &change->account;
	struct err err = {0};

	if (code == 0)
		code = directory_credentials_put(change->auth->directory, account->id, account->credentials.hash, made, &err);
	if (code != 0) {
		if (code != E_UNAVAILABLE && code != E_NOTFOUND)
			log_event(EV_auth_directory_error, daemon_log(change->auth->daemon), F_STR("error", err.text[0] ? err.text : err_text(code)));
		change_end(change, E_UNAVAILABLE, SPAN_LIT("The password cannot be changed now; try again later"));
		return;
	}
	log_event(EV_auth_directory_changed, daemon_log(change->auth->daemon), F_STR("kind", "account"), F_STR("change", "own-password"),
	    F_STR("object", account->address));
	auth_kick(change->auth, account->id);
	change_end(change, 0, span_str(""));
}

static void on_login(void *arg, int code, struct span text, const struct account *account)
{
	struct change *change = arg;

	if (code != 0) {
		change_end(change, code, text);
		return;
	}
	if (account->system) {
		change_end(change, E_UNSUPPORTED, SPAN_LIT("This is the password of a user of the machine, which is changed there: passwd(1)"));
		return;
	}
	change->account = *account;
	if (password_make(change->auth->passwords, secret_span(&change->wanted), on_made, change) != 0)
		change_end(change, E_UNAVAILABLE, SPAN_LIT("The password cannot be changed now; try again later"));
}

static const char *what_is_wrong(const struct auth_password_change *ask)
{
	if (ask->wanted.len < CHANGE_LEAST)
		return "The new password is shorter than 8 characters";
	if (memchr(ask->wanted.ptr, '\0', ask->wanted.len) != NULL)
		return "The new password has a character that cannot be typed";
	return span_eq(ask->wanted, ask->old) ? "The new password is the old one" : NULL;
}

void auth_change_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_password_change *ask)
{
	const char *wrong = what_is_wrong(ask);
	struct change *change = wrong == NULL ? calloc(1, sizeof(*change)) : NULL;
	struct login_ask who = {.service = ask->service, .user = ask->user, .remote = ask->remote, .mechanism = "password-change", .answered = on_login, .arg = change};
	struct login *login;

	if (change == NULL) {
		send_answer(conn, id, wrong != NULL ? E_SYNTAX : E_NOMEM, wrong != NULL ? span_str(wrong) : SPAN_LIT("Try again later"));
		return;
	}
	change->auth = auth;
	change->conn = conn;
	change->id = id;
	secret_set(&change->wanted, ask->wanted);
	change->next = auth->changes;
	change->link = &auth->changes;
	if (change->next != NULL)
		change->next->link = &change->next;
	auth->changes = change;
	login = login_new(auth, conn, id, &who);
	if (login != NULL)
		login_by_own_password(login, ask->old);
}

void auth_change_forget(struct auth *auth, struct ipc_conn *conn)
{
	for (struct change *change = auth->changes; change != NULL; change = change->next)
		if (change->conn == conn)
			change->conn = NULL;
}
