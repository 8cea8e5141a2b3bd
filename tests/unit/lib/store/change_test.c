/* Flags, keywords, copying, moving, expunging, undo, purge. */
#include "tests/unit/lib/store/fixture.h"

static void change(struct fixture *f, const char *mailbox, const uint32_t *list_of, size_t count, enum store_how how, uint32_t flags,
    const char *word)
{
	struct span words[] = {span_str(word)};

	begin(f, true);
	ok(f, store_change_flags(f->txn, box(f, mailbox).id, list_of, count, how, flags, words, word ? 1 : 0, &f->err));
	commit(f);
}

static struct store_message get(struct fixture *f, const char *mailbox, uint32_t uid)
{
	struct store_message m;

	begin(f, false);
	ok(f, store_message_get(f->txn, box(f, mailbox).id, uid, &m, &f->err));
	store_abort(&f->txn);
	return m;
}

static void expunge(struct fixture *f, const char *mailbox, const uint32_t *list_of, size_t count)
{
	begin(f, true);
	ok(f, store_expunge(f->txn, box(f, mailbox).id, list_of, count, &f->err));
	commit(f);
}

static bool file_is(struct fixture *f, const struct store_message *m)
{
	int fd, r = store_file_open(f->store, m, &fd, &f->err);

	if (r == 0)
		close(fd);
	return r == 0;
}

static void fill(struct fixture *f, const char *mailbox, int count)
{
	for (int i = 0; i < count; i++)
		append(f, mailbox, small_mail, 0);
}

static void flags_are_set_added_and_removed(void **state)
{
	static const struct {
		enum store_how how;
		uint32_t flags, result, unseen;
	} rows[] = {
	    {STORE_FLAGS_ADD, STORE_SEEN | STORE_DRAFT, STORE_SEEN | STORE_DRAFT, 2},
	    {STORE_FLAGS_ADD, STORE_FLAGGED, STORE_SEEN | STORE_DRAFT | STORE_FLAGGED, 2},
	    {STORE_FLAGS_REMOVE, STORE_SEEN | STORE_ANSWERED, STORE_DRAFT | STORE_FLAGGED, 3},
	    {STORE_FLAGS_SET, STORE_SEEN | STORE_DELETED, STORE_SEEN | STORE_DELETED, 2},
	    {STORE_FLAGS_SET, 0, 0, 3},
	};
	struct fixture *f = *state;
	uint32_t two = 2;

	fill(f, "INBOX", 3);
	assert_int_equal(box(f, "INBOX").unseen, 3);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before = box(f, "INBOX").modseq;

		change(f, "INBOX", &two, 1, rows[i].how, rows[i].flags, NULL);
		assert_int_equal(get(f, "INBOX", 2).flags, rows[i].result);
		assert_int_equal(get(f, "INBOX", 1).flags, 0);
		assert_int_equal(get(f, "INBOX", 3).flags, 0);
		assert_int_equal(box(f, "INBOX").unseen, rows[i].unseen);
		assert_true(get(f, "INBOX", 2).modseq > before);
		assert_true(get(f, "INBOX", 2).modseq == box(f, "INBOX").modseq);
		assert_true(get(f, "INBOX", 1).modseq < before);
	}
	assert_healthy(f);
}

static void uids_that_are_not_there_are_skipped(void **state)
{
	struct fixture *f = *state;
	uint32_t some[] = {0, 2, 3, 40, 41, 999999, UINT32_MAX}, all[] = {1, 2, 3, 4};

	fill(f, "INBOX", 4);
	expunge(f, "INBOX", some, 2);
	assert_string_equal(uids(f, "INBOX"), "1 3 4");
	change(f, "INBOX", some, 7, STORE_FLAGS_ADD, STORE_SEEN, NULL);
	assert_int_equal(get(f, "INBOX", 3).flags, STORE_SEEN);
	assert_int_equal(box(f, "INBOX").unseen, 2);
	expunge(f, "INBOX", all, 4);
	expunge(f, "INBOX", all, 4);
	assert_string_equal(uids(f, "INBOX"), "");
	assert_int_equal(box(f, "INBOX").exists, 0);
	assert_int_equal(box(f, "INBOX").unseen, 0);
	assert_int_equal(box(f, "INBOX").size, 0);
	assert_healthy(f);
}

static void keywords_keep_their_places(void **state)
{
	struct fixture *f = *state;
	uint32_t one = 1, two = 2;
	char name[16];

	fill(f, "INBOX", 2);
	change(f, "INBOX", &one, 1, STORE_FLAGS_ADD, 0, "first");
	change(f, "INBOX", &two, 1, STORE_FLAGS_ADD, 0, "second");
	change(f, "INBOX", &two, 1, STORE_FLAGS_ADD, 0, "FIRST");
	assert_int_equal(get(f, "INBOX", 1).keywords, 1);
	assert_int_equal(get(f, "INBOX", 2).keywords, 3);
	change(f, "INBOX", &two, 1, STORE_FLAGS_REMOVE, 0, "First");
	assert_int_equal(get(f, "INBOX", 2).keywords, 2);
	change(f, "INBOX", &two, 1, STORE_FLAGS_REMOVE, 0, "unknown");
	assert_int_equal(box(f, "INBOX").keywords[2].len, 0);
	for (int i = 2; i < STORE_KEYWORDS_MAX; i++) {
		snprintf(name, sizeof(name), "word%d", i);
		change(f, "INBOX", &one, 1, STORE_FLAGS_ADD, 0, name);
	}
	assert_true(get(f, "INBOX", 1).keywords == (UINT64_MAX & ~UINT64_C(2)));
	begin(f, true);
	struct span more = SPAN_LIT("one-too-many"), none = SPAN_LIT("");
	assert_int_equal(store_change_flags(f->txn, box(f, "INBOX").id, &one, 1, STORE_FLAGS_ADD, 0, &more, 1, &f->err), E_LIMIT);
	assert_int_equal(store_change_flags(f->txn, box(f, "INBOX").id, &one, 1, STORE_FLAGS_ADD, 0, &none, 1, &f->err), E_LIMIT);
	store_abort(&f->txn);
	change(f, "INBOX", &one, 1, STORE_FLAGS_SET, 0, "word63");
	assert_true(get(f, "INBOX", 1).keywords == UINT64_C(1) << 63);
}

/* The longest of everything a mailbox record can hold. */
static void a_full_mailbox_record_is_kept(void **state)
{
	struct fixture *f = *state;
	char name[STORE_NAME_MAX + 1], word[STORE_KEYWORD_MAX + 2];
	uint32_t one = 1;

	memset(name, 'n', STORE_NAME_MAX);
	name[STORE_NAME_MAX] = '\0';
	box_new(f, name);
	fill(f, name, 1);
	for (int i = 0; i < STORE_KEYWORDS_MAX; i++) {
		memset(word, 'a' + i % 26, STORE_KEYWORD_MAX);
		word[0] = (char)('A' + i / 26);
		word[STORE_KEYWORD_MAX] = '\0';
		change(f, name, &one, 1, STORE_FLAGS_ADD, 0, word);
	}
	assert_true(get(f, name, 1).keywords == UINT64_MAX);
	assert_span_equal(box(f, name).keywords[63], word);
	assert_span_equal(box(f, name).name, name);
	strcat(word, "x");
	struct span too_long = span_str(word);
	begin(f, true);
	assert_int_equal(store_change_flags(f->txn, box(f, name).id, &one, 1, STORE_FLAGS_SET, 0, &too_long, 1, &f->err), E_LIMIT);
}

static void a_copy_is_a_message_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct store_copied copied;
	uint32_t some[] = {1, 3, 7}, one = 1;
	struct store_message a, b;

	fill(f, "INBOX", 3);
	fill(f, "Archive", 1);
	change(f, "Archive", &one, 1, STORE_FLAGS_ADD, 0, "other");
	change(f, "INBOX", some, 2, STORE_FLAGS_SET, STORE_FLAGGED, "mark");
	begin(f, true);
	ok(f, store_copy(f->txn, box(f, "INBOX").id, box(f, "Archive").id, some, 3, false, f->pool, &copied, &f->err));
	commit(f);
	assert_int_equal(copied.count, 2);
	assert_int_equal(copied.from[0], 1);
	assert_int_equal(copied.from[1], 3);
	assert_int_equal(copied.to[0], 2);
	assert_int_equal(copied.to[1], 3);
	assert_string_equal(uids(f, "INBOX"), "1 2 3");
	assert_string_equal(uids(f, "Archive"), "1 2 3");
	a = get(f, "INBOX", 3);
	b = get(f, "Archive", 3);
	assert_true(a.number == b.number);
	assert_int_equal(b.flags, STORE_FLAGGED);
	assert_int_equal(b.arrived, a.arrived);
	assert_int_equal(a.keywords, 1);
	assert_int_equal(b.keywords, 2); /* "mark" has another place there */
	change(f, "Archive", &copied.to[1], 1, STORE_FLAGS_SET, 0, NULL);
	assert_int_equal(get(f, "INBOX", 3).flags, STORE_FLAGGED);
	assert_int_equal(usage(f).messages, 6);
	assert_true(file_is(f, &b));
	assert_healthy(f);
}

static void a_copy_into_a_full_table_leaves_keywords_out(void **state)
{
	struct fixture *f = *state;
	struct store_copied copied;
	uint32_t one = 1;
	char name[16];

	fill(f, "INBOX", 1);
	fill(f, "Trash", 1);
	for (int i = 0; i < STORE_KEYWORDS_MAX; i++) {
		snprintf(name, sizeof(name), "word%d", i);
		change(f, "Trash", &one, 1, STORE_FLAGS_ADD, 0, name);
	}
	change(f, "INBOX", &one, 1, STORE_FLAGS_ADD, 0, "another");
	change(f, "INBOX", &one, 1, STORE_FLAGS_ADD, 0, "word7");
	begin(f, true);
	ok(f, store_copy(f->txn, box(f, "INBOX").id, box(f, "Trash").id, &one, 1, true, f->pool, &copied, &f->err));
	commit(f);
	assert_string_equal(uids(f, "Trash"), "1 2");
	assert_true(get(f, "Trash", 2).keywords == UINT64_C(1) << 7);
	assert_healthy(f);
}

static void a_move_is_one_step(void **state)
{
	struct fixture *f = *state;
	struct store_copied copied;
	uint32_t some[] = {1, 2}, inbox = box(f, "INBOX").id;
	struct store_message before, after;

	fill(f, "INBOX", 3);
	change(f, "INBOX", some, 1, STORE_FLAGS_ADD, STORE_SEEN, "mark");
	before = get(f, "INBOX", 1);
	begin(f, true);
	ok(f, store_copy(f->txn, inbox, box(f, "Trash").id, some, 2, true, f->pool, &copied, &f->err));
	commit(f);
	assert_int_equal(copied.count, 2);
	assert_string_equal(uids(f, "INBOX"), "3");
	assert_string_equal(uids(f, "Trash"), "1 2");
	after = get(f, "Trash", 1);
	assert_true(after.number == before.number);
	assert_int_equal(after.origin, inbox);
	assert_int_equal(after.keywords, 1);
	assert_span_equal(box(f, "Trash").keywords[0], "mark");
	assert_int_equal(box(f, "Trash").unseen, 1);
	assert_int_equal(box(f, "INBOX").unseen, 1);
	assert_int_equal(usage(f).messages, 3);
	assert_int_equal(usage(f).kept_bytes, 0);
	assert_true(file_is(f, &after));
	/* Onto itself: new UIDs, nothing lost. */
	begin(f, true);
	ok(f, store_copy(f->txn, after.origin + 5, after.origin + 5, some, 2, true, f->pool, &copied, &f->err));
	commit(f);
	assert_string_equal(uids(f, "Trash"), "3 4");
	assert_int_equal(box(f, "Trash").exists, 2);
	begin(f, true);
	assert_int_equal(store_copy(f->txn, inbox, 999, some, 2, true, f->pool, &copied, &f->err), 0);
	assert_int_equal(copied.count, 0);
	some[0] = 3;
	assert_int_equal(store_copy(f->txn, inbox, 999, some, 1, true, f->pool, &copied, &f->err), E_NOTFOUND);
	assert_int_equal(store_copy(f->txn, 999, inbox, some, 1, true, f->pool, &copied, &f->err), E_NOTFOUND);
	store_abort(&f->txn);
	assert_healthy(f);
}

static void what_is_expunged_comes_back(void **state)
{
	struct fixture *f = *state;
	uint32_t some[] = {2, 3}, count = 99, id = box_new(f, "Work/Old"), one = 1;
	struct store_message before;

	fill(f, "INBOX", 4);
	fill(f, "Work/Old", 1);
	change(f, "INBOX", some, 2, STORE_FLAGS_ADD, STORE_DELETED | STORE_FLAGGED, "mark");
	change(f, "Work/Old", &one, 1, STORE_FLAGS_ADD, STORE_SEEN, "mark");
	before = get(f, "INBOX", 2);
	expunge(f, "INBOX", some, 2);
	assert_string_equal(uids(f, "INBOX"), "1 4");
	assert_true(file_is(f, &before));
	assert_int_equal(usage(f).kept_bytes, 2 * before.size);
	begin(f, true);
	ok(f, store_mailbox_delete(f->txn, id, &f->err));
	commit(f);
	begin(f, true);
	ok(f, store_undo(f->txn, clock_wall() + 60, &count, &f->err));
	assert_int_equal(count, 0);
	ok(f, store_undo(f->txn, clock_wall() - 60, &count, &f->err));
	commit(f);
	assert_int_equal(count, 3);
	assert_string_equal(uids(f, "INBOX"), "1 4 5 6 7");
	assert_int_equal(get(f, "INBOX", 5).flags, STORE_FLAGGED);
	assert_int_equal(get(f, "INBOX", 5).keywords, 1);
	assert_int_equal(get(f, "INBOX", 5).arrived, before.arrived);
	/* Its mailbox is gone, and so are the words of its table. */
	assert_int_equal(get(f, "INBOX", 7).flags, STORE_SEEN);
	assert_int_equal(get(f, "INBOX", 7).keywords, 0);
	assert_int_equal(usage(f).kept_bytes, 0);
	assert_int_equal(usage(f).messages, 5);
	begin(f, true);
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	commit(f);
	assert_int_equal(count, 0);
	assert_healthy(f);
}

static void purge_ends_the_time_to_undo(void **state)
{
	struct fixture *f = *state;
	struct store_copied copied;
	uint32_t all[] = {1, 2, 3}, count = 99, one = 1;
	struct store_message m[3];
	struct store_facts facts;

	fill(f, "INBOX", 3);
	for (uint32_t i = 0; i < 3; i++)
		m[i] = get(f, "INBOX", i + 1);
	begin(f, true);
	ok(f, store_copy(f->txn, box(f, "INBOX").id, box(f, "Sent").id, &one, 1, false, f->pool, &copied, &f->err));
	commit(f);
	expunge(f, "INBOX", all, 2);
	ok(f, store_purge(f->store, clock_wall() - 60, &count, &f->err));
	assert_int_equal(count, 0);
	assert_true(file_is(f, &m[1]));
	ok(f, store_purge(f->store, clock_wall() + 60, &count, &f->err));
	assert_int_equal(count, 2);
	assert_true(file_is(f, &m[0])); /* it still is in Sent */
	assert_false(file_is(f, &m[1]));
	assert_true(file_is(f, &m[2]));
	assert_int_equal(usage(f).kept_bytes, 0);
	begin(f, false);
	assert_int_equal(store_facts_get(f->txn, m[1].number, &facts, &f->err), E_NOTFOUND);
	ok(f, store_facts_get(f->txn, m[0].number, &facts, &f->err));
	store_abort(&f->txn);
	assert_healthy(f);
	expunge(f, "Sent", &one, 1);
	ok(f, store_purge(f->store, clock_wall() + 60, &count, &f->err));
	assert_int_equal(count, 1);
	assert_false(file_is(f, &m[0]));
	begin(f, true);
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	assert_int_equal(count, 0);
}

/* One transaction may expunge more than fits 16 bits, in as many runs. */
static void seventy_thousand_at_once(void **state)
{
	enum { COUNT = 140000 };
	struct fixture *f = *state;
	uint32_t *odd = calloc(COUNT, sizeof(*odd)), count, total = 0, inbox = box(f, "INBOX").id;
	struct store_copied copied;

	fill(f, "INBOX", 1);
	/* Doubling copies. */
	for (uint32_t have = 1; have < COUNT; have = box(f, "INBOX").exists) {
		uint32_t n = have < COUNT - have ? have : COUNT - have;

		for (uint32_t i = 0; i < n; i++)
			odd[i] = i + 1;
		begin(f, true);
		ok(f, store_copy(f->txn, inbox, inbox, odd, n, false, f->pool, &copied, &f->err));
		commit(f);
	}
	for (uint32_t i = 0; i < COUNT / 2; i++)
		odd[i] = 2 * i + 2;
	expunge(f, "INBOX", odd, COUNT / 2);
	assert_int_equal(box(f, "INBOX").exists, COUNT / 2);
	assert_int_equal(usage(f).kept_bytes, COUNT / 2 * (sizeof(small_mail) - 1));
	begin(f, true);
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	commit(f);
	assert_int_equal(count, COUNT / 2);
	assert_int_equal(usage(f).kept_bytes, 0);
	for (uint32_t i = 0; i < COUNT / 2; i++)
		odd[i] = 2 * i + 1;
	expunge(f, "INBOX", odd, COUNT / 2);
	do {
		ok(f, store_purge(f->store, clock_wall() + 60, &count, &f->err));
		total += count;
	} while (count > 0);
	assert_int_equal(total, COUNT / 2);
	assert_int_equal(usage(f).kept_bytes, 0);
	assert_int_equal(box(f, "INBOX").exists, COUNT / 2);
	free(odd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(flags_are_set_added_and_removed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(uids_that_are_not_there_are_skipped, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(keywords_keep_their_places, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_full_mailbox_record_is_kept, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_copy_is_a_message_of_its_own, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_copy_into_a_full_table_leaves_keywords_out, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_move_is_one_step, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(what_is_expunged_comes_back, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(purge_ends_the_time_to_undo, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(seventy_thousand_at_once, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
