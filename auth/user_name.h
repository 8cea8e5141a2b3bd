/* Names of users of this machine. */
#ifndef MW_AUTH_USER_NAME_H
#define MW_AUTH_USER_NAME_H

#include "base/span.h"

enum { USER_NAME_MAX = 64 };

/*
 * Can it be asked for? What POSIX takes for portable, 3.437: letters, digits, '.', '-' and '_', not '-' first; and not a number alone,
 * which NSS takes for that of a user.
 */
bool user_name_is_valid(struct span name);

#endif
