/*
 * A disk that remembers: a file system (FUSE) of one file, "disk", which a loop device stands on. Every write and every
 * flush goes into a log, in the order in which the disk was asked, so that what it held at any instant can be made again.
 *
 *   recorder IMAGE LOG DIRECTORY     IMAGE is the disk's content at the beginning and goes along
 *
 * An entry of the log: kind, 'W' or 'F' (4) · length (4) · offset (8) · the bytes written. disk.py reads it.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct entry {
	uint32_t kind, length;
	uint64_t offset;
};

static int image, record;

/* What could not be recorded must not count as written. */
static int note(uint32_t kind, off_t offset, const char *bytes, size_t length)
{
	struct entry entry = {.kind = kind, .length = (uint32_t)length, .offset = (uint64_t)offset};
	struct iovec iov[2] = {{&entry, sizeof(entry)}, {(void *)(uintptr_t)bytes, length}};

	return writev(record, iov, 2) == (ssize_t)(sizeof(entry) + length) ? 0 : -EIO;
}

static int disk_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	struct stat of_image;

	(void)info;
	memset(st, 0, sizeof(*st));
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, "/disk") != 0 || fstat(image, &of_image) != 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = of_image.st_size;
	return 0;
}

static int disk_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
    enum fuse_readdir_flags flags)
{
	(void)path;
	(void)offset;
	(void)info;
	(void)flags;
	fill(buffer, "disk", NULL, 0, 0);
	return 0;
}

static int disk_open(const char *path, struct fuse_file_info *info)
{
	if (strcmp(path, "/disk") != 0)
		return -ENOENT;
	info->direct_io = 1;
	return 0;
}

static int disk_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
	ssize_t n = pread(image, buffer, size, offset);

	(void)path;
	(void)info;
	return n < 0 ? -errno : (int)n;
}

static int disk_write(const char *path, const char *bytes, size_t size, off_t offset, struct fuse_file_info *info)
{
	ssize_t n;
	int r = note('W', offset, bytes, size);

	(void)path;
	(void)info;
	if (r != 0)
		return r;
	n = pwrite(image, bytes, size, offset);
	return n < 0 ? -errno : (int)n;
}

static int disk_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
	(void)path;
	(void)data_only;
	(void)info;
	return note('F', 0, "", 0);
}

/* No holes: a discarded block keeps what it had, as it may on a real disk. */
static int disk_fallocate(const char *path, int mode, off_t offset, off_t length, struct fuse_file_info *info)
{
	(void)path;
	(void)mode;
	(void)offset;
	(void)length;
	(void)info;
	return -EOPNOTSUPP;
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr,
    .readdir = disk_readdir,
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .fsync = disk_fsync,
    .fallocate = disk_fallocate,
};

int main(int argc, char **argv)
{
	char *arguments[] = {argv[0], (char *)(uintptr_t)"-s", (char *)(uintptr_t)"-f", argc == 4 ? argv[3] : NULL, NULL};

	if (argc != 4) {
		fprintf(stderr, "usage: recorder IMAGE LOG DIRECTORY\n");
		return 1;
	}
	image = open(argv[1], O_RDWR | O_CLOEXEC);
	record = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (image < 0 || record < 0) {
		perror(image < 0 ? argv[1] : argv[2]);
		return 1;
	}
	/* One thread: the log's order is the disk's. */
	return fuse_main(4, arguments, &operations, NULL);
}
