/* MTA-STS: records and policies, the right, the odd and the wrong. */
#include "tests/unit/test.h"

#include "sts/sts.h"

#include <stdio.h>
#include <stdlib.h>

static char id[STS_ID_MAX + 1];
static struct sts_policy policy;
static struct err err;

/* ---- the TXT record ---- */

static void records_are_read(void **state)
{
	static const struct {
		const char *text, *id; /* NULL: none */
		int code;
	} rows[] = {
	    {"v=STSv1; id=20160831085700Z;", "20160831085700Z", 0},
	    {"v=STSv1;id=1", "1", 0},
	    {"v=STSv1 ;\tid=1 ; ", "1", 0},
	    {"v=STSv1; x_-.1=a:b<c>; id=9", "9", 0},
	    {"v=STSv1; id=first; id=second", "first", 0},
	    {"v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012", 0},
	    {"v=STSv1; id=123456789012345678901234567890123", NULL, E_SYNTAX},
	    {"v=STSv1; id=a-b", NULL, E_SYNTAX},
	    {"v=STSv1; id=", NULL, E_SYNTAX},
	    {"v=STSv1; ID=1", NULL, E_SYNTAX}, /* another field, and then there is no id */
	    {"v=STSv1; x=1", NULL, E_SYNTAX},
	    {"v=STSv1;", NULL, E_SYNTAX},
	    {"v=STSv1;; id=1", NULL, E_SYNTAX},
	    {"v=STSv1; id=1; word", NULL, E_SYNTAX},
	    {"v=STSv1; id=1; a=b=c", NULL, E_SYNTAX},
	    {"v=STSv1; id=1; =c", NULL, E_SYNTAX},
	    {"v=STSv1; id=1; a=\xc3\xa4", NULL, E_SYNTAX},
	    {"v=STSv1", NULL, E_NOTFOUND},
	    {"v=STSv11; id=1", NULL, E_NOTFOUND},
	    {"v=stsv1; id=1", NULL, E_NOTFOUND},
	    {" v=STSv1; id=1", NULL, E_NOTFOUND},
	    {"id=1; v=STSv1", NULL, E_NOTFOUND},
	    {"v=spf1 -all", NULL, E_NOTFOUND},
	    {"", NULL, E_NOTFOUND},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (sts_record_parse(span_str(rows[i].text), id, &err) != rows[i].code)
			fail_msg("%s", rows[i].text);
		if (rows[i].id != NULL)
			assert_string_equal(id, rows[i].id);
	}
	assert_int_equal(sts_record_parse(SPAN_LIT("v=STSv1; id=1; a\0b=c"), id, &err), E_SYNTAX);
}

/* As dns_answer has them: a length, and of TXT a length before each string. */
static void add_record(struct buf *records, const char *first, const char *second)
{
	size_t a = strlen(first), b = strlen(second);

	buf_add_char(records, (char)(a + b + 2));
	buf_add_char(records, 0);
	buf_add_char(records, (char)a);
	buf_add_str(records, first);
	buf_add_char(records, (char)b);
	buf_add_str(records, second);
}

static void one_record_counts_and_no_second(void **state)
{
	struct buf records;

	(void)state;
	buf_init(&records, 4096);
	assert_int_equal(sts_records_read(buf_span(&records), id, &err), E_NOTFOUND);
	add_record(&records, "v=spf1 -all", "");
	assert_int_equal(sts_records_read(buf_span(&records), id, &err), E_NOTFOUND);
	add_record(&records, "v=STSv1; i", "d=abc;"); /* strings are one behind the other */
	assert_int_equal(sts_records_read(buf_span(&records), id, &err), 0);
	assert_string_equal(id, "abc");
	add_record(&records, "v=TLSRPTv1; rua=mailto:a@b.test", "");
	assert_int_equal(sts_records_read(buf_span(&records), id, &err), 0);
	add_record(&records, "v=STSv1; broken", "");
	assert_int_equal(sts_records_read(buf_span(&records), id, &err), E_SYNTAX);
	buf_fini(&records);
}

/* ---- the policy ---- */

static int parse(const char *text)
{
	return sts_policy_parse(span_str(text), &policy, &err);
}

static void a_policy_is_read(void **state)
{
	(void)state;
	assert_int_equal(parse("version: STSv1\r\nmode: enforce\r\nmx: Mail.Example.COM\r\nmx: *.example.net\r\nmax_age: 604800\r\n"), 0);
	assert_int_equal(policy.mode, STS_ENFORCE);
	assert_int_equal(policy.max_age, 604800);
	assert_int_equal(policy.mx_count, 2);
	assert_string_equal(sts_policy_mx(&policy, 0), "mail.example.com");
	assert_string_equal(sts_policy_mx(&policy, 1), "*.example.net");
	assert_int_equal(parse("max_age:1  \nmx:a.test\t\nversion:STSv1\nmode:testing\n\n"), 0);
	assert_int_equal(policy.mode, STS_TESTING);
	assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: 0"), 0);
	assert_int_equal(policy.mode, STS_NONE);
	assert_int_equal(policy.mx_count, 0);
}

static void what_is_unknown_is_passed_over(void **state)
{
	(void)state;
	assert_int_equal(parse("version: STSv1\ncolour: \xc3\xa4 b: c\nmode: enforce\nmx: a.test\nmax_age: 1\nMODE: none\n"), 0);
	assert_int_equal(policy.mode, STS_ENFORCE);
}

static void the_first_of_each_counts(void **state)
{
	(void)state;
	assert_int_equal(parse("version: STSv1\nversion: 2\nmode: enforce\nmode: none\nmx: a.test\nmax_age: 1\nmax_age: 2\n"), 0);
	assert_int_equal(policy.mode, STS_ENFORCE);
	assert_int_equal(policy.max_age, 1);
}

static void an_age_has_an_end(void **state)
{
	(void)state;
	assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: 9999999999\n"), 0);
	assert_int_equal(policy.max_age, STS_AGE_MAX);
	assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: 10000000000\n"), E_SYNTAX);
	assert_int_equal(parse("version: STSv1\nmode: none\nmax_age: -1\n"), E_SYNTAX);
	assert_int_equal(parse("version: STSv1\nmode: none\nmax_age:\n"), E_SYNTAX);
}

static void wrong_policies_are_refused(void **state)
{
	static const char *const texts[] = {
	    "",
	    "<html>\n<title>404: not found</title>\n",
	    "mode: enforce\nmx: a.test\nmax_age: 1\n",
	    "version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1\n",
	    "version: STSv1\nmx: a.test\nmax_age: 1\n",
	    "version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a.test\n",
	    "version: STSv1\nmode: enforce\nmax_age: 1\n",
	    "version: STSv1\nmode: testing\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: *a.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a.*.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: *.*.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: m\xc3\xa4il.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a.test, b.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1\nword\n",
	    "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1\n mode: none\n",
	    "version: STSv1\rmode: enforce\rmx: a.test\rmax_age: 1\r",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (parse(texts[i]) != E_SYNTAX)
			fail_msg("%s", texts[i]);
}

static void policies_are_bounded(void **state)
{
	static const char start[] = "version: STSv1\nmode: enforce\nmax_age: 1\n";
	struct buf text;

	(void)state;
	buf_init(&text, 2 * STS_FILE_MAX);
	buf_add_str(&text, start);
	for (int i = 0; i < STS_MX_MAX; i++)
		buf_printf(&text, "mx: m%d.test\n", i);
	assert_int_equal(sts_policy_parse(buf_span(&text), &policy, &err), 0);
	buf_add_str(&text, "mx: one.test\n");
	assert_int_equal(sts_policy_parse(buf_span(&text), &policy, &err), E_LIMIT);
	buf_clear(&text);
	buf_add_str(&text, start);
	for (int i = 0; i < STS_MX_MAX / 2; i++)
		buf_printf(&text, "mx: %060d.%060d.test\n", i, i);
	assert_int_equal(sts_policy_parse(buf_span(&text), &policy, &err), 0);
	for (int i = 0; i < STS_MX_MAX / 4; i++)
		buf_printf(&text, "mx: %060d.%060d.test\n", i, i);
	assert_int_equal(sts_policy_parse(buf_span(&text), &policy, &err), E_LIMIT);
	while (buf_len(&text) <= STS_FILE_MAX)
		buf_add_str(&text, "a: b\n");
	assert_int_equal(sts_policy_parse(buf_span(&text), &policy, &err), E_TOOBIG);
	buf_fini(&text);
}

static void what_is_written_is_read_again(void **state)
{
	struct sts_policy again;
	struct buf text;

	(void)state;
	buf_init(&text, STS_TEXT_MAX);
	assert_int_equal(parse("max_age: 86400\r\nmode: testing\r\nversion: STSv1\r\nx: y\r\nmx: a.test\r\nmx: *.B.test\r\n"), 0);
	sts_policy_format(&policy, &text);
	assert_string_equal(buf_cstr(&text), "version: STSv1\nmode: testing\nmax_age: 86400\nmx: a.test\nmx: *.b.test\n");
	assert_int_equal(sts_policy_parse(buf_span(&text), &again, &err), 0);
	assert_memory_equal(&policy, &again, sizeof(again));
	buf_fini(&text);
}

static void hosts_are_held_against_patterns(void **state)
{
	(void)state;
	assert_int_equal(parse("version: STSv1\nmode: enforce\nmx: mail.a.test\nmx: *.b.test\nmx: *.xn--bcher-kva.test\nmax_age: 1\n"), 0);
	assert_true(sts_policy_matches(&policy, "mail.a.test"));
	assert_true(sts_policy_matches(&policy, "MAIL.a.test"));
	assert_true(sts_policy_matches(&policy, "any.b.test"));
	assert_true(sts_policy_matches(&policy, "mx.xn--bcher-kva.test"));
	assert_false(sts_policy_matches(&policy, "a.test"));
	assert_false(sts_policy_matches(&policy, "b.test"));
	assert_false(sts_policy_matches(&policy, ".b.test"));
	assert_false(sts_policy_matches(&policy, "one.two.b.test"));
	assert_false(sts_policy_matches(&policy, "evilb.test"));
	assert_false(sts_policy_matches(&policy, "any.b.test.evil.test"));
	assert_false(sts_policy_matches(&policy, ""));
}

static void only_plain_text_is_a_policy(void **state)
{
	(void)state;
	assert_true(sts_type_is_text(SPAN_LIT("text/plain")));
	assert_true(sts_type_is_text(SPAN_LIT("Text/PLAIN ; charset=utf-8")));
	assert_false(sts_type_is_text(SPAN_LIT("text/plainer")));
	assert_false(sts_type_is_text(SPAN_LIT("text/html; x=text/plain")));
	assert_false(sts_type_is_text(SPAN_LIT("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_are_read),
	    cmocka_unit_test(one_record_counts_and_no_second),
	    cmocka_unit_test(a_policy_is_read),
	    cmocka_unit_test(what_is_unknown_is_passed_over),
	    cmocka_unit_test(the_first_of_each_counts),
	    cmocka_unit_test(an_age_has_an_end),
	    cmocka_unit_test(wrong_policies_are_refused),
	    cmocka_unit_test(policies_are_bounded),
	    cmocka_unit_test(what_is_written_is_read_again),
	    cmocka_unit_test(hosts_are_held_against_patterns),
	    cmocka_unit_test(only_plain_text_is_a_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
