/* Users of the machine as auth sees them: asked for once, answered late, and where they stand among accounts and aliases. */
#include "tests/unit/auth/fixture.h"

#include "alias/set.h"
#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/directory_private.h"
#include "auth/marks.h"
#include "auth/system.h"
#include "base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static const char config[] = "config-version 1\nhostname mx.example\npostmaster boss@virtual.example\ndomain virtual.example { }\n"
			     "domain machine.example { accounts system; catch-all rest@virtual.example }\n";

/* ---- auth-pam, of which a test says what it knows ---- */

struct world {
	struct auth auth;
	struct ipc_conn *pam;
	unsigned asked, told;
	bool silent;
	unsigned finds_ms; /* what each find takes */
	int code; /* of all finds, unless 0 */
	bool right; /* every password is */
};

static bool is_user(struct span name, uint32_t *uid)
{
	*uid = span_eq(name, SPAN_LIT("root")) ? 0 : span_eq(name, SPAN_LIT("nobody")) ? 65534 : 1000;
	return !span_startswith(name, SPAN_LIT("no-"));
}

static int on_find(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct world *w = arg;
	struct pam_login_answer answer = {.code = w->right ? 0 : E_NOTFOUND, .spent_us = 1000};
	struct pam_found found = {.code = w->code, .name = SPAN_LIT(" Full\tName "), .stamp = SPAN_LIT("0123456789abcdef")};

	if (m->type == &ipc_pam_login)
		return ipc_conn_send(conn, &ipc_pam_login_answer, m->id, &answer, -1);
	assert_ptr_equal(m->type, &ipc_pam_find);
	w->asked++;
	if (w->silent)
		return 0;
	poll(NULL, 0, (int)w->finds_ms);
	if (!is_user(((const struct pam_find *)(const void *)m->body)->user, &found.uid) && found.code == 0)
		found.code = E_NOTFOUND;
	assert_int_equal(ipc_conn_send(conn, &ipc_pam_found, m->id, &found, -1), 0);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct world *w = arg;

	(void)conn;
	w->pam = NULL;
}

static const struct ipc_conn_callbacks callbacks = {on_find, on_closed};

static void start_pam(struct world *w)
{
	struct err err;
	int fds[2];

	assert_int_equal(ipc_pair(fds, &err), 0);
	w->pam = ipc_conn_new(base, fds[0], &ipc_service_pam, TO_SERVICE, &callbacks, w);
	assert_non_null(w->pam);
	system_connect(w->auth.system, fds[1]);
}

static int add(struct world *w, const char *address)
{
	struct account account = {.quota = UINT64_MAX};
	struct err err;

	snprintf(account.address, sizeof(account.address), "%s", address);
	return directory_account_add(w->auth.directory, &account, &err);
}

static int begin(void **state)
{
	static struct world w;

	w = (struct world){0};
	lost = 0;
	if (fixture_begin(config) != 0 || fixture_directory(&w.auth.directory) != 0)
		return -1;
	w.auth.system = system_users_new(&w.auth);
	start_pam(&w);
	*state = &w;
	return add(&w, "boss@virtual.example") == 0 && add(&w, "rest@virtual.example") == 0 && add(&w, "own@machine.example") == 0 ? 0 : -1;
}

/* ---- lookups, as question.c does them ---- */

static void on_known(void *arg)
{
	((struct world *)arg)->told++;
}

/* Until it is known. */
static int lookup(struct world *w, const char *address, struct recipient *out)
{
	int r;

	while ((r = auth_lookup(&w->auth, span_str(address), out, NULL)) == E_AGAIN) {
		unsigned before = w->told;

		assert_int_equal(system_wait(w->auth.system, on_known, w), 0);
		while (w->told == before)
			event_base_loop(base, EVLOOP_ONCE);
	}
	return r;
}

static void leads_to(struct world *w, const char *address, const char *where)
{
	struct recipient found;

	assert_int_equal(lookup(w, address, &found), 0);
	assert_string_equal(found.address, where);
}

static void what_stands_before_a_user(void **state)
{
	struct world *w = *state;
	struct recipient found;
	struct account account;

	leads_to(w, "own@machine.example", "own@machine.example");
	assert_int_equal(w->asked, 0); /* an account of the directory's own */
	assert_int_equal(directory_alias_put(w->auth.directory, SPAN_LIT("sales@machine.example"), SPAN_LIT("boss@virtual.example\0"), false, NULL), 0);
	leads_to(w, "sales@machine.example", "sales@machine.example");
	assert_int_equal(w->asked, 0);
	leads_to(w, "Anna@machine.example", "anna@machine.example");
	assert_int_equal(lookup(w, "anna+lists@machine.example", &found), 0);
	assert_string_equal(found.detail, "lists");
	assert_int_equal(w->asked, 1); /* what is known is not asked again */
	assert_int_equal(directory_account_get(w->auth.directory, SPAN_LIT("anna@machine.example"), &account), 0);
	assert_true(account.system);
	assert_string_equal(account.name, "FullName");
	assert_int_equal(account.id, found.account);
}

static void who_has_no_mailbox(void **state)
{
	struct world *w = *state;
	struct recipient found;

	leads_to(w, "root@machine.example", "boss@virtual.example");
	leads_to(w, "nobody@machine.example", "boss@virtual.example");
	leads_to(w, "postmaster@machine.example", "postmaster@machine.example"); /* there is such a user */
	leads_to(w, "no-user@machine.example", "rest@virtual.example");
	leads_to(w, "ro/ot@machine.example", "rest@virtual.example");
	assert_int_equal(w->asked, 4); /* the last is no name */
	assert_int_equal(lookup(w, "root@virtual.example", &found), E_NOTFOUND);
}

static void a_user_who_has_gone(void **state)
{
	struct world *w = *state;

	leads_to(w, "anna@machine.example", "anna@machine.example");
	w->code = E_NOTFOUND;
	leads_to(w, "anna@machine.example", "anna@machine.example"); /* for moments */
	system_forget(w->auth.system);
	leads_to(w, "anna@machine.example", "rest@virtual.example");
	w->code = 0;
	system_forget(w->auth.system);
	leads_to(w, "anna@machine.example", "anna@machine.example");
}

static void what_is_not_known_is_put_off(void **state)
{
	struct world *w = *state;
	struct recipient found;

	w->code = E_TIMEOUT;
	assert_int_equal(lookup(w, "anna@machine.example", &found), E_TIMEOUT);
	assert_int_equal(lookup(w, "own@machine.example", &found), 0);
}

static void auth_pam_dies(void **state)
{
	struct world *w = *state;
	struct recipient found;

	w->silent = true;
	assert_int_equal(auth_lookup(&w->auth, SPAN_LIT("anna@machine.example"), &found, NULL), E_AGAIN);
	assert_int_equal(system_wait(w->auth.system, on_known, w), 0);
	assert_int_equal(auth_lookup(&w->auth, SPAN_LIT("anna@machine.example"), &found, NULL), E_AGAIN);
	assert_int_equal(system_wait(w->auth.system, on_known, w), 0);
	ipc_conn_free(&w->pam);
	while (w->told < 2)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(lost, 1);
	assert_string_equal(lost_service, "pam");
	assert_int_equal(lookup(w, "anna@machine.example", &found), E_CLOSED);
	assert_int_equal(lookup(w, "berta@machine.example", &found), E_CLOSED);
	w->silent = false;
	start_pam(w);
	leads_to(w, "berta@machine.example", "berta@machine.example");
}

static int count(void *arg, const struct recipient *r)
{
	assert_true(r->account != 0);
	++*(unsigned *)arg;
	return 0;
}

/* All are asked for at once, and nobody is told of before all are known. */
static void an_alias_to_a_thousand_users(void **state)
{
	struct world *w = *state;
	unsigned given = 0, rounds = 0;
	struct buf targets;
	int r;

	buf_init(&targets, DIRECTORY_ALIAS_MAX);
	for (int i = 0; i < 900; i++) {
		buf_printf(&targets, "user%d@machine.example", i);
		buf_add_char(&targets, '\0');
	}
	assert_int_equal(directory_alias_put(w->auth.directory, SPAN_LIT("all@virtual.example"), buf_span(&targets), false, NULL), 0);
	buf_fini(&targets);
	while ((r = auth_expand_each(&w->auth, SPAN_LIT("all@virtual.example"), count, &given, NULL)) == E_AGAIN) {
		unsigned before = w->told;

		assert_int_equal(given, 0);
		assert_int_equal(system_wait(w->auth.system, on_known, w), 0);
		while (w->told == before)
			event_base_loop(base, EVLOOP_ONCE);
		rounds++;
	}
	assert_int_equal(r, 0);
	assert_int_equal(given, 900);
	assert_int_equal(w->asked, 900);
	assert_true(rounds < SYSTEM_ROUNDS_MAX);
}

static int append(void *arg, const struct recipient *r)
{
	struct buf *out = arg;

	buf_printf(out, "%s%s%.*s", buf_len(out) > 0 ? " " : "", r->program != PROGRAM_NONE ? "|" : r->code != 0 ? "!" : r->address, SPAN_ARG(r->text));
	return 0;
}

/* As question.c does it: nothing is given before all is known. */
static void expands_to(struct world *w, const char *address, int code, const char *expected)
{
	struct buf out;
	int r;

	buf_init(&out, 4096);
	while ((r = auth_expand_each(&w->auth, span_str(address), append, &out, NULL)) == E_AGAIN) {
		unsigned before = w->told;

		assert_int_equal(buf_len(&out), 0);
		assert_int_equal(system_wait(w->auth.system, on_known, w), 0);
		while (w->told == before)
			event_base_loop(base, EVLOOP_ONCE);
	}
	assert_int_equal(r, code);
	buf_add_char(&out, '\0');
	assert_string_equal(buf_span(&out).ptr, expected);
	buf_fini(&out);
}

static void has_aliases(struct world *w, enum alias_mark mark, const char *text)
{
	struct buf set;
	struct err err;

	buf_init(&set, ALIAS_SET_MAX);
	alias_set_add(&set, mark, "/etc/aliases", span_str(text));
	alias_set_free(&w->auth.aliases);
	assert_int_equal(alias_set_load(buf_span(&set), &w->auth.aliases, &err), 0);
	buf_fini(&set);
}

static void aliases_stand_between_accounts_and_users(void **state)
{
	struct world *w = *state;
	struct recipient found;

	has_aliases(w, ALIAS_MARK_FILE,
	    "own: anna\nroot: anna\nanna: anna, elsewhere@example.net\nberta: \\berta\nberta+x: anna\nno-user: berta\n"
	    "postmaster: no-one\n");
	leads_to(w, "own@machine.example", "own@machine.example"); /* an account of the directory's own */
	expands_to(w, "root@machine.example", 0, "anna@machine.example elsewhere@example.net");
	expands_to(w, "anna@machine.example", 0, "anna@machine.example elsewhere@example.net");
	expands_to(w, "anna@machine.example", 0, "anna@machine.example elsewhere@example.net"); /* who has an account since */
	expands_to(w, "anna+x@machine.example", 0, "anna@machine.example elsewhere@example.net");
	expands_to(w, "berta@machine.example", 0, "berta@machine.example");
	expands_to(w, "berta+x@machine.example", 0, "anna@machine.example elsewhere@example.net");
	expands_to(w, "berta+y@machine.example", 0, "berta@machine.example");
	expands_to(w, "no-user@machine.example", 0, "berta@machine.example");
	expands_to(w, "daemon@virtual.example", E_NOTFOUND, "");
	/* What the domain's catch-all takes is not lost on the way. */
	expands_to(w, "postmaster@machine.example", 0, "rest@virtual.example");
	assert_int_equal(lookup(w, "daemon@machine.example", &found), 0);
	assert_int_equal(found.account != 0, true);
}

/* One who is known behind one who is not: who waits is told all the same. */
static void programs_and_users_are_given_together(void **state)
{
	struct world *w = *state;

	has_aliases(w, ALIAS_MARK_FILE, "mixed: carla, anna, \"|run\"\nnothing: \"|run\", /file\n");
	leads_to(w, "anna@machine.example", "anna@machine.example");
	expands_to(w, "mixed@machine.example", 0, "|run carla@machine.example anna@machine.example");
	expands_to(w, "nothing@machine.example", E_CANNOT, "");
	w->code = E_TIMEOUT;
	system_forget(w->auth.system);
	expands_to(w, "mixed@machine.example", E_TIMEOUT, "");
	expands_to(w, "nothing@machine.example", E_CANNOT, "");
}

static void aliases_that_cannot_be_read_keep_users_waiting(void **state)
{
	struct world *w = *state;
	struct recipient found;

	has_aliases(w, ALIAS_MARK_NO_FILE, "it is wrong");
	leads_to(w, "own@machine.example", "own@machine.example");
	assert_int_equal(lookup(w, "anna@machine.example", &found), E_UNAVAILABLE);
	assert_int_equal(auth_lookup_mailbox(&w->auth, SPAN_LIT("anna@machine.example"), &found, NULL), E_AGAIN);
	leads_to(w, "boss@virtual.example", "boss@virtual.example");
}

/* The first mail of users comes until the directory is full. What is there goes on. */
static void an_account_that_cannot_be_written(void **state)
{
	struct world *w = *state;
	struct recipient found;
	char address[64];
	int r = 0;

	assert_int_equal(mdb_env_set_mapsize(w->auth.directory->env, 1), 0); /* as small as it can be */
	for (int i = 0; i < 1000 && r == 0; i++) {
		snprintf(address, sizeof(address), "u%d@machine.example", i);
		r = lookup(w, address, &found);
	}
	assert_int_equal(r, E_NOSPACE);
	leads_to(w, "u0@machine.example", "u0@machine.example");
}

/* However many names are asked for, so many are kept. */
static void names_without_end(void **state)
{
	struct world *w = *state;
	struct recipient found;
	char address[64];

	for (int i = 0; i < SYSTEM_KEPT_MAX + 100; i++) {
		snprintf(address, sizeof(address), "no-%d@machine.example", i);
		assert_int_equal(lookup(w, address, &found), 0);
	}
	w->asked = 0;
	leads_to(w, address, "rest@virtual.example");
	assert_int_equal(w->asked, 0);
	leads_to(w, "no-1@machine.example", "rest@virtual.example");
	assert_int_equal(w->asked, 1);
	/* While all wait for an answer there is no room for one more. */
	w->silent = true;
	system_forget(w->auth.system);
	for (int i = 0; i < SYSTEM_KEPT_MAX; i++) {
		snprintf(address, sizeof(address), "u%d@machine.example", i);
		assert_int_equal(auth_lookup(&w->auth, span_str(address), &found, NULL), E_AGAIN);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(auth_lookup(&w->auth, SPAN_LIT("one-more@machine.example"), &found, NULL), E_LIMIT);
}

/* ---- log-ins ---- */

struct told {
	bool answered;
	int code;
	uint64_t account;
	int64_t at_ms;
};

static void on_answered(void *arg, int code, struct span text, const struct account *account)
{
	(void)text;
	*(struct told *)arg = (struct told){true, code, account != NULL ? account->id : 0, clock_monotonic_ms()};
}

static void begin_login(struct world *w, const char *user, struct told *told)
{
	struct login_ask ask = {.service = SPAN_LIT("imap"), .user = span_str(user), .remote = SPAN_LIT("192.0.2.1"), .answered = on_answered, .arg = told};
	struct login *login = login_new(&w->auth, NULL, 0, &ask);

	assert_non_null(login);
	login_by_password(login, SPAN_LIT("guess"));
}

static void await(const struct told *told)
{
	while (!told->answered)
		event_base_loop(base, EVLOOP_ONCE);
}

static struct told guess(struct world *w, const char *user)
{
	int64_t begun_ms = clock_monotonic_ms();
	struct told told = {0};

	begin_login(w, user, &told);
	await(&told);
	told.at_ms -= begun_ms;
	return told;
}

static int begin_logins(void **state)
{
	unsigned char secret[DIRECTORY_SECRET] = {0};
	struct world *w;
	struct err err;

	if (begin(state) != 0)
		return -1;
	w = *state;
	w->auth.defence = defence_new(secret);
	w->auth.marks = marks_new(&w->auth);
	return w->auth.defence != NULL && w->auth.marks != NULL ? password_pool_new(&w->auth, &w->auth.passwords, &err) : -1;
}

static bool is_on_a_line(const struct told *told)
{
	return told->at_ms >= 990 && (told->at_ms % 1000 <= 250 || told->at_ms % 1000 >= 990);
}

/* A user is remembered for longer than that there is none; and NSS may take what it takes. */
static void how_long_the_look_for_a_user_took_is_not_seen(void **state)
{
	struct world *w = *state;
	struct told told = {0};

	w->finds_ms = 300;
	/* On a slow machine perhaps a line later; on one that stood still just then, once more. */
	for (unsigned tries = 1; tries <= 5 && !is_on_a_line(&told); tries++) {
		char user[64];

		snprintf(user, sizeof(user), "no-one-%u@machine.example", tries);
		told = guess(w, user);
		assert_int_equal(w->asked, tries);
		assert_int_equal(told.code, E_AUTHFAILED);
	}
	if (!is_on_a_line(&told))
		fail_msg("after %d ms", (int)told.at_ms);
}

static void who_is_refused_anyway_is_not_looked_for(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 100; i++) {
		struct attempt a;

		defence_attempt(w->auth.defence, SPAN_LIT("anna@machine.example"), SPAN_LIT("192.0.2.1"), &a);
		defence_attempt_machine(w->auth.defence, SPAN_LIT("anna"), &a);
		(void)defence_wrong(w->auth.defence, &a, clock_monotonic_ms());
	}
	assert_int_equal(guess(w, "anna@machine.example").code, E_UNAVAILABLE);
	assert_int_equal(w->asked, 0);
}

/* A mail program opens several connections at once. */
static void the_first_log_ins_of_a_user(void **state)
{
	struct world *w = *state;
	struct told first = {0}, second = {0};

	w->right = true;
	begin_login(w, "anna@machine.example", &first);
	begin_login(w, "anna@machine.example", &second);
	await(&first);
	await(&second);
	assert_int_equal(first.code, 0);
	assert_int_equal(second.code, 0);
	assert_true(first.account != 0 && first.account == second.account);
}

/* It would be found under no number that is somebody's, and never go. */
static void a_log_in_leaves_nothing_of_an_account_that_is_removed(void **state)
{
	struct world *w = *state;
	struct directory *d = w->auth.directory;
	struct place places[DIRECTORY_PLACES];
	struct account own, rest;
	struct err err;

	assert_int_equal(directory_account_get(d, SPAN_LIT("own@machine.example"), &own), 0);
	assert_int_equal(directory_account_get(d, SPAN_LIT("rest@virtual.example"), &rest), 0);
	marks_place(w->auth.marks, own.id, 7);
	marks_place(w->auth.marks, rest.id, 7);
	assert_int_equal(directory_account_remove(d, SPAN_LIT("own@machine.example"), &err), 0);
	marks_flush(w->auth.marks);
	directory_places_get(d, own.id, places);
	assert_int_equal(places[0].hash, 0);
	directory_places_get(d, rest.id, places);
	assert_int_equal(places[0].hash, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_stands_before_a_user, begin),
	    cmocka_unit_test_setup(who_has_no_mailbox, begin),
	    cmocka_unit_test_setup(a_user_who_has_gone, begin),
	    cmocka_unit_test_setup(what_is_not_known_is_put_off, begin),
	    cmocka_unit_test_setup(auth_pam_dies, begin),
	    cmocka_unit_test_setup(an_alias_to_a_thousand_users, begin),
	    cmocka_unit_test_setup(aliases_stand_between_accounts_and_users, begin),
	    cmocka_unit_test_setup(programs_and_users_are_given_together, begin),
	    cmocka_unit_test_setup(aliases_that_cannot_be_read_keep_users_waiting, begin),
	    cmocka_unit_test_setup(an_account_that_cannot_be_written, begin),
	    cmocka_unit_test_setup(names_without_end, begin),
	    cmocka_unit_test_setup(how_long_the_look_for_a_user_took_is_not_seen, begin_logins),
	    cmocka_unit_test_setup(who_is_refused_anyway_is_not_looked_for, begin_logins),
	    cmocka_unit_test_setup(the_first_log_ins_of_a_user, begin_logins),
	    cmocka_unit_test_setup(a_log_in_leaves_nothing_of_an_account_that_is_removed, begin_logins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
