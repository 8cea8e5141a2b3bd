/* The parts of a message, where they lie, and what IMAP tells of them. */
#include "tests/unit/test.h"

#include "imap/body.h"
#include "imap/facts.h"
#include "mime/parts.h"
#include "mime/structure.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char message[] = "From: a@b.test\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n"
			      "--x\r\n\r\nfirst\r\n"
			      "--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/alternative; boundary=\"x y\"\r\n\r\n"
			      "--x y\r\nContent-Type: text/html\r\n\r\n<b>\r\n--x y--\r\nepilogue\r\n"
			      "--x--\r\n";

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, MIME_MEMORY_MAX);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

static struct span section(const uint32_t *path, size_t depth)
{
	struct mime_part *root = mime_structure_parse(span_of(message, sizeof(message) - 1), pool);
	struct mime_place place;
	struct buf parts;
	struct span result = {0};
	size_t index;

	buf_init(&parts, 4096);
	mime_parts_encode(root, &parts);
	if (mime_parts_find(buf_span(&parts), sizeof(message) - 1, path, depth, &place, &index))
		result = span_sub(span_of(message, sizeof(message) - 1), place.body_offset, place.body_size);
	buf_fini(&parts);
	return result;
}

static void sections(void **state)
{
	(void)state;
	assert_span_equal(section((const uint32_t[]){1}, 1), "first");
	assert_span_equal(section((const uint32_t[]){2, 1}, 2), "<b>");
	assert_null(section((const uint32_t[]){3}, 1).ptr);
	assert_null(section((const uint32_t[]){2, 2}, 2).ptr);
	assert_null(section((const uint32_t[]){1, 2}, 2).ptr);
	assert_true(span_startswith(section((const uint32_t[]){2}, 1), SPAN_LIT("Subject: in\r\n")));
}

static void a_missing_end(void **state)
{
	struct mime_part *root = mime_structure_parse(SPAN_LIT("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo"), pool);

	(void)state;
	assert_int_equal(root->kind, MIME_MULTIPART);
	assert_int_equal(root->first_child->next->body_size, 3);
	assert_null(root->first_child->next->next);
}

static void parts_of_a_digest_are_messages(void **state)
{
	struct mime_part *root = mime_structure_parse(
	    SPAN_LIT("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n"
		     "--b\r\nContent-Type: text/plain\r\n\r\nz\r\n--b--\r\n"),
	    pool);

	(void)state;
	assert_int_equal(root->first_child->kind, MIME_MESSAGE);
	assert_int_equal(root->first_child->next->kind, MIME_TEXT);
}

static void a_boundary_that_begins_another(void **state)
{
	struct mime_part *root = mime_structure_parse(SPAN_LIT("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n--bb\r\nstill one\r\n--b--\r\n"), pool);

	(void)state;
	assert_non_null(root->first_child);
	assert_null(root->first_child->next);
}

static void damaged_places_are_refused(void **state)
{
	struct mime_part *root = mime_structure_parse(span_of(message, sizeof(message) - 1), pool);
	struct mime_place place;
	struct buf parts;

	(void)state;
	buf_init(&parts, 4096);
	mime_parts_encode(root, &parts);
	assert_true(mime_parts_get(buf_span(&parts), 0, sizeof(message) - 1, &place));
	assert_false(mime_parts_get(buf_span(&parts), 0, 20, &place));
	assert_false(mime_parts_get(buf_span(&parts), 100, sizeof(message) - 1, &place));
	assert_false(mime_parts_get(span_sub(buf_span(&parts), 0, MIME_PLACE_SIZE - 1), 0, sizeof(message) - 1, &place));
	buf_fini(&parts);
}

/* Text of n times `one` behind a front; the caller frees it. */
static char *repeated(const char *front, const char *one, size_t n, size_t *len)
{
	size_t front_len = strlen(front), one_len = strlen(one);
	char *text = malloc(front_len + n * one_len + 1);

	assert_non_null(text);
	memcpy(text, front, front_len);
	for (size_t i = 0; i < n; i++)
		memcpy(text + front_len + i * one_len, one, one_len);
	*len = front_len + n * one_len;
	text[*len] = '\0';
	return text;
}

/* CPU seconds to find the facts of it. */
static double cost(const char *front, const char *one, size_t n)
{
	struct imap_facts facts;
	struct err err;
	size_t len;
	char *text = repeated(front, one, n, &len);
	struct pool *own = pool_new(NULL, 2 * (size_t)MIME_MEMORY_MAX);
	clock_t start = clock();

	assert_int_equal(imap_facts_find(span_of(text, len), own, &facts, &err), 0);
	assert_true(facts.bodystructure.len > 0 && facts.envelope.len > 0);
	pool_free(&own);
	free(text);
	return (double)(clock() - start) / CLOCKS_PER_SEC;
}

static void large_and_strange_messages_take_little_time(void **state)
{
	(void)state;
	assert_true(cost("", "To: a@b.test, c@d.test\r\n", 100000) < 2);
	assert_true(cost("To: ", "a@b.test,\r\n ", 100000) < 2);
	assert_true(cost("Content-Type: text/plain", ";\r\n a=b", 1000000) < 2);
	assert_true(cost("Content-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\n\r\nx\r\n", 100000) < 2);
	assert_true(cost("", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 10000) < 2);
	assert_true(cost("", "Content-Type: message/rfc822\r\n\r\n", 10000) < 2);
	assert_true(cost("Subject: x\r\n\r\n", "0123456789012345678901234567890123456789\r\n", 1200000) < 2);
	assert_true(cost("Subject: ", "(", 1000000) < 2);
	assert_true(cost("To: ", "(", 200000) < 2);
	assert_true(cost("To: ", "\"", 200000) < 2);
}

static void facts(void **state)
{
	static const char text[] = "Date: Thu, 1 Jan 1970 00:01:00 +0000\r\nSubject: a \"b\"\r\nFrom: A <a@b.test>\r\nTo: g: x@y.test;\r\nMessage-ID: <m@b.test>\r\n\r\nline\r\n";
	struct imap_facts f;
	struct err err;

	(void)state;
	assert_int_equal(imap_facts_find(span_of(text, sizeof(text) - 1), pool, &f, &err), 0);
	assert_int_equal(f.sent, 60);
	assert_int_equal(f.header_size, sizeof(text) - 1 - 6);
	assert_span_equal(f.envelope, "(\"Thu, 1 Jan 1970 00:01:00 +0000\" \"a \\\"b\\\"\" ((\"A\" NIL \"a\" \"b.test\")) ((\"A\" NIL \"a\" \"b.test\")) ((\"A\" NIL \"a\" \"b.test\")) "
				     "((NIL NIL \"g\" NIL)(NIL NIL \"x\" \"y.test\")(NIL NIL NIL NIL)) NIL NIL NIL \"<m@b.test>\")");
	assert_span_equal(f.body, "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 6 1)");
}

static void facts_of_nothing(void **state)
{
	struct imap_facts f;
	struct err err;

	(void)state;
	assert_int_equal(imap_facts_find(SPAN_LIT(""), pool, &f, &err), 0);
	assert_int_equal(f.sent, INT64_MIN);
	assert_span_equal(f.envelope, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
}

static const struct mime_part *next_part(const struct mime_part *part)
{
	if (part->first_child != NULL)
		return part->first_child;
	while (part != NULL && part->next == NULL)
		part = part->parent;
	return part != NULL ? part->next : NULL;
}

/* Boundaries where they should not be: a part never reaches out of its parent, and its lines are those of its body. */
static void parts_lie_in_their_parents(void **state)
{
	static const char *const rows[] = {
	    "Content-Type: multipart/mixed; boundary=0\r\n\r\n--0\r\nContent-Type: multipart/mixed; boundary=1\r\n\r\n--1\r\nA: b\r\n\r\n--0\r\n\r\nx",
	    "Content-Type: multipart/mixed; boundary=0\r\n\r\n--0\r\nContent-Type: multipart/mixed; boundary=1\r\n\r\n--1\r\n--0\r\n--0--",
	    "Content-Type: multipart/mixed; boundary=0\r\n\r\n--0\r\nA: b\r\n--0\r\n\r\ny\r\n--x",
	    "Content-Type: multipart/mixed; boundary=0\n\n--0\nContent-Type: message/rfc822\n\n--0\n--0--\n\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span text = span_str(rows[i]);

		for (const struct mime_part *part = mime_structure_parse(text, pool); part != NULL; part = next_part(part)) {
			const struct mime_part *parent = part->parent;
			struct span body = span_sub(text, part->body_offset, part->body_size);
			size_t lines = 0;

			for (size_t k = 0; k < body.len; k++)
				lines += body.ptr[k] == '\n';
			assert_int_equal(part->lines, lines);
			if (parent != NULL)
				assert_true(part->body_offset + part->body_size <= parent->body_offset + parent->body_size);
		}
	}
}

/* A message with more in its headers than memory is given: the caller makes it opaque (imap/facts.c). */
static void memory_that_runs_out_is_told(void **state)
{
	struct pool *small = pool_new(NULL, 100000);
	struct buf text;

	(void)state;
	buf_init(&text, 1024 * 1024);
	buf_add_str(&text, "Content-Type: multipart/mixed; boundary=x\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		buf_add_str(&text, "--x\r\nContent-Type: text/plain; name=\"some name\"\r\n\r\ntext\r\n");
	assert_null(mime_structure_parse(buf_span(&text), small));
	buf_fini(&text);
	pool_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sections, setup, teardown),
	    cmocka_unit_test_setup_teardown(parts_lie_in_their_parents, setup, teardown),
	    cmocka_unit_test(memory_that_runs_out_is_told),
	    cmocka_unit_test_setup_teardown(a_missing_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(parts_of_a_digest_are_messages, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_boundary_that_begins_another, setup, teardown),
	    cmocka_unit_test_setup_teardown(damaged_places_are_refused, setup, teardown),
	    cmocka_unit_test(large_and_strange_messages_take_little_time),
	    cmocka_unit_test_setup_teardown(facts, setup, teardown),
	    cmocka_unit_test_setup_teardown(facts_of_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
