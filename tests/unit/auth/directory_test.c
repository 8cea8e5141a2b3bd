/* What of the directory e2e tests do not reach: databases that an older one has not, and where an account logs in from. */
#include "tests/unit/test.h"

#include "auth/directory_private.h"
#include "auth/record.h"
#include "tests/fuzz/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct state {
	char path[64];
	struct directory *d;
	struct account account;
};

static int begin(void **state)
{
	static struct state s;
	struct err err;

	s = (struct state){.account = {.address = "a@example.org", .quota = UINT64_MAX}};
	*state = &s;
	return scratch_make(s.path) != 0 || directory_open(s.path, &s.d, &err) != 0 || directory_account_add(s.d, &s.account, &err) != 0;
}

static int end(void **state)
{
	struct state *s = *state;

	directory_close(&s->d);
	scratch_remove(s->path);
	return 0;
}

static int put_app(struct state *s, const char *label, bool replace)
{
	struct app_password app = {.protocols = 1, .created = 5};
	struct err err;

	span_copy(span_str(label), app.label, sizeof(app.label));
	return directory_app_put(s->d, s->account.id, &app, replace, &err);
}

/* As it was before there were these databases; their records are lost when there are any. */
static void make_old(struct state *s)
{
	uint64_t sum;
	MDB_txn *txn;

	assert_int_equal(mdb_txn_begin(s->d->env, NULL, 0, &txn), 0);
	assert_int_equal(auth_state_get(txn, s->d->accounts, &sum), 0);
	assert_int_equal(mdb_drop(txn, s->d->apps, 1), 0);
	assert_int_equal(mdb_drop(txn, s->d->places, 1), 0);
	assert_int_equal(auth_state_put(txn, s->d->accounts, sum), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	directory_close(&s->d);
}

static void an_older_one_gets_what_it_lacks(void **state)
{
	struct state *s = *state;
	struct account found;
	struct err err;

	make_old(s);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(directory_open(s->path, &s->d, &err), 0);
		assert_false(directory_is_damaged(s->d));
		assert_int_equal(directory_account_get(s->d, SPAN_LIT("a@example.org"), &found), 0);
		assert_int_equal(put_app(s, "x", i == 1), 0);
		directory_close(&s->d);
	}
}

static void a_lost_database_is_missed(void **state)
{
	struct state *s = *state;
	struct err err;

	assert_int_equal(put_app(s, "x", false), 0);
	make_old(s);
	assert_int_equal(directory_open(s->path, &s->d, &err), E_CORRUPT);
}

static unsigned day_of(struct state *s, uint64_t hash)
{
	struct place places[DIRECTORY_PLACES];

	directory_places_get(s->d, s->account.id, places);
	for (unsigned i = 0; i < DIRECTORY_PLACES; i++)
		if (places[i].hash == hash)
			return places[i].day;
	return 0;
}

static void the_place_that_was_quiet_for_longest_goes(void **state)
{
	struct state *s = *state;
	struct err err;

	for (uint32_t i = 1; i <= DIRECTORY_PLACES; i++)
		assert_int_equal(directory_place_put(s->d, s->account.id, &(struct place){100 + i, i}, &err), 0);
	assert_int_equal(directory_place_put(s->d, s->account.id, &(struct place){101, 50}, &err), 0);
	assert_int_equal(directory_place_put(s->d, s->account.id, &(struct place){200, 51}, &err), 0);
	assert_int_equal(day_of(s, 101), 50);
	assert_int_equal(day_of(s, 102), 0);
	assert_int_equal(day_of(s, 103), 3);
	assert_int_equal(day_of(s, 200), 51);
}

static int count_one(void *arg, const struct app_password *app)
{
	(void)app;
	++*(unsigned *)arg;
	return 0;
}

static void with_an_account_all_of_it_goes(void **state)
{
	struct state *s = *state;
	struct account other = {.address = "b@example.org", .quota = UINT64_MAX};
	struct app_password app = {.label = "theirs", .protocols = 1};
	unsigned count = 0;
	struct err err;

	assert_int_equal(directory_account_add(s->d, &other, &err), 0);
	assert_int_equal(directory_app_put(s->d, other.id, &app, false, &err), 0);
	for (char label[2] = "a"; label[0] <= 'e'; label[0]++)
		assert_int_equal(put_app(s, label, false), 0);
	assert_int_equal(put_app(s, "a", false), E_EXISTS);
	assert_int_equal(directory_place_put(s->d, s->account.id, &(struct place){1, 1}, &err), 0);
	assert_int_equal(directory_account_remove(s->d, SPAN_LIT("a@example.org"), &err), 0);
	assert_int_equal(directory_app_each(s->d, s->account.id, count_one, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(day_of(s, 1), 0);
	assert_int_equal(directory_app_each(s->d, other.id, count_one, &count), 0);
	assert_int_equal(count, 1);
	directory_close(&s->d);
	assert_int_equal(directory_open(s->path, &s->d, &err), 0); /* the sum is right */
	assert_false(directory_is_damaged(s->d));
}

enum { META_PAGE = 4096, META_TXN_AT = 144 };

/* A number that fell by two, from the newest meta page's to that of the page before the last commit. */
static void a_commit_that_is_gone_is_missed(void **state)
{
	struct state *s = *state;
	MDB_envinfo info;
	char file[96];
	struct err err;
	uint64_t number;
	int fd;

	for (uint32_t i = 1; i <= 20; i++)
		assert_int_equal(directory_place_put(s->d, s->account.id, &(struct place){101, i}, &err), 0);
	assert_int_equal(mdb_env_info(s->d->env, &info), 0);
	directory_close(&s->d);
	number = info.me_last_txnid - 2;
	snprintf(file, sizeof(file), "%s/data.mdb", s->path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &number, sizeof(number), (off_t)(number % 2 * META_PAGE + META_TXN_AT)), sizeof(number));
	close(fd);
	assert_int_equal(directory_open(s->path, &s->d, &err), E_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_older_one_gets_what_it_lacks, begin, end),
	    cmocka_unit_test_setup_teardown(a_lost_database_is_missed, begin, end),
	    cmocka_unit_test_setup_teardown(the_place_that_was_quiet_for_longest_goes, begin, end),
	    cmocka_unit_test_setup_teardown(with_an_account_all_of_it_goes, begin, end),
	    cmocka_unit_test_setup_teardown(a_commit_that_is_gone_is_missed, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
