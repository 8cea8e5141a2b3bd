/* A connection on one end of a socket pair, and a plain client at the other: what conn_test.c is made with. */
#ifndef MW_TESTS_CONN_FIXTURE_H
#define MW_TESTS_CONN_FIXTURE_H

#include "tests/unit/lib/tls/fixture.h"

#include "base/buf.h"
#include "base/clock.h"
#include "net/conn.h"

#include <event2/event.h>

static struct event_base *base;
static struct conn *conn;
static int client; /* the other end */

/* What the callbacks saw, and what they do when they are called. */
static struct seen {
	char input[200000];
	size_t input_len;
	int inputs, drained, tls_calls, closed_calls;
	int tls_code, closed_code;
	char closed_text[ERR_TEXT_MAX];
	enum { TAKE_ALL, TAKE_NOTHING, TAKE_ONE, ECHO, FREE, FINISH, RESUME_TWICE, PAUSE, START_TLS } on_input;
	bool free_on_drained, free_on_tls;
	struct tls_context *context;
} seen;

static void answer(struct conn *c, struct span bytes)
{
	buf_add_span(conn_output(c), bytes);
	conn_flush(c);
}

static void on_input(void *arg, struct conn *c)
{
	struct span in = conn_input(c);

	assert_ptr_equal(arg, &seen);
	seen.inputs++;
	switch (seen.on_input) {
	case TAKE_NOTHING:
		return;
	case TAKE_ONE:
		in.len = 1;
		break;
	case RESUME_TWICE:
		in.len = in.len > 1 ? 1 : in.len;
		if (seen.inputs < 3)
			conn_resume(c);
		break;
	case ECHO:
		answer(c, in);
		answer(c, SPAN_LIT("!"));
		assert_true(conn_output_len(c) > 0); /* it goes out when the callback returns */
		break;
	case FREE:
		answer(c, SPAN_LIT("lost"));
		conn_free(&conn);
		return;
	case FINISH:
		answer(c, SPAN_LIT("bye\r\n"));
		conn_finish(c);
		return;
	case PAUSE:
		conn_pause(c, true);
		break;
	case START_TLS:
		answer(c, SPAN_LIT("220 go\r\n"));
		assert_int_equal(conn_start_tls(c, seen.context), 0);
		assert_int_equal(conn_input(c).len, 0);
		seen.on_input = TAKE_ALL;
		return;
	case TAKE_ALL:
		break;
	}
	assert_true(seen.input_len + in.len <= sizeof(seen.input));
	memcpy(seen.input + seen.input_len, in.ptr, in.len);
	seen.input_len += in.len;
	conn_consume(c, in.len);
}

static void on_closed(void *arg, struct conn *c, const struct err *why)
{
	assert_ptr_equal(arg, &seen);
	assert_ptr_equal(c, conn);
	seen.closed_calls++;
	seen.closed_code = why->code;
	snprintf(seen.closed_text, sizeof(seen.closed_text), "%s", why->text);
	conn_free(&conn);
}

static void on_drained(void *arg, struct conn *c)
{
	(void)arg;
	(void)c;
	seen.drained++;
	if (seen.free_on_drained)
		conn_free(&conn);
}

static void on_tls(void *arg, struct conn *c, int code, const struct err *why)
{
	(void)arg;
	seen.tls_calls++;
	seen.tls_code = code;
	if (code != 0)
		assert_int_equal(why->code, code);
	assert_int_equal(seen.closed_calls, 0); /* closed comes after it */
	assert_true(conn_is_tls(c) || code != 0);
	if (seen.free_on_tls)
		conn_free(&conn);
}

static const struct conn_callbacks callbacks = {on_input, on_closed, on_drained, on_tls};

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void turns(int n)
{
	while (n-- > 0)
		turn();
}

static int setup(void **state)
{
	int fds[2];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	base = event_base_new();
	client = fds[1];
	conn = conn_new(base, fds[0], "192.0.2.1", &callbacks, &seen);
	assert_non_null(conn);
	fcntl(client, F_SETFL, O_NONBLOCK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	conn_free(&conn);
	assert_null(conn);
	event_base_free(base);
	close(client);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(write(client, text, strlen(text)), strlen(text));
}

/* What the client has got so far; "" for nothing, NULL at the end of the connection. */
static const char *got(void)
{
	static char text[4096];
	ssize_t n = read(client, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return n == 0 ? NULL : text;
}

static void assert_input(const char *text)
{
	assert_int_equal(seen.input_len, strlen(text));
	assert_memory_equal(seen.input, text, strlen(text));
	seen.input_len = 0;
}

#endif
