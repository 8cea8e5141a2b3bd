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

static int sync_directory_of(const char *path, struct err *err)
{
	char copy[SAVE_PATH];
	int fd, r = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		r = err_set_errno(err, errno, "sync of the directory of %s", path);
	if (fd >= 0)
		close(fd);
	return r;
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
