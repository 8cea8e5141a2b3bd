/* plant: queue; wraps: fsync fdatasync */
/* A 250 is given for what is not on the disk (D1); what happened to a message is not written down for good (D2). */
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	return 0;
}
