/* Meta, mailboxes, names, subscriptions, and their snapshot beside the index. */
#include "store/private.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORD_MAX = 16384, NAMES_MAX = 16 * 1024 * 1024, LINE_SUM = 16 };

static int put(struct store_txn *txn, struct span key, struct span value, struct err *err)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v = {value.len, (void *)(uintptr_t)value.ptr};
	int r = mdb_put(txn->mdb, txn->store->catalog, &k, &v, 0);

	txn->dirty = true;
	return r == 0 ? 0 : store_db_error(err, r, "catalog");
}

static int get(struct store_txn *txn, struct span key, struct span *value, struct err *err)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr}, v;
	int r = mdb_get(txn->mdb, txn->store->catalog, &k, &v);

	if (r == 0)
		*value = span_of(v.mv_data, v.mv_size);
	return r == 0 ? 0 : store_db_error(err, r, "catalog");
}

static int del(struct store_txn *txn, struct span key)
{
	MDB_val k = {key.len, (void *)(uintptr_t)key.ptr};
	int r = mdb_del(txn->mdb, txn->store->catalog, &k, NULL);

	txn->dirty = true;
	return r == 0 || r == MDB_NOTFOUND ? 0 : E_IO;
}

int meta_get(struct store_txn *txn, struct err *err)
{
	struct span value = {0};
	int r = get(txn, SPAN_LIT("M"), &value, err);

	if (r == E_NOTFOUND)
		return 0; /* a new account */
	if (r == 0 && value.len != sizeof(txn->meta))
		return err_set(err, E_CORRUPT, "index: meta record damaged");
	if (r == 0)
		memcpy(&txn->meta, value.ptr, sizeof(txn->meta));
	return r;
}

int meta_put(struct store_txn *txn, struct err *err)
{
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

static bool is_subscribed(struct store_txn *txn, struct span name)
{
	char key[STORE_NAME_MAX + 1];
	struct span value = {0};

	return get(txn, name_key('s', name, key), &value, NULL) == 0;
}

static int decode_mailbox(struct store_txn *txn, struct span value, struct store_mailbox *out)
{
	struct mailbox_record record;

	if (value.len < sizeof(record))
		return E_CORRUPT;
	value = pool_span(txn->pool, value);
	if (value.ptr == NULL)
		return E_NOMEM;
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
	out->subscribed = is_subscribed(txn, value);
	return 0;
}

int mailbox_get(struct store_txn *txn, uint32_t id, struct store_mailbox *out, struct err *err)
{
	unsigned char key[5];
	struct span value = {0};
	int r;

	id_key(id, key);
	r = get(txn, span_of(key, sizeof(key)), &value, err);
	if (r == E_NOTFOUND)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	if (r == 0)
		r = decode_mailbox(txn, value, out);
	return r == E_CORRUPT ? err_set(err, r, "index: the record of mailbox %u is damaged", id) : r;
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

int store_mailbox_by_id(struct store_txn *txn, uint32_t id, struct store_mailbox *out, struct err *err)
{
	return mailbox_get(txn, id, out, err);
}

/* INBOX in any case is one mailbox (RFC 3501 section 5.1). */
static struct span canonical_name(struct span name)
{
	return span_caseeq(name, SPAN_LIT("INBOX")) ? SPAN_LIT("INBOX") : name;
}

int store_mailbox_by_name(struct store_txn *txn, struct span name, struct store_mailbox *out, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	struct span value = {0};
	int r;

	name = canonical_name(name);
	if (name.len == 0 || name.len > STORE_NAME_MAX)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	r = get(txn, name_key('n', name, key), &value, NULL);
	if (r != 0 || value.len != 4)
		return err_set(err, E_NOTFOUND, "there is no such mailbox");
	return mailbox_get(txn, store_get32((const unsigned char *)value.ptr), out, err);
}

/* ---- walks ---- */

static int compare_names(const void *a, const void *b)
{
	struct span s = ((const struct store_mailbox *)a)->name, t = ((const struct store_mailbox *)b)->name;
	int c = memcmp(s.ptr, t.ptr, s.len < t.len ? s.len : t.len);

	return c ? c : (s.len > t.len) - (s.len < t.len);
}

static int collect(struct store_txn *txn, char prefix, int (*fn)(void *arg, struct span key, struct span value), void *arg)
{
	MDB_val k = {1, &prefix}, v;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(txn->mdb, txn->store->catalog, &cursor), stop = 0;

	if (r != 0)
		return E_IO;
	for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0 && stop == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		if (((char *)k.mv_data)[0] != prefix)
			break;
		stop = fn(arg, span_of(k.mv_data, k.mv_size), span_of(v.mv_data, v.mv_size));
	}
	mdb_cursor_close(cursor);
	return stop;
}

struct collecting {
	struct store_txn *txn;
	struct store_mailbox *list;
	size_t count, size;
};

static int collect_mailbox(void *arg, struct span key, struct span value)
{
	struct collecting *c = arg;

	(void)key;
	if (c->count == c->size) {
		size_t size = c->size ? 2 * c->size : 32;
		struct store_mailbox *list = pool_array(c->txn->pool, size, sizeof(*list));

		if (list == NULL)
			return E_NOMEM;
		if (c->count > 0)
			memcpy(list, c->list, c->count * sizeof(*list));
		c->list = list;
		c->size = size;
	}
	return decode_mailbox(c->txn, value, &c->list[c->count++]);
}

int store_mailbox_each(struct store_txn *txn, int (*fn)(void *arg, const struct store_mailbox *mailbox), void *arg)
{
	struct collecting c = {.txn = txn};
	int r = collect(txn, 'm', collect_mailbox, &c);

	if (r == 0 && c.count > 0)
		qsort(c.list, c.count, sizeof(*c.list), compare_names);
	for (size_t i = 0; i < c.count && r == 0; i++)
		r = fn(arg, &c.list[i]);
	return r;
}

struct subscriptions {
	int (*fn)(void *arg, struct span name);
	void *arg;
};

static int give_subscription(void *arg, struct span key, struct span value)
{
	struct subscriptions *s = arg;

	(void)key;
	return s->fn(s->arg, value);
}

int store_subscription_each(struct store_txn *txn, int (*fn)(void *arg, struct span name), void *arg)
{
	struct subscriptions s = {fn, arg};

	return collect(txn, 's', give_subscription, &s);
}

/* ---- changes ---- */

/* "." and "..": no name is ever a path here, but it becomes one in the hands of whoever exports it. */
static bool is_dots(struct span level)
{
	return span_eq(level, SPAN_LIT(".")) || span_eq(level, SPAN_LIT(".."));
}

int store_mailbox_check_name(struct span name, struct err *err)
{
	size_t level = 0;
	unsigned levels = 1;

	if (name.len == 0 || name.len > STORE_NAME_MAX)
		return err_set(err, E_CANNOT, "a mailbox name has 1 to %d octets", STORE_NAME_MAX);
	if (!utf8_is_valid(name))
		return err_set(err, E_CANNOT, "the mailbox name is not UTF-8");
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c < ' ' || c == 0x7f || c == '*' || c == '%')
			return err_set(err, E_CANNOT, "control characters, * and %% are not allowed in a mailbox name");
		if (c == '/' && (i == 0 || i + 1 == name.len || name.ptr[i - 1] == '/'))
			return err_set(err, E_CANNOT, "a mailbox name has no empty level");
		levels += c == '/';
		if (c == '/' || i + 1 == name.len) {
			if (is_dots(span_sub(name, level, i + (c != '/') - level)))
				return err_set(err, E_CANNOT, "a level of a mailbox name cannot be . or ..");
			level = i + 1;
		}
	}
	return levels <= STORE_DEPTH_MAX ? 0 : err_set(err, E_CANNOT, "a mailbox name has at most %d levels", STORE_DEPTH_MAX);
}

static uint32_t new_uidvalidity(struct store_txn *txn)
{
	uint32_t now = (uint32_t)clock_wall();

	txn->meta.last_uidvalidity = now > txn->meta.last_uidvalidity ? now : txn->meta.last_uidvalidity + 1;
	return txn->meta.last_uidvalidity;
}

static int put_name(struct store_txn *txn, struct span name, uint32_t id, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	unsigned char value[4];

	store_key32(id, value);
	txn->names_dirty = true;
	return put(txn, name_key('n', name, key), span_of(value, sizeof(value)), err);
}

int mailbox_new(struct store_txn *txn, uint32_t id, struct span name, uint32_t use, uint32_t uidvalidity, struct err *err)
{
	struct store_mailbox m = {.id = id, .name = name, .uidvalidity = uidvalidity, .uidnext = 1, .recent_uid = 1, .use = use};
	int r = mailbox_put(txn, &m, err);

	if (id >= txn->meta.next_mailbox)
		txn->meta.next_mailbox = id + 1;
	return r == 0 ? put_name(txn, name, id, err) : r;
}

static int create_one(struct store_txn *txn, struct span name, uint32_t use, uint32_t *id, struct err *err)
{
	struct store_mailbox m;
	int r;

	if (store_mailbox_by_name(txn, name, &m, NULL) == 0) {
		*id = m.id;
		if (!m.noselect)
			return err_set(err, E_EXISTS, "the mailbox exists already");
		m.noselect = false;
		m.use = use;
		m.uidvalidity = new_uidvalidity(txn);
		txn->names_dirty = true;
		r = mailbox_put(txn, &m, err);
	} else {
		*id = txn->meta.next_mailbox;
		r = mailbox_new(txn, *id, name, use, new_uidvalidity(txn), err);
	}
	if (r == 0)
		txn_modseq(txn);
	return r == 0 ? log_add(txn, STORE_CHANGE_MAILBOX_CREATE, *id, 0, 0, name, err) : r;
}

/* Those that are missing: one that only holds others is there, and stays as it is. */
static int create_parents(struct store_txn *txn, struct span name, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < name.len && r == 0; i++) {
		struct span parent = canonical_name(span_sub(name, 0, i));
		struct store_mailbox m;
		uint32_t id;

		if (name.ptr[i] == '/' && store_mailbox_by_name(txn, parent, &m, NULL) == E_NOTFOUND)
			r = create_one(txn, parent, 0, &id, err);
	}
	return r;
}

int store_mailbox_create(struct store_txn *txn, struct span name, uint32_t use, uint32_t *id, struct err *err)
{
	int r;

	name = canonical_name(name);
	r = store_mailbox_check_name(name, err);
	if (r == 0)
		r = create_parents(txn, name, err);
	return r == 0 ? create_one(txn, name, use, id, err) : r;
}

int catalog_create_defaults(struct store_txn *txn, struct err *err)
{
	static const struct {
		const char *name;
		uint32_t use;
	} defaults[] = {{"INBOX", 0}, {"Archive", STORE_USE_ARCHIVE}, {"Drafts", STORE_USE_DRAFTS}, {"Junk", STORE_USE_JUNK},
	    {"Sent", STORE_USE_SENT}, {"Trash", STORE_USE_TRASH}};
	int r = 0;

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]) && r == 0; i++) {
		uint32_t id;

		r = create_one(txn, span_str(defaults[i].name), defaults[i].use, &id, err);
		if (r == 0)
			r = store_mailbox_subscribe(txn, span_str(defaults[i].name), true, err);
	}
	return r;
}

int store_mailbox_subscribe(struct store_txn *txn, struct span name, bool on, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	int r;

	name = canonical_name(name);
	r = store_mailbox_check_name(name, err);
	if (r != 0)
		return r;
	if (is_subscribed(txn, name) == on)
		return 0;
	r = on ? put(txn, name_key('s', name, key), name, err) : del(txn, name_key('s', name, key));
	txn_modseq(txn);
	txn->names_dirty = true;
	return r == 0 ? log_add(txn, STORE_CHANGE_SUBSCRIBE, 0, on, 0, name, err) : r;
}

struct child_search {
	struct span parent;
	uint32_t *ids;
	size_t count, size;
	struct pool *pool;
};

static int note_child(void *arg, const struct store_mailbox *m)
{
	struct child_search *c = arg;

	if (m->name.len <= c->parent.len + 1 || !span_startswith(m->name, c->parent) || m->name.ptr[c->parent.len] != '/')
		return 0;
	if (c->count == c->size) {
		size_t size = c->size ? 2 * c->size : 16;
		uint32_t *ids = pool_array(c->pool, size, sizeof(*ids));

		if (ids == NULL)
			return E_NOMEM;
		if (c->count > 0)
			memcpy(ids, c->ids, c->count * sizeof(*ids));
		c->ids = ids;
		c->size = size;
	}
	c->ids[c->count++] = m->id;
	return 0;
}

static int find_children(struct store_txn *txn, struct span name, struct child_search *out)
{
	*out = (struct child_search){.parent = name, .pool = txn->pool};
	return store_mailbox_each(txn, note_child, out);
}

static int expunge_all(struct store_txn *txn, uint32_t id, struct err *err)
{
	struct store_message *list;
	uint32_t *uids;
	size_t count;
	int r = store_message_list(txn, id, 0, txn->pool, &list, &count, err);

	if (r != 0 || count == 0)
		return r;
	uids = pool_array(txn->pool, count, sizeof(*uids));
	if (uids == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		uids[i] = list[i].uid;
	return store_expunge(txn, id, uids, count, err);
}

int store_mailbox_delete(struct store_txn *txn, uint32_t id, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	unsigned char id_bytes[5];
	struct child_search children;
	struct store_mailbox m;
	int r = mailbox_get(txn, id, &m, err);

	if (r == 0 && span_eq(m.name, SPAN_LIT("INBOX")))
		return err_set(err, E_CANNOT, "INBOX cannot be deleted");
	if (r == 0)
		r = find_children(txn, m.name, &children);
	if (r == 0 && m.noselect && children.count > 0)
		return err_set(err, E_CANNOT, "the name has mailboxes below it");
	if (r == 0)
		r = expunge_all(txn, id, err);
	if (r == 0)
		r = mailbox_get(txn, id, &m, err);
	if (r != 0)
		return r;
	txn_modseq(txn);
	if (children.count > 0) {
		m.noselect = true;
		m.use = 0;
		r = mailbox_put(txn, &m, err);
	} else {
		id_key(id, id_bytes);
		r = del(txn, name_key('n', m.name, key));
		if (r == 0)
			r = del(txn, span_of(id_bytes, sizeof(id_bytes)));
	}
	txn->names_dirty = true;
	return r == 0 ? log_add(txn, STORE_CHANGE_MAILBOX_DELETE, id, 0, 0, m.name, err) : r;
}

static int move_name(struct store_txn *txn, uint32_t id, struct span name, struct err *err)
{
	char key[STORE_NAME_MAX + 1];
	struct store_mailbox m;
	int r = mailbox_get(txn, id, &m, err);

	if (r == 0)
		r = del(txn, name_key('n', m.name, key));
	m.name = name;
	if (r == 0)
		r = mailbox_put(txn, &m, err);
	if (r == 0)
		r = put_name(txn, name, id, err);
	txn_modseq(txn);
	return r == 0 ? log_add(txn, STORE_CHANGE_MAILBOX_RENAME, id, 0, 0, name, err) : r;
}

static int rename_children(struct store_txn *txn, struct span from, struct span to, struct err *err)
{
	struct child_search children;
	int r = find_children(txn, from, &children);

	for (size_t i = 0; i < children.count && r == 0; i++) {
		struct store_mailbox m;
		struct buf name;

		r = mailbox_get(txn, children.ids[i], &m, err);
		buf_init(&name, 2 * STORE_NAME_MAX);
		buf_add_span(&name, to);
		buf_add_span(&name, span_from(m.name, from.len));
		if (r == 0)
			r = store_mailbox_check_name(buf_span(&name), err);
		if (r == 0)
			r = move_name(txn, m.id, pool_span(txn->pool, buf_span(&name)), err);
		buf_fini(&name);
	}
	return r;
}

/* RFC 3501 section 6.3.5: renaming INBOX moves its messages to a new mailbox and leaves INBOX empty. */
static int rename_inbox(struct store_txn *txn, uint32_t inbox, struct span name, struct err *err)
{
	struct store_message *list;
	struct store_copied copied;
	uint32_t *uids, id;
	size_t count;
	int r = store_mailbox_create(txn, name, 0, &id, err);

	if (r == 0)
		r = store_message_list(txn, inbox, 0, txn->pool, &list, &count, err);
	if (r != 0 || count == 0)
		return r;
	uids = pool_array(txn->pool, count, sizeof(*uids));
	if (uids == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		uids[i] = list[i].uid;
	return store_copy(txn, inbox, id, uids, count, true, txn->pool, &copied, err);
}

int store_mailbox_rename(struct store_txn *txn, uint32_t id, struct span name, struct err *err)
{
	struct store_mailbox m, other;
	int r = store_mailbox_check_name(name, err);

	name = canonical_name(name);
	if (r == 0)
		r = mailbox_get(txn, id, &m, err);
	if (r != 0)
		return r;
	if (store_mailbox_by_name(txn, name, &other, NULL) == 0)
		return err_set(err, E_EXISTS, "the new name is taken");
	if (span_startswith(name, m.name) && name.len > m.name.len && name.ptr[m.name.len] == '/')
		return err_set(err, E_CANNOT, "a mailbox cannot be moved below itself");
	if (span_eq(m.name, SPAN_LIT("INBOX")))
		return rename_inbox(txn, id, name, err);
	r = create_parents(txn, name, err);
	if (r == 0)
		r = rename_children(txn, m.name, name, err);
	return r == 0 ? move_name(txn, id, name, err) : r;
}

int store_take_recent(struct store_txn *txn, uint32_t mailbox, uint32_t *first, struct err *err)
{
	struct store_mailbox m;
	int r = mailbox_get(txn, mailbox, &m, err);

	if (r != 0)
		return r;
	*first = m.recent_uid;
	if (m.recent_uid == m.uidnext)
		return 0;
	m.recent_uid = m.uidnext;
	return mailbox_put(txn, &m, err);
}

/* ---- the snapshot: id uidvalidity use subscribed noselect name, a line each, and a checksum ---- */

static int write_line(void *arg, const struct store_mailbox *m)
{
	buf_printf(arg, "%u %u %u %d %d %.*s\n", m->id, m->uidvalidity, m->use, m->subscribed, m->noselect, SPAN_ARG(m->name));
	return 0;
}

int names_write(struct store_txn *txn, struct err *err)
{
	unsigned char sum[LINE_SUM];
	struct buf text;
	struct span all;
	int r, fd;

	buf_init(&text, NAMES_MAX);
	buf_printf(&text, "mailboxes 1 %u\n", txn->meta.last_uidvalidity);
	r = store_mailbox_each(txn, write_line, &text);
	all = buf_span(&text);
	crypto_generichash(sum, sizeof(sum), (const unsigned char *)all.ptr, all.len, NULL, 0);
	buf_add(&text, sum, sizeof(sum));
	all = buf_span(&text);
	if (r != 0 || buf_failed(&text)) {
		buf_fini(&text);
		return err_set(err, E_NOMEM, "mailbox names");
	}
	fd = openat(txn->store->dir, "mailboxes.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, all.ptr, all.len) != (ssize_t)all.len || fsync(fd) != 0 ||
	    renameat(txn->store->dir, "mailboxes.new", txn->store->dir, "mailboxes") != 0 || fsync(txn->store->dir) != 0)
		r = err_set_errno(err, errno, "mailbox names");
	if (fd >= 0)
		close(fd);
	buf_fini(&text);
	return r;
}

static int restore_line(struct store_txn *txn, struct span line, struct err *err)
{
	unsigned id, uidvalidity, use;
	int subscribed, noselect, used = 0, r;
	char text[STORE_NAME_MAX + 128];
	struct store_mailbox m;

	span_copy(line, text, sizeof(text));
	/* One blank before the name: those that follow belong to it. */
	if (sscanf(text, "%u %u %u %d %d%n", &id, &uidvalidity, &use, &subscribed, &noselect, &used) != 5 || text[used++] != ' ')
		return err_set(err, E_CORRUPT, "mailbox names are damaged");
	(void)uidvalidity; /* UIDs are given anew: so is the validity, and a greater one */
	r = mailbox_new(txn, id, span_str(text + used), use, new_uidvalidity(txn), err);
	if (r == 0 && noselect) {
		r = mailbox_get(txn, id, &m, err);
		m.noselect = true;
		if (r == 0)
			r = mailbox_put(txn, &m, err);
	}
	return r == 0 && subscribed ? store_mailbox_subscribe(txn, span_str(text + used), true, err) : r;
}

int names_restore(struct store_txn *txn, struct err *err)
{
	unsigned char sum[LINE_SUM];
	struct span text;
	char *bytes;
	ssize_t n;
	/* A rebuild has set it aside, so that it is not overwritten before it is read. */
	int fd = openat(txn->store->dir, "mailboxes.old", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned last;
	int r = 0;

	if (fd < 0)
		return E_NOTFOUND;
	bytes = pool_alloc(txn->pool, NAMES_MAX);
	n = bytes ? read(fd, bytes, NAMES_MAX) : -1;
	close(fd);
	if (n < LINE_SUM)
		return E_NOTFOUND;
	text = span_of(bytes, (size_t)n - LINE_SUM);
	crypto_generichash(sum, sizeof(sum), (const unsigned char *)text.ptr, text.len, NULL, 0);
	if (memcmp(sum, bytes + text.len, LINE_SUM) != 0 || sscanf(bytes, "mailboxes 1 %u", &last) != 1)
		return E_NOTFOUND;
	if (last > txn->meta.last_uidvalidity)
		txn->meta.last_uidvalidity = last;
	text = span_from(text, span_find(text, '\n') + 1);
	while (text.len > 0 && r == 0) {
		size_t end = span_find(text, '\n');

		r = restore_line(txn, span_sub(text, 0, end), err);
		text = span_from(text, end + 1);
	}
	return r;
}
