/* The table of confined processes: what must hold for each line of it. */
#include "tests/unit/test.h"

#include "proc/profile.h"

#include <string.h>

static void profiles_are_found_by_name(void **state)
{
	(void)state;
	for (const struct profile *p = profile_table; p->name != NULL; p++)
		assert_ptr_equal(profile_find(p->name), p);
	assert_null(profile_find(""));
	assert_null(profile_find("smtp"));
	assert_null(profile_find("smtpdx"));
	assert_string_equal(profile_find("smtpd")->user, "smtpd");
}

/* doc/architecture.md, the table of processes: who reads the network sees no files. */
static void network_daemons_see_nothing(void **state)
{
	static const char *const names[] = {"smtpd", "lmtpd", "imapd"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct profile *p = profile_find(names[i]);

		assert_int_equal(p->tree, TREE_NONE);
		assert_int_equal(p->calls & (CALLS_FILE | CALLS_FORK | CALLS_THREAD | CALLS_CONNECT | CALLS_MMAP_FILE | CALLS_CONFINE), 0);
		assert_true(p->memory > 0);
		assert_int_equal(p->processes, 0);
	}
}

/* Who opens connections to others. */
static bool goes_out(const char *name)
{
	static const char *const names[] = {
	    "resolve",
	    "fetch",
	    "relay",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void rights_go_with_the_work(void **state)
{
	(void)state;
	for (const struct profile *p = profile_table; p->name != NULL; p++) {
		/* Code of others has a list of another kind: of what is forbidden. */
		assert_int_equal((p->calls & CALLS_OTHERS) != 0, p->tree == TREE_MACHINE);
		if (p->tree == TREE_MACHINE) {
			assert_int_equal(p->calls, CALLS_OTHERS);
			continue;
		}
		assert_true(p->calls & CALLS_BASE);
		assert_int_equal((p->calls & CALLS_CONNECT) != 0, goes_out(p->name));
		assert_true(p->files > 0);
		/* Spawners fork and confine their children; their children do neither. */
		assert_int_equal((p->calls & CALLS_FORK) != 0, p->processes > 0);
		assert_int_equal((p->calls & CALLS_FORK) != 0, (p->calls & CALLS_CONFINE) != 0);
		if (p->tree == TREE_ACCOUNT)
			assert_int_equal(p->calls & (CALLS_FORK | CALLS_THREAD), 0);
		if (p->tree == TREE_NONE)
			assert_int_equal(p->calls & CALLS_FILE, 0);
	}
}

/* Those that forked a process keep no right it lacks but forking and confining it. */
static void children_have_no_more_than_their_spawner(void **state)
{
	static const char *const pairs[][2] = {{"worker", "deliver"}, {"session", "imap-session"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct profile *child = profile_find(pairs[i][0]), *spawner = profile_find(pairs[i][1]);

		/* CALLS_TALK is a part of CALLS_NET. */
		assert_int_equal(child->calls & ~(spawner->calls | CALLS_TALK), 0);
		assert_true((spawner->calls & CALLS_NET) != 0);
		assert_string_equal(child->user, spawner->user);
		assert_true(child->files <= spawner->files);
		assert_int_equal(child->tree, TREE_ACCOUNT);
		assert_int_equal(spawner->tree, TREE_STORE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(profiles_are_found_by_name),
	    cmocka_unit_test(network_daemons_see_nothing),
	    cmocka_unit_test(rights_go_with_the_work),
	    cmocka_unit_test(children_have_no_more_than_their_spawner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
