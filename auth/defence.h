/*
 * Defence against guessing, one for all daemons: how often logins failed, by client address (of IPv6 its /64, which is one
 * customer), by account, and by both together. A typo costs nothing; guessing is answered ever later, and then refused before
 * anything is hashed. What is refused passes with time; nothing is shut for good, and nobody can shut others out:
 *
 * - who comes from a place from which the account usually logs in is never refused, whatever strangers do;
 * - of one account strangers have DEFENCE_CHECKS checks a minute altogether, whether the account exists or not;
 * - of all accounts together their wrong guesses have a quarter of a processor's time: password.c lets them begin no faster, so that debt
 *   is made by modules of PAM that take more than a hash does.
 *
 * Tables are of a fixed size and keyed by a secret: no guessing fills memory, and nobody chooses what falls together.
 */
#ifndef MW_AUTH_DEFENCE_H
#define MW_AUTH_DEFENCE_H

#include "auth/directory.h"

enum { DEFENCE_CHECKS = 10, DEFENCE_MINUTE_MS = 60 * 1000 };

struct defence;

/* One try to log in. */
struct attempt {
	char user[DIRECTORY_ADDRESS_MAX + 1]; /* canonical, when it is an address */
	char address[64];		      /* of IPv6 the /64 */
	uint64_t source, account, pair;	      /* keyed hashes of them; never 0 */
	bool known;			      /* the account usually logs in from here */
	bool exempt;			      /* from what holds for an address: unlimited-from */
	bool counted;			      /* as one of the account's checks, and that is not settled */
	bool may_wait;			      /* refused-account, but checks are under way that may turn out right */
};

/* secret: the same after a restart, so that attempt.source can be kept (directory_places_get). NULL when out of memory. */
struct defence *defence_new(const unsigned char secret[DIRECTORY_SECRET]);

/* Who tries, from where; known and exempt are the caller's to set. */
void defence_attempt(struct defence *d, struct span user, struct span remote, struct attempt *out);

/* A user of this machine has one password, whatever the domain in the address is. name: canonical. */
void defence_attempt_machine(struct defence *d, struct span name, struct attempt *a);
/* NULL: it may be checked, and now counts as a check under way. Else why not, as the log says it: "refused-pair", "-address", "-account", "-load". */
const char *defence_ask(struct defence *d, struct attempt *a, int64_t now_ms);
/* The same, but nothing counts yet. */
const char *defence_look(struct defence *d, struct attempt *a, int64_t now_ms);
/* The check was not made, or it was right: it does not count. */
void defence_give_back(struct defence *d, struct attempt *a);
/* It was wrong. Milliseconds that the answer should wait. */
int64_t defence_wrong(struct defence *d, struct attempt *a, int64_t now_ms);
void defence_right(struct defence *d, struct attempt *a);
/* What a stranger's wrong guess has cost. */
void defence_spent(struct defence *d, int64_t us, int64_t now_ms);
/* Of the address and the account together, still counted: 0 for one that has not failed lately. */
unsigned defence_failures(struct defence *d, const struct attempt *a, int64_t now_ms);

enum defence_kind { DEFENCE_PAIR, DEFENCE_ADDRESS, DEFENCE_ACCOUNT, DEFENCE_KINDS };

/* One row of `auth failures list`. */
struct defence_row {
	enum defence_kind kind;
	const char *address, *user; /* "" where there is none; a long user is cut off */
	unsigned failures;	    /* still counted; of an account: checks of the last minute */
	unsigned long long refused; /* since the row was made */
	int64_t ago_ms;		    /* the last of them */
};

void defence_each(struct defence *d, int64_t now_ms, void (*fn)(void *arg, const struct defence_row *row), void *arg);
/* What is counted of this address or account; both empty: everything. Rows forgotten. */
unsigned defence_clear(struct defence *d, const struct attempt *a);
unsigned defence_clear_all(struct defence *d);

#endif
