/* The system users of the daemons. Packages make them by sysusers.d; this is for everyone else. */
#include "master/init.h"

#include "proc/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USERADD_TRIES = 20, USERADD_WAIT_MS = 250 };

extern char **environ;

static int run_useradd(const char *name, struct err *err)
{
	char *argv[] = {(char[]){"useradd"}, (char[]){"--system"}, (char[]){"--user-group"},
	    (char[]){"--no-create-home"}, (char[]){"--home-dir"}, (char[]){"/nonexistent"},
	    (char[]){"--shell"}, (char[]){"/usr/sbin/nologin"}, NULL, NULL};
	char copy[64];
	int status, number;
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", name);
	argv[8] = copy;
	number = posix_spawnp(&pid, "useradd", NULL, NULL, argv, environ);
	if (number != 0)
		return err_set_errno(err, number, "useradd(8), which makes the user %s", name);
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, E_CANNOT, "useradd --system %s failed; make this user by hand and try again", name);
	return 0;
}

/* Another init may be at the same work, and one alone can write into passwd(5). */
static int make_user(const char *name, struct err *err)
{
	int r = run_useradd(name, err);

	for (int tries = 0; r != 0 && tries < USERADD_TRIES; tries++) {
		poll(NULL, 0, USERADD_WAIT_MS);
		r = getpwnam(name) != NULL ? 0 : run_useradd(name, err);
	}
	return r;
}

int init_users(const char *prefix, init_made *made, void *arg, struct err *err)
{
	for (const struct profile *p = profile_table; p->name != NULL; p++) {
		char name[64];
		int r;

		if (p->user == NULL)
			continue;
		snprintf(name, sizeof(name), "%s%s", prefix, p->user);
		if (getpwnam(name) != NULL)
			continue;
		r = make_user(name, err);
		if (r != 0)
			return r;
		if (made != NULL)
			made(arg, "user", name);
	}
	return 0;
}

int init_user(const char *prefix, const char *name, uid_t *uid, gid_t *gid, struct err *err)
{
	char user[64];
	struct passwd *pw;

	snprintf(user, sizeof(user), "%s%s", prefix, name);
	pw = getpwnam(user);
	if (pw == NULL)
		return err_set(err, E_NOTFOUND, "user %s does not exist", user);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int init_own(const char *path, uid_t uid, gid_t gid, unsigned mode, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return err_set_errno(err, errno, "%s", path);
	if (fchmod(fd, mode) != 0)
		r = err_set_errno(err, errno, "chmod %s", path);
	else if (geteuid() == 0 && fchown(fd, uid, gid) != 0)
		r = err_set_errno(err, errno, "chown %s", path);
	close(fd);
	return r;
}
