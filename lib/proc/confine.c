/* proc_confine: from root to a process that can do its job and nothing else. */
#include "proc/confine.h"

#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
enum { MDWE_REFUSE_EXEC_GAIN = 1, CAPABILITY_LAST = 63 };

#if defined(__SANITIZE_ADDRESS__)
#define CONFINE_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_SANITIZED true
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED false
#endif

static int set_limit(int what, uint64_t value, const char *name, struct err *err)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)what, &limit) != 0)
		return err_set_errno(err, errno, "getrlimit %s", name);
	if (limit.rlim_max != RLIM_INFINITY && value > limit.rlim_max)
		value = limit.rlim_max; /* the machine gives less: live with it */
	limit.rlim_cur = limit.rlim_max = value;
	if (setrlimit((__rlimit_resource_t)what, &limit) != 0)
		return err_set_errno(err, errno, "setrlimit %s", name);
	return 0;
}

static int confine_limits(const struct profile *profile, struct err *err)
{
	int r = set_limit(RLIMIT_CORE, 0, "core", err);

	if (r == 0)
		r = set_limit(RLIMIT_NOFILE, profile->files, "nofile", err);
	if (r == 0)
		r = set_limit(RLIMIT_FSIZE, profile->file_size, "fsize", err);
	/* The sanitizer's shadow needs terabytes of address space. */
	if (r == 0 && profile->memory != 0 && !CONFINE_SANITIZED)
		r = profile->calls & CALLS_MMAP_FILE ? set_limit(RLIMIT_DATA, profile->memory, "data", err)
						     : set_limit(RLIMIT_AS, profile->memory, "as", err);
	if (r == 0 && profile->processes == 0 && !(profile->calls & CALLS_THREAD))
		r = set_limit(RLIMIT_NPROC, 0, "nproc", err);
	return r;
}

static int confine_user(const char *prefix, const char *user, uid_t *uid, gid_t *gid, struct err *err)
{
	char name[64];
	struct passwd *pw;

	snprintf(name, sizeof(name), "%s%s", prefix, user);
	pw = getpwnam(name);
	if (pw == NULL)
		return err_set(err, E_NOTFOUND, "system user %s does not exist; `mailwain init` makes it", name);
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		return err_set(err, E_DENIED, "system user %s must not be root", name);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

static int confine_root(const char *tree, struct err *err)
{
	if (tree == NULL)
		return err_set(err, E_BUG, "no root directory given");
	if (chroot(tree) != 0 || chdir("/") != 0)
		return err_set_errno(err, errno, "chroot to %s", tree);
	return 0;
}

/* Each step is checked, and getting back is tried: it must not work. */
static int confine_drop(uid_t uid, gid_t gid, struct err *err)
{
	for (int cap = 0; cap <= CAPABILITY_LAST; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL)
			return err_set_errno(err, errno, "dropping capability %d", cap);
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return err_set_errno(err, errno, "changing to user %u", (unsigned)uid);
	if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0 || getuid() != uid || geteuid() != uid)
		return err_set(err, E_BUG, "privileges came back after they were dropped");
	return 0;
}

static int confine_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capset, &header, data) != 0)
		return err_set_errno(err, errno, "capset");
	return 0;
}

static int confine_process(struct err *err)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_set_errno(err, errno, "PR_SET_DUMPABLE");
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
		return err_set_errno(err, errno, "PR_SET_PDEATHSIG");
	/* Older kernels do not know it; the rest of the sandbox does not lean on it. */
	if (!CONFINE_SANITIZED)
		(void)prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set_errno(err, errno, "PR_SET_NO_NEW_PRIVS");
	return 0;
}

static int confine_tree(const struct profile *profile, const char *path, bool *landlock, struct err *err)
{
	int tree = -1;
	int r;

	if (profile->tree != TREE_NONE) {
		tree = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (tree < 0)
			return err_set_errno(err, errno, "open %s", path);
	}
	r = confine_landlock(profile, tree, landlock, err);
	if (tree >= 0)
		close(tree);
	return r;
}

/* ---- where code of others runs as root ---- */

/* What PAM's modules need to read and write their files, to become a user and to tell the audit. */
static const int capabilities_of_others[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SETGID, CAP_SETUID,
    CAP_AUDIT_WRITE};

static bool others_need(int cap)
{
	for (size_t i = 0; i < sizeof(capabilities_of_others) / sizeof(capabilities_of_others[0]); i++)
		if (capabilities_of_others[i] == cap)
			return true;
	return false;
}

/* Of those that this process has; programs that are started have no others. */
static int confine_capabilities_others(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	for (int cap = 0; cap <= CAPABILITY_LAST; cap++)
		if (!others_need(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL)
			return err_set_errno(err, errno, "dropping capability %d", cap);
	if (syscall(SYS_capget, &header, data) != 0)
		return err_set_errno(err, errno, "capget");
	for (int cap = 0; cap <= CAPABILITY_LAST; cap++)
		if (!others_need(cap)) {
			data[cap / 32].effective &= ~(1U << cap % 32);
			data[cap / 32].permitted &= ~(1U << cap % 32);
			data[cap / 32].inheritable &= ~(1U << cap % 32);
		}
	return syscall(SYS_capset, &header, data) == 0 ? 0 : err_set_errno(err, errno, "capset");
}

/*
 * No root directory, no user and no Landlock rules of its own: the modules are the machine's and want to see it. An ordinary
 * user's process keeps what it has, which is little.
 */
static int confine_others(const struct profile *profile, const char *tree, struct err *err)
{
	bool root = geteuid() == 0;
	int r = confine_limits(profile, err);

	if (r == 0 && chdir(tree) != 0)
		r = err_set_errno(err, errno, "chdir %s", tree);
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
		r = err_set_errno(err, errno, "PR_SET_PDEATHSIG");
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		r = err_set_errno(err, errno, "PR_SET_DUMPABLE");
	if (r == 0 && root)
		r = confine_seccomp(profile, err);
	if (r == E_DENIED) /* a container's root: less to be afraid of, and PAM works */
		r = 0;
	if (r == 0 && root)
		r = confine_capabilities_others(err);
	return r;
}

int proc_confine(const struct profile *profile, const char *tree, const char *user_prefix,
    bool *landlock, struct err *err)
{
	bool root = geteuid() == 0;
	uid_t uid = 0;
	gid_t gid = 0;
	int r = 0;

	umask(077);
	if (profile->user == NULL) {
		*landlock = true; /* it is not missed */
		return confine_others(profile, tree, err);
	}
	if (root)
		r = confine_user(user_prefix, profile->user, &uid, &gid, err);
	if (r == 0)
		r = confine_limits(profile, err);
	if (r == 0 && root)
		r = confine_root(tree, err);
	else if (r == 0 && profile->tree != TREE_NONE && chdir(tree) != 0)
		r = err_set_errno(err, errno, "chdir %s", tree);
	if (r == 0 && root)
		r = confine_drop(uid, gid, err);
	if (r == 0)
		r = confine_capabilities(err);
	if (r == 0)
		r = confine_process(err);
	if (r == 0)
		r = confine_tree(profile, root ? "/" : ".", landlock, err);
	if (r == 0)
		r = confine_seccomp(profile, err);
	return r;
}

int proc_confine_account(const struct profile *profile, int dir, struct err *err)
{
	bool landlock;
	int r = 0;

	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
		return err_set_errno(err, errno, "PR_SET_PDEATHSIG");
	if (fchdir(dir) != 0)
		return err_set_errno(err, errno, "account directory");
	r = confine_limits(profile, err);
	if (r == 0)
		r = confine_landlock(profile, dir, &landlock, err);
	if (r == 0)
		r = confine_seccomp(profile, err);
	/* Compiling the filter took a quarter of a megabyte, which there would be once for each session. */
	malloc_trim(0);
	return r;
}
