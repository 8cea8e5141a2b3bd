/* Changes of mailboxes: created, deleted, renamed, subscribed to. */
#include "store/private.h"

#include "base/clock.h"
#include "base/utf8.h"

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

uint32_t new_uidvalidity(struct store_txn *txn)
{
	uint32_t now = (uint32_t)clock_wall();

	txn->meta.last_uidvalidity = now > txn->meta.last_uidvalidity ? now : txn->meta.last_uidvalidity + 1;
	return txn->meta.last_uidvalidity;
}

int mailbox_new(struct store_txn *txn, uint32_t id, struct span name, uint32_t use, uint32_t uidvalidity, struct err *err)
{
	struct store_mailbox m = {.id = id, .name = name, .uidvalidity = uidvalidity, .uidnext = 1, .recent_uid = 1, .use = use};
	int r = mailbox_put(txn, &m, err);

	if (id >= txn->meta.next_mailbox)
		txn->meta.next_mailbox = id + 1;
	return r == 0 ? name_put(txn, name, id, err) : r;
}

static int create_one(struct store_txn *txn, struct span name, uint32_t use, uint32_t *id, struct err *err)
{
	struct store_mailbox m;
	size_t count;
	int r = store_mailbox_by_name(txn, name, &m, err);

	if (r != 0 && r != E_NOTFOUND)
		return r;
	if (r == 0) {
		*id = m.id;
		if (!m.noselect)
			return err_set(err, E_EXISTS, "the mailbox exists already");
		m.noselect = false;
		m.use = use;
		m.uidvalidity = new_uidvalidity(txn);
		txn->names_dirty = true;
		r = mailbox_put(txn, &m, err);
	} else {
		/* A name that is not found may be one that was lost. */
		r = records_verify(txn, DB_CATALOG, err);
		if (r == 0)
			r = mailbox_count(txn, &count, err);
		if (r != 0)
			return r;
		if (count >= STORE_MAILBOXES_MAX)
			return err_set(err, E_LIMIT, "the account has %d mailboxes already", STORE_MAILBOXES_MAX);
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
		struct span parent = span_sub(name, 0, i);
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

	name = mailbox_name(txn, name);
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

static int check_room_to_subscribe(struct store_txn *txn, struct err *err)
{
	size_t count;
	int r = subscription_count(txn, &count, err);

	if (r != 0 || count < STORE_SUBSCRIPTIONS_MAX)
		return r;
	return err_set(err, E_LIMIT, "the account has %d subscriptions already", STORE_SUBSCRIPTIONS_MAX);
}

int store_mailbox_subscribe(struct store_txn *txn, struct span name, bool on, struct err *err)
{
	int r = store_mailbox_check_name(name, err);

	if (r != 0)
		return r;
	if (!name_subscribed(txn, name) && !mailbox_has_name(txn, name)) /* an earlier release took inbox/x as it was */
		name = mailbox_name(txn, name);
	if (name.len == 0)
		return err_set(err, E_NOMEM, "out of memory");
	if (name_subscribed(txn, name) == on)
		return 0;
	r = on ? check_room_to_subscribe(txn, err) : 0;
	if (r == 0)
		r = name_subscribe(txn, name, on, err);
	if (r != 0)
		return r;
	txn_modseq(txn);
	return log_add(txn, STORE_CHANGE_SUBSCRIBE, 0, on, 0, name, err);
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

struct uid_list {
	uint32_t *uids;
	size_t count, room;
};

static int note_uid(void *arg, uint32_t uid, bool unseen)
{
	struct uid_list *list = arg;

	(void)unseen;
	if (list->count == list->room)
		return E_CORRUPT;
	list->uids[list->count++] = uid;
	return 0;
}

static int all_uids(struct store_txn *txn, const struct store_mailbox *box, struct uid_list *out, struct err *err)
{
	int r;

	*out = (struct uid_list){.room = box->exists, .uids = pool_array(txn->pool, (size_t)box->exists + 1, sizeof(*out->uids))};
	if (out->uids == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = store_uid_each(txn, box->id, note_uid, out, err);
	return r == E_CORRUPT ? record_damaged(txn, DB_CATALOG, err) : r;
}

static int expunge_all(struct store_txn *txn, const struct store_mailbox *box, struct err *err)
{
	struct uid_list list;
	int r = all_uids(txn, box, &list, err);

	return r == 0 && list.count > 0 ? store_expunge(txn, box->id, list.uids, list.count, err) : r;
}

int store_mailbox_delete(struct store_txn *txn, uint32_t id, struct err *err)
{
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
		r = expunge_all(txn, &m, err);
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
		r = name_del(txn, m.name);
		if (r == 0)
			r = mailbox_del(txn, id);
	}
	txn->names_dirty = true;
	return r == 0 ? log_add(txn, STORE_CHANGE_MAILBOX_DELETE, id, 0, 0, m.name, err) : r;
}

static int move_name(struct store_txn *txn, uint32_t id, struct span name, struct err *err)
{
	struct store_mailbox m;
	int r = mailbox_get(txn, id, &m, err);

	if (r == 0)
		r = name_del(txn, m.name);
	m.name = name;
	if (r == 0)
		r = mailbox_put(txn, &m, err);
	if (r == 0)
		r = name_put(txn, name, id, err);
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
static int rename_inbox(struct store_txn *txn, const struct store_mailbox *inbox, struct span name, struct err *err)
{
	struct store_copied copied;
	struct uid_list list = {0};
	uint32_t id;
	int r = store_mailbox_create(txn, name, 0, &id, err);

	if (r == 0)
		r = all_uids(txn, inbox, &list, err);
	return r == 0 && list.count > 0 ? store_copy(txn, inbox->id, id, list.uids, list.count, true, txn->pool, &copied, err) : r;
}

int store_mailbox_rename(struct store_txn *txn, uint32_t id, struct span name, struct err *err)
{
	struct store_mailbox m, other;
	int r;

	name = mailbox_name(txn, name);
	r = store_mailbox_check_name(name, err);
	if (r == 0)
		r = mailbox_get(txn, id, &m, err);
	if (r != 0)
		return r;
	r = store_mailbox_by_name(txn, name, &other, err);
	if (r != E_NOTFOUND)
		return r == 0 ? err_set(err, E_EXISTS, "the new name is taken") : r;
	if (span_startswith(name, m.name) && name.len > m.name.len && name.ptr[m.name.len] == '/')
		return err_set(err, E_CANNOT, "a mailbox cannot be moved below itself");
	if (span_eq(m.name, SPAN_LIT("INBOX")))
		return rename_inbox(txn, &m, name, err);
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
