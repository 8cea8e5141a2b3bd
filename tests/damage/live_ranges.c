/* Where in a file of LMDB the records lie that are valid now; most of the rest is what they were before. */
#include "tests/damage/damage.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, MAP = 1 << 30 };

static void add(struct hints *out, const void *bytes, size_t len, size_t file_size)
{
	const char *page = (const char *)((uintptr_t)bytes & ~(uintptr_t)(PAGE - 1));
	uint64_t number; /* a page begins with it; in the middle of a large value there is something else */
	size_t at;

	memcpy(&number, page, sizeof(number));
	at = (size_t)number * PAGE + (size_t)((const char *)bytes - page);
	if (number >= file_size / PAGE || len == 0)
		return;
	if (out->count % 64 == 0)
		out->ranges = reallocarray(out->ranges, out->count + 64, sizeof(*out->ranges));
	out->ranges[out->count++] = (struct range){at, len < PAGE ? len : PAGE - (at & (PAGE - 1)), out->groups};
}

static void add_database(MDB_txn *txn, MDB_dbi dbi, struct hints *out, size_t file_size)
{
	MDB_cursor *cursor;
	MDB_val k, v;

	if (mdb_cursor_open(txn, dbi, &cursor) != 0)
		die("LMDB");
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
		MDB_dbi inner;
		char name[64];

		add(out, k.mv_data, k.mv_size, file_size);
		add(out, v.mv_data, v.mv_size, file_size);
		snprintf(name, sizeof(name), "%.*s", (int)k.mv_size, (const char *)k.mv_data);
		if (dbi == 1 && mdb_dbi_open(txn, name, 0, &inner) == 0)
			add_database(txn, inner, out, file_size);
	}
	mdb_cursor_close(cursor);
	out->groups++;
}

void live_ranges(const char *directory, struct hints *out)
{
	struct span file = file_load(directory, "data.mdb");
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi main_dbi;

	*out = (struct hints){0};
	if (mdb_env_create(&env) != 0 || mdb_env_set_mapsize(env, MAP) != 0 || mdb_env_set_maxdbs(env, 16) != 0 || mdb_env_open(env, directory, MDB_RDONLY, 0600) != 0 ||
	    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || mdb_dbi_open(txn, NULL, 0, &main_dbi) != 0)
		die("%s: LMDB does not open it", directory);
	add_database(txn, main_dbi, out, file.len);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	free((void *)(uintptr_t)file.ptr);
	if (out->count == 0)
		die("%s: nothing in it", directory);
}
