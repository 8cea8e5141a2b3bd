/* One login, for login.c and login_vouched.c alone; what it is for is in auth.h. */
#ifndef MW_AUTH_LOGIN_PRIVATE_H
#define MW_AUTH_LOGIN_PRIVATE_H

#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/system.h"

struct login {
	struct login *next, **link;
	struct auth *auth;
	struct ipc_conn *conn; /* NULL when the asker has gone */
	struct event *timer;
	uint32_t id;
	int64_t begun_ms;
	int64_t asked_ms, queued_ms; /* from when to when it was looked for who it is; a park begins anew */
	int64_t checked_ms; /* when its check began; 0: there was none */
	struct attempt attempt;
	struct account account;
	bool found;    /* there is an account of this name */
	bool known;    /* and it has a password */
	bool is_right; /* what was counted is settled */
	bool is_wrong; /* so it is; and the log has it */
	bool is_repeated; /* known to be wrong: it was so here not long ago */
	int64_t delay_ms; /* of is_wrong */
	bool is_overtaken; /* the account's sessions were ended since it was looked up */
	bool system;   /* a user of this machine, or nobody: PAM knows the password */
	bool user_known; /* it is a user: */
	struct system_user machine_user;
	bool own;      /* not by an app password */
	unsigned rounds; /* of waiting for what auth-pam says of the user */
	struct secret *parked; /* the password; NULL: it does not wait to be checked */
	int code;
	struct span refusal; /* in words; empty: those of the code */
	char app[DIRECTORY_LABEL_MAX + 1]; /* the app password that it was; "": none */
	char user[DIRECTORY_ADDRESS_MAX + 1];
	const char *mechanism;
	char service[17];
	char remote[65];
	void (*answered)(void *arg, int code, struct span text, const struct account *account);
	void *answered_arg;
	login_vouched_done *vouched; /* NULL: nobody wants to know before it ends */
	void *vouched_arg;
};

/* The address that a name stands for; text is what it may be made in. */
struct span login_full_name(struct auth *auth, struct span user, char text[DIRECTORY_ADDRESS_MAX + 1]);
/* 0, E_AGAIN, or what system_find() says. */
int login_find_machine_user(struct login *login);
/* login_grid.c: after so many milliseconds from now a refusal is answered that the defence wants to delay by delay_ms. */
int64_t login_grid_wait(const struct login *login, int64_t delay_ms);

/* Who has proved to be this user in another way than by the password may still be one whom the machine does not let in. */
void login_ask_whether_may(struct login *login);
/* Code 0: nobody has anything against it. */
void login_settle(struct login *login, int code, const char *reason);
void login_refuse(struct login *login, const char *reason);

#endif
