/* Opening an account, adding messages, deliveries and quota. */
#include "tests/unit/lib/store/fixture.h"

#include "store/private.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int note_name(void *arg, const struct store_mailbox *m)
{
	char *text = arg;

	snprintf(text + strlen(text), 512 - strlen(text), "%.*s:%u%s%s ", SPAN_ARG(m->name), m->use, m->subscribed ? "+" : "-",
	    m->noselect ? "!" : "");
	return 0;
}

static int stop_at_once(void *arg, const struct store_mailbox *m)
{
	(void)m;
	++*(int *)arg;
	return 42;
}

static void a_new_account_has_its_mailboxes(void **state)
{
	struct fixture *f = *state;
	char names[512] = "";
	int calls = 0;

	begin(f, false);
	assert_int_equal(store_mailbox_each(f->txn, note_name, names), 0);
	assert_string_equal(names, "Archive:1+ Drafts:2+ INBOX:0+ Junk:4+ Sent:8+ Trash:16+ ");
	assert_int_equal(store_mailbox_each(f->txn, stop_at_once, &calls), 42);
	assert_int_equal(calls, 1);
	store_abort(&f->txn);
	assert_int_equal(box(f, "INBOX").uidnext, 1);
	assert_int_equal(box(f, "INBOX").exists, 0);
	assert_int_equal(box(f, "iNbOx").id, box(f, "INBOX").id);
	assert_healthy(f);
}

static void an_account_is_not_made_unasked(void **state)
{
	struct fixture *f = *state;
	struct store_options options = {0};
	struct stat st;

	assert_int_equal(store_open(&f->store, f->dir, &options, NULL, &f->err), E_NOTFOUND);
	assert_null(f->store);
	assert_int_not_equal(stat("mail", &st), 0);
	assert_false(reopen(f));
	store_close(&f->store);
	ok(f, store_open(&f->store, f->dir, &options, NULL, &f->err));
	assert_int_equal(box(f, "INBOX").exists, 0);
}

static void a_message_is_what_was_appended(void **state)
{
	struct fixture *f = *state;
	struct span words[] = {SPAN_LIT("$Forwarded"), SPAN_LIT("later")};
	uint32_t inbox = box(f, "INBOX").id;
	struct store_draft *draft = draft_of(f, inbox, small_mail);
	struct store_message m, again, *all;
	char text[256] = "";
	size_t count;
	int fd;

	assert_int_equal(store_draft_size(draft), sizeof(small_mail) - 1);
	begin(f, true);
	ok(f, store_append(f->txn, draft, inbox, STORE_SEEN | STORE_FLAGGED, words, 2, NULL, &m, &f->err));
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	assert_false(reopen(f));
	begin(f, false);
	ok(f, store_message_get(f->txn, inbox, 1, &again, &f->err));
	assert_memory_equal(&m, &again, sizeof(m));
	assert_int_equal(store_message_get(f->txn, inbox, 2, &again, &f->err), E_NOTFOUND);
	store_abort(&f->txn);
	assert_int_equal(m.uid, 1);
	assert_int_equal(m.flags, STORE_SEEN | STORE_FLAGGED);
	assert_int_equal(m.keywords, 3);
	assert_int_equal(m.arrived, 1700000000);
	assert_int_equal(m.size, sizeof(small_mail) - 1);
	assert_int_equal(m.origin, inbox);
	assert_span_equal(box(f, "INBOX").keywords[0], "$Forwarded");
	assert_span_equal(box(f, "INBOX").keywords[1], "later");
	assert_int_equal(box(f, "INBOX").unseen, 0);
	all = list(f, "INBOX", &count);
	assert_int_equal(count, 1);
	assert_memory_equal(&m, all, sizeof(m));
	ok(f, store_file_open(f->store, &m, &fd, &f->err));
	assert_int_equal(read(fd, text, sizeof(text)), sizeof(small_mail) - 1);
	assert_string_equal(text, small_mail);
	close(fd);
	assert_healthy(f);
}

static void facts_are_those_of_the_message(void **state)
{
	struct fixture *f = *state;
	struct store_message dated = append(f, "INBOX",
	    "Date: Tue, 14 Nov 2023 22:13:21 +0000\r\nSubject: one\r\n\r\nHello.\r\nTwo.\r\n", 0);
	struct store_message undated = append(f, "INBOX", small_mail, 0);
	struct store_facts facts;

	begin(f, false);
	ok(f, store_facts_get(f->txn, dated.number, &facts, &f->err));
	assert_int_equal(facts.header_size, 55);
	assert_int_equal(facts.sent, 1700000001);
	assert_span_equal(facts.envelope,
	    "(\"Tue, 14 Nov 2023 22:13:21 +0000\" \"one\" NIL NIL NIL NIL NIL NIL NIL NIL)");
	assert_span_equal(facts.body,
	    "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 14 2)");
	assert_span_equal(facts.bodystructure,
	    "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 14 2 NIL NIL NIL NIL)");
	assert_int_equal(facts.parts.len, 28);
	ok(f, store_facts_get(f->txn, undated.number, &facts, &f->err));
	assert_int_equal(facts.sent, 1700000000);
	assert_int_equal(store_facts_get(f->txn, undated.number + 1, &facts, &f->err), E_NOTFOUND);
}

/* Written in pieces over the size that is kept in memory: the other path through finish. */
static void a_large_message_is_written_as_it_came(void **state)
{
	enum { PIECE = 1000, PIECES = 700 };
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX").id;
	struct store_draft *draft;
	struct store_message m;
	struct store_facts facts;
	char piece[PIECE];
	int fd;

	ok(f, store_draft_new(f->store, inbox, 5, &draft, &f->err));
	ok(f, store_draft_write(draft, SPAN_LIT("Subject: big\r\n\r\n"), &f->err));
	for (int i = 0; i < PIECES; i++) {
		memset(piece, 'a' + i % 26, PIECE);
		ok(f, store_draft_write(draft, span_of(piece, PIECE), &f->err));
	}
	ok(f, store_draft_finish(draft, &f->err));
	begin(f, true);
	ok(f, store_append(f->txn, draft, inbox, 0, NULL, 0, NULL, &m, &f->err));
	ok(f, store_facts_get(f->txn, m.number, &facts, &f->err));
	assert_int_equal(facts.header_size, 16);
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	assert_int_equal(m.size, 16 + PIECE * PIECES);
	ok(f, store_file_open(f->store, &m, &fd, &f->err));
	for (int i = 0; i < PIECES; i++) {
		assert_int_equal(pread(fd, piece, PIECE, 16 + i * PIECE), PIECE);
		for (int k = 0; k < PIECE; k++)
			assert_int_equal(piece[k], 'a' + i % 26);
	}
	close(fd);
	assert_healthy(f);
}

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path, (void)st, (void)ftw;
	return type == FTW_F ? (int)(1 + strlen(path)) : 0;
}

static void a_draft_that_is_not_kept_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_draft *drafts[3];
	int codes[3];

	for (int i = 0; i < 3; i++) {
		ok(f, store_draft_new(f->store, 1, 5, &drafts[i], &f->err));
		if (i < 2)
			ok(f, store_draft_write(drafts[i], span_str(small_mail), &f->err));
	}
	store_drafts_finish(drafts, codes, 2);
	assert_int_not_equal(nftw("mail", count_file, 16, 0), 0);
	assert_int_equal(codes[0], 0);
	assert_int_equal(codes[1], 0);
	for (int i = 0; i < 3; i++)
		store_draft_free(&drafts[i]);
	store_draft_free(&drafts[0]);
	assert_int_equal(nftw("mail", count_file, 16, 0), 0);
}

static void an_aborted_transaction_changed_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX").id;
	struct store_draft *draft = draft_of(f, inbox, small_mail);
	uint64_t generation = store_generation(f->store), modseq;
	struct store_message m;

	begin(f, true);
	modseq = store_modseq(f->txn);
	ok(f, store_append(f->txn, draft, inbox, 0, NULL, 0, NULL, &m, &f->err));
	assert_int_equal(box(f, "INBOX").exists, 1);
	store_abort(&f->txn);
	store_draft_free(&draft);
	assert_int_equal(box(f, "INBOX").exists, 0);
	assert_int_equal(box(f, "INBOX").uidnext, 1);
	assert_int_equal(usage(f).messages, 0);
	assert_true(store_generation(f->store) == generation);
	begin(f, false);
	assert_true(store_modseq(f->txn) == modseq);
	store_abort(&f->txn);
	append(f, "INBOX", small_mail, 0);
	assert_true(store_generation(f->store) != generation);
	ok(f, store_begin_after(f->store, store_generation(f->store), &f->txn, &f->err));
	assert_int_equal(box(f, "INBOX").exists, 1);
}

static void a_delivery_is_filed_once(void **state)
{
	struct fixture *f = *state;
	unsigned char key[STORE_KEY] = "0123456789abcde", other[STORE_KEY] = "0123456789abcdX";
	uint32_t inbox = box(f, "INBOX").id;
	struct store_message m;

	for (int i = 0; i < 2; i++) {
		struct store_draft *draft = draft_of(f, inbox, small_mail);

		begin(f, true);
		assert_int_equal(store_delivered(f->txn, key), i == 1);
		assert_int_equal(store_append(f->txn, draft, inbox, 0, NULL, 0, key, &m, &f->err), i == 0 ? 0 : E_EXISTS);
		commit(f);
		if (i == 0)
			store_draft_kept(draft);
		store_draft_free(&draft);
	}
	assert_false(reopen(f));
	begin(f, false);
	assert_true(store_delivered(f->txn, key));
	assert_false(store_delivered(f->txn, other));
	store_abort(&f->txn);
	assert_int_equal(box(f, "INBOX").exists, 1);
	assert_healthy(f);
}

static void quota_is_exact(void **state)
{
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX").id, one = 1;
	uint64_t size = sizeof(small_mail) - 1;
	struct store_draft *draft = draft_of(f, inbox, small_mail);
	struct store_copied copied;
	struct store_message m;

	append(f, "INBOX", small_mail, 0);
	store_set_quota(f->store, 2 * size - 1);
	begin(f, true);
	assert_int_equal(store_append(f->txn, draft, inbox, 0, NULL, 0, NULL, &m, &f->err), E_OVERQUOTA);
	assert_int_equal(store_copy(f->txn, inbox, box(f, "Archive").id, &one, 1, false, f->pool, &copied, &f->err), E_OVERQUOTA);
	store_abort(&f->txn);
	store_set_quota(f->store, 2 * size);
	begin(f, true);
	ok(f, store_append(f->txn, draft, inbox, 0, NULL, 0, NULL, &m, &f->err));
	/* Moving takes no room. */
	ok(f, store_copy(f->txn, inbox, box(f, "Archive").id, &one, 1, true, f->pool, &copied, &f->err));
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	assert_int_equal(usage(f).bytes, 2 * size);
	assert_int_equal(usage(f).messages, 2);
	begin(f, true);
	ok(f, store_expunge(f->txn, box(f, "Archive").id, &one, 1, &f->err));
	commit(f);
	assert_int_equal(usage(f).bytes, size);
	assert_int_equal(usage(f).kept_bytes, size);
	assert_int_equal(usage(f).messages, 1);
	assert_healthy(f);
}

/* More than one chunk of records, with holes. */
static void a_thousand_messages_are_listed_in_order(void **state)
{
	enum { COUNT = 1000 };
	struct fixture *f = *state;
	uint32_t inbox = box(f, "INBOX").id, gone[COUNT];
	struct store_message m, *all;
	size_t count, n = 0;
	uint64_t middle = 0;

	begin(f, true);
	for (int i = 0; i < COUNT; i++) {
		struct store_draft *draft = draft_of(f, inbox, small_mail);

		if (i == COUNT / 2) {
			commit(f);
			begin(f, true);
			middle = store_modseq(f->txn);
		}
		ok(f, store_append(f->txn, draft, inbox, 0, NULL, 0, NULL, &m, &f->err));
		store_draft_kept(draft);
		store_draft_free(&draft);
	}
	for (uint32_t uid = 1; uid <= COUNT; uid++)
		if (uid % 3 == 0 || (uid > 320 && uid <= 384))
			gone[n++] = uid;
	ok(f, store_expunge(f->txn, inbox, gone, n, &f->err));
	commit(f);
	all = list(f, "INBOX", &count);
	assert_int_equal(count, COUNT - n);
	assert_int_equal(box(f, "INBOX").exists, COUNT - n);
	for (size_t i = 0, g = 0, uid = 1; uid <= COUNT; uid++) {
		if (g < n && gone[g] == uid)
			g++;
		else
			assert_int_equal(all[i++].uid, uid);
	}
	begin(f, false);
	ok(f, store_message_list(f->txn, inbox, middle, f->pool, &all, &count, &f->err));
	assert_int_equal(all[0].uid, 502); /* 501 is a third */
	assert_int_equal(count, 333);
	store_abort(&f->txn);
	assert_healthy(f);
}

static void a_file_that_does_not_fit_is_told(void **state)
{
	struct fixture *f = *state;
	struct store_message m = append(f, "INBOX", small_mail, 0), wrong = m;
	int fd = -1;

	wrong.size++;
	assert_int_equal(store_file_open(f->store, &wrong, &fd, &f->err), E_CORRUPT);
	assert_int_equal(fd, -1);
	wrong = m;
	wrong.number++;
	assert_int_equal(store_file_open(f->store, &wrong, &fd, &f->err), E_CORRUPT);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(f->err.text, "missing"));
}

/* Stays in the account until all have it open. */
static _Noreturn void be_the_first(struct fixture *f, int opened, int end)
{
	struct store_options options = {.create = true};
	bool rebuilt = false;
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	int r = store_open(&f->store, dir, &options, &rebuilt, &f->err);
	char c = 0;

	if (r == 0 && store_begin(f->store, true, &f->txn, &f->err) != 0)
		r = 1;
	if (r != 0)
		fprintf(stderr, "%s\n", f->err.text);
	else
		r = rebuilt ? 2 : f->txn->meta.next_mailbox != 7 ? 3 : 0;
	if (f->txn != NULL)
		store_abort(&f->txn);
	if (write(opened, &c, 1) != 1 || read(end, &c, 1) != 0)
		r = 4;
	_exit(r);
}

/* A delivery and the first session of a new account: nobody takes a half made one for a damaged one, nor waits until another has gone. */
static void many_may_be_the_first_to_open(void **state)
{
	enum { PROCESSES = 8, ROUNDS = 10, PATIENCE_MS = 20000 };
	struct fixture *f = *state;
	char name[16], c;
	int status;

	for (int round = 0; round < ROUNDS; round++) {
		int opened[2], end[2];

		snprintf(name, sizeof(name), "%d", round);
		assert_int_equal(mkdir(name, 0700), 0);
		assert_int_equal(chdir(name), 0);
		assert_int_equal(pipe(opened), 0);
		assert_int_equal(pipe(end), 0);
		for (int i = 0; i < PROCESSES; i++)
			if (fork() == 0) {
				close(end[1]);
				be_the_first(f, opened[1], end[0]);
			}
		for (int i = 0; i < PROCESSES; i++) {
			struct pollfd all = {.fd = opened[0], .events = POLLIN};

			assert_int_equal(poll(&all, 1, PATIENCE_MS), 1);
			assert_int_equal(read(opened[0], &c, 1), 1);
		}
		for (int i = 0; i < 2; i++) {
			close(opened[i]);
			close(end[i]);
		}
		for (int i = 0; i < PROCESSES; i++) {
			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		assert_int_equal(chdir(".."), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_new_account_has_its_mailboxes, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_account_is_not_made_unasked, fixture_empty, fixture_close),
	    cmocka_unit_test_setup_teardown(a_message_is_what_was_appended, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(facts_are_those_of_the_message, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_large_message_is_written_as_it_came, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_draft_that_is_not_kept_leaves_nothing, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_aborted_transaction_changed_nothing, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_delivery_is_filed_once, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(quota_is_exact, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_thousand_messages_are_listed_in_order, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_file_that_does_not_fit_is_told, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(many_may_be_the_first_to_open, fixture_empty, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
