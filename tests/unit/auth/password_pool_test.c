/* Checks of passwords beside the loop: what strangers' wrong guesses may take of the machine, and who waits for whom. */
#include "tests/unit/test.h"

#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/hash.h"

#include <event2/event.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { STRANGERS = 4, STRANGER_RANK = 16 };

static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\npassword-hashes 2\n";

/* ---- the daemon ---- */

static struct conf *conf;
static struct event_base *base;

const struct conf *daemon_conf(struct daemon *daemon)
{
	(void)daemon;
	return conf;
}

struct event_base *daemon_base(struct daemon *daemon)
{
	(void)daemon;
	return base;
}

const struct log_ctx *daemon_log(struct daemon *daemon)
{
	(void)daemon;
	return NULL;
}

void daemon_peer_lost(struct daemon *daemon, const char *service)
{
	(void)daemon;
	(void)service;
}

/* ---- those who ask ---- */

static struct auth auth;
static struct credentials owned;
static unsigned strangers_told, strangers_before_owner;
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
	strangers_before_owner = strangers_told;
}

static int begin(void **state)
{
	struct err err;

	(void)state;
	auth = (struct auth){0};
	owned = (struct credentials){0};
	strangers_told = 0;
	owner_code = 1;
	if (sodium_init() < 0 || conf_parse(span_str(config), "test", &conf, &err) != 0)
		return -1;
	base = event_base_new();
	auth.defence = defence_new(auth.secret);
	if (crypto_pwhash_str(owned.hash, "right", 5, crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
		return -1;
	return password_pool_new(&auth, &auth.passwords, &err);
}

/* One guess at nobody's password from each of so many addresses. */
static void guess_all(int codes[STRANGERS])
{
	for (unsigned i = 0; i < STRANGERS; i++) {
		struct password_ask ask = {.source = 100 + i, .account = 200 + i, .rank = STRANGER_RANK, .is_stranger = true};

		codes[i] = 1;
		assert_int_equal(password_check(auth.passwords, &ask, SPAN_LIT("guess"), on_stranger, &codes[i]), 0);
	}
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
	guess_all(codes);
	while (strangers_told < STRANGERS)
		event_base_loop(base, EVLOOP_ONCE);
	wall = seconds_of(CLOCK_MONOTONIC) - wall;
	cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	for (unsigned i = 0; i < STRANGERS; i++)
		assert_int_equal(codes[i], E_AUTHFAILED);
	assert_true(cpu / wall < 0.25 * STRANGERS / (STRANGERS - 1) + 0.05); /* nothing waits behind the last one */
}

static void who_belongs_here_does_not_wait_for_them(void **state)
{
	struct password_ask owner = {.source = 1, .account = 1, .have = &owned};
	int codes[STRANGERS];

	(void)state;
	guess_all(codes);
	assert_int_equal(password_check(auth.passwords, &owner, SPAN_LIT("right"), on_owner, NULL), 0);
	while (owner_code == 1)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(owner_code, 0);
	assert_in_range(strangers_before_owner, 0, 1);
	while (strangers_told < STRANGERS)
		event_base_loop(base, EVLOOP_ONCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(strangers_guesses_take_a_quarter_of_a_processor_from_the_first_on, begin),
	    cmocka_unit_test_setup(who_belongs_here_does_not_wait_for_them, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
