/* One control request while it is worked on, and the ways in which it ends: what control.c and its like have in common. */
#ifndef MW_AUTH_REQUEST_H
#define MW_AUTH_REQUEST_H

#include "auth/auth.h"

/* Passwords make it outlive the handler. */
struct request {
	struct auth *auth;
	struct control_reply *reply;
	const char *kind; /* of what is changed, for the log: the noun */
	const struct span *args; /* with input and secret: borrowed until the handler returns */
	size_t count;
	struct span input, secret;
	struct account account; /* of add and passwd, until the hash is there */
	bool add;
	bool untold; /* request_kick() */
	size_t rows; /* of a list, that were shown */
	unsigned round; /* of waiting for what auth-pam says of a user */
	void (*then)(struct request *q);
};

/* The sysexits(3) value of an error. */
unsigned request_exit(int code);
void request_failed(struct request *q, int code, const struct err *err);
/* The value behind --name among the arguments, or an empty span. */
struct span request_option(const struct request *q, const char *name);
/* What was changed: the caches of others are told, and the log. */
void request_changed(struct request *q, const char *change, const char *object);
/* Its account's sessions end. What ends the request says so where that is not sure: request_done(), or the two that follow. */
void request_kick(struct request *q);
unsigned request_done_exit(const struct request *q);
const char *request_done_but(const struct request *q);
#define REQUEST_UNTOLD "; but a daemon could not be told that sessions end: they may go on until it is restarted"
/* The end of a change. what: for the log, and for people unless words are given. */
void request_done(struct request *q, int code, const struct err *err, const char *what, const char *words, const char *object);
/* The end of a list. none: what is said when it has no row. */
void request_listed(struct request *q, int code, const char *none);
/* The account of this address into q->account. False: there is none, and that was answered. */
bool request_account(struct request *q, struct span address);

/* control_app.c: account app-password add | list | revoke. */
void control_app_password(struct request *q);
/* control_alias.c: alias add | remove | list | show. */
void control_alias(struct request *q, struct span verb);
/* control_failures.c: auth failures list | clear. */
void control_failures(struct request *q);
/* control_test.c: auth test. */
void control_test(struct request *q);

#endif
