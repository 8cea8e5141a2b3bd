/*
 * What a daemon may do, as data: profiles.def has one line for each kind of
 * process. proc_confine() applies it; tests/e2e and build/tests/confine apply
 * the very same lines and try to break out.
 */
#ifndef MW_PROC_PROFILE_H
#define MW_PROC_PROFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Groups of system calls; a profile is a set of them (seccomp.c has the lists). */
enum profile_calls {
	CALLS_BASE = 1,		/* memory, time, read and write of what is open, epoll, exit */
	CALLS_NET = 2,		/* accept, sendmsg and recvmsg with descriptors, getpeername, socketpair */
	CALLS_FILE = 4,		/* open, rename, unlink, fsync: below the Landlock rules */
	CALLS_THREAD = 8,	/* clone for threads, futex */
	CALLS_FORK = 16,	/* fork without exec, waitpid */
	CALLS_CONNECT = 32,	/* sockets of UDP and TCP, connect, bind: who has to do with other hosts */
	CALLS_INOTIFY = 64,	/* the session spawner's watch on indexes */
	CALLS_MMAP_FILE = 128,	/* shared mappings and file locks: LMDB */
	CALLS_CONFINE = 256,	/* landlock and seccomp once more: spawners */
	CALLS_OTHERS = 1024,	/* whatever code of others needs, programs included, but nothing that only an intruder wants: auth-pam */
	CALLS_TALK = 512,	/* of CALLS_NET what a socket that is there needs: sendmsg, recvmsg */
};

/* Which directory of the instance a process may see; everything else is out of reach. */
enum profile_tree {
	TREE_NONE,	/* no file system at all; the root directory is empty */
	TREE_DIRECTORY, /* data/directory */
	TREE_SPOOL,	/* the spool */
	TREE_DROP,	/* data/drop */
	TREE_RELAY,	/* data/relay */
	TREE_STORE,	/* data/store: the spawners */
	TREE_ACCOUNT,	/* one account's directory: set by proc_confine_account() */
	TREE_MACHINE,	/* all there is: auth-pam */
};

struct profile {
	const char *name;
	const char *user;	/* after the prefix; NULL: root stays root, with PAM's capabilities alone */
	enum profile_tree tree;
	unsigned calls;		/* enum profile_calls bits */
	uint64_t files;		/* RLIMIT_NOFILE */
	uint64_t file_size;	/* RLIMIT_FSIZE, bytes; 0: none may grow */
	uint64_t memory;	/* bytes: RLIMIT_AS; with CALLS_MMAP_FILE, where maps are larger than what is used, RLIMIT_DATA */
	uint64_t processes;	/* RLIMIT_NPROC beyond the running ones; 0: no fork */
};

const struct profile *profile_find(const char *name);
/* All of them, ended by one whose name is NULL. */
extern const struct profile profile_table[];

/*
 * Everything for this process, in this order: limits, chroot (as root only),
 * bounding set, groups, user (as root only; regaining is tried and must fail),
 * capabilities, dumpable off, no_new_privs, Landlock, seccomp. tree: the path of the
 * directory that stays in sight, which becomes the current one, "/" inside a chroot;
 * for TREE_NONE an empty one. user_prefix: "mw-". *landlock: false when the kernel
 * has none; the rest holds then. 0, or an error after which the process must end.
 */
int proc_confine(const struct profile *profile, const char *tree, const char *user_prefix,
    bool *landlock, struct err *err);

/*
 * For a spawner's child: narrows what may be seen to the directory `dir`
 * (descriptor, stays the caller's) and the system calls to `profile`'s. The current
 * directory becomes dir. 0, or an error after which the process must end.
 */
int proc_confine_account(const struct profile *profile, int dir, struct err *err);

#endif
