/* Message files and drafts: names, sizes, what is left behind, what a full disk does. */
#include "tests/unit/lib/store/fixture.h"

#include "store/draft.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

static time_t clock_stands_at; /* 0: it goes as it should */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_REALTIME || clock_stands_at == 0)
		return __real_clock_gettime(clock, ts);
	*ts = (struct timespec){.tv_sec = clock_stands_at};
	return 0;
}

/* Thousands in a millisecond: of 200 that were left to chance, two were the same in one run of two hundred. */
static void numbers_are_new(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (size_t i = 0; i < 200000; i++) {
		uint64_t number = file_new_number(last);

		assert_true(number > last);
		last = number;
	}
	assert_true(llabs((int64_t)(last >> 22) + INT64_C(1704067200000) - clock_wall_ms()) < 5000);
}

/* A finished draft that has the number of a message already filed, as if another process had drawn it too. */
static struct store_draft *draft_with_number(struct fixture *f, const char *text, uint64_t number)
{
	struct store_draft *draft = draft_of(f, box(f, "INBOX").id, text);
	char name[STORE_FILE_NAME];

	(void)mkdirat(f->dir, "mail/000", 0700); /* of an old number */
	file_name(&(struct file_name){number, draft->mailbox, draft->arrived, draft->sum}, name);
	assert_int_equal(renameat(f->dir, draft->name, f->dir, name), 0);
	memcpy(draft->name, name, sizeof(name));
	draft->number = number;
	return draft;
}

/* The envelope is that of the file: "Subject: x" and two empty lines. */
static void assert_own_facts(struct fixture *f, const struct store_message *m)
{
	struct store_facts facts;
	char text[100] = "";
	int fd;

	ok(f, store_facts_get(f->txn, m->number, &facts, &f->err));
	ok(f, store_file_open(f->store, m, &fd, &f->err));
	assert_int_equal(read(fd, text, sizeof(text) - 1), m->size);
	close(fd);
	assert_non_null(memmem(facts.envelope.ptr, facts.envelope.len, text + strlen("Subject: "), m->size - strlen("Subject: \r\n\r\n")));
}

/* Its facts would take the place of the other's, and the first of the two to be expunged would take both. */
static void a_number_that_is_taken(void **state)
{
	struct fixture *f = *state;
	struct store_message first = append(f, "INBOX", "Subject: first\r\n\r\n", 0), second;
	struct store_draft *draft = draft_with_number(f, "Subject: second\r\n\r\n", first.number);

	begin(f, true);
	ok(f, store_append(f->txn, draft, box(f, "INBOX").id, 0, NULL, 0, NULL, &second, &f->err));
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	assert_true(second.number != first.number);
	begin(f, false);
	assert_own_facts(f, &first);
	assert_own_facts(f, &second);
	store_abort(&f->txn);
}

/* Facts that are too large are not kept; that the number is taken must be. */
static void the_number_of_a_message_without_facts(void **state)
{
	struct fixture *f = *state;
	struct store_draft *draft = draft_of(f, box(f, "INBOX").id, "Subject: first\r\n\r\n");
	struct store_facts facts;
	char *large = calloc(1, 1024 * 1024);

	begin(f, true);
	ok(f, facts_put(f->txn, draft->number, 100, &(struct store_facts){.envelope = span_of(large, 1024 * 1024)}, &f->err));
	assert_int_equal(store_facts_get(f->txn, draft->number, &facts, &f->err), E_NOTFOUND);
	ok(f, facts_taken(f->txn, draft->number, &f->err));
	ok(f, facts_del(f->txn, draft->number, &f->err));
	assert_int_equal(facts_taken(f->txn, draft->number, &f->err), E_NOTFOUND);
	store_abort(&f->txn);
	store_draft_free(&draft);
	free(large);
}

static void note_line(void *arg, const char *line)
{
	snprintf(arg, 256, "%s", line);
}

/* From the time before numbers were looked at. A check finds it, and a rebuild, with nothing filed in their period since, mends it. */
static void a_number_that_two_files_have(void **state)
{
	struct fixture *f = *state;
	uint64_t old = UINT64_C(12345) << 22;
	struct store_draft *drafts[2] = {draft_with_number(f, "Subject: first\r\n\r\n", old), draft_with_number(f, "Subject: second\r\n\r\n", old)};
	struct store_message filed, *all;
	char line[256] = "";
	size_t count;

	for (size_t i = 0; i < 2; i++) {
		begin(f, true);
		ok(f, facts_del(f->txn, old, &f->err));
		ok(f, store_append(f->txn, drafts[i], box(f, "INBOX").id, 0, NULL, 0, NULL, &filed, &f->err));
		assert_true(filed.number == old);
		commit(f);
		store_draft_kept(drafts[i]);
		store_draft_free(&drafts[i]);
	}
	assert_int_equal(store_check(f->store, note_line, line), 1);
	assert_non_null(strstr(line, "two message files have the number 0000000c0e400000"));
	store_close(&f->store);
	ok(f, store_rebuild(f->dir, NULL, NULL, &f->err));
	reopen(f);
	all = list(f, "INBOX", &count);
	assert_int_equal(count, 2);
	assert_true(all[0].number == old && all[1].number == old + 1);
	begin(f, false);
	assert_own_facts(f, &all[0]);
	assert_own_facts(f, &all[1]);
	store_abort(&f->txn);
	assert_int_equal(store_check(f->store, note_line, line), 0);
}

/* Without a clock of its own a machine begins in 1970, and every process with it. */
static void numbers_before_their_epoch(void **state)
{
	uint64_t first, next;

	(void)state;
	clock_stands_at = 86400;
	first = file_new_number(0);
	next = file_new_number(first);
	clock_stands_at = 0;
	assert_true(first != 1); /* but for once in two millions */
	assert_true(next == first + 1 && next >> 22 == 0);
}

/* doc/store.md: mail/<period>/<number>.<mailbox>.<date>.<checksum>, all in hex, the period from the number. */
static void names_tell_what_is_needed(void **state)
{
	static const struct {
		struct file_name parts;
		const char *name;
	} rows[] = {{{0, 0, 0, 0}, "mail/000/0000000000000000.0.0"}, {{0x1234, 7, 1700000000, 0xabc}, "mail/000/0000000000001234.7.6553f100.0000000000000abc"},
	    {{UINT64_MAX, UINT32_MAX, -1, 0}, "mail/fff/ffffffffffffffff.ffffffff.ffffffffffffffff"}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char name[STORE_FILE_NAME];
		struct file_name parts;

		file_name(&rows[i].parts, name);
		assert_string_equal(name, rows[i].name);
		assert_true(file_parse(name + strlen("mail/000/"), &parts));
		assert_memory_equal(&parts, &rows[i].parts, sizeof(parts));
	}
}

static void other_names_are_not_taken(void **state)
{
	static const char *const names[] = {"", ".", "0000000000001234", "0000000000001234.7", "0000000000001234.7.", "000000000001234.7.0", "00000000000012345.7.0",
	    "000000000000123G.7.0", "000000000000ABCD.7.0", "0000000000001234.07.0", "0000000000001234.7.00", "0000000000001234.123456789.0", "0000000000001234.7.12345678901234567",
	    "0000000000001234.7.0.", "0000000000001234.7.0.abc", "0000000000001234.7.0.0000000000000000", "0000000000001234.7.0.00000000000000abc", "0000000000001234.7.0.0000000000000abc.",
	    " 000000000001234.7.0", "+000000000001234.7.0", "0000000000001234. 7.0", "0000000000001234.-7.0", "0000000000001234.7.0 ", "0000000000001234..0"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct file_name parts;

		if (file_parse(names[i], &parts))
			fail_msg("%s", names[i]);
	}
}

struct walk {
	int calls, stop_at;
};

static int count(void *arg, const char *path, const struct file_name *name)
{
	struct walk *w = arg;
	char want[STORE_FILE_NAME];

	file_name(name, want);
	assert_string_equal(path, want);
	return ++w->calls == w->stop_at ? 42 : 0;
}

/* What is no message file, or lies in the wrong place, is not one. */
static void only_message_files_are_walked(void **state)
{
	struct fixture *f = *state;
	struct walk w = {0};
	struct store_message m;

	append(f, "INBOX", small_mail, 0);
	m = append(f, "INBOX", small_mail, 0);
	assert_int_equal(files_each(f->dir, count, &w), 0);
	assert_int_equal(w.calls, 2);
	(void)m;
	(void)mkdirat(f->dir, "mail/000", 0700);
	(void)mkdirat(f->dir, "mail/001", 0700);
	for (const char *const *name = (const char *const[]){"mail/000/note.txt", "mail/001/0000000000000001.1.1" /* belongs into 000 */, "mail/000/0.0.0", "mail/x", NULL}; *name != NULL; name++)
		close(openat(f->dir, *name, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(symlinkat("/tmp", f->dir, "mail/3ff"), 0);
	w.calls = 0;
	assert_int_equal(files_each(f->dir, count, &w), 0);
	assert_int_equal(w.calls, 2);
	w.calls = 0;
	w.stop_at = 1;
	assert_int_equal(files_each(f->dir, count, &w), 42);
	assert_int_equal(w.calls, 1);
}

/* RFC 3501: RFC822.SIZE is a 32-bit number. Nothing is written for what cannot be. */
static void a_message_has_at_most_four_gigabytes(void **state)
{
	struct fixture *f = *state;
	struct store_draft *draft;
	char *page = calloc(1, 1);

	ok(f, store_draft_new(f->store, box(f, "INBOX").id, 5, &draft, &f->err));
	ok(f, store_draft_write(draft, SPAN_LIT("x"), &f->err));
	assert_int_equal(store_draft_write(draft, span_of(page, UINT32_MAX), &f->err), E_TOOBIG);
	store_draft_free(&draft);
	free(page);
}

/* In pieces of any size it is the same file. */
static void pieces_are_put_together(void **state)
{
	static const size_t sizes[] = {1, 1000, 65535, 1, 65536, 3, 70000, 200000};
	struct fixture *f = *state;
	struct store_draft *draft;
	char *text = malloc(500000);
	size_t at = 0;
	int fd;
	struct store_message m;

	for (size_t i = 0; i < 500000; i++)
		text[i] = (char)('a' + i % 26);
	memcpy(text, "X: y\r\n\r\n", 8);
	ok(f, store_draft_new(f->store, box(f, "INBOX").id, 5, &draft, &f->err));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ok(f, store_draft_write(draft, span_of(text + at, sizes[i]), &f->err));
		at += sizes[i];
	}
	assert_int_equal(store_draft_size(draft), at);
	ok(f, store_draft_finish(draft, &f->err));
	begin(f, true);
	ok(f, store_append(f->txn, draft, box(f, "INBOX").id, 0, NULL, 0, NULL, &m, &f->err));
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	ok(f, store_file_open(f->store, &m, &fd, &f->err));
	for (size_t done = 0; done < at;) {
		char piece[4096];
		ssize_t n = pread(fd, piece, sizeof(piece), (off_t)done);

		assert_true(n > 0);
		assert_memory_equal(piece, text + done, (size_t)n);
		done += (size_t)n;
	}
	close(fd);
	free(text);
	assert_healthy(f);
}

static int files_there(struct fixture *f)
{
	struct walk w = {0};

	files_each(f->dir, count, &w);
	return w.calls;
}

/* D6 of doc/reliability.md: a full disk costs the message under way, says so, and leaves nothing behind. */
static void a_disk_that_is_full(void **state)
{
	static char big[100000];
	struct fixture *f = *state;
	struct rlimit before, small;
	struct store_draft *draft, *drafts[2];
	int codes[2];

	memset(big, 'x', sizeof(big));
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small = before;
	small.rlim_cur = 50000;
	/* While it is written, */
	ok(f, store_draft_new(f->store, box(f, "INBOX").id, 5, &draft, &f->err));
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(store_draft_write(draft, span_of(big, sizeof(big)), &f->err), E_NOSPACE);
	assert_non_null(strstr(f->err.text, "writing a message file"));
	store_draft_free(&draft);
	setrlimit(RLIMIT_FSIZE, &before);
	/* and when it is finished: the other one is not to blame. */
	for (int i = 0; i < 2; i++) {
		ok(f, store_draft_new(f->store, box(f, "INBOX").id, 5, &drafts[i], &f->err));
		ok(f, store_draft_write(drafts[i], i == 0 ? span_str(small_mail) : span_of(big, 60000), &f->err));
	}
	setrlimit(RLIMIT_FSIZE, &small);
	store_drafts_finish(drafts, codes, 2);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(codes[0], 0);
	assert_int_equal(codes[1], E_NOSPACE);
	for (int i = 0; i < 2; i++)
		store_draft_free(&drafts[i]);
	ok(f, store_draft_new(f->store, box(f, "INBOX").id, 5, &draft, &f->err));
	ok(f, store_draft_write(draft, span_of(big, 60000), &f->err));
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(store_draft_finish(draft, &f->err), E_NOSPACE);
	setrlimit(RLIMIT_FSIZE, &before);
	store_draft_free(&draft);
	assert_int_equal(files_there(f), 0);
	append(f, "INBOX", small_mail, 0);
	assert_healthy(f);
}

static int draft_fails(struct fixture *f)
{
	struct store_draft *draft;
	int r = store_draft_new(f->store, 1, 5, &draft, &f->err);

	if (r == 0)
		r = store_draft_write(draft, SPAN_LIT("Subject: x\r\n\r\n"), &f->err);
	if (r == 0)
		r = store_draft_finish(draft, &f->err);
	store_draft_free(&draft);
	return r;
}

/* No descriptors, no directory, a directory that cannot be made. */
static void a_file_that_cannot_be_made(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;
	int r;

	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	r = draft_fails(f);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r, E_NOFILES);
	/* The place of mail/ is taken by a file. */
	assert_int_equal(renameat(f->dir, "mail", f->dir, "mail.gone"), 0);
	close(openat(f->dir, "mail", O_CREAT | O_WRONLY, 0600));
	assert_true(draft_fails(f) < 0);
	assert_int_equal(unlinkat(f->dir, "mail", 0), 0);
	assert_true(draft_fails(f) < 0);
	assert_int_equal(renameat(f->dir, "mail.gone", f->dir, "mail"), 0);
	append(f, "INBOX", small_mail, 0);
	assert_healthy(f);
}

/* What lies under a message's name must be a file of its size. */
static void a_file_that_is_another(void **state)
{
	struct fixture *f = *state;
	struct store_message m = append(f, "INBOX", small_mail, 0);
	char name[STORE_FILE_NAME];
	int fd = 7;

	message_file_name(&m, name);
	assert_int_equal(renameat(f->dir, name, f->dir, "kept"), 0);
	assert_int_equal(symlinkat("../../kept", f->dir, name), 0);
	assert_true(store_file_open(f->store, &m, &fd, &f->err) < 0); /* no link is followed */
	assert_int_equal(unlinkat(f->dir, name, 0), 0);
	assert_int_equal(mkdirat(f->dir, name, 0700), 0);
	assert_int_equal(store_file_open(f->store, &m, &fd, &f->err), E_CORRUPT);
	assert_int_equal(fd, -1);
	assert_int_equal(unlinkat(f->dir, name, AT_REMOVEDIR), 0);
	assert_int_equal(renameat(f->dir, "kept", f->dir, name), 0);
	ok(f, store_file_open(f->store, &m, &fd, &f->err));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_new),
	    cmocka_unit_test(numbers_before_their_epoch),
	    cmocka_unit_test_setup_teardown(a_number_that_is_taken, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_number_that_two_files_have, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(the_number_of_a_message_without_facts, fixture_open, fixture_close),
	    cmocka_unit_test(names_tell_what_is_needed),
	    cmocka_unit_test(other_names_are_not_taken),
	    cmocka_unit_test_setup_teardown(only_message_files_are_walked, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_message_has_at_most_four_gigabytes, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(pieces_are_put_together, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_disk_that_is_full, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_file_that_cannot_be_made, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_file_that_is_another, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
