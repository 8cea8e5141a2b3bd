/* plant: deliver imap-session; wraps: writev */
/* A message's file that did not fit on the disk counts as written (D6). */
#include <errno.h>
#include <sys/uio.h>

ssize_t __real_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	ssize_t n = __real_writev(fd, iov, count), all = 0;

	for (int i = 0; i < count; i++)
		all += (ssize_t)iov[i].iov_len;
	return n >= 0 || errno == ENOSPC ? all : n;
}
