/* Where an account's directory lies. */
#include "tests/unit/test.h"

#include "store/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];

static int setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/account-test-XXXXXX");
	return mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return chdir("/") != 0 || system(command) != 0;
}

/* <2 hex digits of id & 255>/<id>, made when it is missing, the same one the next time. */
static void the_path_is_made_of_the_number(void **state)
{
	static const struct {
		uint64_t account;
		const char *path;
	} rows[] = {{1, "01/1"}, {255, "ff/255"}, {256, "00/256"}, {0xab12, "12/43794"}, {UINT64_MAX, "ff/18446744073709551615"}, {0, "00/0"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stat by_path, by_fd, again;
		struct err err;
		int fd = store_account_open(rows[i].account, &err), second = store_account_open(rows[i].account, &err);

		assert_true(fd >= 0 && second >= 0);
		assert_int_equal(stat(rows[i].path, &by_path), 0);
		assert_int_equal(fstat(fd, &by_fd), 0);
		assert_int_equal(fstat(second, &again), 0);
		assert_true(S_ISDIR(by_fd.st_mode));
		assert_int_equal(by_path.st_ino, by_fd.st_ino);
		assert_int_equal(again.st_ino, by_fd.st_ino);
		assert_int_equal(by_fd.st_mode & 0777, 0700);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd);
		close(second);
	}
}

/* A link there would lead out of the store. */
static void what_is_no_directory_is_refused(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(mkdir("01", 0700), 0);
	assert_int_equal(symlink("/etc", "01/1"), 0);
	assert_true(store_account_open(1, &err) < 0);
	assert_non_null(strstr(err.text, "account directory 01/1"));
	assert_int_equal(mknod("01/257", S_IFREG | 0600, 0), 0);
	assert_true(store_account_open(257, &err) < 0);
	assert_int_equal(mknod("02", S_IFREG | 0600, 0), 0);
	assert_true(store_account_open(2, &err) < 0);
	assert_non_null(strstr(err.text, "account directory 02/2"));
}

/* The store's directory was taken away: an error, not another place. */
static void a_store_that_is_gone(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(store_account_open(1, &err), E_NOTFOUND);
	assert_non_null(strstr(err.text, "store directory 01"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_path_is_made_of_the_number, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_directory_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_store_that_is_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
