/* Which addresses fetch may ask, and how long an answer keeps. */
#include "tests/unit/test.h"

#include "fetch/fetch.h"

#include <arpa/inet.h>

static bool is_public(const char *text)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in4 = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		return address_is_public((const struct sockaddr *)(const void *)&in4);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return address_is_public((const struct sockaddr *)(const void *)&in6);
}

static void only_what_is_routed(void **state)
{
	static const char *const no[] = {"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
	    "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
	    "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8",
	    "64:ff9b::8.8.8.8", "100::1", "1fff:ffff::1", "2001::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1"};
	static const char *const yes[] = {"1.0.0.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "169.253.1.1", "172.15.255.255",
	    "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2a00::1", "3ffe::1"};

	(void)state;
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (is_public(no[i]))
			fail_msg("%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (!is_public(yes[i]))
			fail_msg("%s", yes[i]);
	assert_false(address_is_public(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static void unless_the_configuration_names_them(void **state)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a010203)};
	struct conf *conf;
	struct err err;

	(void)state;
	assert_int_equal(conf_parse(SPAN_LIT("config-version 1\nfetch-private-networks 10.1.2.0/24 ::1\n"), "x", &conf, &err), 0);
	assert_true(address_is_allowed(conf, (const struct sockaddr *)(const void *)&in4));
	in4.sin_addr.s_addr = htonl(0x0a010303);
	assert_false(address_is_allowed(conf, (const struct sockaddr *)(const void *)&in4));
	conf_free(&conf);
}

static void how_long_it_keeps(void **state)
{
	static const struct {
		const char *line;
		int64_t age;
	} cases[] = {{"Cache-Control: max-age=10\r\n", 10}, {"cache-control:max-age=10", 10}, {"Cache-Control: public,  MAX-AGE = \"10\" ,x\r\n", 10}, {"Cache-Control: max-age=10, no-cache", 0},
	    {"Cache-Control: no-store, max-age=10", 0}, {"Cache-Control: max-age=-1", -1}, {"Cache-Control: max-age=", -1}, {"Cache-Control: max-age", -1}, {"Cache-Control: max-age=99999999999999999999", -1},
	    {"Cache-Control: s-maxage=10", -1}, {"Cache-Control:", -1}, {"Cache-Control: ,,,", -1}, {"X-Cache-Control: max-age=1", -1}, {"", -1}, {"\r\n", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t age = -1;

		header_max_age(span_str(cases[i].line), &age);
		assert_int_equal(age, cases[i].age);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_what_is_routed),
	    cmocka_unit_test(unless_the_configuration_names_them),
	    cmocka_unit_test(how_long_it_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
