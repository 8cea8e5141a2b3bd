/* STORE, COPY, MOVE and their UID forms (RFC 3501 sections 6.4.6 and 6.4.7, RFC 6851, UIDPLUS: RFC 4315). */
#include "imapd/message.h"

static bool refuse_read_only(struct session *s)
{
	if (s->view.read_only)
		session_no(s, "READ-ONLY", "The mailbox was opened with EXAMINE");
	return s->view.read_only;
}

/* ---- STORE ---- */

struct storing {
	enum store_how how;
	bool silent;
	struct imap_flags flags;
};

static bool take_how(struct imap_lex *lex, struct storing *out)
{
	struct span word;

	out->how = STORE_FLAGS_SET;
	if (imap_lex_take(lex, '+'))
		out->how = STORE_FLAGS_ADD;
	else if (imap_lex_sees(lex, '-') && imap_lex_take(lex, '-'))
		out->how = STORE_FLAGS_REMOVE;
	word = imap_lex_word(lex);
	out->silent = span_caseeq(word, SPAN_LIT("FLAGS.SILENT"));
	if (!out->silent && !span_caseeq(word, SPAN_LIT("FLAGS")))
		return imap_lex_fail(lex, "STORE takes FLAGS, +FLAGS or -FLAGS, each with .SILENT or without");
	imap_lex_space(lex);
	return imap_lex_flags(lex, true, &out->flags);
}

/* Others' changes are told first, so that everything up to our own change is known to the client. */
static int store_flags(struct session *s, const struct storing *storing, const uint32_t *uids, size_t count, struct err *err)
{
	struct view_changes changes = {0};
	struct store_mailbox mailbox;
	struct store_txn *txn;
	int r = store_begin(s->store, true, &txn, err);

	if (r != 0)
		return r;
	r = view_look(s, txn, false, &changes, err);
	if (r == 0)
		r = store_change_flags(txn, s->view.mailbox, uids, count, storing->how, storing->flags.flags, storing->flags.keywords,
		    storing->flags.keyword_count, err);
	if (r == 0)
		r = store_mailbox_by_id(txn, s->view.mailbox, &mailbox, err);
	if (r == 0)
		r = store_commit(&txn, err);
	else
		store_abort(&txn);
	if (r == 0)
		view_tell_before(s, &changes, mailbox.modseq);
	view_changes_free(&changes);
	return r;
}

void command_store(struct session *s, struct imap_lex *lex)
{
	struct storing storing;
	struct span set;
	uint32_t *uids;
	size_t count;
	struct err err = {0};
	uint64_t before = s->view.modseq;
	int r;

	imap_lex_space(lex);
	imap_lex_set(lex, &set);
	imap_lex_space(lex);
	take_how(lex, &storing);
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	if (!view_resolve(s, set, &uids, &count) || refuse_read_only(s))
		return;
	r = store_flags(s, &storing, uids, count, &err);
	if (r == 0 && !storing.silent) {
		r = view_tell_flags(s, uids, count, &err);
		/* It is done; what could not be told is told with what the next look finds. */
		if (r != 0 && !s->closing) {
			log_event(EV_imap_error, &s->log, F_STR("command", "STORE"), F_ERR(&err));
			s->view.modseq = before;
			r = 0;
		}
	}
	if (s->closing)
		return;
	if (r == 0)
		session_ok(s, "Stored");
	else
		session_fail(s, r, &err);
}

/* ---- COPY and MOVE ---- */

/* "COPYUID validity from to" (RFC 4315 section 3); nothing when that is too long: a client can do without. */
static void put_copied(struct buf *out, uint32_t uidvalidity, const struct store_copied *copied)
{
	buf_printf(out, "COPYUID %u ", uidvalidity);
	imap_set_format(copied->from, copied->count, out);
	buf_add_char(out, ' ');
	imap_set_format(copied->to, copied->count, out);
	if (buf_failed(out))
		buf_clear(out);
}

static int copy_messages(struct session *s, struct span name, const uint32_t *uids, size_t count, bool move, struct buf *code,
    struct err *err)
{
	struct store_mailbox target;
	struct store_copied copied = {0};
	struct store_txn *txn;
	int r = store_begin(s->store, true, &txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_by_name(txn, name, &target, err);
	if (r == 0 && target.noselect)
		r = err_set(err, E_NOTFOUND, "there is no mailbox of this name");
	if (r == 0) {
		uint32_t uidvalidity = target.uidvalidity;

		r = store_copy(txn, s->view.mailbox, target.id, uids, count, move, s->pool, &copied, err);
		if (r == 0 && copied.count > 0)
			put_copied(code, uidvalidity, &copied);
	}
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return r;
}

static void copy_or_move(struct session *s, struct imap_lex *lex, bool move)
{
	struct span set, name;
	struct buf code;
	uint32_t *uids;
	size_t count;
	struct err err = {0};
	int r;

	imap_lex_space(lex);
	imap_lex_set(lex, &set);
	imap_lex_space(lex);
	imap_lex_mailbox(lex, &name);
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	if (!view_resolve(s, set, &uids, &count) || (move && refuse_read_only(s)))
		return;
	if (count == 0) {
		session_ok(s, "Nothing to do");
		return;
	}
	buf_init(&code, SESSION_OUTPUT_MAX / 2);
	r = copy_messages(s, name, uids, count, move, &code, &err);
	if (r == 0 && move) {
		/* RFC 6851 section 4.3: COPYUID comes before the EXPUNGEs. */
		if (buf_len(&code) > 0)
			buf_printf(&s->out, "* OK [%s] Moved\r\n", buf_cstr(&code));
		session_ok(s, "Moved");
	} else if (r == 0) {
		session_ok_code(s, buf_span(&code), "Copied");
	} else if (r == E_NOTFOUND) {
		session_no(s, "TRYCREATE", "There is no such mailbox");
	} else {
		session_fail(s, r, &err);
	}
	buf_fini(&code);
}

void command_copy(struct session *s, struct imap_lex *lex)
{
	copy_or_move(s, lex, false);
}

void command_move(struct session *s, struct imap_lex *lex)
{
	copy_or_move(s, lex, true);
}
