/*
 * Groups: what is in 32 neighbouring chunks of messages. One record tells of 1,024 UIDs; all groups of a mailbox
 * add up to the record before them.
 */
#include "store/private.h"

enum { TOTAL_KEY = 1 + 4, GROUP_KEY = TOTAL_KEY + 4 };

static void total_key(uint32_t mailbox, unsigned char *out)
{
	out[0] = 'c';
	store_key32(mailbox, out + 1);
}

static void group_key(uint32_t mailbox, uint32_t number, unsigned char out[GROUP_KEY])
{
	total_key(mailbox, out);
	store_key32(number, out + TOTAL_KEY);
}

/* A record of a fixed size; zeroes when there is none. */
static int get_fixed(struct store_txn *txn, struct span key, void *out, size_t size, struct err *err)
{
	struct span value;
	int r = record_get(txn, DB_CATALOG, key, &value, err);

	memset(out, 0, size);
	if (r == E_NOTFOUND)
		return 0;
	if (r == 0 && value.len != size)
		return record_damaged(txn, DB_CATALOG, err);
	if (r == 0)
		memcpy(out, value.ptr, size);
	return r;
}

static int put_or_delete(struct store_txn *txn, struct span key, const void *value, size_t size, bool empty, struct err *err)
{
	return empty ? record_del(txn, DB_CATALOG, key, err) : record_put(txn, DB_CATALOG, key, span_of(value, size), err);
}

static int total_get(struct store_txn *txn, uint32_t mailbox, uint64_t *total, struct err *err)
{
	unsigned char key[TOTAL_KEY];

	total_key(mailbox, key);
	return get_fixed(txn, span_of(key, sizeof(key)), total, sizeof(*total), err);
}

static int total_change(struct store_txn *txn, uint32_t mailbox, uint64_t by, struct err *err)
{
	unsigned char key[TOTAL_KEY];
	uint64_t total;
	int r = total_get(txn, mailbox, &total, err);

	total ^= by;
	total_key(mailbox, key);
	return r == 0 ? put_or_delete(txn, span_of(key, sizeof(key)), &total, sizeof(total), total == 0, err) : r;
}

static bool is_empty(const struct group *group)
{
	uint32_t any = 0;

	for (size_t i = 0; i < GROUP_CHUNKS; i++)
		any |= group->there[i];
	return any == 0;
}

static void note_chunk(struct group *group, size_t at, const struct store_message *list, size_t count)
{
	group->there[at] = group->unseen[at] = 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t bit = UINT32_C(1) << list[i].uid % CHUNK;

		group->there[at] |= bit;
		if ((list[i].flags & STORE_SEEN) == 0)
			group->unseen[at] |= bit;
		if (list[i].modseq > group->modseq)
			group->modseq = list[i].modseq;
	}
}

int group_change(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, const struct store_message *list, size_t count, uint64_t by,
    struct err *err)
{
	uint64_t before = txn->meta.sums[SET_OTHER];
	unsigned char key[GROUP_KEY];
	struct group group;
	int r;

	group_key(mailbox, chunk / GROUP_CHUNKS, key);
	r = get_fixed(txn, span_of(key, sizeof(key)), &group, sizeof(group), err);
	if (r != 0)
		return r;
	group.sum ^= by;
	note_chunk(&group, chunk % GROUP_CHUNKS, list, count);
	r = put_or_delete(txn, span_of(key, sizeof(key)), &group, sizeof(group), is_empty(&group), err);
	return r == 0 ? total_change(txn, mailbox, before ^ txn->meta.sums[SET_OTHER], err) : r;
}

static uint32_t count_of(const struct group *group)
{
	uint32_t count = 0;

	for (size_t i = 0; i < GROUP_CHUNKS; i++)
		count += (uint32_t)__builtin_popcount(group->there[i]);
	return count;
}

int groups_each(struct store_txn *txn, uint32_t mailbox, group_visit *fn, void *arg, struct err *err)
{
	unsigned char key[GROUP_KEY];
	MDB_val k = {sizeof(key), key}, v;
	MDB_cursor *cursor;
	struct store_mailbox box;
	uint64_t sum = 0, total;
	uint32_t count = 0;
	int stop = mailbox_get(txn, mailbox, &box, err), r;

	if (stop == 0)
		stop = total_get(txn, mailbox, &total, err);
	if (stop != 0)
		return stop;
	r = mdb_cursor_open(txn->mdb, txn->store->db[DB_CATALOG], &cursor);
	if (r != 0)
		return record_error(txn, DB_CATALOG, r, err);
	group_key(mailbox, 0, key);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct group group;
		struct span value;

		if (k.mv_size != sizeof(key) || memcmp(k.mv_data, key, TOTAL_KEY) != 0)
			break;
		sum ^= record_sum_of(v);
		if (record_check(DB_CATALOG, k, v, &value) && value.len == sizeof(group)) {
			memcpy(&group, value.ptr, sizeof(group)); /* LMDB does not align */
			count += count_of(&group);
			stop = fn(arg, store_get32((const unsigned char *)k.mv_data + TOTAL_KEY), &group);
		} else {
			stop = record_damaged(txn, DB_CATALOG, err);
		}
	}
	mdb_cursor_close(cursor);
	if (stop != 0)
		return stop;
	if (r != 0 && r != MDB_NOTFOUND)
		return record_error(txn, DB_CATALOG, r, err);
	/* A page that is damaged may have all of them in it, and then there seem to be none. */
	return sum == total && count == box.exists ? 0 : record_damaged(txn, DB_CATALOG, err);
}

struct uids {
	store_uid_visit *fn;
	void *arg;
};

static int visit_uids(void *arg, uint32_t number, const struct group *group)
{
	const struct uids *u = arg;
	int r = 0;

	for (uint32_t i = 0; i < GROUP_CHUNKS; i++) {
		uint32_t first = (number * GROUP_CHUNKS + i) * CHUNK;

		for (uint32_t left = group->there[i]; left != 0 && r == 0; left &= left - 1) {
			uint32_t bit = (uint32_t)__builtin_ctz(left);

			r = u->fn(u->arg, first + bit, (group->unseen[i] >> bit & 1) != 0);
		}
	}
	return r;
}

int store_uid_each(struct store_txn *txn, uint32_t mailbox, store_uid_visit *fn, void *arg, struct err *err)
{
	struct uids u = {fn, arg};

	return groups_each(txn, mailbox, visit_uids, &u, err);
}
