/* Hashes and keys of passwords. */
#ifndef MW_AUTH_HASH_H
#define MW_AUTH_HASH_H

#include "auth/directory.h"

/* One that a login can be checked against: Argon2, or one of crypt(5). */
bool hash_is_known(struct span hash);
/* Of the costs that new ones are made with. */
bool hash_is_todays(const char *hash);

enum {
	HASH_MS_TODAYS = 100,  /* what one of today's takes is the measure of all */
	HASH_MIB_TODAYS = 64,
	HASH_MS_MAX = 1000,    /* what an imported one may take at most: bcrypt's cost 14, or 800,000 rounds of SHA-512 */
	HASH_MIB_MAX = 256,
	HASH_PASSWORD_USUAL = 64, /* octets; a longer password may take longer than was looked at when it was imported */
};

/* hash_cost.c: estimated from the text. What cannot be told has none that is bearable. */
struct hash_cost {
	double ms, mib;
};

struct hash_cost hash_cost(const char *hash, size_t password_len);
bool hash_is_bearable(const struct hash_cost *cost);
/* Of this kind one is computed at a time. */
bool hash_is_dear(const struct hash_cost *cost);
/*
 * 0, E_AUTHFAILED, E_NOMEM. What was imported is of the octets that were typed, ours of the prepared form (RFC 4013), as SCRAM keys are.
 * *is_stale, of a password that is right: today another hash would be made of it.
 */
int hash_verify(const char *hash, struct span password, bool *is_stale);
/* Makes what is missing of the credentials of a password that is right: an Argon2id hash, and SCRAM keys. *changed: something should be stored. E_NOMEM. */
int credentials_complete(struct credentials *credentials, struct span password, bool *changed);

#endif
