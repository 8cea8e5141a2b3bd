/* Files of a world: copied for each case, listed, read as a whole. */
#define _XOPEN_SOURCE 700
#include "tests/damage/damage.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void join(char out[2 * PATH], const char *a, const char *b)
{
	snprintf(out, 2 * PATH, "%s%s%s", a, a[0] != '\0' && b[0] != '\0' ? "/" : "", b);
}

static void list_below(const char *root, const char *path, struct files *out)
{
	char full[2 * PATH], below[2 * PATH];
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	join(full, root, path);
	dir = opendir(full);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		join(below, path, entry->d_name);
		if (strlen(below) >= PATH)
			die("%s is too long", below);
		join(full, root, below);
		if (lstat(full, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode))
			list_below(root, below, out);
		if (!S_ISREG(st.st_mode))
			continue;
		if (out->count == out->room) {
			out->room = out->room > 0 ? 2 * out->room : 64;
			out->paths = reallocarray(out->paths, out->room, sizeof(*out->paths));
		}
		memcpy(out->paths[out->count], below, PATH);
		out->paths[out->count++][PATH - 1] = '\0';
	}
	if (dir != NULL)
		closedir(dir);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(a, b);
}

void files_list(const char *root, struct files *out)
{
	*out = (struct files){0};
	list_below(root, "", out);
	if (out->count > 0)
		qsort(out->paths, out->count, sizeof(*out->paths), compare_paths);
}

void files_free(struct files *f)
{
	free(f->paths);
	*f = (struct files){0};
}

struct span file_load(const char *root, const char *path)
{
	char full[2 * PATH], *bytes;
	struct stat st;
	size_t done = 0;
	int fd;

	join(full, root, path);
	fd = open(full, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		return (struct span){0};
	bytes = malloc((size_t)st.st_size + 1);
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + done, (size_t)st.st_size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fd);
	return span_of(bytes, done);
}

/* Mode and times stay, as they do when a disk damages a file. */
void file_save(const char *root, const char *path, struct span content)
{
	char full[2 * PATH];
	struct stat st = {.st_mode = 0600};
	struct timespec times[2];
	bool was;
	int fd;

	join(full, root, path);
	was = stat(full, &st) == 0;
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, st.st_mode & 07777);
	if (fd < 0 || write(fd, content.ptr, content.len) != (ssize_t)content.len)
		die("cannot write %s", full);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (was)
		futimens(fd, times);
	close(fd);
}

void tree_copy(const char *from, const char *to)
{
	char a[2 * PATH], b[2 * PATH];
	struct dirent *entry;
	struct stat st;
	DIR *dir = opendir(from);

	if (dir == NULL)
		die("cannot read %s", from);
	mkdir(to, 0700);
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		join(a, from, entry->d_name);
		join(b, to, entry->d_name);
		if (lstat(a, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			tree_copy(a, b);
		} else if (S_ISREG(st.st_mode)) {
			struct span content = file_load(from, entry->d_name);
			const struct timespec times[2] = {st.st_atim, st.st_mtim};

			file_save(to, entry->d_name, content);
			chmod(b, st.st_mode & 07777);
			utimensat(AT_FDCWD, b, times, 0);
			free((void *)(uintptr_t)content.ptr);
		}
	}
	closedir(dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

void tree_remove(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}
