/* Connections to others: made, refused, given up. */
#include "tests/unit/test.h"

#include "net/connect.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

static struct event_base *base;
static struct err seen;
static int got;
static unsigned calls;

static void on_done(void *arg, int fd, const struct err *why)
{
	(void)arg;
	got = fd;
	seen = *why;
	calls++;
	event_base_loopbreak(base);
}

static struct sockaddr_storage loopback(uint16_t port)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in *v4 = (void *)&s;

	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connect_port(&s, port);
	return s;
}

/* A port that nobody else gets while fd is open, and that listens when fd does. */
static uint16_t port_bound(int *fd)
{
	struct sockaddr_storage s = loopback(0);
	socklen_t len = sizeof(s);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (void *)&s, sizeof(struct sockaddr_in)), 0);
	getsockname(*fd, (void *)&s, &len);
	return ntohs(((struct sockaddr_in *)(void *)&s)->sin_port);
}

static uint16_t port_of(int *fd)
{
	uint16_t port = port_bound(fd);

	assert_int_equal(listen(*fd, 1), 0);
	return port;
}

static void try(uint16_t port, const struct sockaddr_storage *from)
{
	struct sockaddr_storage to = loopback(port);

	calls = 0;
	assert_non_null(connect_begin(base, &to, from, 5000, on_done, NULL));
	assert_int_equal(calls, 0);
	event_base_dispatch(base);
	assert_int_equal(calls, 1);
}

static void it_is_made_from_the_address_that_is_asked_for(void **state)
{
	struct sockaddr_storage from = loopback(0), peer;
	socklen_t len = sizeof(peer);
	char text[INET6_ADDRSTRLEN];
	int listener, fd;
	uint16_t port = port_of(&listener);

	(void)state;
	assert_int_equal(inet_pton(AF_INET, "127.0.0.77", &((struct sockaddr_in *)(void *)&from)->sin_addr), 1);
	try(port, &from);
	assert_true(got >= 0);
	fd = accept(listener, (void *)&peer, &len);
	assert_true(fd >= 0);
	connect_text(&peer, text);
	assert_string_equal(text, "127.0.0.77");
	close(fd);
	close(got);
	close(listener);
}

static void why_it_is_not_made(void **state)
{
	struct sockaddr_storage from = loopback(0);
	int mute;
	uint16_t port = port_bound(&mute);

	(void)state;
	try(port, NULL);
	assert_int_equal(got, -1);
	assert_int_equal(seen.code, E_CLOSED);
	assert_string_equal(seen.text, "Connection refused");
	inet_pton(AF_INET, "192.0.2.1", &((struct sockaddr_in *)(void *)&from)->sin_addr); /* none of ours */
	try(port, &from);
	assert_int_equal(got, -1);
	assert_int_equal(seen.code, E_IO);
	close(mute);
}

/* A listener whose backlog is full takes no more: nobody answers. */
static void it_has_its_time(void **state)
{
	int listener, held[8];
	uint16_t port = port_of(&listener);
	struct sockaddr_storage to = loopback(port);

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		held[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(held[i], (void *)&to, sizeof(struct sockaddr_in));
	}
	calls = 0;
	assert_non_null(connect_begin(base, &to, NULL, 50, on_done, NULL));
	event_base_dispatch(base);
	assert_int_equal(calls, 1);
	assert_int_equal(got, -1);
	assert_int_equal(seen.code, E_TIMEOUT);
	for (size_t i = 0; i < 8; i++)
		close(held[i]);
	close(listener);
}

static void one_that_is_given_up_says_nothing(void **state)
{
	int listener;
	struct sockaddr_storage to = loopback(port_of(&listener));
	struct connecting *c = connect_begin(base, &to, NULL, 5000, on_done, NULL);

	(void)state;
	calls = 0;
	connect_cancel(&c);
	assert_null(c);
	connect_cancel(&c);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 0);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_made_from_the_address_that_is_asked_for),
	    cmocka_unit_test(why_it_is_not_made),
	    cmocka_unit_test(it_has_its_time),
	    cmocka_unit_test(one_that_is_given_up_says_nothing),
	};
	int r;

	base = event_base_new();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return r;
}
