/* What is kept for a time goes when its time is over, or when there is too much of it. */
#include "tests/unit/lib/store/fixture.h"

#include "store/draft.h"

#include <sodium.h>

enum { DAY = 86400 };

static unsigned entries(struct fixture *f, enum store_db db)
{
	MDB_stat stat;

	begin(f, false);
	assert_int_equal(mdb_stat(f->txn->mdb, f->store->db[db], &stat), 0);
	store_abort(&f->txn);
	return (unsigned)stat.ms_entries;
}

static void add_delivered(struct fixture *f, unsigned count, int64_t when)
{
	unsigned char key[STORE_KEY];

	begin(f, true);
	for (unsigned i = 0; i < count; i++) {
		randombytes_buf(key, sizeof(key));
		ok(f, record_put(f->txn, DB_DELIVERED, span_of(key, sizeof(key)), span_of(&when, sizeof(when)), &f->err));
	}
	commit(f);
}

/* An account that nobody has tidied for long. */
static int fixture_untidied(void **state)
{
	struct fixture *f;

	fixture_open(state);
	f = *state;
	begin(f, true);
	ok(f, tidied_put(f->txn, 0, &f->err));
	commit(f);
	return 0;
}

/* Everything that is in the log now becomes this old. */
static void age_log(struct fixture *f, int64_t when)
{
	MDB_cursor *cursor;
	MDB_val k, v;

	begin(f, true);
	assert_int_equal(mdb_cursor_open(f->txn->mdb, f->store->db[DB_LOG], &cursor), 0);
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
		char copy[64], key[64];
		struct span value;

		assert_true(record_check(DB_LOG, k, v, &value) && value.len <= sizeof(copy) && k.mv_size <= sizeof(key));
		memcpy(key, k.mv_data, k.mv_size);
		memcpy(copy, value.ptr, value.len);
		memcpy(copy + 16, &when, sizeof(when));
		ok(f, record_put(f->txn, DB_LOG, span_of(key, k.mv_size), span_of(copy, value.len), &f->err));
	}
	mdb_cursor_close(cursor);
	commit(f);
}

static void old_keys_and_changes_go_once_a_day(void **state)
{
	struct fixture *f = *state;
	int64_t now = clock_wall();

	age_log(f, now - (LOG_KEEP_DAYS + 1) * DAY);
	append(f, "INBOX", small_mail, 0);
	append(f, "INBOX", small_mail, 0);
	add_delivered(f, 2500, now - (DELIVERED_KEEP_DAYS + 1) * DAY);
	add_delivered(f, 7, now - DAY);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 7);
	assert_int_equal(entries(f, DB_LOG), 2);
	add_delivered(f, 1, 0);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 8);
	assert_int_equal(store_check(f->store, NULL, NULL), 0);
}

/* As if the clock were forty days ahead: what was kept since then is not of forty days ago. */
static void a_clock_that_is_ahead_takes_little(void **state)
{
	struct fixture *f = *state;
	int64_t now = clock_wall(), last = now - 40 * DAY;

	begin(f, true);
	ok(f, tidied_put(f->txn, last, &f->err));
	commit(f);
	add_delivered(f, 3, last);
	add_delivered(f, 5, last - DELIVERED_KEEP_DAYS * DAY);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 3);
	begin(f, true);
	ok(f, tidied_put(f->txn, now - DAY, &f->err));
	commit(f);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 0);
}

static bool at_once(void)
{
	return true;
}

static void one_that_has_to_end_leaves_the_rest_to_the_next(void **state)
{
	struct fixture *f = *state;

	add_delivered(f, 2500, 0);
	ok(f, store_tidy(f->store, 14, at_once, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 2500);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_int_equal(entries(f, DB_DELIVERED), 0);
}

static uint64_t number_of_days_ago(unsigned days)
{
	return file_new_number(0) - ((uint64_t)days * 24 * 60 * 60 * 1000 << 22);
}

static void put_file(struct fixture *f, const char *name, const char *content)
{
	char period[16];
	int fd;

	snprintf(period, sizeof(period), "%.8s", name);
	mkdirat(f->dir, period, 0700);
	fd = openat(f->dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static void message_of_days_ago(struct fixture *f, unsigned days, const char *content, char name[STORE_FILE_NAME])
{
	struct file_name parts = {number_of_days_ago(days), 1, 1700000000, file_sum(span_str(small_mail))};

	file_name(&parts, name);
	put_file(f, name, content);
}

static void draft_of_days_ago(struct fixture *f, unsigned days, char name[STORE_FILE_NAME])
{
	uint64_t number = number_of_days_ago(days);

	snprintf(name, STORE_FILE_NAME, "mail/%03x/%016llx.new", (unsigned)(number >> 52), (unsigned long long)number);
	put_file(f, name, small_mail);
}

static bool is_there(const char *name)
{
	return access(name, F_OK) == 0;
}

/* A message that is whole stays, whether or not the index knows it: perhaps the index is an old one. */
static void what_was_cut_short_more_than_a_day_ago_goes(void **state)
{
	struct fixture *f = *state;
	char old[STORE_FILE_NAME], older[STORE_FILE_NAME], young[STORE_FILE_NAME], draft[STORE_FILE_NAME], new[STORE_FILE_NAME], whole[STORE_FILE_NAME];
	struct store_message m = append(f, "INBOX", small_mail, 0);
	uint32_t count;

	append(f, "INBOX", small_mail, 0);
	begin(f, true);
	ok(f, store_expunge(f->txn, box(f, "INBOX").id, &m.uid, 1, &f->err));
	commit(f);
	message_of_days_ago(f, 2, "half", old);
	message_of_days_ago(f, 100, "", older);
	message_of_days_ago(f, 0, "half", young);
	message_of_days_ago(f, 50, small_mail, whole);
	draft_of_days_ago(f, 2, draft);
	draft_of_days_ago(f, 0, new);
	ok(f, store_tidy(f->store, 14, NULL, &f->err));
	assert_true(is_there(young) && is_there(whole) && is_there(new));
	assert_false(is_there(old) || is_there(older) || is_there(draft));
	begin(f, true);
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	commit(f);
	assert_int_equal(count, 1);
	assert_int_equal(store_check(f->store, NULL, NULL), 0);
}

/* What was taken for an orphan is not filed: a record without a file would be a fault. */
static void a_draft_that_was_taken_for_an_orphan_is_not_filed(void **state)
{
	struct fixture *f = *state;
	struct store_draft *draft;
	struct store_message m;

	ok(f, store_draft_new(f->store, box(f, "INBOX").id, 0, &draft, &f->err));
	ok(f, store_draft_write(draft, span_str(small_mail), &f->err));
	ok(f, store_draft_finish(draft, &f->err));
	assert_int_equal(unlink(draft->name), 0);
	draft->number -= UINT64_C(25) * 60 * 60 * 1000 << 22;
	file_name(&(struct file_name){draft->number, draft->mailbox, draft->arrived, draft->sum}, draft->name);
	begin(f, true);
	assert_int_equal(store_append(f->txn, draft, box(f, "INBOX").id, 0, NULL, 0, NULL, &m, &f->err), E_IO);
	store_abort(&f->txn);
	store_draft_free(&draft);
	assert_int_equal(store_check(f->store, NULL, NULL), 0);
}

/* A quota that only counts what is there is none: append, expunge, and again. */
static void no_more_is_kept_for_undo_than_the_quota(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX").id, count;

	store_set_quota(f->store, 3 * strlen(small_mail));
	for (int i = 0; i < 10; i++) {
		struct store_message m = append(f, "INBOX", small_mail, 0);

		begin(f, true);
		ok(f, store_expunge(f->txn, inbox, &m.uid, 1, &f->err));
		commit(f);
		ok(f, store_purge_surplus(f->store, &f->err));
	}
	assert_int_equal(usage(f).kept_bytes, 3 * strlen(small_mail));
	begin(f, true);
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	commit(f);
	assert_int_equal(count, 3);
	assert_string_equal(uids(f, "INBOX"), "11 12 13");
	assert_int_equal(store_check(f->store, NULL, NULL), 0);
}

/* It is written before the commit that it belongs to; a kill may come between them. */
static void names_of_a_change_that_was_cut_off_are_no_fault(void **state)
{
	struct fixture *f = *state;

	begin(f, true);
	ok(f, store_mailbox_delete(f->txn, box(f, "Sent").id, &f->err));
	ok(f, names_write(f->txn, &f->err));
	store_abort(&f->txn);
	assert_int_equal(store_check(f->store, NULL, NULL), 0);
	assert_int_equal(truncate("mailboxes", 20), 0);
	assert_int_equal(store_check(f->store, NULL, NULL), 1);
}

/* The copy of the names lies where a session may write: it is no more to be believed than a client. */
static void names_that_no_client_could_make_are_not_restored(void **state)
{
	struct fixture *f = *state;
	unsigned char sum[16];
	char text[4096], name[1200];
	int len, fd;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	len = snprintf(text, sizeof(text), "mailboxes 1 7\n1 7 0 1 0 INBOX\n2 7 0 1 0 %s\n3 7 0 1 0 a\033b\n0 7 0 0 0 zero\n4294967295 7 0 0 0 last\n4 7 0 1 0 good\n", name);
	crypto_generichash(sum, sizeof(sum), (const unsigned char *)text, (unsigned long long)len, NULL, 0);
	store_close(&f->store);
	fd = open("mailboxes", O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, text, (size_t)len), len);
	assert_int_equal(write(fd, sum, sizeof(sum)), sizeof(sum));
	close(fd);
	assert_int_equal(remove("index/data.mdb"), 0);
	assert_true(reopen(f));
	assert_true(box_is(f, "INBOX") && box_is(f, "good"));
	assert_false(box_is(f, "a\033b") || box_is(f, "zero") || box_is(f, "last"));
	assert_true(box_new(f, "next") == 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(old_keys_and_changes_go_once_a_day, fixture_untidied, fixture_close),
	    cmocka_unit_test_setup_teardown(a_clock_that_is_ahead_takes_little, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(one_that_has_to_end_leaves_the_rest_to_the_next, fixture_untidied, fixture_close),
	    cmocka_unit_test_setup_teardown(what_was_cut_short_more_than_a_day_ago_goes, fixture_untidied, fixture_close),
	    cmocka_unit_test_setup_teardown(a_draft_that_was_taken_for_an_orphan_is_not_filed, fixture_untidied, fixture_close),
	    cmocka_unit_test_setup_teardown(no_more_is_kept_for_undo_than_the_quota, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(names_of_a_change_that_was_cut_off_are_no_fault, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(names_that_no_client_could_make_are_not_restored, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
