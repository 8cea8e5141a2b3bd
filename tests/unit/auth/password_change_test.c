/* auth's messages for a change of password, as webmail will send them: auth without its process, on a directory of its own. */
#include "tests/unit/auth/fixture.h"

#include "auth/app.h"
#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/marks.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\npassword-hashes 2\n";

/* ---- the daemon ---- */

void auth_changed(struct auth *auth)
{
	(void)auth;
}

static uint64_t kicked; /* the last account whose sessions were ended */

bool auth_kick(struct auth *auth, uint64_t account)
{
	logins_overtake(auth, account);
	kicked = account;
	return true;
}

/* ---- a client at the other end of a channel ---- */

struct world {
	struct auth auth;
	struct ipc_conn *service, *client;
	int answer;
	char text[257];
	uint64_t account;
	bool answered;
};

static int on_ask(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct world *w = arg;

	if (m->type == &ipc_auth_password_change)
		auth_change_begin(&w->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_login)
		auth_login_begin(&w->auth, conn, m->id, (const void *)m->body);
	return 0;
}

static int on_answer(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct world *w = arg;

	(void)conn;
	if (m->type == &ipc_auth_password_changed) {
		const struct auth_password_changed *a = (const void *)m->body;

		w->answer = a->code;
		span_copy(a->text, w->text, sizeof(w->text));
	} else {
		w->answer = ((const struct auth_login_answer *)(const void *)m->body)->code;
	}
	w->answered = true;
	event_base_loopbreak(base);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct world *w = arg;

	auth_login_forget(&w->auth, conn);
	auth_change_forget(&w->auth, conn);
	w->service = NULL;
}

static const struct ipc_conn_callbacks service_callbacks = {on_ask, on_closed}, client_callbacks = {on_answer, on_closed};

static void connect_client(struct world *w)
{
	assert_int_equal(fixture_channel(&ipc_service_auth, &service_callbacks, &client_callbacks, w, &w->service, &w->client), 0);
}

static int begin(void **state)
{
	static struct world w;
	struct account account = {.address = "a@example.org", .quota = UINT64_MAX};
	struct err err;

	w = (struct world){0};
	kicked = 0;
	if (fixture_begin(config) != 0 || fixture_directory(&w.auth.directory) != 0)
		return -1;
	w.auth.defence = defence_new(w.auth.secret);
	w.auth.marks = marks_new(&w.auth);
	if (crypto_pwhash_str(account.credentials.hash, "old password", 12, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0 ||
	    directory_account_add(w.auth.directory, &account, &err) != 0 || password_pool_new(&w.auth, &w.auth.passwords, &err) != 0)
		return -1;
	w.account = account.id;
	connect_client(&w);
	*state = &w;
	return 0;
}

static int wait_for_answer(struct world *w)
{
	w->answered = false;
	event_base_dispatch(base);
	assert_true(w->answered);
	return w->answer;
}

static void send_change(struct world *w, const char *old, const char *wanted)
{
	struct auth_password_change ask = {.service = SPAN_LIT("web"),
	    .user = SPAN_LIT("A@example.org"),
	    .remote = SPAN_LIT("192.0.2.1"),
	    .old = span_str(old),
	    .wanted = span_str(wanted)};

	assert_int_equal(ipc_conn_send(w->client, &ipc_auth_password_change, 1, &ask, -1), 0);
}

static int change(struct world *w, const char *old, const char *wanted)
{
	send_change(w, old, wanted);
	return wait_for_answer(w);
}

static void send_login(struct world *w, const char *password)
{
	struct auth_login ask = {.service = SPAN_LIT("imap"),
	    .user = SPAN_LIT("a@example.org"),
	    .remote = SPAN_LIT("192.0.2.1"),
	    .password = span_str(password)};

	assert_int_equal(ipc_conn_send(w->client, &ipc_auth_login, 2, &ask, -1), 0);
}

static int login(struct world *w, const char *password)
{
	send_login(w, password);
	return wait_for_answer(w);
}

static void the_new_one_counts_at_once_and_nothing_else_changes(void **state)
{
	struct world *w = *state;
	struct app_password app = {.label = "phone", .protocols = APP_PROTOCOLS_ALL};
	char text[APP_TEXT];
	struct account account;

	app_password_make(&app, text);
	assert_int_equal(directory_app_put(w->auth.directory, w->account, &app, false, NULL), 0);
	assert_int_equal(login(w, "old password"), 0);
	assert_int_equal(kicked, 0);
	assert_int_equal(change(w, "old password", "new password"), 0);
	assert_int_equal(kicked, w->account);
	assert_string_equal(w->text, "");
	assert_int_equal(login(w, "old password"), E_AUTHFAILED);
	assert_int_equal(login(w, "new password"), 0);
	assert_int_equal(login(w, text), 0);
	assert_int_equal(directory_account_get(w->auth.directory, SPAN_LIT("a@example.org"), &account), 0);
	assert_true(account.credentials.scram_sha_256[0] != '\0');
}

static void an_app_password_changes_nothing(void **state)
{
	struct world *w = *state;
	struct app_password app = {.label = "phone", .protocols = APP_PROTOCOLS_ALL};
	char text[APP_TEXT];

	app_password_make(&app, text);
	assert_int_equal(directory_app_put(w->auth.directory, w->account, &app, false, NULL), 0);
	assert_int_equal(login(w, text), 0);
	assert_int_equal(change(w, text, "new password"), E_AUTHFAILED);
	assert_int_equal(kicked, 0);
	assert_int_equal(login(w, "old password"), 0);
}

static void what_is_no_password_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(change(w, "old password", "short"), E_SYNTAX);
	assert_string_equal(w->text, "The new password is shorter than 8 characters");
	assert_int_equal(change(w, "old password", "old password"), E_SYNTAX);
	assert_int_equal(login(w, "old password"), 0);
}

static void guessing_the_old_one_is_refused(void **state)
{
	struct world *w = *state;
	struct attempt a;

	assert_int_equal(change(w, "wrong", "new password"), E_AUTHFAILED);
	defence_attempt(w->auth.defence, SPAN_LIT("a@example.org"), SPAN_LIT("192.0.2.1"), &a);
	for (int i = 0; i < 9; i++)
		defence_wrong(w->auth.defence, &a, clock_monotonic_ms());
	assert_int_equal(change(w, "old password", "new password"), E_UNAVAILABLE);
	assert_string_equal(w->text, "Too many failed logins; try again later");
	defence_clear_all(w->auth.defence);
	assert_int_equal(login(w, "old password"), 0);
}

/* Nobody is left to be answered; what was asked for is done all the same, or not, but nothing is touched that is gone. */
static void who_leaves_is_not_answered(void **state)
{
	struct world *w = *state;

	send_change(w, "old password", "new password");
	event_base_loop(base, EVLOOP_ONCE);
	assert_non_null(w->auth.changes);
	ipc_conn_free(&w->client);
	while (w->auth.changes != NULL || w->service != NULL)
		event_base_loop(base, EVLOOP_ONCE);
	assert_null(w->auth.pending);
	connect_client(w);
	assert_int_equal(login(w, "new password"), 0);
}

/* Its password was right when it was looked at, and is none when the answer goes out. */
static void a_login_that_a_change_has_overtaken_fails(void **state)
{
	struct world *w = *state;

	send_login(w, "old password");
	while (w->auth.pending == NULL)
		event_base_loop(base, EVLOOP_ONCE);
	auth_kick(&w->auth, w->account);
	assert_int_equal(wait_for_answer(w), E_UNAVAILABLE);
	send_login(w, "old password");
	while (w->auth.pending == NULL)
		event_base_loop(base, EVLOOP_ONCE);
	auth_kick(&w->auth, w->account + 1);
	assert_int_equal(wait_for_answer(w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(the_new_one_counts_at_once_and_nothing_else_changes, begin),
	    cmocka_unit_test_setup(an_app_password_changes_nothing, begin),
	    cmocka_unit_test_setup(what_is_no_password_is_refused, begin),
	    cmocka_unit_test_setup(guessing_the_old_one_is_refused, begin),
	    cmocka_unit_test_setup(a_login_that_a_change_has_overtaken_fails, begin),
	    cmocka_unit_test_setup(who_leaves_is_not_answered, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
