/* Of several addresses the one that answers, however the others fail. */
#include "tests/unit/test.h"

#include "base/clock.h"
#include "net/connect.h"
#include "relay/dial.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLACK_MS = 50 /* the loop's clock goes in ticks */ };

static struct event_base *base;
static struct err seen;
static int got, calls;
static size_t which;

static void on_done(void *arg, int fd, size_t w, const struct err *why)
{
	(void)arg;
	got = fd;
	which = w;
	seen = *why;
	calls++;
}

static struct dial_address at(const char *text, uint16_t port)
{
	struct dial_address a = {0};
	struct sockaddr_in *v4 = (void *)&a.to;

	v4->sin_family = AF_INET;
	assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
	connect_port(&a.to, port);
	return a;
}

static int listen_at(const char *text, uint16_t *port)
{
	struct dial_address a = at(text, *port);
	socklen_t len = sizeof(a.to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (void *)&a.to, sizeof(struct sockaddr_in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	getsockname(fd, (void *)&a.to, &len);
	*port = ntohs(((struct sockaddr_in *)(void *)&a.to)->sin_port);
	return fd;
}

static void dial(const struct dial_address *addresses, size_t count)
{
	calls = 0;
	assert_non_null(dial_begin(base, addresses, count, on_done, NULL));
	assert_int_equal(calls, 0);
	event_base_dispatch(base);
	assert_int_equal(calls, 1);
}

static void refusals_lead_on_at_once(void **state)
{
	uint16_t port = 0;
	int fd = listen_at("127.0.0.3", &port);
	struct dial_address addresses[] = {at("127.0.0.8", port), at("127.0.0.9", port), at("127.0.0.3", port)};
	int64_t took = DIAL_STAGGER_MS;

	(void)state;
	for (int tries = 0; tries < 5 && took >= DIAL_STAGGER_MS; tries++) { /* the machine may have stood still */
		int64_t began = clock_monotonic_ms();

		dial(addresses, 3);
		took = clock_monotonic_ms() - began;
		assert_true(got >= 0);
		assert_int_equal(which, 2);
		close(got);
	}
	assert_true(took < DIAL_STAGGER_MS);
	dial(addresses, 2);
	assert_int_equal(got, -1);
	assert_int_equal(seen.code, E_CLOSED);
	close(fd);
}

/* The first takes no connection and says nothing, as a broken IPv6 does: it costs a moment, not its time-out. */
static void silence_costs_a_moment(void **state)
{
	uint16_t port = 0;
	int silent = listen_at("127.0.0.4", &port), fd = listen_at("127.0.0.3", &port), held[8];
	struct dial_address addresses[] = {at("127.0.0.4", port), at("127.0.0.3", port)};
	int64_t began;

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		held[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(held[i], (void *)&addresses[0].to, sizeof(struct sockaddr_in));
	}
	began = clock_monotonic_ms();
	dial(addresses, 2);
	assert_true(got >= 0);
	assert_int_equal(which, 1);
	assert_true(clock_monotonic_ms() - began >= DIAL_STAGGER_MS - SLACK_MS && clock_monotonic_ms() - began < DIAL_CONNECT_MS / 2);
	close(got);
	for (size_t i = 0; i < 8; i++)
		close(held[i]);
	close(silent);
	close(fd);
}

static void one_that_is_given_up_says_nothing(void **state)
{
	uint16_t port = 0;
	int fd = listen_at("127.0.0.3", &port);
	struct dial_address address = at("127.0.0.3", port);
	struct dial *d = dial_begin(base, &address, 1, on_done, NULL);

	(void)state;
	calls = 0;
	dial_cancel(&d);
	assert_null(d);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refusals_lead_on_at_once),
	    cmocka_unit_test(silence_costs_a_moment),
	    cmocka_unit_test(one_that_is_given_up_says_nothing),
	};
	int r;

	base = event_base_new();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return r;
}
