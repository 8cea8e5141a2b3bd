/*
 * What a login leaves in the directory: from where, and when an app password was last used. It is written a moment after the
 * answer, many in one transaction: a login never waits for a disk, and when these are lost nothing else is.
 */
#ifndef MW_AUTH_MARKS_H
#define MW_AUTH_MARKS_H

#include "auth/directory.h"

enum { MARKS_PLACE_DAYS = 30 }; /* a place is known for so long after the last log-in from there */

struct marks;
struct auth;

/* NULL when out of memory. */
struct marks *marks_new(struct auth *auth);
/* Does the account usually log in from there? Also when that is still to be written. */
bool marks_is_known(struct marks *marks, uint64_t account, uint64_t place);
/* It just did: written when that is new, and the first time on a day. */
void marks_place(struct marks *marks, uint64_t account, uint64_t place);
/* Written at most once an hour. from: the client's address. */
void marks_app(struct marks *marks, uint64_t account, const struct app_password *app, struct span from);

/* What waits is written now: auth stops. */
void marks_flush(struct marks *marks);

#endif
