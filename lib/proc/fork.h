/* Processes that a signal may meet before they are ready for it. */
#ifndef MW_PROC_FORK_H
#define MW_PROC_FORK_H

#include <signal.h>
#include <sys/types.h>

/* fork(2). The new process has the signal held back, until it has set what it does then, with fork_ready. */
pid_t fork_holding_back(int signal);
/* From now on the signal does this, also one that has come since. */
void fork_ready(int signal, void (*handler)(int signal));

#endif
