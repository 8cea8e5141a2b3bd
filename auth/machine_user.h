/* Users of this machine: what they are called, and which of them are people. */
#ifndef MW_AUTH_MACHINE_USER_H
#define MW_AUTH_MACHINE_USER_H

#include "base/span.h"

enum {
	MACHINE_USER_NAME_MAX = 64,
	MACHINE_NOBODY = 65534, /* the kernel's overflow id: nobody's, on every machine */
};

/*
 * Can it be asked for? What POSIX takes for portable, 3.437: letters, digits, '.', '-' and '_', not '-' first; and not a number alone,
 * which NSS takes for that of a user.
 */
bool machine_user_name_is_valid(struct span name);
/* first: the setting system-first-uid. */
bool machine_user_has_mailbox(uint32_t uid, uint64_t first);

#endif
