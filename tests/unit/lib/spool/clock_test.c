/* Queue's clock on the disk: what is written is read, every damage is noticed, and it goes on from there whatever the machine's clock says. */
#include "tests/unit/test.h"

#include "spool/spool.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....", other_key[SPOOL_KEY] = "another";
static const struct spool_clock saved = {.queue_ms = INT64_C(1795500000000), .wall_ms = INT64_C(1795500000500), .since_boot_ms = 5 * HOUR_MS, .boot = "8f0c1a52-77"};

static int read_back(struct span text, const unsigned char *with, struct spool_clock *out)
{
	struct err err;

	return spool_clock_decode(text, with, out, &err);
}

static void what_is_written_is_read(void **state)
{
	struct spool_clock none = {0}, out;
	struct buf text;

	(void)state;
	buf_init(&text, SPOOL_CLOCK_SIZE);
	assert_int_equal(spool_clock_encode(&saved, key, &text), 0);
	assert_int_equal(read_back(buf_span(&text), key, &out), 0);
	assert_true(out.queue_ms == saved.queue_ms && out.wall_ms == saved.wall_ms && out.since_boot_ms == saved.since_boot_ms);
	assert_string_equal(out.boot, saved.boot);
	assert_int_equal(read_back(buf_span(&text), other_key, &out), E_CORRUPT);
	buf_clear(&text);
	assert_int_equal(spool_clock_encode(&none, key, &text), 0);
	assert_int_equal(read_back(buf_span(&text), key, &out), 0);
	assert_string_equal(out.boot, "");
	buf_fini(&text);
}

static void the_longest_fits(void **state)
{
	struct spool_clock longest = {.queue_ms = INT64_MAX / 1000, .wall_ms = INT64_MAX / 1000, .since_boot_ms = INT64_MAX / 1000}, out;
	struct buf text;

	(void)state;
	memset(longest.boot, 'f', sizeof(longest.boot) - 1);
	buf_init(&text, SPOOL_CLOCK_SIZE);
	assert_int_equal(spool_clock_encode(&longest, key, &text), 0);
	assert_int_equal(read_back(buf_span(&text), key, &out), 0);
	buf_fini(&text);
}

static void any_damage_is_noticed(void **state)
{
	struct spool_clock out;
	struct buf text;

	(void)state;
	buf_init(&text, SPOOL_CLOCK_SIZE);
	assert_int_equal(spool_clock_encode(&saved, key, &text), 0);
	for (size_t i = 0; i < buf_len(&text); i++) {
		char *octets = (char *)(uintptr_t)buf_span(&text).ptr;

		assert_int_equal(read_back(span_sub(buf_span(&text), 0, i), key, &out), E_CORRUPT);
		octets[i] ^= 1;
		assert_int_equal(read_back(buf_span(&text), key, &out), E_CORRUPT);
		octets[i] ^= 1;
	}
	buf_fini(&text);
}

static void what_could_not_be_read_is_not_written(void **state)
{
	static const struct spool_clock bad[] = {{.queue_ms = -1}, {.wall_ms = -1}, {.since_boot_ms = -1}, {.boot = "a\nb"}, {.boot = "a b"}};
	struct buf text;

	(void)state;
	buf_init(&text, SPOOL_CLOCK_SIZE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(spool_clock_encode(&bad[i], key, &text), E_SYNTAX);
	buf_fini(&text);
}

/* How much has passed, in the eyes of queue. */
static void a_start_goes_on_from_there(void **state)
{
	static const struct {
		const char *boot;
		int64_t wall, since_boot, passed, extra; /* all but extra after what was saved */
	} rows[] = {
	    /* While the machine stays up only its own count matters. */
	    {"8f0c1a52-77", HOUR_MS, HOUR_MS, HOUR_MS, 0},
	    {"8f0c1a52-77", 30ll * DAY_MS, HOUR_MS, HOUR_MS, 0},
	    {"8f0c1a52-77", -DAY_MS, HOUR_MS, HOUR_MS, 0},
	    {"8f0c1a52-77", -INT64_C(1795500000000), 1000, 1000, 0},
	    {"8f0c1a52-77", 0, 9ll * DAY_MS, 9ll * DAY_MS, 0},
	    /* It was off: by the clock, within bounds. */
	    {"11111111-22", HOUR_MS, -4 * HOUR_MS, HOUR_MS, 0},
	    {"11111111-22", HOUR_MS, 20 * HOUR_MS, HOUR_MS, 0},
	    {"11111111-22", 30ll * DAY_MS, -4 * HOUR_MS, SPOOL_CLOCK_OFF_MS, 0},
	    {"11111111-22", -DAY_MS, -4 * HOUR_MS, SPOOL_CLOCK_SAVE_MS, 0},
	    {"11111111-22", -INT64_C(1795500000000), -4 * HOUR_MS, SPOOL_CLOCK_SAVE_MS, 0},
	    {"11111111-22", 1000, -4 * HOUR_MS, SPOOL_CLOCK_SAVE_MS, SPOOL_CLOCK_SAVE_MS - 1000},
	    {"11111111-22", SPOOL_CLOCK_SAVE_MS, -4 * HOUR_MS, SPOOL_CLOCK_SAVE_MS, 0},
	    /* Nobody knows whether it was; and a count that went back is another one. */
	    {"", HOUR_MS, 20 * HOUR_MS, HOUR_MS, 0},
	    {"8f0c1a52-77", HOUR_MS, -1, HOUR_MS, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spool_clock now = {.wall_ms = saved.wall_ms + rows[i].wall, .since_boot_ms = saved.since_boot_ms + rows[i].since_boot};
		int64_t extra, passed;

		strcpy(now.boot, rows[i].boot);
		passed = spool_clock_resume(&saved, &now, &extra) - saved.queue_ms;
		if (passed != rows[i].passed || extra != rows[i].extra)
			fail_msg("row %zu: %lld, %lld", i, (long long)passed, (long long)extra);
	}
}

/* Of a machine without that file only the clock can tell whether it was booted. */
static void a_boot_without_a_name_is_known_by_its_time(void **state)
{
	static const struct {
		int64_t wall, since_boot, passed;
	} rows[] = {
	    {1000, 1000, 1000}, {DAY_MS + 9000, DAY_MS, DAY_MS}, {DAY_MS - 9000, DAY_MS, DAY_MS}, {3ll * DAY_MS, 3ll * DAY_MS, 3ll * DAY_MS},
	    {HOUR_MS, 20 * HOUR_MS, HOUR_MS}, {-DAY_MS, HOUR_MS, SPOOL_CLOCK_SAVE_MS}, {0, -1, SPOOL_CLOCK_SAVE_MS}, {30ll * DAY_MS, 1000, SPOOL_CLOCK_OFF_MS},
	};
	struct spool_clock nameless = saved;
	int64_t extra;

	(void)state;
	nameless.boot[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spool_clock now = {.wall_ms = saved.wall_ms + rows[i].wall, .since_boot_ms = saved.since_boot_ms + rows[i].since_boot};

		if (spool_clock_resume(&nameless, &now, &extra) - saved.queue_ms != rows[i].passed || spool_clock_resume(&saved, &now, &extra) - saved.queue_ms != rows[i].passed)
			fail_msg("row %zu: %lld", i, (long long)(spool_clock_resume(&nameless, &now, &extra) - saved.queue_ms));
	}
}

/* Wherever it begins, ids ascend, and say when they were made. */
static void it_begins_within_the_years_that_ids_have(void **state)
{
	static const int64_t walls[] = {0, 1000, SPOOL_EPOCH_MS - 1, SPOOL_EPOCH_MS, INT64_C(1795500000000), SPOOL_CLOCK_LATEST_MS, INT64_C(4102444800000), INT64_C(7258118400000), INT64_MAX / 1000};

	(void)state;
	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		int64_t begin = spool_clock_begin(walls[i]), years = INT64_C(9) * 365 * DAY_MS;
		uint64_t last = 0, first = spool_id_next(&last, begin + 1);

		if (spool_id_ms(first) != begin + 1)
			fail_msg("%lld: %lld", (long long)walls[i], (long long)spool_id_ms(first));
		last = 0; /* a start with an empty spool */
		assert_true(spool_id_next(&last, begin + years) > first);
	}
	assert_true(spool_clock_begin(saved.wall_ms) == saved.wall_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read),
	    cmocka_unit_test(the_longest_fits),
	    cmocka_unit_test(any_damage_is_noticed),
	    cmocka_unit_test(what_could_not_be_read_is_not_written),
	    cmocka_unit_test(a_start_goes_on_from_there),
	    cmocka_unit_test(a_boot_without_a_name_is_known_by_its_time),
	    cmocka_unit_test(it_begins_within_the_years_that_ids_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
