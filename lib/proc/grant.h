/*
 * A grant: auth's signature under "this account, for this purpose, until then".
 * auth, queue and the spawners share the key (master deals it at start); the
 * network daemons that carry grants do not have it.
 */
#ifndef MW_PROC_GRANT_H
#define MW_PROC_GRANT_H

#include "base/clock.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { GRANT_KEY = 32, GRANT_SIZE = 24 };
enum grant_purpose { GRANT_RECIPIENT = 1, GRANT_LOGIN = 2, GRANT_PROGRAM = 3 };
enum { GRANT_PROGRAM_MAX = 1100 };

/*
 * Seconds, by which a grant's time is told: since the machine booted, as no setting of its clock makes one run out. None outlives
 * master's key, and so none a boot.
 */
static inline int64_t grant_now(void)
{
	return clock_boot_ms() / 1000;
}

/* until: as grant_now(). address is part of what is signed; out: GRANT_SIZE bytes. */
void grant_make(const unsigned char key[GRANT_KEY], enum grant_purpose purpose, uint64_t account,
    uint64_t quota, struct span address, int64_t until, unsigned char out[GRANT_SIZE]);
/* False when forged, for something else, or past its time (now: grant_now()). */
bool grant_check(const unsigned char key[GRANT_KEY], enum grant_purpose purpose, uint64_t account,
    uint64_t quota, struct span address, int64_t now, struct span grant);

/* What is signed for a command or a file of an alias: the key is another one, which auth and agent alone have. kind: as in agent.def. */
void grant_make_program(const unsigned char key[GRANT_KEY], uint32_t kind, struct span name, struct span program, int64_t until,
    unsigned char out[GRANT_SIZE]);
bool grant_check_program(const unsigned char key[GRANT_KEY], uint32_t kind, struct span name, struct span program, int64_t now,
    struct span grant);

#endif
