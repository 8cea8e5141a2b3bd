/* What the rig and the daemons share: one page that says which call fails next, and a list of the calls that were made. */
#ifndef MW_TESTS_FAULT_INJECT_H
#define MW_TESTS_FAULT_INJECT_H

#include <stdint.h>

enum { INJECT_NAME = 16, INJECT_TRACE = 65536, INJECT_MODULE = 24 };

/* Fixed offsets: tests/fault/injector.py reads and writes the same. */
struct inject_place {
	uint64_t site; /* return address, relative to its module */
	char module[INJECT_MODULE];
};

struct inject_call {
	char role[INJECT_NAME], call[INJECT_NAME];
	struct inject_place place;
};

struct inject_control {
	uint32_t armed, tracing;	/* 0 or 1 */
	char role[INJECT_NAME];		/* "queue", "deliver"; "deliver+" is a process that it forked */
	char call[INJECT_NAME];
	uint32_t error;			/* errno; 0: the write is cut short */
	uint32_t when;			/* the how-manyth such call since it was armed, from 1 */
	uint32_t every;			/* 1: all that come after it too */
	uint32_t seen;			/* such calls so far */
	uint32_t hits;
	struct inject_place place;	/* where it was hit */
	uint32_t ahead;			/* seconds by which the machine's clock goes before the right one */
	char ahead_role[INJECT_NAME];	/* to this process */
	uint32_t traced;		/* calls[] in use; more than INJECT_TRACE: some were left out */
	struct inject_call calls[INJECT_TRACE];
};

#endif
