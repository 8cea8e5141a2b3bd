/* Spool ids, and envelopes as bytes. */
#include "tests/unit/test.h"

#include "spool/spool.h"

#include <stdlib.h>

static void ids_ascend_whatever_the_clock_does(void **state)
{
	static const int64_t clock_ms[] = {1795500000000, 1795500000000, 1795500000001, 1795500000000, 1795400000000, 0, -5,
	    1795500000001, 1795600000000};
	char text[SPOOL_ID_TEXT], before[SPOOL_ID_TEXT] = "";
	uint64_t last = 0, got, id;

	(void)state;
	for (size_t i = 0; i < sizeof(clock_ms) / sizeof(clock_ms[0]); i++) {
		id = spool_id_next(&last, clock_ms[i]);
		assert_true(id == last);
		spool_id_format(id, text);
		assert_int_equal(strlen(text), SPOOL_ID_TEXT - 1);
		assert_true(strcmp(text, before) > 0);
		assert_true(spool_id_parse(span_str(text), &got));
		assert_true(got == id);
		memcpy(before, text, sizeof(before));
	}
	/* More in one millisecond than the sequence has numbers. */
	last = 0;
	for (int i = 0; i < 40000; i++) {
		uint64_t one = last;

		assert_true(spool_id_next(&last, 1795500000000) > one);
	}
	id = spool_id_next(&last, 1795500000010);
	assert_true(id == last && id >> 14 == 1795500000010 - 1704067200000);
	assert_true(spool_id_ms(id) == 1795500000010);
}

static void ids_are_parsed_strictly(void **state)
{
	char text[SPOOL_ID_TEXT];
	uint64_t id;

	(void)state;
	spool_id_format(12345, text);
	assert_false(spool_id_parse(span_of(text, 10), &id));
	assert_false(spool_id_parse(SPAN_LIT(""), &id));
	assert_false(spool_id_parse(SPAN_LIT("0000000000/"), &id));
	assert_false(spool_id_parse(SPAN_LIT("00000000 00"), &id));
	assert_false(spool_id_parse(SPAN_LIT("0000000000\0"), &id));
	assert_false(spool_id_parse(SPAN_LIT("000000000000"), &id));
}

static struct spool_recipient recipients[] = {
    {.address = SPAN_LIT("carol@example.net"), .orcpt = SPAN_LIT("rfc822;carol+40example.net"),
	.notify = SPOOL_NOTIFY_SUCCESS | SPOOL_NOTIFY_FAILURE},
    {.address = SPAN_LIT("j\303\266rg@example.org"), .notify = SPOOL_NOTIFY_NEVER, .account = UINT64_MAX, .quota = 1,
	.canonical = SPAN_LIT("jorg@example.org"), .detail = SPAN_LIT("list"), .grant = SPAN_LIT("\0\1\2bytes"), .local = true},
};
static const struct spool_envelope sample = {.source = SPOOL_FROM_SUBMISSION, .arrived = -2, .sender = SPAN_LIT("a@example.org"),
    .envid = SPAN_LIT("id+3D1"), .ret = SPOOL_RET_HDRS, .body = SPOOL_BODY_BINARYMIME, .smtputf8 = true,
    .requiretls = true, .tls_optional = true, .release = 1795500000, .submitter = 7, .client = SPAN_LIT("host [192.0.2.1]"), .helo = SPAN_LIT("host"), .prepend = SPAN_LIT("Received: x\r\n"), .recipient_count = 2,
    .recipients = recipients};

static struct pool *pool;
static struct buf wire;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 0);
	buf_init(&wire, 4 * SPOOL_ENVELOPE_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&wire);
	pool_free(&pool);
	return 0;
}

static bool same(struct span a, struct span b)
{
	return span_eq(a, b);
}

static void an_envelope_comes_back_as_it_was(void **state)
{
	struct spool_envelope e;

	(void)state;
	assert_int_equal(spool_envelope_encode(&sample, &wire), 0);
	assert_int_equal(spool_envelope_decode(buf_span(&wire), pool, &e, NULL), 0);
	assert_int_equal(e.source, sample.source);
	assert_true(e.arrived == sample.arrived);
	assert_int_equal(e.ret, sample.ret);
	assert_int_equal(e.body, sample.body);
	assert_true(e.smtputf8 && e.requiretls && e.tls_optional);
	assert_true(e.release == sample.release && e.submitter == sample.submitter);
	assert_true(same(e.sender, sample.sender) && same(e.envid, sample.envid) && same(e.client, sample.client));
	assert_true(same(e.helo, sample.helo) && same(e.prepend, sample.prepend));
	assert_int_equal(e.recipient_count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct spool_recipient *r = &e.recipients[i], *want = &recipients[i];

		assert_true(same(r->address, want->address) && same(r->orcpt, want->orcpt) && same(r->canonical, want->canonical));
		assert_true(same(r->detail, want->detail) && same(r->grant, want->grant));
		assert_int_equal(r->notify, want->notify);
		assert_true(r->account == want->account && r->quota == want->quota && r->local == want->local);
	}
}

/* Cut anywhere, or with a byte more: damaged; with a byte changed: damaged, or the same length read another way, never a crash. */
/* What an earlier release has left in the spool. */
static void an_envelope_of_version_1_is_read(void **state)
{
	static const char old[] = "\1" "\1" "\5\0\0\0\0\0\0\0" "\0\0" "\1" /* SMTPUTF8 */
				  "\3\0\0\0a@b" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0" "\1\0\0\0"
				  "\3\0\0\0c@d" "\0\0\0\0" "\0" "\1" "\11\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0"
				  "\0\0\0\0" "\0\0\0\0" "\0\0\0\0";
	struct spool_envelope e;
	char bad[sizeof(old) - 1];

	(void)state;
	assert_int_equal(spool_envelope_decode(span_of(old, sizeof(old) - 1), pool, &e, NULL), 0);
	assert_true(e.smtputf8 && !e.requiretls && e.release == 0 && e.submitter == 0 && e.arrived == 5);
	assert_true(same(e.sender, SPAN_LIT("a@b")) && same(e.recipients[0].address, SPAN_LIT("c@d")));
	assert_true(e.recipients[0].account == 9 && e.recipients[0].local);
	memcpy(bad, old, sizeof(bad));
	bad[12] = 2; /* a flag that it did not have */
	assert_int_equal(spool_envelope_decode(span_of(bad, sizeof(bad)), pool, &e, NULL), E_CORRUPT);
}

static void a_damaged_envelope_is_refused(void **state)
{
	struct spool_envelope e;
	struct err err;
	struct span all;

	(void)state;
	assert_int_equal(spool_envelope_encode(&sample, &wire), 0);
	all = buf_span(&wire);
	for (size_t len = 0; len < all.len; len++) {
		char *copy = malloc(len + 1); /* of its size, so that a sanitizer sees the end */

		memcpy(copy, all.ptr, len);
		assert_int_equal(spool_envelope_decode(span_of(copy, len), pool, &e, &err), E_CORRUPT);
		free(copy);
	}
	for (size_t at = 0; at < all.len; at++)
		for (int value = 0; value < 256; value += 5) {
			char *copy = malloc(all.len);
			int r;

			memcpy(copy, all.ptr, all.len);
			copy[at] = (char)value;
			r = spool_envelope_decode(span_of(copy, all.len), pool, &e, &err);
			assert_true(r == 0 || r == E_CORRUPT);
			free(copy);
		}
	buf_add_char(&wire, '\0');
	assert_int_equal(spool_envelope_decode(buf_span(&wire), pool, &e, &err), E_CORRUPT);
	assert_non_null(strstr(err.text, "surplus"));
}

static void numbers_out_of_range_are_refused(void **state)
{
	static const struct {
		size_t at;
		char value;
	} rows[] = {{0, 0}, {0, 3}, {1, 0}, {1, 6}, {10, 3}, {11, 3}, {12, 8}, {20, -1}};
	struct spool_envelope e;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&wire);
		assert_int_equal(spool_envelope_encode(&sample, &wire), 0);
		((char *)(uintptr_t)buf_span(&wire).ptr)[rows[i].at] = rows[i].value;
		assert_int_equal(spool_envelope_decode(buf_span(&wire), pool, &e, NULL), E_CORRUPT);
	}
}

/* What is written can be read: the limits of both are the same. */
static void limits_are_those_of_reading(void **state)
{
	static struct spool_recipient many[SPOOL_RECIPIENTS_MAX + 1];
	struct spool_envelope e = sample, got;
	char *text = calloc(1, 70000);

	(void)state;
	for (size_t i = 0; i <= SPOOL_RECIPIENTS_MAX; i++)
		many[i].address = SPAN_LIT("a@b");
	e.recipients = many;
	e.recipient_count = SPOOL_RECIPIENTS_MAX;
	assert_int_equal(spool_envelope_encode(&e, &wire), 0);
	assert_int_equal(spool_envelope_decode(buf_span(&wire), pool, &got, NULL), 0);
	assert_int_equal(got.recipient_count, SPOOL_RECIPIENTS_MAX);
	buf_clear(&wire);
	e.recipient_count = SPOOL_RECIPIENTS_MAX + 1;
	assert_int_equal(spool_envelope_encode(&e, &wire), E_TOOBIG);
	e = sample;
	memset(text, 'x', 70000);
	for (size_t len = 65535; len <= 65537; len++) {
		buf_clear(&wire);
		e.prepend = span_of(text, len);
		if (spool_envelope_encode(&e, &wire) == 0)
			assert_int_equal(spool_envelope_decode(buf_span(&wire), pool, &got, NULL), 0);
		else
			assert_int_equal(len, 65537);
	}
	e = sample;
	buf_clear(&wire);
	e.recipients = many;
	e.recipient_count = 20;
	for (size_t i = 0; i < 20; i++)
		many[i].address = span_of(text, 60000);
	assert_int_equal(spool_envelope_encode(&e, &wire), E_TOOBIG);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids_ascend_whatever_the_clock_does),
	    cmocka_unit_test(ids_are_parsed_strictly),
	    cmocka_unit_test_setup_teardown(an_envelope_comes_back_as_it_was, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_envelope_of_version_1_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_damaged_envelope_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(numbers_out_of_range_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(limits_are_those_of_reading, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
