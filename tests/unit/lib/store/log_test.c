/* The change log: what every change leaves, in order, under one modseq a transaction. */
#include "tests/unit/lib/store/fixture.h"

#include "store/private.h"

static int note_change(void *arg, const struct store_change *c)
{
	char *text = arg;
	size_t len = strlen(text);

	assert_true(c->when > clock_wall() - 600 && c->when <= clock_wall());
	snprintf(text + len, 1024 - len, "%u@%u:%u-%u%s%.*s ", c->type, c->mailbox, c->first_uid, c->last_uid, c->name.len ? "=" : "",
	    SPAN_ARG(c->name));
	return 0;
}

static uint64_t modseq_of(struct fixture *f)
{
	uint64_t modseq;

	begin(f, false);
	modseq = store_modseq(f->txn);
	store_abort(&f->txn);
	return modseq;
}

/* What changed since, in the numbers of enum store_change_type. */
static const char *changes(struct fixture *f, uint64_t since)
{
	static char text[1024];

	text[0] = '\0';
	begin(f, false);
	assert_int_equal(store_change_each(f->txn, since, note_change, text), 0);
	store_abort(&f->txn);
	return text;
}

static void every_change_is_logged(void **state)
{
	struct fixture *f = *state;
	uint32_t some[] = {1, 2, 4}, inbox = box(f, "INBOX").id, archive = box(f, "Archive").id, id, count;
	struct store_copied copied;
	uint64_t since = modseq_of(f), last;
	char expect[256];

	for (int i = 0; i < 4; i++)
		append(f, "INBOX", small_mail, 0);
	assert_string_equal(changes(f, since), "1@1:1-1 1@1:2-2 1@1:3-3 1@1:4-4 ");
	assert_true(modseq_of(f) == since + 4);
	last = modseq_of(f);
	begin(f, true);
	ok(f, store_change_flags(f->txn, inbox, some, 3, STORE_FLAGS_ADD, STORE_SEEN, NULL, 0, &f->err));
	ok(f, store_copy(f->txn, inbox, archive, some, 2, false, f->pool, &copied, &f->err));
	ok(f, store_expunge(f->txn, inbox, some + 2, 1, &f->err));
	commit(f);
	assert_string_equal(changes(f, last), "2@1:1-2 2@1:4-4 1@2:1-2 3@1:4-4 ");
	assert_true(modseq_of(f) == last + 1);
	assert_true(box(f, "INBOX").modseq == last + 1);
	assert_true(box(f, "Archive").modseq == last + 1);
	last = modseq_of(f);
	begin(f, true);
	ok(f, store_copy(f->txn, inbox, archive, some, 1, true, f->pool, &copied, &f->err));
	ok(f, store_undo(f->txn, 0, &count, &f->err));
	commit(f);
	assert_string_equal(changes(f, last), "3@1:1-1 1@2:3-3 1@1:5-5 ");
	last = modseq_of(f);
	id = box_new(f, "x/y");
	begin(f, true);
	ok(f, store_mailbox_rename(f->txn, id, SPAN_LIT("z"), &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("z"), true, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("z"), false, &f->err));
	ok(f, store_mailbox_delete(f->txn, id, &f->err));
	commit(f);
	snprintf(expect, sizeof(expect), "4@%u:0-0=x 4@%u:0-0=x/y 6@%u:0-0=z 7@0:1-0=z 7@0:0-0=z 5@%u:0-0=z ", id - 1, id, id, id);
	assert_string_equal(changes(f, last), expect);
	assert_string_equal(changes(f, modseq_of(f)), "");
}

struct counted {
	size_t count;
	uint32_t first, last;
};

static int count_change(void *arg, const struct store_change *c)
{
	struct counted *counted = arg;

	if (counted->count++ == 0)
		counted->first = c->first_uid;
	counted->last = c->first_uid;
	return 0;
}

static void the_oldest_go(void **state)
{
	struct fixture *f = *state;
	struct counted counted = {0};
	uint32_t uid = 0;

	for (int half = 0; half < 2; half++) {
		begin(f, true);
		for (int i = 0; i < LOG_RECORDS_MAX * 2 / 3; i++, uid++)
			ok(f, log_add(f->txn, STORE_CHANGE_FLAGS, 1, uid, uid, span_str(""), &f->err));
		commit(f);
	}
	assert_false(reopen(f));
	begin(f, false);
	ok(f, store_change_each(f->txn, 0, count_change, &counted));
	store_abort(&f->txn);
	assert_int_equal(counted.count, LOG_RECORDS_MAX);
	assert_int_equal(counted.first, uid - LOG_RECORDS_MAX);
	assert_int_equal(counted.last, uid - 1);
	assert_healthy(f);
}

static void a_name_that_is_made_again_is_logged(void **state)
{
	struct fixture *f = *state;
	uint32_t id;
	uint64_t last;
	char expect[64];

	box_new(f, "a/b");
	id = box(f, "a").id;
	begin(f, true);
	ok(f, store_mailbox_delete(f->txn, id, &f->err));
	commit(f);
	last = modseq_of(f);
	box_new(f, "a");
	snprintf(expect, sizeof(expect), "4@%u:0-0=a ", id);
	assert_string_equal(changes(f, last), expect);
}

static void nothing_changed_is_nothing_logged(void **state)
{
	struct fixture *f = *state;
	uint32_t some[] = {1, 2}, inbox = box(f, "INBOX").id;
	uint64_t last, generation;

	append(f, "INBOX", small_mail, STORE_SEEN);
	last = modseq_of(f);
	generation = store_generation(f->store);
	begin(f, true);
	ok(f, store_change_flags(f->txn, inbox, some, 2, STORE_FLAGS_ADD, STORE_SEEN, NULL, 0, &f->err));
	ok(f, store_expunge(f->txn, inbox, some + 1, 1, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("INBOX"), true, &f->err));
	commit(f);
	assert_string_equal(changes(f, last), "");
	assert_true(modseq_of(f) == last);
	assert_true(store_generation(f->store) == generation);
}

static int stop_at_second(void *arg, const struct store_change *c)
{
	(void)c;
	return ++*(int *)arg == 2 ? 7 : 0;
}

static void a_walk_can_be_stopped(void **state)
{
	struct fixture *f = *state;
	int calls = 0;

	begin(f, false);
	assert_int_equal(store_change_each(f->txn, 0, stop_at_second, &calls), 7);
	assert_int_equal(calls, 2);
}

struct seen {
	uint32_t next, count;
};

static int check_run(void *arg, const struct store_change *c)
{
	struct seen *s = arg;

	assert_int_equal(c->type, STORE_CHANGE_FLAGS);
	assert_int_equal(c->first_uid, s->next);
	assert_int_equal(c->last_uid, s->next);
	s->next += 2;
	s->count++;
	return 0;
}

/* Every other message: no two changes share a run, and there are more of them than fit 16 bits. */
static void seventy_thousand_runs(void **state)
{
	enum { COUNT = 140000 };
	struct fixture *f = *state;
	uint32_t *list_of = calloc(COUNT, sizeof(*list_of)), inbox = box(f, "INBOX").id;
	struct seen seen = {.next = 1};
	struct store_copied copied;
	uint64_t last;

	append(f, "INBOX", small_mail, 0);
	for (uint32_t have = 1; have < COUNT; have = box(f, "INBOX").exists) {
		uint32_t n = have < COUNT - have ? have : COUNT - have;

		for (uint32_t i = 0; i < n; i++)
			list_of[i] = i + 1;
		begin(f, true);
		ok(f, store_copy(f->txn, inbox, inbox, list_of, n, false, f->pool, &copied, &f->err));
		commit(f);
	}
	for (uint32_t i = 0; i < COUNT / 2; i++)
		list_of[i] = 2 * i + 1;
	last = modseq_of(f);
	begin(f, true);
	ok(f, store_change_flags(f->txn, inbox, list_of, COUNT / 2, STORE_FLAGS_ADD, STORE_SEEN, NULL, 0, &f->err));
	commit(f);
	begin(f, false);
	assert_int_equal(store_change_each(f->txn, last, check_run, &seen), 0);
	assert_int_equal(seen.count, COUNT / 2);
	store_abort(&f->txn);
	assert_int_equal(box(f, "INBOX").unseen, COUNT / 2);
	free(list_of);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_change_is_logged, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(the_oldest_go, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_name_that_is_made_again_is_logged, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(nothing_changed_is_nothing_logged, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_walk_can_be_stopped, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(seventy_thousand_runs, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
