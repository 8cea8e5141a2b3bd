#include "base/whole.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

bool write_whole(int fd, struct span bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			bytes = span_from(bytes, (size_t)n);
	}
	return true;
}

bool pwrite_whole(int fd, struct span bytes, uint64_t offset)
{
	while (bytes.len > 0) {
		ssize_t n = pwrite(fd, bytes.ptr, bytes.len, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			offset += (uint64_t)n;
			bytes = span_from(bytes, (size_t)n);
		}
	}
	return true;
}

/* Takes n octets off the front of them. */
static void use_up(struct iovec **iov, int *count, size_t n)
{
	while (*count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

bool writev_whole(int fd, struct iovec *iov, int count)
{
	use_up(&iov, &count, 0);
	while (count > 0) {
		ssize_t n = writev(fd, iov, count);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			use_up(&iov, &count, (size_t)n);
	}
	return true;
}

bool pwritev_whole(int fd, struct iovec *iov, int count, uint64_t offset)
{
	use_up(&iov, &count, 0);
	while (count > 0) {
		ssize_t n = pwritev(fd, iov, count, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			offset += (uint64_t)n;
			use_up(&iov, &count, (size_t)n);
		}
	}
	return true;
}
