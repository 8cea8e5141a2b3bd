/* SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE (RFC 3501 sections 6.3.1, 6.3.2, 6.4.2, 6.4.3; RFC 3691; RFC 4315). */
#include "imapd/session.h"

static int begin_and_find(struct session *s, struct span name, uint64_t generation, struct store_txn **txn, struct store_mailbox *mailbox,
    struct err *err)
{
	int r = store_begin_after(s->store, generation, txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_by_name(*txn, name, mailbox, err);
	if (r == 0 && mailbox->noselect)
		r = err_set(err, E_NOTFOUND, "there is no mailbox of this name, only some below it");
	if (r != 0)
		store_abort(txn);
	return r;
}

/*
 * The new messages are this session's \Recent ones from here on (section 2.3.2). Where that cannot be written, as on a full
 * disk, they are the next one's as well: the mailbox can be read all the same. UINT32_MAX: there are none.
 */
static uint32_t take_recent(struct session *s, uint32_t mailbox)
{
	struct store_txn *txn;
	struct err err = {0};
	uint32_t first = UINT32_MAX;
	int r = store_begin(s->store, true, &txn, &err);

	if (r == 0) {
		r = store_take_recent(txn, mailbox, &first, &err);
		if (r == 0)
			r = store_commit(&txn, &err);
		else
			store_abort(&txn);
	}
	if (r != 0 && r != E_NOTFOUND)
		log_event(EV_imap_error, &s->log, F_STR("command", "SELECT"), F_ERR(&err));
	return first;
}

static int open_mailbox(struct session *s, struct span name, bool read_only, uint64_t generation, struct err *err)
{
	struct store_mailbox mailbox;
	struct store_txn *txn;
	uint32_t recent = UINT32_MAX;
	int r = begin_and_find(s, name, generation, &txn, &mailbox, err);

	if (r == 0 && !read_only && mailbox.recent_uid < mailbox.uidnext) {
		store_abort(&txn);
		recent = take_recent(s, mailbox.id);
		r = begin_and_find(s, name, generation, &txn, &mailbox, err);
	}
	if (r != 0)
		return r;
	r = view_open(s, &mailbox, txn, read_only, recent, err);
	store_abort(&txn);
	if (r != 0)
		view_forget(s);
	return r;
}

static void select_mailbox(struct session *s, struct imap_lex *lex, bool read_only)
{
	struct span name;
	struct err err = {0};
	uint64_t generation;
	int r;

	imap_lex_space(lex);
	imap_lex_mailbox(lex, &name);
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	if (s->view.mailbox != 0)
		buf_add_str(&s->out, "* OK [CLOSED] The mailbox selected before\r\n"); /* RFC 7162 section 3.2.11 */
	view_close(s); /* also when this SELECT fails (section 6.3.1) */
	generation = store_generation(s->store);
	r = open_mailbox(s, name, read_only, generation, &err);
	if (r != 0) {
		session_fail(s, r, &err);
		return;
	}
	s->view.generation = generation;
	session_ok_code(s, read_only ? SPAN_LIT("READ-ONLY") : SPAN_LIT("READ-WRITE"), "Selected");
}

void command_select(struct session *s, struct imap_lex *lex)
{
	select_mailbox(s, lex, false);
}

void command_examine(struct session *s, struct imap_lex *lex)
{
	select_mailbox(s, lex, true);
}

/* The UIDs among `uids` (NULL: all) that carry \Deleted; pooled. */
static int find_deleted(struct session *s, struct store_txn *txn, const uint32_t *among, size_t among_count, uint32_t **uids,
    size_t *count, struct err *err)
{
	struct store_message *messages;
	size_t total, at = 0;
	int r = store_message_list(txn, s->view.mailbox, 0, s->pool, &messages, &total, err);

	*count = 0;
	if (r != 0)
		return r;
	*uids = pool_array(s->pool, total + 1, sizeof(uint32_t));
	if (*uids == NULL)
		return err_set(err, E_NOMEM, "no memory for %zu messages", total);
	for (size_t i = 0; i < total; i++) {
		if ((messages[i].flags & STORE_DELETED) == 0)
			continue;
		while (at < among_count && among[at] < messages[i].uid)
			at++;
		if (among == NULL || (at < among_count && among[at] == messages[i].uid))
			(*uids)[(*count)++] = messages[i].uid;
	}
	return 0;
}

static int expunge_some(struct session *s, const uint32_t *among, size_t among_count, struct err *err)
{
	struct store_txn *txn;
	uint32_t *uids;
	size_t count;
	int r = store_begin(s->store, true, &txn, err);

	if (r != 0)
		return r;
	r = find_deleted(s, txn, among, among_count, &uids, &count, err);
	if (r == 0 && count > 0)
		r = store_expunge(txn, s->view.mailbox, uids, count, err);
	if (r == 0 && count > 0) {
		r = store_commit(&txn, err);
		if (r == 0)
			session_bound_kept(s);
		return r;
	}
	store_abort(&txn);
	return r;
}

void command_close(struct session *s, struct imap_lex *lex)
{
	struct err err = {0};
	int r = 0;

	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	if (!s->view.read_only)
		r = expunge_some(s, NULL, 0, &err);
	if (r != 0 && r != E_NOTFOUND) { /* another client has deleted it: nothing is left to be removed */
		session_fail(s, r, &err); /* it stays selected */
		return;
	}
	view_close(s);
	session_ok(s, "Closed");
}

void command_unselect(struct session *s, struct imap_lex *lex)
{
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	view_close(s);
	session_ok(s, "Closed, nothing removed");
}

void command_expunge(struct session *s, struct imap_lex *lex)
{
	struct err err = {0};
	struct span set = {0};
	uint32_t *uids = NULL;
	size_t count = 0;
	int r;

	if (s->uid) { /* UID EXPUNGE (RFC 4315 section 2.1) */
		imap_lex_space(lex);
		imap_lex_set(lex, &set);
	}
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	if (s->view.read_only) {
		session_no(s, "READ-ONLY", "The mailbox was opened with EXAMINE");
		return;
	}
	if (s->uid && !view_resolve(s, set, &uids, &count))
		return;
	r = expunge_some(s, uids, count, &err);
	if (r == 0)
		session_ok(s, "Expunged");
	else
		session_fail(s, r, &err);
}
