/* Adding, flags, copying, moving, expunging, undoing. */
#include "store/draft.h"

#include "base/clock.h"

#include <stdlib.h>

/* ---- keywords ---- */

/* What becomes of names that are not in the mailbox's table: they have no bit, are entered (E_LIMIT), or are entered as far as there is room. */
enum keyword_entry { KEYWORDS_KNOWN, KEYWORDS_ENTER, KEYWORDS_ENTER_SOME };

static int keyword_bits(struct store_mailbox *m, const struct span *names, size_t count, enum keyword_entry entry, uint64_t *bits,
    bool *entered, struct err *err)
{
	*bits = 0;
	for (size_t n = 0; n < count; n++) {
		size_t at = STORE_KEYWORDS_MAX, empty = STORE_KEYWORDS_MAX;

		if (names[n].len == 0 || names[n].len > STORE_KEYWORD_MAX)
			return err_set(err, E_LIMIT, "a keyword has 1 to %d octets", STORE_KEYWORD_MAX);
		for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++) {
			if (span_caseeq(m->keywords[i], names[n]))
				at = i;
			else if (m->keywords[i].len == 0 && empty == STORE_KEYWORDS_MAX)
				empty = i;
		}
		if (at == STORE_KEYWORDS_MAX && entry == KEYWORDS_ENTER && empty == STORE_KEYWORDS_MAX)
			return err_set(err, E_LIMIT, "the mailbox has %d keywords already", STORE_KEYWORDS_MAX);
		if (at == STORE_KEYWORDS_MAX && entry != KEYWORDS_KNOWN && empty < STORE_KEYWORDS_MAX) {
			m->keywords[at = empty] = names[n];
			*entered = true;
		}
		if (at < STORE_KEYWORDS_MAX)
			*bits |= UINT64_C(1) << at;
	}
	return 0;
}

static void count_in(struct store_mailbox *box, const struct store_message *m)
{
	box->exists++;
	box->size += m->size;
	box->unseen += !(m->flags & STORE_SEEN);
}

/* ---- append ---- */

bool store_delivered(struct store_txn *txn, const unsigned char key[STORE_KEY])
{
	struct span when;

	return record_get(txn, DB_DELIVERED, span_of(key, STORE_KEY), &when, NULL) == 0;
}

static int note_delivered(struct store_txn *txn, const unsigned char *key, struct err *err)
{
	int64_t now = clock_wall();

	return record_put(txn, DB_DELIVERED, span_of(key, STORE_KEY), span_of(&now, sizeof(now)), err);
}

static int check_quota(struct store_txn *txn, uint64_t more, struct err *err)
{
	uint64_t quota = txn->store->quota;

	return quota > 0 && txn->meta.bytes + more > quota ? err_set(err, E_OVERQUOTA, "the mailbox is over its quota of %llu octets", (unsigned long long)quota) : 0;
}

static int next_uid(struct store_mailbox *box, uint32_t *uid, struct err *err)
{
	if (box->uidnext == UINT32_MAX)
		return err_set(err, E_LIMIT, "the mailbox has used all its UIDs");
	*uid = box->uidnext++;
	return 0;
}

int store_append(struct store_txn *txn, struct store_draft *draft, uint32_t mailbox, uint32_t flags, const struct span *keywords,
    size_t keyword_count, const unsigned char *key, struct store_message *out, struct err *err)
{
	struct store_mailbox box;
	bool entered = false;
	int r = mailbox_get(txn, mailbox, &box, err);

	invariant(draft->finished);
	if (r == 0 && box.noselect)
		return err_set(err, E_CANNOT, "this name holds no messages");
	if (r == 0 && key != NULL && store_delivered(txn, key))
		return err_set(err, E_EXISTS, "delivered before");
	if (r == 0 && !draft_is_there(draft))
		return err_set(err, E_IO, "the message file was removed; it took more than a day to come");
	if (r == 0)
		r = check_quota(txn, draft->size, err);
	if (r == 0)
		r = draft_own_number(txn, draft, err);
	*out = (struct store_message){.flags = flags, .number = draft->number, .arrived = draft->arrived, .size = (uint32_t)draft->size,
	    .origin = draft->mailbox, .sum = draft->sum};
	if (r == 0)
		r = keyword_bits(&box, keywords, keyword_count, KEYWORDS_ENTER, &out->keywords, &entered, err);
	if (r == 0)
		r = next_uid(&box, &out->uid, err);
	if (r != 0)
		return r;
	out->modseq = box.modseq = txn_modseq(txn);
	count_in(&box, out);
	txn->meta.bytes += out->size;
	txn->meta.messages++;
	r = message_put(txn, mailbox, out, err);
	if (r == 0)
		r = facts_put(txn, out->number, out->size, &draft->facts, err);
	if (r == 0 && key != NULL)
		r = note_delivered(txn, key, err);
	if (r == 0)
		r = mailbox_put(txn, &box, err);
	return r == 0 ? log_add(txn, STORE_CHANGE_APPEND, mailbox, out->uid, out->uid, span_str(""), err) : r;
}

/* ---- flags ---- */

struct flag_change {
	enum store_how how;
	uint32_t flags;
	uint64_t keywords;
	uint32_t *changed;
	size_t count;
	struct store_txn *txn;
	struct store_mailbox *box;
};

static enum message_action change_one(void *arg, struct store_message *m)
{
	struct flag_change *c = arg;
	uint32_t flags = c->how == STORE_FLAGS_SET ? c->flags : c->how == STORE_FLAGS_ADD ? m->flags | c->flags : m->flags & ~c->flags;
	uint64_t words = c->how == STORE_FLAGS_SET ? c->keywords : c->how == STORE_FLAGS_ADD ? m->keywords | c->keywords : m->keywords & ~c->keywords;

	if (flags == m->flags && words == m->keywords)
		return MESSAGE_KEEP;
	if ((m->flags ^ flags) & STORE_SEEN)
		c->box->unseen += flags & STORE_SEEN ? UINT32_MAX : 1;
	m->flags = flags;
	m->keywords = words;
	m->modseq = txn_modseq(c->txn); /* the first change gives the transaction its number */
	c->changed[c->count++] = m->uid;
	return MESSAGE_CHANGED;
}

int store_change_flags(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, enum store_how how, uint32_t flags,
    const struct span *keywords, size_t keyword_count, struct err *err)
{
	struct flag_change c = {.how = how, .flags = flags};
	struct store_mailbox box;
	bool entered = false;
	int r = mailbox_get(txn, mailbox, &box, err);

	if (r == 0)
		r = keyword_bits(&box, keywords, keyword_count, how == STORE_FLAGS_REMOVE ? KEYWORDS_KNOWN : KEYWORDS_ENTER, &c.keywords,
		    &entered, err);
	if (r != 0)
		return r;
	c.changed = pool_array(txn->pool, count + 1, sizeof(*c.changed));
	if (c.changed == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	c.box = &box;
	c.txn = txn;
	r = messages_visit(txn, mailbox, uids, count, change_one, &c, err);
	if (r != 0 || (c.count == 0 && !entered))
		return r;
	box.modseq = txn_modseq(txn);
	r = mailbox_put(txn, &box, err);
	return r == 0 ? log_add_uids(txn, STORE_CHANGE_FLAGS, mailbox, c.changed, c.count, err) : r;
}

/* ---- copy, move, expunge ---- */

struct take {
	struct store_message *list;
	size_t count;
	bool remove;
};

static enum message_action take_one(void *arg, struct store_message *m)
{
	struct take *t = arg;

	t->list[t->count++] = *m;
	return t->remove ? MESSAGE_REMOVE : MESSAGE_KEEP;
}

static int take_messages(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, bool remove, struct take *out,
    struct err *err)
{
	*out = (struct take){.remove = remove, .list = pool_array(txn->pool, count + 1, sizeof(*out->list))};
	if (out->list == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	return messages_visit(txn, mailbox, uids, count, take_one, out, err);
}

static void count_out(struct store_mailbox *box, const struct take *t)
{
	for (size_t i = 0; i < t->count; i++) {
		box->exists--;
		box->size -= t->list[i].size;
		box->unseen -= !(t->list[i].flags & STORE_SEEN);
	}
}

/*
 * Keywords are bits of the mailbox's own table: in another mailbox they are other bits. Places are never given back, and
 * a mailbox such as Trash sees everybody's: what finds none there is left out, as the message is worth more.
 */
static int translate_keywords(const struct store_mailbox *from, struct store_mailbox *to, uint64_t bits, uint64_t *out, struct err *err)
{
	struct span names[STORE_KEYWORDS_MAX];
	size_t count = 0;
	bool entered;

	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		if (bits >> i & 1)
			names[count++] = from->keywords[i];
	return keyword_bits(to, names, count, KEYWORDS_ENTER_SOME, out, &entered, err);
}

static int gone_from(struct store_txn *txn, uint32_t mailbox, struct store_mailbox *box, const struct take *t, struct err *err)
{
	uint32_t *uids = pool_array(txn->pool, t->count + 1, sizeof(*uids));
	int r;

	if (uids == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < t->count; i++)
		uids[i] = t->list[i].uid;
	count_out(box, t);
	box->modseq = txn_modseq(txn);
	r = mailbox_put(txn, box, err);
	return r == 0 ? log_add_uids(txn, STORE_CHANGE_EXPUNGE, mailbox, uids, t->count, err) : r;
}

static int place_copies(struct store_txn *txn, const struct store_mailbox *source, uint32_t to, const struct take *t, bool move,
    struct store_copied *out, struct err *err)
{
	struct store_mailbox target;
	uint64_t modseq = txn_modseq(txn);
	int r = mailbox_get(txn, to, &target, err);

	if (r == 0 && target.noselect)
		return err_set(err, E_CANNOT, "this name holds no messages");
	for (size_t i = 0; i < t->count && r == 0; i++) {
		struct store_message m = t->list[i];

		out->from[out->count] = m.uid;
		m.modseq = modseq;
		r = translate_keywords(source, &target, m.keywords, &m.keywords, err);
		if (r == 0)
			r = next_uid(&target, &m.uid, err);
		if (r == 0 && !move) {
			r = refs_change(txn, m.number, 1, NULL, err);
			txn->meta.bytes += m.size;
			txn->meta.messages++;
		}
		if (r == 0)
			r = message_put(txn, to, &m, err);
		count_in(&target, &m);
		out->to[out->count++] = m.uid;
	}
	target.modseq = modseq;
	if (r == 0)
		r = mailbox_put(txn, &target, err);
	return r == 0 ? log_add_uids(txn, STORE_CHANGE_APPEND, to, out->to, out->count, err) : r;
}

int store_copy(struct store_txn *txn, uint32_t from, uint32_t to, const uint32_t *uids, size_t count, bool move, struct pool *pool,
    struct store_copied *out, struct err *err)
{
	struct store_mailbox source;
	struct take t;
	uint64_t size = 0;
	int r = mailbox_get(txn, from, &source, err);

	*out = (struct store_copied){.from = pool_array(pool, count + 1, 4), .to = pool_array(pool, count + 1, 4)};
	if (out->from == NULL || out->to == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	if (r == 0)
		r = take_messages(txn, from, uids, count, move, &t, err);
	if (r != 0 || t.count == 0)
		return r;
	for (size_t i = 0; i < t.count; i++)
		size += t.list[i].size;
	if (!move)
		r = check_quota(txn, size, err);
	if (r == 0 && move)
		r = gone_from(txn, from, &source, &t, err);
	return r == 0 ? place_copies(txn, &source, to, &t, move, out, err) : r;
}

static int note_expunged(struct store_txn *txn, uint32_t mailbox, const struct take *t, struct err *err)
{
	int64_t now = clock_wall();

	for (size_t i = 0; i < t->count; i++) {
		struct expunged record = {.mailbox = mailbox, .message = t->list[i]};
		unsigned char key[20];
		int r;

		store_key64((uint64_t)now, key);
		store_key64(txn->meta.modseq, key + 8);
		store_key32(txn->removed++, key + 16);
		r = record_put(txn, DB_EXPUNGED, span_of(key, sizeof(key)), span_of(&record, sizeof(record)), err);
		if (r != 0)
			return r;
	}
	return 0;
}

int store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err)
{
	struct store_mailbox box;
	struct take t;
	int r = mailbox_get(txn, mailbox, &box, err);

	if (r == 0)
		r = take_messages(txn, mailbox, uids, count, true, &t, err);
	if (r != 0 || t.count == 0)
		return r;
	r = gone_from(txn, mailbox, &box, &t, err);
	for (size_t i = 0; i < t.count; i++) {
		txn->meta.bytes -= t.list[i].size;
		txn->meta.kept_bytes += t.list[i].size;
	}
	txn->meta.messages -= (uint32_t)t.count;
	return r == 0 ? note_expunged(txn, mailbox, &t, err) : r;
}

/* ---- undo and purge ---- */

static int undo_one(struct store_txn *txn, const struct expunged *e, uint32_t inbox, struct err *err)
{
	struct store_message m = e->message;
	struct store_mailbox box;
	uint32_t mailbox = e->mailbox;
	int r = mailbox_get(txn, mailbox, &box, NULL);

	if (r != 0 || box.noselect) { /* its mailbox is gone */
		mailbox = inbox;
		m.keywords = 0;
		r = mailbox_get(txn, mailbox, &box, err);
	}
	if (r == 0)
		r = next_uid(&box, &m.uid, err);
	if (r != 0)
		return r;
	m.flags &= ~(uint32_t)STORE_DELETED;
	m.modseq = box.modseq = txn_modseq(txn);
	count_in(&box, &m);
	txn->meta.bytes += m.size;
	txn->meta.kept_bytes -= m.size;
	txn->meta.messages++;
	r = message_put(txn, mailbox, &m, err);
	if (r == 0)
		r = mailbox_put(txn, &box, err);
	return r == 0 ? log_add(txn, STORE_CHANGE_APPEND, mailbox, m.uid, m.uid, span_str(""), err) : r;
}

int expunged_decode(struct store_txn *txn, MDB_val key, MDB_val value, struct expunged *out, struct err *err)
{
	struct span record;

	if (!record_check(DB_EXPUNGED, key, value, &record) || record.len != sizeof(*out))
		return record_damaged(txn, DB_EXPUNGED, err);
	memcpy(out, record.ptr, sizeof(*out));
	return 0;
}

int store_undo(struct store_txn *txn, int64_t since, uint32_t *count, struct err *err)
{
	unsigned char key[20] = {0};
	MDB_val k = {sizeof(key), key}, v;
	struct store_mailbox inbox;
	MDB_cursor *cursor;
	int r = store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, err), found;

	*count = 0;
	if (r != 0)
		return r;
	r = mdb_cursor_open(txn->mdb, txn->store->db[DB_EXPUNGED], &cursor);
	if (r != 0)
		return record_error(txn, DB_EXPUNGED, r, err);
	store_key64((uint64_t)(since > 0 ? since : 0), key);
	for (found = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); found == 0 && r == 0; found = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct expunged record;

		r = expunged_decode(txn, k, v, &record, err);
		if (r == 0)
			r = undo_one(txn, &record, inbox.id, err);
		if (r == 0)
			r = record_del_at(txn, DB_EXPUNGED, cursor, k, v, err);
		*count += r == 0;
	}
	mdb_cursor_close(cursor);
	return r;
}
