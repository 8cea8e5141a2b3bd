/* Where parts begin and end (RFC 2046 section 5.1), their lines, their defaults. */
#include "tests/unit/test.h"

#include "mime/structure.h"

#include <stdio.h>
#include <stdlib.h>

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

/* "(multipart/mixed:(text/plain:body)(...))" with lines behind a leaf's body when `lines`. */
static void describe(struct span message, const struct mime_part *part, bool lines, struct buf *out)
{
	buf_printf(out, "(%.*s/%.*s", SPAN_ARG(part->content.type), SPAN_ARG(part->content.subtype));
	if (part->kind == MIME_LEAF || part->kind == MIME_TEXT) {
		buf_printf(out, ":%.*s", SPAN_ARG(span_sub(message, part->body_offset, part->body_size)));
		if (lines)
			buf_printf(out, ":%zu", part->lines);
	}
	for (const struct mime_part *p = part->first_child; p != NULL; p = p->next) {
		assert_ptr_equal(p->parent, part);
		assert_int_equal(p->depth, part->depth + 1);
		if (p->next == NULL)
			assert_ptr_equal(part->last_child, p);
		describe(message, p, lines, out);
	}
	buf_add_char(out, ')');
}

static void assert_structure(const char *text, bool lines, const char *want)
{
	struct mime_part *root = mime_structure_parse(span_str(text), pool);
	struct buf out;

	buf_init(&out, 100000);
	assert_non_null(root);
	describe(span_str(text), root, lines, &out);
	if (strcmp(buf_cstr(&out), want) != 0)
		fail_msg("%s\n%s\n%s", text, buf_cstr(&out), want);
	buf_fini(&out);
}

#define MIXED "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

/* Section 5.1.1, the example: the first part without, the second with a line break at its end; preamble, epilogue. */
static void the_example_of_the_rfc(void **state)
{
	(void)state;
	assert_structure("From: Nathaniel Borenstein <nsb@bellcore.com>\r\nMIME-Version: 1.0\r\nContent-type: multipart/mixed; boundary=\"simple boundary\"\r\n\r\n"
			 "This is the preamble.\r\n\r\n--simple boundary\r\n\r\nThis is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.\r\n"
			 "--simple boundary\r\nContent-type: text/plain; charset=us-ascii\r\n\r\nThis is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n\r\n"
			 "--simple boundary--\r\n\r\nThis is the epilogue.  It is also to be ignored.\r\n",
	    true,
	    "(multipart/mixed(text/plain:This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.:1)"
	    "(text/plain:This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n:2))");
}

static void boundaries(void **state)
{
	static const char *const rows[][2] = {
	    {MIXED "--b\r\n\r\nx\r\n--b--\r\n", "(multipart/mixed(text/plain:x))"},
	    {MIXED "--b\n\nx\n--b--\n", "(multipart/mixed(text/plain:x))"},
	    /* transport padding */
	    {MIXED "--b \t \r\n\r\nx\r\n--b-- \t\r\n", "(multipart/mixed(text/plain:x))"},
	    /* not at the beginning of a line, another text, one dash */
	    {MIXED "--b\r\n\r\n --b\r\nx--b\r\n-b\r\n--c\r\n--bb\r\n--b-\r\n--b--x\r\n--B\r\n--b--", "(multipart/mixed(text/plain: --b\r\nx--b\r\n-b\r\n--c\r\n--bb\r\n--b-\r\n--b--x\r\n--B))"},
	    /* behind the closing one is epilogue, whatever it looks like */
	    {MIXED "--b\r\n\r\nx\r\n--b--\r\n--b\r\n\r\ny\r\n", "(multipart/mixed(text/plain:x))"},
	    /* no line break before the boundary belongs to an empty part */
	    {MIXED "--b\r\n\r\n--b\r\n\r\n\r\n--b--\r\n", "(multipart/mixed(text/plain:)(text/plain:))"},
	    {MIXED "--b\r\n--b\r\nSubject: only a header\r\n--b--\r\n", "(multipart/mixed(text/plain:)(text/plain:))"},
	    /* none at all, none closing, nothing but one */
	    {MIXED "x\r\n", "(multipart/mixed)"},
	    {MIXED "--b\r\n\r\nx", "(multipart/mixed(text/plain:x))"},
	    {MIXED "--b", "(multipart/mixed(text/plain:))"},
	    {MIXED "--b--", "(multipart/mixed)"},
	    {MIXED "", "(multipart/mixed)"},
	    /* quoted, with blanks within */
	    {"Content-Type: multipart/mixed; boundary=\"a b:c\"\r\n\r\n--a b:c\r\n\r\nx\r\n--a b:c--\r\n", "(multipart/mixed(text/plain:x))"},
	    /* no boundary: opaque */
	    {"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\nx\r\n----\r\n", "(multipart/mixed:--\r\n\r\nx\r\n----\r\n)"},
	    {"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n", "(multipart/mixed:--\r\n\r\nx\r\n)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_structure(rows[i][0], false, rows[i][1]);
}

#define INNER "Content-Type: multipart/alternative; boundary=i\r\n\r\n"

/* Section 5.1.2: an outer boundary ends what is open within. */
static void multiparts_within(void **state)
{
	static const char *const rows[][2] = {
	    {MIXED "--b\r\n" INNER "--i\r\n\r\nx\r\n--i--\r\nbetween\r\n--b\r\n\r\ny\r\n--b--\r\n", "(multipart/mixed(multipart/alternative(text/plain:x))(text/plain:y))"},
	    {MIXED "--b\r\n" INNER "--i\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n", "(multipart/mixed(multipart/alternative(text/plain:x))(text/plain:y))"},
	    {MIXED "--b\r\n" INNER "--i\r\n\r\nx\r\n--b--\r\n--i\r\n\r\nz\r\n", "(multipart/mixed(multipart/alternative(text/plain:x)))"},
	    /* the same boundary twice: the inner one takes it */
	    {MIXED "--b\r\n" MIXED "--b\r\n\r\nx\r\n--b--\r\n--b--\r\n", "(multipart/mixed(multipart/mixed(text/plain:x)))"},
	    /* one boundary begins another */
	    {MIXED "--b\r\nContent-Type: multipart/x; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--bb--\r\n--b\r\n\r\ny\r\n--b--\r\n", "(multipart/mixed(multipart/x(text/plain:x))(text/plain:y))"},
	    {MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\n" INNER "--i\r\n\r\nx\r\n--b--\r\n", "(multipart/mixed(message/rfc822(multipart/alternative(text/plain:x))))"},
	    /* a boundary within a header section ends that part */
	    {MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n--b\r\n\r\ny\r\n--b--\r\n", "(multipart/mixed(message/rfc822(text/plain:))(text/plain:y))"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_structure(rows[i][0], false, rows[i][1]);
}

/* RFC 2045 section 5.2, RFC 2046 section 5.1.5. */
static void types_that_are_not_told(void **state)
{
	static const char *const rows[][2] = {
	    {"\r\nx", "(text/plain:x)"}, {"", "(text/plain:)"}, {"Subject: x", "(text/plain:)"},
	    {"Content-Type: nonsense\r\n\r\nx", "(text/plain:x)"}, {"Content-Type: \r\n\r\nx", "(text/plain:x)"}, {"Content-Type: text\r\n\r\nx", "(text/plain:x)"},
	    {"Content-Type: TEXT/HTML\r\n\r\nx", "(TEXT/HTML:x)"}, {"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\nx", "(a/b:x)"},
	    {"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b\r\nContent-Type: text/plain\r\n\r\nz\r\n--b--", "(multipart/digest(message/rfc822(text/plain:y))(text/plain:z))"},
	    {"Content-Type: message/global\r\n\r\nSubject: x\r\n\r\ny", "(message/global(text/plain:y))"},
	    {"Content-Type: message/delivery-status\r\n\r\nSubject: x\r\n", "(message/delivery-status:Subject: x\r\n)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_structure(rows[i][0], false, rows[i][1]);
}

/* "size in text lines": the line ends within the body. */
static void lines_are_counted(void **state)
{
	(void)state;
	assert_structure("\r\na\r\nb\r\n", true, "(text/plain:a\r\nb\r\n:2)");
	assert_structure("\r\na\r\nb", true, "(text/plain:a\r\nb:1)");
	assert_structure("\r\na\nb\n\n", true, "(text/plain:a\nb\n\n:3)");
	assert_structure(MIXED "--b\r\n\r\n1\r\n2\r\n--b\r\nX: y\r\n\r\n1\r\n\r\n\r\n--b\r\n\r\n--b--\r\n", true, "(multipart/mixed(text/plain:1\r\n2:1)(text/plain:1\r\n\r\n:2)(text/plain::0))");
}

/* Of the header section, with the empty line; a CR alone ends nothing (S5 of doc/reliability.md). */
static void headers_end_where_they_end(void **state)
{
	static const struct {
		const char *text;
		size_t size;
	} rows[] = {{"A: b\r\n\r\nx", 8}, {"A: b\n\nx", 6}, {"\r\nx", 2}, {"A: b\r\n", 6}, {"A: b", 4}, {"", 0}, {"A: b\r\n\rC: d\r\n\r\nx", 15}, {"A: b\r\n\r\r\n\r\nx", 11}, {"A: b\r\n \r\n\r\nx", 11}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mime_part *root = mime_structure_parse(span_str(rows[i].text), pool);

		assert_int_equal(root->header_size, rows[i].size);
		assert_int_equal(root->header_size + root->body_size, strlen(rows[i].text));
		assert_int_equal(mime_part_header(span_str(rows[i].text), root).len, rows[i].size);
	}
}

/* Whatever the lines: places within the message, children within their parents. */
static void check_places(const struct mime_part *part, size_t size)
{
	assert_true(part->header_offset + part->header_size <= size && part->body_offset + part->body_size <= size);
	assert_true(part->body_offset >= part->header_offset + part->header_size || part->body_size == 0);
	for (const struct mime_part *p = part->first_child; p != NULL; p = p->next) {
		assert_true(p->header_offset >= part->body_offset);
		/* An empty one may lie on the boundary that ended both. */
		assert_true(p->body_size == 0 || p->body_offset + p->body_size <= part->body_offset + part->body_size);
		if (p->next != NULL)
			assert_true(p->next->header_offset >= p->body_offset + p->body_size);
		check_places(p, size);
	}
}

static void any_lines_have_a_structure(void **state)
{
	static const char *const lines[] = {MIXED, INNER, "Content-Type: message/rfc822\r\n\r\n", "Content-Type: multipart/digest; boundary=b\r\n", "--b\r\n", "--i\r\n", "--b--\r\n", "--i--\r\n", "\r\n", "\n", "\r", "--", "--b", "x\r\n", "X: y\r\n"};
	char text[1000];

	(void)state;
	srandom(13);
	for (int i = 0; i < 20000; i++) {
		size_t len = 0;

		for (long k = random() % 15; k > 0; k--) {
			const char *line = lines[(size_t)random() % (sizeof(lines) / sizeof(lines[0]))];

			memcpy(text + len, line, strlen(line));
			len += strlen(line);
		}
		pool_reset(pool);
		check_places(mime_structure_parse(span_of(text, len), pool), len);
	}
}

static void without_memory(void **state)
{
	static const char text[] = MIXED "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b\r\n\r\nz\r\n--b--\r\n";
	const struct mime_part *root = NULL;

	(void)state;
	for (size_t max = 16; root == NULL; max += 32) {
		struct pool *small = pool_new(NULL, max);

		root = mime_structure_parse(span_str(text), small);
		if (root != NULL)
			check_places(root, strlen(text));
		pool_free(&small);
		assert_true(max < 100000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_example_of_the_rfc, setup, teardown),
	    cmocka_unit_test_setup_teardown(boundaries, setup, teardown),
	    cmocka_unit_test_setup_teardown(multiparts_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(types_that_are_not_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(lines_are_counted, setup, teardown),
	    cmocka_unit_test_setup_teardown(headers_end_where_they_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(any_lines_have_a_structure, setup, teardown),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
