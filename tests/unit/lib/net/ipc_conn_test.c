/* Channels between daemons on the loop: messages in, messages out, full sockets, bad peers. */
#include "tests/unit/test.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct event_base *base;
static struct ipc_conn *conn; /* of the queue service */
static int client;
static char buffer[IPC_MESSAGE_MAX];

static struct seen {
	int messages, closed;
	uint32_t id;
	int fd;
	int result; /* what the callback returns */
	bool free_it;
	uint32_t answers; /* to each message */
} seen;

static int on_message(void *arg, struct ipc_conn *c, struct ipc_message *m)
{
	struct queue_committed done = {.text = SPAN_LIT("what was asked, and a hundred octets around it, so that a few of them are more than a socket has room for")};

	assert_ptr_equal(arg, &seen);
	for (uint32_t i = 0; i < seen.answers; i++)
		assert_int_equal(ipc_conn_answer(c, &ipc_queue_committed, m->id, &done, -1), 0);
	seen.messages++;
	seen.id = m->id;
	if (seen.fd >= 0)
		close(seen.fd);
	seen.fd = m->fd;
	if (seen.free_it) {
		assert_ptr_equal(c, conn);
		ipc_conn_free(&conn);
	}
	return seen.result;
}

static void on_closed(void *arg, struct ipc_conn *c)
{
	assert_ptr_equal(arg, &seen);
	assert_ptr_equal(c, conn);
	seen.closed++;
	conn = NULL; /* it is freed after this */
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

static int setup(void **state)
{
	struct err err;
	int fds[2];

	(void)state;
	seen = (struct seen){.fd = -1};
	base = event_base_new();
	assert_int_equal(ipc_pair(fds, &err), 0);
	conn = ipc_conn_new(base, fds[0], &ipc_service_queue, TO_SERVICE, &callbacks, &seen);
	assert_non_null(conn);
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	client = fds[1];
	fcntl(client, F_SETFL, O_NONBLOCK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ipc_conn_free(&conn);
	assert_null(conn);
	if (seen.fd >= 0)
		close(seen.fd);
	close(client);
	event_base_free(base);
	return 0;
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void ask(uint32_t id)
{
	struct queue_discard body = {.id = id};

	assert_int_equal(ipc_send(client, &ipc_queue_discard, id, &body, -1), 0);
}

static void messages_arrive_in_order(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= 100; i++)
		ask(i);
	turn();
	assert_int_equal(seen.messages, 100);
	assert_int_equal(seen.id, 100);
	assert_int_equal(seen.closed, 0);
}

static void messages_are_sent_at_once(void **state)
{
	struct queue_committed done = {.id = 5};
	struct ipc_message m;
	struct err err;

	(void)state;
	assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, 9, &done, -1), 0);
	assert_int_equal(ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err), 0);
	assert_int_equal(m.id, 9);
	assert_int_equal(ipc_conn_waiting(conn), 0);
}

static void what_cannot_be_encoded_is_not_sent(void **state)
{
	static char big[70000];
	struct queue_committed done = {.text = span_of(big, sizeof(big))};
	struct ipc_message m;
	struct err err;

	(void)state;
	assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, 9, &done, -1), E_TOOBIG);
	assert_int_equal(ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err), E_AGAIN);
	/* The connection is as good as before. */
	done.text = SPAN_LIT("ok");
	assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, 10, &done, -1), 0);
	assert_int_equal(ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err), 0);
	assert_int_equal(m.id, 10);
}

/* The socket is full: the rest waits, in order, and goes out as the other end reads. */
static void a_full_socket_is_waited_for(void **state)
{
	struct queue_file file = {.id = 1};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uint32_t sent = 0, got = 0;
	struct ipc_message m;
	struct err err;

	(void)state;
	while (ipc_conn_waiting(conn) == 0 && sent < 100000)
		assert_int_equal(ipc_conn_send(conn, &ipc_queue_file, ++sent, &file, null), 0);
	assert_true(ipc_conn_waiting(conn) > 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ipc_conn_send(conn, &ipc_queue_file, ++sent, &file, null), 0);
	close(null); /* those that wait have a duplicate */
	while (got < sent) {
		int r = ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err);

		if (r == E_AGAIN) {
			turn();
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(m.id, ++got);
		assert_true(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
		close(m.fd);
	}
	assert_int_equal(ipc_conn_waiting(conn), 0);
}

static void waiting_has_a_bound(void **state)
{
	struct queue_committed done = {0};
	struct err err;
	struct ipc_message m;
	size_t waiting;
	uint32_t sent = 0, got = 0;
	int r;

	(void)state;
	ipc_conn_wait_max(conn, 1000);
	while ((r = ipc_conn_send(conn, &ipc_queue_committed, sent + 1, &done, -1)) == 0)
		sent++;
	assert_int_equal(r, E_LIMIT);
	waiting = ipc_conn_waiting(conn);
	assert_true(waiting > 900 && waiting <= 1000);
	assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, 0, &done, -1), E_LIMIT);
	/* What was refused was not sent, what was taken is. */
	for (int idle = 0; idle < 3;) {
		if (ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err) == 0)
			assert_int_equal(m.id, ++got);
		else
			idle++;
		turn();
	}
	assert_int_equal(got, sent);
}

static void the_other_end_goes(void **state)
{
	struct queue_committed done = {0};

	(void)state;
	ask(1);
	close(client);
	client = -1;
	assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, 9, &done, -1), E_CLOSED);
	turn();
	assert_int_equal(seen.messages, 1);
	assert_int_equal(seen.closed, 1);
}

static void the_other_end_goes_while_messages_wait(void **state)
{
	struct queue_committed done = {0};

	(void)state;
	for (uint32_t i = 0; ipc_conn_waiting(conn) == 0; i++)
		assert_int_equal(ipc_conn_send(conn, &ipc_queue_committed, i, &done, -1), 0);
	close(client);
	client = -1;
	for (int i = 0; i < 5 && seen.closed == 0; i++)
		turn();
	assert_int_equal(seen.closed, 1);
}

/* Who asked would wait for ever: it learns that the answer will not come. */
static void an_answer_without_room_ends_the_connection(void **state)
{
	struct queue_committed done = {0};
	struct ipc_message m;
	struct err err;
	uint32_t sent = 0, got = 0;
	int r;

	(void)state;
	ipc_conn_wait_max(conn, 1000);
	while ((r = ipc_conn_answer(conn, &ipc_queue_committed, sent + 1, &done, -1)) == 0)
		sent++;
	assert_int_equal(r, E_LIMIT);
	assert_int_equal(seen.closed, 0); /* not under the hands of the caller */
	assert_true(ipc_conn_answer(conn, &ipc_queue_committed, 0, &done, -1) != 0);
	turn();
	assert_int_equal(seen.closed, 1);
	while ((r = ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err)) == 0)
		assert_int_equal(m.id, ++got);
	assert_int_equal(r, E_CLOSED);
	assert_true(got > 0 && got < sent);
}

/* Its questions wait in the socket, and the answers in little memory. */
static void who_does_not_read_is_not_asked_further(void **state)
{
	enum { ASKED = 20 };
	struct ipc_message m;
	struct err err;
	uint32_t got = 0;

	(void)state;
	seen.answers = 200;
	ipc_conn_pause_above(conn, 10000);
	for (uint32_t i = 1; i <= ASKED; i++)
		ask(i);
	for (int i = 0; i < 5; i++)
		turn();
	assert_true(seen.messages > 0 && seen.messages < ASKED);
	assert_in_range(ipc_conn_waiting(conn), 10001, 10000 + 200 * 300);
	for (int idle = 0; idle < 3;) {
		if (ipc_receive(client, &ipc_service_queue, TO_CLIENT, buffer, &m, &err) == 0)
			assert_int_equal(m.id, got++ / seen.answers + 1);
		else
			idle++;
		turn();
	}
	assert_int_equal(seen.messages, ASKED);
	assert_int_equal(got, ASKED * seen.answers);
}

static void the_end_is_seen_while_nothing_is_read(void **state)
{
	(void)state;
	seen.answers = 200;
	ipc_conn_pause_above(conn, 0);
	for (uint32_t i = 1; ipc_conn_waiting(conn) == 0; i++) {
		ask(i);
		turn();
	}
	close(client);
	client = -1;
	for (int i = 0; i < 5 && seen.closed == 0; i++)
		turn();
	assert_int_equal(seen.closed, 1);
}

/* A malformed message, one that is not for this side, one the service does not allow now: the end, and it is logged. */
static void a_bad_peer_is_closed(void **state)
{
	enum { MALFORMED, WRONG_SIDE, NOT_ALLOWED, SURPLUS_DESCRIPTOR, WAYS };
	uint64_t logged = log_event_count(EV_ipc_bad_message);

	for (int way = 0; way < WAYS; way++) {
		struct queue_committed done = {0};
		struct queue_discard discard = {0};

		switch (way) {
		case MALFORMED:
			assert_int_equal(send(client, "what", 4, 0), 4);
			break;
		case WRONG_SIDE:
			assert_int_equal(ipc_send(client, &ipc_queue_committed, 1, &done, -1), 0);
			break;
		case NOT_ALLOWED:
			seen.result = E_PROTO;
			ask(1);
			break;
		case SURPLUS_DESCRIPTOR:
			assert_int_equal(ipc_send(client, &ipc_queue_discard, 1, &discard, client), 0);
			break;
		}
		ask(2); /* never seen */
		turn();
		assert_int_equal(seen.messages, way == NOT_ALLOWED ? 1 : 0);
		assert_int_equal(seen.closed, 1);
		assert_null(conn);
		assert_int_equal(log_event_count(EV_ipc_bad_message), ++logged);
		teardown(state);
		setup(state);
	}
}

static void a_connection_is_freed_within_its_callback(void **state)
{
	(void)state;
	seen.free_it = true;
	ask(1);
	ask(2);
	turn();
	assert_int_equal(seen.messages, 1);
	assert_int_equal(seen.closed, 0);
	assert_null(conn);
	assert_true(recv(client, buffer, 1, 0) == 0 || errno == ECONNRESET); /* closed */
	/* With an error as well: freed is freed. */
	teardown(state);
	setup(state);
	seen.free_it = true;
	seen.result = E_PROTO;
	ask(1);
	turn();
	assert_int_equal(seen.closed, 0);
	assert_null(conn);
}

static void a_connection_is_freed_with_messages_waiting(void **state)
{
	struct queue_file file = {.id = 1};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	for (uint32_t i = 0; ipc_conn_waiting(conn) == 0; i++)
		assert_int_equal(ipc_conn_send(conn, &ipc_queue_file, i, &file, null), 0);
	ipc_conn_free(&conn);
	close(null);
	assert_int_equal(seen.closed, 0);
}

/* A spawner has one for each session: it had 64 KiB of room in each, which became memory when it was wiped at the end. */
static void many_connections_take_little(void **state)
{
	enum { MANY = 50, MOST = 2048 };
	struct queue_file file = {.id = 1};
	struct ipc_conn *many[MANY];
	int other[MANY], fds[2];
	size_t before = mallinfo2().uordblks;
	struct err err;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(ipc_pair(fds, &err), 0);
		many[i] = ipc_conn_new(base, fds[0], &ipc_service_queue, TO_SERVICE, &callbacks, &seen);
		assert_non_null(many[i]);
		other[i] = fds[1];
		assert_int_equal(ipc_conn_send(many[i], &ipc_queue_file, 1, &file, fds[1]), 0);
	}
	assert_in_range(mallinfo2().uordblks, 0, before + MANY * MOST);
	for (int i = 0; i < MANY; i++) {
		ipc_conn_free(&many[i]);
		close(other[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(messages_arrive_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(messages_are_sent_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_cannot_be_encoded_is_not_sent, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_socket_is_waited_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(waiting_has_a_bound, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_answer_without_room_ends_the_connection, setup, teardown),
	    cmocka_unit_test_setup_teardown(who_does_not_read_is_not_asked_further, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_end_is_seen_while_nothing_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_other_end_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_other_end_goes_while_messages_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_bad_peer_is_closed, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_is_freed_within_its_callback, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_is_freed_with_messages_waiting, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_connections_take_little, setup, teardown),
	};
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);

	log_init(sink, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
