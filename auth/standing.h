/*
 * What logins of all accounts rest on, before and after a change of the whole directory: sessions of those that are gone, disabled,
 * or have another password or other app passwords end.
 */
#ifndef MW_AUTH_STANDING_H
#define MW_AUTH_STANDING_H

#include "auth/auth.h"
#include "base/buf.h"

struct standings {
	struct auth *auth;
	struct buf rows;
};

/* As they are now. E_NOMEM; E_CORRUPT: what is damaged was left out. standings_end() or standings_fini() in any case. */
int standings_take(struct auth *auth, struct standings *out);
/* auth_kick() for those that are no longer as they were; the end of it. False: a daemon could not be told of one. */
bool standings_end(struct standings *standings);
/* The end of it alone. */
void standings_fini(struct standings *standings);

#endif
