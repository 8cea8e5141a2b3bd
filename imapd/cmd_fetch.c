/* FETCH and UID FETCH (RFC 3501 sections 6.4.5 and 7.4.2). */
#include "imapd/message.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

struct fetching {
	struct session *s;
	const struct imap_fetch *fetch;
	struct store_txn *txn; /* NULL between batches and while large bytes are sent */
	struct store_mailbox mailbox;
	struct message_bytes bytes;
	struct buf fields;
	uint32_t *seen; /* messages that get \Seen */
	size_t seen_count;
	bool headers_only; /* of sections */
	int failed;	   /* why some could not be read */
	bool some_gone;
};

/* ---- the transaction ---- */

static int txn_begin(struct fetching *f, struct err *err)
{
	int r;

	if (f->txn != NULL)
		return 0;
	r = store_begin(f->s->store, false, &f->txn, err);
	if (r != 0)
		return r;
	r = store_mailbox_by_id(f->txn, f->s->view.mailbox, &f->mailbox, err);
	if (r != 0)
		store_abort(&f->txn);
	return r;
}

static void txn_end(struct fetching *f)
{
	if (f->txn != NULL)
		store_abort(&f->txn);
}

/* ---- items ---- */

static void put_date(struct buf *out, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		gmtime_r(&(time_t){0}, &tm);
	buf_printf(out, "\"%02d-%s-%04d %02d:%02d:%02d +0000\"", tm.tm_mday, clock_month_names[tm.tm_mon], tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Large octets go out in pieces; a transaction must not be held open for a client that is slow to take them. */
static void put_octets(struct fetching *f, struct span octets)
{
	struct session *s = f->s;

	buf_add_char(&s->out, '{');
	buf_add_u64(&s->out, octets.len);
	buf_add_str(&s->out, "}\r\n");
	while (octets.len > 0 && s->broken == 0) {
		struct span piece = span_sub(octets, 0, SESSION_OUTPUT_FLUSH);

		buf_add_span(&s->out, piece);
		octets = span_from(octets, piece.len);
		if (octets.len > 0 && f->txn == NULL)
			session_flush(s);
	}
}

static void put_section(struct fetching *f, const struct imap_fetch_item *item, const struct store_facts *facts)
{
	struct session *s = f->s;
	struct span octets;

	buf_add_span(&s->out, item->label);
	buf_add_char(&s->out, ' ');
	if (!section_find(&item->section, f->bytes.bytes, facts->parts, &f->fields, &octets)) {
		buf_add_str(&s->out, "NIL");
		return;
	}
	if (item->partial)
		octets = span_sub(octets, item->offset, item->count);
	put_octets(f, octets);
}

static void put_item(struct fetching *f, const struct imap_fetch_item *item, const struct store_message *m,
    const struct store_facts *facts)
{
	struct buf *out = &f->s->out;

	switch (item->kind) {
	case IMAP_FETCH_UID:
		buf_add_str(out, "UID ");
		buf_add_u64(out, m->uid);
		break;
	case IMAP_FETCH_FLAGS:
		buf_add_str(out, "FLAGS ");
		view_put_flags(f->s, &f->mailbox, m);
		break;
	case IMAP_FETCH_INTERNALDATE:
		buf_add_str(out, "INTERNALDATE ");
		put_date(out, m->arrived);
		break;
	case IMAP_FETCH_SIZE:
		buf_add_str(out, "RFC822.SIZE ");
		buf_add_u64(out, m->size);
		break;
	case IMAP_FETCH_ENVELOPE:
		buf_add_str(out, "ENVELOPE ");
		buf_add_span(out, facts->envelope);
		break;
	case IMAP_FETCH_BODY:
		buf_add_str(out, "BODY ");
		buf_add_span(out, facts->body);
		break;
	case IMAP_FETCH_BODYSTRUCTURE:
		buf_add_str(out, "BODYSTRUCTURE ");
		buf_add_span(out, facts->bodystructure);
		break;
	case IMAP_FETCH_SECTION:
		put_section(f, item, facts);
		break;
	}
}

/* ---- one message ---- */

/* What is borrowed from the transaction is copied, so that it can end. */
static int keep_facts(struct fetching *f, struct store_facts *facts, struct err *err)
{
	struct span *spans[] = {&facts->envelope, &facts->body, &facts->bodystructure, &facts->parts};

	for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
		*spans[i] = pool_span(f->s->message_pool, *spans[i]);
		if (spans[i]->ptr == NULL)
			return err_set(err, E_NOMEM, "no memory for one FETCH");
	}
	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		if (f->mailbox.keywords[i].len > 0)
			f->mailbox.keywords[i] = pool_span(f->s->message_pool, f->mailbox.keywords[i]);
	return 0;
}

static int get_ready(struct fetching *f, const struct store_message *m, struct store_facts *facts, struct err *err)
{
	bool by_header = f->headers_only && m->size > MESSAGE_READ_MAX;
	int r = 0;

	message_bytes_close(&f->bytes);
	if (f->fetch->needs_file && !by_header)
		r = message_bytes_open(f->s, m, &f->bytes, err);
	if (r == 0 && f->fetch->needs_facts)
		r = message_facts(f->s, f->txn, m, &f->bytes, facts, err);
	if (r == 0 && by_header && f->bytes.bytes.ptr == NULL)
		r = message_header_open(f->s, m, facts, &f->bytes, err);
	if (r == 0 && f->fetch->needs_file && m->size > MESSAGE_READ_MAX) {
		r = keep_facts(f, facts, err);
		txn_end(f);
	}
	return r;
}

static void put_message(struct fetching *f, struct store_message *m, uint32_t sequence, const struct store_facts *facts)
{
	struct buf *out = &f->s->out;
	bool becomes_seen = f->fetch->sets_seen && !f->s->view.read_only && (m->flags & STORE_SEEN) == 0;

	if (becomes_seen) {
		m->flags |= STORE_SEEN;
		f->seen[f->seen_count++] = m->uid;
	}
	buf_add_str(out, "* ");
	buf_add_u64(out, sequence);
	buf_add_str(out, " FETCH (");
	for (size_t i = 0; i < f->fetch->count; i++) {
		if (i > 0)
			buf_add_char(out, ' ');
		put_item(f, &f->fetch->items[i], m, facts);
	}
	if (becomes_seen && !f->fetch->has_flags) {
		buf_add_str(out, " FLAGS ");
		view_put_flags(f->s, &f->mailbox, m);
	}
	buf_add_str(out, ")\r\n");
}

static int fetch_message(struct fetching *f, struct store_message *m, struct err *err)
{
	uint32_t sequence = view_sequence(&f->s->view, m->uid);
	struct store_facts facts = {0};
	int r;

	if (sequence == 0)
		return 0;
	r = txn_begin(f, err);
	if (r != 0)
		return r; /* of all of them: the mailbox may be gone */
	r = get_ready(f, m, &facts, err);
	if (r == E_CORRUPT || r == E_NOTFOUND || r == E_IO) {
		if (f->failed != E_CORRUPT)
			f->failed = r == E_NOTFOUND ? E_CORRUPT : r; /* this one cannot be read; the others can */
		return 0;
	}
	if (r != 0)
		return r;
	put_message(f, m, sequence, &facts);
	if (session_would_wait(f->s)) {
		txn_end(f);
		session_flush(f->s);
	}
	return f->s->broken;
}

/* ---- the command ---- */

/* \Seen of everything fetched, at once (section 6.4.5). The client was told already. */
static int set_seen(struct fetching *f, struct err *err)
{
	struct session *s = f->s;
	struct view_changes changes = {0};
	struct store_mailbox mailbox;
	struct store_txn *txn;
	int r = store_begin(s->store, true, &txn, err);

	if (r != 0)
		return r;
	r = view_look(s, txn, s->uid, &changes, err);
	if (r == 0)
		r = store_change_flags(txn, s->view.mailbox, f->seen, f->seen_count, STORE_FLAGS_ADD, STORE_SEEN, NULL, 0, err);
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

/* Where it cannot be done, as on a full disk, the client is told the flags that the messages have. */
static int mark_seen(struct fetching *f, struct err *err)
{
	struct err another;
	int r = set_seen(f, err);

	if (r != 0 && r != E_CLOSED)
		(void)view_tell_flags(f->s, f->seen, f->seen_count, &another);
	return r;
}

static int fetch_all(struct fetching *f, const uint32_t *uids, size_t count, struct err *err)
{
	struct store_message *messages;
	size_t i, found = 0;
	int r = txn_begin(f, err);

	if (r == 0)
		r = messages_load(f->s, f->txn, uids, count, f->s->pool, &messages, &found, err);
	f->some_gone = found < count;
	f->seen = pool_array(f->s->pool, found + 1, sizeof(uint32_t));
	if (r == 0 && f->seen == NULL)
		r = err_set(err, E_NOMEM, "no memory for %zu messages", found);
	for (i = 0; i < found && r == 0 && f->s->end_ms == 0; i++)
		r = fetch_message(f, &messages[i], err);
	txn_end(f);
	if (r == 0 && f->seen_count > 0)
		r = mark_seen(f, err);
	if (r == 0 && i < found)
		session_bye_wanted(f->s);
	return r;
}

/* All of them lie in the message's own header. */
static bool wants_headers_only(const struct imap_fetch *fetch)
{
	for (size_t i = 0; i < fetch->count; i++) {
		const struct imap_section *section = &fetch->items[i].section;

		if (fetch->items[i].kind == IMAP_FETCH_SECTION &&
		    (section->depth > 0 || (section->kind != IMAP_SECTION_HEADER && section->kind != IMAP_SECTION_FIELDS && section->kind != IMAP_SECTION_FIELDS_NOT)))
			return false;
	}
	return fetch->needs_file && fetch->needs_facts;
}

void command_fetch(struct session *s, struct imap_lex *lex)
{
	struct fetching f = {.s = s};
	struct imap_fetch *fetch;
	struct span set;
	uint32_t *uids;
	size_t count;
	struct err err = {0};
	int r;

	imap_lex_space(lex);
	imap_lex_set(lex, &set);
	imap_lex_space(lex);
	fetch = imap_fetch_parse(lex);
	if (fetch == NULL) {
		session_bad(s, lex->wrong);
		return;
	}
	if (s->uid)
		imap_fetch_add(fetch, IMAP_FETCH_UID);
	if (!view_resolve(s, set, &uids, &count))
		return;
	f.fetch = fetch;
	f.headers_only = wants_headers_only(fetch);
	buf_init(&f.fields, SESSION_OUTPUT_MAX);
	r = fetch_all(&f, uids, count, &err);
	message_bytes_free(&f.bytes);
	buf_fini(&f.fields);
	if (s->closing || s->broken != 0)
		return;
	if (r != 0)
		session_fail(s, r, &err);
	else if (f.failed != 0)
		session_no(s, err_imap_code(f.failed), "Some messages could not be read; the log says which");
	else if (f.some_gone && !s->uid)
		session_no(s, "EXPUNGEISSUED", "Some of the messages are gone");
	else
		session_ok(s, "Fetched");
}
