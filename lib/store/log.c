/* The one change log: modseq and a number within its transaction -> change. */
#include "store/private.h"

#include "base/clock.h"

enum { LOG_KEY = 12, LOG_FIXED = 24 };

int log_add(struct store_txn *txn, enum store_change_type type, uint32_t mailbox, uint32_t first, uint32_t last, struct span name,
    struct err *err)
{
	unsigned char key[LOG_KEY], value[LOG_FIXED + STORE_NAME_MAX];
	int64_t when = clock_wall();

	store_key64(txn_modseq(txn), key);
	store_key32(txn->changes++, key + 8);
	store_key32(type, value);
	store_key32(mailbox, value + 4);
	store_key32(first, value + 8);
	store_key32(last, value + 12);
	memcpy(value + 16, &when, sizeof(when));
	if (name.len > STORE_NAME_MAX)
		return err_set(err, E_BUG, "log: name too long");
	if (name.len > 0)
		memcpy(value + LOG_FIXED, name.ptr, name.len);
	return record_put(txn, DB_LOG, span_of(key, sizeof(key)), span_of(value, LOG_FIXED + name.len), err);
}

int log_add_uids(struct store_txn *txn, enum store_change_type type, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err)
{
	size_t i = 0;

	while (i < count) {
		size_t end = i + 1;
		int r;

		while (end < count && uids[end] == uids[end - 1] + 1)
			end++;
		r = log_add(txn, type, mailbox, uids[i], uids[end - 1], span_str(""), err);
		if (r != 0)
			return r;
		i = end;
	}
	return 0;
}

int log_bound(struct store_txn *txn, struct err *err)
{
	/* What an older release let grow goes by and by. */
	size_t most = 2 * (size_t)txn->changes, surplus;
	MDB_cursor *cursor;
	MDB_stat stat;
	MDB_val k, v;
	int r = mdb_stat(txn->mdb, txn->store->db[DB_LOG], &stat);

	if (r != 0)
		return record_error(txn, DB_LOG, r, err);
	surplus = stat.ms_entries > LOG_RECORDS_MAX ? stat.ms_entries - LOG_RECORDS_MAX : 0;
	if (surplus > most)
		surplus = most;
	if (surplus == 0)
		return 0;
	r = mdb_cursor_open(txn->mdb, txn->store->db[DB_LOG], &cursor);
	if (r != 0)
		return record_error(txn, DB_LOG, r, err);
	for (; surplus > 0 && r == 0; surplus--) {
		r = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
		r = r == 0 ? record_del_at(txn, DB_LOG, cursor, k, v, err) : record_error(txn, DB_LOG, r, err);
	}
	mdb_cursor_close(cursor);
	return r;
}

int store_change_each(struct store_txn *txn, uint64_t modseq, int (*fn)(void *arg, const struct store_change *change), void *arg)
{
	unsigned char key[LOG_KEY] = {0};
	MDB_val k = {sizeof(key), key}, v;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn->mdb, txn->store->db[DB_LOG], &cursor), stop = 0;

	if (r != 0)
		return record_error(txn, DB_LOG, r, NULL);
	store_key64(modseq + 1, key);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct store_change change;
		const char *p;
		struct span value;

		if (!record_check(DB_LOG, k, v, &value) || k.mv_size != sizeof(key) || value.len < LOG_FIXED) {
			stop = record_damaged(txn, DB_LOG, NULL);
			break;
		}
		p = value.ptr;
		change = (struct store_change){.modseq = store_get64(k.mv_data),
		    .type = (enum store_change_type)store_get32((const unsigned char *)p),
		    .mailbox = store_get32((const unsigned char *)p + 4),
		    .first_uid = store_get32((const unsigned char *)p + 8),
		    .last_uid = store_get32((const unsigned char *)p + 12),
		    .name = span_from(value, LOG_FIXED)};
		memcpy(&change.when, p + 16, sizeof(change.when));
		stop = fn(arg, &change);
	}
	mdb_cursor_close(cursor);
	return stop;
}
