/* APPEND (RFC 3501 section 6.3.11; UIDPLUS: RFC 4315 section 3; APPENDLIMIT: RFC 7889). The message goes straight to its file. */
#include "imapd/session.h"

#include "base/clock.h"

#include <stdio.h>

enum { SURPLUS_MAX = 1024 }; /* octets behind the message that are looked at */

struct append {
	struct span mailbox;
	struct imap_flags flags;
	int64_t arrived;
};

/* "tag APPEND mailbox [flags] [date] " up to the literal; without answering anything. */
static bool read_arguments(struct session *s, struct span line, struct imap_lex *lex, struct append *out)
{
	struct span word;

	*out = (struct append){.arrived = clock_wall()};
	imap_lex_init(lex, line, s->pool);
	session_read_tag(s, lex);
	imap_lex_space(lex);
	word = imap_lex_word(lex);
	if (!span_caseeq(word, SPAN_LIT("APPEND")))
		return imap_lex_fail(lex, "not APPEND");
	imap_lex_space(lex);
	imap_lex_mailbox(lex, &out->mailbox);
	imap_lex_space(lex);
	if (imap_lex_sees(lex, '(')) {
		imap_lex_flags(lex, false, &out->flags);
		imap_lex_space(lex);
	}
	if (imap_lex_sees(lex, '"')) {
		imap_lex_date_time(lex, &out->arrived);
		imap_lex_space(lex);
	}
	return lex->wrong == NULL;
}

bool append_is_next(struct session *s, struct span line)
{
	struct append append;
	struct imap_lex lex;
	struct span word;
	size_t open;
	bool is_append, starved;

	imap_lex_init(&lex, line, s->pool);
	imap_lex_tag(&lex, &word);
	imap_lex_space(&lex);
	is_append = span_caseeq(imap_lex_word(&lex), SPAN_LIT("APPEND"));
	if (!is_append)
		return false;
	/* With the last literal not yet there, a name that is a literal itself cannot be read. */
	read_arguments(s, line, &lex, &append);
	open = lex.at;
	starved = pool_starved(s->pool);
	pool_reset(s->pool);
	if (starved)
		return true; /* its octets go where the message's go; append_literal says why */
	return lex.wrong == NULL && open < lex.in.len && lex.in.ptr[open] == '{' && span_find(span_from(lex.in, open), '\n') == lex.in.len - open;
}

/* An APPEND that came to its end without a message literal. */
void command_append(struct session *s, struct imap_lex *lex)
{
	(void)lex;
	session_bad(s, "APPEND needs mailbox, flags and date if any, and the message as a literal");
}

static int open_draft(struct session *s, const struct append *append, struct store_draft **draft, uint32_t *id, struct err *err)
{
	struct store_mailbox mailbox;
	struct store_txn *txn;
	int r = store_begin(s->store, false, &txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_by_name(txn, append->mailbox, &mailbox, err);
	if (r == 0 && mailbox.noselect)
		r = err_set(err, E_NOTFOUND, "there is no mailbox of this name");
	store_abort(&txn);
	if (r == 0) {
		*id = mailbox.id;
		r = store_draft_new(s->store, mailbox.id, append->arrived, draft, err);
	}
	return r;
}

/*
 * Takes `left` octets from the connection. What goes wrong with the file is
 * remembered in *r; the octets are taken all the same, so that the next command is found.
 */
static void receive(struct session *s, uint64_t left, struct store_draft *draft, int *r, struct err *err)
{
	while (left > 0 && s->broken == 0 && !s->closing) {
		struct span piece = span_sub(buf_span(&s->in), 0, left < SIZE_MAX ? (size_t)left : SIZE_MAX);

		if (piece.len == 0) {
			int code = session_fill(s, s->timeout_ms, false);

			if (code != 0)
				s->broken = code;
			continue;
		}
		if (*r == 0 && memchr(piece.ptr, '\0', piece.len) != NULL)
			*r = err_set(err, E_SYNTAX, "the message has a NUL octet (RFC 3501 section 4.3.1)");
		if (*r == 0)
			*r = store_draft_write(draft, piece, err);
		left -= piece.len;
		buf_take(&s->in, piece.len);
	}
}

/* What a client sends in another literal without waiting must not be taken for commands: it may be a stranger's text. */
static void refuse_surplus(struct session *s, struct span line)
{
	bool sync, is_binary;
	uint64_t size;

	session_bad(s, "one message at a time: surplus arguments behind it");
	if (imap_literal_find(line, &size, &sync, &is_binary) && !sync)
		session_bye(s, "A literal behind the message is not skipped");
}

/* Behind the literal: the end of the line. False: there is more, and the command was answered; or s->broken says why. */
static bool receive_end(struct session *s)
{
	while (s->broken == 0) {
		struct span rest = buf_span(&s->in);
		size_t end = span_find(rest, '\n');
		struct span line = span_sub(rest, 0, end > 0 && rest.ptr[end - 1] == '\r' ? end - 1 : end);

		if (end < rest.len) {
			if (line.len > 0)
				refuse_surplus(s, line);
			buf_take(&s->in, end + 1);
			return line.len == 0;
		}
		if (rest.len > SURPLUS_MAX) {
			session_bad(s, "one message at a time: surplus arguments behind it");
			session_bye(s, "The command is too long to be skipped");
			return false;
		}
		s->broken = session_fill(s, s->timeout_ms, false);
	}
	return false;
}

static void file_draft(struct session *s, const struct append *append, struct store_draft *draft, uint32_t id)
{
	struct store_mailbox mailbox;
	struct store_message filed = {0};
	struct store_txn *txn;
	struct err err = {0};
	char code[64];
	int n, r = store_draft_finish(draft, &err);

	if (r == 0)
		r = store_begin(s->store, true, &txn, &err);
	if (r == 0) {
		r = store_append(txn, draft, id, append->flags.flags, append->flags.keywords, append->flags.keyword_count, NULL, &filed,
		    &err);
		if (r == 0)
			r = store_mailbox_by_id(txn, id, &mailbox, &err);
		if (r == 0)
			r = store_commit(&txn, &err);
		else
			store_abort(&txn);
	}
	if (r != 0) {
		session_fail(s, r, &err);
		return;
	}
	store_draft_kept(draft);
	n = snprintf(code, sizeof(code), "APPENDUID %u %u", mailbox.uidvalidity, filed.uid);
	session_ok_code(s, span_of(code, (size_t)n), "Appended");
}

static void refuse(struct session *s, int r, struct err *err)
{
	/* Section 6.3.11: the client is told that CREATE would help. */
	if (r == E_NOTFOUND)
		session_no(s, "TRYCREATE", "There is no such mailbox");
	else
		session_fail(s, r, err);
}

void append_literal(struct session *s, struct span line)
{
	uint64_t size = s->reader.literal;
	bool sync = s->reader.sync;
	struct append append;
	struct imap_lex lex;
	struct store_draft *draft = NULL;
	struct err err = {0};
	uint32_t id = 0;
	size_t len = line.len;
	int r = 0;

	s->command = NULL;
	s->uid = false;
	read_arguments(s, line, &lex, &append);
	/* The line's bytes go away with the first of the message's. */
	append.mailbox = pool_span(s->pool, append.mailbox);
	for (size_t i = 0; i < append.flags.keyword_count; i++)
		append.flags.keywords[i] = pool_span(s->pool, append.flags.keywords[i]);
	buf_take(&s->in, len);
	/* What append_is_next has read is read now, or there was no memory for it then. */
	if (lex.wrong != NULL || pool_starved(s->pool))
		r = err_set(&err, E_NOMEM, "out of memory");
	else if (size > s->message_size)
		r = err_set(&err, E_TOOBIG, "the message is larger than the %llu octets of APPENDLIMIT",
		    (unsigned long long)s->message_size);
	else if (size == 0)
		r = err_set(&err, E_SYNTAX, "the message is empty");
	if (r != 0 && !sync && size > s->message_size) {
		refuse(s, r, &err);
		session_bye(s, "The message is too large to be skipped"); /* RFC 7888 section 4 */
		return;
	}
	if (r == 0)
		r = open_draft(s, &append, &draft, &id, &err);
	if (r != 0 && sync) {
		refuse(s, r, &err); /* the client has not sent it */
		return;
	}
	if (sync)
		buf_add_str(&s->out, "+ Ready for the message\r\n");
	session_flush(s);
	receive(s, size, draft, &r, &err);
	if (receive_end(s)) {
		if (r != 0)
			refuse(s, r, &err);
		else
			file_draft(s, &append, draft, id);
	}
	store_draft_free(&draft);
}
