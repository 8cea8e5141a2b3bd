/* Checks of passwords beside the loop: what strangers' wrong guesses may take of the machine, and who waits for whom. */
#include "tests/unit/auth/fixture.h"

#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/hash.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { STRANGERS = 5, STRANGER_RANK = 16 };

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\npassword-hashes 2\n";

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
	/* Checked in no time, so that what the owner's log-in takes is waiting. */
	if (crypto_pwhash_str_alg(owned.hash, "right", 5, crypto_pwhash_argon2id_OPSLIMIT_MIN, crypto_pwhash_argon2id_MEMLIMIT_MIN, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return -1;
	span_copy(SPAN_LIT("there are some"), owned.scram_sha_1, sizeof(owned.scram_sha_1));
	span_copy(SPAN_LIT("there are some"), owned.scram_sha_256, sizeof(owned.scram_sha_256));
	return password_pool_new(&auth, &auth.passwords, &err);
}

/* One guess at nobody's password from each of so many addresses. */
static void guess_all(int *codes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct password_ask ask = {.source = 100 + i, .account = 200 + i, .rank = STRANGER_RANK, .is_stranger = true};

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

/* Once somebody has guessed: until the owner has his answer no guess is hashed, not even half of one. */
static void who_belongs_here_does_not_wait_for_them(void **state)
{
	struct password_ask owner = {.source = 1, .account = 1, .have = &owned};
	const struct timespec a_moment = {.tv_nsec = 20 * 1000 * 1000};
	double begun = seconds_of(CLOCK_PROCESS_CPUTIME_ID), one, meanwhile;
	int codes[STRANGERS];

	(void)state;
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
	assert_true(meanwhile < one / 2);
	wait_for(STRANGERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(strangers_guesses_take_a_quarter_of_a_processor_from_the_first_on, begin),
	    cmocka_unit_test_setup(who_belongs_here_does_not_wait_for_them, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
