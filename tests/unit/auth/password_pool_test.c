/* Checks of passwords beside the loop: what strangers' wrong guesses may take of the machine, and who waits for whom. */
#include "tests/unit/auth/fixture.h"

#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/hash.h"
#include "auth/password_private.h"
#include "auth/system.h"
#include "base/clock.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { STRANGERS = 5, STRANGER_RANK = 16, WAITING_MAX = 100, OUTSIDE_STRANGERS = 12, OUTSIDE_SUSPECTS = 6, OUTSIDE_PACE_MS = 400 };

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\npassword-hashes 2\n";

/* ---- auth-pam, which answers when a test says so ---- */

static struct ipc_conn *pam;
static uint32_t asked[256];
static unsigned asked_count;

static int on_asked(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)arg;
	(void)conn;
	assert_ptr_equal(m->type, &ipc_pam_login);
	asked[asked_count++] = m->id;
	return 0;
}

static void on_pam_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
}

static const struct ipc_conn_callbacks pam_callbacks = {on_asked, on_pam_closed};

static int start_pam(struct system_users *users)
{
	struct err err;
	int fds[2];

	if (ipc_pair(fds, &err) != 0)
		return -1;
	asked_count = 0;
	pam = ipc_conn_new(base, fds[0], &ipc_service_pam, TO_SERVICE, &pam_callbacks, NULL);
	system_connect(users, fds[1]);
	return pam != NULL ? 0 : -1;
}

static void answer(unsigned number, int code)
{
	struct pam_login_answer body = {.code = code, .spent_us = 1000};

	assert_int_equal(ipc_conn_send(pam, &ipc_pam_login_answer, asked[number], &body, -1), 0);
}

/* ---- those who ask ---- */

static struct auth auth;
static struct credentials owned;
static unsigned strangers_told;
static int owner_code;

static void on_stranger(void *arg, int code, const struct credentials *made)
{
	(void)made;
	strangers_told++;
	*(int *)arg = code;
}

static void on_owner(void *arg, int code, const struct credentials *made)
{
	(void)made;
	(void)arg;
	owner_code = code;
}

static int begin(void **state)
{
	struct err err;

	(void)state;
	auth = (struct auth){0};
	owned = (struct credentials){0};
	strangers_told = 0;
	owner_code = 1;
	if (fixture_begin(config) != 0)
		return -1;
	auth.defence = defence_new(auth.secret);
	/* Checked in no time, and then one of today's takes its place. */
	if (crypto_pwhash_str_alg(owned.hash, "right", 5, crypto_pwhash_argon2id_OPSLIMIT_MIN, crypto_pwhash_argon2id_MEMLIMIT_MIN, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return -1;
	span_copy(SPAN_LIT("there are some"), owned.scram_sha_1, sizeof(owned.scram_sha_1));
	span_copy(SPAN_LIT("there are some"), owned.scram_sha_256, sizeof(owned.scram_sha_256));
	auth.system = system_users_new(&auth);
	return start_pam(auth.system) == 0 ? password_pool_new(&auth, &auth.passwords, &err) : -1;
}

/* One guess at nobody's password from each of so many addresses. */
static void guess_all(int *codes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct password_ask ask = {.source = 100 + i, .account = 200 + i, .rank = STRANGER_RANK, .pace = PACE_STRANGERS};

		codes[i] = 1;
		assert_int_equal(password_check(auth.passwords, &ask, SPAN_LIT("guess"), on_stranger, &codes[i]), 0);
	}
}

static void wait_for(unsigned count)
{
	while (strangers_told < count)
		event_base_loop(base, EVLOOP_ONCE);
}

static double seconds_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A slow machine makes the first of both longer, and never the second. */
static void strangers_guesses_take_a_quarter_of_a_processor_from_the_first_on(void **state)
{
	double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	int codes[STRANGERS];

	(void)state;
	guess_all(codes, STRANGERS);
	wait_for(STRANGERS);
	wall = seconds_of(CLOCK_MONOTONIC) - wall;
	cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	for (unsigned i = 0; i < STRANGERS; i++)
		assert_int_equal(codes[i], E_AUTHFAILED);
	assert_true(cpu / wall < 0.45); /* nothing waits behind the last one, and what is counted is what a guess usually costs */
}

/* Whether none may begin behind the guess that began at from and took so long; on a machine that stood still meanwhile one has. */
static bool is_within_pace(double from, double one)
{
	return seconds_of(CLOCK_MONOTONIC) - from < 3.5 * one; /* four of what it is held to have cost */
}

enum { TRIES = 5 }; /* a machine that has other work makes one hash dearer than another, or one thread slower; a fault is there each time */

/* Whether no guess was hashed until the owner had his answer, not even half of one beside the hash that the owner gets. */
static bool owner_is_alone(void)
{
	struct password_ask owner = {.source = 1, .account = 1, .have = &owned};
	const struct timespec a_moment = {.tv_nsec = 20 * 1000 * 1000};
	double begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID), from = seconds_of(CLOCK_MONOTONIC), one, meanwhile;
	int codes[STRANGERS];
	bool alone;

	guess_all(codes, 1);
	wait_for(1);
	one = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun;
	strangers_told = 0;
	guess_all(codes, STRANGERS);
	nanosleep(&a_moment, NULL); /* in which threads that may take one would have */
	begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	assert_int_equal(password_check(auth.passwords, &owner, SPAN_LIT("right"), on_owner, NULL), 0);
	while (owner_code == 1)
		event_base_loop(base, EVLOOP_ONCE);
	meanwhile = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun;
	assert_int_equal(owner_code, 0);
	alone = !is_within_pace(from, one) || meanwhile < one * 3 / 2;
	wait_for(STRANGERS);
	return alone;
}

/* Once somebody has guessed. */
static void who_belongs_here_does_not_wait_for_them(void **state)
{
	bool alone = owner_is_alone();

	for (int tries = 1; tries < TRIES && !alone; tries++) {
		assert_int_equal(begin(state), 0);
		alone = owner_is_alone();
	}
	assert_true(alone);
}

/* Whether the owner has his answer before one of two dear hashes is done. */
static bool dear_hashes_leave_a_thread(int *codes)
{
	struct password_ask owner = {.source = 1, .account = 1, .have = &owned};
	static const struct credentials dear = {.hash = "$argon2id$v=19$m=65536,t=6,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b7dWRWJTmaaJObG4Xm0q0mXqXE"};

	for (unsigned i = 0; i < 2; i++) {
		struct password_ask ask = {.source = 300 + i, .account = 300 + i, .have = &dear};

		codes[i] = 1;
		assert_int_equal(password_check(auth.passwords, &ask, SPAN_LIT("typo"), on_stranger, &codes[i]), 0);
	}
	assert_int_equal(password_check(auth.passwords, &owner, SPAN_LIT("right"), on_owner, NULL), 0);
	while (owner_code == 1)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(owner_code, 0);
	return strangers_told == 0;
}

/* Of hashes that cost more than a usual one, one at a time, so that there is a thread for others; what costs too much is refused as a wrong one is. */
static void dear_hashes_leave_room(void **state)
{
	struct credentials huge = {.hash = "$argon2id$v=19$m=4194304,t=6,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b7dWRWJTmaaJObG4Xm0q0mXqXE"};
	struct password_ask owner = {.source = 1, .account = 1};
	int codes[TRIES][2];
	unsigned tries = 0;

	while (!dear_hashes_leave_a_thread(codes[tries])) {
		assert_true(++tries < TRIES);
		wait_for(2);
		assert_int_equal(begin(state), 0);
	}
	owner.have = &huge;
	owner.pace = PACE_STRANGERS;
	owner_code = 1;
	assert_int_equal(password_check(auth.passwords, &owner, SPAN_LIT("right"), on_owner, NULL), 0);
	while (owner_code == 1)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(owner_code, E_TOOBIG);
	assert_false(password_is_calm(auth.passwords)); /* it counts as the guess that it may be */
	wait_for(2);
	assert_int_equal(codes[tries][0], E_AUTHFAILED);
	assert_int_equal(codes[tries][1], E_AUTHFAILED);
}

/* Of two threads one is theirs together, while there is guessing, whoever of them comes; and who belongs here has the other. */
static void those_who_guess_have_half_of_the_threads(void **state)
{
	static struct password_pool pool;
	static struct job waiting[3] = {{.pace = PACE_SUSPECTS}, {.pace = PACE_STRANGERS}, {.pace = PACE_NONE}};
	const int64_t now = 3600 * 1000000ll;
	struct lane *lane = &pool.lanes[HERE];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		pool.waiting[i] = &waiting[i];
	pool.waiting_count = 3;
	pool.from_us[PACE_STRANGERS] = now;
	lane->most = 2;
	assert_int_equal(password_job_find(&pool, HERE, now), 0);
	lane->running = 1;
	for (enum password_pace pace = PACE_SUSPECTS; pace <= PACE_STRANGERS; pace++) {
		lane->at_pace[pace] = 1;
		assert_int_equal(password_job_find(&pool, HERE, now), 2);
		lane->at_pace[pace] = 0;
	}
	assert_int_equal(password_job_find(&pool, HERE, now), 0);
	/* Each by its own pace. */
	pool.from_us[PACE_SUSPECTS] = now + 1;
	assert_int_equal(password_job_find(&pool, HERE, now), 1);
	assert_int_equal(password_next_us(&pool, HERE, now), now + 1);
	assert_int_equal(password_next_us(&pool, OUTSIDE, now), 0);
}

/* ---- passwords that auth-pam checks ---- */

static const struct system_login who = {.user = {.ptr = "user", .len = 4}, .service = {.ptr = "imap", .len = 4}, .remote = {.ptr = "::1", .len = 3}};

static struct password_ask stranger(unsigned number)
{
	return (struct password_ask){.source = 1000 + number, .account = 5000 + number, .outside = &who, .rank = STRANGER_RANK, .pace = PACE_STRANGERS};
}

static void guess_outside(int *codes, unsigned from, unsigned count)
{
	for (unsigned i = from; i < from + count; i++) {
		struct password_ask ask = stranger(i);

		codes[i] = 1;
		assert_int_equal(password_check(auth.passwords, &ask, SPAN_LIT("guess"), on_stranger, &codes[i]), 0);
	}
}

static void owner_asks(void)
{
	struct password_ask owner = {.source = 1, .account = 1, .outside = &who};

	assert_int_equal(password_check(auth.passwords, &owner, SPAN_LIT("right"), on_owner, NULL), 0);
}

static void loop_for(int ms)
{
	const struct timeval tv = {.tv_usec = ms * 1000};

	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
}

static void wait_until_asked(unsigned count)
{
	while (asked_count < count)
		event_base_loop(base, EVLOOP_ONCE);
}

/* No guess begins now, when the last one began at from or later; on a machine that stood still meanwhile one has. */
static void assert_asked_no_more(unsigned count, int64_t from)
{
	loop_for(20);
	if (clock_monotonic_ms() - from < OUTSIDE_PACE_MS * 3 / 4)
		assert_int_equal(asked_count, count);
}

/* However long PAM takes: who belongs here is asked about before the strangers who wait, and when there is no more room one of them has to go. */
static void strangers_never_have_all_of_auth_pam(void **state)
{
	int codes[OUTSIDE_STRANGERS + WAITING_MAX + 1];
	struct password_ask more = stranger(sizeof(codes) / sizeof(codes[0]) - 1);

	(void)state;
	guess_outside(codes, 0, OUTSIDE_STRANGERS + WAITING_MAX);
	wait_until_asked(OUTSIDE_STRANGERS);
	loop_for(50);
	assert_int_equal(asked_count, OUTSIDE_STRANGERS);
	assert_int_equal(password_check(auth.passwords, &more, SPAN_LIT("guess"), on_stranger, NULL), E_UNAVAILABLE);
	owner_asks();
	wait_until_asked(OUTSIDE_STRANGERS + 1);
	wait_for(1);
	assert_int_equal(codes[OUTSIDE_STRANGERS + WAITING_MAX - 1], E_UNAVAILABLE);
	answer(OUTSIDE_STRANGERS, 0);
	while (owner_code == 1)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(owner_code, 0);
	/* One place is free again, of a guess that was right: the next stranger has it. */
	answer(0, 0);
	wait_until_asked(OUTSIDE_STRANGERS + 2);
}

/* The same for users and for nobody, whatever their checks took. */
static void guesses_at_users_have_a_pace(void **state)
{
	static const int wrong[] = {E_AUTHFAILED, E_NOTFOUND};
	int64_t from = clock_monotonic_ms();
	int codes[4];

	(void)state;
	guess_outside(codes, 0, 1);
	wait_until_asked(1);
	for (unsigned i = 0; i < 2; i++) {
		answer(i, wrong[i]);
		wait_for(i + 1);
		assert_int_equal(codes[i], wrong[i]);
		assert_false(password_is_calm(auth.passwords));
		guess_outside(codes, i + 1, 1);
		wait_until_asked(i + 2);
		assert_true(clock_monotonic_ms() - from >= (i + 1) * OUTSIDE_PACE_MS);
	}
	/* One who belongs here has no pace, nor has the next stranger when all is forgiven. */
	from = clock_monotonic_ms();
	answer(2, E_AUTHFAILED);
	wait_for(3);
	guess_outside(codes, 3, 1);
	owner_asks();
	wait_until_asked(4);
	assert_asked_no_more(4, from);
	password_forgive(auth.passwords);
	wait_until_asked(5);
}

/* They do not wait for each other's ends. Who was right gives his place in the pace back. */
static void while_there_is_guessing_one_begins_behind_the_other(void **state)
{
	int64_t from = clock_monotonic_ms();
	int codes[5];

	(void)state;
	guess_outside(codes, 0, 1);
	wait_until_asked(1);
	answer(0, E_AUTHFAILED);
	wait_for(1);
	guess_outside(codes, 1, 4);
	wait_until_asked(3);
	assert_true(clock_monotonic_ms() - from >= 2 * OUTSIDE_PACE_MS);
	from = clock_monotonic_ms();
	answer(2, 0);
	wait_until_asked(4);
	assert_asked_no_more(4, from);
	answer(1, E_DISABLED);
	wait_until_asked(5);
}

/* Who belongs here, and comes from where somebody guesses, waits for those guesses; not for strangers', nor do others wait for them. */
static void suspects_have_a_pace_of_their_own(void **state)
{
	struct password_ask typo = {.source = 2, .account = 2, .outside = &who}, suspect = {.source = 3, .account = 3, .outside = &who, .pace = PACE_SUSPECTS};
	int codes[2] = {1, 1}, wrong = 1, next = 1, code = 1;
	int64_t from;

	(void)state;
	guess_outside(codes, 0, 1);
	wait_until_asked(1);
	from = clock_monotonic_ms();
	answer(0, E_AUTHFAILED);
	wait_for(1);
	assert_int_equal(password_check(auth.passwords, &typo, SPAN_LIT("typo"), on_stranger, &wrong), 0);
	wait_until_asked(2);
	answer(1, E_AUTHFAILED);
	wait_for(2);
	/* Neither of these two makes a suspect wait, but the first of his kind does, which has not ended yet. */
	from = clock_monotonic_ms();
	assert_int_equal(password_check(auth.passwords, &suspect, SPAN_LIT("guess"), on_stranger, &wrong), 0);
	wait_until_asked(3);
	suspect.account = 4;
	assert_int_equal(password_check(auth.passwords, &suspect, SPAN_LIT("right"), on_stranger, &code), 0);
	owner_asks();
	wait_until_asked(4);
	assert_asked_no_more(4, from);
	answer(2, E_AUTHFAILED);
	wait_until_asked(5);
	assert_true(clock_monotonic_ms() - from >= OUTSIDE_PACE_MS - 1);
	/* What was right is given back. */
	suspect.account = 5;
	from = clock_monotonic_ms();
	assert_int_equal(password_check(auth.passwords, &suspect, SPAN_LIT("right"), on_stranger, &next), 0);
	assert_asked_no_more(5, from);
	answer(4, 0);
	wait_until_asked(6);
	assert_int_equal(wrong, E_AUTHFAILED);
	assert_int_equal(code, 0);
}

/* The fourth part of auth-pam's checks, however long those take: the rest is strangers', and who belongs here has what both leave. */
static void suspects_leave_room(void **state)
{
	struct password_ask suspect = {.source = 3, .outside = &who, .pace = PACE_SUSPECTS};
	int codes[OUTSIDE_STRANGERS], code = 1;

	(void)state;
	for (unsigned i = 0; i <= OUTSIDE_SUSPECTS; i++) {
		suspect.account = 10 + i;
		assert_int_equal(password_check(auth.passwords, &suspect, SPAN_LIT("typo"), on_stranger, &code), 0);
		password_forgive(auth.passwords);
	}
	wait_until_asked(OUTSIDE_SUSPECTS);
	guess_outside(codes, 0, OUTSIDE_STRANGERS);
	owner_asks();
	wait_until_asked(OUTSIDE_SUSPECTS + OUTSIDE_STRANGERS + 1);
	password_forgive(auth.passwords);
	loop_for(20);
	assert_int_equal(asked_count, OUTSIDE_SUSPECTS + OUTSIDE_STRANGERS + 1);
}

static void guesses_at_users_and_at_accounts_have_one_pace(void **state)
{
	double begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID), from = seconds_of(CLOCK_MONOTONIC), one;
	int codes[STRANGERS], outside[1];

	(void)state;
	guess_all(codes, 1);
	wait_for(1);
	one = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - begun;
	guess_outside(outside, 0, 1);
	loop_for(20);
	if (is_within_pace(from, one))
		assert_int_equal(asked_count, 0);
	wait_until_asked(1);
}

static void without_auth_pam_nobody_waits(void **state)
{
	int codes[2];

	(void)state;
	guess_outside(codes, 0, 1);
	ipc_conn_free(&pam);
	wait_for(1);
	assert_int_equal(codes[0], E_CLOSED);
	guess_outside(codes, 1, 1);
	wait_for(2);
	assert_int_equal(codes[1], E_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(strangers_guesses_take_a_quarter_of_a_processor_from_the_first_on, begin),
	    cmocka_unit_test_setup(who_belongs_here_does_not_wait_for_them, begin),
	    cmocka_unit_test_setup(dear_hashes_leave_room, begin),
	    cmocka_unit_test(those_who_guess_have_half_of_the_threads),
	    cmocka_unit_test_setup(strangers_never_have_all_of_auth_pam, begin),
	    cmocka_unit_test_setup(guesses_at_users_have_a_pace, begin),
	    cmocka_unit_test_setup(while_there_is_guessing_one_begins_behind_the_other, begin),
	    cmocka_unit_test_setup(suspects_have_a_pace_of_their_own, begin),
	    cmocka_unit_test_setup(suspects_leave_room, begin),
	    cmocka_unit_test_setup(guesses_at_users_and_at_accounts_have_one_pace, begin),
	    cmocka_unit_test_setup(without_auth_pam_nobody_waits, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
