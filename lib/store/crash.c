/*
 * LMDB reads its file by mapping it, and believes what it reads: damage that the
 * opening does not see (it looks at a few pages) can end the process in the middle
 * of a command. That is survived, as the account's next process is another one; but
 * it would meet the same page again. So a dying process leaves a mark.
 */
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

enum { DEADLY = sizeof(deadly) / sizeof(deadly[0]) };

static volatile sig_atomic_t watched = -1; /* descriptor of the account's directory */
static struct sigaction before[DEADLY];

/* Async-signal-safe. The signal is met again on return, and ends the process as it would have. */
static void on_crash(int signal)
{
	int saved = errno;

	if (watched >= 0)
		(void)!openat(watched, STORE_SUSPECT, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	for (size_t i = 0; i < DEADLY; i++)
		if (deadly[i] == signal)
			sigaction(signal, &before[i], NULL);
	errno = saved;
}

void crash_watch(int dir)
{
	struct sigaction action = {.sa_handler = on_crash};
	bool already = watched >= 0;

	watched = dir;
	if (already == (dir >= 0))
		return;
	for (size_t i = 0; i < DEADLY; i++) {
		if (dir >= 0)
			sigaction(deadly[i], &action, &before[i]);
		else
			sigaction(deadly[i], &before[i], NULL);
	}
}
