/* The auth daemon's own state. */
#ifndef MW_AUTH_AUTH_H
#define MW_AUTH_AUTH_H

#include "auth/directory.h"
#include "proc/daemon.h"
#include "proc/grant.h"

struct password_pool;
struct defence;
struct marks;
struct login;
struct exchange;
struct change;
struct question;
struct system_users;
struct tokens;

struct auth {
	struct daemon *daemon;
	struct directory *directory;
	struct control_server *control;
	struct password_pool *passwords;
	struct tokens *tokens;
	struct defence *defence;
	struct marks *marks;
	struct login *pending; /* being checked, or answered late */
	unsigned pending_count, parked_count;
	int64_t system_grid_ms, system_grid_at_ms; /* login_grid.c */
	struct change *changes; /* of passwords, by their users */
	struct question *questions; /* about addresses, that wait for auth-pam */
	struct system_users *system; /* of this machine */
	struct exchange *exchanges, **exchanges_tail; /* the tail NULL before the first */
	unsigned exchange_count;
	unsigned char secret[DIRECTORY_SECRET]; /* of SCRAM keys for accounts that do not exist, and of the defence: the same after a restart */
	unsigned char grant_key[GRANT_KEY];
	unsigned char program_key[GRANT_KEY];
	struct alias_set *aliases; /* NULL: there are none */
	struct auth_peer *peers; /* connected daemons */
	uint64_t logins;
	uint64_t highest; /* account number for which there is a directory of mail */
};

/* The directory was changed: who remembers answers forgets them. */
void auth_changed(struct auth *auth);

/*
 * Its sessions end in all daemons, and logins that are under way fail. False: a daemon could not be told. What was right when it was checked is
 * not asked about again, so this is for whatever makes it wrong.
 */
bool auth_kick(struct auth *auth, uint64_t account);

/* numbers.c: the highest account number that has a directory of mail below this path; 0 for none. Or why nobody can tell. */
int numbers_highest(const char *store, uint64_t *highest, struct err *err);

/* ---- lookup.c: where does an address lead? ---- */

/* As in agent.def. */
enum program { PROGRAM_NONE, PROGRAM_PIPE, PROGRAM_FILE };

enum found_how { FOUND_ITSELF, FOUND_WITHOUT_DETAIL, FOUND_ROLE, FOUND_CATCH_ALL };

struct recipient {
	uint64_t account; /* 0: an alias, to be expanded */
	uint64_t quota;
	/* What is no address, of the alias `address`; for auth_expand_each only. name, text: of alias and target, borrowed until the call returns. */
	enum program program;
	struct span name, text;
	int code; /* E_CANNOT: it may not have the message, or is no address */
	struct span owner; /* who is told of failures in the sender's place, an address; empty: the sender. Borrowed as well */
	char address[DIRECTORY_ADDRESS_MAX + 1]; /* of the account, or of the alias */
	enum found_how how;
	bool of_machine; /* a user's, or of /etc/aliases */
	char detail[65];
};

/*
 * 0; E_NOTFOUND (unknown user of a domain of ours), E_DENIED (domain not ours), E_DISABLED, E_SYNTAX, E_IO; E_UNAVAILABLE: /etc/aliases
 * cannot be read. E_AGAIN, and what else system_find() says, when it leads to a user of this machine; who has none yet gets an account by it.
 */
int auth_lookup(struct auth *auth, struct span address, struct recipient *out, struct err *err);
/* The same without /etc/aliases: the mailbox that an alias calls by its own name. */
int auth_lookup_mailbox(struct auth *auth, struct span address, struct recipient *out, struct err *err);
/* 1, 0, or negative: the directory cannot be read. */
int auth_domain_is_ours(struct auth *auth, struct span domain);
uint64_t auth_quota(struct auth *auth, const struct account *account);

/*
 * Where an address leads in the end: fn is called for each mailbox or remote address
 * (account 0), each once, and for commands and files of /etc/aliases; when all of them are known, or not at all. E_LOOP when aliases go
 * deeper than DIRECTORY_DEPTH_MAX, E_LIMIT; E_UNAVAILABLE when a list that is included cannot be read; E_CANNOT when all there is may not
 * have mail; else as auth_lookup(). E_AGAIN: all users that are not known have been asked for.
 */
int auth_expand_each(struct auth *auth, struct span address, int (*fn)(void *arg, const struct recipient *r), void *arg,
    struct err *err);

/* ---- aliases.c: /etc/aliases, for domains whose accounts are of the system ---- */
struct alias;

/* aliases_load.c: what master handed over last. An error leaves what was there. */
int aliases_load(struct auth *auth, struct err *err);
/* 1: out is the alias of the local part of this canonical address; 0: none; E_UNAVAILABLE: they cannot be read. */
int aliases_find(struct auth *auth, struct span address, const struct alias **out, struct err *err);
/* The address of "owner-NAME" in its domain, when that is an alias, too: aliases(5). out: DIRECTORY_ADDRESS_MAX + 1 bytes. */
bool aliases_owner(struct auth *auth, const struct alias *alias, struct span address, char *out);
/* What its targets are: fn gets each address, canonical; mailbox: this one as it is, whatever /etc/aliases says. other gets commands, files, and what is no address. */
struct alias_walk {
	struct span address; /* of the alias, canonical */
	struct span detail;
	int (*found)(void *arg, struct span address, bool mailbox, struct err *err);
	int (*other)(void *arg, const struct recipient *r);
	void *arg;
};
int aliases_each(struct auth *auth, const struct alias *alias, const struct alias_walk *walk, struct err *err);

/* ---- sender.c ---- */

/*
 * May the account send, and as this address: none, its own, one that leads to it alone or to it among others (an alias), each also with
 * "+detail", or one that it was allowed? E_DENIED, E_DISABLED, E_IO, E_AGAIN as auth_lookup().
 */
int auth_may_send_as(struct auth *auth, uint64_t account, struct span address, struct err *err);
/* Its senders are these from here on: addresses and "*@domain". E_SYNTAX, E_TOOBIG. */
int senders_set(struct account *account, const struct span *words, size_t count, struct err *err);

/* ---- explain.c ---- */
/* What auth_lookup() has said of an address, in a sentence. */
void auth_explain(const struct recipient *found, int code, const struct err *err, char *out, size_t size);

/* ---- question.c: what daemons ask about addresses ---- */
struct ipc_conn;
struct ipc_type;

/* Answered now, or when auth-pam has answered. type: auth_recipient, auth_expand, auth_explain or auth_sender; account: of the last. */
void auth_question(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct ipc_type *type, struct span address, uint64_t account);
/* The connection is gone: nobody is answered. */
void auth_question_forget(struct auth *auth, struct ipc_conn *conn);

/* ---- password.c: hashing beside the event loop ---- */

/*
 * code 0: right, or made. E_NOTFOUND: wrong, as it is nobody's whom auth-pam knows. E_TOOBIG: not looked at, as the hash costs more than
 * any may (hash.h); it has taken as long as a wrong one. Called on the event loop. made: the new credentials; of a check NULL, unless the account
 * should have others than it has: keys that are missing, a hash in place of an imported one.
 */
typedef void password_done(void *arg, int code, const struct credentials *made);

int password_pool_new(struct auth *auth, struct password_pool **out, struct err *err);
struct system_login;

/* Whose wrong guesses have a pace, each of their own. The first, those of who belongs here and has not failed lately, have none. */
enum password_pace { PACE_NONE, PACE_SUSPECTS, PACE_STRANGERS, PASSWORD_PACES };

/* Whose password it may be. */
struct password_ask {
	uint64_t source;  /* stands for who asks; sources are served in turns */
	uint64_t account; /* its number, or what stands for one that does not exist */
	const struct credentials *have; /* NULL: none; takes as long */
	const struct system_login *outside; /* auth-pam knows; have is NULL. What its spans show stays until done is called */
	struct span stamp; /* of outside: the present password's; empty: there is no such user, and nothing is remembered */
	unsigned rank;	   /* sources of a lower one come first */
	enum password_pace pace;
	int64_t *began_ms; /* NULL, or where it is written when the check began, before done is called */
};

/*
 * Checks password against what the account has. A recent success is remembered for password-cache. E_UNAVAILABLE when
 * too many wait: nothing was hashed and done is not called; done gets it when others had to come first.
 */
int password_check(struct password_pool *pool, const struct password_ask *ask, struct span password, password_done *done, void *arg);
/* The same source is being answered the same question: it learns nothing more, and nothing more is hashed. */
bool password_is_asked(struct password_pool *pool, const struct password_ask *ask, struct span password);
/* A keyed hash of the question, for as long as the account has the password that it has now, and this process lives. Never 0. */
uint64_t password_question(struct password_pool *pool, const struct password_ask *ask, struct span password);
/* No stranger has guessed wrong for some time. */
bool password_is_calm(struct password_pool *pool);
/* Nobody waits any longer for what others' guesses have cost. */
void password_forgive(struct password_pool *pool);
/* All credentials of a password. */
int password_make(struct password_pool *pool, struct span password, password_done *done, void *arg);

/* ---- login.c: one attempt, from the first word to the answer, which may have to wait ---- */
struct scram_keys;

/* Who wants in, from where. */
struct login_ask {
	struct span service, user, remote;
	const char *mechanism; /* how, for the log: of SASL's, or what is not SASL; static */
	/* What becomes of it, in place of an auth_login_answer, also when the connection is gone. account, of code 0: borrowed. */
	void (*answered)(void *arg, int code, struct span text, const struct account *account);
	void *arg;
};

void auth_login_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_login *ask);
/* The connection is gone: pending logins answer nobody. */
void auth_login_forget(struct auth *auth, struct ipc_conn *conn);

/* An attempt of which the credentials are still to come. NULL: no memory, and that was answered. */
struct login *login_new(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct login_ask *ask);
/* Without a word to anybody. */
void login_drop(struct login *login);
/* All of these end it, now or later. */
void login_by_password(struct login *login, struct span password);
/* Not by an app password. */
void login_by_own_password(struct login *login, struct span password);
/* The client has proved that it is this user, or not: reason says in the log what was wrong. code: 0, E_AUTHFAILED, or what kept us from finding out. */
void login_end(struct login *login, int code, const char *reason);
void login_proved(struct login *login);
/*
 * Somebody says who it is: a certificate, which the daemon that has the connection has checked, or the identity provider. Whether that user may
 * come in is told to `done`, perhaps at once, which then ends the login (code 0: login_proved); without one the login ends by itself.
 */
typedef void login_vouched_done(void *arg, int code, const char *reason);
void login_vouched(struct login *login, login_vouched_done *done, void *arg);
/* In place of login_drop() while `done` has not been called. */
void login_let_go(struct login *login);
/* Before a proof is looked at; false: it must not be, and the login has been refused. */
bool login_may_prove(struct login *login);
/* The same of a token. */
bool login_may_show_token(struct login *login);
/* A proof was right, though the client has still to say so. */
void login_is_right(struct login *login);
/* A proof was wrong, though the client has still to be told: it has failed, also when it leaves now. login_end adds nothing to that. */
void login_is_wrong(struct login *login, const char *reason);
/* Is there such an account, or could there be such a user of this machine? Not to be found is no error: login_why_not says it then. */
int login_find(struct login *login);
const char *login_why_not(const struct login *login);
/* The SCRAM keys of the account, or such as nobody's password has. */
int login_keys(struct login *login, size_t size, struct scram_keys *out);
/* A proof was made with these keys: do they still hold? E_AUTHFAILED: the account has others since, or is gone. Whether it is disabled is read anew. */
int login_keys_hold(struct login *login, size_t size);
/* Those of this account that have not been answered yet fail, also when they were right. */
void logins_overtake(struct auth *auth, uint64_t account);
/* Another name for the same account? */
bool login_is_user(const struct login *login, struct span name);

/* ---- change.c: a user changes the own password ---- */
void auth_change_begin(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_password_change *ask);
void auth_change_forget(struct auth *auth, struct ipc_conn *conn);

/* ---- sasl.c: exchanges under way ---- */
void auth_sasl_start(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct auth_sasl_begin *ask);
/* Of an exchange that had to go: E_UNAVAILABLE. */
void auth_sasl_next(struct auth *auth, struct ipc_conn *conn, uint32_t id, struct span response);
void auth_sasl_end(struct auth *auth, struct ipc_conn *conn, uint32_t id);
void auth_sasl_forget(struct auth *auth, struct ipc_conn *conn);

/* ---- control.c ---- */
struct control_reply;
void auth_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret);

#endif
