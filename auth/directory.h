/*
 * The directory: accounts, aliases and domains in one LMDB environment that only
 * auth opens. Every change is durable when the call returns.
 *
 * Databases: "accounts" id (u64, big-endian) -> account record; "addresses"
 * canonical address -> 'A' id, or 'L' targets each ended by NUL; "domains" name
 * -> nothing; "meta" "next" -> the next account id, "secret" -> directory_secret(); "app-passwords" id and label ->
 * app password; "places" id -> where the account logs in from. Ids are never reused.
 */
#ifndef MW_AUTH_DIRECTORY_H
#define MW_AUTH_DIRECTORY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
	DIRECTORY_ADDRESS_MAX = 320,
	DIRECTORY_NAME_MAX = 256,
	DIRECTORY_HASH_MAX = 256,
	DIRECTORY_SENDERS_MAX = 1024,  /* all patterns of an account together */
	DIRECTORY_SCRAM_MAX = 191,     /* of scram_format() */
	DIRECTORY_TARGETS_MAX = 1000,  /* of one alias, and of one expansion */
	DIRECTORY_ALIAS_MAX = 65536,   /* bytes of an alias's targets */
	DIRECTORY_DEPTH_MAX = 16,      /* aliases that lead to aliases */
	DIRECTORY_LABEL_MAX = 64,      /* of an app password */
	DIRECTORY_FROM_MAX = 64,       /* a client's address as text */
	DIRECTORY_APPS_MAX = 32,       /* app passwords of one account */
	DIRECTORY_PLACES = 8,	       /* of one account that are remembered */
};

struct directory;

/* What is known of a password: each was made of it, and none gives it back. "": there is none. */
struct credentials {
	char hash[DIRECTORY_HASH_MAX + 1]; /* Argon2id text of libsodium, or one of crypt(5) that was imported, until the next login */
	char scram_sha_1[DIRECTORY_SCRAM_MAX + 1];
	char scram_sha_256[DIRECTORY_SCRAM_MAX + 1];
};

/* Strings are NUL-ended. */
struct account {
	uint64_t id;
	uint64_t quota; /* bytes; UINT64_MAX: what the domain says */
	int64_t created;
	bool disabled;
	bool system; /* a user of this machine, whose password PAM checks: it has no credentials here */
	char address[DIRECTORY_ADDRESS_MAX + 1];
	char name[DIRECTORY_NAME_MAX + 1];
	struct credentials credentials;
	char senders[DIRECTORY_SENDERS_MAX + 1]; /* what it may send as beside its own addresses: sender.c */
};

/*
 * A person's name, without blanks around it, or nothing. False, and nothing is changed: more than DIRECTORY_NAME_MAX octets, or control
 * characters; a line of the exported directory must be able to end with it.
 */
bool account_set_name(struct account *account, struct span name);

/* path: a directory that exists. */
int directory_open(const char *path, struct directory **out, struct err *err);
void directory_close(struct directory **directory);
/* Some of what was in it cannot be read: what is not found may be that. */
bool directory_is_damaged(const struct directory *d);
/* New accounts get numbers above this one, whatever the databases say: mail may lie there. */
void directory_reserve(struct directory *d, uint64_t id);

int directory_account_get(struct directory *d, struct span address, struct account *out);
int directory_account_by_id(struct directory *d, uint64_t id, struct account *out);
/* Gives account->created, and ->id unless it is set. E_EXISTS when the address or the id is taken. */
int directory_account_add(struct directory *d, struct account *account, struct err *err);
int directory_account_put(struct directory *d, const struct account *account, struct err *err);
/* Only these, of an account that may have been changed meanwhile. before: the hash that it must still have, or NULL. E_NOTFOUND. */
int directory_credentials_put(struct directory *d, uint64_t id, const char *before, const struct credentials *credentials, struct err *err);
int directory_account_remove(struct directory *d, struct span address, struct err *err);
/* Here and below: fn ends it with anything but 0, which is returned. E_CORRUPT: what is damaged was left out. */
int directory_account_each(struct directory *d, int (*fn)(void *arg, const struct account *account), void *arg);
/* The account with the lowest id: where postmaster leads when nothing else takes it. */
int directory_account_first(struct directory *d, struct account *out);

/* targets: each ended by NUL, valid addresses. */
int directory_alias_put(struct directory *d, struct span address, struct span targets, bool replace, struct err *err);
int directory_alias_remove(struct directory *d, struct span address, struct err *err);
int directory_alias_each(struct directory *d, int (*fn)(void *arg, struct span address, struct span targets), void *arg);

int directory_domain_add(struct directory *d, struct span name, struct err *err);
int directory_domain_remove(struct directory *d, struct span name, struct err *err);
/* 1, 0, or negative: it cannot be read. */
int directory_domain_has(struct directory *d, struct span name);
int directory_domain_each(struct directory *d, int (*fn)(void *arg, struct span name), void *arg);

/* ---- app passwords: one for each program of an account, for some protocols ---- */

enum { APP_SALT = 16, APP_HASH = 32 };

struct app_password {
	char label[DIRECTORY_LABEL_MAX + 1];
	unsigned protocols; /* bits: auth/app.h */
	int64_t created, used; /* used 0: never */
	char from[DIRECTORY_FROM_MAX + 1]; /* where it was last used from; "": never */
	unsigned char salt[APP_SALT], hash[APP_HASH];
};

/* E_EXISTS unless replace; E_LIMIT: the account has DIRECTORY_APPS_MAX. */
int directory_app_put(struct directory *d, uint64_t account, const struct app_password *app, bool replace, struct err *err);
/* E_NOTFOUND. */
int directory_app_get(struct directory *d, uint64_t account, struct span label, struct app_password *out);
int directory_app_remove(struct directory *d, uint64_t account, struct span label, struct err *err);
/* By label; as directory_account_each(). */
int directory_app_each(struct directory *d, uint64_t account, int (*fn)(void *arg, const struct app_password *app), void *arg);

/* ---- places: keyed hashes of the addresses that an account last logged in from ---- */

struct place {
	uint64_t hash; /* 0: none */
	uint32_t day;  /* since 1970, when it was last used */
};

/* Fewer than DIRECTORY_PLACES are followed by empty ones. An account that has none, or whose cannot be read, has empty ones. */
void directory_places_get(struct directory *d, uint64_t account, struct place out[DIRECTORY_PLACES]);
/* It takes the place of the one that was not used for the longest time. */
int directory_place_put(struct directory *d, uint64_t account, const struct place *place, struct err *err);

/* What stands under a canonical address. targets: copied into buf. */
enum directory_kind { DIRECTORY_NONE, DIRECTORY_ACCOUNT, DIRECTORY_ALIAS, DIRECTORY_ERROR };
enum directory_kind directory_find(struct directory *d, struct span address, struct account *account,
    struct buf *targets);

/* 32 random bytes, made once and kept: for what must be the same after a restart and unknown to everybody else. */
enum { DIRECTORY_SECRET = 32 };
int directory_secret(struct directory *d, unsigned char out[DIRECTORY_SECRET], struct err *err);

/* All changes between begin and commit are one: import is all or nothing. */
int directory_begin(struct directory *d, struct err *err);
int directory_commit(struct directory *d, struct err *err);
void directory_abort(struct directory *d);

#endif
