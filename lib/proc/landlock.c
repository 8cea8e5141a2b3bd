/*
 * Landlock by system call. Debian 12's headers stop at ABI 2, so the newer bits
 * are named here; only what the running kernel knows is asked for.
 */
#include "proc/confine.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_ABI1	     (((uint64_t)1 << 13) - 1)
#define FS_REFER     ((uint64_t)1 << 13)
#define FS_TRUNCATE  ((uint64_t)1 << 14)
#define FS_IOCTL_DEV ((uint64_t)1 << 15)
#define NET_BIND     ((uint64_t)1 << 0)
#define NET_CONNECT  ((uint64_t)1 << 1)
#define SCOPE_ALL    ((uint64_t)3) /* abstract sockets and signals */

#define FS_EXECUTE ((uint64_t)1 << 0)
#define FS_MAKE_SPECIAL                                                                            \
	((uint64_t)1 << 6 | (uint64_t)1 << 9 | (uint64_t)1 << 10 | (uint64_t)1 << 11) /* char, sock, fifo, block */

struct ruleset {
	uint64_t fs;
	uint64_t net;
	uint64_t scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

static struct ruleset ruleset_for(int abi, const struct profile *profile)
{
	struct ruleset set = {.fs = FS_ABI1};

	if (abi >= 2)
		set.fs |= FS_REFER;
	if (abi >= 3)
		set.fs |= FS_TRUNCATE;
	if (abi >= 5)
		set.fs |= FS_IOCTL_DEV;
	if (abi >= 4 && !(profile->calls & CALLS_CONNECT))
		set.net = NET_BIND | NET_CONNECT;
	if (abi >= 6)
		set.scoped = SCOPE_ALL;
	return set;
}

static size_t ruleset_size(int abi)
{
	return abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
}

int confine_landlock(const struct profile *profile, int tree, bool *active, struct err *err)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* version */);
	struct ruleset set;
	int ruleset, r = 0;

	*active = abi >= 1;
	if (abi < 1)
		return 0;
	set = ruleset_for((int)abi, profile);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, ruleset_size((int)abi), 0);
	if (ruleset < 0)
		return err_set_errno(err, errno, "landlock_create_ruleset");
	if (tree >= 0) {
		struct path_beneath rule = {.allowed = set.fs & ~(FS_EXECUTE | FS_MAKE_SPECIAL),
		    .parent = tree};

		if (syscall(SYS_landlock_add_rule, ruleset, 1 /* path beneath */, &rule, 0) != 0)
			r = err_set_errno(err, errno, "landlock_add_rule");
	}
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		r = err_set_errno(err, errno, "landlock_restrict_self");
	close(ruleset);
	return r;
}
