/* Mailboxes: names, making, renaming, removing, subscriptions, \Recent. */
#include "tests/unit/lib/store/fixture.h"

#include "store/private.h"

static void names_are_checked(void **state)
{
	static const struct {
		struct span name;
		int code;
	} rows[] = {
	    {SPAN_LIT("a"), 0}, {SPAN_LIT("a/b"), 0}, {SPAN_LIT("Entw\303\274rfe/\342\202\254"), 0}, {SPAN_LIT("a b"), 0},
	    {SPAN_LIT("..."), 0}, {SPAN_LIT("a.."), 0}, {SPAN_LIT("a\\b\"c&d"), 0}, {SPAN_LIT(""), E_CANNOT},
	    {SPAN_LIT("/"), E_CANNOT}, {SPAN_LIT("/a"), E_CANNOT}, {SPAN_LIT("a/"), E_CANNOT}, {SPAN_LIT("a//b"), E_CANNOT},
	    {SPAN_LIT("."), E_CANNOT}, {SPAN_LIT(".."), E_CANNOT}, {SPAN_LIT("a/../b"), E_CANNOT}, {SPAN_LIT("./a"), E_CANNOT},
	    {SPAN_LIT("a/."), E_CANNOT}, {SPAN_LIT("a*"), E_CANNOT}, {SPAN_LIT("%"), E_CANNOT}, {SPAN_LIT("a\nb"), E_CANNOT},
	    {SPAN_LIT("a\0b"), E_CANNOT}, {SPAN_LIT("a\177"), E_CANNOT}, {SPAN_LIT("a\377"), E_CANNOT},
	    {SPAN_LIT("\355\240\200"), E_CANNOT}, {SPAN_LIT("\300\257"), E_CANNOT},
	};
	char deep[2 * STORE_DEPTH_MAX + 2], big[STORE_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (store_mailbox_check_name(rows[i].name, NULL) != rows[i].code)
			fail_msg("%.*s", SPAN_ARG(rows[i].name));
	memset(deep, 'a', sizeof(deep));
	for (size_t i = 1; i < sizeof(deep); i += 2)
		deep[i] = '/';
	assert_int_equal(store_mailbox_check_name(span_of(deep, 2 * STORE_DEPTH_MAX - 1), NULL), 0);
	assert_int_equal(store_mailbox_check_name(span_of(deep, 2 * STORE_DEPTH_MAX + 1), NULL), E_CANNOT);
	memset(big, 'a', sizeof(big));
	assert_int_equal(store_mailbox_check_name(span_of(big, STORE_NAME_MAX), NULL), 0);
	assert_int_equal(store_mailbox_check_name(span_of(big, STORE_NAME_MAX + 1), NULL), E_CANNOT);
}

static void making_a_mailbox_makes_its_parents(void **state)
{
	struct fixture *f = *state;
	uint32_t id, again;

	id = box_new(f, "a/b/c");
	assert_true(box_is(f, "a"));
	assert_true(box_is(f, "a/b"));
	assert_int_equal(box(f, "a/b/c").id, id);
	assert_int_equal(box(f, "a/b/c").uidnext, 1);
	assert_false(box(f, "a").noselect);
	assert_false(box(f, "a/b/c").subscribed);
	begin(f, true);
	assert_int_equal(store_mailbox_create(f->txn, SPAN_LIT("a/b"), 0, &again, &f->err), E_EXISTS);
	assert_int_equal(store_mailbox_create(f->txn, SPAN_LIT("inbox"), 0, &again, &f->err), E_EXISTS);
	assert_int_equal(store_mailbox_create(f->txn, SPAN_LIT("a//b"), 0, &again, &f->err), E_CANNOT);
	store_abort(&f->txn);
	assert_false(box_is(f, "A"));
	box_new(f, "A");
	assert_true(box(f, "A").id != box(f, "a").id);
	assert_true(box(f, "A").uidvalidity > box(f, "a").uidvalidity);
}

/* LMDB's keys end at 511 octets: longer names go another way. */
static void long_names_are_told_apart(void **state)
{
	static const size_t lengths[] = {499, 500, 501, 511, 512, STORE_NAME_MAX};
	struct fixture *f = *state;
	char name[STORE_NAME_MAX + 1];
	uint32_t ids[2][6];

	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < 6; i++) {
			memset(name, 'x', lengths[i]);
			name[lengths[i]] = '\0';
			name[lengths[i] - 1] = k ? 'y' : 'x';
			ids[k][i] = box_new(f, name);
			begin(f, true);
			ok(f, store_mailbox_subscribe(f->txn, span_str(name), k, &f->err));
			commit(f);
		}
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < 6; i++) {
			memset(name, 'x', lengths[i]);
			name[lengths[i]] = '\0';
			name[lengths[i] - 1] = k ? 'y' : 'x';
			assert_int_equal(box(f, name).id, ids[k][i]);
			assert_span_equal(box(f, name).name, name);
			assert_int_equal(box(f, name).subscribed, k);
		}
	name[0] = 'z';
	assert_false(box_is(f, name));
}

static int delete(struct fixture *f, const char *name)
{
	int r;

	begin(f, true);
	r = store_mailbox_delete(f->txn, box(f, name).id, &f->err);
	if (r == 0)
		commit(f);
	else
		store_abort(&f->txn);
	return r;
}

static int rename_to(struct fixture *f, const char *name, const char *to)
{
	int r;

	begin(f, true);
	r = store_mailbox_rename(f->txn, box(f, name).id, span_str(to), &f->err);
	if (r == 0)
		commit(f);
	else
		store_abort(&f->txn);
	return r;
}

static void removing_keeps_children_and_undo(void **state)
{
	struct fixture *f = *state;
	uint32_t old, id;

	box_new(f, "a/b/c");
	old = box(f, "a").uidvalidity;
	append(f, "a", small_mail, 0);
	append(f, "a/b/c", small_mail, 0);
	assert_int_equal(delete(f, "INBOX"), E_CANNOT);
	assert_int_equal(delete(f, "a"), 0);
	assert_true(box(f, "a").noselect);
	assert_int_equal(box(f, "a").exists, 0);
	assert_int_equal(box(f, "a/b/c").exists, 1);
	assert_int_equal(delete(f, "a"), E_CANNOT);
	assert_true(usage(f).kept_bytes > 0);
	/* Making another child does not bring it back; making it does, and as another one. */
	box_new(f, "a/d");
	assert_true(box(f, "a").noselect);
	box_new(f, "a");
	assert_false(box(f, "a").noselect);
	assert_true(box(f, "a").uidvalidity > old);
	id = box(f, "a/b/c").id;
	assert_int_equal(delete(f, "a/b/c"), 0);
	assert_false(box_is(f, "a/b/c"));
	assert_true(box_is(f, "a/b"));
	assert_true(box_new(f, "a/b/c") > id);
	assert_int_equal(box(f, "a/b/c").exists, 0);
	assert_healthy(f);
}

static void nothing_is_filed_where_no_messages_can_be(void **state)
{
	struct fixture *f = *state;
	struct store_copied copied;
	struct store_message m;
	struct store_draft *draft;
	uint32_t one = 1;

	box_new(f, "a/b");
	assert_int_equal(delete(f, "a"), 0);
	append(f, "INBOX", small_mail, 0);
	draft = draft_of(f, box(f, "a").id, small_mail);
	begin(f, true);
	assert_int_equal(store_append(f->txn, draft, box(f, "a").id, 0, NULL, 0, NULL, &m, &f->err), E_CANNOT);
	assert_int_equal(store_append(f->txn, draft, 9999, 0, NULL, 0, NULL, &m, &f->err), E_NOTFOUND);
	assert_int_equal(store_copy(f->txn, box(f, "INBOX").id, box(f, "a").id, &one, 1, false, f->pool, &copied, &f->err), E_CANNOT);
	store_abort(&f->txn);
	store_draft_free(&draft);
	assert_int_equal(box(f, "INBOX").exists, 1);
}

static void renaming_takes_children_along(void **state)
{
	struct fixture *f = *state;
	struct store_mailbox before;
	uint32_t id = box_new(f, "a/b/c");

	box_new(f, "ab");
	box_new(f, "a/bc");
	append(f, "a/b/c", small_mail, 0);
	before = box(f, "a/b/c");
	assert_int_equal(rename_to(f, "a/b", "ab"), E_EXISTS);
	assert_int_equal(rename_to(f, "a/b", "a/b/x"), E_CANNOT);
	assert_int_equal(rename_to(f, "a/b", "x/../y"), E_CANNOT);
	assert_int_equal(rename_to(f, "a/b", "a/b"), E_EXISTS);
	assert_int_equal(rename_to(f, "a/b", "Inbox"), E_EXISTS);
	assert_int_equal(rename_to(f, "a/b", "new/place"), 0);
	assert_false(box_is(f, "a/b"));
	assert_false(box_is(f, "a/b/c"));
	assert_true(box_is(f, "a/bc"));
	assert_true(box_is(f, "new"));
	assert_int_equal(box(f, "new/place/c").id, id);
	assert_int_equal(box(f, "new/place/c").uidvalidity, before.uidvalidity);
	assert_string_equal(uids(f, "new/place/c"), "1");
	assert_int_equal(rename_to(f, "Sent", "Gesendet"), 0);
	assert_int_equal(box(f, "Gesendet").use, STORE_USE_SENT);
	/* Below a name that only holds others: it goes on doing only that. */
	assert_int_equal(delete(f, "new"), 0);
	assert_int_equal(rename_to(f, "ab", "new/ab"), 0);
	assert_true(box(f, "new").noselect);
	assert_healthy(f);
}

/* A child's new name would be too long: nothing is renamed. */
static void renaming_fails_as_a_whole(void **state)
{
	struct fixture *f = *state;
	char name[STORE_NAME_MAX + 1];

	memset(name, 'n', sizeof(name) - 1);
	name[STORE_NAME_MAX] = '\0';
	box_new(f, "a/b");
	assert_int_equal(rename_to(f, "a", name), E_CANNOT);
	assert_true(box_is(f, "a"));
	assert_true(box_is(f, "a/b"));
	assert_false(box_is(f, name));
}

/* RFC 3501 section 6.3.5. */
/* RFC 3501 section 5.1: its names are one in any case; a tree beside it would be another for some clients. */
static void below_inbox_in_any_case(void **state)
{
	struct fixture *f = *state;
	uint32_t id = box_new(f, "inbox/x/y");

	assert_int_equal(box(f, "INBOX/x/y").id, id);
	assert_int_equal(box(f, "Inbox/x/y").id, id);
	assert_span_equal(box(f, "inbox/x").name, "INBOX/x");
	box_new(f, "a");
	assert_int_equal(rename_to(f, "a", "iNBOX/b"), 0);
	assert_true(box_is(f, "INBOX/b"));
	box_new(f, "inboxes/x");
	assert_false(box_is(f, "INBOXes/x"));
	begin(f, true);
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("inbox/x"), true, &f->err));
	commit(f);
	assert_true(box(f, "INBOX/x").subscribed);
	assert_healthy(f);
}

static void renaming_inbox_moves_its_messages(void **state)
{
	struct fixture *f = *state;
	uint32_t id = box(f, "INBOX").id;

	append(f, "INBOX", small_mail, STORE_FLAGGED);
	append(f, "INBOX", small_mail, 0);
	box_new(f, "INBOX/child");
	assert_int_equal(rename_to(f, "INBOX", "old/mail"), 0);
	assert_int_equal(box(f, "INBOX").id, id);
	assert_int_equal(box(f, "INBOX").exists, 0);
	assert_int_equal(box(f, "INBOX").uidnext, 3);
	assert_int_equal(box(f, "old/mail").exists, 2);
	assert_string_equal(uids(f, "old/mail"), "1 2");
	assert_true(box_is(f, "INBOX/child"));
	assert_int_equal(rename_to(f, "INBOX", "empty"), 0);
	assert_int_equal(box(f, "empty").exists, 0);
	assert_healthy(f);
}

static int count_box(void *arg, const struct store_mailbox *m)
{
	assert_int_equal(m->keywords[63].len, m->id > 6 ? STORE_KEYWORD_MAX : 0);
	++*(size_t *)arg;
	return 0;
}

static void very_many_subscriptions(void **state)
{
	struct fixture *f = *state;
	char name[32];

	begin(f, true);
	for (int i = 6; i < STORE_SUBSCRIPTIONS_MAX; i++) { /* behind those of a new account */
		snprintf(name, sizeof(name), "name%d", i);
		ok(f, name_subscribe(f->txn, span_str(name), true, &f->err));
	}
	assert_int_equal(store_mailbox_subscribe(f->txn, SPAN_LIT("another"), true, &f->err), E_LIMIT);
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("name6"), true, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("name6"), false, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("another"), true, &f->err));
	commit(f);
	assert_healthy(f);
}

/* More than can be made, as an earlier release let it be, and more in all than one transaction has memory for. */
static void very_many_mailboxes(void **state)
{
	enum { MANY = 8200 };
	struct fixture *f = *state;
	struct store_mailbox box = {.uidvalidity = 1, .uidnext = 1, .recent_uid = 1};
	char word[STORE_KEYWORD_MAX], name[32];
	size_t count = 0;
	uint32_t id;

	memset(word, 'w', sizeof(word));
	for (int i = 0; i < STORE_KEYWORDS_MAX; i++)
		box.keywords[i] = span_of(word, sizeof(word));
	begin(f, true);
	for (uint32_t i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/%u", i);
		box.id = 7 + i; /* behind those of a new account */
		box.name = span_str(name);
		ok(f, mailbox_new(f->txn, box.id, box.name, 0, 1, &f->err));
		ok(f, mailbox_put(f->txn, &box, &f->err));
	}
	commit(f);
	reopen(f);
	begin(f, true);
	ok(f, store_mailbox_each(f->txn, count_box, &count));
	assert_int_equal(count, MANY + 6);
	assert_int_equal(store_mailbox_create(f->txn, SPAN_LIT("another"), 0, &id, &f->err), E_LIMIT);
	ok(f, store_mailbox_rename(f->txn, box.id, SPAN_LIT("renamed"), &f->err));
	ok(f, store_mailbox_delete(f->txn, box.id, &f->err));
	commit(f);
}

static int note_subscription(void *arg, struct span name)
{
	char *text = arg;

	snprintf(text + strlen(text), 512 - strlen(text), "%.*s,", SPAN_ARG(name));
	return 0;
}

static void subscriptions_outlive_their_mailbox(void **state)
{
	struct fixture *f = *state;
	char names[512] = "";

	begin(f, true);
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("not/there"), true, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("Junk"), false, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("Junk"), false, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("inbox"), true, &f->err));
	assert_int_equal(store_mailbox_subscribe(f->txn, SPAN_LIT("a//b"), true, &f->err), E_CANNOT);
	commit(f);
	assert_int_equal(delete(f, "Sent"), 0);
	begin(f, false);
	assert_int_equal(store_subscription_each(f->txn, note_subscription, names), 0);
	store_abort(&f->txn);
	assert_string_equal(names, "Archive,Drafts,INBOX,Sent,Trash,not/there,");
	assert_false(box(f, "Junk").subscribed);
	box_new(f, "not/there");
	assert_true(box(f, "not/there").subscribed);
}

static void recent_is_taken_once(void **state)
{
	struct fixture *f = *state;
	uint32_t first = 0;

	append(f, "INBOX", small_mail, 0);
	append(f, "INBOX", small_mail, 0);
	for (uint32_t round = 0; round < 3; round++) {
		if (round == 2)
			append(f, "INBOX", small_mail, 0);
		begin(f, true);
		ok(f, store_take_recent(f->txn, box(f, "INBOX").id, &first, &f->err));
		commit(f);
		assert_int_equal(first, round == 0 ? 1 : 3);
		assert_int_equal(box(f, "INBOX").recent_uid, round == 2 ? 4 : 3);
	}
	begin(f, true);
	assert_int_equal(store_take_recent(f->txn, 9999, &first, &f->err), E_NOTFOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_checked),
	    cmocka_unit_test_setup_teardown(making_a_mailbox_makes_its_parents, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(long_names_are_told_apart, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(removing_keeps_children_and_undo, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(nothing_is_filed_where_no_messages_can_be, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(renaming_takes_children_along, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(renaming_fails_as_a_whole, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(below_inbox_in_any_case, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(very_many_subscriptions, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(very_many_mailboxes, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(renaming_inbox_moves_its_messages, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(subscriptions_outlive_their_mailbox, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(recent_is_taken_once, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
