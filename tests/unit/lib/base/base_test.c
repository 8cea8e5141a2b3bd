/* Buffers, pools, spans, encodings, errors. */
#include "tests/unit/test.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/secret.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>

static void err_classes_follow_the_table(void **state)
{
	(void)state;
	assert_int_equal(err_class(0), ERR_CLASS_NONE);
	assert_int_equal(err_class(E_NOSPACE), ERR_CLASS_TEMP);
	assert_int_equal(err_class(E_NOTFOUND), ERR_CLASS_PERM);
	assert_int_equal(err_class(-9999), ERR_CLASS_BUG);
	assert_int_equal(err_class(7), ERR_CLASS_BUG);
	assert_int_equal(err_smtp_code(E_NOSPACE), 452);
	assert_string_equal(err_smtp_enhanced(E_NOTFOUND), "5.1.1");
	assert_true(err_is_temp(E_BUG));
	assert_int_equal(err_from_errno(ENOSPC), E_NOSPACE);
	assert_int_equal(err_from_errno(EDQUOT), E_NOSPACE);
	assert_int_equal(err_from_errno(EIO), E_IO);
}

static void err_text_is_cut_not_overrun(void **state)
{
	struct err err;
	char big[2 * ERR_TEXT_MAX];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(err_set_errno(&err, EIO, "%s", big), E_IO);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	assert_int_equal(err_set(NULL, E_BUG, "nobody listens"), E_BUG);
}

static void span_numbers_are_strict(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool ok;
		uint64_t value;
	} rows[] = {
	    {"0", 10, true, 0}, {"10", 10, true, 10}, {"11", 10, false, 0}, {"", 10, false, 0},
	    {"-1", 10, false, 0}, {"+1", 10, false, 0}, {" 1", 10, false, 0}, {"1x", 10, false, 0},
	    {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX, false, 0},
	    {"99999999999999999999", UINT64_MAX, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t n = 0;

		assert_int_equal(span_u64(span_str(rows[i].text), rows[i].max, &n), rows[i].ok);
		if (rows[i].ok)
			assert_true(n == rows[i].value);
	}
}

static void span_compares_without_a_nul(void **state)
{
	(void)state;
	assert_true(span_caseeq(SPAN_LIT("HeLo"), SPAN_LIT("helO")));
	assert_false(span_caseeq(SPAN_LIT("helo"), SPAN_LIT("hel")));
	assert_true(span_startscase(SPAN_LIT("MAIL FROM"), SPAN_LIT("mail ")));
	assert_span_equal(span_trim(SPAN_LIT(" \ta b\t ")), "a b");
	assert_span_equal(span_from(SPAN_LIT("abc"), 9), "");
	assert_int_equal(span_find(SPAN_LIT("abc"), 'z'), 3);
}

static void buf_stops_at_its_maximum(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 10);
	buf_add_str(&buf, "12345");
	buf_take(&buf, 3);
	buf_add_str(&buf, "abcdefgh");
	assert_false(buf_failed(&buf));
	assert_span_equal(buf_span(&buf), "45abcdefgh");
	buf_add_char(&buf, 'x');
	assert_true(buf_failed(&buf));
	assert_span_equal(buf_span(&buf), "45abcdefgh");
	buf_clear(&buf);
	buf_printf(&buf, "%d-%s", 7, "up");
	assert_string_equal(buf_cstr(&buf), "7-up");
	buf_printf(&buf, "%s", "far too long for it");
	assert_true(buf_failed(&buf));
	buf_fini(&buf);
}

static void buf_grows_and_gives_back_in_order(void **state)
{
	struct buf buf;
	size_t sent = 0, got = 0;

	(void)state;
	buf_init(&buf, 100000);
	while (got < 200000) {
		char block[7];

		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (char)(sent++ % 251);
		buf_add(&buf, block, sizeof(block));
		assert_false(buf_failed(&buf));
		if (buf_len(&buf) > 50000 || got > 150000) {
			struct span s = buf_span(&buf);

			for (size_t i = 0; i < s.len / 2; i++)
				assert_int_equal((unsigned char)s.ptr[i], (got + i) % 251);
			got += s.len / 2;
			buf_take(&buf, s.len / 2);
		}
	}
	buf_fini(&buf);
}

static void pool_has_a_maximum_and_children(void **state)
{
	struct pool *pool = pool_new(NULL, 1000);
	struct pool *child = pool_new(pool, 0);
	unsigned char *p = pool_alloc(pool, 100);

	(void)state;
	assert_non_null(child);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_null(pool_alloc(pool, 1000));
	assert_null(pool_array(pool, SIZE_MAX / 2, 3));
	assert_string_equal(pool_strndup(pool, "abcdef", 3), "abc");
	assert_non_null(pool_alloc(child, 1 << 20));
	pool_reset(pool);
	assert_int_equal(pool_used(pool), 0);
	assert_non_null(pool_alloc(pool, 1000 - 16));
	pool_free(&pool);
	assert_null(pool);
}

static void base64_is_strict(void **state)
{
	static const struct {
		const char *plain, *text;
	} good[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9v", "=Zg=", "Z===", "\xff\xff\xff\xff"};
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		buf_clear(&out);
		base64_encode(&out, span_str(good[i].plain));
		assert_span_equal(buf_span(&out), good[i].text);
		buf_clear(&out);
		assert_int_equal(base64_decode(&out, span_str(good[i].text)), 0);
		assert_span_equal(buf_span(&out), good[i].plain);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_clear(&out);
		assert_int_equal(base64_decode(&out, span_str(bad[i])), E_SYNTAX);
	}
	buf_fini(&out);
	buf_init(&out, 2);
	assert_int_equal(base64_decode(&out, SPAN_LIT("Zm9v")), E_TOOBIG);
	buf_fini(&out);
}

static void base32_keeps_the_order(void **state)
{
	char a[14], b[14];
	uint64_t n;

	(void)state;
	base32_format(12345678901234ULL, 11, a);
	base32_format(12345678901235ULL, 11, b);
	assert_true(strcmp(a, b) < 0);
	assert_true(base32_parse(span_str(a), &n) && n == 12345678901234ULL);
	assert_false(base32_parse(SPAN_LIT("U"), &n)); /* not in the alphabet */
	assert_false(base32_parse(SPAN_LIT(""), &n));
	assert_false(base32_parse(SPAN_LIT("ZZZZZZZZZZZZZ"), &n)); /* past 64 bits */
}

static void hex_needs_all_its_digits(void **state)
{
	unsigned char out[2];

	(void)state;
	assert_int_equal(hex_decode(SPAN_LIT("0aFf"), out, 2), 0);
	assert_int_equal(out[0], 10);
	assert_int_equal(out[1], 255);
	assert_int_equal(hex_decode(SPAN_LIT("0af"), out, 2), E_SYNTAX);
	assert_int_equal(hex_decode(SPAN_LIT("0ag0"), out, 2), E_SYNTAX);
}

static void utf8_refuses_what_rfc_3629_refuses(void **state)
{
	static const char *const good[] = {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xff", "\xe2\x82", "\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe0\x80\xaf"};
	char out[4];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_is_valid(span_str(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(utf8_is_valid(span_str(bad[i])));
	for (uint32_t cp = 1; cp < 0x110000; cp += 97) {
		struct span s;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		s = span_of(out, utf8_put(cp, out));
		assert_int_equal(utf8_next(&s), cp);
		assert_int_equal(s.len, 0);
	}
}

static void clock_prints_rfc5322_dates(void **state)
{
	char out[CLOCK_RFC5322_MAX];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(clock_format_rfc5322(1795482123, out), "Tue, 24 Nov 2026 01:02:03 +0000");
	setenv("TZ", "XXX+5:30", 1);
	tzset();
	assert_string_equal(clock_format_rfc5322(1795482123, out), "Mon, 23 Nov 2026 19:32:03 -0530");
}

static void secret_is_bounded_and_wiped(void **state)
{
	struct secret secret = {0};
	static char big[SECRET_MAX + 1];

	(void)state;
	assert_true(secret_set(&secret, SPAN_LIT("hunter2")));
	assert_span_equal(secret_span(&secret), "hunter2");
	assert_false(secret_set(&secret, span_of(big, sizeof(big))));
	assert_int_equal(secret.len, 0);
	assert_int_equal(secret.data[0], 0);
}

static void span_copy_cuts_what_does_not_fit(void **state)
{
	char out[4] = "???";

	(void)state;
	span_copy(SPAN_LIT("abcdef"), out, sizeof(out));
	assert_string_equal(out, "abc");
	span_copy((struct span){0}, out, sizeof(out));
	assert_string_equal(out, "");
}

static void numbers_on_disk_are_little_endian(void **state)
{
	unsigned char wire[6];

	(void)state;
	put_le(wire, UINT64_C(0x060504030201), 6);
	assert_memory_equal(wire, "\1\2\3\4\5\6", 6);
	assert_true(get_le(wire, 6) == UINT64_C(0x060504030201));
	assert_true(get_le("\377\377\377\377\377\377\377\377", 8) == UINT64_MAX);
}

static void days_are_those_of_the_calendar(void **state)
{
	(void)state;
	assert_true(clock_days(1970, 1, 1) == 0);
	assert_true(clock_days(1969, 12, 31) == -1);
	assert_true(clock_days(2000, 2, 29) + 1 == clock_days(2000, 3, 1));
	assert_true(clock_days(1900, 2, 28) + 1 == clock_days(1900, 3, 1));
	assert_true(clock_days(2026, 11, 24) * 86400 == INT64_C(1795478400));
	assert_int_equal(clock_month(SPAN_LIT("jAN-1994")), 1);
	assert_int_equal(clock_month(SPAN_LIT("Dec")), 12);
	assert_int_equal(clock_month(SPAN_LIT("De")), 0);
	assert_int_equal(clock_month(SPAN_LIT("anF")), 0);
}

static void json_strings_hold_only_what_json_may_hold(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 200);
	json_add_string(&out, SPAN_LIT("a\"b\\c\n\x7f\xc2\x9b \xc3\xa4 \xff."));
	assert_string_equal(buf_cstr(&out), "\"a\\\"b\\\\c\\u000a\\u007f\\u009b \xc3\xa4 \\ufffd.\"");
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(err_classes_follow_the_table),
	    cmocka_unit_test(err_text_is_cut_not_overrun),
	    cmocka_unit_test(span_numbers_are_strict),
	    cmocka_unit_test(span_compares_without_a_nul),
	    cmocka_unit_test(buf_stops_at_its_maximum),
	    cmocka_unit_test(buf_grows_and_gives_back_in_order),
	    cmocka_unit_test(pool_has_a_maximum_and_children),
	    cmocka_unit_test(base64_is_strict),
	    cmocka_unit_test(base32_keeps_the_order),
	    cmocka_unit_test(hex_needs_all_its_digits),
	    cmocka_unit_test(utf8_refuses_what_rfc_3629_refuses),
	    cmocka_unit_test(clock_prints_rfc5322_dates),
	    cmocka_unit_test(secret_is_bounded_and_wiped),
	    cmocka_unit_test(span_copy_cuts_what_does_not_fit),
	    cmocka_unit_test(numbers_on_disk_are_little_endian),
	    cmocka_unit_test(days_are_those_of_the_calendar),
	    cmocka_unit_test(json_strings_hold_only_what_json_may_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
