/* Names of domains, as users and messages give them. */
#include "tests/unit/test.h"

#include "dns/dns.h"

#include <string.h>

static void names_have_one_form(void **state)
{
	static const char *const cases[][2] = {
	    {"Example.ORG", "example.org"},
	    {"example.org.", "example.org"},
	    {"b\303\274cher.example", "xn--bcher-kva.example"},
	    {"B\303\234CHER.example", "xn--bcher-kva.example"},
	    {"xn--bcher-kva.example", "xn--bcher-kva.example"},
	    {"_25._tcp.mx.example.org", "_25._tcp.mx.example.org"},
	    {"stra\303\237e.example", "xn--strae-oqa.example"},
	    {"1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa"},
	    {"localhost", "localhost"},
	};
	char out[DNS_NAME_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(dns_name_normalize(span_str(cases[i][0]), out), 0);
		assert_string_equal(out, cases[i][1]);
		assert_int_equal(dns_name_normalize(span_str(cases[i][1]), out), 0);
		assert_string_equal(out, cases[i][1]);
	}
}

static void what_is_no_name_is_refused(void **state)
{
	static const char *const cases[] = {"", ".", "..", "a..b", ".a", "a b", "a/b", "-a.b", "a-.b", "192.0.2.1", "[192.0.2.1]", "a@b", "a\n.b", "\303.example",
	    "a.b..", "\357\274\216", "*.example.org"};
	char out[DNS_NAME_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(dns_name_normalize(span_str(cases[i]), out), E_SYNTAX);
	assert_int_equal(dns_name_normalize(span_of("a.b\0c", 5), out), E_SYNTAX);
}

static void lengths_have_limits(void **state)
{
	char text[2000], out[DNS_NAME_TEXT];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t i = 63; i < sizeof(text); i += 64)
		text[i] = '.';
	assert_int_equal(dns_name_normalize(span_of(text, DNS_NAME_MAX), out), 0);
	assert_int_equal(strlen(out), DNS_NAME_MAX);
	assert_int_equal(dns_name_normalize(span_of(text, DNS_NAME_MAX + 1), out), E_SYNTAX);
	assert_int_equal(dns_name_normalize(span_of(text, sizeof(text)), out), E_SYNTAX);
	text[63] = 'a';
	assert_int_equal(dns_name_normalize(span_of(text, 64), out), E_SYNTAX);
	memset(text, '\303', sizeof(text));
	assert_int_equal(dns_name_normalize(span_of(text, sizeof(text)), out), E_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_have_one_form),
	    cmocka_unit_test(what_is_no_name_is_refused),
	    cmocka_unit_test(lengths_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
