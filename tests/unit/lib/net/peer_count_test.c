/* Connections counted by address. */
#include "tests/unit/test.h"

#include "net/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage out = {0};
	struct sockaddr_in *v4 = (void *)&out;
	struct sockaddr_in6 *v6 = (void *)&out;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
		v6->sin6_family = AF_INET6;
	}
	return out;
}

static void limits_hold_for_one_address(void **state)
{
	struct peer_count *count = peer_count_new();
	struct sockaddr_storage a = address("192.0.2.1"), b = address("192.0.2.2");

	(void)state;
	assert_true(peer_count_enter(count, &a, 2) && peer_count_enter(count, &a, 2));
	assert_false(peer_count_enter(count, &a, 2));
	assert_true(peer_count_enter(count, &b, 2));
	peer_count_leave(count, &a);
	assert_true(peer_count_enter(count, &a, 2));
	peer_count_free(&count);
}

static void a_network_of_ipv6_is_one(void **state)
{
	struct peer_count *count = peer_count_new();
	struct sockaddr_storage a = address("2001:db8:1:2::1"), b = address("2001:db8:1:2:ffff::9"), c = address("2001:db8:1:3::1");

	(void)state;
	assert_true(peer_count_enter(count, &a, 1));
	assert_false(peer_count_enter(count, &b, 1));
	assert_true(peer_count_enter(count, &c, 1));
	peer_count_free(&count);
}

static void addresses_as_text(void **state)
{
	struct sockaddr_storage mapped = address("::ffff:192.0.2.7"), six = address("2001:db8::1");
	char text[LISTENER_PEER_TEXT];

	(void)state;
	listener_peer_text(&mapped, text);
	assert_string_equal(text, "192.0.2.7");
	listener_peer_text(&six, text);
	assert_string_equal(text, "2001:db8::1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(limits_hold_for_one_address), cmocka_unit_test(a_network_of_ipv6_is_one),
	    cmocka_unit_test(addresses_as_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
