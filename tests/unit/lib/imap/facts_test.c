/* What is found out about odd messages is still what the grammar of RFC 3501 allows. */
#include "tests/unit/test.h"

#include "imap/facts.h"
#include "mime/parts.h"

#include <stdlib.h>

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

/* media-message is followed by an envelope and a body: there is neither. */
static void a_message_without_a_message_in_it_is_data(void **state)
{
	(void)state;
	CHECK("Content-Type: message/rfc822", NULL, "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"7BIT\" 0 NIL NIL NIL NIL)");
	CHECK("Content-Type: message/rfc822\r\n\r\n", NULL,
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
	    "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)");
}

/* Deeper than is looked into. */
static void the_innermost_message_is_data(void **state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_facts facts;
	struct buf text;

	(void)state;
	buf_init(&text, 65536);
	for (int i = 0; i < MIME_DEPTH_MAX + 5; i++)
		buf_add_str(&text, "Content-Type: message/rfc822\r\n\r\n");
	assert_int_equal(imap_facts_find(buf_span(&text), pool, &facts, NULL), 0);
	assert_non_null(memmem(facts.body.ptr, facts.body.len, "(\"APPLICATION\" \"OCTET-STREAM\" NIL", 33));
	assert_int_equal(mime_parts_count(facts.parts), MIME_DEPTH_MAX + 1);
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
	    cmocka_unit_test(a_message_without_a_message_in_it_is_data),
	    cmocka_unit_test(the_innermost_message_is_data),
	    cmocka_unit_test(no_nul_and_no_line_end_reaches_a_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
