/*
 * Defence against guessing, one for all daemons: how often logins failed, by client address (of IPv6 its /64, which is one
 * customer), by account, and by both together. A typo costs nothing; guessing is answered ever later, and then refused before
 * anything is hashed. What is refused passes with time; nothing is shut for good, and who belongs somewhere is shut out by nobody elsewhere:
 *
 * - who comes from a place from which the account usually logs in is refused for nothing that is done elsewhere. From there the account has
 *   DEFENCE_KNOWN_CHECKS wrong checks a minute; a password that was wrong before is known again, and counts no more;
 * - of one account strangers have DEFENCE_CHECKS checks a minute altogether, whether the account exists or not;
 * - of all accounts together their wrong guesses have a quarter of a processor's time: password.c lets them begin no faster, so that debt
 *   is made by modules of PAM that take more than a hash does. Who guesses from places that accounts know has another quarter. Of wrong proofs, which cost
 *   no time, strangers have DEFENCE_PROOFS, and then so many a minute; who has failed lately has the first half of them alone, so that the other half is left to
 *   newcomers. Who has a thousand addresses, each without a failure again every half minute, has that as well, and newcomers are told to try again later.
 *
 * Tables are of a fixed size and keyed by a secret: no guessing fills memory, and nobody chooses what falls together.
 */
#ifndef MW_AUTH_DEFENCE_H
#define MW_AUTH_DEFENCE_H

#include "auth/directory.h"

enum {
	DEFENCE_CHECKS = 10,
	DEFENCE_KNOWN_CHECKS = 30,
	DEFENCE_PROOFS = 2000, /* at once, and again in the minute: half of the rows that there are for checks (defence_table.c) */
	DEFENCE_MINUTE_MS = 60 * 1000,
};

/* ADDRESS: by strangers. KNOWN: the pair, where the account knows the address; PLACE: the address, at accounts that know it. */
enum defence_kind { DEFENCE_PAIR, DEFENCE_ADDRESS, DEFENCE_ACCOUNT, DEFENCE_KNOWN, DEFENCE_PLACE, DEFENCE_KINDS };

struct defence;

/* One try to log in. */
struct attempt {
	char user[DIRECTORY_ADDRESS_MAX + 1]; /* canonical, when it is an address */
	char address[64];		      /* of IPv6 the /64 */
	uint64_t source, account, pair;	      /* keyed hashes of them; never 0 */
	bool known;			      /* the account usually logs in from here */
	bool exempt;			      /* from what holds for an address: unlimited-from */
	bool proof;			      /* what is checked costs no hash */
	bool token;			      /* such a proof, which others check in their time and nobody can guess */
	uint64_t password;		      /* a keyed hash of it, of the account and of the account's hash; 0: it is not to be known again */
	bool counted;			      /* as one of these checks, and that is not settled: */
	enum defence_kind counted_as;
	bool may_wait;			      /* refused, but checks are under way that may turn out right */
};

/* secret: the same after a restart, so that attempt.source can be kept (directory_places_get). NULL when out of memory. */
struct defence *defence_new(const unsigned char secret[DIRECTORY_SECRET]);

/* Who tries, from where; known, exempt, proof and password are the caller's to set. */
void defence_attempt(struct defence *d, struct span user, struct span remote, struct attempt *out);

/* A user of this machine has one password, whatever the domain in the address is. name: canonical. */
void defence_attempt_machine(struct defence *d, struct span name, struct attempt *a);
/*
 * NULL: it may be checked, and now counts as a check under way; a token of one who is known counts once it was wrong. Else why not, as the log
 * says it: "refused-pair", "-address", "-account", "-load".
 */
const char *defence_ask(struct defence *d, struct attempt *a, int64_t now_ms);
/* The same, but nothing counts yet. */
const char *defence_look(struct defence *d, struct attempt *a, int64_t now_ms);
/* The check was not made, or it was right: it does not count. */
void defence_give_back(struct defence *d, struct attempt *a);
/* It was wrong. Milliseconds that the answer should wait. */
int64_t defence_wrong(struct defence *d, struct attempt *a, int64_t now_ms);
/* This password was wrong here not long ago, and still is: it need not be asked for, nor checked. */
bool defence_is_repeated(struct defence *d, const struct attempt *a, int64_t now_ms);
/* The same for such a one; nothing is counted. */
int64_t defence_repeated(struct defence *d, const struct attempt *a, int64_t now_ms);
/* It was no guess at all. The same; it counts for the address. */
int64_t defence_malformed(struct defence *d, struct attempt *a, int64_t now_ms);
void defence_right(struct defence *d, struct attempt *a);
/* What a stranger's wrong guess has cost. */
void defence_spent(struct defence *d, int64_t us, int64_t now_ms);
/* He is known, and somebody guesses from where he comes: he waits for what that has cost. */
bool defence_is_suspect(struct defence *d, const struct attempt *a, int64_t now_ms);
/* Of the address and the account together, still counted: 0 for one that has not failed lately. Of one who is known, the checks of the last minute. */
unsigned defence_failures(struct defence *d, const struct attempt *a, int64_t now_ms);

/* One row of `auth failures list`. */
struct defence_row {
	enum defence_kind kind;
	const char *address, *user; /* "" where there is none; a long user is cut off */
	unsigned failures;	    /* still counted; of an account, and of a known pair: checks of the last minute */
	unsigned long long refused; /* since the row was made */
	int64_t ago_ms;		    /* the last of them */
};

void defence_each(struct defence *d, int64_t now_ms, void (*fn)(void *arg, const struct defence_row *row), void *arg);
/* What is counted of this address or account; both empty: everything. Rows forgotten. */
unsigned defence_clear(struct defence *d, const struct attempt *a);
unsigned defence_clear_all(struct defence *d);

#endif
