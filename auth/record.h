/*
 * Records of the directory: each value ends in a checksum of itself and its key. A
 * bit that changed must not lead one person's mail to another.
 */
#ifndef MW_AUTH_RECORD_H
#define MW_AUTH_RECORD_H

#include "base/err.h"
#include "base/span.h"

#include <lmdb.h>

/* Borrowed from the transaction. What LMDB says: MDB_NOTFOUND, MDB_CORRUPTED also when the checksum does not fit. */
int auth_record_get(MDB_txn *txn, MDB_dbi dbi, struct span key, MDB_val *value);
/* flags: 0 or MDB_NOOVERWRITE. What LMDB says. */
int auth_record_put(MDB_txn *txn, MDB_dbi dbi, struct span key, struct span value, unsigned flags);
/* What a cursor found: takes the checksum off; false when it does not fit. */
bool auth_record_check(MDB_val key, MDB_val *value);
/* All of these databases. A record whose key changed is found nowhere, but seen here. */
bool auth_records_are_sound(MDB_env *env, const MDB_dbi *dbis, size_t count);

#endif
