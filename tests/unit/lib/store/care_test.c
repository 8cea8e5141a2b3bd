/* store_check finds what is wrong; a lost or damaged index is made again. */
#include "tests/unit/lib/store/fixture.h"

#include "base/clock.h"
#include "store/private.h"

#include <dirent.h>
#include <sys/stat.h>

/* Facts out of proportion to their message are not kept. */
#define LINE "A line of text that is long enough, and a little more of it.\r\n"

static void file_of(const struct store_message *m, char name[STORE_FILE_NAME])
{
	message_file_name(m, name);
}

static void shown(struct fixture *f, const struct store_message *m, const char *text)
{
	char got[512] = "";
	int fd;

	ok(f, store_file_open(f->store, m, &fd, &f->err));
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	close(fd);
	assert_string_equal(got, text);
}

static unsigned set_aside(void)
{
	unsigned count = 0;
	DIR *d = opendir(".");

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		count += strncmp(e->d_name, "index.damaged-", 14) == 0;
	closedir(d);
	return count;
}

static void overwrite(const char *path, off_t at, size_t size)
{
	int fd = open(path, O_WRONLY);
	char junk[4096];

	memset(junk, 0xA5, sizeof(junk));
	assert_true(fd >= 0);
	for (size_t done = 0; done < size; done += sizeof(junk))
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at + (off_t)done), sizeof(junk));
	close(fd);
}

static void file_names_go_both_ways(void **state)
{
	static const struct {
		const char *name;
		bool ok;
	} rows[] = {
	    {"0123456789abcdef.1.65536000.0123456789abcdef", true}, {"0123456789abcdef.1.65536000.0", false}, {"0123456789abcdef.1.65536000.", false},
	    {"0123456789abcdef.1.65536000.new", false}, {"0123456789abcdef.new", false}, {"0123456789abcdef.1.65536000.0123456789abcdef.", false},
	    {"0123456789abcdef.1.65536000", true}, {"0000000000000000.0.0", true}, {"0.0.0", false}, {"0123456789ABCDEF.1.6", false}, {"ffffffffffffffff.ffffffff.ffffffffffffffff", true},
	    {"", false}, {"1.2", false}, {"1.2.3.4", false}, {"1.2.3 ", false}, {" 1.2.3", false}, {"1. 2.3", false},
	    {"-1.2.3", false}, {"1.+2.3", false}, {"0x1.2.3", false}, {"1.2.3.new", false}, {"11112222333344445.1.1", false},
	    {"1.123456789.1", false}, {"..", false}, {"g.1.1", false},
	};
	char name[STORE_FILE_NAME];
	struct file_name parts;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (file_parse(rows[i].name, &parts) != rows[i].ok)
			fail_msg("%s", rows[i].name);
	file_name(&(struct file_name){UINT64_MAX, UINT32_MAX, -1, UINT64_MAX}, name);
	assert_string_equal(name, "mail/fff/ffffffffffffffff.ffffffff.ffffffffffffffff.ffffffffffffffff");
	assert_true(file_parse(name + strlen("mail/000/"), &parts));
	assert_true(parts.number == UINT64_MAX && parts.mailbox == UINT32_MAX && parts.arrived == -1 && parts.sum == UINT64_MAX);
}

static void a_missing_or_cut_file_is_found(void **state)
{
	struct fixture *f = *state;
	struct store_message gone = append(f, "INBOX", small_mail, 0), cut = append(f, "Sent", small_mail, 0);
	char name[STORE_FILE_NAME], faults[4096];

	append(f, "INBOX", small_mail, 0);
	assert_int_equal(check(f, faults), 0);
	file_of(&gone, name);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(check(f, faults), 1);
	assert_non_null(strstr(faults, "mailbox INBOX UID 1: message file mail/"));
	file_of(&cut, name);
	assert_int_equal(truncate(name, 10), 0);
	assert_int_equal(check(f, faults), 2);
	assert_non_null(strstr(faults, "mailbox Sent UID 1: message file mail/"));
	assert_non_null(strstr(faults, "has 10 octets in place of 66"));
	/* The right size is not enough. */
	assert_int_equal(truncate(name, 66), 0);
	assert_int_equal(check(f, faults), 2);
	assert_non_null(strstr(faults, "its content does not fit its checksum"));
	/* Somebody's link in place of a file is not followed. */
	assert_int_equal(rename(name, "elsewhere"), 0);
	assert_int_equal(symlink("../../elsewhere", name), 0);
	assert_int_equal(check(f, faults), 2);
}

/* A list that is not as long as it says is not shown; the index is made again, so that it is not refused for ever. */
static void a_wrong_number_of_messages_heals(void **state)
{
	struct fixture *f = *state;
	struct store_message *all;
	struct store_mailbox m;
	size_t count;

	append(f, "INBOX", small_mail, 0);
	begin(f, true);
	m = box(f, "INBOX");
	m.exists++;
	ok(f, mailbox_put(f->txn, &m, &f->err));
	commit(f);
	begin(f, false);
	assert_int_equal(store_message_list(f->txn, m.id, 0, f->pool, &all, &count, &f->err), E_CORRUPT);
	store_abort(&f->txn);
	assert_true(reopen(f));
	assert_int_equal(box(f, "INBOX").exists, 1);
	assert_healthy(f);
}

/* Counts in the index that lie, as a bug of ours would leave them. */
static void wrong_counts_are_found(void **state)
{
	struct fixture *f = *state;
	char faults[4096];
	struct store_mailbox m;

	append(f, "INBOX", small_mail, 0);
	begin(f, true);
	m = box(f, "INBOX");
	m.size++;
	ok(f, mailbox_put(f->txn, &m, &f->err));
	f->txn->meta.bytes++;
	commit(f);
	assert_int_equal(check(f, faults), 2);
	assert_non_null(strstr(faults, "counts do not fit"));
	assert_non_null(strstr(faults, "usage says 1 messages, 67 octets; there are 1, 66"));
	begin(f, true);
	m.size--;
	m.unseen = 0;
	ok(f, mailbox_put(f->txn, &m, &f->err));
	f->txn->meta.bytes--;
	commit(f);
	assert_int_equal(check(f, faults), 1);
	assert_non_null(strstr(faults, "unseen"));
	begin(f, true);
	m.unseen = 1;
	m.uidnext = 1;
	ok(f, mailbox_put(f->txn, &m, &f->err));
	commit(f);
	assert_int_equal(check(f, faults), 1);
	assert_non_null(strstr(faults, "UID out of order"));
}

/* What every rebuild below must keep. */
static void fill(struct fixture *f)
{
	uint32_t id = box_new(f, "Work/Stra\303\237e");

	box_new(f, " blank in front");
	box_new(f, "7 up");
	begin(f, true);
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("Work/Stra\303\237e"), true, &f->err));
	ok(f, store_mailbox_subscribe(f->txn, SPAN_LIT("Junk"), false, &f->err));
	ok(f, store_mailbox_delete(f->txn, box(f, "Work").id, &f->err));
	ok(f, store_mailbox_rename(f->txn, box(f, "Sent").id, SPAN_LIT("Gesendet"), &f->err));
	commit(f);
	append(f, "INBOX", "Subject: 1\r\n\r\none\r\n", 0);
	append(f, "Work/Stra\303\237e", "Subject: 2\r\n\r\ntwo\r\n", STORE_SEEN);
	append(f, "INBOX", "Subject: 3\r\n\r\nthree\r\n", STORE_FLAGGED);
	append(f, " blank in front", "Subject: 4\r\n\r\nfour\r\n", 0);
	assert_int_equal(box(f, "Work/Stra\303\237e").id, id);
}

static void assert_kept(struct fixture *f, uint32_t uidvalidity)
{
	struct store_message *all;
	size_t count;

	all = list(f, "INBOX", &count);
	assert_int_equal(count, 2);
	assert_int_equal(all[0].uid, 1);
	assert_int_equal(all[0].arrived, 1700000000);
	shown(f, &all[0], "Subject: 1\r\n\r\none\r\n");
	shown(f, &all[1], "Subject: 3\r\n\r\nthree\r\n");
	all = list(f, "Work/Stra\303\237e", &count);
	assert_int_equal(count, 1);
	shown(f, all, "Subject: 2\r\n\r\ntwo\r\n");
	all = list(f, " blank in front", &count);
	assert_int_equal(count, 1);
	shown(f, all, "Subject: 4\r\n\r\nfour\r\n");
	assert_true(box_is(f, "7 up"));
	assert_true(box(f, "Work").noselect);
	assert_true(box(f, "Work/Stra\303\237e").subscribed);
	assert_false(box(f, "Junk").subscribed);
	assert_false(box_is(f, "Sent"));
	assert_int_equal(box(f, "Gesendet").use, STORE_USE_SENT);
	/* UIDs are others: a client must not take them for the ones it knows. */
	assert_true(box(f, "INBOX").uidvalidity > uidvalidity);
	assert_healthy(f);
}

static void a_lost_index_is_made_again(void **state)
{
	struct fixture *f = *state;
	uint32_t validity;
	uint64_t modseq;

	fill(f);
	validity = box(f, "Gesendet").uidvalidity;
	modseq = box(f, " blank in front").modseq;
	store_close(&f->store);
	assert_int_equal(unlink("index/data.mdb"), 0);
	assert_true(reopen(f));
	assert_kept(f, validity);
	/* What was the last change of all is before every one now. */
	assert_true(box(f, "INBOX").modseq > modseq);
	modseq = box(f, " blank in front").modseq;
	store_close(&f->store);
	assert_int_equal(unlink("index/data.mdb"), 0);
	assert_int_equal(unlink("index/lock.mdb"), 0);
	assert_int_equal(rmdir("index"), 0);
	assert_true(reopen(f));
	assert_kept(f, validity);
	assert_true(box(f, "INBOX").modseq > modseq);
	assert_false(reopen(f));
}

/* The index before was made when the machine's clock was ahead by some years. */
static void modseqs_ascend_whatever_the_clock_says(void **state)
{
	const uint64_t years = UINT64_C(10) * 365 * 86400 * 1000000;
	struct fixture *f = *state;
	uint64_t modseq;

	begin(f, true);
	f->txn->meta.modseq += (uint64_t)clock_wall_us() + years;
	f->txn->dirty = true;
	commit(f);
	box_new(f, "from then on");
	for (unsigned round = 0; round < 3; round++) {
		append(f, "INBOX", small_mail, 0);
		modseq = box(f, "INBOX").modseq;
		assert_true(modseq > (uint64_t)clock_wall_us() + years / 2);
		store_close(&f->store);
		assert_int_equal(unlink("index/data.mdb"), 0);
		assert_true(reopen(f));
		assert_true(box(f, "INBOX").modseq > modseq);
		assert_true(box_is(f, "from then on"));
	}
}

static void a_cut_index_is_made_again(void **state)
{
	static const off_t lengths[] = {0, 1, 100, 4096, 5000, 8191, 8192, 8193, 12288, 20480};
	struct fixture *f = *state;
	uint32_t validity;

	fill(f);
	validity = box(f, "Gesendet").uidvalidity;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		store_close(&f->store);
		assert_int_equal(truncate("index/data.mdb", lengths[i]), 0);
		if (!reopen(f))
			fail_msg("cut to %d: not noticed", (int)lengths[i]);
		assert_kept(f, validity);
		assert_int_equal(set_aside(), i + 1);
		validity = box(f, "Gesendet").uidvalidity;
	}
}

static void garbage_in_the_index_is_set_aside(void **state)
{
	struct fixture *f = *state;
	uint32_t validity;
	struct stat st;

	fill(f);
	validity = box(f, "Gesendet").uidvalidity;
	for (int way = 0; way < 3; way++) {
		store_close(&f->store);
		assert_int_equal(stat("index/data.mdb", &st), 0);
		if (way == 0) /* both meta pages */
			overwrite("index/data.mdb", 0, 8192);
		else if (way == 1) /* all of it */
			overwrite("index/data.mdb", 0, (size_t)st.st_size);
		else /* everything but the meta pages */
			overwrite("index/data.mdb", 8192, (size_t)st.st_size - 8192);
		assert_true(reopen(f));
		assert_kept(f, validity);
		assert_int_equal(set_aside(), way + 1);
		validity = box(f, "Gesendet").uidvalidity;
	}
}

/* Every number of a meta page, with all bits set: LMDB, which believes them, never gets to see what would lead it astray. */
static void a_damaged_meta_page_is_survived(void **state)
{
	static const uint32_t all = UINT32_MAX;
	struct fixture *f = *state;
	uint32_t validity;

	fill(f);
	for (off_t page = 0; page <= 4096; page += 4096)
		for (off_t at = 0; at < 152; at += 4) {
			int fd;

			validity = box(f, "Gesendet").uidvalidity;
			store_close(&f->store);
			fd = open("index/data.mdb", O_WRONLY);
			assert_int_equal(pwrite(fd, &all, sizeof(all), page + at), sizeof(all));
			close(fd);
			if (reopen(f))
				assert_kept(f, validity);
			else /* what nobody reads, or another moment's page */
				assert_healthy(f);
		}
}

/* Page by page: opening sees it, or the check does, or nobody uses the page; nothing ends the process. */
static void any_damaged_page_is_survived(void **state)
{
	struct fixture *f = *state;
	char *index, big[60000] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n", faults[4096];
	unsigned opened = 0, checked = 0, unused = 0;
	struct stat st;
	int fd;

	for (int i = 0; i < 150; i++)
		append(f, "INBOX", small_mail, 0);
	for (int i = 0; i < 100; i++)
		strcat(big, "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" LINE LINE LINE);
	append(f, "INBOX", big, 0);
	assert_healthy(f);
	store_close(&f->store);
	fd = open("index/data.mdb", O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	index = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, index, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	for (off_t at = 2 * 4096; at < st.st_size; at += 4096) {
		fd = open("index/data.mdb", O_WRONLY | O_TRUNC);
		assert_int_equal(pwrite(fd, index, (size_t)st.st_size, 0), st.st_size);
		close(fd);
		overwrite("index/data.mdb", at, 4096);
		if (reopen(f))
			opened++;
		else if (check(f, faults) > 0)
			checked++;
		else
			unused++;
		assert_true(box(f, "INBOX").exists == 151);
		store_close(&f->store);
	}
	free(index);
	assert_true(opened > 10);
	assert_true(checked > 10);
	assert_true(unused < opened + checked);
}

/* An overflow page that says it has no pages: LMDB would give out what lies behind it. */
static void an_overflow_page_without_pages_is_noticed(void **state)
{
	char big[80000] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n", faults[4096];
	struct fixture *f = *state;
	unsigned emptied = 0;
	int fd;

	/* Each part has a body, or its facts were out of proportion and not kept. */
	for (int i = 0; i < 100; i++)
		snprintf(big + strlen(big), sizeof(big) - strlen(big), "--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%0400d\r\n", i);
	append(f, "INBOX", big, 0);
	assert_healthy(f);
	store_close(&f->store);
	fd = open("index/data.mdb", O_RDWR);
	assert_true(fd >= 0);
	for (off_t at = 2 * 4096;; at += 4096) {
		unsigned char head[16];

		if (pread(fd, head, sizeof(head), at) != (ssize_t)sizeof(head))
			break;
		if (head[10] != 4) /* flags: overflow */
			continue;
		assert_int_equal(pwrite(fd, "\0\0\0\0", 4, at + 12), 4);
		emptied++;
	}
	close(fd);
	assert_true(emptied > 0);
	assert_true(reopen(f) || check(f, faults) > 0);
}

static void the_copy_of_the_names_may_be_lost_too(void **state)
{
	struct fixture *f = *state;
	size_t count;

	fill(f);
	for (int way = 0; way < 3; way++) {
		store_close(&f->store);
		assert_int_equal(unlink("index/data.mdb"), 0);
		if (way == 0)
			overwrite("mailboxes", 30, 4096);
		else if (way == 1)
			assert_int_equal(truncate("mailboxes", 40), 0);
		else {
			assert_int_equal(unlink("mailboxes"), 0);
			assert_int_equal(unlink("mailboxes.old"), 0);
		}
		assert_true(reopen(f));
		/* The default mailboxes; what was in others is in INBOX. */
		list(f, "INBOX", &count);
		assert_int_equal(count, 4);
		assert_int_equal(box(f, "Sent").use, STORE_USE_SENT);
		assert_false(box_is(f, "7 up"));
		assert_healthy(f);
	}
	/* An id in a file's name is not given to another mailbox. */
	assert_true(box_new(f, "new") > 9);
}

/* A rebuild that was killed is begun again, whatever it had done. */
static void an_interrupted_rebuild_is_begun_again(void **state)
{
	struct fixture *f = *state;
	uint32_t validity;

	fill(f);
	validity = box(f, "Gesendet").uidvalidity;
	store_close(&f->store);
	ok(f, store_rebuild(f->dir, NULL, NULL, &f->err));
	assert_false(reopen(f));
	assert_kept(f, validity);
	/* As if killed after everything but the last message. */
	begin(f, true);
	ok(f, store_mailbox_delete(f->txn, box(f, " blank in front").id, &f->err));
	commit(f);
	store_close(&f->store);
	assert_int_equal(close(open("rebuilding", O_WRONLY | O_CREAT, 0600)), 0);
	assert_int_equal(rename("mailboxes.old", "mailboxes"), 0);
	assert_true(reopen(f));
	assert_kept(f, validity);
	/* As if killed with the old index and names just set aside. */
	store_close(&f->store);
	assert_int_equal(close(open("rebuilding", O_WRONLY | O_CREAT, 0600)), 0);
	assert_int_equal(rename("index", "index.damaged-1"), 0);
	assert_int_equal(rename("mailboxes", "mailboxes.old"), 0);
	assert_true(reopen(f));
	assert_kept(f, validity);
	assert_int_not_equal(access("rebuilding", F_OK), 0);
	assert_false(reopen(f));
}

static void an_open_account_is_not_rebuilt(void **state)
{
	struct fixture *f = *state;

	fill(f);
	assert_int_equal(store_rebuild(f->dir, NULL, NULL, &f->err), E_BUSY);
	assert_int_equal(box(f, "INBOX").exists, 2);
	assert_int_equal(set_aside(), 0);
}

/* The names are there, but cannot be read now: the default ones must not take their place. */
static void names_that_cannot_be_read_are_not_replaced(void **state)
{
	struct fixture *f = *state;
	bool rebuilt;

	box_new(f, "mine");
	append(f, "INBOX", small_mail, 0);
	store_close(&f->store);
	assert_int_equal(rename("mailboxes", "names"), 0);
	assert_int_equal(mkdir("mailboxes", 0700), 0); /* reading it is EISDIR */
	assert_int_equal(store_rebuild(f->dir, NULL, NULL, &f->err), E_IO);
	assert_int_equal(store_open(&f->store, f->dir, &(struct store_options){.create = true}, &rebuilt, &f->err), E_IO);
	assert_int_equal(rmdir("mailboxes.old"), 0);
	assert_int_equal(rename("names", "mailboxes.old"), 0);
	assert_true(reopen(f)); /* the rebuild goes on by itself */
	assert_true(box_is(f, "mine"));
	assert_string_equal(uids(f, "INBOX"), "1");
	assert_healthy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(names_that_cannot_be_read_are_not_replaced, fixture_open, fixture_close),
	    cmocka_unit_test(file_names_go_both_ways),
	    cmocka_unit_test_setup_teardown(a_missing_or_cut_file_is_found, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_wrong_number_of_messages_heals, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(wrong_counts_are_found, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_lost_index_is_made_again, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(modseqs_ascend_whatever_the_clock_says, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_cut_index_is_made_again, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(garbage_in_the_index_is_set_aside, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_overflow_page_without_pages_is_noticed, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(a_damaged_meta_page_is_survived, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(any_damaged_page_is_survived, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(the_copy_of_the_names_may_be_lost_too, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_interrupted_rebuild_is_begun_again, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(an_open_account_is_not_rebuilt, fixture_open, fixture_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
