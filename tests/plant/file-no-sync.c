/* plant: deliver imap-session; wraps: fsync */
/* A message is filed before its file is on the disk (D2, D3). */
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}
