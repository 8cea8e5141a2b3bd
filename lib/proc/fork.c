#include "proc/fork.h"

#include <stddef.h>
#include <unistd.h>

pid_t fork_holding_back(int signal)
{
	sigset_t held, before;
	pid_t pid;

	sigemptyset(&held);
	sigaddset(&held, signal);
	sigprocmask(SIG_BLOCK, &held, &before);
	pid = fork();
	if (pid != 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

void fork_ready(int signal, void (*handler)(int signal))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}; /* the wait for a lock goes on */
	sigset_t held;

	sigemptyset(&action.sa_mask);
	sigaction(signal, &action, NULL);
	sigemptyset(&held);
	sigaddset(&held, signal);
	sigprocmask(SIG_UNBLOCK, &held, NULL);
}
