/* The catalog: meta, mailbox records, names and subscriptions; looked up and walked through. */
#include "store/private.h"

#include <sodium.h>
#include <stdlib.h>

enum { RECORD_MAX = 16384 };

static int put(struct store_txn *txn, struct span key, struct span value, struct err *err)
{
	return record_put(txn, DB_CATALOG, key, value, err);
}

static int get(struct store_txn *txn, struct span key, struct span *value, struct err *err)
{
	return record_get(txn, DB_CATALOG, key, value, err);
}

static int del(struct store_txn *txn, struct span key)
{
	return record_del(txn, DB_CATALOG, key, NULL);
}

int meta_get(struct store_txn *txn, struct err *err)
{
	struct span value = {0};
	int r = get(txn, SPAN_LIT("M"), &value, err);

	if (r == E_NOTFOUND)
		return 0; /* a new account */
	if (r == 0 && value.len != sizeof(txn->meta))
		return record_damaged(txn, DB_CATALOG, err);
	if (r != 0)
		return r;
	memcpy(&txn->meta, value.ptr, sizeof(txn->meta));
	/* LMDB's own pages have no checksums: one that leads to an older moment is no fault to it. */
	if (txn->meta.version != STORE_VERSION || txn->meta.txn + txn->write != mdb_txn_id(txn->mdb))
		return record_damaged(txn, DB_CATALOG, err);
	return 0;
}

int meta_put(struct store_txn *txn, struct err *err)
{
	txn->meta.txn = mdb_txn_id(txn->mdb);
	return put(txn, SPAN_LIT("M"), span_of(&txn->meta, sizeof(txn->meta)), err);
}

uint64_t txn_modseq(struct store_txn *txn)
{
	if (!txn->numbered)
		txn->meta.modseq++;
	txn->numbered = txn->dirty = true;
	return txn->meta.modseq;
}

uint64_t store_modseq(struct store_txn *txn)
{
	return txn->meta.modseq;
}

/* ---- mailbox records ---- */

static void id_key(uint32_t id, unsigned char key[5])
{
	key[0] = 'm';
	store_key32(id, key + 1);
}

static struct span name_key(char prefix, struct span name, char out[STORE_NAME_MAX + 1])
{
	out[0] = prefix;
	memcpy(out + 1, name.ptr, name.len);
	/* LMDB takes keys of up to 511 octets: longer names are kept under their hash. */
	if (name.len > 500) {
		crypto_generichash((unsigned char *)out + 1, 32, (const unsigned char *)name.ptr, name.len, NULL, 0);
		return span_of(out, 33);
	}
	return span_of(out, name.len + 1);
}

bool name_subscribed(struct store_txn *txn, struct span name)
{
	char key[STORE_NAME_MAX + 1];
	struct span value = {0};

	return get(txn, name_key('s', name, key), &value, NULL) == 0;
}

/* Spans borrow the value. Whether it is subscribed to is kept elsewhere. */
static int parse_mailbox(struct span value, struct store_mailbox *out)
{
	struct mailbox_record record;

	if (value.len < sizeof(record))
		return E_CORRUPT;
	memcpy(&record, value.ptr, sizeof(record));
	*out = (struct store_mailbox){.id = record.id, .uidvalidity = record.uidvalidity, .uidnext = record.uidnext,
	    .recent_uid = record.recent_uid, .exists = record.exists, .unseen = record.unseen, .use = record.use,
	    .noselect = record.noselect != 0, .size = record.size, .modseq = record.modseq};
	value = span_from(value, sizeof(record));
	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++) {
		size_t len = value.len > 0 ? (unsigned char)value.ptr[0] : SIZE_MAX;

		if (len >= value.len)
			return E_CORRUPT;
		out->keywords[i] = span_sub(value, 1, len);
		value = span_from(value, 1 + len);
	}
	if (value.len == 0 || value.len > STORE_NAME_MAX)
		return E_CORRUPT;
	out->name = value;
	return 0;
}

static int mailbox_load(struct store_txn *txn, uint32_t id, struct pool *pool, struct store_mailbox *out, struct err *err)
{
	unsigned char key[5];
	struct span value = {0};
	int r;

	id_key(id, key);
	r = get(txn, span_of(key, sizeof(key)), &value, err);
	if (r == E_NOTFOUND)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	if (r != 0)
		return r;
	value = pool_span(pool, value);
	if (value.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = parse_mailbox(value, out);
	if (r != 0)
		return err_set(err, r, "index: the record of mailbox %u is damaged", id);
	out->subscribed = name_subscribed(txn, out->name);
	return 0;
}

int mailbox_get(struct store_txn *txn, uint32_t id, struct store_mailbox *out, struct err *err)
{
	return mailbox_load(txn, id, txn->pool, out, err);
}

int mailbox_put(struct store_txn *txn, const struct store_mailbox *m, struct err *err)
{
	struct mailbox_record record = {.id = m->id, .uidvalidity = m->uidvalidity, .uidnext = m->uidnext,
	    .recent_uid = m->recent_uid, .exists = m->exists, .unseen = m->unseen, .use = m->use, .noselect = m->noselect,
	    .size = m->size, .modseq = m->modseq};
	unsigned char key[5];
	struct buf value;
	int r;

	buf_init(&value, RECORD_MAX);
	buf_add(&value, &record, sizeof(record));
	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++) {
		buf_add_char(&value, (char)m->keywords[i].len);
		buf_add_span(&value, m->keywords[i]);
	}
	buf_add_span(&value, m->name);
	id_key(m->id, key);
	r = buf_failed(&value) ? err_set(err, E_NOMEM, "mailbox record") : put(txn, span_of(key, sizeof(key)), buf_span(&value), err);
	buf_fini(&value);
	return r;
}

int mailbox_del(struct store_txn *txn, uint32_t id)
{
	unsigned char key[5];

	id_key(id, key);
	return del(txn, span_of(key, sizeof(key)));
}

int name_put(struct store_txn *txn, struct span name, uint32_t id, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	unsigned char value[4];

	store_key32(id, value);
	txn->names_dirty = true;
	return put(txn, name_key('n', name, key), span_of(value, sizeof(value)), err);
}

int name_del(struct store_txn *txn, struct span name)
{
	char key[STORE_NAME_MAX + 1];

	txn->names_dirty = true;
	return del(txn, name_key('n', name, key));
}

int name_subscribe(struct store_txn *txn, struct span name, bool on, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	struct span k = name_key('s', name, key);

	txn->names_dirty = true;
	return on ? put(txn, k, name, err) : del(txn, k);
}

int store_mailbox_by_id(struct store_txn *txn, uint32_t id, struct store_mailbox *out, struct err *err)
{
	return mailbox_get(txn, id, out, err);
}

struct span mailbox_name(struct store_txn *txn, struct span name)
{
	static const struct span inbox = SPAN_LIT("INBOX");
	char *folded;

	if (!span_startscase(name, inbox) || (name.len > inbox.len && name.ptr[inbox.len] != '/') || span_startswith(name, inbox))
		return name;
	folded = pool_strndup(txn->pool, name.ptr, name.len);
	if (folded == NULL)
		return (struct span){0};
	memcpy(folded, inbox.ptr, inbox.len);
	return span_of(folded, name.len);
}

static int find_name(struct store_txn *txn, struct span name, uint32_t *id, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	struct span value = {0};
	int r;

	if (name.len == 0 || name.len > STORE_NAME_MAX)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	r = get(txn, name_key('n', name, key), &value, err);
	if (r == E_NOTFOUND)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	if (r == 0 && value.len != 4)
		r = record_damaged(txn, DB_CATALOG, err);
	if (r == 0)
		*id = store_get32((const unsigned char *)value.ptr);
	return r;
}

bool mailbox_has_name(struct store_txn *txn, struct span name)
{
	uint32_t id;
	struct err err;

	return find_name(txn, name, &id, &err) == 0;
}

int store_mailbox_by_name(struct store_txn *txn, struct span name, struct store_mailbox *out, struct err *err)
{
	uint32_t id;
	int r = find_name(txn, name, &id, err); /* an earlier release made names such as inbox/x */

	if (r == E_NOTFOUND)
		r = find_name(txn, mailbox_name(txn, name), &id, err);
	return r == 0 ? mailbox_get(txn, id, out, err) : r;
}

/* ---- walks ---- */

/* All records of a set, whole and none missing. */
static int collect(struct store_txn *txn, char prefix, enum store_set set, int (*fn)(void *arg, struct span value), void *arg)
{
	MDB_val k = {1, &prefix}, v;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn->mdb, txn->store->db[DB_CATALOG], &cursor), stop = 0;
	uint64_t sum = 0;

	if (r != 0)
		return record_error(txn, DB_CATALOG, r, NULL);
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct span value;

		if (k.mv_size == 0 || ((char *)k.mv_data)[0] != prefix)
			break;
		sum ^= record_sum_of(v);
		stop = record_check(DB_CATALOG, k, v, &value) ? fn(arg, value) : record_damaged(txn, DB_CATALOG, NULL);
	}
	mdb_cursor_close(cursor);
	if (stop != 0)
		return stop;
	if (r != 0 && r != MDB_NOTFOUND)
		return record_error(txn, DB_CATALOG, r, NULL);
	return records_complete(txn, set, sum) ? 0 : record_damaged(txn, DB_CATALOG, NULL);
}

/* Of all mailboxes only this: their records, with all keywords, may be more than there is memory for. */
struct listed {
	uint32_t id;
	struct span name;
};

struct collecting {
	struct pool *pool;
	struct listed *list;
	size_t count, size;
};

static int compare_names(const void *a, const void *b)
{
	struct span s = ((const struct listed *)a)->name, t = ((const struct listed *)b)->name;
	int c = memcmp(s.ptr, t.ptr, s.len < t.len ? s.len : t.len);

	return c ? c : (s.len > t.len) - (s.len < t.len);
}

static int collect_mailbox(void *arg, struct span value)
{
	struct collecting *c = arg;
	struct store_mailbox m;
	int r = parse_mailbox(value, &m);

	if (r != 0)
		return r;
	if (c->count == c->size) {
		size_t size = c->size ? 2 * c->size : 32;
		struct listed *list = pool_array(c->pool, size, sizeof(*list));

		if (list == NULL)
			return E_NOMEM;
		if (c->count > 0)
			memcpy(list, c->list, c->count * sizeof(*list));
		c->list = list;
		c->size = size;
	}
	c->list[c->count] = (struct listed){.id = m.id, .name = pool_span(c->pool, m.name)};
	return c->list[c->count++].name.ptr != NULL ? 0 : E_NOMEM;
}

static int ignore_subscription(void *arg, struct span name)
{
	(void)arg, (void)name;
	return 0;
}

static int visit_mailboxes(struct store_txn *txn, const struct collecting *c, int (*fn)(void *arg, const struct store_mailbox *mailbox),
    void *arg)
{
	struct pool *pool = pool_new(NULL, STORE_TXN_POOL);
	int r = pool != NULL ? 0 : E_NOMEM;

	for (size_t i = 0; i < c->count && r == 0; i++) {
		struct store_mailbox m;

		r = mailbox_load(txn, c->list[i].id, pool, &m, NULL);
		if (r == 0)
			r = fn(arg, &m);
		else if (r == E_NOTFOUND)
			r = record_damaged(txn, DB_CATALOG, NULL);
		pool_reset(pool);
	}
	pool_free(&pool);
	return r;
}

int store_mailbox_each(struct store_txn *txn, int (*fn)(void *arg, const struct store_mailbox *mailbox), void *arg)
{
	struct collecting c = {.pool = pool_new(NULL, STORE_TXN_POOL)};
	int r = c.pool != NULL ? 0 : E_NOMEM;

	/* Whether a mailbox is subscribed to is looked up: a record that was lost would say no. */
	if (r == 0)
		r = collect(txn, 's', SET_SUBSCRIPTIONS, ignore_subscription, NULL);
	if (r == 0)
		r = collect(txn, 'm', SET_MAILBOXES, collect_mailbox, &c);
	if (r == 0 && c.count > 0)
		qsort(c.list, c.count, sizeof(*c.list), compare_names);
	if (r == 0)
		r = visit_mailboxes(txn, &c, fn, arg);
	pool_free(&c.pool);
	return r;
}

static int count_one(void *arg, struct span value)
{
	(void)value;
	++*(size_t *)arg;
	return 0;
}

static int count_set(struct store_txn *txn, char prefix, enum store_set set, size_t *count, struct err *err)
{
	int r;

	*count = 0;
	r = collect(txn, prefix, set, count_one, count);
	return r == 0 ? 0 : err_set(err, r, "index: the records of the mailboxes are damaged");
}

int mailbox_count(struct store_txn *txn, size_t *count, struct err *err)
{
	return count_set(txn, 'm', SET_MAILBOXES, count, err);
}

int subscription_count(struct store_txn *txn, size_t *count, struct err *err)
{
	return count_set(txn, 's', SET_SUBSCRIPTIONS, count, err);
}

struct subscriptions {
	struct pool *pool;
	struct span *names;
	size_t count, size;
};

static int note_subscription(void *arg, struct span name)
{
	struct subscriptions *s = arg;

	if (s->count == s->size) {
		size_t size = s->size ? 2 * s->size : 32;
		struct span *names = pool_array(s->pool, size, sizeof(*names));

		if (names == NULL)
			return E_NOMEM;
		if (s->count > 0)
			memcpy(names, s->names, s->count * sizeof(*names));
		s->names = names;
		s->size = size;
	}
	s->names[s->count++] = name;
	return 0;
}

int store_subscription_each(struct store_txn *txn, int (*fn)(void *arg, struct span name), void *arg)
{
	struct subscriptions s = {.pool = txn->pool};
	int r = collect(txn, 's', SET_SUBSCRIPTIONS, note_subscription, &s);

	for (size_t i = 0; i < s.count && r == 0; i++)
		r = fn(arg, s.names[i]);
	return r;
}
