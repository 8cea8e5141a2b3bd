/*
 * What the client knows of the selected mailbox, and how it learns of changes
 * (RFC 3501 sections 5.2 and 7.4.1: an EXPUNGE must not come while the client
 * may be using sequence numbers).
 */
#include "imapd/message.h"

#include <stdlib.h>

/* ---- flags ---- */

static void put_flag(struct buf *out, bool *first, struct span name)
{
	if (!*first)
		buf_add_char(out, ' ');
	*first = false;
	buf_add_span(out, name);
}

static void put_system_flags(struct buf *out, bool *first, uint32_t flags)
{
	static const struct {
		uint32_t flag;
		struct span name;
	} names[] = {{STORE_ANSWERED, SPAN_LIT("\\Answered")}, {STORE_FLAGGED, SPAN_LIT("\\Flagged")},
	    {STORE_DELETED, SPAN_LIT("\\Deleted")}, {STORE_SEEN, SPAN_LIT("\\Seen")}, {STORE_DRAFT, SPAN_LIT("\\Draft")}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((flags & names[i].flag) != 0)
			put_flag(out, first, names[i].name);
}

void view_put_flags(struct session *s, const struct store_mailbox *mailbox, const struct store_message *message)
{
	bool first = true;

	buf_add_char(&s->out, '(');
	put_system_flags(&s->out, &first, message->flags);
	if (message->uid >= s->view.recent_from)
		put_flag(&s->out, &first, SPAN_LIT("\\Recent"));
	for (uint64_t left = message->keywords; left != 0; left &= left - 1)
		put_flag(&s->out, &first, mailbox->keywords[__builtin_ctzll(left)]);
	buf_add_char(&s->out, ')');
}

static uint32_t keyword_count(const struct store_mailbox *mailbox)
{
	uint32_t n = 0;

	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		n += mailbox->keywords[i].len > 0;
	return n;
}

static void put_mailbox_flags(struct session *s, const struct store_mailbox *mailbox)
{
	for (int permanent = 0; permanent < 2; permanent++) {
		bool first = true;

		buf_add_str(&s->out, permanent ? "* OK [PERMANENTFLAGS (" : "* FLAGS (");
		if (!permanent || !s->view.read_only) {
			put_system_flags(&s->out, &first, UINT32_MAX);
			for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
				if (mailbox->keywords[i].len > 0)
					put_flag(&s->out, &first, mailbox->keywords[i]);
			if (permanent && keyword_count(mailbox) < STORE_KEYWORDS_MAX)
				put_flag(&s->out, &first, SPAN_LIT("\\*"));
		}
		buf_add_str(&s->out, permanent ? ")] Flags that are kept\r\n" : ")\r\n");
	}
	s->view.keywords = keyword_count(mailbox);
}

/* ---- the list of UIDs ---- */

bool view_reserve(struct view *view, size_t count)
{
	uint32_t *more;
	size_t room = view->room ? view->room : 256;

	while (room < count)
		room *= 2;
	if (room == view->room)
		return true;
	more = realloc(view->uids, room * sizeof(*more));
	if (more == NULL)
		return false;
	view->uids = more;
	view->room = room;
	return true;
}

uint32_t view_sequence(const struct view *view, uint32_t uid)
{
	size_t low = 0, high = view->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (view->uids[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < view->count && view->uids[low] == uid ? (uint32_t)low + 1 : 0;
}

static uint32_t last_uid(const struct view *view)
{
	return view->count > 0 ? view->uids[view->count - 1] : 0;
}

bool view_resolve(struct session *s, struct span text, uint32_t **uids, size_t *count)
{
	struct view *view = &s->view;
	uint32_t highest = s->uid ? last_uid(view) : (uint32_t)view->count;
	struct imap_set set;
	size_t at = 0;

	*count = 0;
	*uids = pool_array(s->pool, view->count + 1, sizeof(uint32_t));
	if (*uids == NULL || !imap_set_parse(text, highest > 0 ? highest : 1, s->pool, &set)) {
		session_bad(s, "a sequence set is malformed");
		return false;
	}
	if (!s->uid && set.count > 0 && set.ranges[set.count - 1].last > view->count) {
		session_bad(s, "a sequence number is higher than the number of messages");
		return false;
	}
	for (size_t i = 0; i < set.count; i++) {
		if (!s->uid) {
			for (uint32_t n = set.ranges[i].first; n <= set.ranges[i].last; n++)
				(*uids)[(*count)++] = view->uids[n - 1];
			continue;
		}
		while (at < view->count && view->uids[at] < set.ranges[i].first)
			at++;
		while (at < view->count && view->uids[at] <= set.ranges[i].last)
			(*uids)[(*count)++] = view->uids[at++];
	}
	return true;
}

/* ---- opening and closing ---- */

/* The messages that are there, as SELECT counts them. */
struct opening {
	struct view *view;
	uint32_t unseen; /* sequence number of the first; 0: none */
	uint32_t recent;
};

static int open_one(void *arg, uint32_t uid, bool unseen)
{
	struct opening *o = arg;
	struct view *view = o->view;

	if (!view_reserve(view, view->count + 1))
		return E_NOMEM;
	view->uids[view->count++] = uid;
	o->recent += uid >= view->recent_from;
	if (o->unseen == 0 && unseen)
		o->unseen = (uint32_t)view->count;
	return 0;
}

int view_open(struct session *s, const struct store_mailbox *mailbox, struct store_txn *txn, bool read_only, uint32_t recent,
    struct err *err)
{
	struct view *view = &s->view;
	struct opening opening = {.view = view};
	int r;

	if (!view_reserve(view, mailbox->exists))
		return err_set(err, E_NOMEM, "no memory for %u messages", mailbox->exists);
	view->mailbox = mailbox->id;
	view->read_only = read_only;
	view->uidvalidity = mailbox->uidvalidity;
	view->modseq = mailbox->modseq;
	view->recent_from = recent < mailbox->recent_uid ? recent : mailbox->recent_uid;
	view->recent_saved = mailbox->recent_uid;
	r = store_uid_each(txn, mailbox->id, open_one, &opening, err);
	if (r != 0)
		return r;
	put_mailbox_flags(s, mailbox);
	buf_printf(&s->out, "* %zu EXISTS\r\n* %u RECENT\r\n", view->count, opening.recent);
	if (opening.unseen > 0)
		buf_printf(&s->out, "* OK [UNSEEN %u] First unseen message\r\n", opening.unseen);
	buf_printf(&s->out, "* OK [UIDVALIDITY %u] UIDs valid\r\n* OK [UIDNEXT %u] Next UID\r\n", mailbox->uidvalidity,
	    mailbox->uidnext);
	return r;
}

bool view_is_unsaved(const struct view *view)
{
	return view->mailbox != 0 && !view->read_only && last_uid(view) >= view->recent_saved;
}

/* What came while it was selected is no longer recent for the next session. */
static void save_recent(struct session *s)
{
	struct store_txn *txn;
	struct err err;
	uint32_t first;

	if (!view_is_unsaved(&s->view) || store_begin(s->store, true, &txn, &err) != 0)
		return;
	if (store_take_recent(txn, s->view.mailbox, &first, &err) == 0)
		(void)store_commit(&txn, &err);
	else
		store_abort(&txn);
}

void view_forget(struct session *s)
{
	free(s->view.uids);
	s->view = (struct view){0};
}

void view_close(struct session *s)
{
	save_recent(s);
	view_forget(s);
}

/* ---- changes ---- */

/* All UIDs of now beside those the client knows. */
struct comparing {
	const struct view *view;
	size_t at; /* the next UID of the view to be judged */
	struct view_changes *changes;
};

static void note_gone(struct comparing *c, uint32_t below)
{
	const struct view *view = c->view;

	while (c->at < view->count && view->uids[c->at] < below)
		c->changes->gone[c->changes->gone_count++] = view->uids[c->at++];
}

static int compare_one(void *arg, uint32_t uid, bool unseen)
{
	struct comparing *c = arg;

	(void)unseen;
	note_gone(c, uid);
	if (c->at < c->view->count && c->view->uids[c->at] == uid)
		c->at++;
	return 0;
}

static int look_for_gone(struct session *s, struct store_txn *txn, struct view_changes *changes, struct err *err)
{
	struct comparing c = {.view = &s->view, .changes = changes};
	int r;

	changes->gone = pool_array(changes->pool, s->view.count + 1, sizeof(*changes->gone));
	if (changes->gone == NULL)
		return err_set(err, E_NOMEM, "no memory for the list of messages");
	r = store_uid_each(txn, s->view.mailbox, compare_one, &c, err);
	if (r == 0)
		note_gone(&c, UINT32_MAX);
	return r;
}

static int lose_mailbox(struct session *s, const char *why)
{
	view_forget(s);
	session_bye(s, why);
	return E_CLOSED;
}

/* The mailbox is there. Its keywords are borrowed from the transaction. */
static int changes_begin(struct view_changes *changes, struct err *err)
{
	struct span *keywords = changes->mailbox.keywords;

	changes->pool = pool_new(NULL, SESSION_POOL_MAX);
	for (size_t i = 0; i < STORE_KEYWORDS_MAX && changes->pool != NULL; i++)
		if (keywords[i].len > 0)
			keywords[i] = pool_span(changes->pool, keywords[i]);
	return changes->pool != NULL && !pool_starved(changes->pool) ? 0 : err_set(err, E_NOMEM, "no memory for what has changed");
}

static int look_closer(struct session *s, struct store_txn *txn, bool expunges, struct view_changes *changes, struct err *err)
{
	struct view *view = &s->view;
	uint32_t last = last_uid(view);
	size_t known;
	int r;

	r = changes_begin(changes, err);
	if (r == 0)
		r = store_message_list(txn, view->mailbox, view->modseq, changes->pool, &changes->messages, &changes->count, err);
	if (r != 0)
		return r;
	known = changes->count;
	while (known > 0 && changes->messages[known - 1].uid > last)
		known--;
	changes->new_count = changes->count - known;
	if (!view_reserve(view, view->count + changes->new_count))
		return err_set(err, E_NOMEM, "no memory for the list of messages");
	return expunges && changes->mailbox.exists != view->count + changes->new_count ? look_for_gone(s, txn, changes, err) : 0;
}

int view_look(struct session *s, struct store_txn *txn, bool expunges, struct view_changes *changes, struct err *err)
{
	const struct view *view = &s->view;
	const struct store_mailbox *mailbox = &changes->mailbox;
	int r;

	*changes = (struct view_changes){0};
	r = store_mailbox_by_id(txn, view->mailbox, &changes->mailbox, err);
	if (r == E_NOTFOUND || (r == 0 && mailbox->noselect))
		return lose_mailbox(s, "The selected mailbox was deleted");
	/* The index was made again while the session hibernated and nothing kept it: each UID may be another message's (RFC 3501 section 2.3.1.1). */
	if (r == 0 && mailbox->uidvalidity != view->uidvalidity)
		return lose_mailbox(s, "The selected mailbox has a new UIDVALIDITY");
	if (r != 0 || (mailbox->modseq == view->modseq && mailbox->exists == view->count))
		return r;
	r = look_closer(s, txn, expunges, changes, err);
	if (r != 0)
		view_changes_free(changes);
	return r;
}

void view_changes_free(struct view_changes *changes)
{
	pool_free(&changes->pool);
}

/* Another client can change all of a large mailbox at once. */
static void flush_some(struct session *s)
{
	if (session_would_wait(s))
		session_flush(s);
}

static void tell_flags(struct session *s, const struct view_changes *changes)
{
	for (size_t i = 0; i < changes->count - changes->new_count; i++) {
		const struct store_message *m = &changes->messages[i];
		uint32_t sequence = view_sequence(&s->view, m->uid);

		if (sequence == 0)
			continue;
		buf_printf(&s->out, "* %u FETCH (", sequence);
		if (s->uid)
			buf_printf(&s->out, "UID %u ", m->uid);
		buf_add_str(&s->out, "FLAGS ");
		view_put_flags(s, &changes->mailbox, m);
		buf_add_str(&s->out, ")\r\n");
		flush_some(s);
	}
}

/* From the lowest up; the client's numbers count down with each one told before it. */
static void tell_gone(struct session *s, const struct view_changes *changes)
{
	struct view *view = &s->view;
	size_t kept = 0, gone = 0;

	for (size_t at = 0; at < view->count; at++) {
		if (gone == changes->gone_count || view->uids[at] != changes->gone[gone]) {
			view->uids[kept++] = view->uids[at];
			continue;
		}
		gone++;
		buf_printf(&s->out, "* %zu EXPUNGE\r\n", kept + 1);
		flush_some(s);
	}
	view->count = kept;
}

static void tell_new(struct session *s, const struct view_changes *changes)
{
	struct view *view = &s->view;
	size_t recent = 0;

	for (size_t i = changes->count - changes->new_count; i < changes->count; i++)
		view->uids[view->count++] = changes->messages[i].uid;
	for (size_t i = view->count; i > 0 && view->uids[i - 1] >= view->recent_from; i--)
		recent++;
	buf_printf(&s->out, "* %zu EXISTS\r\n* %zu RECENT\r\n", view->count, recent);
}

void view_tell(struct session *s, struct view_changes *changes)
{
	if (changes->pool == NULL)
		return;
	if (keyword_count(&changes->mailbox) != s->view.keywords)
		put_mailbox_flags(s, &changes->mailbox);
	tell_flags(s, changes);
	tell_gone(s, changes);
	if (changes->new_count > 0)
		tell_new(s, changes);
	s->view.modseq = changes->mailbox.modseq;
	view_changes_free(changes);
}

void view_tell_before(struct session *s, struct view_changes *changes, uint64_t modseq)
{
	bool others = changes->pool != NULL && changes->count > changes->new_count;

	view_tell(s, changes);
	if (!others)
		s->view.modseq = modseq;
}

int view_tell_flags(struct session *s, const uint32_t *uids, size_t count, struct err *err)
{
	struct view_changes changes = {0};
	struct store_txn *txn;
	int r = store_begin(s->store, false, &txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_by_id(txn, s->view.mailbox, &changes.mailbox, err);
	if (r == 0)
		r = changes_begin(&changes, err);
	if (r == 0)
		r = messages_load(s, txn, uids, count, changes.pool, &changes.messages, &changes.count, err);
	store_abort(&txn);
	if (r == 0)
		tell_flags(s, &changes);
	view_changes_free(&changes);
	return r;
}

bool view_sync(struct session *s, bool expunges)
{
	uint64_t generation = store_generation(s->store);
	struct view_changes changes = {0};
	struct store_txn *txn;
	struct err err;
	int r;

	if (s->view.mailbox == 0 || generation == s->view.generation)
		return true;
	r = store_begin_after(s->store, generation, &txn, &err);
	if (r == 0) {
		r = view_look(s, txn, expunges, &changes, &err);
		store_abort(&txn);
	}
	if (r == 0)
		view_tell(s, &changes);
	if (r != 0 && r != E_CLOSED) {
		log_event(EV_imap_error, &s->log, F_ERR(&err));
		if (s->view.generation == VIEW_RESUMED)
			session_bye(s, "The mailbox cannot be read now; log in again");
	}
	/* Expunges that were not told yet are looked for again. */
	if (r == 0 && expunges)
		s->view.generation = generation;
	return r == 0;
}
