/*
 * Records of the directory: each value ends in a checksum of itself and its key. A
 * bit that changed must not lead one person's mail to another. The first record of
 * the accounts has the sum of all others, and tells which transaction wrote it: so one
 * that is missing is missed, and an old state that came back is not taken for the newest.
 */
#ifndef MW_AUTH_RECORD_H
#define MW_AUTH_RECORD_H

#include "base/err.h"
#include "base/span.h"

#include <lmdb.h>

/* Borrowed from the transaction. What LMDB says: MDB_NOTFOUND, MDB_CORRUPTED also when the checksum does not fit. */
int auth_record_get(MDB_txn *txn, MDB_dbi dbi, struct span key, MDB_val *value);
/* flags: 0 or MDB_NOOVERWRITE. sum: of all records, changed. What LMDB says. */
int auth_record_put(MDB_txn *txn, MDB_dbi dbi, struct span key, struct span value, unsigned flags, uint64_t *sum);
int auth_record_del(MDB_txn *txn, MDB_dbi dbi, struct span key, uint64_t *sum);
/* What a cursor found: takes the checksum off; false when it does not fit. */
bool auth_record_check(MDB_val key, MDB_val *value);
/* The first record, which is no account. */
bool auth_record_is_state(MDB_val key);
int auth_state_get(MDB_txn *txn, MDB_dbi accounts, uint64_t *sum);
int auth_state_put(MDB_txn *txn, MDB_dbi accounts, uint64_t sum);
/*
 * Looks at all records of these databases, of which the first is the accounts. 0; MDB_CORRUPTED when they are not all there, or are those of an
 * earlier time; *damaged: some cannot be read, but the others can be believed.
 */
int auth_records_check(MDB_env *env, const MDB_dbi *dbis, size_t count, bool *damaged);
/* pages_guard, before LMDB opens what lies in path. */
int auth_pages_guard(const char *path, uint64_t map_max, struct err *err);
/* pages_check, and that no commit was taken back. */
int auth_pages_check(MDB_env *env);

#endif
