/* Whether LMDB can be trusted with a file: it believes what it reads, and garbage in it would end the process. */
#ifndef MW_STORE_PAGES_H
#define MW_STORE_PAGES_H

#include "base/err.h"
#include "base/span.h"

#include <lmdb.h>
#include <stdint.h>

/*
 * Before LMDB opens the file: E_CORRUPT when its meta pages would lead LMDB out of the file or out of map_max
 * bytes. A file that is too short for what they say is made longer.
 */
int pages_guard(int fd, uint64_t map_max, struct err *err);

/*
 * E_CORRUPT when LMDB would stumble. whole: every page, else the way to the first and last entry of each database.
 * record: NULL, or the first record of the first database, which tells by which transaction it was written; so that a commit that was taken back
 * is noticed.
 */
struct pages_record {
	const char *database;
	struct span key;
	size_t size, txn_at; /* of its value, and in it */
};
int pages_check(MDB_env *env, bool whole, const struct pages_record *record, struct err *err);

#endif
