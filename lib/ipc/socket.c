/* Messages on sockets: one datagram each, at most one descriptor. */
#include "ipc/ipc.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IPC_SOCKET_BUFFER = 4 * IPC_MESSAGE_MAX };

int ipc_send_wire(int fd, struct span wire, int pass)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)wire.ptr, .iov_len = wire.len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pass >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.header), &pass, sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_from_errno(errno) : 0;
}

int ipc_send(int fd, const struct ipc_type *type, uint32_t id, const void *body, int pass)
{
	struct buf wire;
	int r;

	buf_init(&wire, IPC_MESSAGE_MAX);
	r = ipc_encode(type, id, body, &wire);
	if (r == 0)
		r = ipc_send_wire(fd, buf_span(&wire), pass);
	buf_fini_secret(&wire);
	return r;
}

/* Takes the first descriptor; any other is closed and counts as an error. */
static int take_descriptors(struct msghdr *msg, int *out)
{
	int count = 0;

	*out = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++, count++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (count == 0)
				*out = got;
			else
				close(got);
		}
	}
	return count;
}

static int check_descriptor(const struct ipc_message *m, int count, struct err *err)
{
	if (count > 1)
		return err_set(err, E_PROTO, "%s: %d descriptors", m->type->name, count);
	if (count == 0 && m->type->fd == IPC_FD_REQUIRED && !m->fd_lost)
		return err_set(err, E_PROTO, "%s: descriptor missing", m->type->name);
	if ((count == 1 || m->fd_lost) && m->type->fd == IPC_FD_NONE)
		return err_set(err, E_PROTO, "%s: surplus descriptor", m->type->name);
	return 0;
}

/*
 * When the other end dies with messages of ours unread, the kernel says ECONNRESET once, before it gives
 * what the other end had sent. That may be an answer, or why it died.
 */
static ssize_t receive(int fd, struct msghdr *msg)
{
	bool reset = false;

	for (;;) {
		ssize_t n = recvmsg(fd, msg, MSG_CMSG_CLOEXEC);

		if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || reset)))
			return n;
		reset = errno == ECONNRESET;
	}
}

int ipc_receive(int fd, const struct ipc_service *service, enum ipc_direction direction,
    void *buffer, struct ipc_message *out, struct err *err)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buffer, .iov_len = IPC_MESSAGE_MAX};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof(control.room)};
	int pass, count, r;
	bool lost;
	ssize_t n;

	n = receive(fd, &msg);
	if (n < 0)
		return errno == EAGAIN ? E_AGAIN
				       : err_set_errno(err, errno, "%s: receive", service->name);
	/* An empty message says the same as the end, and may bring descriptors all the same. */
	count = take_descriptors(&msg, &pass);
	lost = count == 0 && (msg.msg_flags & MSG_CTRUNC) != 0;
	if (n == 0)
		r = err_set(err, E_CLOSED, "%s: closed by the other end", service->name);
	else if ((msg.msg_flags & MSG_TRUNC) != 0 || ((msg.msg_flags & MSG_CTRUNC) != 0 && !lost))
		r = err_set(err, E_PROTO, "%s: message too long", service->name);
	else
		r = ipc_decode(service, direction, span_of(buffer, (size_t)n), out, err);
	out->fd_lost = r == 0 && lost;
	if (r == 0)
		r = check_descriptor(out, count, err);
	if (r != 0 && pass >= 0)
		close(pass);
	out->fd = r == 0 ? pass : -1;
	return r;
}

int ipc_pair(int fds[2], struct err *err)
{
	int size = IPC_SOCKET_BUFFER;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return err_set_errno(err, errno, "socketpair");
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

int ipc_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return err_from_errno(errno);
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return 0;
}
