/*
 * Puts itself into each daemon's confinement, as the daemons do, and tries what
 * none of them may do. usage: confine DIRECTORY-TREE SPOOL STORE EMPTY [--free]
 * Prints one line for each act that succeeded; exit 0 when every one was refused. With --free as a fifth argument
 * nothing is confined: so that it is seen that the acts are real ones.
 */
#include "base/err.h"
#include "proc/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t sibling;  /* a process of the same user */
static int inherited;  /* a socket from before */
static bool is_free;   /* --free */
static int outside_fd; /* "/" as it was before */

static bool act_open_passwd(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool act_open_above(void)
{
	return open("../../../../../../../etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool act_open_outside(void)
{
	return openat(outside_fd, "etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool act_write_root(void)
{
	return open("/planted", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 && access("/etc", F_OK) == 0;
}

static bool act_connect(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(25), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Refused by the peer would mean that the packet went out. */
	return fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == ECONNREFUSED);
}

static bool act_listen(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool act_raw_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_NETLINK, SOCK_RAW, 0) >= 0;
}

static bool act_exec(void)
{
	char *argv[] = {(char *)(uintptr_t)"true", NULL};

	execv("/bin/true", argv);
	return false; /* had it worked, the status would be 0: see run_act */
}

static bool act_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, sibling, NULL, NULL) == 0;
}

static bool act_kill(void)
{
	return kill(sibling, SIGTERM) == 0;
}

static bool act_regain(void)
{
	return setresuid(0, 0, 0) == 0 && geteuid() == 0;
}

static bool act_regain_group(void)
{
	return setresgid(0, 0, 0) == 0 && getegid() == 0;
}

static bool act_mount(void)
{
	return mount("none", "/", "tmpfs", 0, NULL) == 0;
}

static bool act_namespace(void)
{
	return unshare(0x10000000 /* CLONE_NEWUSER */) == 0;
}

static bool act_chroot(void)
{
	return chroot(".") == 0;
}

static bool act_device(void)
{
	if (mknod("device", S_IFCHR | 0600, 0) != 0)
		return false;
	unlink("device");
	return true;
}

static bool act_keyring(void)
{
	return syscall(SYS_add_key, "user", "x", "y", 1, -3) >= 0;
}

static bool act_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) >= 0 || syscall(SYS_io_uring_setup, 1, NULL) >= 0;
}

static bool act_module(void)
{
	return syscall(SYS_init_module, NULL, 0, "") == 0 || errno == EFAULT;
}

static bool act_other_account(void)
{
	return open("/02/2/secret", O_RDONLY | O_CLOEXEC) >= 0 || open("../../02/2/secret", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool act_limit_sibling(void)
{
	struct rlimit none = {3, 3};

	return prlimit(sibling, RLIMIT_NOFILE, &none, NULL) == 0;
}

/* Its next byte of input would be the sibling's end. */
static bool act_signal_by_descriptor(void)
{
	int fds[2];

	return pipe2(fds, O_CLOEXEC) == 0 && fcntl(fds[0], F_SETOWN, sibling) == 0 && fcntl(fds[0], F_SETSIG, SIGKILL) == 0;
}

/* inherited: a socket that others have open too, as the log's. */
static bool act_close_slowly(void)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 30};

	return setsockopt(inherited, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0;
}

static bool act_shut_inherited(void)
{
	return shutdown(inherited, SHUT_RDWR) == 0;
}

static bool act_chmod_other_account(void)
{
	return chmod("/02/2/secret", 0) == 0 || chmod("../../02/2/secret", 0) == 0 || utimensat(AT_FDCWD, "../../02/2", NULL, 0) == 0;
}

/* The sanitizer needs all the address space there is, and gets it. */
static bool act_take_memory(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return false;
#else
	return mmap(NULL, (size_t)4 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
#endif
}

/*
 * NETWORK: the work of those who open connections. Of a process that runs code of others as root, so that most acts are its right, only
 * what is marked FORBIDDEN_TO_OTHERS.
 */
enum { ACCOUNTS_ONLY = 1, NETWORK = 2, FORBIDDEN_TO_OTHERS = 4 };

static const struct act {
	const char *name;
	bool (*act)(void);
	unsigned flags;
} acts[] = {
    {"open /etc/passwd", act_open_passwd, 0},
    {"open /etc/passwd from above", act_open_above, 0},
    {"open through a descriptor from before", act_open_outside, 0},
    {"write into the root directory of the machine", act_write_root, 0},
    {"connect to a port", act_connect, NETWORK},
    {"bind a port", act_listen, NETWORK},
    {"make a raw socket", act_raw_socket, 0},
    {"execute a program", act_exec, 0},
    {"trace a process", act_ptrace, FORBIDDEN_TO_OTHERS},
    {"kill a sibling", act_kill, 0},
    {"become root", act_regain, 0},
    {"become root's group", act_regain_group, 0},
    {"mount", act_mount, FORBIDDEN_TO_OTHERS},
    {"make a namespace", act_namespace, FORBIDDEN_TO_OTHERS},
    {"change the root directory", act_chroot, FORBIDDEN_TO_OTHERS},
    {"make a device", act_device, 0},
    {"add a key", act_keyring, 0},
    {"use bpf or io_uring", act_bpf, FORBIDDEN_TO_OTHERS},
    {"load a module", act_module, FORBIDDEN_TO_OTHERS},
    {"limit a sibling", act_limit_sibling, 0},
    {"have the kernel signal a sibling", act_signal_by_descriptor, 0},
    {"make the close of a socket wait", act_close_slowly, 0},
    {"read another account's mail", act_other_account, ACCOUNTS_ONLY},
    {"change the mode of another account's mail", act_chmod_other_account, ACCOUNTS_ONLY},
    {"take 4 GiB of memory", act_take_memory, ACCOUNTS_ONLY},
    {"shut a socket that others have too", act_shut_inherited, ACCOUNTS_ONLY},
};

struct trees {
	const char *directory, *spool, *store, *empty;
};

static const char *tree_of(const struct trees *trees, enum profile_tree tree)
{
	switch (tree) {
	case TREE_RELAY:
	case TREE_DIRECTORY:
		return trees->directory;
	case TREE_SPOOL:
	case TREE_DROP:
		return trees->spool;
	case TREE_STORE:
	case TREE_ACCOUNT:
		return trees->store;
	case TREE_MACHINE:
		return "/";
	case TREE_NONE:
		break;
	}
	return trees->empty;
}

/* As the daemon, or as a spawner's child. */
static void enter(const struct profile *profile, const struct trees *trees)
{
	const struct profile *parent = profile;
	struct err err = {0};
	bool landlock = false;
	int dir, r;

	if (profile->tree == TREE_ACCOUNT)
		parent = profile_find(strcmp(profile->name, "worker") == 0 ? "deliver" : "imap-session");
	r = proc_confine(parent, tree_of(trees, parent->tree), "mw-", &landlock, &err);
	if (r == 0 && profile->tree == TREE_ACCOUNT) {
		dir = open("01/1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			r = err_set_errno(&err, errno, "the account's own directory");
		else
			r = proc_confine_account(profile, dir, &err);
	}
	if (r != 0) {
		fprintf(stderr, "%s: %s\n", profile->name, err.text);
		_exit(70);
	}
}

enum { STATUS_REFUSED = 42, STATUS_DONE = 43 };

static bool run_act(const struct profile *profile, const struct trees *trees, const struct act *act)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (!is_free)
			enter(profile, trees);
		_exit(act->act() ? STATUS_DONE : STATUS_REFUSED);
	}
	waitpid(pid, &status, 0);
	/* Refused with an error, or ended by the kernel for trying. */
	if ((WIFEXITED(status) && WEXITSTATUS(status) == STATUS_REFUSED) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS))
		return true;
	printf("%s could %s (status %x)\n", profile->name, act->name, (unsigned)status);
	return false;
}

/* As whom the profile's processes run; what a user may do to itself must be refused by the sandbox. */
static void sibling_start(const struct profile *profile)
{
	struct passwd *pw;
	char name[64];
	int ready[2];
	char byte;

	snprintf(name, sizeof(name), "mw-%s", profile->user != NULL ? profile->user : "");
	pw = getpwnam(name); /* NULL: none of its own */
	if (pipe(ready) != 0)
		exit(71);
	sibling = fork();
	if (sibling == 0) {
		if (geteuid() == 0 && pw != NULL && !is_free &&
		    (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0))
			_exit(71);
		close(ready[1]);
		pause();
		_exit(0);
	}
	/* It has its user when its end of the pipe is closed. */
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 0)
		exit(71);
	close(ready[0]);
}

static void sibling_end(void)
{
	kill(sibling, SIGKILL);
	waitpid(sibling, NULL, 0);
}

int main(int argc, char **argv)
{
	struct trees trees;
	unsigned tried = 0, failed = 0;
	int pair[2];

	is_free = argc == 6 && strcmp(argv[5], "--free") == 0;
	if (argc != 5 && !is_free) {
		fprintf(stderr, "usage: confine DIRECTORY SPOOL STORE EMPTY [--free]\n");
		return 64;
	}
	trees = (struct trees){argv[1], argv[2], argv[3], argv[4]};
	outside_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return 71;
	inherited = pair[0];
	for (const struct profile *p = profile_table; p->name != NULL; p++) {
		sibling_start(p);
		for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
			if ((acts[i].flags & ACCOUNTS_ONLY) != 0 && p->tree != TREE_ACCOUNT)
				continue;
			/* An ordinary user's has nothing that it could give up. */
			if (p->tree == TREE_MACHINE && ((acts[i].flags & FORBIDDEN_TO_OTHERS) == 0 || geteuid() != 0))
				continue;
			if ((acts[i].flags & NETWORK) != 0 && (p->calls & CALLS_CONNECT) != 0)
				continue;
			tried++;
			failed += !run_act(p, &trees, &acts[i]);
		}
		sibling_end();
	}
	printf("%u acts tried, %u succeeded\n", tried, failed);
	return failed == 0 ? 0 : 1;
}
