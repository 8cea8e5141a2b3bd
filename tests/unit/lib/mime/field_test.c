/* Header fields (RFC 5322 section 2.2), and types with their parameters (RFC 2045 section 5.1, RFC 2183). */
#include "tests/unit/test.h"

#include "mime/header.h"

#include <stdio.h>
#include <stdlib.h>

/* All fields as "name=value;". */
static void assert_fields(struct span header, const char *want)
{
	char got[1000] = "";
	struct mime_field f;

	while (mime_field_next(&header, &f))
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s=%.*s;", SPAN_ARG(f.name), SPAN_ARG(f.value));
	assert_string_equal(got, want);
}

static void fields_end_where_they_end(void **state)
{
	(void)state;
	assert_fields(SPAN_LIT(""), "");
	assert_fields(SPAN_LIT("A: 1\r\nB:2\r\n"), "A= 1;B=2;");
	assert_fields(SPAN_LIT("A: 1\nB:\n\n"), "A= 1;B=;");
	assert_fields(SPAN_LIT("A: 1"), "A= 1;");
	assert_fields(SPAN_LIT("A: 1\r\n 2\r\n\t3\r\nB: 4\r\n"), "A= 1\r\n 2\r\n\t3;B= 4;");
	assert_fields(SPAN_LIT("A: 1\r\n \r\nB: 2\r\n"), "A= 1\r\n ;B= 2;"); /* a line of blanks goes on with the field */
	assert_fields(SPAN_LIT("A: 1\r\n\r\nB: 2\r\n"), "A= 1;");
	assert_fields(SPAN_LIT("A: 1\n\nB: 2\n"), "A= 1;");
	assert_fields(SPAN_LIT("\r\nA: 1\r\n"), "");
	assert_fields(SPAN_LIT("A : 1\r\nB\t:2\r\n"), "A= 1;B=2;"); /* section 4.5: obsolete */
	assert_fields(SPAN_LIT("A: b:c\r\n"), "A= b:c;");
}

/* "Lines that are no field are skipped." */
static void lines_that_are_none(void **state)
{
	(void)state;
	assert_fields(SPAN_LIT("From someone Mon Jan  1\r\nA: 1\r\n"), "A= 1;"); /* of an mbox file, unless it has a colon */
	assert_fields(SPAN_LIT("nonsense\r\nA: 1\r\n: empty\r\nB: 2\r\nlast"), "A= 1;B= 2;");
	/* A CR alone is no line end (S5 of doc/reliability.md): a line that begins with one does not end the header. */
	assert_fields(SPAN_LIT("A: 1\r\n\rnonsense\r\nB: 2\r\n"), "A= 1;B= 2;");
	assert_fields(SPAN_LIT("A: 1\r\n\r\r\nB: 2\r\n"), "A= 1;B= 2;");
}

static void the_first_of_a_name_is_found(void **state)
{
	static const char header[] = "X: 1\r\nTO: a\r\nTo: b\r\nTox: c\r\n\r\nCc: body\r\n";
	struct mime_field f;

	(void)state;
	assert_true(mime_field_find(span_str(header), SPAN_LIT("to"), &f));
	assert_span_equal(f.value, " a");
	assert_span_equal(f.whole, "TO: a\r\n");
	assert_false(mime_field_find(span_str(header), SPAN_LIT("Cc"), &f));
	assert_false(mime_field_find(span_str(header), SPAN_LIT(""), &f));
}

static void values_are_unfolded(void **state)
{
	static const struct {
		struct span in;
		const char *out;
	} rows[] = {{SPAN_LIT(""), ""}, {SPAN_LIT("  a  "), "a"}, {SPAN_LIT(" a\r\n b"), "a b"}, {SPAN_LIT(" a\r\n\tb\n c "), "a\tb c"}, {SPAN_LIT("a\0b\rc"), "abc"}, {SPAN_LIT("\r\n a"), " a"}};
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&out);
		mime_unfold(rows[i].in, &out);
		assert_span_equal(buf_span(&out), rows[i].out);
	}
	buf_fini(&out);
}

/* "type/subtype name=value ..." */
static char *parsed(const char *value)
{
	struct pool *pool = pool_new(NULL, 1 << 20);
	struct mime_content c;
	struct buf out;
	char *text;

	buf_init(&out, 10000);
	if (mime_content_parse(span_str(value), pool, &c)) {
		buf_printf(&out, "%.*s/%.*s", SPAN_ARG(c.type), SPAN_ARG(c.subtype));
		for (size_t i = 0; i < c.parameter_count; i++)
			buf_printf(&out, " %.*s=[%.*s]", SPAN_ARG(c.parameters[i].name), SPAN_ARG(c.parameters[i].value));
	}
	text = strdup(buf_cstr(&out));
	buf_fini(&out);
	pool_free(&pool);
	return text;
}

static void types_and_parameters(void **state)
{
	static const char *const rows[][2] = {
	    /* RFC 2045 section 5.1: these two are "completely equivalent" */
	    {" text/plain; charset=us-ascii (Plain text)", "text/plain charset=[us-ascii]"},
	    {" text/plain; charset=\"us-ascii\"", "text/plain charset=[us-ascii]"},
	    /* RFC 2046 sections 5.1.1, 5.2.2 */
	    {" multipart/mixed; boundary=\"gc0pJq0M:08jU534c0p\"", "multipart/mixed boundary=[gc0pJq0M:08jU534c0p]"},
	    {" Message/Partial; number=2; total=3;\r\n   id=\"oc=jpbe0M2Yt4s@thumper.bellcore.com\"", "Message/Partial number=[2] total=[3] id=[oc=jpbe0M2Yt4s@thumper.bellcore.com]"},
	    /* RFC 2183 section 3 */
	    {" attachment; filename=genome.jpeg;\r\n  modification-date=\"Wed, 12 Feb 1997 16:29:51 -0500\";", "attachment/ filename=[genome.jpeg] modification-date=[Wed, 12 Feb 1997 16:29:51 -0500]"},
	    {"inline", "inline/"},
	    {"(c) text (c) / (c) plain (c) ; (c) a (c) = (c) b (c)", "text/plain a=[b]"},
	    {"text/plain;a=\"x\\\"y\\\\z\"", "text/plain a=[x\"y\\z]"},
	    {"text/plain;a=\"x\r\n y\"", "text/plain a=[x y]"},
	    {"text/plain;a=\"\"", "text/plain a=[]"},
	    /* not by the book */
	    {"", ""}, {" ", ""}, {";a=b", ""}, {"/plain", ""},
	    {"text", "text/"}, {"text/", "text/"}, {"text/plain;", "text/plain"}, {"text/plain;;;a=b", "text/plain a=[b]"}, {"text/plain a=b", "text/plain"},
	    {"text/plain; a", "text/plain"}, {"text/plain; a; b=c", "text/plain b=[c]"}, {"text/plain; =b; c=d", "text/plain c=[d]"}, {"text/plain; a=; b=c", "text/plain a=[] b=[c]"},
	    {"text/plain; a=b=c", "text/plain a=[b=c]"}, {"text/plain; a=x/y", "text/plain a=[x/y]"}, {"text/plain; a=\"b", "text/plain a=[b]"}, {"text/plain; a=\"b\\", "text/plain a=[b\\]"},
	    {"text/plain; (", "text/plain"}, {"text/plain (; a=b", "text/plain"}, {"text/plain; a=\"b\" c=d", "text/plain a=[b]"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *got = parsed(rows[i][0]);

		if (strcmp(got, rows[i][1]) != 0)
			fail_msg("%s\n%s\n%s", rows[i][0], got, rows[i][1]);
		free(got);
	}
}

static void parameters_have_their_bounds(void **state)
{
	struct pool *pool = pool_new(NULL, 1 << 20), *small = pool_new(NULL, 4096);
	struct mime_content c;
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_add_str(&text, "a/b");
	for (int i = 0; i < 100; i++)
		buf_printf(&text, ";p%d=v", i);
	assert_true(mime_content_parse(buf_span(&text), pool, &c));
	assert_int_equal(c.parameter_count, MIME_PARAMETERS_MAX);
	assert_span_equal(mime_content_parameter(&c, SPAN_LIT("P63")), "v");
	assert_int_equal(mime_content_parameter(&c, SPAN_LIT("p64")).len, 0);
	/* No memory for a value, no memory for any: the type is known all the same. */
	buf_clear(&text);
	buf_add_str(&text, "a/b; x=\"");
	for (int i = 0; i < 5000; i++)
		buf_add_char(&text, 'v');
	buf_add_str(&text, "\"; y=z");
	assert_true(mime_content_parse(buf_span(&text), small, &c));
	assert_span_equal(c.subtype, "b");
	pool_free(&small);
	small = pool_new(NULL, 16);
	assert_true(mime_content_parse(SPAN_LIT("a/b; x=y"), small, &c));
	assert_int_equal(c.parameter_count, 0);
	buf_fini(&text);
	pool_free(&pool);
	pool_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_end_where_they_end),
	    cmocka_unit_test(lines_that_are_none),
	    cmocka_unit_test(the_first_of_a_name_is_found),
	    cmocka_unit_test(values_are_unfolded),
	    cmocka_unit_test(types_and_parameters),
	    cmocka_unit_test(parameters_have_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
