/* Records for people. */
#include "tests/unit/test.h"

#include "dns/dns.h"
#include "resolve/present.h"

#include <string.h>

static void shows(unsigned type, const char *rdata, size_t len, const char *text)
{
	struct buf out;

	buf_init(&out, 4096);
	present_rdata(type, span_of(rdata, len), &out);
	assert_string_equal(buf_cstr(&out), text);
	buf_fini(&out);
}

#define SHOWS(type, lit, text) shows(type, lit, sizeof(lit) - 1, text)

static void rdata_is_shown_as_in_a_zone_file(void **state)
{
	(void)state;
	SHOWS(DNS_A, "\xc0\0\2\1", "192.0.2.1");
	SHOWS(DNS_AAAA, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", "2001:db8::1");
	SHOWS(DNS_MX, "\0\12\2mx\7example\0", "10 mx.example.");
	SHOWS(DNS_MX, "\0\0\0", "0 .");
	SHOWS(DNS_NS, "\3a.b\0", "a\\.b.");
	SHOWS(DNS_TXT, "\3a\"b\2\n\xff", "\"a\\\"b\" \"\\010\\255\"");
	SHOWS(DNS_TLSA, "\3\1\1\xab\xcd", "3 1 1 ABCD");
	SHOWS(DNS_SRV, "\0\1\0\2\0\x19\1a\0", "1 2 25 a.");
	SHOWS(DNS_SOA, "\1a\0\1b\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5", "a. b. 1 2 3 4 5");
	SHOWS(DNS_CAA, "\0\5issueca.example", "0 issue \"ca.example\"");
	SHOWS(DNS_DS, "\0\1\x8\2\xaa", "1 8 2 AA");
	SHOWS(DNS_DNSKEY, "\1\1\3\xf\1\2\3", "257 3 15 AQID");
}

static void what_does_not_fit_its_type_is_shown_as_octets(void **state)
{
	(void)state;
	SHOWS(DNS_A, "abc", "\\# 3 616263");
	SHOWS(DNS_MX, "\0", "\\# 1 00");
	SHOWS(DNS_NS, "\1a", "\\# 2 0161");
	SHOWS(DNS_NS, "\1a\0x", "\\# 4 01610078");
	SHOWS(DNS_TXT, "", "\\# 0");
	SHOWS(DNS_TXT, "\3ab", "\\# 3 036162");
	SHOWS(65, "\1\2", "\\# 2 0102");
}

static void types_have_names(void **state)
{
	static const struct {
		const char *text;
		unsigned type; /* 0: refused */
	} cases[] = {{"MX", DNS_MX}, {"mx", DNS_MX}, {"TYPE65", 65}, {"type15", DNS_MX}, {"CAA", DNS_CAA}, {"TYPE65535", 65535}, {"ANY", 0},
	    {"TYPE255", 0}, {"AXFR", 0}, {"TYPE252", 0}, {"TYPE41", 0}, {"TYPE0", 0}, {"TYPE65536", 0}, {"TYPE", 0}, {"", 0}, {"M", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned type = 0;

		assert_int_equal(present_type_find(span_str(cases[i].text), &type), cases[i].type != 0);
		if (cases[i].type != 0)
			assert_int_equal(type, cases[i].type);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rdata_is_shown_as_in_a_zone_file),
	    cmocka_unit_test(what_does_not_fit_its_type_is_shown_as_octets),
	    cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
