/* From text to value: numbers, sizes, times, yes and no, networks (mailwain.conf(5), Values). */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>

/* The value of one setting, or the error behind the place. */
static bool parse(const char *setting, const char *value, struct conf **conf, char *error, size_t size)
{
	char text[8192];
	struct err err = {0};
	int r;

	snprintf(text, sizeof(text), "config-version 1\n%s \"%s\"\n", setting, value);
	r = conf_parse(span_str(text), "c", conf, &err);
	if (r == 0)
		return true;
	assert_int_equal(r, E_SYNTAX);
	assert_int_equal(strncmp(err.text, "c:2:1: ", 7), 0);
	snprintf(error, size, "%s", err.text + 7);
	return false;
}

static void check_number(const char *name, enum conf_setting setting, const char *value, uint64_t want)
{
	char error[ERR_TEXT_MAX];
	struct conf *conf;

	if (!parse(name, value, &conf, error, sizeof(error)))
		fail_msg("%s", error);
	if (conf_u64(conf, setting, NULL) != want)
		fail_msg("%s %s is %llu", name, value, (unsigned long long)conf_u64(conf, setting, NULL));
	assert_true(conf_ms(conf, setting, NULL) == (int64_t)want);
	assert_true(conf_bool(conf, setting, NULL) == (want != 0));
	assert_span_equal(conf_text(conf, setting, NULL), value); /* as written */
	conf_free(&conf);
}

static void check_wrong(const char *name, const char *value, const char *format)
{
	char error[ERR_TEXT_MAX], want[ERR_TEXT_MAX];
	struct conf *conf;

	if (parse(name, value, &conf, error, sizeof(error)))
		fail_msg("accepted: %s %s", name, value);
	snprintf(want, sizeof(want), "%s: '%s' %s", name, value, format);
	assert_string_equal(error, want);
}

static void numbers(void **state)
{
	static const char *const wrong[] = {"", "-1", "+1", "1.5", "1k", "0x10", "1 ", " 1", "9223372036854775808", "18446744073709551616", "ten"};

	(void)state;
	check_number("undo-days", CONF_undo_days, "0", 0);
	check_number("recipients", CONF_recipients, "007", 7);
	check_number("recipients", CONF_recipients, "1000", 1000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_wrong("recipients", wrong[i], "is not a number");
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {{"0", 0}, {"1", 1}, {"512", 512}, {"1K", 1024}, {"10M", 10 << 20}, {"5G", UINT64_C(5) << 30}, {"2T", UINT64_C(2) << 40},
	    {"8388607T", UINT64_C(8388607) << 40}};
	static const char *const wrong[] = {"", "K", "1k", "1KB", "1 K", "-1K", "1.5G", "8388608T", "9223372036854775808", "5d", "99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_number("quota", CONF_quota, rows[i].text, rows[i].bytes);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_wrong("quota", wrong[i], "is not a size such as 500K, 10M or 5G");
}

static void times(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows[] = {{"0s", 0}, {"1ms", 1}, {"250ms", 250}, {"30s", 30000}, {"5m", 300000}, {"4h", 14400000}, {"5d", 432000000}, {"2w", 1209600000}, {"0ms", 0}};
	static const char *const wrong[] = {"", "5", "s", "5 s", "5M", "5y", "1.5h", "-1s", "5ss", "9223372036854775807d"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_number("queue-warn-after", CONF_queue_warn_after, rows[i].text, rows[i].ms);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_wrong("queue-warn-after", wrong[i], "is not a time such as 30s, 5m, 4h or 5d");
}

static void yes_and_no(void **state)
{
	static const char *const yes[] = {"yes", "on", "true"}, *const no[] = {"no", "off", "false"}, *const wrong[] = {"", "y", "Yes", "1", "0", "maybe"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		check_number("plus-addressing", CONF_plus_addressing, yes[i], 1);
		check_number("plus-addressing", CONF_plus_addressing, no[i], 0);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_wrong("plus-addressing", wrong[i], "is neither yes nor no");
}

static void lists_of_words(void **state)
{
	static const char values[] = "is none of: EXTERNAL | SCRAM-SHA-256-PLUS | SCRAM-SHA-256 | SCRAM-SHA-1-PLUS | SCRAM-SHA-1 | PLAIN | LOGIN | OAUTHBEARER | XOAUTH2";
	static const char *const right[] = {"PLAIN", "LOGIN PLAIN", "SCRAM-SHA-256-PLUS  SCRAM-SHA-256 "};
	static const struct {
		const char *text, *item;
	} wrong[] = {{"", ""}, {" ", ""}, {"PLAIN plain", "plain"}, {"CRAM-MD5 PLAIN", "CRAM-MD5"}, {"PLAIN,LOGIN", "PLAIN,LOGIN"}, {"SCRAM-SHA", "SCRAM-SHA"}, {"|", "|"}};
	char error[ERR_TEXT_MAX], want[ERR_TEXT_MAX];
	struct conf *conf;

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		assert_true(parse("sasl-mechanisms", right[i], &conf, error, sizeof(error)));
		conf_free(&conf);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(want, sizeof(want), "sasl-mechanisms: '%s' %s", wrong[i].item, values);
		assert_false(parse("sasl-mechanisms", wrong[i].text, &conf, error, sizeof(error)));
		assert_string_equal(error, want);
	}
}

static bool inside(const char *networks, const char *address)
{
	char error[ERR_TEXT_MAX];
	struct conf *conf;
	bool is;

	if (!parse("unlimited-from", networks, &conf, error, sizeof(error)))
		fail_msg("%s", error);
	is = conf_in_networks(conf, CONF_unlimited_from, NULL, span_str(address));
	conf_free(&conf);
	return is;
}

static void networks(void **state)
{
	static const struct {
		const char *networks, *address;
		bool inside;
	} rows[] = {{"192.0.2.1", "192.0.2.1", true}, {"192.0.2.1", "192.0.2.2", false}, {"192.0.2.0/24", "192.0.2.255", true},
	    {"192.0.2.0/24", "192.0.3.0", false}, {"192.0.2.8/29", "192.0.2.15", true}, {"192.0.2.8/29", "192.0.2.16", false},
	    {"192.0.2.9/29", "192.0.2.8", true}, /* what is written past the length does not count */
	    {"0.0.0.0/0", "255.255.255.255", true}, {"0.0.0.0/0", "::1", false}, {"192.0.2.1/32", "192.0.2.1", true},
	    {"2001:db8::/32", "2001:db8:ffff::1", true}, {"2001:db8::/32", "2001:db9::1", false}, {"2001:db8::/33", "2001:db8:8000::1", false},
	    {"::1", "::1", true}, {"::1", "127.0.0.1", false}, {"::/0", "2001:db8::1", true},
	    /* An IPv4 client may show as a mapped address. */
	    {"192.0.2.0/24", "::ffff:192.0.2.7", true}, {"::ffff:192.0.2.0/120", "192.0.2.7", true},
	    {"10.0.0.0/8  192.0.2.1 ::1", "::1", true}, {"10.0.0.0/8 192.0.2.1", "10.255.0.1", true}, {"10.0.0.0/8 192.0.2.1", "11.0.0.1", false},
	    {"", "192.0.2.1", false}, {"192.0.2.0/24", "no address", false}, {"192.0.2.0/24", "", false}, {"0.0.0.0/0", "local", false},
	    {"0.0.0.0/0", "0000000000000000000000000000000000000000000000000000000000000000001", false}};
	static const char *const wrong[] = {"192.0.2", "192.0.2.256", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "192.0.2.0/24/8", "2001:db8::/129",
	    "localhost", "1:2", "/8", "192.0.2.1,192.0.2.2", "::1%lo"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (inside(rows[i].networks, rows[i].address) != rows[i].inside)
			fail_msg("%s in %s", rows[i].address, rows[i].networks);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_wrong("unlimited-from", wrong[i], "is not an address or a network such as 192.0.2.0/24");
}

static void a_list_of_networks_has_an_end(void **state)
{
	char list[8192] = "", error[ERR_TEXT_MAX];
	struct conf *conf;

	(void)state;
	for (size_t i = 0; i < 1024; i++)
		memcpy(list + 3 * i, ":: ", 3);
	list[3 * 1024 - 1] = '\0';
	assert_true(parse("unlimited-from", list, &conf, error, sizeof(error)));
	conf_free(&conf);
	strcat(list, " ::");
	assert_false(parse("unlimited-from", list, &conf, error, sizeof(error)));
	assert_string_equal(error, "unlimited-from: more than 1024 networks");
}

static void servers(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
	} right[] = {{"192.0.2.1", "192.0.2.1", 53}, {"192.0.2.1:5353", "192.0.2.1", 5353}, {"2001:db8::1", "2001:db8::1", 53},
	    {"[2001:db8::1]", "2001:db8::1", 53}, {"[2001:db8::1]:5353", "2001:db8::1", 5353}, {"::1", "::1", 53}};
	static const char *const wrong[] = {"", "ns.example.org", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:x", "192.0.2.1@53", "[::1", "[::1]53", "[]",
	    "::1]:53", "192.0.2.256", "[", ":", ":53", "fe80::1%eth0"};
	struct conf_server server;
	struct span zone;

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		if (!conf_server_parse(span_str(right[i].text), 53, &server))
			fail_msg("refused: %s", right[i].text);
		assert_string_equal(server.host, right[i].host);
		assert_int_equal(server.port, right[i].port);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (conf_server_parse(span_str(wrong[i]), 53, &server))
			fail_msg("accepted: %s", wrong[i]);
	assert_true(conf_zone_server_parse(SPAN_LIT("corp.example=[::1]:5353"), &zone, &server));
	assert_span_equal(zone, "corp.example");
	assert_int_equal(server.port, 5353);
	assert_false(conf_zone_server_parse(SPAN_LIT("corp.example"), &zone, &server));
	assert_false(conf_zone_server_parse(SPAN_LIT("=192.0.2.1"), &zone, &server));
	assert_false(conf_zone_server_parse(SPAN_LIT("a..b=192.0.2.1"), &zone, &server));
}

/* Of as many words as there are, in a block of one line up to the next setting. */
static void lists(void **state)
{
	struct conf *conf;
	struct span list, item;
	struct err err;

	(void)state;
	assert_int_equal(conf_parse(SPAN_LIT("config-version 1\nresolver 192.0.2.1   ::1\nresolver-insecure a.example\n"), "c", &conf, &err), 0);
	list = conf_text(conf, CONF_resolver, NULL);
	assert_true(conf_list_next(&list, &item));
	assert_span_equal(item, "192.0.2.1");
	assert_true(conf_list_next(&list, &item));
	assert_span_equal(item, "::1");
	assert_false(conf_list_next(&list, &item));
	list = conf_text(conf, CONF_resolver_zones, NULL);
	assert_false(conf_list_next(&list, &item));
	list = SPAN_LIT("  a ");
	assert_true(conf_list_next(&list, &item));
	assert_span_equal(item, "a");
	assert_false(conf_list_next(&list, &item));
	conf_free(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(times),
	    cmocka_unit_test(yes_and_no),
	    cmocka_unit_test(lists_of_words),
	    cmocka_unit_test(networks),
	    cmocka_unit_test(a_list_of_networks_has_an_end),
	    cmocka_unit_test(servers),
	    cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
