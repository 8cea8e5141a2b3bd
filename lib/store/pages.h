/* Whether LMDB can be trusted with a file: it believes what it reads, and garbage in it would end the process. */
#ifndef MW_STORE_PAGES_H
#define MW_STORE_PAGES_H

#include "base/err.h"

#include <lmdb.h>
#include <stdint.h>

/*
 * Before LMDB opens the file: E_CORRUPT when its meta pages would lead LMDB out of the file or out of map_max
 * bytes. A file that is too short for what they say is made longer.
 */
int pages_guard(int fd, uint64_t map_max, struct err *err);

/*
 * E_CORRUPT when LMDB would stumble. whole: every page, else the way to the first and last entry of each database.
 * written: NULL, or looks at the first leaf of a database "catalog" and tells by which transaction it was written, 0 when it
 * does not know; so that a commit that was taken back is noticed.
 */
typedef uint64_t pages_written(const unsigned char *page);
int pages_check(MDB_env *env, bool whole, pages_written *written, struct err *err);
/* The data of the first entry of a leaf page, when its key is this and there are at least `size` bytes; else NULL. */
const unsigned char *pages_first_entry(const unsigned char *page, const char *key, size_t size);

#endif
