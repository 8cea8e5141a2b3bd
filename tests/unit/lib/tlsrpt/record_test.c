/* RFC 8460 section 3: what is a record, what is not, and where reports go. */
#include "tests/unit/test.h"

#include "base/err.h"
#include "tlsrpt/record.h"

#include <stdio.h>

/* "mailto a@b, https https://…", or the error's name. */
static const char *parse(const char *text)
{
	static char out[4 * (TLSRPT_TARGET_TEXT + 16)];
	static struct tlsrpt_record record;
	int r = tlsrpt_record_parse(span_str(text), &record);
	size_t used = 0;

	if (r != 0)
		return r == E_SYNTAX ? "syntax" : r == E_NOTFOUND ? "none" : "?";
	for (size_t i = 0; i < record.count; i++)
		used += (size_t)snprintf(out + used, sizeof(out) - used, "%s%s%s", i > 0 ? " | " : "", record.targets[i].kind == TLSRPT_MAILTO ? "to " : "", record.targets[i].text);
	return out;
}

static void records(void **state)
{
	static const struct {
		const char *text, *result;
	} rows[] = {
	    {"v=TLSRPTv1; rua=mailto:reports@example.com", "to reports@example.com"},
	    {"v=TLSRPTv1;rua=https://reporting.example.com/v1/tlsrpt", "https://reporting.example.com/v1/tlsrpt"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com,https://example.com/x;", "to a@example.com | https://example.com/x"},
	    {"v=TLSRPTv1 ; rua=mailto:a@example.com , mailto:b@example.com ; ", "to a@example.com | to b@example.com"},
	    {"v=TLSRPTv1;rua=HTTPS://example.com/x,MAILTO:a@example.com", "HTTPS://example.com/x | to a@example.com"},
	    /* what is encoded, and what goes with an address */
	    {"v=TLSRPTv1;rua=mailto:a%2Bb@example.com?subject=x", "to a+b@example.com"},
	    {"v=TLSRPTv1;rua=mailto:%22a%2Cb%22@example.com", "to \"a,b\"@example.com"},
	    {"v=TLSRPTv1;rua=https://example.com/a?b=c%2Cd", "https://example.com/a?b=c%2Cd"},
	    /* extensions are passed over, but have a form */
	    {"v=TLSRPTv1; rua=mailto:a@example.com; ext=1; x-y.z_1=a/b:c", "to a@example.com"},
	    {"v=TLSRPTv1; ext=1; rua=mailto:a@example.com", "to a@example.com"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; ext", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; -x=1", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; x=", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; x=a=b", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; x=a b", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com;; x=a", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com; abcdefghijklmnopqrstuvwxyz0123456=1", "syntax"},
	    /* the version comes first, in these letters */
	    {"v=TLSRPTv1", "syntax"},
	    {"v=TLSRPTv1;", "syntax"},
	    {"v=tlsrptv1; rua=mailto:a@example.com", "syntax"},
	    {"v=TLSRPTv2; rua=mailto:a@example.com", "syntax"},
	    {"v=TLSRPTv10; rua=mailto:a@example.com", "syntax"},
	    {"rua=mailto:a@example.com; v=TLSRPTv1", "syntax"},
	    {"v=spf1 -all", "syntax"},
	    {"", "syntax"},
	    /* URIs */
	    {"v=TLSRPTv1; rua=", "syntax"},
	    {"v=TLSRPTv1; rua", "syntax"},
	    {"v=TLSRPTv1; RUA=mailto:a@example.com", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com,", "syntax"},
	    {"v=TLSRPTv1; rua=,mailto:a@example.com", "syntax"},
	    {"v=TLSRPTv1; rua=mailto:a b@example.com", "syntax"},
	    {"v=TLSRPTv1; rua=https://example.com/!10m", "syntax"},
	    {"v=TLSRPTv1; rua=ftp://example.com/x", "none"},
	    {"v=TLSRPTv1; rua=http://example.com/x", "none"},
	    {"v=TLSRPTv1; rua=https:/example.com", "none"},
	    {"v=TLSRPTv1; rua=https://", "none"},
	    {"v=TLSRPTv1; rua=mailto:", "none"},
	    {"v=TLSRPTv1; rua=mailto:nobody", "none"},
	    {"v=TLSRPTv1; rua=mailto:a@x.test%2Cb@y.test", "none"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com%3E%20SIZE=1", "none"},
	    {"v=TLSRPTv1; rua=mailto:a@example.com%0d%0aBcc:x@y.test", "none"},
	    {"v=TLSRPTv1; rua=mailto:a%00@example.com", "none"},
	    {"v=TLSRPTv1; rua=mailto:a%4", "none"},
	    {"v=TLSRPTv1; rua=mailto:a%zz@example.com", "none"},
	    {"v=TLSRPTv1; rua=ftp://x/,mailto:a@example.com", "to a@example.com"},
	    {"v=TLSRPTv1; rua=mailto:1@x.test,mailto:2@x.test,mailto:3@x.test,mailto:4@x.test,mailto:5@x.test", "to 1@x.test | to 2@x.test | to 3@x.test | to 4@x.test"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(parse(rows[i].text), rows[i].result) != 0)
			fail_msg("%s: %s, not %s", rows[i].text, parse(rows[i].text), rows[i].result);
}

static void others_records_are_none(void **state)
{
	(void)state;
	assert_true(tlsrpt_is_record(SPAN_LIT("v=TLSRPTv1; nonsense")));
	assert_true(tlsrpt_is_record(SPAN_LIT("v=TLSRPTv1 ;")));
	assert_false(tlsrpt_is_record(SPAN_LIT("v=TLSRPTv1")));
	assert_false(tlsrpt_is_record(SPAN_LIT("v=TLSRPTv11;")));
	assert_false(tlsrpt_is_record(SPAN_LIT("")));
	assert_false(tlsrpt_is_record((struct span){0}));
}

static void a_long_url_is_passed_over(void **state)
{
	static char text[TLSRPT_TARGET_TEXT + 200];
	size_t used = (size_t)snprintf(text, sizeof(text), "v=TLSRPTv1; rua=https://example.com/");

	(void)state;
	memset(text + used, 'x', TLSRPT_TARGET_TEXT);
	assert_string_equal(parse(text), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records),
	    cmocka_unit_test(others_records_are_none),
	    cmocka_unit_test(a_long_url_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
