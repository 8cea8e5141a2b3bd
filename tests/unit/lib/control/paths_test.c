/* Where an instance has its things. */
#include "tests/unit/test.h"

#include "control/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void the_machine_is_the_default(void **state)
{
	struct instance i;
	struct err err;

	(void)state;
	for (int empty = 0; empty < 2; empty++) {
		if (empty)
			setenv("MAILWAIN_ROOT", "", 1);
		else
			unsetenv("MAILWAIN_ROOT");
		memset(&i, 'x', sizeof(i));
		assert_int_equal(instance_find(&i, NULL, &err), 0);
		assert_string_equal(i.root, "");
		assert_string_equal(i.conf + strlen(i.conf) - 23, "/mailwain/mailwain.conf");
		assert_string_equal(i.run + strlen(i.run) - 9, "/mailwain");
		assert_string_equal(i.data + strlen(i.data) - 13, "/lib/mailwain");
		assert_string_equal(i.spool + strlen(i.spool) - 15, "/spool/mailwain");
	}
	unsetenv("MAILWAIN_ROOT");
}

static void below_a_root(void **state)
{
	static const char *const roots[] = {"/tmp/mw", "/tmp/mw/", "/tmp/mw///"};
	struct instance i;
	struct err err;

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		assert_int_equal(instance_find(&i, roots[k], &err), 0);
		assert_string_equal(i.root, "/tmp/mw");
		assert_string_equal(i.conf, "/tmp/mw/etc/mailwain.conf");
		assert_string_equal(i.run, "/tmp/mw/run");
		assert_string_equal(i.data, "/tmp/mw/data");
		assert_string_equal(i.spool, "/tmp/mw/spool");
	}
}

/* --root goes before the environment, the environment before the machine. */
static void the_environment_is_asked_second(void **state)
{
	struct instance i;
	struct err err;

	(void)state;
	setenv("MAILWAIN_ROOT", "/tmp/other", 1);
	assert_int_equal(instance_find(&i, NULL, &err), 0);
	assert_string_equal(i.root, "/tmp/other");
	assert_int_equal(instance_find(&i, "/tmp/mw", &err), 0);
	assert_string_equal(i.root, "/tmp/mw");
	unsetenv("MAILWAIN_ROOT");
}

static void a_relative_root_is_made_absolute(void **state)
{
	struct instance i;
	struct err err;

	(void)state;
	assert_int_equal(chdir("/usr"), 0);
	assert_int_equal(instance_find(&i, "mw/x/", &err), 0);
	assert_string_equal(i.root, "/usr/mw/x");
}

static void a_root_that_is_too_long(void **state)
{
	char root[INSTANCE_PATH + 1];
	struct instance i;
	struct err err;

	(void)state;
	memset(root, 'a', sizeof(root));
	root[0] = '/';
	root[INSTANCE_PATH] = '\0';
	assert_int_equal(instance_find(&i, root, &err), E_TOOBIG);
	assert_int_equal(instance_find(&i, root + 1, &err), E_TOOBIG); /* with the current directory before it */
	root[INSTANCE_PATH - 1] = '\0';
	assert_int_equal(instance_find(&i, root, &err), 0);
	/* Nothing is cut off behind the longest one. */
	assert_int_equal(strlen(i.conf), INSTANCE_PATH - 1 + strlen("/etc/mailwain.conf"));
}

/* A test program is neither in bin/ nor in libexec/: what is installed counts. */
static void programs_are_the_installed_ones(void **state)
{
	struct instance i;
	struct err err;

	(void)state;
	assert_int_equal(instance_find(&i, "/tmp/mw", &err), 0);
	assert_int_equal(i.bin[0], '/');
	assert_string_equal(i.bin + strlen(i.bin) - 4, "/bin");
	assert_string_equal(i.libexec + strlen(i.libexec) - 17, "/libexec/mailwain");
}

/* What a copy of this program finds that lies at DIR/<where>/show. */
static void assert_found(const char *dir, const char *where, const char *want)
{
	char command[512], got[300] = "";
	FILE *out;

	snprintf(command, sizeof(command), "cp /proc/%d/exe %s/%s/show && %s/%s/show", (int)getpid(), dir, where, dir, where);
	out = popen(command, "r");
	assert_non_null(out);
	assert_non_null(fgets(got, sizeof(got), out));
	pclose(out);
	assert_string_equal(got, want);
}

/* Beside the running command when it was built in a tree: build/bin, build/libexec. */
static void programs_of_a_tree_are_found(void **state)
{
	char dir[] = "/tmp/paths-test-XXXXXX", command[256], here[128], installed[256];
	struct instance i;
	struct err err;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(instance_find(&i, "/tmp/mw", &err), 0);
	snprintf(installed, sizeof(installed), "%.100s %.100s", i.bin, i.libexec);
	snprintf(here, sizeof(here), "%s/bin %s/libexec", dir, dir);
	snprintf(command, sizeof(command), "cd %s && mkdir bin libexec other && : >libexec/master", dir);
	assert_int_equal(system(command), 0);
	assert_found(dir, "bin", installed); /* a master that cannot be run is none */
	snprintf(command, sizeof(command), "chmod 755 %s/libexec/master", dir);
	assert_int_equal(system(command), 0);
	assert_found(dir, "bin", here);
	assert_found(dir, "libexec", here);
	assert_found(dir, "other", installed);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

static int show(void)
{
	struct instance i;
	struct err err;

	if (instance_find(&i, "/tmp/mw", &err) != 0)
		return 1;
	printf("%s %s", i.bin, i.libexec);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_machine_is_the_default),
	    cmocka_unit_test(below_a_root),
	    cmocka_unit_test(the_environment_is_asked_second),
	    cmocka_unit_test(a_relative_root_is_made_absolute),
	    cmocka_unit_test(a_root_that_is_too_long),
	    cmocka_unit_test(programs_are_the_installed_ones),
	    cmocka_unit_test(programs_of_a_tree_are_found),
	};

	if (argc == 1 && strcmp(argv[0] + strlen(argv[0]) - 5, "/show") == 0)
		return show();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
