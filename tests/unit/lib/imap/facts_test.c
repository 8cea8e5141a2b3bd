/* What is found out about a message once, when it is filed: every message has facts, and they are what the grammar allows. */
#include "tests/unit/test.h"

#include "imap/facts.h"
#include "mime/parts.h"

static void facts_of_a_message(void **state)
{
	static const char text[] = "Date: Thu, 1 Jan 1970 00:01:00 +0100\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n";
	struct pool *pool = pool_new(NULL, 0);
	struct mime_place place;
	struct imap_facts f;
	struct err err;

	(void)state;
	assert_int_equal(imap_facts_find(span_str(text), pool, &f, &err), 0);
	assert_int_equal(f.header_size, strlen(text) - strlen("--b\r\n\r\none\r\n--b--\r\n"));
	assert_int_equal(f.sent, 60);
	assert_int_equal(f.parts.len / MIME_PLACE_SIZE, 2);
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
	assert_int_equal(facts.parts.len / MIME_PLACE_SIZE, 1);
	assert_true(mime_parts_get(facts.parts, 0, buf_len(&message), &place));
	assert_int_equal(place.body_offset + place.body_size, buf_len(&message));
	buf_fini(&message);
	pool_free(&pool);
}

static void check(const char *message, size_t len, const char *envelope, const char *bodystructure)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_facts facts;

	assert_int_equal(imap_facts_find(span_of(message, len), pool, &facts, NULL), 0);
	if (envelope != NULL)
		assert_span_equal(facts.envelope, envelope);
	if (bodystructure != NULL)
		assert_span_equal(facts.bodystructure, bodystructure);
	pool_free(&pool);
}

#define CHECK(message, envelope, bodystructure) check(message, sizeof(message) - 1, envelope, bodystructure)

/* media-message is followed by an envelope and a body, also where there is neither. */
static void a_message_without_a_message_in_it_is_empty(void **state)
{
	(void)state;
	CHECK("Content-Type: message/rfc822", NULL,
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
	    "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) 0 NIL NIL NIL NIL)");
	CHECK("Content-Type: message/rfc822\r\n\r\n", NULL,
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
	    "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)");
}

/* Deeper than is looked into. */
static void the_innermost_message_is_not_looked_into(void **state)
{
	static const char innermost[] = " (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) ";
	struct pool *pool = pool_new(NULL, 0);
	struct imap_facts facts;
	struct buf text;

	(void)state;
	buf_init(&text, 65536);
	for (int i = 0; i < MIME_DEPTH_MAX + 5; i++)
		buf_add_str(&text, "Content-Type: message/rfc822\r\n\r\n");
	assert_int_equal(imap_facts_find(buf_span(&text), pool, &facts, NULL), 0);
	assert_non_null(memmem(facts.body.ptr, facts.body.len, innermost, sizeof(innermost) - 1));
	assert_int_equal(facts.parts.len / MIME_PLACE_SIZE, MIME_DEPTH_MAX + 1);
	buf_fini(&text);
	pool_free(&pool);
}

/* CHAR8 has no NUL; a route may be folded. */
static void no_nul_and_no_line_end_reaches_a_client(void **state)
{
	(void)state;
	CHECK("Content-Type: te\0xt/plain; a=b\r\n\r\n", NULL, "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)");
	CHECK("Content-Type: a/b\0; c\0=d\0e\r\n\r\n", NULL, "(\"a\" \"b\" (\"c\" \"d\") NIL NIL \"7BIT\" 0 NIL NIL NIL NIL)");
	CHECK("To: <@a,\r\n @b:c@d>\r\n\r\n", "(NIL NIL NIL NIL NIL ((NIL \"@a,@b\" \"c\" \"d\")) NIL NIL NIL NIL)", NULL);
	CHECK("From: x\0y <a@b>\r\n\r\n",
	    "(NIL NIL ((\"x y\" NIL \"a\" \"b\")) ((\"x y\" NIL \"a\" \"b\")) ((\"x y\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL)", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(facts_of_a_message),
	    cmocka_unit_test(dates_that_make_no_sense),
	    cmocka_unit_test(without_memory),
	    cmocka_unit_test(a_message_that_costs_too_much_is_opaque),
	    cmocka_unit_test(a_message_without_a_message_in_it_is_empty),
	    cmocka_unit_test(the_innermost_message_is_not_looked_into),
	    cmocka_unit_test(no_nul_and_no_line_end_reaches_a_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
