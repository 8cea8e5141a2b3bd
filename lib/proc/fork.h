/* Processes that a signal may meet before they are ready for it. */
#ifndef MW_PROC_FORK_H
#define MW_PROC_FORK_H

#include <signal.h>
#include <sys/types.h>

/* fork(2), with the signal blocked in the child until it calls fork_ready: one that comes in between is not lost, and does not reach the parent's handler. */
pid_t fork_holding_back(int signal);
/* In the child: sets the handler and unblocks the signal. */
void fork_ready(int signal, void (*handler)(int signal));

#endif
