/* What is in an answer: every parser with the right, the cut off and the hostile. */
#include "tests/unit/test.h"

#include "dns/private.h"

#include <arpa/inet.h>
#include <string.h>

static char name[DNS_NAME_TEXT];

static int parse(const char *octets, size_t len)
{
	struct span wire = span_of(octets, len);
	int r = dns_name_parse(&wire, name);

	if (r == 0)
		assert_int_equal(wire.len, 0);
	return r;
}

#define PARSE(lit) parse(lit, sizeof(lit) - 1)

static void names_are_read(void **state)
{
	(void)state;
	assert_int_equal(PARSE("\2MX\7example\3ORG\0"), 0);
	assert_string_equal(name, "mx.example.org");
	assert_int_equal(PARSE("\0"), 0);
	assert_string_equal(name, "");
	assert_int_equal(PARSE("\3_25\4_tcp\1a\0"), 0);
	assert_string_equal(name, "_25._tcp.a");
}

static void damaged_names_are_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE(""), E_SYNTAX);
	assert_int_equal(PARSE("\2mx"), E_SYNTAX);
	assert_int_equal(PARSE("\3mx\0"), E_SYNTAX);
	assert_int_equal(PARSE("\2mx\xc0\x0c"), E_SYNTAX);
	assert_int_equal(PARSE("\2m.\0"), E_SYNTAX);
	assert_int_equal(PARSE("\2m\0\0"), E_SYNTAX);
	assert_int_equal(PARSE("\2m\n\0"), E_SYNTAX);
	assert_int_equal(PARSE("\2m\xe4\0"), E_SYNTAX);
}

/* RFC 1035 section 2.3.4: 255 octets with all lengths. */
static void the_longest_name_fits(void **state)
{
	char wire[300];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		wire[n++] = 63;
		memset(wire + n, 'a', 63);
		n += 63;
	}
	wire[n++] = 61;
	memset(wire + n, 'b', 63);
	wire[n + 61] = '\0';
	assert_int_equal(parse(wire, n + 62), 0);
	assert_int_equal(strlen(name), DNS_NAME_MAX);
	wire[n - 1] = 62;
	wire[n + 61] = 'b';
	wire[n + 62] = '\0';
	assert_int_equal(parse(wire, n + 63), E_SYNTAX);
	wire[n - 1] = 64;
	assert_int_equal(parse(wire, n + 63), E_SYNTAX);
}

static void mx_and_srv(void **state)
{
	struct dns_mx mx;
	struct dns_srv srv;

	(void)state;
	assert_int_equal(dns_mx_parse(span_of("\1\2\1a\1b\0", 7), &mx), 0);
	assert_int_equal(mx.preference, 258);
	assert_string_equal(mx.host, "a.b");
	assert_int_equal(dns_mx_parse(span_of("\0\0\0", 3), &mx), 0);
	assert_string_equal(mx.host, "");
	assert_int_equal(dns_mx_parse(span_of("\0\0", 2), &mx), E_SYNTAX);
	assert_int_equal(dns_mx_parse(span_of("\0\0\0x", 4), &mx), E_SYNTAX);
	assert_int_equal(dns_srv_parse(span_of("\0\1\0\2\0\x19\1a\0", 9), &srv), 0);
	assert_int_equal(srv.priority, 1);
	assert_int_equal(srv.weight, 2);
	assert_int_equal(srv.port, 25);
	assert_string_equal(srv.host, "a");
	assert_int_equal(dns_srv_parse(span_of("\0\1\0\2\0\x19", 6), &srv), E_SYNTAX);
}

static void tlsa(void **state)
{
	struct dns_tlsa tlsa;

	(void)state;
	assert_int_equal(dns_tlsa_parse(span_of("\3\1\1\xaa\xbb", 5), &tlsa), 0);
	assert_int_equal(tlsa.usage, 3);
	assert_int_equal(tlsa.selector, 1);
	assert_int_equal(tlsa.matching, 1);
	assert_int_equal(tlsa.data.len, 2);
	assert_int_equal(dns_tlsa_parse(span_of("\3\1\1", 3), &tlsa), E_SYNTAX);
}

static void addresses(void **state)
{
	struct sockaddr_storage at;
	char text[INET6_ADDRSTRLEN];

	(void)state;
	assert_int_equal(dns_address_parse(DNS_A, span_of("\xc0\0\2\1", 4), &at), 0);
	inet_ntop(AF_INET, &((struct sockaddr_in *)&at)->sin_addr, text, sizeof(text));
	assert_string_equal(text, "192.0.2.1");
	assert_int_equal(((struct sockaddr_in *)&at)->sin_port, 0);
	assert_int_equal(dns_address_parse(DNS_AAAA, span_of("\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16), &at), 0);
	inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&at)->sin6_addr, text, sizeof(text));
	assert_string_equal(text, "2001:db8::1");
	assert_int_equal(dns_address_parse(DNS_A, span_of("\xc0\0\2", 3), &at), E_SYNTAX);
	assert_int_equal(dns_address_parse(DNS_AAAA, span_of("\xc0\0\2\1", 4), &at), E_SYNTAX);
	assert_int_equal(dns_address_parse(DNS_MX, span_of("\xc0\0\2\1", 4), &at), E_SYNTAX);
}

static void texts_are_joined(void **state)
{
	char out[6];
	size_t len;

	(void)state;
	assert_true(dns_txt_parse(span_of("\3abc\0\3def", 9), out, sizeof(out), &len));
	assert_int_equal(len, 6);
	assert_memory_equal(out, "abcdef", 6);
	assert_false(dns_txt_parse(span_of("\3abc\4defg", 9), out, sizeof(out), &len));
	assert_false(dns_txt_parse(span_of("\3ab", 3), out, sizeof(out), &len));
	assert_false(dns_txt_parse(span_of("", 0), out, sizeof(out), &len));
}

static void records_end_where_they_are_cut(void **state)
{
	struct span records = span_of("\2\0ab\0\0\1\0c", 9), rdata;

	(void)state;
	assert_true(dns_record_next(&records, &rdata));
	assert_span_equal(rdata, "ab");
	assert_true(dns_record_next(&records, &rdata));
	assert_int_equal(rdata.len, 0);
	assert_true(dns_record_next(&records, &rdata));
	assert_span_equal(rdata, "c");
	assert_false(dns_record_next(&records, &rdata));
	records = span_of("\2\0a", 3);
	assert_false(dns_record_next(&records, &rdata));
}

/* What a mail server must not confuse: that there is nothing, and that nobody can say. */
static void results_are_kept_apart(void **state)
{
	static const struct {
		struct dns_reply reply;
		enum dns_result result;
		bool secure, why;
	} cases[] = {
	    {{.rcode = 0, .records = {"\0\0", 2}}, DNS_FOUND, false, false},
	    {{.rcode = 0, .security = DNS_SECURE, .records = {"\0\0", 2}}, DNS_FOUND, true, false},
	    {{.rcode = 0, .security = DNS_SECURE}, DNS_NO_DATA, true, false},
	    {{.rcode = 3, .security = DNS_SECURE}, DNS_NO_NAME, true, false},
	    {{.rcode = 3}, DNS_NO_NAME, false, false},
	    {{.rcode = 2}, DNS_TEMPORARY, false, true},
	    {{.rcode = 5}, DNS_TEMPORARY, false, true},
	    {{.rcode = 9}, DNS_TEMPORARY, false, true},
	    {{.code = E_TIMEOUT}, DNS_TEMPORARY, false, true},
	    {{.code = E_SYNTAX, .why = {"x", 1}}, DNS_NO_NAME, false, false},
	    {{.code = E_SYNTAX, .security = DNS_SECURE}, DNS_NO_NAME, false, false},
	    {{.code = E_NOMEM}, DNS_TEMPORARY, false, true},
	    {{.code = E_TIMEOUT, .rcode = 3, .security = DNS_SECURE}, DNS_TEMPORARY, false, true},
	    {{.rcode = 2, .security = DNS_BOGUS, .why = {"x", 1}}, DNS_IS_BOGUS, false, true},
	    {{.rcode = 0, .security = DNS_BOGUS, .records = {"\0\0", 2}, .why = {"x", 1}}, DNS_IS_BOGUS, false, true},
	    {{.rcode = 3, .security = DNS_BOGUS, .why = {"x", 1}}, DNS_IS_BOGUS, false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dns_answer answer;

		assert_int_equal(dns_answer_read(&cases[i].reply, &answer), 0);
		assert_int_equal(answer.result, cases[i].result);
		assert_int_equal(answer.secure, cases[i].secure);
		assert_int_equal(answer.why.len > 0, cases[i].why);
		assert_int_equal(answer.records.len > 0, answer.result == DNS_FOUND);
	}
}

static void impossible_replies_are_refused(void **state)
{
	struct dns_reply reply = {.security = 3};
	struct dns_answer answer;

	(void)state;
	assert_int_equal(dns_answer_read(&reply, &answer), E_PROTO);
	reply = (struct dns_reply){.records = SPAN_LIT("\1")};
	assert_int_equal(dns_answer_read(&reply, &answer), E_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_read),
	    cmocka_unit_test(damaged_names_are_refused),
	    cmocka_unit_test(the_longest_name_fits),
	    cmocka_unit_test(mx_and_srv),
	    cmocka_unit_test(tlsa),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(texts_are_joined),
	    cmocka_unit_test(records_end_where_they_are_cut),
	    cmocka_unit_test(results_are_kept_apart),
	    cmocka_unit_test(impossible_replies_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
