/*
 * Kills a process at its N-th system call, before that call is done. `strace -e inject=all:signal=KILL:when=N` counts
 * each thread and each call for itself; this counts them all together, so N = 1, 2, ... comes by every call there is.
 *
 *   killer [--children] [--only CALL] N PID ...
 *
 * Traces all threads of the processes and counts their calls; with --children, those of what they fork, and not their own.
 * --only counts one call.
 * N = 0 kills nothing. Says "attached", then "killed PID CALL" and ends; or, told by SIGUSR1 that the work is done, ends
 * as soon as everything traced waits for more of it: "ended". In both cases "calls NAME NAME ..." comes first: all that
 * were counted.
 */
#include <dirent.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TASKS_MAX = 512, CALLS_MAX = 100000, QUIET_NS = 2000000 };

struct task {
	pid_t tid, tgid;
	bool counted, seen; /* seen: it has stopped for us once */
	long call;	    /* that it is in; -1: none */
};

struct killer {
	struct task tasks[TASKS_MAX];
	size_t count;
	bool children_only;
	long only; /* -1: all */
	unsigned long when;
	int calls[CALLS_MAX];
	size_t call_count;
	pid_t killed;
	int killed_at;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "killer: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void print_call(int number)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

	printf(" %s", name ? name : "?");
	free(name);
}

static void print_end(const struct killer *k)
{
	printf("calls");
	for (size_t i = 0; i < k->call_count; i++)
		print_call(k->calls[i]);
	if (k->killed != 0) {
		printf("\nkilled %d", (int)k->killed);
		print_call(k->killed_at);
		printf("\n");
	} else {
		printf("\nended\n");
	}
	fflush(stdout);
}

static pid_t tgid_of(pid_t tid)
{
	char path[64], line[256];
	pid_t tgid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "r");
	while (f != NULL && tgid == 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "Tgid:", 5) == 0)
			tgid = atoi(line + 5);
	if (f != NULL)
		fclose(f);
	return tgid;
}

static struct task *task_find(struct killer *k, pid_t tid)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->tasks[i].tid == tid)
			return &k->tasks[i];
	return NULL;
}

static struct task *task_add(struct killer *k, pid_t tid, bool counted)
{
	struct task *t;

	if (k->count == TASKS_MAX)
		die("too many threads");
	t = &k->tasks[k->count++];
	*t = (struct task){.tid = tid, .tgid = tgid_of(tid), .counted = counted, .call = -1};
	return t;
}

static void task_remove(struct killer *k, struct task *t)
{
	*t = k->tasks[--k->count];
}

/* Threads that are made meanwhile are traced by the option, or found by the next look. */
static void attach(struct killer *k, pid_t pid)
{
	const unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
	bool more = true;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	while (more) {
		DIR *dir = opendir(path);
		struct dirent *entry;

		more = false;
		if (dir == NULL)
			die(path);
		while ((entry = readdir(dir)) != NULL) {
			pid_t tid = atoi(entry->d_name);

			if (tid <= 0 || task_find(k, tid) != NULL)
				continue;
			if (ptrace(PTRACE_SEIZE, tid, NULL, options) != 0) {
				if (errno == EPERM || errno == ESRCH)
					continue; /* ours already, by the option; or gone */
				die("seize");
			}
			task_add(k, tid, !k->children_only);
			ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
			more = true;
		}
		closedir(dir);
	}
}

static void on_call(struct killer *k, struct task *t, int number)
{
	t->call = number;
	if (!t->counted || k->killed != 0 || k->call_count == CALLS_MAX || (k->only >= 0 && number != k->only))
		return;
	k->calls[k->call_count++] = number;
	if (k->call_count == k->when) {
		k->killed = t->tgid;
		k->killed_at = number;
		kill(t->tgid, SIGKILL);
	}
}

static void on_syscall_stop(struct killer *k, struct task *t)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY || info.op == PTRACE_SYSCALL_INFO_SECCOMP)
		on_call(k, t, (int)info.entry.nr);
	else
		t->call = -1;
}

/* A signal to be handed on, or 0. */
static int on_stop(struct killer *k, struct task *t, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;

	if (signal == (SIGTRAP | 0x80)) {
		on_syscall_stop(k, t);
		return 0;
	}
	if (event == PTRACE_EVENT_STOP) {
		t->seen = true;
		return 0;
	}
	return event != 0 ? 0 : signal;
}

static void on_wait(struct killer *k, pid_t tid, int status)
{
	struct task *t = task_find(k, tid);

	if (WIFEXITED(status) || WIFSIGNALED(status)) {
		if (t != NULL)
			task_remove(k, t);
		return;
	}
	if (t == NULL) { /* forked, or a new thread */
		pid_t tgid = tgid_of(tid);
		bool counted = k->children_only;

		for (size_t i = 0; i < k->count; i++)
			if (k->tasks[i].tgid == tgid)
				counted = k->tasks[i].counted;
		t = task_add(k, tid, counted);
	}
	if (WIFSTOPPED(status)) {
		int signal = on_stop(k, t, status);

		ptrace(PTRACE_SYSCALL, tid, NULL, (long)signal);
	}
}

static bool is_waiting(long call)
{
	return call == SYS_epoll_wait || call == SYS_epoll_pwait || call == SYS_futex || call == SYS_poll || call == SYS_ppoll ||
	       call == SYS_restart_syscall;
}

static bool all_wait(const struct killer *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->tasks[i].counted && !is_waiting(k->tasks[i].call))
			return false;
	return true;
}

static bool killed_is_gone(const struct killer *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->tasks[i].tgid == k->killed)
			return false;
	return true;
}

static void take_all(struct killer *k)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
		on_wait(k, tid, status);
}

/* Signals are blocked: each of them, and every stop, is waited for here. 0: nothing for a moment. */
static int next_signal(const sigset_t *signals, bool quiet)
{
	struct timespec moment = {.tv_nsec = QUIET_NS};
	int number = quiet ? sigtimedwait(signals, NULL, &moment) : sigwaitinfo(signals, NULL);

	return number > 0 ? number : 0;
}

static bool has_attached(const struct killer *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (!k->tasks[i].seen)
			return false;
	return true;
}

static void run(struct killer *k, const sigset_t *signals)
{
	bool done = false, attached = false;

	for (;;) {
		int number;

		take_all(k);
		if (!attached && has_attached(k)) {
			attached = true;
			printf("attached\n");
			fflush(stdout);
		}
		if (k->count == 0 || (k->killed != 0 && killed_is_gone(k)))
			break;
		number = next_signal(signals, done && k->killed == 0 && all_wait(k));
		if (number == SIGTERM || number == 0)
			break;
		done = done || number == SIGUSR1;
	}
	print_end(k);
}

int main(int argc, char **argv)
{
	static struct killer k = {.only = -1};
	sigset_t signals;
	int i = 1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--children") == 0)
			k.children_only = true;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			k.only = seccomp_syscall_resolve_name(argv[++i]);
	}
	if (i + 1 >= argc) {
		fprintf(stderr, "usage: killer [--children] [--only CALL] N PID ...\n");
		return 2;
	}
	k.when = strtoul(argv[i++], NULL, 10);
	for (; i < argc; i++)
		attach(&k, atoi(argv[i]));
	run(&k, &signals);
	return 0;
}
