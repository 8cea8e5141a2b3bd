/* What is found out once, when a message is filed. */
#include "tests/unit/test.h"

#include "imap/facts.h"
#include "mime/parts.h"

static void facts_of_a_message(void **state)
{
	static const char text[] = "Date: Thu, 1 Jan 1970 00:01:00 +0000\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
	struct pool *pool = pool_new(NULL, 0);
	struct mime_place place;
	struct imap_facts f;
	struct err err;

	(void)state;
	assert_int_equal(imap_facts_find(span_str(text), pool, &f, &err), 0);
	assert_int_equal(f.header_size, strlen(text) - strlen("--b\r\n\r\none\r\n--b--\r\n"));
	assert_int_equal(f.sent, 60);
	assert_int_equal(mime_parts_count(f.parts), 2);
	assert_true(mime_parts_get(f.parts, 1, strlen(text), &place));
	assert_int_equal(place.kind, MIME_TEXT);
	assert_int_equal(memcmp(text + place.body_offset, "one", place.body_size), 0);
	pool_free(&pool);
}

/* INT64_MIN: no Date that makes sense. */
static void dates_that_make_no_sense(void **state)
{
	static const char *const texts[] = {"", "Subject: x\r\n\r\n", "Date:\r\n\r\n", "Date: yesterday\r\n\r\n", "Date: 99 Jan 2020 00:00:00 +0000\r\n\r\n", "Date: yesterday\r\nDate: Thu, 1 Jan 1970 00:01:00 +0000\r\n\r\n",
	    "\r\nDate: Thu, 1 Jan 1970 00:01:00 +0000\r\n"};
	struct pool *pool = pool_new(NULL, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct imap_facts f;
		struct err err;

		assert_int_equal(imap_facts_find(span_str(texts[i]), pool, &f, &err), 0);
		if (f.sent != INT64_MIN)
			fail_msg("%s", texts[i]);
	}
	pool_free(&pool);
}

static void without_memory(void **state)
{
	static const char text[] = "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
	int r = E_NOMEM;

	(void)state;
	for (size_t max = 16; r != 0; max += 64) {
		struct pool *pool = pool_new(NULL, max);
		struct imap_facts f;
		struct err err;

		r = imap_facts_find(span_str(text), pool, &f, &err);
		assert_true(r == 0 || r == E_NOMEM);
		assert_true(max < 10000);
		pool_free(&pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(facts_of_a_message),
	    cmocka_unit_test(dates_that_make_no_sense),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
