/* Accepting, the text of addresses, and the pause when descriptors run out. */
#include "tests/unit/test.h"

#include "base/clock.h"
#include "net/listener.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

static struct event_base *base;
static struct sockaddr_in address;
static int listening;
static int accepted, last_fd;
static char last_peer[LISTENER_PEER_TEXT];

static void on_accepted(void *arg, int fd, const struct sockaddr_storage *from, const char *peer)
{
	assert_ptr_equal(arg, &accepted);
	accepted++;
	if (last_fd >= 0)
		close(last_fd);
	last_fd = fd;
	snprintf(last_peer, sizeof(last_peer), "%s", peer);
	assert_true(from->ss_family == AF_INET || from->ss_family == AF_UNIX);
}

static int setup(void **state)
{
	socklen_t len = sizeof(address);

	(void)state;
	base = event_base_new();
	accepted = 0;
	last_fd = -1;
	listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return bind(listening, (struct sockaddr *)&address, len) != 0 || listen(listening, 128) != 0 ||
	       getsockname(listening, (struct sockaddr *)&address, &len) != 0;
}

static int teardown(void **state)
{
	(void)state;
	if (last_fd >= 0)
		close(last_fd);
	close(listening);
	event_base_free(base);
	return 0;
}

static int connect_once(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void clients_are_accepted(void **state)
{
	struct listener *listener = listener_new(base, listening, on_accepted, &accepted);
	int client = connect_once(), on = 0;
	socklen_t len = sizeof(on);

	(void)state;
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(accepted, 1);
	assert_string_equal(last_peer, "127.0.0.1");
	assert_true(fcntl(last_fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(last_fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(last_fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_true(on);
	assert_int_equal(write(client, "x", 1), 1);
	close(client);
	/* Freed: nobody is accepted any more, and the socket is still the caller's. */
	listener_free(&listener);
	assert_null(listener);
	listener_free(&listener);
	client = connect_once();
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(accepted, 1);
	assert_true(fcntl(listening, F_GETFD) >= 0);
	close(client);
}

static void on_accepted_slowly(void *arg, int fd, const struct sockaddr_storage *from, const char *peer)
{
	usleep(200);
	on_accepted(arg, fd, from, peer);
}

/* Others get their turn between two bursts; what costs little need not wait for it. */
static void many_are_accepted_in_bursts(void **state)
{
	struct listener *listener = listener_new(base, listening, on_accepted_slowly, &accepted);
	int clients[100];

	(void)state;
	for (size_t i = 0; i < 100; i++)
		clients[i] = connect_once();
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(accepted, 64);
	while (accepted < 100)
		event_base_loop(base, EVLOOP_ONCE);
	for (size_t i = 0; i < 100; i++)
		close(clients[i]);
	listener_free(&listener);
}

/* Without descriptors a client waits; the loop does not spin, and the client is taken when there is one again. */
static void it_pauses_without_descriptors(void **state)
{
	struct listener *listener = listener_new(base, listening, on_accepted, &accepted);
	int client = connect_once(), next = dup(client);
	struct rlimit before, none;
	int64_t start = clock_monotonic_ms();

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(accepted, 0);
	for (int i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(accepted, 0);
	while (accepted == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(clock_monotonic_ms() - start >= 150);
	close(client);
	listener_free(&listener);
}

static void a_local_socket_has_no_address(void **state)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX};
	struct listener *listener;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len;

	(void)state;
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			  (size_t)snprintf(path.sun_path + 1, sizeof(path.sun_path) - 1, "listener-test-%d", (int)getpid()));
	assert_int_equal(bind(fd, (struct sockaddr *)&path, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	listener = listener_new(base, fd, on_accepted, &accepted);
	assert_int_equal(connect(client, (struct sockaddr *)&path, len), 0);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(accepted, 1);
	assert_string_equal(last_peer, "local");
	listener_free(&listener);
	close(fd);
	close(client);
}

static void addresses_as_text(void **state)
{
	static const char *const rows[][2] = {{"192.0.2.1", "192.0.2.1"}, {"2001:db8::1", "2001:db8::1"}, {"::ffff:192.0.2.1", "192.0.2.1"}, {"::1", "::1"},
	    {"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"}, {"::", "::"}, {"::192.0.2.1", "::192.0.2.1"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_storage storage = {0};
		char text[LISTENER_PEER_TEXT];

		storage.ss_family = strchr(rows[i][0], ':') ? AF_INET6 : AF_INET;
		if (storage.ss_family == AF_INET6)
			assert_int_equal(inet_pton(AF_INET6, rows[i][0], &((struct sockaddr_in6 *)(void *)&storage)->sin6_addr), 1);
		else
			assert_int_equal(inet_pton(AF_INET, rows[i][0], &((struct sockaddr_in *)(void *)&storage)->sin_addr), 1);
		listener_peer_text(&storage, text);
		assert_string_equal(text, rows[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(clients_are_accepted, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_are_accepted_in_bursts, setup, teardown),
	    cmocka_unit_test_setup_teardown(it_pauses_without_descriptors, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_local_socket_has_no_address, setup, teardown),
	    cmocka_unit_test(addresses_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
