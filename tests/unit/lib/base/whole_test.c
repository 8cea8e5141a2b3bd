/* A kernel that takes three octets at once, and that a signal interrupts every other time. */
#include "tests/unit/test.h"

#include "base/whole.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { AT_ONCE = 3 };

static unsigned calls;
static int full_after; /* octets until the disk is full; negative: never */

/* In place of the C library's. */
static ssize_t take(int fd, const void *bytes, size_t len, off_t offset)
{
	size_t n = len < AT_ONCE ? len : AT_ONCE;

	if (calls++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	if (full_after == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (full_after > 0)
		full_after -= (int)n;
	return offset < 0 ? syscall(SYS_write, fd, bytes, n) : syscall(SYS_pwrite64, fd, bytes, n, offset);
}

static ssize_t take_first(int fd, const struct iovec *iov, int count, off_t offset)
{
	assert_true(count > 0 && iov->iov_len > 0);
	return take(fd, iov->iov_base, iov->iov_len, offset);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	return take(fd, bytes, len, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	return take(fd, bytes, len, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return take_first(fd, iov, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return take_first(fd, iov, count, offset);
}

static int fresh(int full)
{
	int fd = memfd_create("whole", MFD_CLOEXEC);

	assert_true(fd >= 0);
	calls = 0;
	full_after = full;
	return fd;
}

static void holds(int fd, const char *text)
{
	char room[64];
	ssize_t n = pread(fd, room, sizeof(room), 0);

	assert_true(n >= 0);
	assert_span_equal(span_of(room, (size_t)n), text);
	close(fd);
}

static void all_of_it(void **state)
{
	struct iovec iov[4] = {{"", 0}, {"abcd", 4}, {"", 0}, {"efghi", 5}}, again[2] = {{"xyzw", 4}, {"v", 1}};
	int fd = fresh(-1);

	(void)state;
	assert_true(write_whole(fd, SPAN_LIT("0123456789")));
	assert_true(write_whole(fd, SPAN_LIT("")));
	assert_true(pwrite_whole(fd, SPAN_LIT("ABCDE"), 1));
	assert_true(writev_whole(fd, iov, 4));
	assert_true(pwritev_whole(fd, again, 2, 6));
	assert_true(pwritev_whole(fd, again, 0, 6));
	holds(fd, "0ABCDExyzwvbcdefghi");
}

static void the_disk_is_full(void **state)
{
	struct iovec iov[2] = {{"0123", 4}, {"45678", 5}};
	int fd = fresh(6);

	(void)state;
	assert_false(write_whole(fd, SPAN_LIT("0123456789")));
	assert_int_equal(errno, ENOSPC);
	assert_false(pwrite_whole(fd, SPAN_LIT("x"), 0));
	assert_false(writev_whole(fd, iov, 2));
	assert_int_equal(errno, ENOSPC);
	assert_false(pwritev_whole(fd, iov, 2, 0));
	holds(fd, "012345");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_of_it), cmocka_unit_test(the_disk_is_full)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
