/* What is found out about a message when it is filed: every message has facts. */
#include "tests/unit/test.h"

#include "imap/facts.h"
#include "mime/parts.h"

#include <stdio.h>

/* Parameters are copied: a few hundred large ones use up what a message may cost, and then there is no room for parts. */
static void a_message_that_costs_too_much_is_opaque(void **state)
{
	enum { PARTS = 300, LONG = 250 * 1024, SMALL = 3000 };
	struct pool *pool = pool_new(NULL, 8 * 1024 * 1024);
	struct imap_facts facts;
	struct mime_place place;
	struct buf message;
	struct err err;

	(void)state;
	buf_init(&message, (size_t)(PARTS + 1) * (LONG + 100) + SMALL * 10);
	buf_add_str(&message, "Subject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
	for (int i = 0; i < PARTS; i++) {
		char *room;

		buf_add_str(&message, "--b\r\nContent-Type: text/plain; x=\"");
		room = buf_reserve(&message, LONG);
		assert_non_null(room);
		memset(room, 'x', LONG);
		buf_added(&message, LONG);
		buf_add_str(&message, "\"\r\n\r\n");
	}
	for (int i = 0; i < SMALL; i++)
		buf_add_str(&message, "--b\r\n\r\n");
	assert_int_equal(imap_facts_find(buf_span(&message), pool, &facts, &err), 0);
	assert_int_equal(facts.header_size, 61);
	assert_true(span_startswith(facts.envelope, SPAN_LIT("(NIL \"large\" NIL")));
	assert_true(span_startswith(facts.bodystructure, SPAN_LIT("(\"application\" \"octet-stream\" NIL NIL NIL \"7BIT\" ")));
	assert_int_equal(mime_parts_count(facts.parts), 1);
	assert_true(mime_parts_get(facts.parts, 0, buf_len(&message), &place));
	assert_int_equal(place.body_offset + place.body_size, buf_len(&message));
	buf_fini(&message);
	pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_message_that_costs_too_much_is_opaque),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
