/*
 * One allocation fails, the first, the second, ... until the engine goes through
 * without being hit. Whatever it does then is told: E_NOMEM, or a result that is
 * named as less; it does not crash, keeps nothing, and does it right the next time.
 */
#ifndef MW_TESTS_FAULT_MEMORY_H
#define MW_TESTS_FAULT_MEMORY_H

#include "base/err.h"
#include "base/pool.h"

#include <stdbool.h>

enum { MEMORY_LESS = 1 }; /* done, with less than all, and that can be seen in the result */

struct scenario {
	const char *name;
	void *(*begin)(void); /* without a fault; NULL: nothing to be made */
	/* 0, MEMORY_LESS, or the error. What it made it gives back. Twice in one state must work. */
	int (*run)(void *state);
	void (*end)(void *state);
	bool may_be_less;
};

/* Each ends with an empty one. */
extern const struct scenario text_scenarios[], daemon_scenarios[], disk_scenarios[], session_scenarios[], report_scenarios[];

/* Has one failed yet? */
bool memory_failed(void);
/* From now on none does. */
void memory_rest(void);
/* None does until memory_resume() is given what this returned: for the test's own. */
unsigned long memory_pause(void);
void memory_resume(unsigned long countdown);
/* The loop and the configuration of what is linked without its process (tests/daemon.h). */
void memory_daemon(void);

/* Ends the program with what went wrong. */
_Noreturn void memory_wrong(const char *what);
#define memory_must(condition) ((condition) ? (void)0 : memory_wrong(#condition))

#endif
