/* The run directory: whose it must be, the lock that keeps a second supervisor out, the pid file. */
#include "master/master.h"

#include "base/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever may write there could have us write elsewhere, or take the place of a control socket. */
static int check(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return err_set_errno(err, errno, "run-directory %s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(err, E_DENIED, "run-directory %s: must be a directory of the user that starts the suite, into which nobody else may write",
		    path);
	return 0;
}

static int make(const struct instance *instance, struct err *err)
{
	char path[4200];
	int r;

	if (mkdir(instance->run, 0755) != 0 && errno != EEXIST)
		return err_set_errno(err, errno, "run-directory %s", instance->run);
	r = check(instance->run, err);
	if (r != 0)
		return r;
	snprintf(path, sizeof(path), "%s/empty", instance->run);
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : err_set_errno(err, errno, "%s", path);
}

static void pid_path(const struct instance *instance, char out[4200])
{
	snprintf(out, 4200, "%s/master.pid", instance->run);
}

static void read_pid(const struct instance *instance, char *out, size_t size)
{
	char path[4200];
	int fd;
	ssize_t n;

	pid_path(instance, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	n = fd >= 0 ? read(fd, out, size - 1) : -1;
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

/*
 * Two masters on one instance would be two writers of one spool. Whoever may read a file may lock it, and keep us from starting: this one
 * nobody else may.
 */
static int take_lock(const struct instance *instance, struct err *err)
{
	char path[4200], pid[32];
	int fd;

	snprintf(path, sizeof(path), "%s/master.lock", instance->run);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fchmod(fd, 0600) != 0)
		return err_set_errno(err, errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0; /* stays open, and with it the lock */
	close(fd);
	read_pid(instance, pid, sizeof(pid));
	return err_set(err, E_BUSY, "already running as process %s (%s is locked)", pid, path);
}

int run_directory_write_pid(const struct instance *instance, struct err *err)
{
	char path[4200], text[32];
	int fd, n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	pid_path(instance, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || !write_whole(fd, span_of(text, (size_t)n)))
		return err_set_errno(err, errno, "%s", path);
	close(fd);
	return 0;
}

int run_directory_take(const struct instance *instance, struct err *err)
{
	int r = make(instance, err);

	return r == 0 ? take_lock(instance, err) : r;
}
