/* Checksums of records and of message files; what becomes of an index in which somebody met damage. */
#include "tests/unit/lib/store/fixture.h"

#include "store/private.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool is_there(const char *name)
{
	return access(name, F_OK) == 0;
}

/* One bit of the first record from this key on, within a transaction of the store: nothing but the checksum can tell. */
static void flip_record(struct fixture *f, enum store_db db, struct span prefix)
{
	MDB_cursor *cursor;
	MDB_val k = {prefix.len, (void *)(uintptr_t)prefix.ptr}, v;
	static char copy[65536];

	begin(f, true);
	assert_int_equal(mdb_cursor_open(f->txn->mdb, f->store->db[db], &cursor), 0);
	assert_int_equal(mdb_cursor_get(cursor, &k, &v, prefix.len > 0 ? MDB_SET_RANGE : MDB_FIRST), 0);
	assert_true(v.mv_size <= sizeof(copy));
	memcpy(copy, v.mv_data, v.mv_size);
	copy[(v.mv_size - RECORD_SUM) / 2] ^= 4;
	v.mv_data = copy;
	assert_int_equal(mdb_cursor_put(cursor, &k, &v, MDB_CURRENT), 0);
	mdb_cursor_close(cursor);
	f->txn->dirty = true;
	commit(f);
}

static void fill(struct fixture *f)
{
	uint32_t uid = 1;
	struct store_copied copied;

	for (int i = 0; i < 3; i++)
		append(f, "INBOX", small_mail, 0);
	append(f, "Sent", small_mail, 0);
	begin(f, true);
	ok(f, store_copy(f->txn, box(f, "INBOX").id, box(f, "Archive").id, &uid, 1, false, f->pool, &copied, &f->err));
	ok(f, store_expunge(f->txn, box(f, "INBOX").id, &uid, 1, &f->err));
	commit(f);
}

static void damaged_messages_are_not_listed(void **state)
{
	struct fixture *f = *state;
	struct store_message *all, m;
	size_t count;
	char faults[4096];

	fill(f);
	flip_record(f, DB_MESSAGES, span_str(""));
	begin(f, false);
	assert_int_equal(store_message_list(f->txn, 1, 0, f->pool, &all, &count, &f->err), E_CORRUPT);
	assert_int_equal(store_message_get(f->txn, 1, 2, &m, &f->err), E_CORRUPT);
	ok(f, store_message_list(f->txn, box(f, "Sent").id, 0, f->pool, &all, &count, &f->err));
	store_abort(&f->txn);
	assert_int_equal(check(f, faults), 1);
	assert_non_null(strstr(faults, "mailbox INBOX UID 0: index: a record of messages is damaged"));
	/* Somebody met it: the next opening makes the index again, and everything is there. */
	assert_true(is_there(STORE_SUSPECT));
	assert_true(reopen(f));
	assert_false(is_there(STORE_SUSPECT));
	assert_int_equal(box(f, "INBOX").exists, 3);
	assert_healthy(f);
}

static void a_record_that_is_missing_is_missed(void **state)
{
	struct fixture *f = *state;
	unsigned char key[8] = {0, 0, 0, 1};
	MDB_val k = {sizeof(key), key};
	struct store_message *all;
	size_t count;

	fill(f);
	begin(f, true);
	assert_int_equal(mdb_del(f->txn->mdb, f->store->db[DB_MESSAGES], &k, NULL), 0);
	f->txn->dirty = true;
	commit(f);
	begin(f, false);
	assert_int_equal(store_message_list(f->txn, 1, 0, f->pool, &all, &count, &f->err), E_CORRUPT);
	store_abort(&f->txn);
	assert_true(reopen(f));
}

static void damage_of_each_database_is_found(void **state)
{
	struct fixture *f = *state;
	static const struct {
		enum store_db db;
		const char *key, *fault;
	} rows[] = {{DB_CATALOG, "n", "index: a record of catalog"}, {DB_FACTS, "", "index: a record of facts"}, {DB_REFS, "", "index: a record of references"},
	    {DB_LOG, "", "index: a record of log"}, {DB_EXPUNGED, "", "index: a record of expunged"}};
	char faults[4096];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fill(f);
		assert_healthy(f);
		flip_record(f, rows[i].db, span_str(rows[i].key));
		assert_true(check(f, faults) > 0);
		if (strstr(faults, rows[i].fault) == NULL)
			fail_msg("%zu: %s", i, faults);
		/* Facts are found again when they are wanted. */
		assert_int_equal(reopen(f), rows[i].db != DB_FACTS);
		if (rows[i].db == DB_FACTS)
			ok(f, (store_close(&f->store), store_rebuild(f->dir, NULL, NULL, &f->err)));
		reopen(f);
	}
}

static void mailboxes_that_are_damaged_are_made_again_at_once(void **state)
{
	struct fixture *f = *state;

	fill(f);
	box_new(f, "mine");
	flip_record(f, DB_CATALOG, span_str("m"));
	assert_true(reopen(f));
	assert_true(box_is(f, "mine"));
}

/* Nothing is removed on the word of an index that is damaged. */
static void a_damaged_index_is_not_purged(void **state)
{
	struct fixture *f = *state;
	uint32_t count, uid = 2;

	fill(f);
	flip_record(f, DB_REFS, span_str(""));
	assert_int_equal(store_purge(f->store, INT64_MAX, &count, &f->err), E_CORRUPT);
	assert_true(reopen(f));
	assert_int_equal(box(f, "INBOX").exists, 3);
	begin(f, true);
	ok(f, store_expunge(f->txn, 1, &uid, 1, &f->err));
	commit(f);
	ok(f, store_purge(f->store, INT64_MAX, &count, &f->err));
	assert_int_equal(count, 1);
}

/* LMDB takes the meta page with the greater number: one whose number fell would bring back what was before it. */
static void a_commit_that_is_taken_back_is_noticed(void **state)
{
	struct fixture *f = *state;
	uint64_t newest;
	int fd;

	fill(f);
	newest = store_generation(f->store);
	store_close(&f->store);
	fd = open("index/data.mdb", O_RDWR);
	newest -= 2;
	assert_int_equal(pwrite(fd, &newest, 8, (off_t)(newest % 2 * 4096 + 144)), 8);
	close(fd);
	assert_true(reopen(f));
	assert_int_equal(box(f, "INBOX").exists, 3);
}

enum { META_PAGE = 4096, META_TXN_AT = 144 };

static bool meta_fails;

/* LMDB's too: the disk fails while it writes a meta page, and not when it writes the old numbers back. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	if (meta_fails && at < (off_t)2 * META_PAGE) {
		meta_fails = false;
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, at);
}

static int flag(struct fixture *f, enum store_how how)
{
	uint32_t uid = 2;

	begin(f, true);
	ok(f, store_change_flags(f->txn, 1, &uid, 1, how, STORE_FLAGGED, NULL, 0, &f->err));
	return store_commit(&f->txn, &f->err);
}

/* Until none needs a page more than the one before. */
static uint64_t flag_often(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		ok(f, flag(f, i % 2 == 0 ? STORE_FLAGS_ADD : STORE_FLAGS_REMOVE));
	ok(f, flag(f, STORE_FLAGS_ADD));
	return store_generation(f->store);
}

static void put_number(const char *path, off_t at, uint64_t number)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, &number, sizeof(number), at), sizeof(number));
	close(fd);
}

/* When it could not write a meta page LMDB leaves the octets of one whose number has fallen by two; but it has not counted the commit. */
static void a_commit_that_failed_is_no_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t number;

	fill(f);
	number = flag_often(f);
	meta_fails = true;
	assert_int_equal(flag(f, STORE_FLAGS_REMOVE), E_IO);
	assert_false(meta_fails);
	assert_false(reopen(f));
	assert_int_equal(store_generation(f->store), number);
	assert_true(list(f, "INBOX", &(size_t){0})[0].flags & STORE_FLAGGED);
	assert_healthy(f);
}

static void a_commit_that_falls_by_two_is_noticed(void **state)
{
	struct fixture *f = *state;
	uint64_t number;

	fill(f);
	number = flag_often(f);
	store_close(&f->store);
	put_number("index/data.mdb", (off_t)(number % 2 * META_PAGE + META_TXN_AT), number - 2);
	assert_true(reopen(f));
	assert_int_equal(box(f, "INBOX").exists, 3);
	assert_healthy(f);
}

/* From a backup: it is as sound as it was then, though the lock file tells of later commits. */
static void an_older_index_that_was_put_back_serves(void **state)
{
	struct fixture *f = *state;

	fill(f);
	ok(f, flag(f, STORE_FLAGS_ADD));
	for (int i = 0; i < 2; i++) {
		store_close(&f->store);
		assert_int_equal(system("cp index/data.mdb older"), 0);
		assert_false(reopen(f));
		for (int n = 0; n <= i; n++)
			append(f, "INBOX", small_mail, 0);
		store_close(&f->store);
		assert_int_equal(system("cp older index/data.mdb"), 0);
		assert_false(reopen(f));
		assert_int_equal(box(f, "INBOX").exists, 2);
		assert_true(list(f, "INBOX", &(size_t){0})[0].flags & STORE_FLAGGED);
	}
}

/* A lock file that is damaged, gone or behind, as it may be after a cut of the power, says nothing against a sound index. */
static void a_lock_file_alone_is_not_believed(void **state)
{
	struct fixture *f = *state;

	fill(f);
	for (off_t at = 0; at < 64; at += 8) {
		for (int i = 0; i < 3; i++) {
			store_close(&f->store);
			put_number("index/lock.mdb", at, (const uint64_t[]){0, UINT64_MAX, 1000}[i]);
			assert_false(reopen(f));
		}
	}
	store_close(&f->store);
	assert_int_equal(truncate("index/lock.mdb", 3), 0);
	assert_false(reopen(f));
	store_close(&f->store);
	assert_int_equal(unlink("index/lock.mdb"), 0);
	assert_false(reopen(f));
	assert_healthy(f);
}

static void a_changed_message_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store_message m = append(f, "INBOX", small_mail, 0);
	char name[STORE_FILE_NAME], text[sizeof(small_mail)], faults[4096];
	struct store_facts facts;
	int fd;

	append(f, "INBOX", small_mail, 0);
	ok(f, store_file_verify(&m, span_str(small_mail), &f->err));
	memcpy(text, small_mail, sizeof(text));
	text[sizeof(text) - 3] ^= 1;
	assert_int_equal(store_file_verify(&m, span_str(text), &f->err), E_CORRUPT);
	begin(f, false);
	ok(f, store_facts_get(f->txn, m.number, &facts, &f->err));
	ok(f, store_header_verify(&m, &facts, span_str(text), &f->err));
	text[3] ^= 1;
	assert_int_equal(store_header_verify(&m, &facts, span_str(text), &f->err), E_CORRUPT);
	assert_int_equal(store_header_verify(&m, &facts, SPAN_LIT("x"), &f->err), E_CORRUPT);
	store_abort(&f->txn);
	message_file_name(&m, name);
	fd = open(name, O_WRONLY);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	close(fd);
	assert_int_equal(check(f, faults), 1);
	assert_non_null(strstr(faults, "mailbox INBOX UID 1: message file mail/"));
	/* A new index does not make it right. */
	store_close(&f->store);
	faults[0] = '\0';
	ok(f, store_rebuild(f->dir, note_fault, faults, &f->err));
	assert_non_null(strstr(faults, "its content does not fit its checksum; moved to damaged/"));
	assert_false(reopen(f));
	assert_int_equal(box(f, "INBOX").exists, 1);
}

/* Who dies of what he reads leaves a mark; a sound index loses nothing by it. */
static void a_death_is_looked_into(void **state)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT};
	struct fixture *f = *state;
	int status;

	append(f, "INBOX", small_mail, STORE_FLAGGED);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			crash_watch(-1); /* cmocka has handlers of its own */
			signal(signals[i], SIG_DFL);
			crash_watch(f->dir);
			raise(signals[i]);
			raise(signals[i]);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(status != 0);
		assert_true(is_there(STORE_SUSPECT));
		assert_false(reopen(f));
		assert_false(is_there(STORE_SUSPECT));
		assert_int_equal(list(f, "INBOX", &(size_t){0})[0].flags, STORE_FLAGGED);
	}
}

/* Others have it open: what is sound serves, until they are gone. */
static void a_suspect_index_that_is_in_use(void **state)
{
	struct fixture *f = *state;
	int fd;

	fill(f);
	flip_record(f, DB_MESSAGES, span_str(""));
	close(open(STORE_SUSPECT, O_CREAT | O_WRONLY, 0600));
	fd = open("lock", O_RDWR);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_false(reopen(f));
	assert_int_equal(list(f, "Sent", &(size_t){0})[0].uid, 1);
	assert_true(is_there(STORE_SUSPECT));
	close(fd);
	assert_true(reopen(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(damaged_messages_are_not_listed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_record_that_is_missing_is_missed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(damage_of_each_database_is_found, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(mailboxes_that_are_damaged_are_made_again_at_once, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_damaged_index_is_not_purged, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_commit_that_is_taken_back_is_noticed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_commit_that_failed_is_no_damage, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_commit_that_falls_by_two_is_noticed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_older_index_that_was_put_back_serves, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_lock_file_alone_is_not_believed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_changed_message_is_refused, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_death_is_looked_into, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_suspect_index_that_is_in_use, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
