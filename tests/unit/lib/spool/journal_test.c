/* The journal of a message: commit, delivery records, and every kind of damage. */
#include "tests/unit/test.h"

#include "base/bytes.h"
#include "spool/spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....", other_key[SPOOL_KEY] = "another";
static const char content[] = "Subject: x\r\n\r\nHello, this is what is sent.\r\n";
enum { CONTENT = sizeof(content) - 1, ID = 77 };

struct fixture {
	char path[32];
	int fd;
	struct pool *pool;
	struct buf envelope;
	unsigned char check[SPOOL_CHECK];
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct spool_recipient to = {.address = SPAN_LIT("b@example.org")};
	struct spool_envelope e = {.source = SPOOL_FROM_SMTP, .sender = SPAN_LIT("a@example.org"), .recipient_count = 1,
	    .recipients = &to};

	strcpy(f->path, "/tmp/journal-test-XXXXXX");
	f->fd = mkstemp(f->path);
	assert_true(f->fd >= 0);
	f->pool = pool_new(NULL, 0);
	buf_init(&f->envelope, SPOOL_ENVELOPE_MAX);
	assert_int_equal(spool_envelope_encode(&e, &f->envelope), 0);
	assert_int_equal(write(f->fd, content, CONTENT), CONTENT);
	*state = f;
	return 0;
}

static int commit(struct fixture *f, uint64_t id, uint64_t len, int32_t ahead)
{
	struct spool_commit c = {.id = id, .content = len, .envelope = buf_span(&f->envelope), .ahead = ahead};
	int r = spool_commit(f->fd, key, &c, &f->err);

	memcpy(f->check, c.check, sizeof(f->check));
	return r;
}

static int setup_committed(void **state)
{
	struct fixture *f;

	setup(state);
	f = *state;
	assert_int_equal(commit(f, ID, CONTENT, 0), 0);
	return 0;
}

/* With the mark that only a file gets that was whole once. */
static int setup_resting(void **state)
{
	setup_committed(state);
	assert_int_equal(fchmod(((struct fixture *)*state)->fd, 0700), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->fd);
	unlink(f->path);
	buf_fini(&f->envelope);
	pool_free(&f->pool);
	free(f);
	return 0;
}

static int look(struct fixture *f, struct spool_file *out)
{
	pool_reset(f->pool);
	return spool_read(f->fd, ID, key, true, f->pool, out, &f->err);
}

static off_t size_of(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	return st.st_size;
}

static void append(struct fixture *f, enum spool_status status, uint32_t recipient, const char *text)
{
	struct spool_record r = {.status = status, .recipient = recipient, .attempts = 3, .when = 1000, .next = 2000,
	    .text = span_str(text)};

	assert_int_equal(spool_append(f->fd, ID, key, &r, 1, true, &f->err), 0);
}

static void what_was_committed_is_read(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	struct stat st;

	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.id, ID);
	assert_int_equal(file.content, CONTENT);
	assert_memory_equal(file.check, f->check, SPOOL_CHECK);
	assert_span_equal(file.envelope.sender, "a@example.org");
	assert_span_equal(file.envelope.recipients[0].address, "b@example.org");
	assert_int_equal(file.record_count, 0);
	assert_false(file.torn);
	assert_int_equal(size_of(f) % SPOOL_SLOT, 0);
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	append(f, SPOOL_DEFERRED, 0, "451 4.2.0 later");
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void records_are_read_in_order(void **state)
{
	struct fixture *f = *state;
	char big[SPOOL_TEXT_MAX + 10];
	struct spool_record two[2] = {{.status = SPOOL_DELIVERED, .recipient = 0, .when = INT64_MAX},
	    {.status = SPOOL_HOLD, .recipient = UINT32_MAX, .attempts = UINT32_MAX, .next = INT64_MIN, .text = SPAN_LIT("by hand")}};
	struct spool_file file;

	append(f, SPOOL_DEFERRED, 0, "451 4.2.0 later");
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	append(f, SPOOL_FAILED, 0, big);
	assert_int_equal(spool_append(f->fd, ID, key, two, 2, false, &f->err), 0);
	assert_int_equal(spool_append(f->fd, ID, key, two, 0, false, &f->err), 0);
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.record_count, 4);
	assert_false(file.torn);
	assert_int_equal(file.records[0].status, SPOOL_DEFERRED);
	assert_int_equal(file.records[0].attempts, 3);
	assert_int_equal(file.records[0].when, 1000);
	assert_int_equal(file.records[0].next, 2000);
	assert_span_equal(file.records[0].text, "451 4.2.0 later");
	assert_int_equal(file.records[1].text.len, SPOOL_TEXT_MAX);
	assert_true(file.records[2].when == INT64_MAX);
	assert_int_equal(file.records[2].text.len, 0);
	assert_int_equal(file.records[3].recipient, UINT32_MAX);
	assert_true(file.records[3].next == INT64_MIN);
	assert_span_equal(file.records[3].text, "by hand");
}

/* requeue and reroute: of the whole message, and of one recipient with the longest way there is. */
static void what_an_administrator_has_said_is_read(void **state)
{
	struct fixture *f = *state;
	char way[SPOOL_TEXT_MAX + 1];
	struct spool_file file;

	memset(way, 'h', SPOOL_TEXT_MAX);
	memcpy(way, "host ", 5);
	way[SPOOL_TEXT_MAX] = '\0';
	append(f, SPOOL_DEFERRED, 0, "451 4.4.1 later");
	append(f, SPOOL_REROUTED, 0, way);
	append(f, SPOOL_REQUEUED, UINT32_MAX, "");
	append(f, SPOOL_REROUTED, 0, "");
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.record_count, 4);
	assert_int_equal(file.records[1].status, SPOOL_REROUTED);
	assert_int_equal(file.records[1].recipient, 0);
	assert_span_equal(file.records[1].text, way);
	assert_int_equal(file.records[2].status, SPOOL_REQUEUED);
	assert_int_equal(file.records[2].recipient, UINT32_MAX);
	assert_int_equal(file.records[3].text.len, 0);
}

static void what_was_never_committed_is_told_from_damage(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;

	assert_int_equal(look(f, &file), E_NOTFOUND);
	assert_int_equal(commit(f, ID, CONTENT + 1, 0), E_CORRUPT);
	assert_int_equal(look(f, &file), E_NOTFOUND);
	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(look(f, &file), E_NOTFOUND);
	assert_int_equal(fchmod(f->fd, 0700), 0);
	assert_int_equal(look(f, &file), E_CORRUPT);
}

/* What the client wrote behind the content is not in the file any more. */
static void bytes_behind_the_content_are_cut(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;

	assert_int_equal(commit(f, ID, 10, 0), 0);
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.content, 10);
	assert_int_equal(size_of(f), (10 + buf_len(&f->envelope) + 63) / 64 * 64 + 64);
}

/* Its message is delivered: whatever is in it, nobody is owed anything. */
static void a_retired_file_holds_no_message(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	bool rested;

	assert_int_equal(spool_retire(f->fd, &rested, &f->err), 0);
	assert_false(rested);
	assert_int_equal(look(f, &file), E_NOTFOUND);
	assert_int_equal(pwrite(f->fd, "X", 1, 0), 1);
	assert_int_equal(look(f, &file), E_NOTFOUND);
}

/* An id later, with a shorter and a longer message in place of the first: nothing of the one before is left. */
static void a_file_used_again_holds_the_new_message_alone(void **state)
{
	static const char next[] = "Subject: y\r\n\r\nNo.\r\n";
	struct fixture *f = *state;
	struct spool_file file;
	char big[3000];
	bool rested;

	append(f, SPOOL_DEFERRED, 0, "451 4.2.0 later");
	assert_int_equal(spool_retire(f->fd, &rested, &f->err), 0);
	assert_true(rested);
	assert_int_equal(pwrite(f->fd, next, sizeof(next) - 1, 0), sizeof(next) - 1);
	assert_int_equal(commit(f, ID + 1, sizeof(next) - 1, 0), 0);
	assert_int_equal(spool_read(f->fd, ID + 1, key, true, f->pool, &file, &f->err), 0);
	assert_int_equal(file.content, sizeof(next) - 1);
	assert_int_equal(file.record_count, 0);
	assert_false(file.torn);
	assert_int_equal(size_of(f), (sizeof(next) - 1 + buf_len(&f->envelope) + 63) / 64 * 64 + 64);
	assert_int_equal(spool_retire(f->fd, &rested, &f->err), 0);
	memset(big, 'b', sizeof(big));
	assert_int_equal(pwrite(f->fd, big, sizeof(big), 0), sizeof(big));
	assert_int_equal(commit(f, ID + 2, sizeof(big), 0), 0);
	assert_int_equal(spool_read(f->fd, ID + 2, key, true, f->pool, &file, &f->err), 0);
	assert_int_equal(file.content, sizeof(big));
	assert_int_equal(spool_read(f->fd, ID, key, true, f->pool, &file, &f->err), E_NOTFOUND);
}

/* A commit that a power cut cut short, whatever of it has reached the disk: nobody was told 250. */
static void what_is_not_whole_and_has_no_mark_was_never_committed(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	off_t places[] = {0, CONTENT + 3, (off_t)size_of(f) - 20};

	for (size_t i = 0; i < 3; i++) {
		char kept, other;

		assert_int_equal(pread(f->fd, &kept, 1, places[i]), 1);
		other = (char)(kept ^ 1);
		assert_int_equal(pwrite(f->fd, &other, 1, places[i]), 1);
		assert_int_equal(spool_read(f->fd, ID, key, false, f->pool, &file, &f->err), E_NOTFOUND);
		assert_int_equal(pwrite(f->fd, &kept, 1, places[i]), 1);
		assert_int_equal(spool_read(f->fd, ID, key, false, f->pool, &file, &f->err), 0);
	}
}

static void another_key_or_id_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;

	assert_int_equal(spool_read(f->fd, ID, other_key, true, f->pool, &file, &f->err), E_CORRUPT);
	assert_int_equal(spool_read(f->fd, ID + 1, key, true, f->pool, &file, &f->err), E_CORRUPT);
	assert_int_equal(spool_read(f->fd, ID, key, false, f->pool, &file, &f->err), 0);
}

/* Every byte of the file is under one checksum or another, but for the padding. */
static void any_changed_byte_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	off_t commit = size_of(f) - 64, padding = (off_t)(CONTENT + buf_len(&f->envelope));

	append(f, SPOOL_DELIVERED, 0, "250 ok");
	append(f, SPOOL_DSN_SENT, 0, "");
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.record_count, 2);
	for (off_t at = 0; at < size_of(f); at++) {
		char byte, changed;
		int r;

		assert_int_equal(pread(f->fd, &byte, 1, at), 1);
		changed = (char)(byte ^ 0x10);
		assert_int_equal(pwrite(f->fd, &changed, 1, at), 1);
		r = look(f, &file);
		if (at >= padding && at < commit)
			assert_int_equal(r, 0);
		else if (at < commit + 64)
			assert_int_equal(r, E_CORRUPT);
		else
			assert_true(r == 0 && file.torn && file.record_count == 1);
		/* The content alone may wait for the first delivery. */
		r = spool_read(f->fd, ID, key, false, f->pool, &file, &f->err);
		assert_int_equal(r, at < CONTENT || at >= padding ? (at >= commit && at < commit + 64 ? E_CORRUPT : 0) : E_CORRUPT);
		assert_int_equal(pwrite(f->fd, &byte, 1, at), 1);
	}
	assert_int_equal(look(f, &file), 0);
	assert_false(file.torn);
}

/* A crash in the middle of an append: what was there counts, and so does what comes after. */
static void a_torn_tail_is_stepped_over(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	off_t before, after;

	append(f, SPOOL_DEFERRED, 0, "first");
	before = size_of(f);
	append(f, SPOOL_DEFERRED, 0, "second, which is long enough to take several slots of the file, one after the other, as it goes on");
	after = size_of(f);
	assert_true(after - before >= 3 * SPOOL_SLOT);
	for (off_t cut = after - 1; cut > before; cut--) {
		assert_int_equal(ftruncate(f->fd, cut), 0);
		assert_int_equal(look(f, &file), 0);
		assert_int_equal(file.record_count, 1);
		assert_true(file.torn);
	}
	for (off_t left = 1; left < after - before; left += 13) {
		assert_int_equal(ftruncate(f->fd, before), 0);
		append(f, SPOOL_DEFERRED, 0, "second, which is long enough to take several slots of the file, one after the other, as it goes on");
		assert_int_equal(ftruncate(f->fd, before + left), 0);
		append(f, SPOOL_DELIVERED, 0, "third");
		assert_int_equal(look(f, &file), 0);
		assert_int_equal(file.record_count, 2);
		assert_true(file.torn);
		assert_span_equal(file.records[0].text, "first");
		assert_span_equal(file.records[1].text, "third");
	}
}

/* Cut before its end the file is damaged: its mode says that it was whole once. */
static void a_cut_file_is_damaged(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;

	for (off_t cut = size_of(f) - 1; cut >= 0; cut--) {
		assert_int_equal(ftruncate(f->fd, cut), 0);
		assert_int_equal(look(f, &file), E_CORRUPT);
	}
}

/* A record that is moved or doubled does not fit its place. */
static void a_replayed_record_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	char record[SPOOL_SLOT];
	off_t at = size_of(f);

	append(f, SPOOL_DELIVERED, 0, "");
	assert_int_equal(size_of(f), at + SPOOL_SLOT);
	assert_int_equal(pread(f->fd, record, SPOOL_SLOT, at), SPOOL_SLOT);
	assert_int_equal(pwrite(f->fd, record, SPOOL_SLOT, at + SPOOL_SLOT), SPOOL_SLOT);
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.record_count, 1);
	assert_true(file.torn);
}

/* Content that holds whole journals of other messages, at every place records may begin. */
static void look_alikes_in_the_content_do_nothing(void **state)
{
	struct fixture *f = *state;
	struct spool_file file;
	char *copy, *many;
	size_t len = (size_t)size_of(f), all = 0;

	copy = malloc(len);
	many = malloc(50 * (len + SPOOL_SLOT));
	assert_int_equal(pread(f->fd, copy, len, 0), len);
	for (int i = 0; i < 50; i++) {
		memcpy(many + all, copy, len);
		all += len;
	}
	assert_int_equal(pwrite(f->fd, many, all, 0), all);
	assert_int_equal(commit(f, ID, all, 0), 0);
	append(f, SPOOL_DELIVERED, 0, "250 ok");
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.content, all);
	assert_int_equal(file.record_count, 1);
	free(copy);
	free(many);
}

/* Over the size of the pieces in which the way back to the commit record is read. Each is of another target, and all count. */
static void many_records_are_all_read(void **state)
{
	enum { COUNT = 3000 };
	struct fixture *f = *state;
	struct spool_record *many = calloc(COUNT, sizeof(*many));
	struct spool_file file;

	for (uint32_t i = 0; i < COUNT; i++)
		many[i] = (struct spool_record){.status = SPOOL_TARGET_DONE, .when = i, .text = span_of(content, i % 30)};
	assert_int_equal(spool_append(f->fd, ID, key, many, COUNT, true, &f->err), 0);
	assert_int_equal(look(f, &file), 0);
	assert_int_equal(file.record_count, COUNT);
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_int_equal(file.records[i].when, i);
		assert_int_equal(file.records[i].text.len, i % 30);
	}
	/* Too little memory is said, not passed over. */
	pool_free(&f->pool);
	f->pool = pool_new(NULL, COUNT * sizeof(*many));
	assert_int_equal(look(f, &file), E_NOMEM);
	free(many);
}

/* They need no more memory than one of them: what was never committed is told, and not looked at again for ever. */
static void look_alikes_take_no_memory(void **state)
{
	enum { COUNT = 8, START = SPOOL_ENVELOPE_MAX + SPOOL_SLOT };
	struct fixture *f = *state;
	struct spool_file file;
	unsigned char head[28] = {0x4a, 0x52, 0x57, 0x4d, 1, 0, 0, 0, 64};

	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t at = START + (uint64_t)i * SPOOL_SLOT, envelope = SPOOL_ENVELOPE_MAX - i;

		put_le(head + 12, at - envelope, 8);
		put_le(head + 20, envelope, 8);
		assert_int_equal(pwrite(f->fd, head, sizeof(head), (off_t)at), sizeof(head));
	}
	assert_int_equal(ftruncate(f->fd, START + COUNT * SPOOL_SLOT), 0);
	pool_free(&f->pool);
	f->pool = pool_new(NULL, 3 * SPOOL_ENVELOPE_MAX);
	assert_int_equal(look(f, &file), E_NOTFOUND);
}

/* And the four octets of it were zero in files of earlier releases. */
static void how_far_the_clock_was_ahead_is_read(void **state)
{
	static const int32_t all[] = {0, 86400, -86400, INT32_MAX, INT32_MIN};
	struct fixture *f = *state;
	struct spool_file file;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(commit(f, ID, CONTENT, all[i]), 0);
		assert_int_equal(look(f, &file), 0);
		assert_int_equal(file.ahead, all[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_was_committed_is_read, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(how_far_the_clock_was_ahead_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(records_are_read_in_order, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(what_an_administrator_has_said_is_read, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(what_was_never_committed_is_told_from_damage, setup, teardown),
	    cmocka_unit_test_setup_teardown(bytes_behind_the_content_are_cut, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_retired_file_holds_no_message, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(a_file_used_again_holds_the_new_message_alone, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(what_is_not_whole_and_has_no_mark_was_never_committed, setup_committed, teardown),
	    cmocka_unit_test_setup_teardown(another_key_or_id_opens_nothing, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(any_changed_byte_is_noticed, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(a_torn_tail_is_stepped_over, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(a_cut_file_is_damaged, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(a_replayed_record_does_not_count, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(look_alikes_in_the_content_do_nothing, setup_resting, teardown),
	    cmocka_unit_test_setup_teardown(look_alikes_take_no_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_records_are_all_read, setup_resting, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
