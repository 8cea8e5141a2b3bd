/* SEARCH and UID SEARCH (RFC 3501 section 6.4.4), with RETURN (RFC 4731). */
#include "imapd/searcher.h"

/* Sequence numbers or UIDs of what matched, ascending. */
struct found {
	uint32_t *numbers;
	size_t count;
};

/* How much is looked at in one read transaction: the index must not be kept from reusing its pages. */
enum { SEARCH_BATCH = 500 };

static int search_batch(struct searcher *se, const struct imap_search *search, const struct store_message *messages, size_t count,
    struct found *found, struct err *err)
{
	struct store_mailbox mailbox;
	int r = store_begin(se->s->store, false, &se->txn, err);

	if (r == 0)
		r = store_mailbox_by_id(se->txn, se->s->view.mailbox, &mailbox, err);
	se->mailbox = &mailbox;
	for (size_t i = 0; r == 0 && i < count; i++) {
		uint32_t sequence = view_sequence(&se->s->view, messages[i].uid);

		if (sequence != 0 && searcher_matches(se, search->root, &messages[i], sequence))
			found->numbers[found->count++] = se->s->uid ? messages[i].uid : sequence;
		r = se->code;
		if (r != 0 && err != NULL)
			*err = se->err;
	}
	if (se->txn != NULL)
		store_abort(&se->txn);
	se->mailbox = NULL; /* it was this function's */
	return r;
}

static int search_all(struct session *s, const struct imap_search *search, struct searcher *se, struct found *found, struct err *err)
{
	struct store_message *messages;
	struct store_txn *txn;
	size_t total;
	int r = store_begin(s->store, false, &txn, err);

	if (r != 0)
		return r;
	r = store_message_list(txn, s->view.mailbox, 0, s->pool, &messages, &total, err);
	store_abort(&txn);
	if (r != 0)
		return r;
	found->numbers = pool_array(s->pool, total + 1, sizeof(uint32_t));
	if (found->numbers == NULL)
		return err_set(err, E_NOMEM, "no memory for %zu messages", total);
	for (size_t at = 0; r == 0 && at < total && session_goes_on(s); at += SEARCH_BATCH)
		r = search_batch(se, search, messages + at, total - at < SEARCH_BATCH ? total - at : SEARCH_BATCH, found, err);
	return r;
}

static void put_plain(struct session *s, const struct found *found)
{
	buf_add_str(&s->out, "* SEARCH");
	for (size_t i = 0; i < found->count; i++) {
		buf_add_char(&s->out, ' ');
		buf_add_u64(&s->out, found->numbers[i]);
		if (session_would_wait(s))
			session_flush(s);
	}
	buf_add_str(&s->out, "\r\n");
}

/* RFC 4731 section 3.1: no MIN, MAX or ALL when nothing matched. */
static void put_extended(struct session *s, const struct imap_search *search, const struct found *found)
{
	buf_printf(&s->out, "* ESEARCH (TAG \"%s\")%s", s->tag, s->uid ? " UID" : "");
	if ((search->returns & IMAP_RETURN_MIN) != 0 && found->count > 0)
		buf_printf(&s->out, " MIN %u", found->numbers[0]);
	if ((search->returns & IMAP_RETURN_MAX) != 0 && found->count > 0)
		buf_printf(&s->out, " MAX %u", found->numbers[found->count - 1]);
	if ((search->returns & IMAP_RETURN_COUNT) != 0)
		buf_printf(&s->out, " COUNT %zu", found->count);
	if ((search->returns & IMAP_RETURN_ALL) != 0 && found->count > 0) {
		buf_add_str(&s->out, " ALL ");
		imap_set_format(found->numbers, found->count, &s->out);
	}
	buf_add_str(&s->out, "\r\n");
}

void command_search(struct session *s, struct imap_lex *lex)
{
	struct imap_search *search;
	struct found found = {0};
	struct searcher searcher;
	struct err err = {0};
	int r;

	imap_lex_space(lex);
	search = imap_search_parse(lex, (uint32_t)s->view.count, s->view.count > 0 ? s->view.uids[s->view.count - 1] : 0);
	if (search == NULL) {
		session_bad(s, lex->wrong);
		return;
	}
	searcher_init(&searcher, s);
	r = searcher_prepare(&searcher, search);
	if (r != 0) {
		searcher_free(&searcher);
		if (r == E_UNSUPPORTED) {
			session_no(s, "BADCHARSET (US-ASCII UTF-8)", "The charset is not known");
		} else {
			err_set(&err, r, "out of memory");
			session_fail(s, r, &err);
		}
		return;
	}
	r = search_all(s, search, &searcher, &found, &err);
	searcher_free(&searcher);
	if (s->broken != 0 || s->closing)
		return;
	if (r != 0) {
		session_fail(s, r, &err);
		return;
	}
	if (search->extended)
		put_extended(s, search, &found);
	else
		put_plain(s, &found);
	session_ok(s, "Searched");
}
