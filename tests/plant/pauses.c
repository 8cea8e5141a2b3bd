/* plant: queue auth auth-pam relay smtpd submission imapd imap-session deliver agent lmtpd pickup keys fetch resolve master; wraps: epoll_wait ppoll poll recvmsg recv sendmsg send accept4 fsync fdatasync rename openat */
/*
 * No fault of the suite's, but a machine that gives a process no time for a while, at any of its calls: what is right only while two
 * daemons run at their usual pace shows itself (`make check-pauses`). One call in 16 waits for up to 20 ms, one in 128 for up to 900.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static pid_t owner;

/* xorshift64; of its own in every process, so that children do not pause in step. */
static uint64_t draw(void)
{
	if (owner != getpid()) {
		struct timespec now;

		owner = getpid();
		clock_gettime(CLOCK_MONOTONIC, &now);
		state = (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)owner * 40503u + 1;
	}
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 16;
}

static void pause_at_times(void)
{
	int error = errno;
	uint64_t r = draw();
	uint64_t ms = r % 128 == 0 ? (r >> 9) % 900 : r % 16 == 0 ? (r >> 9) % 20 : 0;
	struct timespec wait = {.tv_nsec = (long)(ms * 1000000)};

	if (ms > 0)
		nanosleep(&wait, NULL);
	errno = error;
}

#define PAUSING(type, name, parameters, arguments) \
	type __real_##name parameters;             \
	type __wrap_##name parameters;             \
	type __wrap_##name parameters              \
	{                                          \
		pause_at_times();                  \
		return __real_##name arguments;    \
	}

PAUSING(int, epoll_wait, (int epfd, struct epoll_event *events, int max, int timeout), (epfd, events, max, timeout))
PAUSING(int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout))
PAUSING(int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask), (fds, count, timeout, mask))
PAUSING(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
PAUSING(ssize_t, recv, (int fd, void *data, size_t len, int flags), (fd, data, len, flags))
PAUSING(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
PAUSING(ssize_t, send, (int fd, const void *data, size_t len, int flags), (fd, data, len, flags))
PAUSING(int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags), (fd, address, len, flags))
PAUSING(int, fsync, (int fd), (fd))
PAUSING(int, fdatasync, (int fd), (fd))
PAUSING(int, rename, (const char *old, const char *new), (old, new))

int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);

/* Its mode means nothing where no file is made. */
int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	pause_at_times();
	return __real_openat(dir, path, flags, mode);
}
