/* pages_check sees every change to a page at which LMDB would stumble. */
#include "tests/unit/lib/store/fixture.h"

#include "store/private.h"

#include <sys/stat.h>

/* Facts out of proportion to their message are not kept. */
#define LINE "A line of text that is long enough, and a little more of it.\r\n"

enum { PAGE_SIZE = 4096 };

/* Reads all there is, as LMDB gives it; a fault in a page would end the process here. */
static uint64_t read_everything(struct store *s)
{
	uint64_t sum = 0;
	MDB_txn *txn;

	if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0)
		return 0;
	for (size_t i = 0; i < DB_COUNT; i++) {
		MDB_cursor *cursor;
		MDB_val k, v;

		if (mdb_cursor_open(txn, s->db[i], &cursor) != 0)
			continue;
		for (int n = 0; n < 10000 && mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0; n++) {
			const unsigned char *p = v.mv_data, *q = k.mv_data;

			for (size_t b = 0; b < k.mv_size; b++)
				sum += q[b];
			for (size_t b = 0; b < v.mv_size; b += 16)
				sum += p[b];
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return sum;
}

static void fill(struct fixture *f)
{
	char big[60000] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";

	for (int i = 0; i < 40; i++)
		append(f, i % 3 ? "INBOX" : "Archive", small_mail, 0);
	for (int i = 0; i < 150; i++)
		strcat(big, "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" LINE LINE LINE);
	append(f, "INBOX", big, 0); /* facts that take pages of their own */
	for (int i = 0; i < 30; i++) {
		char name[32];

		snprintf(name, sizeof(name), "box %d", i);
		box_new(f, name);
	}
}

static void whole_pages_are_accepted(void **state)
{
	struct fixture *f = *state;

	ok(f, index_pages_check(f->store, false, &f->err));
	ok(f, index_pages_check(f->store, true, &f->err));
	fill(f);
	ok(f, index_pages_check(f->store, false, &f->err));
	ok(f, index_pages_check(f->store, true, &f->err));
	assert_true(read_everything(f->store) > 0);
}

/* Numbers in heads and nodes changed one by one: refused, or LMDB can read it all the same. */
static void changed_numbers_are_seen_or_harmless(void **state)
{
	static const uint16_t values[] = {0, 1, 8, 15, 16, 17, 4095, 4096, 0x7fff, 0xffff};
	struct fixture *f = *state;
	unsigned refused = 0, harmless = 0;
	struct stat st;
	int fd;

	fill(f);
	fd = open("index/data.mdb", O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	srandom(19);
	for (int i = 0; i < 4000; i++) {
		off_t page = 2 + random() % (st.st_size / PAGE_SIZE - 2);
		/* The head and the first offsets, or somewhere among the nodes. */
		off_t at = page * PAGE_SIZE + (i % 2 ? random() % 24 * 2 : PAGE_SIZE - 2 - random() % 700 * 2);
		uint16_t value = i % 3 ? values[random() % 10] : (uint16_t)random(), before;

		assert_int_equal(pread(fd, &before, sizeof(before), at), sizeof(before));
		assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
		if (index_pages_check(f->store, true, &f->err) == 0) {
			harmless++;
			read_everything(f->store);
		} else {
			refused++;
			assert_non_null(strstr(f->err.text, "index: page "));
		}
		assert_int_equal(pwrite(fd, &before, sizeof(before), at), sizeof(before));
	}
	close(fd);
	assert_true(refused > 500);
	assert_true(harmless > 500);
	assert_healthy(f);
}

static bool is_refused(struct fixture *f, int fd, off_t at, unsigned char bit)
{
	unsigned char before, now;
	int r;

	assert_int_equal(pread(fd, &before, 1, at), 1);
	now = before ^ bit;
	assert_int_equal(pwrite(fd, &now, 1, at), 1);
	r = index_pages_check(f->store, true, &f->err);
	assert_int_equal(pwrite(fd, &before, 1, at), 1);
	return r != 0;
}

/* Each flag of each page that is in use: with some of them LMDB reads it well, and then does not write what was changed. */
static void every_flag_is_seen(void **state)
{
	struct fixture *f = *state;
	unsigned used = 0;
	struct stat st;
	int fd;

	fill(f);
	fd = open("index/data.mdb", O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t page = 2 * PAGE_SIZE; page < st.st_size; page += PAGE_SIZE) {
		bool in_use = is_refused(f, fd, page, 1); /* its number */

		used += in_use;
		for (unsigned bit = 0; bit < 16 && in_use; bit++)
			assert_true(is_refused(f, fd, page + 10 + bit / 8, (unsigned char)(1 << bit % 8)));
	}
	close(fd);
	assert_true(used > 10);
	assert_healthy(f);
}

/* A file that ends too early, and pages that are not where they say. */
static void pages_in_the_wrong_place(void **state)
{
	struct fixture *f = *state;
	char one[PAGE_SIZE], other[PAGE_SIZE];
	unsigned refused = 0;
	struct stat st;
	int fd;

	fill(f);
	fd = open("index/data.mdb", O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t page = 2; page + 1 < st.st_size / PAGE_SIZE; page++) {
		assert_int_equal(pread(fd, one, PAGE_SIZE, page * PAGE_SIZE), PAGE_SIZE);
		assert_int_equal(pread(fd, other, PAGE_SIZE, (page + 1) * PAGE_SIZE), PAGE_SIZE);
		assert_int_equal(pwrite(fd, other, PAGE_SIZE, page * PAGE_SIZE), PAGE_SIZE);
		refused += index_pages_check(f->store, true, &f->err) == E_CORRUPT;
		assert_int_equal(pwrite(fd, one, PAGE_SIZE, page * PAGE_SIZE), PAGE_SIZE);
	}
	assert_true(refused > 10);
	close(fd);
	assert_healthy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(whole_pages_are_accepted, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(changed_numbers_are_seen_or_harmless, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(every_flag_is_seen, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(pages_in_the_wrong_place, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
