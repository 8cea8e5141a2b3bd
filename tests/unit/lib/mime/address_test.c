/* Address lists: the examples of RFC 5322, and what people write. */
#include "tests/unit/test.h"

#include "mime/header.h"

#include <stdio.h>
#include <stdlib.h>

/* Each as "name|route|mailbox|host;", a group as "{name" and "}". */
static char *listed(struct span value)
{
	struct pool *pool = pool_new(NULL, 64 * 1024 * 1024);
	struct mime_address *list;
	size_t count = mime_addresses_parse(value, pool, &list);
	struct buf out;
	char *text;

	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < count; i++)
		if (list[i].kind == MIME_GROUP_BEGIN)
			buf_printf(&out, "{%.*s ", SPAN_ARG(list[i].name));
		else if (list[i].kind == MIME_GROUP_END)
			buf_add_str(&out, "}");
		else
			buf_printf(&out, "%.*s|%.*s|%.*s|%.*s;", SPAN_ARG(list[i].name), SPAN_ARG(list[i].route), SPAN_ARG(list[i].mailbox), SPAN_ARG(list[i].host));
	text = strdup(buf_cstr(&out));
	buf_fini(&out);
	pool_free(&pool);
	return text;
}

static void check(const char *const (*rows)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *got = listed(span_str(rows[i][0]));

		if (strcmp(got, rows[i][1]) != 0)
			fail_msg("%s\n%s\n%s", rows[i][0], got, rows[i][1]);
		free(got);
	}
}
#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows[0]))

static void the_addresses_of_the_rfc(void **state)
{
	static const char *const rows[][2] = {
	    /* Appendix A.1.1 to A.1.3 */
	    {"John Doe <jdoe@machine.example>", "John Doe||jdoe|machine.example;"},
	    {"\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com;"},
	    {"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>", "Mary Smith||mary|x.test;||jdoe|example.org;Who?||one|y.test;"},
	    {"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>", "||boss|nil.test;Giant; \"Big\" Box||sysservices|example.net;"},
	    {"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;", "{A Group Ed Jones||c|a.test;||joe|where.test;John||jdoe|one.test;}"},
	    {"Undisclosed recipients:;", "{Undisclosed recipients }"},
	    /* A.5: white space and comments */
	    {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test;"},
	    {"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
		"{A Group Chris Jones||c|public.example;||joe|example.org;John||jdoe|one.test;}"},
	    {"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "{Hidden recipients }"},
	    /* A.6.1 and A.6.3: obsolete forms */
	    {"Joe Q. Public <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com;"},
	    {"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example", "Mary Smith|@node.test|mary|example.net;||jdoe|test.example;"},
	    {"John Doe <jdoe@machine(comment).  example>", "John Doe||jdoe|machine.example;"},
	    {"Mary Smith\r\n  \r\n          <mary@example.net>", "Mary Smith||mary|example.net;"},
	};

	(void)state;
	CHECK(rows);
}

/* Section 3.4.1: the local part may be quoted, the domain a literal. What is quoted is no syntax. */
static void local_parts_and_domains(void **state)
{
	static const char *const rows[][2] = {
	    {"\"john smith\"@x.test", "||john smith|x.test;"},
	    {"<\"john  smith\"@x.test>", "||john  smith|x.test;"},
	    {"\"a@b\"@x.test, c@y.test", "||a@b|x.test;||c|y.test;"},
	    {"<\"a>b\"@x.test>, c@y.test", "||a>b|x.test;||c|y.test;"},
	    {"<\"a(b\"@x.test>, \"c,d;e:f<g\"@y.test", "||a(b|x.test;||c,d;e:f<g|y.test;"},
	    {"\"\\\"\\\\\"@x.test", "||\"\\|x.test;"},
	    {"a.\"b c\".d@x.test", "||a.b c.d|x.test;"},
	    {"joe@[192.0.2.1], <joe@[IPv6:2001:db8::1]>", "||joe|[192.0.2.1];||joe|[IPv6:2001:db8::1];"},
	    {"local, <local>", "||local|;||local|;"},
	    {"@x.test", "|||x.test;"},
	    {"a@b@c", "||a@b|c;"},
	    {"\xc3\xa4@\xc3\xb6.test", "||\xc3\xa4|\xc3\xb6.test;"},
	    {"<@r.test,@s.test:m@n.test>", "|@r.test,@s.test|m|n.test;"},
	};

	(void)state;
	CHECK(rows);
}

/* Not by the book, and yet it is clear what is meant; what is not costs only itself. */
static void what_people_write(void **state)
{
	static const char *const rows[][2] = {
	    {"", ""}, {" ", ""}, {",,;", ""}, {"<>", ""}, {"Nobody <>", ""}, {"()", ""},
	    {"a@x.test; b@y.test", "||a|x.test;||b|y.test;"},
	    {"John <a@x.test> b@y.test", "John||a|x.test;||b|y.test;"},
	    {"a@x.test (John)", "||a|x.test;"},
	    {"\"John\" \"Smith\"<a@x.test>", "John Smith||a|x.test;"},
	    {"John, Smith <a@x.test>", "||John|;Smith||a|x.test;"},
	    {"Group: a@x.test", "{Group ||a|x.test;}"},
	    {"Group: a@x.test, Inner: b@y.test;, c@z.test", NULL},
	    {"<a@x.test", "||a|x.test;"},
	    {"John <\"a@x.test>, b@y.test", NULL},
	    {"\"John <a@x.test>", NULL},
	    {"(John <a@x.test>", ""},
	    {"=?utf-8?Q?J=C3=B6rg?= <j@x.test>", "=?utf-8?Q?J=C3=B6rg?=||j|x.test;"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *got = listed(span_str(rows[i][0]));

		/* NULL: only that it ends, and finds no more than there can be. */
		if (rows[i][1] != NULL && strcmp(got, rows[i][1]) != 0)
			fail_msg("%s\n%s\n%s", rows[i][0], got, rows[i][1]);
		free(got);
	}
}

static void any_octets_end(void **state)
{
	static const char letters[] = "\"\"<>()@,:;\\. \r\na\xe4";
	char text[40];

	(void)state;
	srandom(3);
	for (int i = 0; i < 30000; i++) {
		size_t len = (size_t)random() % sizeof(text);

		for (size_t k = 0; k < len; k++)
			text[k] = letters[(size_t)random() % sizeof(letters)];
		free(listed(span_of(text, len)));
	}
}

/* As many as are kept, and not one more; and as many as memory allows. */
static void long_lists(void **state)
{
	struct pool *pool = pool_new(NULL, 0), *small = pool_new(NULL, 3000);
	struct mime_address *list;
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	for (int i = 0; i < 12000; i++)
		buf_add_str(&text, "a@b,");
	assert_int_equal(mime_addresses_parse(buf_span(&text), pool, &list), MIME_ADDRESSES_MAX);
	assert_true(mime_addresses_parse(buf_span(&text), small, &list) < 100);
	assert_true(mime_addresses_parse(SPAN_LIT("g: \"a b\"@c, \"d\" e <\"f\"@g>"), small, &list) < 100);
	buf_fini(&text);
	pool_free(&pool);
	pool_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_addresses_of_the_rfc),
	    cmocka_unit_test(local_parts_and_domains),
	    cmocka_unit_test(what_people_write),
	    cmocka_unit_test(any_octets_end),
	    cmocka_unit_test(long_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
