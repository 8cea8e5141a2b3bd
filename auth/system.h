/*
 * The users of this machine, as auth-pam tells of them; what it said is remembered for moments. Whoever needs to know of one that is not
 * known gets E_AGAIN, waits with system_wait(), and then does all it did once more.
 */
#ifndef MW_AUTH_SYSTEM_H
#define MW_AUTH_SYSTEM_H

#include "auth/directory.h"

struct auth;
struct system_users;

enum {
	SYSTEM_STAMP = 16,
	SYSTEM_KEPT_MAX = 4096,	     /* users, and names of none; more than an alias can lead to */
	SYSTEM_KEEP_MS = 30 * 1000,  /* a user */
	SYSTEM_KEEP_NOT_MS = 5000,   /* that there is none */
	SYSTEM_KEEP_FAILED_MS = 1000, /* that it is not known */
	SYSTEM_LOGINS_MAX = 1024,    /* that auth-pam has not answered yet */
	SYSTEM_WAITING_MAX = 4096,
	SYSTEM_ROUNDS_MAX = 20,	     /* of one question that is asked again and again, as all that is remembered is forgotten */
};

struct system_user {
	uint32_t uid;
	char name[DIRECTORY_NAME_MAX + 1];
	unsigned char stamp[SYSTEM_STAMP]; /* another one when the password is another one */
};

/* NULL when out of memory. */
struct system_users *system_users_new(struct auth *auth);
/* fd: to auth-pam; owned from here on. */
void system_connect(struct system_users *users, int fd);

/* What is remembered may be another thing now. */
void system_forget(struct system_users *users);

/* Does the domain have users of this machine? */
bool system_is_domain(const struct auth *auth, struct span domain);
/* The local part of a canonical address that could be that of a user of this machine; else empty. */
struct span system_name(const struct auth *auth, struct span address);
/* May it have a mailbox? */
bool system_has_mailbox(const struct auth *auth, const struct system_user *user);
/*
 * 0; E_NOTFOUND; E_AGAIN: auth-pam is asked, now or since before, and the next call is system_wait(); E_CLOSED, E_LIMIT or what
 * auth-pam said: it cannot be known now.
 */
int system_find(struct system_users *users, struct span name, struct system_user *out);
/* Would it be said without asking auth-pam? */
bool system_is_remembered(struct system_users *users, struct span name);
/* Of the user for whom system_find() said E_AGAIN last: fn is called once, when there is an answer or there will be none. E_LIMIT, E_NOMEM. */
int system_wait(struct system_users *users, void (*fn)(void *arg), void *arg);

/*
 * The account of a user who has none: its first mail has come, or it has logged in. What comes of it is in the log. As
 * directory_account_add; address: canonical.
 */
int system_account_make(struct auth *auth, struct span address, const struct system_user *user, struct account *out);

/* What PAM needs to know of a login; borrowed. proved: only whether the user may come in is asked. */
struct system_login {
	struct span user, service, remote;
	bool proved;
};

/* code: 0, E_AUTHFAILED, E_NOTFOUND (there is no such user), E_DISABLED (the account phase), or why it is not known. Never called from within system_login(). */
typedef void system_done(void *arg, int code, int64_t spent_us);
/* E_CLOSED, E_LIMIT, E_NOMEM: done is not called. */
int system_login(struct system_users *users, const struct system_login *ask, struct span password, system_done *done, void *arg);

#endif
