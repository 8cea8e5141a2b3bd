#include "master/alias_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A list's directory may be its owner's, who could put a link in the place of any part of the path: to what only root may read.
 * A device or a pipe must not make us wait.
 */
static int open_list(const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static int refuse(const char *path, const char *why, struct err *err)
{
	return err_set(err, E_DENIED, "%.150s: %s", path, why);
}

static int check(const char *path, const struct stat *st, bool list, struct err *err)
{
	bool ours = st->st_uid == 0 || st->st_uid == geteuid();

	if (!S_ISREG(st->st_mode))
		return refuse(path, "is not a plain file", err);
	if (st->st_size > ALIAS_FILE_MAX)
		return err_set(err, E_TOOBIG, "%.150s: larger than %d bytes", path, ALIAS_FILE_MAX);
	if ((st->st_mode & S_IWOTH) != 0 || ((st->st_mode & S_IWGRP) != 0 && st->st_gid != 0))
		return refuse(path, "others than its owner may write it; chmod go-w", err);
	if (!list && !ours)
		return refuse(path, "belongs to another user than root; chown root", err);
	if (list && (st->st_mode & S_IROTH) == 0 && !ours)
		return refuse(path, "not everybody may read it, and it is not root's; chmod a+r", err);
	if (list && st->st_nlink != 1)
		return refuse(path, "has several names (hard links); copy it", err);
	return 0;
}

static int read_all(int fd, const struct stat *st, const char *path, struct buf *out, struct err *err)
{
	char *room = buf_reserve(out, (size_t)st->st_size + 1);
	ssize_t n;

	if (room == NULL)
		return err_set(err, E_NOMEM, "%.150s: out of memory", path);
	do {
		n = read(fd, room, (size_t)st->st_size + 1 - buf_len(out));
		if (n > 0) {
			buf_added(out, (size_t)n);
			room += n;
		}
	} while (n > 0 && buf_len(out) <= (size_t)st->st_size);
	if (n < 0)
		return err_set_errno(err, errno, "%.150s", path);
	return buf_len(out) <= (size_t)st->st_size ? 0 : err_set(err, E_IO, "%.150s: grows while it is read; try again", path);
}

static int read_source(struct alias_source *source, bool list, struct buf *out)
{
	int fd = list ? open_list(source->path) : open(source->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0 && errno == ELOOP)
		r = refuse(source->path, "its path goes over a symbolic link; write the path without", &source->err);
	else if (fd < 0 && errno == ENOENT)
		r = err_set(&source->err, E_NOTFOUND, "%.150s: there is no such file", source->path);
	else if (fd < 0 || fstat(fd, &source->st) != 0)
		r = err_set_errno(&source->err, errno, "%.150s", source->path);
	else
		r = check(source->path, &source->st, list, &source->err);
	if (r == 0)
		r = read_all(fd, &source->st, source->path, out, &source->err);
	if (fd >= 0)
		close(fd);
	else
		(void)stat(source->path, &source->st); /* so that its change is seen */
	return r;
}

static struct alias_source *add_source(struct alias_files *files, struct span path)
{
	struct alias_source *source = NULL;

	for (size_t i = 1; i < files->count; i++)
		if (span_eq(span_str(files->sources[i].path), path))
			return NULL;
	if (files->count > ALIAS_INCLUDES_MAX)
		return NULL;
	source = &files->sources[files->count++];
	span_copy(path, source->path, sizeof(source->path));
	return source;
}

/* Lists in the order in which they are met, each once; what is past the limit is missing in the set, and so put off. */
static void add_lists(struct alias_files *files, const struct alias *alias)
{
	for (const struct alias_target *t = alias->targets; t != NULL; t = t->next)
		if (t->kind == ALIAS_INCLUDE)
			add_source(files, t->text);
}

static void read_list(struct alias_files *files, size_t i)
{
	struct alias_source *source = &files->sources[i];
	struct alias list;
	struct buf text;
	int r;

	buf_init(&text, ALIAS_FILE_MAX + 1);
	r = read_source(source, true, &text);
	if (r == 0)
		r = alias_list_parse(buf_span(&text), source->path, files->pool, &list, &source->err);
	if (r == 0 && buf_len(&files->set) + buf_len(&text) > ALIAS_SET_MAX - ALIAS_FILE_MAX / 4)
		r = err_set(&source->err, E_TOOBIG, "%.150s: all lists together are too large", source->path);
	if (r == 0) {
		alias_set_add(&files->set, ALIAS_MARK_LIST, source->path, buf_span(&text));
		add_lists(files, &list);
	} else {
		alias_set_add(&files->set, ALIAS_MARK_NO_LIST, source->path, span_str(source->err.text));
	}
	buf_fini(&text);
}

int alias_files_read(const char *path, struct alias_files *out, struct err *err)
{
	struct buf text;
	int r = 0;

	*out = (struct alias_files){.pool = pool_new(NULL, ALIAS_POOL_MAX), .sources = calloc(ALIAS_INCLUDES_MAX + 1, sizeof(*out->sources))};
	buf_init(&out->set, ALIAS_SET_MAX);
	buf_init(&text, ALIAS_FILE_MAX + 1);
	if (out->pool == NULL || out->sources == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	out->count = 1;
	span_copy(span_str(path), out->sources[0].path, sizeof(out->sources[0].path));
	if (read_source(&out->sources[0], false, &text) != 0 && out->sources[0].err.code != E_NOTFOUND)
		r = out->sources[0].err.code;
	if (r == 0)
		r = alias_file_parse(buf_span(&text), path, out->pool, &out->file, &out->sources[0].err);
	if (r == 0)
		alias_set_add(&out->set, ALIAS_MARK_FILE, path, buf_span(&text));
	else if (err != NULL)
		*err = out->sources[0].err;
	buf_fini(&text);
	for (size_t i = 0; i < out->file.count && r == 0; i++)
		add_lists(out, out->file.aliases[i]);
	for (size_t i = 1; i < out->count && r == 0; i++)
		read_list(out, i);
	if (r == 0 && buf_failed(&out->set))
		r = err_set(err, E_NOMEM, "out of memory");
	return r;
}

void alias_files_free(struct alias_files *files)
{
	buf_fini(&files->set);
	pool_free(&files->pool);
	free(files->sources);
	*files = (struct alias_files){0};
}
