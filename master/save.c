#include "master/save.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAVE_PATH = 4096 };

static void name_new(const char *path, char out[SAVE_PATH])
{
	snprintf(out, SAVE_PATH, "%s.new", path);
}

FILE *save_begin(const char *path, mode_t mode, struct err *err)
{
	char name[SAVE_PATH];
	FILE *file;
	int fd;

	name_new(path, name);
	unlink(name);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (file == NULL)
		err_set_errno(err, errno, "%s", name);
	return file;
}

void save_abort(FILE **file, const char *path)
{
	char name[SAVE_PATH];

	if (*file == NULL)
		return;
	fclose(*file);
	*file = NULL;
	name_new(path, name);
	unlink(name);
}

static int sync_directory(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (fd < 0 || fsync(fd) != 0)
		r = err_set_errno(err, errno, "sync of %s", path);
	if (fd >= 0)
		close(fd);
	return r;
}

static int sync_directory_of(const char *path, struct err *err)
{
	char copy[SAVE_PATH];

	snprintf(copy, sizeof(copy), "%s", path);
	return sync_directory(dirname(copy), err);
}

/* A file system that keeps a log of what was synced, and of nothing else, forgets a directory that nothing was synced in. */
int save_directory(const char *path, struct err *err)
{
	int r = sync_directory(path, err);

	return r == 0 ? sync_directory_of(path, err) : r;
}

int save_end(FILE **file, const char *path, struct err *err)
{
	char name[SAVE_PATH];

	name_new(path, name);
	if (ferror(*file) || fflush(*file) != 0 || fsync(fileno(*file)) != 0 || rename(name, path) != 0) {
		int r = err_set_errno(err, errno, "%s", path);

		save_abort(file, path);
		return r;
	}
	fclose(*file);
	*file = NULL;
	return sync_directory_of(path, err);
}
