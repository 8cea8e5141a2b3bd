/* Groups: the UIDs of a mailbox without its messages, through thousands of changes and over the edges of chunks and groups. */
#include "store/private.h"
#include "tests/unit/lib/store/fixture.h"

enum { SEVERAL = 2500 }; /* UIDs of three groups */

struct seen_uids {
	const struct store_message *list;
	size_t count, at;
};

static int hold_against(void *arg, uint32_t uid, bool unseen)
{
	struct seen_uids *seen = arg;

	assert_true(seen->at < seen->count);
	assert_int_equal(uid, seen->list[seen->at].uid);
	assert_int_equal(unseen, (seen->list[seen->at].flags & STORE_SEEN) == 0);
	seen->at++;
	return 0;
}

static void assert_fitting(struct fixture *f, const char *mailbox)
{
	struct seen_uids seen = {0};

	seen.list = list(f, mailbox, &seen.count);
	begin(f, false);
	ok(f, store_uid_each(f->txn, box(f, mailbox).id, hold_against, &seen, &f->err));
	store_abort(&f->txn);
	assert_int_equal(seen.at, seen.count);
	assert_int_equal(box(f, mailbox).exists, seen.count);
}

/* Many messages that are one file: copies cost no syncs. */
static void fill(struct fixture *f)
{
	uint32_t inbox = box(f, "INBOX").id, from = box(f, "Archive").id, one = 1;
	struct store_copied copied;

	append(f, "Archive", small_mail, 0);
	begin(f, true);
	for (int i = 0; i < SEVERAL; i++)
		ok(f, store_copy(f->txn, from, inbox, &one, 1, false, f->pool, &copied, &f->err));
	commit(f);
}

/* A random part of all UIDs, ascending. */
static size_t some(uint32_t *uids, unsigned part)
{
	size_t count = 0;

	for (uint32_t uid = 1; uid <= SEVERAL; uid++)
		if (random() % part == 0)
			uids[count++] = uid;
	return count;
}

static void groups_tell_what_the_messages_tell(void **state)
{
	struct fixture *f = *state;
	uint32_t uids[SEVERAL];

	fill(f);
	assert_fitting(f, "INBOX");
	srandom(7);
	for (unsigned round = 0; round < 12; round++) {
		uint32_t inbox = box(f, "INBOX").id;
		size_t count = some(uids, round % 3 == 0 ? 2 : 100);

		begin(f, true);
		ok(f, store_change_flags(f->txn, inbox, uids, count, round % 4 == 3 ? STORE_FLAGS_REMOVE : STORE_FLAGS_ADD, STORE_SEEN, NULL, 0, &f->err));
		count = some(uids, round == 8 ? 2 : 50);
		ok(f, store_expunge(f->txn, inbox, uids, count, &f->err));
		commit(f);
		assert_fitting(f, "INBOX");
	}
	assert_healthy(f);
	/* Everything: also what groups there were is gone. */
	for (uint32_t i = 0; i < SEVERAL; i++)
		uids[i] = i + 1;
	begin(f, true);
	ok(f, store_expunge(f->txn, box(f, "INBOX").id, uids, SEVERAL, &f->err));
	commit(f);
	assert_fitting(f, "INBOX");
	assert_healthy(f);
}

/* What has not changed is passed by, what has is found wherever it lies. */
static void changes_are_found_in_their_groups(void **state)
{
	static const uint32_t places[] = {1, 31, 32, 1023, 1024, 1025, 2047, 2048, SEVERAL};
	struct fixture *f = *state;
	struct store_message *changed;
	size_t count;

	fill(f);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint64_t before = box(f, "INBOX").modseq;

		begin(f, true);
		ok(f, store_change_flags(f->txn, box(f, "INBOX").id, &places[i], 1, STORE_FLAGS_ADD, STORE_FLAGGED, NULL, 0, &f->err));
		commit(f);
		begin(f, false);
		ok(f, store_message_list(f->txn, box(f, "INBOX").id, before, f->pool, &changed, &count, &f->err));
		assert_int_equal(count, 1);
		assert_int_equal(changed[0].uid, places[i]);
		store_abort(&f->txn);
	}
}

static void remove_record(struct fixture *f, struct span key)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr};

	begin(f, true);
	assert_int_equal(mdb_del(f->txn->mdb, f->store->db[DB_CATALOG], &k, NULL), 0);
	f->txn->dirty = true;
	commit(f);
}

static int ignore_uid(void *arg, uint32_t uid, bool unseen)
{
	(void)arg, (void)uid, (void)unseen;
	return 0;
}

static void a_group_that_is_missing_is_missed(void **state)
{
	struct fixture *f = *state;
	static const unsigned char group[] = {'c', 0, 0, 0, 1, 0, 0, 0, 1}, total[] = {'c', 0, 0, 0, 1};
	const struct span keys[] = {span_of(group, sizeof(group)), span_of(total, sizeof(total))};

	assert_int_equal(box(f, "INBOX").id, 1);
	for (size_t i = 0; i < 2; i++) {
		fill(f); /* a rebuild leaves what there are files for */
		remove_record(f, keys[i]);
		begin(f, false);
		assert_int_equal(store_uid_each(f->txn, 1, ignore_uid, NULL, &f->err), E_CORRUPT);
		store_abort(&f->txn);
		assert_true(reopen(f));
		assert_fitting(f, "INBOX");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(groups_tell_what_the_messages_tell, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(changes_are_found_in_their_groups, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_group_that_is_missing_is_missed, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
