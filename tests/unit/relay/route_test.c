/* Which hosts take mail for a domain, in which order, and what it means when nobody does. */
#include "tests/unit/relay/fake_dns.h"

#include "net/connect.h"
#include "relay/route.h"

#include <event2/event.h>

static const struct fake_row rows[] = {
    {"two.test", DNS_MX, "20 b.test", true}, {"two.test", DNS_MX, "10 a.test", true},
    {"a.test", DNS_A, "192.0.2.1", true}, {"a.test", DNS_AAAA, "2001:db8::1", true},
    {"b.test", DNS_A, "192.0.2.2", false}, {"b.test", DNS_AAAA, "", false},
    {"implicit.test", DNS_MX, "", true}, {"implicit.test", DNS_A, "192.0.2.3", false}, {"implicit.test", DNS_AAAA, "", false},
    {"null.test", DNS_MX, "0 .", false},
    {"notnull.test", DNS_MX, "0 .", false}, {"notnull.test", DNS_MX, "10 b.test", false},
    {"servfail.test", DNS_MX, "servfail", false}, {"bogus.test", DNS_MX, "bogus", false}, {"timeout.test", DNS_MX, "timeout", false},
    {"empty.test", DNS_MX, "", false}, {"empty.test", DNS_A, "", false}, {"empty.test", DNS_AAAA, "", false},
    {"nobody.test", DNS_MX, "10 gone.test", false}, {"nobody.test", DNS_MX, "20 empty.test", false},
    {"unsure.test", DNS_MX, "10 gone.test", false}, {"unsure.test", DNS_MX, "20 late.test", false},
    {"late.test", DNS_A, "servfail", false}, {"late.test", DNS_AAAA, "", false},
    {"half.test", DNS_MX, "10 late.test", false}, {"half.test", DNS_MX, "20 b.test", false},
    {"forged.test", DNS_MX, "10 forgedhost.test", true}, {"forgedhost.test", DNS_A, "bogus", false}, {"forgedhost.test", DNS_AAAA, "", false},
    {"backup.test", DNS_MX, "10 a.test", false}, {"backup.test", DNS_MX, "20 Mail.Own.Test", false}, {"backup.test", DNS_MX, "20 b.test", false}, {"backup.test", DNS_MX, "30 b.test", false},
    {"mail.own.test", DNS_A, "198.51.100.9", false},
    {"ours.test", DNS_MX, "10 mail.own.test", false}, {"ours.test", DNS_MX, "20 a.test", false},
    {"alias.test", DNS_MX, "10 other.test", false}, {"other.test", DNS_A, "198.51.100.1", false},
    {"points.test", DNS_MX, "", false}, {"points.test", DNS_A, "198.51.100.1", false},
    {"many.test", DNS_A, "192.0.2.1", false}, {"many.test", DNS_A, "192.0.2.2", false}, {"many.test", DNS_A, "192.0.2.3", false}, {"many.test", DNS_A, "192.0.2.4", false},
    {"many.test", DNS_A, "192.0.2.5", false}, {"many.test", DNS_A, "192.0.2.6", false}, {"many.test", DNS_MX, "", false}, {"many.test", DNS_AAAA, "2001:db8::1", false},
    {"many.test", DNS_AAAA, "2001:db8::2", false},
    {0}};

static struct event_base *base;
static struct fake_dns fake;
static char order[1024]; /* "a.test 2001:db8::1 192.0.2.1, b.test …" */
static struct err seen;
static bool secure, from_mx;
static int calls;

static void on_done(void *arg, struct route *route, const struct err *why)
{
	char one[INET6_ADDRSTRLEN];

	(void)arg;
	calls++;
	seen = *why;
	order[0] = '\0';
	for (size_t i = 0; route != NULL && i < route->count; i++) {
		strcat(order, i > 0 ? ", " : "");
		strcat(order, route->hosts[i].name);
		for (size_t k = 0; k < route->hosts[i].address_count; k++) {
			connect_text(&route->hosts[i].addresses[k], one);
			strcat(strcat(order, " "), one);
		}
	}
	secure = route != NULL && route->secure;
	from_mx = route != NULL && route->from_mx;
	route_free(&route);
	event_base_loopbreak(base);
}

/* 198.51.100.1 is ours. */
static bool is_ours(void *arg, const struct sockaddr_storage *address)
{
	char text[INET6_ADDRSTRLEN];

	(void)arg;
	connect_text(address, text);
	return strcmp(text, "198.51.100.1") == 0;
}

static const struct route_self self = {{"mail.own.test", 13}, is_ours, NULL};

static const char *find_with(const char *domain, bool fixed, uint32_t seed)
{
	struct route_request request = {.dns = fake.dns, .domain = span_str(domain), .fixed = fixed, .self = &self, .seed = seed, .done = on_done};

	calls = 0;
	assert_non_null(route_find(base, &request));
	assert_int_equal(calls, 0);
	event_base_dispatch(base);
	assert_int_equal(calls, 1);
	return order;
}

static const char *find(const char *domain)
{
	return find_with(domain, false, 1);
}

static void hosts_by_preference(void **state)
{
	(void)state;
	assert_string_equal(find("two.test"), "a.test 2001:db8::1 192.0.2.1, b.test 192.0.2.2");
	assert_true(secure && from_mx);
	assert_string_equal(find("notnull.test"), "b.test 192.0.2.2");
	assert_false(secure);
	assert_string_equal(find("half.test"), "b.test 192.0.2.2");
	/* Both families in turn, and not more of one than half the places. */
	assert_string_equal(find("many.test"), "many.test 2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3 192.0.2.4");
}

static void without_mx_the_domain_is_the_host(void **state)
{
	(void)state;
	assert_string_equal(find("implicit.test"), "implicit.test 192.0.2.3");
	assert_true(secure);
	assert_false(from_mx);
}

/* Among equals the order changes: all are first some time. */
static void equals_share_the_load(void **state)
{
	static const struct fake_row equals[] = {{"eq.test", DNS_MX, "10 a.test", false}, {"eq.test", DNS_MX, "10 b.test", false}, {"eq.test", DNS_MX, "10 c.test", false},
	    {"eq.test", DNS_MX, "5 d.test", false}, {"a.test", DNS_A, "192.0.2.1", false}, {"b.test", DNS_A, "192.0.2.2", false}, {"c.test", DNS_A, "192.0.2.3", false},
	    {"d.test", DNS_A, "192.0.2.4", false}, {0}};
	unsigned second[3] = {0};

	(void)state;
	fake.rows = equals;
	for (uint32_t seed = 0; seed < 300; seed++) {
		find_with("eq.test", false, seed * 2654435761U);
		assert_memory_equal(order, "d.test 192.0.2.4, ", 18);
		second[order[18] - 'a']++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_true(second[i] > 50);
	fake.rows = rows;
}

static void nobody_takes_it(void **state)
{
	static const struct {
		const char *domain;
		int code;
		const char *text;
	} table[] = {
	    {"null.test", E_CANNOT, "5.1.10 null.test takes no mail: its MX record says so"},
	    {"nothing.test", E_NOTFOUND, "5.1.2 there is no domain nothing.test"},
	    {"servfail.test", E_UNAVAILABLE, "4.4.3 the mail hosts of servfail.test cannot be told now: SERVFAIL"},
	    {"timeout.test", E_UNAVAILABLE, "4.4.3 the mail hosts of timeout.test cannot be told now: nobody answers"},
	    {"bogus.test", E_UNAVAILABLE, "4.7.5 the mail hosts of bogus.test cannot be believed, DNSSEC: a signature is wrong"},
	    {"empty.test", E_CANNOT, "5.4.4 empty.test has neither mail hosts (MX) nor an address"},
	    {"nobody.test", E_CANNOT, "5.4.4 none of the mail hosts of nobody.test has an address"},
	    {"unsure.test", E_UNAVAILABLE, "4.4.3 the address of late.test cannot be told now: SERVFAIL"},
	    {"forged.test", E_UNAVAILABLE, "4.4.3 the address of forgedhost.test cannot be told now: a signature is wrong"},
	    {"", E_CANNOT, "5.1.2  is no domain"},
	    {"[192.0.2.999]", E_CANNOT, "5.1.2 [192.0.2.999] is no domain"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_string_equal(find(table[i].domain), "");
		if (seen.code != table[i].code || strncmp(seen.text, table[i].text, strlen(table[i].text)) != 0)
			fail_msg("%s: %d %s", table[i].domain, seen.code, seen.text);
	}
}

/* RFC 5321 section 5.1: neither ourselves nor who is no better. */
static void this_server_is_none_of_them(void **state)
{
	(void)state;
	assert_string_equal(find("backup.test"), "a.test 2001:db8::1 192.0.2.1");
	for (const char *const *d = (const char *const[]){"ours.test", "alias.test", "points.test", "[198.51.100.1]", NULL}; *d != NULL; d++) {
		assert_string_equal(find(*d), "");
		assert_int_equal(seen.code, E_LOOP);
		assert_memory_equal(seen.text, "5.4.6 ", 6);
	}
}

static void literals_and_hosts_that_are_set(void **state)
{
	(void)state;
	assert_string_equal(find("[192.0.2.7]"), "192.0.2.7 192.0.2.7");
	assert_string_equal(find("[IPv6:2001:db8::7]"), "2001:db8::7 2001:db8::7");
	/* No MX is asked for, and it may be this machine. */
	assert_string_equal(find_with("two.test", true, 1), "");
	assert_int_equal(seen.code, E_UNAVAILABLE); /* a slip in the configuration gives no mail back */
	assert_string_equal(find_with("other.test", true, 1), "other.test 198.51.100.1");
	assert_string_equal(find_with("198.51.100.1", true, 1), "198.51.100.1 198.51.100.1");
	assert_string_equal(find_with("2001:db8::1", true, 1), "2001:db8::1 2001:db8::1");
}

static void one_that_is_given_up_says_nothing(void **state)
{
	struct route_request request = {.dns = fake.dns, .domain = SPAN_LIT("two.test"), .self = &self, .done = on_done};
	struct route_finder *finder = route_find(base, &request);

	(void)state;
	calls = 0;
	route_cancel(&finder);
	route_cancel(&finder);
	for (int i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_by_preference),
	    cmocka_unit_test(without_mx_the_domain_is_the_host),
	    cmocka_unit_test(equals_share_the_load),
	    cmocka_unit_test(nobody_takes_it),
	    cmocka_unit_test(this_server_is_none_of_them),
	    cmocka_unit_test(literals_and_hosts_that_are_set),
	    cmocka_unit_test(one_that_is_given_up_says_nothing),
	};
	int r;

	base = event_base_new();
	fake_dns_begin(&fake, base, rows);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fake_dns_end(&fake);
	event_base_free(base);
	return r;
}
