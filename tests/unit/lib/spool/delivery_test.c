/* Long journals: what is read of them does as much as all that was written, and needs memory for recipients, not for records. */
#include "tests/unit/test.h"

#include "spool/spool.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....";
enum { ID = 77, POOL = 8 * 1024 * 1024, WHOLE = -1 };

static char path[32];
static int fd;
static struct pool *pool;
static struct spool_file file;
static struct err err;

/* The message to so many recipients; nothing is synced. */
static void begin(size_t recipients)
{
	struct spool_recipient *to = calloc(recipients, sizeof(*to));
	struct spool_envelope e = {.source = SPOOL_FROM_SMTP, .recipient_count = recipients, .recipients = to};
	struct spool_commit c = {.id = ID};
	struct buf wire;

	for (size_t i = 0; i < recipients; i++)
		to[i].address = SPAN_LIT("somebody@example.org");
	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	assert_int_equal(spool_envelope_encode(&e, &wire), 0);
	c.envelope = buf_span(&wire);
	assert_int_equal(spool_commit(fd, key, &c, &err), 0);
	buf_fini(&wire);
	free(to);
}

static int setup(void **state)
{
	(void)state;
	strcpy(path, "/tmp/delivery-test-XXXXXX");
	fd = mkstemp(path);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	close(fd);
	unlink(path);
	return 0;
}

static int look(size_t max)
{
	pool_free(&pool);
	pool = pool_new(NULL, max);
	return spool_read(fd, ID, key, true, pool, &file, &err);
}

static void append(const struct spool_record *records, size_t count)
{
	assert_int_equal(spool_append(fd, ID, key, records, count, false, &err), 0);
}

static void append_one(enum spool_status status, int recipient, uint32_t attempts, const char *text)
{
	append(&(struct spool_record){.status = status, .recipient = (uint32_t)recipient, .attempts = attempts, .when = attempts, .next = 10 * (int64_t)attempts, .text = span_str(text)}, 1);
}

/* More than is read in one go. */
static void make_long(void)
{
	enum { COUNT = 5000 };
	struct spool_record *many = calloc(COUNT, sizeof(*many));

	for (uint32_t i = 0; i < COUNT; i++)
		many[i] = (struct spool_record){.status = SPOOL_DEFERRED, .attempts = i};
	append(many, COUNT);
	free(many);
}

static off_t size_of(void)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

/* ---- what they say, as queue/message.c takes it ---- */

enum { PEOPLE = 5 };

struct person {
	enum spool_status status;
	uint32_t attempts;
	bool told, anew;
	struct span text, way, owner;
};

struct world {
	struct person people[PEOPLE];
	bool held, warned;
	int64_t next;
};

static bool is_open(const struct person *p)
{
	return p->status == SPOOL_PENDING || p->status == SPOOL_DEFERRED;
}

static void requeue(struct world *w)
{
	for (size_t i = 0; i < PEOPLE; i++)
		if (is_open(&w->people[i])) {
			w->people[i].status = SPOOL_PENDING;
			w->people[i].attempts = 0;
			w->people[i].text = span_str("");
			w->people[i].anew = true;
		}
	w->next = 0;
}

static void apply(struct world *w, const struct spool_record *r)
{
	struct person *p = r->recipient < PEOPLE ? &w->people[r->recipient] : NULL;

	if (r->status == SPOOL_HOLD || r->status == SPOOL_RELEASE)
		w->held = r->status == SPOOL_HOLD;
	else if (r->status == SPOOL_WARNED)
		w->warned = true;
	else if (r->status == SPOOL_REQUEUED)
		requeue(w);
	else if (p != NULL && r->status == SPOOL_REROUTED) {
		p->way = r->text;
		w->next = r->when;
	} else if (p != NULL && r->status == SPOOL_DSN_SENT)
		p->told = true;
	else if (p != NULL && r->status == SPOOL_OWNER)
		p->owner = r->text;
	else if (p != NULL && r->status != SPOOL_TARGET_DONE) {
		p->status = r->status;
		p->attempts = r->attempts;
		p->text = r->text;
		if (r->status == SPOOL_DEFERRED)
			w->next = r->next;
	}
}

static void assert_same_world(const struct world *a, const struct world *b)
{
	for (size_t i = 0; i < PEOPLE; i++) {
		const struct person *p = &a->people[i], *q = &b->people[i];

		assert_int_equal(p->status, q->status);
		assert_int_equal(p->attempts, q->attempts);
		assert_int_equal(p->told, q->told);
		assert_true(!is_open(p) || p->anew == q->anew); /* where it leads is asked for those who wait */
		assert_true(span_eq(p->text, q->text) && span_eq(p->way, q->way) && span_eq(p->owner, q->owner));
	}
	assert_int_equal(a->held, b->held);
	assert_int_equal(a->warned, b->warned);
	assert_int_equal(a->next, b->next);
}

/* What queue could write next: who is done stays so. */
static struct spool_record next_record(const struct world *w, uint32_t number)
{
	static const enum spool_status whole[] = {SPOOL_HOLD, SPOOL_RELEASE, SPOOL_WARNED, SPOOL_REQUEUED, SPOOL_KEPT},
				       of_open[] = {SPOOL_DEFERRED, SPOOL_DEFERRED, SPOOL_DEFERRED, SPOOL_DEFERRED, SPOOL_DELIVERED, SPOOL_FAILED, SPOOL_EXPIRED, SPOOL_REROUTED, SPOOL_OWNER, SPOOL_TARGET_DONE};
	static char texts[64][16];
	uint32_t i = randombytes_uniform(PEOPLE);
	char *text = texts[number % 64];
	struct spool_record r = {.recipient = i, .attempts = number, .when = number, .next = 1 + randombytes_uniform(1000)};

	snprintf(text, sizeof(texts[0]), "text %u", number);
	r.text = span_str(text);
	if (randombytes_uniform(5) == 0) {
		r.status = whole[randombytes_uniform(sizeof(whole) / sizeof(whole[0]))];
		r.recipient = UINT32_MAX;
	} else {
		r.status = is_open(&w->people[i]) ? of_open[randombytes_uniform(sizeof(of_open) / sizeof(of_open[0]))] : SPOOL_DSN_SENT;
	}
	return r;
}

static void what_is_left_out_changes_nothing(void **state)
{
	enum { ROUNDS = 200, RECORDS = 40 };
	off_t start;

	(void)state;
	begin(PEOPLE);
	make_long();
	start = size_of();
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct world all = {0}, read = {0};
		unsigned targets = 0;

		assert_int_equal(ftruncate(fd, start), 0);
		apply(&all, &(struct spool_record){.status = SPOOL_DEFERRED, .attempts = 4999});
		for (uint32_t i = 0, count = 1 + randombytes_uniform(RECORDS); i < count; i++) {
			struct spool_record r = next_record(&all, i);

			append(&r, 1);
			apply(&all, &r);
			targets += r.status == SPOOL_TARGET_DONE;
		}
		assert_int_equal(look(POOL), 0);
		assert_true(file.record_count < 5 + PEOPLE * 4 + 1 + targets);
		for (size_t i = 0; i < file.record_count; i++) {
			apply(&read, &file.records[i]);
			targets -= file.records[i].status == SPOOL_TARGET_DONE;
		}
		assert_int_equal(targets, 0);
		assert_same_world(&all, &read);
	}
}

/* ---- what queue could not read ---- */

static const struct spool_record *last_of(uint32_t recipient)
{
	const struct spool_record *last = NULL;

	for (size_t i = 0; i < file.record_count; i++)
		if (file.records[i].recipient == recipient && file.records[i].status <= SPOOL_EXPIRED)
			last = &file.records[i];
	return last;
}

/* A week of tries for 1,000; then the first has the message, as the last but one of all records, which must not be left out. */
static void memory_is_for_recipients_and_not_for_records(void **state)
{
	enum { PEOPLE_MANY = SPOOL_RECIPIENTS_MAX, TRIES = 150, TEXT = 300 };
	struct spool_record *records = calloc(PEOPLE_MANY, sizeof(*records));
	char text[TEXT];
	clock_t before;

	(void)state;
	memset(text, 'x', sizeof(text));
	begin(PEOPLE_MANY);
	for (uint32_t try = 1; try <= TRIES; try++) {
		for (uint32_t i = 0; i < PEOPLE_MANY; i++)
			records[i] = (struct spool_record){.status = SPOOL_DEFERRED, .recipient = i, .attempts = try, .next = try, .text = span_of(text, sizeof(text))};
		append(records, PEOPLE_MANY);
		if (try == 100)
			append_one(SPOOL_REQUEUED, WHOLE, 0, "");
	}
	append_one(SPOOL_DELIVERED, 0, TRIES + 1, "250 2.0.0 taken");
	append_one(SPOOL_HOLD, WHOLE, 0, "");
	before = clock();
	assert_int_equal(look(POOL), 0);
	assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
	assert_true(file.journal > 150000 * TEXT);
	assert_false(file.torn);
	assert_int_equal(file.record_count, PEOPLE_MANY + 2);
	assert_int_equal(last_of(0)->status, SPOOL_DELIVERED);
	for (uint32_t i = 1; i < PEOPLE_MANY; i++) {
		assert_int_equal(last_of(i)->status, SPOOL_DEFERRED);
		assert_int_equal(last_of(i)->attempts, TRIES);
		assert_int_equal(last_of(i)->text.len, TEXT);
	}
	free(records);
}

/* In order of writing, each with its own text. */
static void what_an_administrator_has_said_stays_in_its_place(void **state)
{
	static const enum spool_status expected[] = {SPOOL_FAILED, SPOOL_DSN_SENT, SPOOL_REQUEUED, SPOOL_REROUTED, SPOOL_DEFERRED, SPOOL_RELEASE};

	(void)state;
	begin(2);
	make_long();
	append_one(SPOOL_FAILED, 1, 2, "550 5.1.1 nobody");
	append_one(SPOOL_DSN_SENT, 1, 0, "");
	for (unsigned i = 0; i < 2000; i++) {
		append_one(SPOOL_HOLD, WHOLE, 0, "");
		append_one(SPOOL_REQUEUED, WHOLE, 0, "");
		append_one(SPOOL_REROUTED, 0, i, i == 1999 ? "host b.test:25" : "host a.test:25");
		append_one(SPOOL_DEFERRED, 0, i + 1, "451 4.4.1 later");
		append_one(SPOOL_RELEASE, WHOLE, 0, "");
	}
	assert_int_equal(look(POOL), 0);
	assert_int_equal(file.record_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(file.records[i].status, expected[i]);
	assert_span_equal(file.records[3].text, "host b.test:25");
	assert_int_equal(file.records[4].attempts, 2000);
}

static void a_torn_record_in_the_middle_is_stepped_over(void **state)
{
	off_t before, after;

	(void)state;
	begin(2);
	make_long();
	append_one(SPOOL_DELIVERED, 1, 1, "250 2.0.0 taken");
	before = size_of();
	append_one(SPOOL_FAILED, 0, 1, "a text that takes several slots of the file, one after the other, of which only the first was written");
	after = size_of();
	assert_true(after - before >= 2 * SPOOL_SLOT);
	assert_int_equal(ftruncate(fd, before + SPOOL_SLOT + 1), 0);
	make_long();
	append_one(SPOOL_DEFERRED, 0, 7, "451 4.4.1 later");
	assert_int_equal(look(POOL), 0);
	assert_true(file.torn);
	assert_int_equal(file.record_count, 2);
	assert_int_equal(last_of(0)->attempts, 7);
	assert_int_equal(last_of(1)->status, SPOOL_DELIVERED);
}

/* Said, and never cut: who has had the message would get it again. */
static void too_many_targets_are_refused(void **state)
{
	enum { COUNT = 32768 };
	struct spool_record *records = calloc(COUNT, sizeof(*records));

	(void)state;
	begin(1);
	for (size_t i = 0; i < COUNT; i++)
		records[i] = (struct spool_record){.status = SPOOL_TARGET_DONE, .text = SPAN_LIT("host 00112233445566778899aabbccddeeff")};
	append(records, COUNT);
	assert_int_equal(look(POOL), 0);
	assert_int_equal(file.record_count, COUNT);
	append(records, 1);
	assert_int_equal(look(POOL), E_CORRUPT);
	assert_non_null(strstr(err.text, "more than 32768"));
	free(records);
}

static void what_means_nothing_is_not_left_out(void **state)
{
	(void)state;
	begin(1);
	append_one((enum spool_status)(SPOOL_STATUS_LAST + 1), 0, 0, "");
	make_long();
	assert_int_equal(look(POOL), E_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_left_out_changes_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_is_for_recipients_and_not_for_records, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_an_administrator_has_said_stays_in_its_place, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_torn_record_in_the_middle_is_stepped_over, setup, teardown),
	    cmocka_unit_test_setup_teardown(too_many_targets_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_means_nothing_is_not_left_out, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
