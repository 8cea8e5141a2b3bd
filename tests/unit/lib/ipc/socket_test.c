/* Messages on sockets: descriptors, full sockets, ends, what a bad peer can send. */
#include "tests/unit/test.h"

#include "ipc/ipc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int fds[2]; /* 0 is the client's */
static char buffer[IPC_MESSAGE_MAX];

static int setup(void **state)
{
	struct err err;

	(void)state;
	return ipc_pair(fds, &err);
}

static int teardown(void **state)
{
	(void)state;
	close(fds[0]);
	close(fds[1]);
	return 0;
}

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int receive(struct ipc_message *m, struct err *err)
{
	return ipc_receive(fds[1], &ipc_service_master, TO_CLIENT, buffer, m, err);
}

/* With room for a full message, and closed in what is executed. */
static void a_pair_takes_the_largest_message(void **state)
{
	static char big[49152];
	struct control_text body = {.text = span_of(big, sizeof(big))};
	struct ipc_message m;
	struct err err;

	(void)state;
	assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) && (fcntl(fds[1], F_GETFD) & FD_CLOEXEC));
	memset(big, 'x', sizeof(big));
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(ipc_send(fds[0], &ipc_control_text, 1, &body, -1), 0);
	assert_int_equal(ipc_receive(fds[1], &ipc_service_control, TO_CLIENT, buffer, &m, &err), 0);
	assert_int_equal(((const struct control_text *)(const void *)m.body)->text.len, sizeof(big));
}

static void results_of_sending(void **state)
{
	struct master_go go = {0};
	struct master_file file = {.name = SPAN_LIT("a\0b")};
	int r;

	(void)state;
	assert_int_equal(ipc_send(fds[0], &ipc_master_file, 0, &file, -1), E_SYNTAX);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while ((r = ipc_send(fds[0], &ipc_master_go, 0, &go, -1)) == 0)
		;
	assert_int_equal(r, E_AGAIN);
	close(fds[1]);
	assert_int_equal(ipc_send(fds[0], &ipc_master_go, 0, &go, -1), E_CLOSED); /* and no SIGPIPE */
	fds[1] = -1;
	assert_true(ipc_send(-1, &ipc_master_go, 0, &go, -1) < 0);
}

static void results_of_receiving(void **state)
{
	struct ipc_message m;
	struct err err;

	(void)state;
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	assert_int_equal(receive(&m, &err), E_AGAIN);
	close(fds[0]);
	fds[0] = -1;
	assert_int_equal(receive(&m, &err), E_CLOSED);
	assert_string_equal(err.text, "master: closed by the other end");
	close(fds[1]);
	fds[1] = open("/dev/null", O_RDONLY);
	assert_int_equal(receive(&m, &err), E_IO);
	assert_non_null(strstr(err.text, "master: receive: "));
}

/* Raw octets with any number of descriptors. */
static void send_raw(struct span wire, int count)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(64 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)wire.ptr, wire.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
		control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		for (int i = 0; i < count; i++)
			memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &fds[0], sizeof(int));
	}
	assert_int_equal(sendmsg(fds[0], &msg, 0), wire.len);
}

/* A surplus or a missing descriptor, a message too long: E_PROTO, and nothing stays open. */
static void what_a_bad_peer_sends(void **state)
{
	static char big[IPC_MESSAGE_MAX + 10];
	static const struct span go = SPAN_LIT("\0\x06\0\0\0\0\0\0\0\x01"), file = SPAN_LIT("\0\x02\0\0\0\0\0\0\0\x01" "f");
	static const struct {
		const struct span *wire;
		int descriptors;
		const char *text;
	} rows[] = {{&go, 1, "master_go: surplus descriptor"}, {&go, 2, "master_go: 2 descriptors"}, {&file, 0, "master_file: descriptor missing"}, {&file, 2, "master_file: 2 descriptors"}, {&file, 3, "master_file: 3 descriptors"},
	    {&file, 60, "master: message too long"}};
	int before = open_descriptors();
	struct ipc_message m;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		send_raw(*rows[i].wire, rows[i].descriptors);
		assert_int_equal(receive(&m, &err), E_PROTO);
		assert_string_equal(err.text, rows[i].text);
		assert_int_equal(m.fd, -1);
		assert_int_equal(open_descriptors(), before);
	}
	send_raw(span_of(big, sizeof(big)), 1);
	assert_int_equal(receive(&m, &err), E_PROTO);
	assert_string_equal(err.text, "master: message too long");
	assert_int_equal(open_descriptors(), before);
	/* What follows is read as if nothing had been. */
	send_raw(file, 1);
	assert_int_equal(receive(&m, &err), 0);
	assert_true(m.fd >= 0 && (fcntl(m.fd, F_GETFD) & FD_CLOEXEC));
	close(m.fd);
}

/* SO_PEERCRED: the kernel's word on who made the other end. */
static void the_kernel_knows_the_peer(void **state)
{
	pid_t pid;
	uid_t uid;
	gid_t gid;

	(void)state;
	assert_int_equal(ipc_peer(fds[0], &pid, &uid, &gid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, geteuid());
	assert_int_equal(gid, getegid());
	assert_true(ipc_peer(STDIN_FILENO, &pid, &uid, &gid) < 0 || uid == geteuid());
	assert_true(ipc_peer(-1, &pid, &uid, &gid) < 0);
}

static void no_descriptors_for_a_pair(void **state)
{
	struct rlimit before, none;
	struct err err;
	int pair[2], r;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	r = ipc_pair(pair, &err);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r, E_NOFILES);
	assert_non_null(strstr(err.text, "socketpair: "));
}

/* A descriptor that came when this process could have no more: its message fails, those behind it do not. */
static void no_descriptor_free_for_one_that_comes(void **state)
{
	struct queue_file body = {.id = 7};
	struct ipc_message m;
	struct rlimit before, none;
	struct err err = {0};

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(ipc_send(fds[0], &ipc_queue_file, 1, &body, fds[0]), 0);
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_CLIENT, buffer, &m, &err), 0);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_true(m.fd_lost && m.fd == -1 && m.type == &ipc_queue_file && ((struct queue_file *)(void *)m.body)->id == 7);
	assert_int_equal(ipc_receive(fds[1], &ipc_service_queue, TO_CLIENT, buffer, &m, &err), 0);
	assert_true(!m.fd_lost && m.fd >= 0);
	close(m.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_pair_takes_the_largest_message, setup, teardown),
	    cmocka_unit_test_setup_teardown(results_of_sending, setup, teardown),
	    cmocka_unit_test_setup_teardown(results_of_receiving, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_a_bad_peer_sends, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_kernel_knows_the_peer, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_descriptor_free_for_one_that_comes, setup, teardown),
	    cmocka_unit_test(no_descriptors_for_a_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
