/* Recipients out of a header section. */
#include "base/buf.h"
#include "local/extract.h"
#include "local/letter.h"
#include "tests/unit/test.h"

static const struct {
	const char *in, *out; /* joined by blanks */
} rows[] = {
    {"To: a@b.test\r\n", "a@b.test"},
    {"to: a, b\r\nCC: c\r\nbcc:d\r\nX-To: e\r\n", "a b c d"},
    {"To: Friends: a, b@c.test;, \"x, y\" <d@e.test> (f@g.test)\r\n", "a b@c.test d@e.test"},
    {"To: =?UTF-8?Q?a=2C_b=40c.test?= <d@e.test>\r\n", "d@e.test"},
    {"To: a,\r\n b,\r\n\tc\r\n", "a b c"},
    {"To: \"a b\"@c.test\r\n", "\"a b\"@c.test"},
    {"To: \"a\\\"b\"@c.test, \"simple\"@c.test\r\n", "\"a\\\"b\"@c.test simple@c.test"},
    {"To: undisclosed-recipients:;\r\n", ""},
    {"Subject: x\r\n", ""},
    {"To: a\r\nResent-To: b\r\nResent-Cc: c\r\nReceived: x\r\nResent-To: old\r\n", "b c"},
    {"Resent-From: x\r\nResent-To: b\r\nResent-To: older\r\nResent-Bcc: d\r\n", "b d"},
    {"To: a\r\nno field\r\nCc: b\r\n", "a"},
    {"To: a\r\n\r\nCc: b\r\n", "a"},
    {" folded from the start\r\nTo: a\r\n", ""},
};

static void recipients_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pool *pool = pool_new(NULL, 0);
		struct span message = span_str(rows[i].in);
		struct recipient_list list;
		struct err err = {0};
		struct buf found;

		buf_init(&found, 4096);
		assert_int_equal(recipients_init(&list, pool), 0);
		assert_int_equal(recipients_extract(&list, span_sub(message, 0, local_header_length(message)), pool, &err), 0);
		for (size_t j = 0; j < list.count; j++)
			buf_printf(&found, "%s%.*s", j > 0 ? " " : "", SPAN_ARG(list.addresses[j]));
		if (!span_eq(buf_span(&found), span_str(rows[i].out)))
			fail_msg("%s: %.*s", rows[i].in, SPAN_ARG(buf_span(&found)));
		buf_fini(&found);
		pool_free(&pool);
	}
}

static void there_is_a_most(void **state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct recipient_list list;
	struct err err = {0};
	struct buf text;

	(void)state;
	buf_init(&text, 65536);
	for (int i = 0; i <= LETTER_RECIPIENTS; i++)
		buf_printf(&text, "a%d,", i);
	assert_int_equal(recipients_init(&list, pool), 0);
	assert_int_equal(recipients_add(&list, buf_span(&text), pool, &err), E_LIMIT);
	assert_int_equal(list.count, LETTER_RECIPIENTS);
	buf_fini(&text);
	pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(recipients_are_found),
	    cmocka_unit_test(there_is_a_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
