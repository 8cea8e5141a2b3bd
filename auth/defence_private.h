/* The tables of the defence, for defence*.c alone; what they are for is in defence.h. */
#ifndef MW_AUTH_DEFENCE_PRIVATE_H
#define MW_AUTH_DEFENCE_PRIVATE_H

#include "auth/defence.h"

#include <sodium.h>

enum {
	DEFENCE_SETS = 256,
	DEFENCE_WAYS = 32, /* with fewer, a set would be full of rows that have to stay long before the table is */
	DEFENCE_ROWS = DEFENCE_SETS * DEFENCE_WAYS,
	DEFENCE_USER_SHOWN = 96,
};

/* What holds for a kind. Failures are forgotten one by one; the answer of the n-th that is over `free` waits. */
struct defence_rule {
	unsigned free;	   /* so many are answered at once */
	unsigned most;	   /* with so many, refused */
	int64_t forget_ms; /* one is forgotten after this time without another; 0: checks, each a minute after its end */
};

extern const struct defence_rule defence_rules[DEFENCE_KINDS];

/* A check that waits or is under way: it counts for as long as that takes, and then for a minute. */
#define CHECK_PENDING INT64_MAX

struct check {
	int64_t ended_ms; /* 0: there was none; or CHECK_PENDING */
	uint64_t password; /* what was wrong; 0: it is not known again */
};

struct slot {
	uint64_t key; /* 0: nothing */
	uint64_t source, account;
	int64_t last_ms;
	uint64_t refused;
	uint32_t count; /* of a kind that has no checks */
	char address[64];
	char user[DEFENCE_USER_SHOWN];
};

struct defence {
	unsigned char key[crypto_shorthash_KEYBYTES];
	int64_t debt_us, debt_at_ms;
	int64_t proofs_at_ms; /* when strangers' proofs of the last while are paid for */
	struct slot tables[DEFENCE_KINDS][DEFENCE_ROWS];
	struct check account_checks[DEFENCE_ROWS][DEFENCE_CHECKS];
	struct check known_checks[DEFENCE_ROWS][DEFENCE_KNOWN_CHECKS];
};

/* NULL: there is none. */
struct slot *defence_find(struct defence *d, enum defence_kind kind, const struct attempt *a);
/*
 * The row, which is a new one when there is none. It takes the place of one that counts for less, and was quiet for longer, than the others it may
 * stand among; but what has checks of the last minute stays. NULL: all have some.
 */
struct slot *defence_make(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms);
void defence_forget(struct defence *d, enum defence_kind kind, struct slot *slot);
/* Failures, or checks, that still count. slot: may be NULL. */
unsigned defence_count(struct defence *d, enum defence_kind kind, const struct slot *slot, int64_t now_ms);
/* Of the checks that still count those that are over. The same. */
unsigned defence_ended(struct defence *d, enum defence_kind kind, const struct slot *slot, int64_t now_ms);
/* The checks of a row; *most: how many. None for a kind without. */
struct check *defence_checks(struct defence *d, enum defence_kind kind, const struct slot *slot, unsigned *most);
/* One that is under way; NULL: none is. slot: may be NULL. */
struct check *defence_pending(struct defence *d, enum defence_kind kind, const struct slot *slot);

#endif
