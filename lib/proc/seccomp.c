/*
 * System calls a profile may make. What is not listed fails with EPERM, so that
 * a new libc does not kill a daemon; what only an intruder wants kills it.
 */
#include "proc/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL(name) SCMP_SYS(name)
enum { CALL_END = -1 };

static const int calls_base[] = {CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64),
    CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2), CALL(close),
    CALL(close_range), CALL(lseek), CALL(fstat), CALL(newfstatat), CALL(ftruncate),
    CALL(dup), CALL(dup2), CALL(dup3), CALL(brk), CALL(mmap), CALL(munmap), CALL(mremap),
    CALL(mprotect), CALL(madvise), CALL(futex), CALL(rt_sigaction), CALL(rt_sigprocmask),
    CALL(rt_sigreturn), CALL(rt_sigtimedwait), CALL(sigaltstack), CALL(gettimeofday),
    CALL(clock_gettime), CALL(clock_nanosleep), CALL(nanosleep), CALL(time), CALL(getrandom),
    CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(epoll_create1), CALL(epoll_ctl),
    CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2), CALL(timerfd_create),
    CALL(timerfd_settime), CALL(pipe2), CALL(memfd_create), CALL(getpid), CALL(gettid),
    CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getgroups),
    CALL(getrlimit), CALL(getrusage), CALL(sysinfo), CALL(sched_yield),
    CALL(sched_getaffinity), CALL(uname), CALL(set_robust_list), CALL(get_robust_list), CALL(rseq),
    CALL(membarrier), CALL(restart_syscall), CALL(exit), CALL(exit_group), CALL(sendfile),
    CALL(copy_file_range), CALL(splice), CALL_END};

static const int calls_talk[] = {CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg), CALL_END};

static const int calls_net[] = {CALL(accept), CALL(accept4), CALL(recvmmsg), CALL(sendmmsg),
    CALL(shutdown), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(socketpair),
    CALL(listen), CALL_END};

/* Not by path: Landlock does not see who changes a mode or a time, and others' files belong to the same user. */
static const int calls_file[] = {CALL(open), CALL(openat), CALL(openat2), CALL(creat), CALL(stat),
    CALL(lstat), CALL(statx), CALL(access), CALL(faccessat), CALL(faccessat2), CALL(mkdir),
    CALL(mkdirat), CALL(rename), CALL(renameat), CALL(renameat2), CALL(link), CALL(linkat),
    CALL(unlink), CALL(unlinkat), CALL(rmdir), CALL(fsync), CALL(fdatasync), CALL(sync_file_range),
    CALL(fallocate), CALL(fchmod), CALL(getdents64), CALL(statfs), CALL(fstatfs), CALL(flock),
    CALL(getcwd), CALL(chdir), CALL(fchdir), CALL(umask), CALL(fadvise64), CALL(readahead),
    CALL_END};

static const int calls_map[] = {CALL(msync), CALL(mlock), CALL(munlock), CALL(mincore), CALL_END};

static const int calls_fork[] = {CALL(fork), CALL(vfork), CALL(wait4), CALL(waitid), CALL(kill),
    CALL(setpgid), CALL_END};

static const int calls_confine[] = {CALL(prctl), CALL(seccomp), CALL(landlock_create_ruleset),
    CALL(landlock_add_rule), CALL(landlock_restrict_self), CALL(setrlimit), CALL_END};

static const int calls_inotify[] = {CALL(inotify_init1), CALL(inotify_add_watch),
    CALL(inotify_rm_watch), CALL_END};

static const int calls_connect[] = {CALL(connect), CALL(bind), CALL_END};

/* Nobody who is well asks for these. */
static const int calls_deadly[] = {CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
    CALL(bpf), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(userfaultfd),
    CALL(io_uring_setup), CALL(io_uring_enter), CALL(perf_event_open), CALL(init_module),
    CALL(finit_module), CALL(kexec_load), CALL(reboot), CALL(swapon), CALL(unshare), CALL(setns),
    CALL_END};

/* Nor for these, where no code of others runs. */
static const int calls_programs[] = {CALL(execve), CALL(execveat), CALL(keyctl), CALL(add_key),
    CALL(request_key), CALL_END};

/* Past all permissions to a file, for root: what gets out of a container. */
static const int calls_handles[] = {CALL(open_by_handle_at), CALL_END};

static const struct {
	unsigned group;
	const int *calls;
} call_groups[] = {{CALLS_BASE, calls_base}, {CALLS_TALK | CALLS_NET, calls_talk},
    {CALLS_NET, calls_net}, {CALLS_FILE, calls_file},
    {CALLS_MMAP_FILE, calls_map}, {CALLS_FORK, calls_fork}, {CALLS_CONFINE, calls_confine},
    {CALLS_INOTIFY, calls_inotify}, {CALLS_CONNECT, calls_connect}};

static int add_list(scmp_filter_ctx filter, uint32_t action, const int *calls)
{
	for (; *calls != CALL_END; calls++) {
		int r = seccomp_rule_add(filter, action, *calls, 0);

		if (r != 0)
			return r;
	}
	return 0;
}

/* clone only for threads, or with CALLS_FORK for plain forks; never for a new namespace. */
static int add_clone(scmp_filter_ctx filter, const struct profile *profile)
{
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
				    CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (r == 0 && (profile->calls & CALLS_FORK))
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		    SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces | CLONE_THREAD, 0));
	if (r == 0 && (profile->calls & CALLS_THREAD))
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return r;
}

static int add_ioctl(scmp_filter_ctx filter)
{
	static const unsigned long allowed[] = {FIONREAD, FIONBIO};

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
		    SCMP_A1(SCMP_CMP_EQ, allowed[i]));

		if (r != 0)
			return r;
	}
	return 0;
}

/*
 * Those of many purposes that are ours. What F_SETOWN names gets signals, any that F_SETSIG says, and processes of
 * one user may signal each other; a lease makes others wait.
 */
static int add_fcntl(scmp_filter_ctx filter)
{
	static const int allowed[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
	    F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GET_SEALS};
	int r = 0;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)allowed[i]));
	return r;
}

/* Of UDP and TCP and nothing else: no raw packets, no talk with the kernel's own services. */
static int add_socket(scmp_filter_ctx filter)
{
	static const int families[] = {AF_INET, AF_INET6};
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	const uint64_t type_mask = UINT32_MAX & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
	int r = 0;

	for (size_t f = 0; f < 2 && r == 0; f++)
		for (size_t t = 0; t < 2 && r == 0; t++)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
			    SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)families[f]),
			    SCMP_A1(SCMP_CMP_MASKED_EQ, type_mask, (scmp_datum_t)types[t]));
	return r;
}

/* What those who make sockets ask of them: which are shared, how a datagram is cut, how much waits. */
static int add_socket_options(scmp_filter_ctx filter)
{
	static const struct {
		int level, option;
	} allowed[] = {{SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_RCVBUF}, {SOL_SOCKET, SO_SNDBUF}, {SOL_SOCKET, SO_KEEPALIVE},
	    {IPPROTO_IP, IP_MTU_DISCOVER}, {IPPROTO_IP, IP_TOS}, {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT}, {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_IPV6, IPV6_MTU_DISCOVER},
	    {IPPROTO_IPV6, IPV6_MTU}, {IPPROTO_IPV6, IPV6_TCLASS}};
	int r = 0;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)allowed[i].level),
		    SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)allowed[i].option));
	return r;
}

/*
 * TCP's own, and a spawner's buffer for the channels it makes. Not SO_LINGER: a descriptor that is sent away with it
 * would make its receiver wait when it closes it.
 */
static int add_setsockopt(scmp_filter_ctx filter, const struct profile *profile)
{
	int r = 0;

	if (profile->calls & CALLS_NET)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 1,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, IPPROTO_TCP));
	if (r == 0 && (profile->calls & CALLS_FORK))
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, SOL_SOCKET), SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, SO_SNDBUF));
	return r;
}

/* A confined leaf names itself and nothing else; sockets are handed to it, never made. */
static int add_rest(scmp_filter_ctx filter, const struct profile *profile)
{
	/* abort() signals its own process; a spawner's filter is also its children's. */
	int r = profile->calls & CALLS_FORK
		    ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 0)
		    : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));

	/* Its own limits, not those of others of its user. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, 0));
	if (r == 0 && (profile->calls & CALLS_CONNECT))
		r = add_socket(filter);
	if (r == 0 && (profile->calls & CALLS_CONNECT))
		r = add_socket_options(filter);
	if (r == 0)
		r = add_ioctl(filter);
	if (r == 0)
		r = add_fcntl(filter);
	if (r == 0)
		r = add_setsockopt(filter, profile);
	return r;
}

/*
 * Modules of PAM may do what nobody here can foresee, so everything that is not on a list is allowed; they get an error, as
 * they do not know of us. no_new_privs stays off, for their set-user-id helpers: that needs CAP_SYS_ADMIN.
 */
static int allow_others(const struct profile *profile, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (filter == NULL)
		return err_set(err, E_NOMEM, "seccomp: no memory");
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	r = add_list(filter, SCMP_ACT_ERRNO(EPERM), calls_deadly);
	if (r == 0)
		r = add_list(filter, SCMP_ACT_ERRNO(EPERM), calls_handles);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r == -EACCES || r == -EPERM)
		return err_set(err, E_DENIED, "seccomp of %s needs CAP_SYS_ADMIN", profile->name);
	return r == 0 ? 0 : err_set_errno(err, -r, "seccomp of %s", profile->name);
}

int confine_seccomp(const struct profile *profile, struct err *err)
{
	scmp_filter_ctx filter = NULL;
	int r = 0;

	if (profile->calls & CALLS_OTHERS)
		return allow_others(profile, err);
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (filter == NULL)
		return err_set(err, E_NOMEM, "seccomp: no memory");
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < sizeof(call_groups) / sizeof(call_groups[0]) && r == 0; i++)
		if (profile->calls & call_groups[i].group)
			r = add_list(filter, SCMP_ACT_ALLOW, call_groups[i].calls);
	if (r == 0)
		r = add_list(filter, SCMP_ACT_KILL_PROCESS, calls_deadly);
	if (r == 0)
		r = add_list(filter, SCMP_ACT_KILL_PROCESS, calls_programs);
	if (r == 0)
		r = add_clone(filter, profile);
	if (r == 0)
		r = add_rest(filter, profile);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == 0 ? 0 : err_set_errno(err, -r, "seccomp of %s", profile->name);
}
