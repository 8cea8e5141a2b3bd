/* Between the directory's environment (directory_env.c) and its records (directory.c). */
#ifndef MW_AUTH_DIRECTORY_PRIVATE_H
#define MW_AUTH_DIRECTORY_PRIVATE_H

#include "auth/directory.h"

#include <lmdb.h>

struct directory {
	MDB_env *env;
	MDB_dbi accounts, addresses, domains, meta;
	MDB_dbi apps, places; /* 0: an older directory that is damaged has none */
	MDB_txn *txn; /* between begin and commit */
	char *path;
	uint64_t floor; /* numbers up to here are taken, whatever the databases say */
	uint64_t sum;	/* of all records, while something is changed */
	bool damaged;	/* not everything that was in it can be found */
};

/* In words, with what to do next. */
int directory_error(struct err *err, int r, const char *what);
/* A change alone, or as a part of a begun one. r: what became of it. */
int directory_change_begin(struct directory *d, MDB_txn **txn, struct err *err);
int directory_change_end(struct directory *d, MDB_txn *txn, int r, struct err *err);
int directory_read_begin(struct directory *d, MDB_txn **txn);
void directory_read_end(struct directory *d, MDB_txn *txn);
/* An account's key: numbers in the order of their bytes. */
void directory_id_key(uint64_t id, unsigned char out[8]);
/* App passwords and places of an account that is removed. What LMDB says. */
int directory_app_clear(struct directory *d, MDB_txn *txn, uint64_t id);
int directory_places_clear(struct directory *d, MDB_txn *txn, uint64_t id);

#endif
