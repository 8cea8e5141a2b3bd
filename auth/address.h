/* The canonical form of addresses and domains: what the directory's keys are written in. */
#ifndef MW_AUTH_ADDRESS_H
#define MW_AUTH_ADDRESS_H

#include "auth/directory.h"

/*
 * Local part in lower case (case folded when not ASCII), domain as A-labels in
 * lower case. E_SYNTAX. out: DIRECTORY_ADDRESS_MAX + 1 bytes, for the domain alone as well.
 */
int address_canonical(struct span address, char *out, struct err *err);
int domain_canonical(struct span name, char *out, struct err *err);
/*
 * May a canonical address be given to an account or an alias, or be a target? Only what needs no
 * quotes in SMTP and is one word of the exported text; RFC 5321 section 4.1.2, Dot-string. E_SYNTAX.
 */
int address_check(const char *address, struct err *err);
/* An alias's targets, each ended by NUL, are added to out. E_SYNTAX, E_TOOBIG (also: too many). */
int addresses_canonical(const struct span *targets, size_t count, struct buf *out, struct err *err);

#endif
