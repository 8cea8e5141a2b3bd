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

static int chunk_get(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, struct store_message *out, size_t *count, struct err *err)
{
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	int r;

	chunk_key(mailbox, chunk, key);
	r = mdb_get(txn->mdb, txn->store->messages, &k, &v);
	*count = 0;
	if (r == MDB_NOTFOUND)
		return 0;
	if (r != 0)
		return store_db_error(err, r, "messages");
	if (v.mv_size % sizeof(*out) != 0 || v.mv_size > CHUNK * sizeof(*out))
		return err_set(err, E_CORRUPT, "index: a chunk of messages is damaged");
	memcpy(out, v.mv_data, v.mv_size);
	*count = v.mv_size / sizeof(*out);
	return 0;
}

static int chunk_put(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, const struct store_message *list, size_t count, struct err *err)
{
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v = {count * sizeof(*list), (void *)(uintptr_t)list};
	int r;

	chunk_key(mailbox, chunk, key);
	txn->dirty = true;
	r = count > 0 ? mdb_put(txn->mdb, txn->store->messages, &k, &v, 0) : mdb_del(txn->mdb, txn->store->messages, &k, NULL);
	return r == 0 || r == MDB_NOTFOUND ? 0 : store_db_error(err, r, "messages");
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

int store_message_each(struct store_txn *txn, uint32_t mailbox, store_message_visit *fn, void *arg, struct err *err)
{
	struct store_message list[CHUNK];
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	MDB_cursor *cursor;
	int stop = 0, r = mdb_cursor_open(txn->mdb, txn->store->messages, &cursor);

	if (r != 0)
		return store_db_error(err, r, "messages");
	chunk_key(mailbox, 0, key);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		if (k.mv_size != 8 || memcmp(k.mv_data, key, 4) != 0)
			break;
		if (v.mv_size > sizeof(list) || v.mv_size % sizeof(list[0]) != 0) {
			r = MDB_CORRUPTED;
			break;
		}
		memcpy(list, v.mv_data, v.mv_size); /* LMDB does not align */
		stop = fn(arg, list, v.mv_size / sizeof(list[0]));
	}
	mdb_cursor_close(cursor);
	if (stop != 0)
		return stop;
	return r == 0 || r == MDB_NOTFOUND ? 0 : store_db_error(err, r, "messages");
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
	r = store_message_each(txn, mailbox, list_some, &l, err);
	if (r == E_CORRUPT)
		return err_set(err, r, "index: there are more messages than the mailbox says");
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

/* ---- facts: u32 header size, i64 sent, four texts after u32 lengths ---- */

/*
 * A message of a few kilobytes can have thousands of parts, and facts thirty times its size. The index has a maximum
 * and no quota: some hundred megabytes of such mail would fill it, and nothing could be removed any more.
 */
int facts_put(struct store_txn *txn, uint64_t number, uint32_t message, const struct store_facts *f, struct err *err)
{
	const struct span texts[4] = {f->envelope, f->body, f->bodystructure, f->parts};
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	size_t size = 4 + 8;
	unsigned char *p;
	int r;

	for (size_t i = 0; i < 4; i++)
		size += 4 + texts[i].len;
	if (size > FACTS_MAX || size > (size_t)message + FACTS_FREE)
		return 0;
	v = (MDB_val){size, NULL};
	store_key64(number, key);
	r = mdb_put(txn->mdb, txn->store->facts, &k, &v, MDB_RESERVE);
	if (r != 0)
		return store_db_error(err, r, "facts");
	p = v.mv_data;
	memcpy(p, &f->header_size, 4);
	memcpy(p + 4, &f->sent, 8);
	p += 12;
	for (size_t i = 0; i < 4; i++) {
		uint32_t len = (uint32_t)texts[i].len;

		memcpy(p, &len, 4);
		if (len > 0)
			memcpy(p + 4, texts[i].ptr, len);
		p += 4 + len;
	}
	txn->dirty = true;
	return 0;
}

int store_facts_get(struct store_txn *txn, uint64_t number, struct store_facts *out, struct err *err)
{
	struct span *const texts[4] = {&out->envelope, &out->body, &out->bodystructure, &out->parts};
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	struct span rest;
	int r;

	store_key64(number, key);
	r = mdb_get(txn->mdb, txn->store->facts, &k, &v);
	if (r != 0)
		return store_db_error(err, r, "facts");
	rest = span_of(v.mv_data, v.mv_size);
	if (rest.len < 12)
		return err_set(err, E_CORRUPT, "facts of a message are damaged");
	memcpy(&out->header_size, rest.ptr, 4);
	memcpy(&out->sent, rest.ptr + 4, 8);
	rest = span_from(rest, 12);
	for (size_t i = 0; i < 4; i++) {
		uint32_t len;

		if (rest.len < 4)
			return err_set(err, E_CORRUPT, "facts of a message are damaged");
		memcpy(&len, rest.ptr, 4);
		if (len > rest.len - 4)
			return err_set(err, E_CORRUPT, "facts of a message are damaged");
		*texts[i] = span_sub(rest, 4, len);
		rest = span_from(rest, 4 + (size_t)len);
	}
	return 0;
}

/* The count stands only when it is not one. */
int refs_change(struct store_txn *txn, uint64_t number, int by, uint32_t *left, struct err *err)
{
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;
	uint32_t count = 1;
	int r;

	store_key64(number, key);
	r = mdb_get(txn->mdb, txn->store->refs, &k, &v);
	if (r == 0 && v.mv_size == sizeof(count))
		memcpy(&count, v.mv_data, sizeof(count));
	else if (r != MDB_NOTFOUND)
		return store_db_error(err, r, "references");
	count = (uint32_t)((int64_t)count + by);
	if (left != NULL)
		*left = count;
	v = (MDB_val){sizeof(count), &count};
	txn->dirty = true;
	if (count == 1 || count == 0) {
		r = mdb_del(txn->mdb, txn->store->refs, &k, NULL);
		return r == 0 || r == MDB_NOTFOUND ? 0 : store_db_error(err, r, "references");
	}
	r = mdb_put(txn->mdb, txn->store->refs, &k, &v, 0);
	return r == 0 ? 0 : store_db_error(err, r, "references");
}
