/* Message records in chunks of 32 UIDs, facts by number, reference counts. */
#include "store/private.h"

#include <stdlib.h>

enum {
	FACTS_MAX = 256 * 1024, /* larger ones are found again each time they are wanted */
	FACTS_FREE = 4096,	/* and those that are larger than this and their message together */
};

static void chunk_key(uint32_t mailbox, uint32_t chunk, unsigned char out[8])
{
	store_key32(mailbox, out);
	store_key32(chunk, out + 4);
}

/* LMDB does not align: the records are copied. */
static bool chunk_decode(struct span value, struct store_message out[CHUNK], size_t *count)
{
	if (value.len % sizeof(*out) != 0 || value.len > CHUNK * sizeof(*out))
		return false;
	memcpy(out, value.ptr, value.len);
	*count = value.len / sizeof(*out);
	return true;
}

static int chunk_get(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, struct store_message *out, size_t *count, struct err *err)
{
	unsigned char key[8];
	struct span value;
	int r;

	chunk_key(mailbox, chunk, key);
	*count = 0;
	r = record_get(txn, DB_MESSAGES, span_of(key, sizeof(key)), &value, err);
	if (r == E_NOTFOUND)
		return 0;
	return r == 0 && !chunk_decode(value, out, count) ? record_damaged(txn, DB_MESSAGES, err) : r;
}

static int chunk_put(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, const struct store_message *list, size_t count, struct err *err)
{
	uint64_t before = txn->meta.sums[SET_OTHER + DB_MESSAGES];
	unsigned char key[8];
	int r;

	chunk_key(mailbox, chunk, key);
	r = count > 0 ? record_put(txn, DB_MESSAGES, span_of(key, sizeof(key)), span_of(list, count * sizeof(*list)), err)
		      : record_del(txn, DB_MESSAGES, span_of(key, sizeof(key)), err);
	return r == 0 ? group_change(txn, mailbox, chunk, list, count, before ^ txn->meta.sums[SET_OTHER + DB_MESSAGES], err) : r;
}

int message_put(struct store_txn *txn, uint32_t mailbox, const struct store_message *m, struct err *err)
{
	struct store_message list[CHUNK + 1];
	size_t count, at;
	int r = chunk_get(txn, mailbox, m->uid / CHUNK, list, &count, err);

	if (r != 0)
		return r;
	for (at = count; at > 0 && list[at - 1].uid > m->uid; at--)
		list[at] = list[at - 1];
	list[at] = *m;
	return chunk_put(txn, mailbox, m->uid / CHUNK, list, count + 1, err);
}

int store_message_get(struct store_txn *txn, uint32_t mailbox, uint32_t uid, struct store_message *out, struct err *err)
{
	struct store_message list[CHUNK];
	size_t count;
	int r = chunk_get(txn, mailbox, uid / CHUNK, list, &count, err);

	for (size_t i = 0; i < count && r == 0; i++)
		if (list[i].uid == uid) {
			*out = list[i];
			return 0;
		}
	return r ? r : err_set(err, E_NOTFOUND, "there is no such message");
}

/* Messages on their way from the chunks of one group after the other to fn. */
struct reading {
	struct store_txn *txn;
	uint32_t mailbox;
	uint64_t modseq; /* groups where nothing has a higher one are passed by; 0: none */
	store_message_visit *fn;
	void *arg;
	struct err *err;
	MDB_cursor *cursor;
};

static bool is_in_group(MDB_val key, uint32_t mailbox, uint32_t group)
{
	const unsigned char *p = key.mv_data;

	return key.mv_size == 8 && store_get32(p) == mailbox && store_get32(p + 4) / GROUP_CHUNKS == group;
}

/* A chunk that is missing, or an old one that came back, is missed. */
static int read_group(void *arg, uint32_t number, const struct group *group)
{
	struct reading *rd = arg;
	struct store_message list[CHUNK];
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	uint64_t sum = 0;
	int r, stop = 0;

	if (rd->modseq > 0 && group->modseq <= rd->modseq)
		return 0;
	chunk_key(rd->mailbox, number * GROUP_CHUNKS, key);
	for (r = mdb_cursor_get(rd->cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(rd->cursor, &k, &v, MDB_NEXT)) {
		struct span value;
		size_t count;

		if (!is_in_group(k, rd->mailbox, number))
			break;
		sum ^= record_sum_of(v);
		if (record_check(DB_MESSAGES, k, v, &value) && chunk_decode(value, list, &count))
			stop = rd->fn(rd->arg, list, count);
		else
			stop = record_damaged(rd->txn, DB_MESSAGES, rd->err);
	}
	if (stop != 0)
		return stop;
	if (r != 0 && r != MDB_NOTFOUND)
		return record_error(rd->txn, DB_MESSAGES, r, rd->err);
	return sum == group->sum ? 0 : record_damaged(rd->txn, DB_MESSAGES, rd->err);
}

static int messages_since(struct store_txn *txn, uint32_t mailbox, uint64_t modseq, store_message_visit *fn, void *arg, struct err *err)
{
	struct reading rd = {txn, mailbox, modseq, fn, arg, err, NULL};
	int r = mdb_cursor_open(txn->mdb, txn->store->db[DB_MESSAGES], &rd.cursor);

	if (r != 0)
		return record_error(txn, DB_MESSAGES, r, err);
	r = groups_each(txn, mailbox, read_group, &rd, err);
	mdb_cursor_close(rd.cursor);
	return r;
}

int store_message_each(struct store_txn *txn, uint32_t mailbox, store_message_visit *fn, void *arg, struct err *err)
{
	return messages_since(txn, mailbox, 0, fn, arg, err);
}

struct listing {
	struct store_message *list;
	size_t count, room;
	uint64_t modseq;
};

static int list_some(void *arg, const struct store_message *messages, size_t count)
{
	struct listing *l = arg;

	for (size_t i = 0; i < count; i++) {
		if (messages[i].modseq <= l->modseq && l->modseq > 0)
			continue;
		if (l->count == l->room)
			return E_CORRUPT;
		l->list[l->count++] = messages[i];
	}
	return 0;
}

int store_message_list(struct store_txn *txn, uint32_t mailbox, uint64_t modseq, struct pool *pool, struct store_message **out,
    size_t *count, struct err *err)
{
	struct listing l = {.modseq = modseq};
	struct store_mailbox m;
	int r = mailbox_get(txn, mailbox, &m, err);

	*count = 0;
	if (r != 0)
		return r;
	l.room = m.exists;
	*out = l.list = pool_array(pool, l.room + 1, sizeof(*l.list));
	if (l.list == NULL)
		return err_set(err, E_NOMEM, "no memory for the list of messages");
	r = messages_since(txn, mailbox, modseq, list_some, &l, err);
	if (r == E_CORRUPT)
		return record_damaged(txn, DB_MESSAGES, err);
	*count = l.count;
	return r;
}

int messages_visit(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, message_visit *fn, void *arg,
    struct err *err)
{
	size_t i = 0;

	while (i < count) {
		struct store_message list[CHUNK];
		uint32_t chunk = uids[i] / CHUNK;
		size_t have, kept = 0;
		bool changed = false;
		int r = chunk_get(txn, mailbox, chunk, list, &have, err);

		if (r != 0)
			return r;
		for (size_t k = 0; k < have; k++) {
			enum message_action action = MESSAGE_KEEP;

			while (i < count && uids[i] < list[k].uid)
				i++;
			if (i < count && uids[i] == list[k].uid)
				action = fn(arg, &list[k]);
			changed |= action != MESSAGE_KEEP;
			if (action != MESSAGE_REMOVE)
				list[kept++] = list[k];
		}
		while (i < count && uids[i] / CHUNK == chunk)
			i++;
		if (changed) {
			r = chunk_put(txn, mailbox, chunk, list, kept, err);
			if (r != 0)
				return r;
		}
	}
	return 0;
}

/* ---- facts: u32 header size, i64 sent, u64 checksum of the header, four texts after u32 lengths ---- */

enum { FACTS_HEAD = 4 + 8 + 8, FACTS_TEXTS = 4 };

/*
 * A message of a few kilobytes can have thousands of parts, and facts thirty times its size. The index has a maximum
 * and no quota: some hundred megabytes of such mail would fill it, and nothing could be removed any more.
 */
int facts_put(struct store_txn *txn, uint64_t number, uint32_t message, const struct store_facts *f, struct err *err)
{
	const struct span texts[FACTS_TEXTS] = {f->envelope, f->body, f->bodystructure, f->parts};
	struct span parts[1 + 2 * FACTS_TEXTS];
	uint32_t lengths[FACTS_TEXTS];
	unsigned char key[8], head[FACTS_HEAD];
	size_t size = sizeof(head);

	memcpy(head, &f->header_size, 4);
	memcpy(head + 4, &f->sent, 8);
	memcpy(head + 12, &f->header_sum, 8);
	parts[0] = span_of(head, sizeof(head));
	for (size_t i = 0; i < FACTS_TEXTS; i++) {
		lengths[i] = (uint32_t)texts[i].len;
		parts[1 + 2 * i] = span_of(&lengths[i], 4);
		parts[2 + 2 * i] = texts[i];
		size += 4 + texts[i].len;
	}
	store_key64(number, key);
	/* The empty record says that the number is taken. */
	return record_put_parts(txn, DB_FACTS, span_of(key, sizeof(key)), parts,
	    size > FACTS_MAX || size > (size_t)message + FACTS_FREE ? 0 : 1 + 2 * FACTS_TEXTS, err);
}

int facts_taken(struct store_txn *txn, uint64_t number, struct err *err)
{
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	int r;

	store_key64(number, key);
	r = mdb_get(txn->mdb, txn->store->db[DB_FACTS], &k, &v);
	return r == 0 ? 0 : r == MDB_NOTFOUND ? E_NOTFOUND : record_error(txn, DB_FACTS, r, err);
}

int facts_del(struct store_txn *txn, uint64_t number, struct err *err)
{
	unsigned char key[8];

	store_key64(number, key);
	return record_del(txn, DB_FACTS, span_of(key, sizeof(key)), err);
}

int store_facts_get(struct store_txn *txn, uint64_t number, struct store_facts *out, struct err *err)
{
	struct span *const texts[FACTS_TEXTS] = {&out->envelope, &out->body, &out->bodystructure, &out->parts};
	unsigned char key[8];
	struct span rest;
	int r;

	store_key64(number, key);
	r = record_get(txn, DB_FACTS, span_of(key, sizeof(key)), &rest, err);
	if (r != 0)
		return r;
	if (rest.len == 0)
		return err_set(err, E_NOTFOUND, "its facts were too large to be kept");
	if (rest.len < FACTS_HEAD)
		return record_damaged(txn, DB_FACTS, err);
	memcpy(&out->header_size, rest.ptr, 4);
	memcpy(&out->sent, rest.ptr + 4, 8);
	memcpy(&out->header_sum, rest.ptr + 12, 8);
	rest = span_from(rest, FACTS_HEAD);
	for (size_t i = 0; i < FACTS_TEXTS; i++) {
		uint32_t len;

		if (rest.len < 4)
			return record_damaged(txn, DB_FACTS, err);
		memcpy(&len, rest.ptr, 4);
		if (len > rest.len - 4)
			return record_damaged(txn, DB_FACTS, err);
		*texts[i] = span_sub(rest, 4, len);
		rest = span_from(rest, 4 + (size_t)len);
	}
	return 0;
}

/* The count stands only when it is not one. */
int refs_change(struct store_txn *txn, uint64_t number, int by, uint32_t *left, struct err *err)
{
	unsigned char key[8];
	struct span value;
	uint32_t count = 1;
	int r;

	store_key64(number, key);
	r = record_get(txn, DB_REFS, span_of(key, sizeof(key)), &value, err);
	if (r == 0 && value.len != sizeof(count))
		return record_damaged(txn, DB_REFS, err);
	if (r == 0)
		memcpy(&count, value.ptr, sizeof(count));
	else if (r != E_NOTFOUND)
		return r;
	count = (uint32_t)((int64_t)count + by);
	if (left != NULL)
		*left = count;
	txn->dirty = true;
	return count == 1 || count == 0 ? record_del(txn, DB_REFS, span_of(key, sizeof(key)), err)
					: record_put(txn, DB_REFS, span_of(key, sizeof(key)), span_of(&count, sizeof(count)), err);
}
