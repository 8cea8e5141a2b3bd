/* plant: queue; wraps: fsync */
/* A sync that failed is tried again: the kernel has forgotten the failure, and the pages with it (D6). */
int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	return __real_fsync(fd) == 0 ? 0 : __real_fsync(fd);
}
