/* The two kernel mechanisms behind proc_confine() and proc_confine_account(), and for them alone. */
#ifndef MW_PROC_CONFINE_H
#define MW_PROC_CONFINE_H

#include "proc/profile.h"

/*
 * tree: a directory's descriptor that stays reachable, with everything below, or -1 for
 * nothing at all. Sockets: no TCP bind or connect unless the profile has
 * CALLS_CONNECT. *active is false when this kernel has no Landlock.
 */
int confine_landlock(const struct profile *profile, int tree, bool *active, struct err *err);

/*
 * From here on only the profile's system calls work: others fail with EPERM, the dangerous ones kill. With CALLS_OTHERS all
 * but the dangerous ones work, and E_DENIED tells of a root that may not ask for that.
 */
int confine_seccomp(const struct profile *profile, struct err *err);

#endif
