/* `mailwain init`: everything an instance needs, made once. */
#ifndef MW_MASTER_INIT_H
#define MW_MASTER_INIT_H

#include "base/err.h"
#include "control/paths.h"

#include <sys/types.h>

#ifndef MW_USER_PREFIX
#define MW_USER_PREFIX "mw-"
#endif

struct init_options {
	const char *hostname;
	const char *domain;	/* NULL: none */
	unsigned port_offset;	/* added to the standard ports */
	bool trial;		/* --root was given: loopback only, LOGIN without TLS from there */
	const char *user_prefix;
};

/* Refuses (E_EXISTS) when there is a configuration already. */
int init_instance(const struct instance *instance, const struct init_options *options, struct err *err);

/* Something that was missing is there now: "user" or "directory", and its name. */
typedef void init_made(void *arg, const char *kind, const char *name);

/* users.c: makes the system users that are missing, as root only. made: may be NULL. */
int init_users(const char *prefix, init_made *made, void *arg, struct err *err);
/* Of the system user `prefix`name. */
int init_user(const char *prefix, const char *name, uid_t *uid, gid_t *gid, struct err *err);
/* Gives a directory, no link to one, its mode and as root its owner. */
int init_own(const char *path, uid_t uid, gid_t gid, unsigned mode, struct err *err);

/* places.c: a directory of root's, with its parents. What is there already must be safe for root to write into. */
int place_make(const char *path, struct err *err);
/* The same, for a daemon. One that is there is given its mode and owner. */
int place_make_owned(const char *path, const char *user_prefix, const char *user, unsigned mode, struct err *err);
/* Those of the daemons below the data directory. */
int places_make(const char *data, const char *user_prefix, struct err *err);
/*
 * Those of them that an earlier version did without, in an instance that is whole but for them: each with its owner and mode and durable, or not at
 * all. What is there stays as it is.
 */
int places_mend(const char *data, const char *user_prefix, init_made *made, void *arg, struct err *err);

/* certificate.c: a self-signed P-256 certificate for hostname, ten years, key mode 0600. */
int init_certificate(const char *hostname, const char *certificate, const char *key, struct err *err);

#endif
