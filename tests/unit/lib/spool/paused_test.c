/* The list of paused destinations: what is written is read, and every damage noticed. */
#include "tests/unit/test.h"

#include "spool/spool.h"

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....", other_key[SPOOL_KEY] = "another";
static struct span found[SPOOL_PAUSED_MAX];
static size_t count;

static int read_back(struct span text, const unsigned char *with)
{
	struct err err;

	return spool_paused_decode(text, with, found, &count, &err);
}

static void what_is_written_is_read(void **state)
{
	static const struct span names[] = {SPAN_LIT("example.org"), SPAN_LIT("192.0.2.1:25 for *.example.net"), SPAN_LIT("mx.test:25 by reroute")};
	struct buf text;

	(void)state;
	for (size_t n = 0; n <= 3; n++) {
		buf_init(&text, SPOOL_PAUSED_SIZE);
		assert_int_equal(spool_paused_encode(names, n, key, &text), 0);
		assert_int_equal(read_back(buf_span(&text), key), 0);
		assert_int_equal(count, n);
		for (size_t i = 0; i < n; i++)
			assert_true(span_eq(found[i], names[i]));
		assert_int_equal(read_back(buf_span(&text), other_key), E_CORRUPT);
		buf_fini(&text);
	}
}

static void any_damage_is_noticed(void **state)
{
	static const struct span names[] = {SPAN_LIT("example.org"), SPAN_LIT("example.net")};
	struct buf text;

	(void)state;
	buf_init(&text, SPOOL_PAUSED_SIZE);
	assert_int_equal(spool_paused_encode(names, 2, key, &text), 0);
	for (size_t i = 0; i < buf_len(&text); i++) {
		char *octets = (char *)(uintptr_t)buf_span(&text).ptr;

		assert_int_equal(read_back(span_sub(buf_span(&text), 0, i), key), E_CORRUPT);
		octets[i] ^= 1;
		assert_int_equal(read_back(buf_span(&text), key), E_CORRUPT);
		octets[i] ^= 1;
	}
	assert_int_equal(read_back(buf_span(&text), key), 0);
	buf_fini(&text);
}

static void limits_are_kept(void **state)
{
	static struct span names[SPOOL_PAUSED_MAX + 1];
	char longest[SPOOL_PAUSED_NAME + 1];
	struct buf text;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	for (size_t i = 0; i <= SPOOL_PAUSED_MAX; i++)
		names[i] = span_of(longest, SPOOL_PAUSED_NAME);
	buf_init(&text, SPOOL_PAUSED_SIZE);
	assert_int_equal(spool_paused_encode(names, SPOOL_PAUSED_MAX + 1, key, &text), E_LIMIT);
	assert_int_equal(spool_paused_encode(names, SPOOL_PAUSED_MAX, key, &text), 0);
	assert_int_equal(read_back(buf_span(&text), key), 0);
	assert_int_equal(count, SPOOL_PAUSED_MAX);
	assert_false(spool_paused_is_name(span_of(longest, sizeof(longest))));
	assert_false(spool_paused_is_name(SPAN_LIT("")));
	assert_false(spool_paused_is_name(SPAN_LIT("a\nb")));
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(any_damage_is_noticed), cmocka_unit_test(limits_are_kept)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
