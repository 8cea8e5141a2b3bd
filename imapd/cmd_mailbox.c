/* The commands on mailboxes (RFC 3501 section 6.3, RFC 2342, RFC 3348, RFC 6154). */
#include "imapd/session.h"

#include "imap/body.h"
#include "imap/pattern.h"
#include "imap/utf7.h"

#include <stdlib.h>

/* Behind what has been said since `from`. False: without memory all of that is taken back, and the command's pool is starved. */
static bool put_name(struct session *s, size_t from, struct span name)
{
	struct buf wire;

	buf_init(&wire, 8 * STORE_NAME_MAX);
	imap_utf7_encode(name, &wire);
	if (wire.starved) {
		pool_starve(s->pool);
		buf_cut(&s->out, from);
	} else {
		imap_string_format(buf_span(&wire), &s->out);
	}
	buf_fini(&wire);
	return !pool_starved(s->pool);
}

/* What was said may be less than there is. */
static int starved(const struct session *s, struct err *err)
{
	return pool_starved(s->pool) ? err_set(err, E_NOMEM, "out of memory") : 0;
}

static bool arguments_end(struct session *s, struct imap_lex *lex)
{
	if (imap_lex_end(lex))
		return true;
	session_bad(s, lex->wrong);
	return false;
}

/* " name" and the end. "work/" means "work": the client says that it will hold others (section 6.3.3). */
static bool take_name(struct session *s, struct imap_lex *lex, struct span *name)
{
	imap_lex_space(lex);
	imap_lex_mailbox(lex, name);
	if (!arguments_end(s, lex))
		return false;
	if (name->len > 1 && name->ptr[name->len - 1] == '/')
		name->len--;
	return true;
}

/* ---- changing ---- */

/* r: what it came to so far; only 0 is committed. */
static int end_change(struct store_txn *txn, int r, struct err *err)
{
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return r;
}

static void answer(struct session *s, int r, struct err *err, const char *done)
{
	if (r == 0)
		session_ok(s, done);
	else
		session_fail(s, r, err);
}

static void finish_change(struct session *s, struct store_txn *txn, int r, struct err *err, const char *done)
{
	r = end_change(txn, r, err);
	answer(s, r, err, done);
}

static bool begin_change(struct session *s, struct store_txn **txn)
{
	struct err err = {0};
	int r = store_begin(s->store, true, txn, &err);

	if (r != 0)
		session_fail(s, r, &err);
	return r == 0;
}

void command_create(struct session *s, struct imap_lex *lex)
{
	struct store_txn *txn;
	struct span name;
	struct err err = {0};
	uint32_t id;

	if (take_name(s, lex, &name) && begin_change(s, &txn))
		finish_change(s, txn, store_mailbox_create(txn, name, 0, &id, &err), &err, "Created");
}

void command_delete(struct session *s, struct imap_lex *lex)
{
	struct store_mailbox mailbox;
	struct store_txn *txn;
	struct span name;
	struct err err = {0};
	uint32_t id = 0;
	int r;

	if (!take_name(s, lex, &name) || !begin_change(s, &txn))
		return;
	r = store_mailbox_by_name(txn, name, &mailbox, &err);
	if (r == 0) {
		id = mailbox.id;
		r = store_mailbox_delete(txn, id, &err);
	}
	r = end_change(txn, r, &err);
	if (r == 0 && id == s->view.mailbox)
		view_forget(s); /* the client knows what it does */
	answer(s, r, &err, "Deleted");
	if (r == 0)
		session_bound_kept(s);
}

void command_rename(struct session *s, struct imap_lex *lex)
{
	struct store_mailbox mailbox;
	struct store_txn *txn;
	struct span from, to;
	struct err err = {0};
	int r;

	imap_lex_space(lex);
	imap_lex_mailbox(lex, &from);
	if (!take_name(s, lex, &to) || !begin_change(s, &txn))
		return;
	r = store_mailbox_by_name(txn, from, &mailbox, &err);
	if (r == 0)
		r = store_mailbox_rename(txn, mailbox.id, to, &err);
	finish_change(s, txn, r, &err, "Renamed");
}

static void subscribe(struct session *s, struct imap_lex *lex, bool on)
{
	struct store_txn *txn;
	struct span name;
	struct err err = {0};

	if (take_name(s, lex, &name) && begin_change(s, &txn))
		finish_change(s, txn, store_mailbox_subscribe(txn, name, on, &err), &err, on ? "Subscribed" : "Unsubscribed");
}

void command_subscribe(struct session *s, struct imap_lex *lex)
{
	subscribe(s, lex, true);
}

void command_unsubscribe(struct session *s, struct imap_lex *lex)
{
	subscribe(s, lex, false);
}

/* ---- listing ---- */

struct names {
	struct pool *pool;
	struct listed {
		struct span name;
		uint32_t use;
		bool noselect;
	} *list;
	size_t count, room;
	bool failed;
};

static struct listed *names_add(struct names *names, struct span name)
{
	if (names->count == names->room) {
		size_t room = names->room ? 2 * names->room : 64;
		struct listed *more = pool_array(names->pool, room, sizeof(*more));

		if (more == NULL) {
			names->failed = true;
			return NULL;
		}
		if (names->count > 0)
			memcpy(more, names->list, names->count * sizeof(*more));
		names->list = more;
		names->room = room;
	}
	names->list[names->count].name = pool_span(names->pool, name);
	names->failed = pool_starved(names->pool);
	return names->failed ? NULL : &names->list[names->count++];
}

static int on_mailbox(void *arg, const struct store_mailbox *mailbox)
{
	struct listed *listed = names_add(arg, mailbox->name);

	if (listed == NULL)
		return E_NOMEM;
	listed->use = mailbox->use;
	listed->noselect = mailbox->noselect;
	return 0;
}

static int on_subscription(void *arg, struct span name)
{
	return names_add(arg, name) != NULL ? 0 : E_NOMEM;
}

/* Byte order; of the same name the one that can be selected is first. */
static int by_name(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;
	int r = memcmp(x->name.ptr, y->name.ptr, x->name.len < y->name.len ? x->name.len : y->name.len);

	if (r == 0)
		r = (x->name.len > y->name.len) - (x->name.len < y->name.len);
	return r != 0 ? r : x->noselect - y->noselect;
}

/* Names are in byte order: the first one that is not before "name/" tells. */
static bool has_children(const struct names *names, struct span name)
{
	char prefix[STORE_NAME_MAX + 1];
	struct listed wanted = {.name = span_of(prefix, name.len + 1)};
	size_t low = 0, high = names->count;

	if (name.len >= STORE_NAME_MAX)
		return false;
	memcpy(prefix, name.ptr, name.len);
	prefix[name.len] = '/';
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_name(&names->list[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < names->count && span_startswith(names->list[low].name, wanted.name);
}

static void put_listed(struct session *s, const struct names *names, const struct listed *listed)
{
	static const struct {
		uint32_t use;
		const char *name;
	} uses[] = {{STORE_USE_ARCHIVE, " \\Archive"}, {STORE_USE_DRAFTS, " \\Drafts"}, {STORE_USE_JUNK, " \\Junk"},
	    {STORE_USE_SENT, " \\Sent"}, {STORE_USE_TRASH, " \\Trash"}};

	size_t from = buf_len(&s->out);

	buf_add_str(&s->out, "* LIST (");
	if (listed->noselect)
		buf_add_str(&s->out, "\\Noselect ");
	buf_add_str(&s->out, has_children(names, listed->name) ? "\\HasChildren" : "\\HasNoChildren");
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if ((listed->use & uses[i].use) != 0)
			buf_add_str(&s->out, uses[i].name);
	buf_add_str(&s->out, ") \"/\" ");
	if (put_name(s, from, listed->name))
		buf_add_str(&s->out, "\r\n");
}

/* Of "a/b" "a"; empty when there is none. */
static struct span parent_of(struct span name)
{
	while (name.len > 0 && name.ptr[name.len - 1] != '/')
		name.len--;
	return span_sub(name, 0, name.len > 0 ? name.len - 1 : 0);
}

/* LSUB: a subscribed name below what '%' matches shows its parent (section 6.3.9). */
static bool add_subscribed(struct names *shown, struct span pattern, struct span name)
{
	struct span matching = name;
	struct listed *listed;

	while (matching.len > 0 && imap_pattern_match(pattern, matching) != IMAP_MATCH_YES)
		matching = parent_of(matching);
	if (matching.len == 0)
		return true;
	listed = names_add(shown, matching);
	if (listed != NULL)
		listed->noselect = matching.len < name.len;
	return listed != NULL;
}

static void put_subscribed(struct session *s, const struct listed *listed)
{
	size_t from = buf_len(&s->out);

	buf_printf(&s->out, "* LSUB (%s) \"/\" ", listed->noselect ? "\\Noselect" : "");
	if (put_name(s, from, listed->name))
		buf_add_str(&s->out, "\r\n");
}

static void flush_some(struct session *s)
{
	if (session_would_wait(s))
		session_flush(s);
}

/* Each name once: as what it is itself, if it is subscribed, else for what is below it. */
static int put_subscriptions(struct session *s, const struct names *names, struct span pattern, struct err *err)
{
	struct names shown = {.pool = s->pool};

	for (size_t i = 0; i < names->count; i++)
		if (!add_subscribed(&shown, pattern, names->list[i].name))
			return err_set(err, E_NOMEM, "too many subscriptions for one LSUB");
	if (shown.count > 0)
		qsort(shown.list, shown.count, sizeof(shown.list[0]), by_name);
	for (size_t i = 0; i < shown.count && !pool_starved(s->pool); i++) {
		if (i == 0 || !span_eq(shown.list[i].name, shown.list[i - 1].name))
			put_subscribed(s, &shown.list[i]);
		flush_some(s);
	}
	return starved(s, err);
}

static int put_mailboxes(struct session *s, const struct names *names, struct span pattern, struct err *err)
{
	for (size_t i = 0; i < names->count && !pool_starved(s->pool); i++) {
		if (imap_pattern_match(pattern, names->list[i].name) == IMAP_MATCH_YES)
			put_listed(s, names, &names->list[i]);
		flush_some(s);
	}
	return starved(s, err);
}

static int read_names(struct session *s, bool subscribed, struct names *names, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(s->store, false, &txn, err);

	if (r != 0)
		return r;
	r = subscribed ? store_subscription_each(txn, on_subscription, names) : store_mailbox_each(txn, on_mailbox, names);
	store_abort(&txn);
	if (names->failed)
		return err_set(err, E_NOMEM, "too many mailboxes for one LIST");
	return r == 0 ? 0 : err_set(err, r, "index: the records of the mailboxes are damaged");
}

static void list_names(struct session *s, struct imap_lex *lex, bool subscribed)
{
	struct names names = {.pool = s->pool};
	struct span reference, pattern, decoded;
	struct buf whole;
	struct err err = {0};
	int r;

	imap_lex_space(lex);
	imap_lex_astring(lex, &reference);
	imap_lex_space(lex);
	imap_lex_pattern(lex, &pattern);
	if (!arguments_end(s, lex))
		return;
	if (pattern.len == 0 && !subscribed) { /* asks for the delimiter */
		buf_add_str(&s->out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		session_ok(s, "Listed");
		return;
	}
	buf_init(&whole, IMAP_PATTERN_MAX);
	buf_add_span(&whole, reference);
	buf_add_span(&whole, pattern);
	r = !buf_failed(&whole) ? 0 : whole.starved ? err_set(&err, E_NOMEM, "out of memory") : err_set(&err, E_SYNTAX, "the pattern is too long");
	if (r == 0 && !imap_utf7_decode(buf_span(&whole), s->pool, &decoded))
		r = starved(s, &err) != 0 ? E_NOMEM : err_set(&err, E_SYNTAX, "the pattern is not modified UTF-7");
	if (r == 0)
		r = read_names(s, subscribed, &names, &err);
	if (r == 0 && subscribed)
		r = put_subscriptions(s, &names, decoded, &err);
	else if (r == 0)
		r = put_mailboxes(s, &names, decoded, &err);
	buf_fini(&whole);
	if (r == 0)
		session_ok(s, "Listed");
	else
		session_fail(s, r, &err);
}

void command_list(struct session *s, struct imap_lex *lex)
{
	list_names(s, lex, false);
}

void command_lsub(struct session *s, struct imap_lex *lex)
{
	list_names(s, lex, true);
}

void command_namespace(struct session *s, struct imap_lex *lex)
{
	if (!arguments_end(s, lex))
		return;
	buf_add_str(&s->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	session_ok(s, "Namespaces listed");
}

/* ---- STATUS (section 6.3.10) ---- */

enum status_item { STATUS_MESSAGES = 1, STATUS_RECENT = 2, STATUS_UIDNEXT = 4, STATUS_UIDVALIDITY = 8, STATUS_UNSEEN = 16 };

static const struct {
	struct span name;
	enum status_item item;
} status_items[] = {
    {SPAN_LIT("MESSAGES"), STATUS_MESSAGES},
    {SPAN_LIT("RECENT"), STATUS_RECENT},
    {SPAN_LIT("UIDNEXT"), STATUS_UIDNEXT},
    {SPAN_LIT("UIDVALIDITY"), STATUS_UIDVALIDITY},
    {SPAN_LIT("UNSEEN"), STATUS_UNSEEN},
};

enum { STATUS_ITEMS = sizeof(status_items) / sizeof(status_items[0]) };

static unsigned take_items(struct imap_lex *lex)
{
	unsigned items = 0;

	imap_lex_char(lex, '(');
	do {
		struct span word = imap_lex_word(lex);
		size_t i;

		for (i = 0; i < STATUS_ITEMS && !span_caseeq(word, status_items[i].name); i++)
			;
		if (i == STATUS_ITEMS)
			imap_lex_fail(lex, "there is no such STATUS item");
		else
			items |= status_items[i].item;
	} while (imap_lex_take(lex, ' '));
	imap_lex_char(lex, ')');
	return items;
}

struct recents {
	uint32_t from, count;
};

static int count_one(void *arg, uint32_t uid, bool unseen)
{
	struct recents *recents = arg;

	(void)unseen;
	recents->count += uid >= recents->from;
	return 0;
}

static int count_recent(struct store_txn *txn, const struct store_mailbox *mailbox, uint32_t *recent, struct err *err)
{
	struct recents recents = {.from = mailbox->recent_uid};
	int r = mailbox->recent_uid < mailbox->uidnext ? store_uid_each(txn, mailbox->id, count_one, &recents, err) : 0;

	*recent = recents.count;
	return r;
}

static uint32_t status_value(enum status_item item, const struct store_mailbox *mailbox, uint32_t recent)
{
	switch (item) {
	case STATUS_MESSAGES:
		return mailbox->exists;
	case STATUS_RECENT:
		return recent;
	case STATUS_UIDNEXT:
		return mailbox->uidnext;
	case STATUS_UIDVALIDITY:
		return mailbox->uidvalidity;
	case STATUS_UNSEEN:
		return mailbox->unseen;
	}
	return 0;
}

static int put_status(struct session *s, struct span name, unsigned items, const struct store_mailbox *mailbox, uint32_t recent, struct err *err)
{
	size_t from = buf_len(&s->out);
	const char *blank = "";

	buf_add_str(&s->out, "* STATUS ");
	if (!put_name(s, from, name))
		return starved(s, err);
	buf_add_str(&s->out, " (");
	for (size_t i = 0; i < STATUS_ITEMS; i++) {
		if ((items & status_items[i].item) == 0)
			continue;
		buf_printf(&s->out, "%s%.*s %u", blank, SPAN_ARG(status_items[i].name),
		    status_value(status_items[i].item, mailbox, recent));
		blank = " ";
	}
	buf_add_str(&s->out, ")\r\n");
	return 0;
}

void command_status(struct session *s, struct imap_lex *lex)
{
	struct store_mailbox mailbox;
	struct store_txn *txn;
	struct span name;
	struct err err = {0};
	unsigned items;
	uint32_t recent = 0;
	int r;

	imap_lex_space(lex);
	imap_lex_mailbox(lex, &name);
	imap_lex_space(lex);
	items = take_items(lex);
	if (!arguments_end(s, lex))
		return;
	r = store_begin(s->store, false, &txn, &err);
	if (r == 0) {
		r = store_mailbox_by_name(txn, name, &mailbox, &err);
		if (r == 0 && mailbox.noselect)
			r = err_set(&err, E_NOTFOUND, "there is no mailbox of this name, only some below it");
		if (r == 0 && (items & STATUS_RECENT) != 0)
			r = count_recent(txn, &mailbox, &recent, &err);
		if (r == 0)
			r = put_status(s, name, items, &mailbox, recent, &err);
		store_abort(&txn);
	}
	if (r == 0)
		session_ok(s, "Status given");
	else
		session_fail(s, r, &err);
}
