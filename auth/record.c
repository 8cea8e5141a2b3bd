#include "auth/record.h"

#include "base/bytes.h"
#include "base/xxh64.h"

#include <string.h>

enum { SUM = 8 };

static uint64_t sum_of(MDB_val key, const void *value, size_t len)
{
	return xxh64(value, len, xxh64(key.mv_data, key.mv_size, 0));
}

bool auth_record_check(MDB_val key, MDB_val *value)
{
	if (value->mv_size < SUM)
		return false;
	value->mv_size -= SUM;
	return get_le((char *)value->mv_data + value->mv_size, SUM) == sum_of(key, value->mv_data, value->mv_size);
}

int auth_record_get(MDB_txn *txn, MDB_dbi dbi, struct span key, MDB_val *value)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr};
	int r = mdb_get(txn, dbi, &k, value);

	return r == 0 && !auth_record_check(k, value) ? MDB_CORRUPTED : r;
}

int auth_record_put(MDB_txn *txn, MDB_dbi dbi, struct span key, struct span value, unsigned flags)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v = {value.len + SUM, NULL};
	int r = mdb_put(txn, dbi, &k, &v, flags | MDB_RESERVE);

	if (r != 0)
		return r;
	if (value.len > 0)
		memcpy(v.mv_data, value.ptr, value.len);
	put_le((char *)v.mv_data + value.len, sum_of(k, v.mv_data, value.len), SUM);
	return 0;
}

bool auth_records_are_sound(MDB_env *env, const MDB_dbi *dbis, size_t count)
{
	bool sound = true;
	MDB_txn *txn;

	if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		MDB_cursor *cursor;
		MDB_val k, v;

		if (mdb_cursor_open(txn, dbis[i], &cursor) != 0)
			continue;
		while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0)
			sound = auth_record_check(k, &v) && sound;
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(txn);
	return sound;
}
