/* Dates of the internet, there and back. */
#include "tests/unit/test.h"

#include "base/clock.h"

static void dates_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t wall;
	} rows[] = {
	    {"1970-01-01T00:00:00Z", 0},
	    {"2030-01-31T08:00:00Z", 1896076800},
	    {"2030-01-31t08:00:00z", 1896076800},
	    {"2030-01-31T09:30:00+01:30", 1896076800},
	    {"2030-01-30T22:00:00-10:00", 1896076800},
	    {"2028-02-29T23:59:59.999Z", 1835481599},
	    {"2028-02-29T23:59:60Z", 1835481599},
	    {"9999-12-31T23:59:59Z", 253402300799},
	};
	int64_t wall;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(clock_parse_rfc3339(span_str(rows[i].text), &wall));
		assert_true(wall == rows[i].wall);
	}
}

static void what_is_no_date_is_refused(void **state)
{
	static const char *const rows[] = {"", "2030-01-31", "2030-01-31T08:00:00", "2030-01-31 08:00:00Z", "2030-02-29T08:00:00Z",
	    "2100-02-29T08:00:00Z", "2030-13-01T08:00:00Z", "2030-00-01T08:00:00Z", "2030-04-31T08:00:00Z", "2030-01-00T08:00:00Z",
	    "2030-01-31T24:00:00Z", "2030-01-31T08:60:00Z", "2030-01-31T08:00:61Z", "2030-01-31T08:00:00.Z", "2030-01-31T08:00:00+25:00",
	    "2030-01-31T08:00:00+01", "2030-01-31T08:00:00ZZ", "+030-01-31T08:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "2030-1-31T08:00:00Z",
	    "2030-01-31T08:00:00.0000000000000000000000000000000000000000000000000000Z"};
	int64_t wall;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_false(clock_parse_rfc3339(span_str(rows[i]), &wall));
}

static void dates_are_written(void **state)
{
	char text[CLOCK_RFC3339_MAX];
	int64_t wall;

	(void)state;
	clock_format_rfc3339(1896076800, text);
	assert_string_equal(text, "2030-01-31T08:00:00Z");
	for (int64_t day = 0; day < 400; day++) {
		clock_format_rfc3339(1795500000 + day * 86399, text);
		assert_true(clock_parse_rfc3339(span_str(text), &wall));
		assert_true(wall == 1795500000 + day * 86399);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(dates_are_read),
	    cmocka_unit_test(what_is_no_date_is_refused),
	    cmocka_unit_test(dates_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
