/* What relay remembers: found again after it was opened anew, begun again when it was damaged. */
#include "tests/unit/test.h"

#include "relay/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/mailwain-state-XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int remove_directory(void **state)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "damaged.mdb"};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		unlink(files[i]);
	return chdir("/") != 0 || rmdir(directory) != 0;
}

static struct state *must_open(void)
{
	struct state *s;
	struct err err = {0};

	if (state_open(&s, &err) != 0)
		fail_msg("%s", err.text);
	return s;
}

static void must_put(struct state *s, enum state_table table, const char *key, const char *value)
{
	struct err err;

	assert_int_equal(state_begin(s, &err), 0);
	assert_int_equal(state_put(s, table, span_str(key), span_str(value), &err), 0);
	assert_int_equal(state_commit(s, &err), 0);
}

/* "": none. */
static const char *value_of(struct state *s, enum state_table table, const char *key)
{
	static char text[64];
	struct buf out;

	buf_init(&out, sizeof(text) - 1);
	snprintf(text, sizeof(text), "%s", state_get(s, table, span_str(key), &out) == 0 ? buf_cstr(&out) : "");
	buf_fini(&out);
	return text;
}

static void records_are_found_again(void **state)
{
	struct state *s = must_open();

	(void)state;
	must_put(s, STATE_POLICIES, "example.com", "one");
	must_put(s, STATE_TRAFFIC, "example.com", "two");
	must_put(s, STATE_TRAFFIC, "example.com", "three");
	state_close(&s);
	assert_null(s);
	s = must_open();
	assert_string_equal(value_of(s, STATE_POLICIES, "example.com"), "one");
	assert_string_equal(value_of(s, STATE_TRAFFIC, "example.com"), "three");
	assert_string_equal(value_of(s, STATE_REPORTS, "example.com"), "");
	state_close(&s);
}

static void what_is_taken_back_is_not_there(void **state)
{
	struct state *s = must_open();
	struct err err;

	(void)state;
	must_put(s, STATE_POLICIES, "a", "1");
	assert_int_equal(state_begin(s, &err), 0);
	assert_int_equal(state_put(s, STATE_POLICIES, SPAN_LIT("b"), SPAN_LIT("2"), &err), 0);
	assert_int_equal(state_delete(s, STATE_POLICIES, SPAN_LIT("a"), &err), 0);
	assert_string_equal(value_of(s, STATE_POLICIES, "b"), "2");
	assert_string_equal(value_of(s, STATE_POLICIES, "a"), "");
	state_abort(s);
	assert_string_equal(value_of(s, STATE_POLICIES, "b"), "");
	assert_string_equal(value_of(s, STATE_POLICIES, "a"), "1");
	assert_int_equal(state_begin(s, &err), 0);
	assert_int_equal(state_delete(s, STATE_POLICIES, SPAN_LIT("nothing"), &err), 0);
	assert_int_equal(state_put(s, STATE_POLICIES, SPAN_LIT(""), SPAN_LIT("2"), &err), E_TOOBIG);
	state_close(&s);
}

static bool add_key(void *arg, struct span key, struct span value)
{
	struct buf *out = arg;

	buf_printf(out, "%.*s=%.*s ", SPAN_ARG(key), SPAN_ARG(value));
	return !span_eq(key, SPAN_LIT("c"));
}

static void records_come_in_order(void **state)
{
	struct state *s = must_open();
	struct buf out;

	(void)state;
	buf_init(&out, 200);
	for (int i = 3; i >= 0; i--)
		must_put(s, STATE_REPORTS, (const char *[]){"a", "b", "c", "d"}[i], "x");
	assert_int_equal(state_each(s, STATE_REPORTS, SPAN_LIT(""), add_key, &out), 0);
	assert_string_equal(buf_cstr(&out), "a=x b=x c=x ");
	buf_clear(&out);
	assert_int_equal(state_each(s, STATE_REPORTS, SPAN_LIT("aa"), add_key, &out), 0);
	assert_string_equal(buf_cstr(&out), "b=x c=x ");
	buf_fini(&out);
	state_close(&s);
}

static void overwrite(const char *what, size_t len, off_t at)
{
	int fd = open("data.mdb", O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, what, len, at), (ssize_t)len);
	close(fd);
}

static void a_damaged_file_is_set_aside(void **state)
{
	char garbage[4096 * 2];
	struct state *s = must_open();
	struct stat st;

	(void)state;
	must_put(s, STATE_POLICIES, "example.com", "one");
	state_close(&s);
	memset(garbage, 0xa5, sizeof(garbage));
	for (unsigned round = 0; round < 2; round++) { /* the meta pages, then those behind them */
		overwrite(garbage, sizeof(garbage), round * (off_t)sizeof(garbage));
		s = must_open();
		assert_string_equal(value_of(s, STATE_POLICIES, "example.com"), "");
		must_put(s, STATE_POLICIES, "example.com", "two");
		assert_string_equal(value_of(s, STATE_POLICIES, "example.com"), "two");
		state_close(&s);
		assert_int_equal(stat("damaged.mdb", &st), 0);
		assert_int_equal(unlink("damaged.mdb"), 0);
	}
}

/* Damage that leaves LMDB's own structure as it is. */
static void a_damaged_record_is_none(void **state)
{
	static char file[1024 * 1024];
	struct state *s = must_open();
	char *at;
	int fd;

	(void)state;
	must_put(s, STATE_POLICIES, "example.org", "a text that is looked for");
	state_close(&s);
	fd = open("data.mdb", O_RDONLY);
	assert_true(read(fd, file, sizeof(file)) > 0);
	close(fd);
	at = memmem(file, sizeof(file), "looked for", 10);
	assert_non_null(at);
	overwrite("L", 1, at - file);
	s = must_open();
	assert_string_equal(value_of(s, STATE_POLICIES, "example.org"), "");
	must_put(s, STATE_POLICIES, "example.org", "another");
	assert_string_equal(value_of(s, STATE_POLICIES, "example.org"), "another");
	state_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_are_found_again),
	    cmocka_unit_test(what_is_taken_back_is_not_there),
	    cmocka_unit_test(records_come_in_order),
	    cmocka_unit_test(a_damaged_record_is_none),
	    cmocka_unit_test(a_damaged_file_is_set_aside),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
