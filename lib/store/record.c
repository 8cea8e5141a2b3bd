/*
 * Records of the index: every value ends in a checksum of itself, its key and its
 * database. So that a record that is missing, or an old one that came back, is
 * missed too, the meta record has for each set of records the checksums of all of
 * them, added without carry.
 */
#include "store/private.h"

#include "base/bytes.h"
#include "base/checksum.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

static uint64_t record_sum(enum store_db db, MDB_val key, const void *value, size_t len)
{
	return checksum(value, len, checksum(key.mv_data, key.mv_size, (uint64_t)db + 1));
}

static uint64_t sum_of(MDB_val value)
{
	return value.mv_size < RECORD_SUM ? 0 : get_le((char *)value.mv_data + value.mv_size - RECORD_SUM, RECORD_SUM);
}

/* LMDB's own database has one name space; what is walked through alone is a set of its own. */
static enum store_set set_of(enum store_db db, MDB_val key)
{
	char kind = key.mv_size > 0 ? *(char *)key.mv_data : '\0';

	if (db != DB_CATALOG)
		return SET_OTHER + (enum store_set)db;
	return kind == 'm' ? SET_MAILBOXES : kind == 's' ? SET_SUBSCRIPTIONS : SET_OTHER;
}

/* The meta record holds the sums and cannot be in one. */
static bool is_meta(enum store_db db, MDB_val key)
{
	return db == DB_CATALOG && key.mv_size == 1 && *(char *)key.mv_data == 'M';
}

static void sum_add(struct store_txn *txn, enum store_db db, MDB_val key, uint64_t sum)
{
	if (!is_meta(db, key))
		txn->meta.sums[set_of(db, key)] ^= sum;
}

void store_suspect(struct store *store)
{
	int fd = openat(store->dir, STORE_SUSPECT, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
}

int record_damaged(struct store_txn *txn, enum store_db db, struct err *err)
{
	static const char *const what[] = {"catalog", "messages", "facts", "references", "log", "expunged", "deliveries"};

	/* Facts are found again from the message: no reason to make the index again. */
	if (db != DB_FACTS)
		store_suspect(txn->store);
	return err_set(err, E_CORRUPT, "index: a record of %s is damaged or missing", what[db]);
}

int record_error(struct store_txn *txn, enum store_db db, int r, struct err *err)
{
	int code = store_db_error(err, r, "read");

	return code == E_CORRUPT ? record_damaged(txn, db, err) : code;
}

bool record_check(enum store_db db, MDB_val key, MDB_val value, struct span *out)
{
	if (value.mv_size < RECORD_SUM)
		return false;
	*out = span_of(value.mv_data, value.mv_size - RECORD_SUM);
	return sum_of(value) == record_sum(db, key, out->ptr, out->len);
}

int record_get(struct store_txn *txn, enum store_db db, struct span key, struct span *value, struct err *err)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v;
	int r = mdb_get(txn->mdb, txn->store->db[db], &k, &v);

	if (r != 0)
		return r == MDB_NOTFOUND ? store_db_error(err, r, "read") : record_error(txn, db, r, err);
	return record_check(db, k, v, value) ? 0 : record_damaged(txn, db, err);
}

int record_put_parts(struct store_txn *txn, enum store_db db, struct span key, const struct span *parts, size_t count, struct err *err)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v;
	MDB_dbi dbi = txn->store->db[db];
	size_t size = RECORD_SUM;
	uint64_t sum = 0;
	char *p;
	int r = mdb_get(txn->mdb, dbi, &k, &v);

	if (r == 0)
		sum = sum_of(v);
	for (size_t i = 0; i < count; i++)
		size += parts[i].len;
	v = (MDB_val){size, NULL};
	if (r == 0 || r == MDB_NOTFOUND)
		r = mdb_put(txn->mdb, dbi, &k, &v, MDB_RESERVE);
	if (r != 0)
		return store_db_error(err, r, "write");
	p = v.mv_data;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len > 0)
			memcpy(p, parts[i].ptr, parts[i].len);
		p += parts[i].len;
	}
	sum_add(txn, db, k, sum);
	sum = record_sum(db, k, v.mv_data, size - RECORD_SUM);
	put_le(p, sum, RECORD_SUM);
	sum_add(txn, db, k, sum);
	txn->dirty = true;
	return 0;
}

int record_put(struct store_txn *txn, enum store_db db, struct span key, struct span value, struct err *err)
{
	return record_put_parts(txn, db, key, &value, 1, err);
}

int record_del(struct store_txn *txn, enum store_db db, struct span key, struct err *err)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v;
	int r = mdb_get(txn->mdb, txn->store->db[db], &k, &v);

	if (r == MDB_NOTFOUND)
		return 0;
	if (r == 0) {
		sum_add(txn, db, k, sum_of(v));
		r = mdb_del(txn->mdb, txn->store->db[db], &k, NULL);
	}
	txn->dirty = true;
	return r == 0 ? 0 : store_db_error(err, r, "remove");
}

int record_del_at(struct store_txn *txn, enum store_db db, MDB_cursor *cursor, MDB_val key, MDB_val value, struct err *err)
{
	int r;

	sum_add(txn, db, key, sum_of(value));
	txn->dirty = true;
	r = mdb_cursor_del(cursor, 0);
	return r == 0 ? 0 : store_db_error(err, r, "remove");
}

bool records_complete(const struct store_txn *txn, enum store_set set, uint64_t sum)
{
	return txn->meta.sums[set] == sum;
}

uint64_t record_sum_of(MDB_val value)
{
	return sum_of(value);
}

static const struct pages_record meta_record = {
    .database = "catalog", .key = SPAN_LIT("M"), .size = sizeof(struct meta) + RECORD_SUM, .txn_at = offsetof(struct meta, txn)};

int index_guard(int dir, uint64_t map_max, struct err *err)
{
	return pages_guard(dir, "index", map_max, &meta_record, err);
}

int index_pages_check(struct store *s, bool whole, struct err *err)
{
	return pages_check(s->env, whole, &meta_record, err);
}

int records_verify(struct store_txn *txn, enum store_db db, struct err *err)
{
	uint64_t sums[SET_COUNT] = {0};
	MDB_cursor *cursor;
	MDB_val k, v;
	bool sound = true;
	int r = mdb_cursor_open(txn->mdb, txn->store->db[db], &cursor);

	if (r != 0)
		return record_error(txn, db, r, err);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); r == 0 && sound; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct span value;

		sound = record_check(db, k, v, &value);
		if (!is_meta(db, k))
			sums[set_of(db, k)] ^= sum_of(v);
	}
	mdb_cursor_close(cursor);
	if (r != 0 && r != MDB_NOTFOUND)
		return record_error(txn, db, r, err);
	for (enum store_set set = 0; set < SET_COUNT && sound; set++)
		if (db == DB_CATALOG ? set <= SET_OTHER : set == SET_OTHER + (enum store_set)db)
			sound = sums[set] == txn->meta.sums[set];
	return sound ? 0 : record_damaged(txn, db, err);
}
