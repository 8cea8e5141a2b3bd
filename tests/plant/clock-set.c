/* plant: queue auth relay smtpd submission imapd imap-session deliver agent lmtpd pickup keys fetch resolve master; wraps: clock_gettime */
/*
 * No fault of the suite's, but one of the machine's: its clock is set. `clock` in the directory of this plant holds two numbers of 8
 * octets: milliseconds that the clock is ahead, and what the count since boot is ahead, which no machine lets anybody change: with
 * that the suite cannot tell a jump from time that has passed, and the tests must find it (tests/e2e/test_clock.py).
 */
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

static const volatile int64_t *ahead_ms;

/* Before the daemon is confined: from then on the file is the memory that it shares with the test. */
static __attribute__((constructor)) void map(void)
{
	char exe[4096], path[4200];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	void *at;
	int fd;

	if (n < 0)
		return;
	exe[n] = '\0';
	snprintf(path, sizeof(path), "%s/../clock", dirname(exe));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	at = mmap(NULL, 2 * sizeof(*ahead_ms), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	ahead_ms = at == MAP_FAILED ? NULL : at;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	int r = __real_clock_gettime(clock, out);
	int64_t ms = ahead_ms == NULL ? 0 : clock == CLOCK_REALTIME ? ahead_ms[0] : clock == CLOCK_BOOTTIME ? ahead_ms[1] : 0;

	out->tv_sec += ms / 1000;
	return r;
}
