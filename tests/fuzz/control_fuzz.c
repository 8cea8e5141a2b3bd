/*
 * The daemons' side of the commands, over its socket: whatever is sent costs at most its own connection, a request is answered
 * once, and the next one is served.
 *
 * Input: steps, a letter, a length and so many octets: 'i' a piece of input, 'r' a request with these arguments, 'x' a datagram
 * of these octets, 'f' the same with a descriptor; without more: 'l' answer the request that waits, 'c' close.
 */
#include "tests/fuzz/fuzz.h"

#include "base/log.h"
#include "ipc/ipc.h"
#include "net/control.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static struct event_base *base;
static struct sockaddr_un address;
static socklen_t address_len;

static struct {
	unsigned asked, answered;
	struct control_reply *later;
	bool wait;
} owner;

static void answer(struct control_reply *reply)
{
	control_reply_row(reply, SPAN_LIT("{\"a\":1}"));
	control_reply_text(reply, SPAN_LIT("text"));
	control_reply_done(reply, EX_OK, "%s", "done");
	owner.answered++;
}

static void answer_later(void)
{
	if (owner.later != NULL)
		answer(owner.later);
	owner.later = NULL;
}

static void handle(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret)
{
	volatile char c = 0;

	(void)arg;
	owner.asked++;
	fuzz_assert(count <= CONTROL_ARGS_MAX);
	for (size_t i = 0; i < count; i++)
		for (size_t n = 0; n < args[i].len; n++)
			fuzz_assert(args[i].ptr[n] != '\0');
	for (size_t i = 0; i < input.len; i++)
		c = input.ptr[i];
	for (size_t i = 0; i < secret.len; i++)
		c = secret.ptr[i];
	(void)c;
	if (owner.wait && owner.later == NULL)
		owner.later = reply;
	else
		answer(reply);
}

static void start(void)
{
	int fd;

	if (base != NULL)
		return;
	log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	base = event_base_new();
	address.sun_family = AF_UNIX;
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	    (size_t)snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "mailwain-fuzz-%d", (int)getpid()));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	fuzz_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, address_len) == 0 && listen(fd, 16) == 0);
	fuzz_assert(control_server_new_on(base, fd, handle, NULL) != NULL);
}

static int connect_to_it(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	fuzz_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) == 0);
	return fd;
}

static void run_loop(void)
{
	for (int i = 0; i < 8; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* The server may have closed: that is its right. */
static void send_octets(int fd, struct span octets, bool with_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {(void *)(uintptr_t)octets.ptr, octets.len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

	if (with_fd) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(fd));
	}
	(void)sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_message(int fd, const struct ipc_type *type, const void *body)
{
	struct buf wire;

	buf_init(&wire, IPC_MESSAGE_MAX);
	if (ipc_encode(type, 7, body, &wire) == 0)
		send_octets(fd, buf_span(&wire), false);
	buf_fini(&wire);
}

static int step(int fd, struct span *input)
{
	unsigned what = fuzz_byte(input), len;
	struct span octets;

	if (what == 'l') {
		answer_later();
		return fd;
	}
	if (what == 'c') {
		close(fd);
		run_loop();
		return connect_to_it();
	}
	len = fuzz_byte(input);
	octets = span_sub(*input, 0, len);
	*input = span_from(*input, len);
	if (what == 'i')
		send_message(fd, &ipc_control_input, &(struct control_input){.text = octets});
	else if (what == 'r')
		send_message(fd, &ipc_control_request, &(struct control_request){.args = octets});
	else
		send_octets(fd, octets, what == 'f');
	run_loop();
	return fd;
}

/* Of what one connection was told: rows and texts, one end, and nothing behind it. The number of ends. */
static unsigned read_answers(int fd)
{
	static char buffer[IPC_MESSAGE_MAX];
	unsigned ends = 0;

	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		struct ipc_message m;
		struct err err;

		if (n <= 0)
			return ends;
		fuzz_assert(ipc_decode(&ipc_service_control, TO_CLIENT, span_of(buffer, (size_t)n), &m, &err) == 0);
		fuzz_assert(ends == 0);
		ends += m.type == &ipc_control_done;
	}
}

void fuzz_one(struct span input)
{
	unsigned asked;
	int fd;

	start();
	owner.wait = fuzz_byte(&input) & 1;
	fd = connect_to_it();
	run_loop();
	while (input.len > 0)
		fd = step(fd, &input);
	run_loop();
	answer_later();
	run_loop();
	fuzz_assert(read_answers(fd) <= 1 && owner.answered == owner.asked);
	close(fd);
	run_loop();
	/* The next one is served. */
	owner.wait = false;
	asked = owner.asked;
	fd = connect_to_it();
	send_message(fd, &ipc_control_request, &(struct control_request){.args = SPAN_LIT("queue\0list\0")});
	run_loop();
	fuzz_assert(owner.asked == asked + 1 && read_answers(fd) == 1);
	close(fd);
	run_loop();
}
