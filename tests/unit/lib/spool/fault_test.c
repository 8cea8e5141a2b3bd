/* What the disk refuses, and records that are whole but mean nothing. */
#include "tests/unit/test.h"

#include "spool/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....";
static const char content[] = "Subject: x\r\n\r\nHello.\r\n";
enum { CONTENT = sizeof(content) - 1, ID = 77 };

static char path[32];
static int fd;
static struct buf envelope;
static struct err err;

static int setup(void **state)
{
	struct spool_recipient to = {.address = SPAN_LIT("b@example.org")};
	struct spool_envelope e = {.source = SPOOL_FROM_SMTP, .recipient_count = 1, .recipients = &to};

	(void)state;
	strcpy(path, "/tmp/spool-test-XXXXXX");
	fd = mkstemp(path);
	buf_init(&envelope, SPOOL_ENVELOPE_MAX);
	signal(SIGXFSZ, SIG_IGN);
	return fd < 0 || spool_envelope_encode(&e, &envelope) != 0 || write(fd, content, CONTENT) != CONTENT;
}

static int teardown(void **state)
{
	(void)state;
	close(fd);
	unlink(path);
	buf_fini(&envelope);
	return 0;
}

static int commit(void)
{
	struct spool_commit c = {.id = ID, .content = CONTENT, .envelope = buf_span(&envelope)};

	return spool_commit(fd, key, &c, &err);
}

static int look(struct spool_file *out)
{
	static struct pool *pool;

	pool_free(&pool);
	pool = pool_new(NULL, 0);
	return spool_read(fd, ID, key, true, pool, out, &err);
}

/* Files may not grow past `size` octets. */
static void limit_size(rlim_t size)
{
	static struct rlimit before;
	struct rlimit now;

	if (size == 0) {
		setrlimit(RLIMIT_FSIZE, &before);
		return;
	}
	getrlimit(RLIMIT_FSIZE, &before);
	now = before;
	now.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &now);
}

/* D6 of doc/reliability.md: temporary, and the message was never there. At any octet. */
static void a_commit_on_a_full_disk(void **state)
{
	struct spool_file file;
	int r;

	(void)state;
	for (rlim_t size = CONTENT; size < 3 * SPOOL_SLOT; size += 7) {
		limit_size(size);
		r = commit();
		limit_size(0);
		if (r == 0)
			break;
		assert_int_equal(r, E_NOSPACE);
		assert_int_equal(look(&file), E_NOTFOUND);
	}
	assert_int_equal(commit(), 0); /* there is room again */
	assert_int_equal(look(&file), 0);
	assert_int_equal(file.content, CONTENT);
}

/* What was recorded before stays, what did not fit is stepped over. */
static void a_record_on_a_full_disk(void **state)
{
	struct spool_record r = {.status = SPOOL_DEFERRED, .text = SPAN_LIT("451 4.2.0 a text that is longer than what is left of this slot")};
	struct spool_file file;
	struct stat st;

	(void)state;
	assert_int_equal(commit(), 0);
	assert_int_equal(spool_append(fd, ID, key, &r, 1, true, &err), 0);
	fstat(fd, &st);
	limit_size((rlim_t)st.st_size + 70);
	assert_int_equal(spool_append(fd, ID, key, &r, 1, true, &err), E_NOSPACE);
	limit_size(0);
	assert_int_equal(look(&file), 0);
	assert_int_equal(file.record_count, 1);
	assert_true(file.torn);
	assert_int_equal(spool_append(fd, ID, key, &r, 1, true, &err), 0);
	assert_int_equal(look(&file), 0);
	assert_int_equal(file.record_count, 2);
}

static void what_is_no_file(void **state)
{
	struct spool_record r = {.status = SPOOL_DELIVERED};
	struct spool_file file;
	int good = fd, fds[2];

	(void)state;
	fd = -1;
	assert_true(commit() < 0 && look(&file) < 0 && spool_append(fd, ID, key, &r, 1, true, &err) < 0);
	assert_non_null(strstr(err.text, "spool file: "));
	/* Open for reading only: nothing is written, and that is said. */
	fd = open(path, O_RDONLY);
	assert_int_equal(commit(), E_IO);
	assert_int_equal(spool_append(fd, ID, key, &r, 1, true, &err), E_IO);
	close(fd);
	/* Open for writing only: the content cannot be read for its checksum. */
	fd = open(path, O_WRONLY);
	assert_int_equal(commit(), E_IO);
	close(fd);
	/* What cannot be synced was not accepted. */
	assert_int_equal(pipe(fds), 0);
	fd = fds[1];
	assert_true(commit() < 0);
	close(fds[0]);
	close(fds[1]);
	fd = good;
}

static void too_many_records_at_once(void **state)
{
	struct spool_record r = {.status = SPOOL_DELIVERED};

	(void)state;
	assert_int_equal(commit(), 0);
	assert_int_equal(spool_append(fd, ID, key, &r, 100001, true, &err), E_NOMEM);
}

/* A record with the right checksum that means nothing to this version: left out, somebody might get the message again. */
static void records_that_mean_nothing(void **state)
{
	struct spool_record good = {.status = SPOOL_DELIVERED, .text = SPAN_LIT("250 2.0.0 fine")}, bad = good;
	struct spool_file file;

	(void)state;
	assert_int_equal(commit(), 0);
	bad.status = (enum spool_status)(SPOOL_STATUS_LAST + 1);
	assert_int_equal(spool_append(fd, ID, key, &bad, 1, true, &err), 0);
	assert_int_equal(spool_append(fd, ID, key, &good, 1, true, &err), 0);
	assert_int_equal(look(&file), E_CORRUPT);
}

static void without_memory(void **state)
{
	struct spool_record r = {.status = SPOOL_DELIVERED, .text = SPAN_LIT("250 2.0.0 fine")};
	struct spool_file file;
	int result = E_NOMEM;

	(void)state;
	assert_int_equal(commit(), 0);
	assert_int_equal(spool_append(fd, ID, key, &r, 1, true, &err), 0);
	for (size_t max = 16; result != 0; max += 16) {
		struct pool *pool = pool_new(NULL, max);

		result = spool_read(fd, ID, key, true, pool, &file, &err);
		assert_true(result == 0 || result == E_NOMEM); /* never "damaged": it would be set aside */
		assert_true(max < 10000);
		pool_free(&pool);
	}
	assert_int_equal(file.record_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_commit_on_a_full_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_record_on_a_full_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_no_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_many_records_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(records_that_mean_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
