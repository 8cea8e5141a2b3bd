/* Lists of UIDs as runs, octet by octet and there and back. */
#include "tests/unit/test.h"

#include "imap/runs.h"

static void the_octets(void **state)
{
	static const struct {
		uint32_t uids[6];
		size_t count;
		struct span octets;
	} rows[] = {
	    {{0}, 0, SPAN_LIT("")},
	    {{1}, 1, SPAN_LIT("\0\0")},
	    {{1, 2, 3, 4}, 4, SPAN_LIT("\0\3")},
	    {{2, 3, 7}, 3, SPAN_LIT("\1\1\3\0")},
	    {{200, 201, 500}, 3, SPAN_LIT("\xc7\1\1\xaa\2\0")},
	    {{UINT32_MAX - 1, UINT32_MAX}, 2, SPAN_LIT("\xfd\xff\xff\xff\x0f\1")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t first, last = 0;
		struct span rest;
		struct buf out;
		size_t at = 0;

		buf_init(&out, 100);
		imap_runs_put(rows[i].uids, rows[i].count, &out);
		assert_true(span_eq(buf_span(&out), rows[i].octets));
		for (rest = buf_span(&out); rest.len > 0;) {
			assert_true(imap_runs_take(&rest, &first, &last));
			for (uint64_t uid = first; uid <= last; uid++)
				assert_int_equal(rows[i].uids[at++], uid);
		}
		assert_int_equal(at, rows[i].count);
		buf_fini(&out);
	}
}

static void what_is_malformed(void **state)
{
	static const struct span rows[] = {SPAN_LIT("\0"), SPAN_LIT("\x80"), SPAN_LIT("\0\x80"), SPAN_LIT("\x80\0\0"),
	    SPAN_LIT("\xff\xff\xff\xff\x0f\0"), SPAN_LIT("\xff\xff\xff\xff\x1f\0"), SPAN_LIT("\xff\xff\xff\xff\xff\0\0"),
	    SPAN_LIT("\0\xff\xff\xff\xff\x0f")};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span rest = rows[i];
		uint32_t first, last = 0;

		assert_false(imap_runs_take(&rest, &first, &last));
	}
	/* A run that touches the one before. */
	struct span rest = SPAN_LIT("\0\0\0\0");
	uint32_t first, last = 0;

	assert_true(imap_runs_take(&rest, &first, &last));
	assert_false(imap_runs_take(&rest, &first, &last));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_octets),
	    cmocka_unit_test(what_is_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
