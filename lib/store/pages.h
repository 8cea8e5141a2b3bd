/* Whether LMDB can be trusted with a file: it believes what it reads, and garbage in it would end the process. */
#ifndef MW_STORE_PAGES_H
#define MW_STORE_PAGES_H

#include "base/err.h"
#include "base/span.h"

#include <lmdb.h>
#include <stdint.h>

/*
 * The first record of the first database, which tells by which transaction it was written: so that a commit that was taken back is noticed.
 * NULL: there is none, and it is not.
 */
struct pages_record {
	const char *database;
	struct span key;
	size_t size, txn_at; /* of its value, and in it */
};

/*
 * Before LMDB opens the environment that lies in `path`, from dir: E_CORRUPT when its meta pages would lead LMDB out of the file or out of
 * map_max bytes, or back before the last commit. A file that is too short for what they say is made longer. Other errors: the lock file cannot
 * be read now. 0 also when there is nothing, or something that LMDB itself refuses. Not while this process has it open: the lock file's descriptor
 * is closed again, and with it go the locks that the process has on the file.
 */
int pages_guard(int dir, const char *path, uint64_t map_max, const struct pages_record *record, struct err *err);

/* The same of data.mdb alone. last_commit: its number, as the lock file has it; 0: not known. */
int pages_guard_file(int fd, uint64_t map_max, const struct pages_record *record, uint64_t last_commit, struct err *err);

/*
 * E_CORRUPT when LMDB would stumble. whole: every page, else the way to the first and last entry of each database.
 */
int pages_check(MDB_env *env, bool whole, const struct pages_record *record, struct err *err);

#endif
