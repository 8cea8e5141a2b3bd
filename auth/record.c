#include "auth/record.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "store/pages.h"

#include <fcntl.h>
#include <string.h>

enum { SUM = 8, STATE = 16 }; /* transaction, sum */

#define STATE_KEY SPAN_LIT("\0")

static uint64_t sum_of(MDB_val key, const void *value, size_t len)
{
	return checksum(value, len, checksum(key.mv_data, key.mv_size, 0));
}

static MDB_val val(struct span s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)s.ptr};
}

static uint64_t sum_at_end(MDB_val value)
{
	return value.mv_size < SUM ? 0 : get_le((char *)value.mv_data + value.mv_size - SUM, SUM);
}

bool auth_record_is_state(MDB_val key)
{
	return key.mv_size == 1;
}

bool auth_record_check(MDB_val key, MDB_val *value)
{
	uint64_t sum = sum_at_end(*value);

	if (value->mv_size < SUM)
		return false;
	value->mv_size -= SUM;
	return sum == sum_of(key, value->mv_data, value->mv_size);
}

int auth_record_get(MDB_txn *txn, MDB_dbi dbi, struct span key, MDB_val *value)
{
	MDB_val k = val(key);
	int r = mdb_get(txn, dbi, &k, value);

	return r == 0 && !auth_record_check(k, value) ? MDB_CORRUPTED : r;
}

int auth_record_put(MDB_txn *txn, MDB_dbi dbi, struct span key, struct span value, unsigned flags, uint64_t *sum)
{
	MDB_val k = val(key), v;
	uint64_t before = mdb_get(txn, dbi, &k, &v) == 0 ? sum_at_end(v) : 0, after;
	int r;

	v = (MDB_val){value.len + SUM, NULL};
	r = mdb_put(txn, dbi, &k, &v, flags | MDB_RESERVE);
	if (r != 0)
		return r;
	if (value.len > 0)
		memcpy(v.mv_data, value.ptr, value.len);
	after = sum_of(k, v.mv_data, value.len);
	put_le((char *)v.mv_data + value.len, after, SUM);
	*sum ^= before ^ after;
	return 0;
}

int auth_record_del(MDB_txn *txn, MDB_dbi dbi, struct span key, uint64_t *sum)
{
	MDB_val k = val(key), v;
	int r = mdb_get(txn, dbi, &k, &v);

	if (r != 0)
		return r;
	*sum ^= sum_at_end(v);
	return mdb_del(txn, dbi, &k, NULL);
}

/* ---- the state of the whole ---- */

int auth_state_get(MDB_txn *txn, MDB_dbi accounts, uint64_t *sum)
{
	MDB_val v;
	int r = auth_record_get(txn, accounts, STATE_KEY, &v);

	*sum = 0;
	if (r == MDB_NOTFOUND)
		return 0;
	if (r == 0 && v.mv_size != STATE)
		return MDB_CORRUPTED;
	if (r == 0)
		*sum = get_le((char *)v.mv_data + 8, 8);
	return r;
}

int auth_state_put(MDB_txn *txn, MDB_dbi accounts, uint64_t sum)
{
	char state[STATE];
	uint64_t own = 0;

	put_le(state, mdb_txn_id(txn), 8);
	put_le(state + 8, sum, 8);
	return auth_record_put(txn, accounts, STATE_KEY, span_of(state, sizeof(state)), 0, &own);
}

struct soundness {
	uint64_t sum, wanted, wrote;
	bool records, stated;
};

static void look_at(MDB_txn *txn, MDB_dbi dbi, bool accounts, struct soundness *s)
{
	MDB_cursor *cursor;
	MDB_val k, v;

	if (mdb_cursor_open(txn, dbi, &cursor) != 0) {
		s->records = false;
		return;
	}
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
		uint64_t sum = sum_at_end(v);

		s->records = auth_record_check(k, &v) && s->records;
		if (!accounts || !auth_record_is_state(k)) {
			s->sum ^= sum;
		} else if (v.mv_size == STATE) {
			s->stated = true;
			s->wrote = get_le(v.mv_data, 8);
			s->wanted = get_le((char *)v.mv_data + 8, 8);
		}
	}
	mdb_cursor_close(cursor);
}

int auth_records_check(MDB_env *env, const MDB_dbi *dbis, size_t count, bool *damaged)
{
	struct soundness s = {.records = true};
	MDB_txn *txn;
	size_t id;
	int r = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (r != 0)
		return r;
	id = mdb_txn_id(txn);
	for (size_t i = 0; i < count; i++)
		look_at(txn, dbis[i], i == 0, &s);
	mdb_txn_abort(txn);
	*damaged = !s.records;
	/* Of a new one there is no state yet. The checksum of a damaged record may itself be what is damaged. */
	if ((s.stated && s.wrote != id) || (s.records && s.sum != s.wanted))
		return MDB_CORRUPTED;
	return 0;
}

static const struct pages_record state_record = {.database = "accounts", .key = STATE_KEY, .size = STATE + SUM, .txn_at = 0};

int auth_pages_guard(const char *path, uint64_t map_max, struct err *err)
{
	return pages_guard(AT_FDCWD, path, map_max, &state_record, err);
}

int auth_pages_check(MDB_env *env)
{
	return pages_check(env, true, &state_record, NULL);
}
