/* The pieces of the confinement, each in a child: what still works, what fails, what ends the process. */
#include "tests/unit/test.h"

#include "proc/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/confine-test-XXXXXX");
	if (mkdtemp(directory) == NULL || chdir(directory) != 0 || chmod(directory, 0777) != 0)
		return 1;
	fd = open("inside", O_WRONLY | O_CREAT, 0666);
	return fd < 0 || close(fd) != 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return chdir("/") != 0 || system(command) != 0;
}

/* Runs fn in a child; -SIGNAL, or what it returned (0 to 125). */
static int in_child(int (*fn)(const struct profile *profile), const struct profile *profile)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(profile));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- system calls ---- */

static bool seccomp_ok(const struct profile *profile)
{
	struct err err;

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && confine_seccomp(profile, &err) == 0;
}

/* What an act says when it worked; else the error's number. */
enum { WORKED = 100, NO_FILTER = 101 };

#define ACT(name, expression)                                                                      \
	static int name(const struct profile *profile)                                             \
	{                                                                                          \
		if (!seccomp_ok(profile))                                                          \
			return NO_FILTER;                                                          \
		errno = 0;                                                                         \
		return (expression) ? WORKED : errno;                                              \
	}

static void *nothing(void *arg)
{
	return arg;
}

static bool make_thread(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static bool make_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

ACT(act_getpid, getpid() > 0)
ACT(act_open, open("inside", O_RDONLY) >= 0)
ACT(act_unlink, unlink("inside") == 0)
ACT(act_socket, socket(AF_INET, SOCK_STREAM, 0) >= 0)
ACT(act_socket_udp, socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) >= 0)
ACT(act_socket_unix, socket(AF_UNIX, SOCK_STREAM, 0) >= 0)
ACT(act_socket_netlink, socket(AF_NETLINK, SOCK_DGRAM, 0) >= 0)
ACT(act_socket_raw, socket(AF_INET, SOCK_RAW, 1) >= 0)
ACT(act_socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0}) == 0)
ACT(act_fork, make_child())
ACT(act_thread, make_thread())
ACT(act_prctl, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
ACT(act_inotify, syscall(SYS_inotify_init1, 0) >= 0)
ACT(act_msync, mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED && msync(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, MS_SYNC) == 0)
ACT(act_kill_self, syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) == 0)
ACT(act_kill_parent, syscall(SYS_tgkill, getppid(), getppid(), 0) == 0)
ACT(act_setuid, setuid(0) == 0)
ACT(act_namespace, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) > 0)
ACT(act_exec, execl("/bin/true", "true", (char *)NULL) == 0)
ACT(act_ptrace, ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
ACT(act_unshare, unshare(CLONE_NEWNS) == 0)
ACT(act_uring, syscall(SYS_io_uring_setup, 1, NULL) >= 0)
ACT(act_mount, syscall(SYS_mount, "x", "/", "tmpfs", 0, NULL) == 0)

/* Calls come in groups; what is in none fails, and what only an intruder wants ends the process. */
static void calls_are_those_of_the_profile(void **state)
{
	static const struct {
		int (*act)(const struct profile *profile);
		unsigned calls; /* that make it work; 0: nothing does */
		int otherwise;
	} rows[] = {
	    {act_getpid, CALLS_BASE, EPERM},
	    {act_open, CALLS_FILE, EPERM},
	    {act_unlink, CALLS_FILE, EPERM},
	    {act_socket, CALLS_CONNECT, EPERM},
	    {act_socket_udp, CALLS_CONNECT, EPERM},
	    {act_socket_unix, 0, EPERM},
	    {act_socket_netlink, 0, EPERM},
	    {act_socket_raw, 0, EPERM},
	    {act_socketpair, CALLS_NET, EPERM},
	    {act_fork, CALLS_FORK, EPERM},
	    {act_thread, CALLS_THREAD, EPERM},
	    {act_prctl, CALLS_CONFINE, EPERM},
	    {act_inotify, CALLS_INOTIFY, EPERM},
	    {act_msync, CALLS_MMAP_FILE, EPERM},
	    {act_kill_self, CALLS_BASE, EPERM},
	    {act_kill_parent, CALLS_FORK, EPERM}, /* a spawner ends its children */
	    {act_setuid, 0, EPERM},
	    {act_namespace, 0, EPERM},
	    {act_exec, 0, -SIGSYS},
	    {act_ptrace, 0, -SIGSYS},
	    {act_unshare, 0, -SIGSYS},
	    {act_uring, 0, -SIGSYS},
	    {act_mount, 0, -SIGSYS},
	};
	static const unsigned groups[] = {CALLS_BASE, CALLS_NET, CALLS_FILE, CALLS_THREAD, CALLS_FORK, CALLS_CONNECT, CALLS_INOTIFY, CALLS_MMAP_FILE, CALLS_CONFINE};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
			struct profile profile = {.name = "test", .calls = CALLS_BASE | groups[g]};
			bool works = (profile.calls & rows[i].calls) != 0;
			int got;

			/* One other group is enough to see that it is not that one. */
			if (!works && groups[g] != CALLS_BASE && groups[g] != groups[(i + 1) % 9])
				continue;
			if (rows[i].act == act_fork && groups[g] == CALLS_THREAD)
				continue; /* clone() with other flags */
			got = in_child(rows[i].act, &profile);
			if (rows[i].act == act_thread && !works)
				got = got == WORKED ? WORKED : EPERM; /* pthread_create has its own errno */
			if (got != (works ? WORKED : rows[i].otherwise))
				fail_msg("act %zu with group %u: %d", i, groups[g], got);
		}
}

/* ---- files ---- */

static bool with_tree(const struct profile *profile, const char *path)
{
	int tree = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	struct err err;
	bool active;

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && confine_landlock(profile, tree, &active, &err) == 0 && active;
}

static bool opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int see_nothing(const struct profile *profile)
{
	int kept = open("inside", O_RDWR);
	char byte;

	if (!with_tree(profile, NULL))
		return 1;
	if (opens("inside", O_RDONLY) || opens("/etc/passwd", O_RDONLY) || opens("/", O_RDONLY) || opens("new", O_WRONLY | O_CREAT))
		return 2;
	/* What is open stays usable: descriptors are the permissions. */
	return write(kept, "x", 1) == 1 && pread(kept, &byte, 1, 0) == 1 ? WORKED : 3;
}

static int see_a_tree(const struct profile *profile)
{
	if (!with_tree(profile, "."))
		return 1;
	if (opens("/etc/passwd", O_RDONLY) || opens("..", O_RDONLY) || rename("inside", "/tmp/planted") == 0)
		return 2;
	if (!opens("inside", O_RDWR) || !opens("new", O_WRONLY | O_CREAT | O_EXCL) || truncate("new", 10) != 0 || mkdir("sub", 0700) != 0 ||
	    rename("new", "sub/new") != 0 || unlink("sub/new") != 0 || rmdir("sub") != 0)
		return 3;
	/* No programs, no sockets, no pipes, no devices in there. */
	if (mkfifo("pipe", 0600) == 0 || mknod("device", S_IFCHR | 0600, 0x103) == 0)
		return 4;
	if (symlink("/etc/passwd", "link") == 0 && opens("link", O_RDONLY))
		return 5;
	return WORKED;
}

static int reach_the_network(const struct profile *profile)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!with_tree(profile, NULL))
		return 1;
	connect(fd, (struct sockaddr *)&address, sizeof(address));
	return errno == EACCES || errno == EPERM ? 2 : WORKED;
}

static int landlock_version(void)
{
	return (int)syscall(444 /* landlock_create_ruleset */, NULL, 0, 1);
}

static void files_are_those_of_the_tree(void **state)
{
	struct profile profile = {.name = "test"}, connecting = {.name = "test", .calls = CALLS_CONNECT};

	(void)state;
	if (landlock_version() < 1)
		skip();
	assert_int_equal(in_child(see_nothing, &profile), WORKED);
	assert_int_equal(in_child(see_a_tree, &profile), WORKED);
	if (landlock_version() < 4)
		return;
	assert_int_equal(in_child(reach_the_network, &profile), 2);
	assert_int_equal(in_child(reach_the_network, &connecting), WORKED);
}

/* ---- the whole of it ---- */

static uint64_t limit_of(int what)
{
	struct rlimit limit;

	return getrlimit((__rlimit_resource_t)what, &limit) == 0 && limit.rlim_cur == limit.rlim_max ? limit.rlim_cur : 77;
}

/* All steps; as root also another user in an empty root directory. */
static int confine_all(const struct profile *profile)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0};
	bool root = geteuid() == 0, landlock = false;
	struct err err = {0};

	if (proc_confine(profile, directory, "no", &landlock, &err) != 0)
		return 1;
	if (limit_of(RLIMIT_CORE) != 0 || limit_of(RLIMIT_NOFILE) != 100 || limit_of(RLIMIT_FSIZE) != 5000 || limit_of(RLIMIT_NPROC) != 0)
		return 2;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 3;
	if (syscall(SYS_capget, &header, caps) == 0)
		return 4; /* not on the list */
	if (root && (getuid() != 65534 || geteuid() != 65534 || getgid() != 65534 || getgroups(0, NULL) != 0 || setuid(0) == 0 || chroot(".") == 0))
		return 5;
	if (root && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) != 0)
		return 6;
	if (opens("/etc/passwd", O_RDONLY) || opens("../inside", O_RDONLY) != root)
		return 7; /* above the root is the root */
	if (!opens("inside", O_RDONLY) || !opens("made", O_WRONLY | O_CREAT))
		return 8;
	/* umask 077 */
	struct stat st;
	if (stat("made", &st) != 0 || (st.st_mode & 0777) != 0600 || mkdir("sub", 0777) != 0 || stat("sub", &st) != 0 || (st.st_mode & 0777) != 0700)
		return 9;
	return landlock || landlock_version() < 1 ? WORKED : 10;
}

static const struct profile everything = {.name = "test", .user = "body", .tree = TREE_SPOOL, .calls = CALLS_BASE | CALLS_FILE | CALLS_CONFINE,
    .files = 100, .file_size = 5000, .memory = UINT64_C(64) << 30};

static void a_process_is_confined(void **state)
{
	(void)state;
	assert_int_equal(in_child(confine_all, &everything), WORKED);
}

static const char *confine_tree = directory, *confine_prefix = "no", *confine_text;

/* Fails, and says so; exit, not _exit: nothing is confined yet, and what ran is counted. */
static int confine_badly(const struct profile *profile)
{
	bool landlock;
	struct err err = {0};
	int r = proc_confine(profile, confine_tree, confine_prefix, &landlock, &err);

	exit(r != 0 && strncmp(err.text, confine_text, strlen(confine_text)) == 0 ? WORKED : 1);
}

static void what_is_missing_is_told(void **state)
{
	struct profile other = everything;

	(void)state;
	if (geteuid() != 0)
		skip();
	confine_prefix = "no-such-";
	confine_text = "system user no-such-body does not exist";
	assert_int_equal(in_child(confine_badly, &everything), WORKED);
	confine_prefix = "ro";
	other.user = "ot";
	confine_text = "system user root must not be root";
	assert_int_equal(in_child(confine_badly, &other), WORKED);
	confine_prefix = "no";
	confine_tree = NULL;
	confine_text = "no root directory given";
	assert_int_equal(in_child(confine_badly, &everything), WORKED);
	confine_tree = "/tmp/confine-test-none";
	confine_text = "chroot to /tmp/confine-test-none: No such file or directory";
	assert_int_equal(in_child(confine_badly, &everything), WORKED);
	confine_tree = directory;
}

/* The limit of the machine is lower: it is lived with. */
static int confine_poor(const struct profile *profile)
{
	struct rlimit poor = {50, 50};

	if (setrlimit(RLIMIT_NOFILE, &poor) != 0)
		return 1;
	return confine_all(profile) == 2 && limit_of(RLIMIT_NOFILE) == 50 ? WORKED : 2;
}

static void limits_are_at_most_the_machines(void **state)
{
	(void)state;
	assert_int_equal(in_child(confine_poor, &everything), WORKED);
}

/* A spawner's child: one account of many. */
static int narrow(const struct profile *profile)
{
	int dir = open("account", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err;
	char here[256];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || proc_confine_account(profile, dir, &err) != 0)
		return 1;
	if (getcwd(here, sizeof(here)) == NULL || strcmp(strrchr(here, '/'), "/account") != 0)
		return 2;
	if (!opens("mail", O_WRONLY | O_CREAT))
		return 3;
	if (landlock_version() >= 1 && (opens("../inside", O_RDONLY) || opens("../other", O_RDONLY)))
		return 4;
	return limit_of(RLIMIT_NOFILE) == 100 ? WORKED : 5;
}

static void a_child_is_narrowed_to_its_account(void **state)
{
	(void)state;
	assert_int_equal(mkdir("account", 0777), 0);
	assert_int_equal(mkdir("other", 0777), 0);
	assert_int_equal(in_child(narrow, &everything), WORKED);
}

static int narrow_badly(const struct profile *profile)
{
	struct err err = {0};
	int r = proc_confine_account(profile, -1, &err);

	exit(r != 0 && strcmp(err.text, "account directory: Bad file descriptor") == 0 ? WORKED : 1);
}

/* All of a confinement whose tree is everything: the process ends as others do. */
static int narrow_to_everything(const struct profile *profile)
{
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct profile wide = *profile;
	struct err err;

	wide.file_size = UINT64_C(1) << 30;
	wide.calls |= CALLS_FORK | CALLS_THREAD;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || proc_confine_account(&wide, dir, &err) != 0)
		return 1;
	exit(opens("/etc/passwd", O_RDONLY) ? WORKED : 2);
}

static void a_directory_is_needed(void **state)
{
	(void)state;
	assert_int_equal(in_child(narrow_badly, &everything), WORKED);
	assert_int_equal(in_child(narrow_to_everything, &everything), WORKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(calls_are_those_of_the_profile, setup, teardown),
	    cmocka_unit_test_setup_teardown(files_are_those_of_the_tree, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_process_is_confined, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_missing_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(limits_are_at_most_the_machines, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_child_is_narrowed_to_its_account, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_directory_is_needed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
