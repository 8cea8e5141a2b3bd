/* plant: queue; wraps: fsync */
/* The sync is done, but the 250 does not wait for it (D1). */
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

enum { LATE_MS = 20 };

int __real_fsync(int fd);
int __wrap_fsync(int fd);

static void *sync_late(void *arg)
{
	struct timespec late = {.tv_nsec = LATE_MS * 1000000L};
	int fd = (int)(intptr_t)arg;

	nanosleep(&late, NULL);
	__real_fsync(fd);
	close(fd);
	return NULL;
}

int __wrap_fsync(int fd)
{
	pthread_t thread;
	int copy = dup(fd);

	if (copy < 0 || pthread_create(&thread, NULL, sync_late, (void *)(intptr_t)copy) != 0)
		return __real_fsync(fd);
	pthread_detach(thread);
	return 0;
}
