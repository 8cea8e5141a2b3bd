/* The strict codec of messages, descriptors, peers. */
#include "tests/unit/test.h"

#include "ipc/ipc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void every_message_survives_the_wire(void **state)
{
	struct buf wire, again;

	(void)state;
	buf_init(&wire, IPC_MESSAGE_MAX);
	buf_init(&again, IPC_MESSAGE_MAX);
	for (size_t s = 0; ipc_services[s] != NULL; s++)
		for (const struct ipc_type *const *t = ipc_services[s]->types; *t != NULL; t++) {
			_Alignas(16) unsigned char body[IPC_BODY_MAX] = {0};
			struct ipc_message got;
			struct err err;

			for (const struct ipc_field *f = (*t)->fields; f->kind != IPC_KIND_END; f++)
				if (f->kind >= IPC_KIND_STR)
					*(struct span *)(void *)(body + f->offset) = SPAN_LIT("text");
				else
					body[f->offset] = 1;
			buf_clear(&wire);
			assert_int_equal(ipc_encode(*t, 77, body, &wire), 0);
			assert_int_equal(ipc_decode(ipc_services[s], (*t)->direction, buf_span(&wire), &got, &err), 0);
			assert_ptr_equal(got.type, *t);
			assert_int_equal(got.id, 77);
			buf_clear(&again);
			assert_int_equal(ipc_encode(*t, 77, got.body, &again), 0);
			assert_true(span_eq(buf_span(&wire), buf_span(&again)));
		}
	buf_fini(&wire);
	buf_fini(&again);
}

/* Cut short anywhere, with a byte too many, or from the wrong side: refused. */
static void decoding_is_strict(void **state)
{
	struct auth_login login = {.service = SPAN_LIT("imap"), .user = SPAN_LIT("u"),
	    .password = SPAN_LIT("p"), .remote = SPAN_LIT("r"), .tls = true};
	struct ipc_message got;
	struct err err;
	struct buf wire;
	struct span all;

	(void)state;
	buf_init(&wire, IPC_MESSAGE_MAX);
	assert_int_equal(ipc_encode(&ipc_auth_login, 1, &login, &wire), 0);
	all = buf_span(&wire);
	for (size_t len = 0; len < all.len; len++)
		assert_int_equal(ipc_decode(&ipc_service_auth, TO_SERVICE, span_sub(all, 0, len), &got, &err), E_PROTO);
	assert_int_equal(ipc_decode(&ipc_service_auth, TO_CLIENT, all, &got, &err), E_PROTO);
	assert_int_equal(ipc_decode(&ipc_service_queue, TO_SERVICE, all, &got, &err), E_PROTO);
	buf_add_char(&wire, 0);
	assert_int_equal(ipc_decode(&ipc_service_auth, TO_SERVICE, buf_span(&wire), &got, &err), E_PROTO);
	wire.data[wire.end - 2] = 2; /* the bool */
	all = span_sub(buf_span(&wire), 0, buf_len(&wire) - 1);
	assert_int_equal(ipc_decode(&ipc_service_auth, TO_SERVICE, all, &got, &err), E_PROTO);
	buf_fini(&wire);
}

static void limits_hold_when_sending_too(void **state)
{
	static char big[2000];
	struct auth_recipient ask = {.address = span_of(big, sizeof(big))};
	struct buf wire;

	(void)state;
	memset(big, 'a', sizeof(big));
	buf_init(&wire, IPC_MESSAGE_MAX);
	assert_int_equal(ipc_encode(&ipc_auth_recipient, 1, &ask, &wire), E_TOOBIG);
	ask.address = SPAN_LIT("a\0b");
	assert_int_equal(ipc_encode(&ipc_auth_recipient, 1, &ask, &wire), E_SYNTAX);
	buf_fini(&wire);
}

static void secrets_are_not_printed(void **state)
{
	struct auth_login login = {.user = SPAN_LIT("u"), .password = SPAN_LIT("hunter2")};
	struct ipc_message m = {.type = &ipc_auth_login, .fd = -1};
	struct buf out;

	(void)state;
	memcpy(m.body, &login, sizeof(login));
	buf_init(&out, 1000);
	ipc_print(&m, &out);
	assert_null(strstr(buf_cstr(&out), "hunter2"));
	assert_non_null(strstr(buf_cstr(&out), "[secret]"));
	buf_fini(&out);
}

static void descriptors_arrive_where_they_may(void **state)
{
	static char buffer[IPC_MESSAGE_MAX];
	struct queue_file file = {.id = 5};
	struct queue_discard discard = {.id = 5};
	struct ipc_message got;
	struct err err;
	int fds[2], null = open("/dev/null", O_RDWR);

	(void)state;
	assert_int_equal(ipc_pair(fds, &err), 0);
	assert_int_equal(ipc_send(fds[0], &ipc_queue_file, 9, &file, null), 0);
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_CLIENT, buffer, &got, &err), 0);
	assert_true(got.fd >= 0);
	assert_int_equal(fcntl(got.fd, F_GETFD), FD_CLOEXEC);
	close(got.fd);
	assert_int_equal(ipc_send(fds[0], &ipc_queue_file, 9, &file, -1), 0); /* missing */
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_CLIENT, buffer, &got, &err), E_PROTO);
	assert_int_equal(ipc_send(fds[0], &ipc_queue_discard, 9, &discard, null), 0); /* surplus */
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_SERVICE, buffer, &got, &err), E_PROTO);
	assert_int_equal(got.fd, -1);
	close(fds[0]);
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_SERVICE, buffer, &got, &err), E_CLOSED);
	close(fds[1]);
	close(null);
}

/* The kernel speaks of the reset first; what the dead one had said must not be lost. */
static void last_words_are_heard_over_unread_messages(void **state)
{
	struct master_query query = {0};
	struct master_failed failed = {.generation = 7, .text = SPAN_LIT("why")};
	char buffer[IPC_MESSAGE_MAX];
	struct ipc_message got;
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(ipc_pair(fds, &err), 0);
	assert_int_equal(ipc_send(fds[0], &ipc_master_query, 0, &query, -1), 0);
	assert_int_equal(ipc_send(fds[1], &ipc_master_failed, 0, &failed, -1), 0);
	close(fds[1]);
	assert_int_equal(ipc_receive(fds[0], &ipc_service_master, TO_SERVICE, buffer, &got, &err), 0);
	assert_ptr_equal(got.type, &ipc_master_failed);
	assert_span_equal(((const struct master_failed *)(const void *)got.body)->text, "why");
	assert_int_equal(ipc_receive(fds[0], &ipc_service_master, TO_SERVICE, buffer, &got, &err), E_CLOSED);
	close(fds[0]);
}

static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* What comes with a message that is refused, or that is none, must not stay open. */
static void no_descriptor_is_left_behind(void **state)
{
	static char buffer[IPC_MESSAGE_MAX];
	static const struct {
		const char *wire;
		size_t len;
		int code;
	} rows[] = {{"", 0, E_CLOSED}, {"x", 1, E_PROTO}, {"\0\4\0\0\0\1", 6, E_PROTO}};
	struct ipc_message got;
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(ipc_pair(fds, &err), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int before = lowest_free();

		assert_int_equal(ipc_send_wire(fds[0], span_of(rows[i].wire, rows[i].len), 0), 0);
		assert_int_equal(ipc_receive(fds[1], &ipc_service_auth, TO_SERVICE, buffer, &got, &err), rows[i].code);
		assert_int_equal(got.fd, -1);
		assert_int_equal(lowest_free(), before);
	}
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_message_survives_the_wire),
	    cmocka_unit_test(decoding_is_strict),
	    cmocka_unit_test(limits_hold_when_sending_too),
	    cmocka_unit_test(secrets_are_not_printed),
	    cmocka_unit_test(descriptors_arrive_where_they_may),
	    cmocka_unit_test(no_descriptor_is_left_behind),
	    cmocka_unit_test(last_words_are_heard_over_unread_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
