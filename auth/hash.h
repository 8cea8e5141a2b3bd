/* Hashes and keys of passwords. */
#ifndef MW_AUTH_HASH_H
#define MW_AUTH_HASH_H

#include "auth/directory.h"

/* One that a login can be checked against: Argon2, or one of crypt(5). */
bool hash_is_known(struct span hash);
/* Of the costs that new ones are made with. */
bool hash_is_todays(const char *hash);
/* 0, E_AUTHFAILED, E_NOMEM. */
int hash_verify(const char *hash, struct span password);
/*
 * Makes what is missing of the credentials of a password that is right: an Argon2id hash in place of none or of an imported
 * one, and SCRAM keys. *changed: something should be stored. E_NOMEM.
 */
int credentials_complete(struct credentials *credentials, struct span password, bool *changed);

#endif
