/* The life of a session: its commands in one table, read and run one after the other. */
#include "imapd/session.h"

#include "base/encode.h"
#include "imap/flags.h"
#include "proc/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

_Static_assert(IMAP_SEEN == (int)STORE_SEEN && IMAP_ANSWERED == (int)STORE_ANSWERED && IMAP_FLAGGED == (int)STORE_FLAGGED &&
		   IMAP_DELETED == (int)STORE_DELETED && IMAP_DRAFT == (int)STORE_DRAFT && IMAP_KEYWORD_MAX == (int)STORE_KEYWORD_MAX,
    "the store's flags are the client's");

/* After the login, in the order of RFC numbers; APPENDLIMIT (RFC 7889) follows with its value. */
static const char capabilities[] = "IMAP4rev1 IDLE NAMESPACE ID CHILDREN UNSELECT UIDPLUS ESEARCH SASL-IR ENABLE "
				    "SPECIAL-USE MOVE LITERAL+";

/* ---- answers ---- */

static void put_tagged(struct session *s, const char *result, const char *code, const char *text)
{
	buf_printf(&s->out, "%s %s ", s->tag, result);
	if (code[0] != '\0')
		buf_printf(&s->out, "[%s] ", code);
	buf_printf(&s->out, "%s\r\n", text);
}

static void sync_before_answer(struct session *s)
{
	unsigned flags = s->command != NULL ? s->command->flags : 0;

	if ((flags & COMMAND_NO_SYNC) == 0)
		(void)view_sync(s, s->uid || (flags & COMMAND_NO_EXPUNGE) == 0);
}

void session_ok_code(struct session *s, struct span code, const char *text)
{
	sync_before_answer(s);
	buf_printf(&s->out, "%s OK ", s->tag);
	if (code.len > 0) {
		buf_add_char(&s->out, '[');
		buf_add_span(&s->out, code);
		buf_add_str(&s->out, "] ");
	}
	buf_printf(&s->out, "%s\r\n", text);
}

void session_ok(struct session *s, const char *text)
{
	session_ok_code(s, (struct span){0}, text);
}

void session_no(struct session *s, const char *code, const char *text)
{
	sync_before_answer(s);
	put_tagged(s, "NO", code, text);
}

void session_fail(struct session *s, int code, const struct err *err)
{
	if (err_class(code) != ERR_CLASS_PERM && code != E_OVERQUOTA)
		log_event(EV_imap_error, &s->log, F_SPAN("command", s->command != NULL ? s->command->name : SPAN_LIT("")), F_ERR(err));
	session_no(s, err_imap_code(code), err->text);
}

void session_bad(struct session *s, const char *text)
{
	struct err err = {0};

	/* What could not be read for want of memory is not the client's fault. */
	if (pool_starved(s->pool)) {
		session_fail(s, err_set(&err, E_NOMEM, "out of memory"), &err);
		return;
	}
	put_tagged(s, "BAD", "", text);
	if (++s->bad >= SESSION_BAD_MAX)
		session_bye(s, "Too many malformed commands");
}

void session_bye(struct session *s, const char *text)
{
	if (!s->closing)
		buf_printf(&s->out, "* BYE %s\r\n", text);
	s->closing = true;
}

void session_bye_wanted(struct session *s)
{
	session_bye(s, s->kicked ? "Log in again" : "The server is stopping");
}

static void put_capabilities(struct session *s)
{
	buf_printf(&s->out, "%s APPENDLIMIT=%llu", capabilities, (unsigned long long)s->message_size);
}

void session_bound_kept(struct session *s)
{
	struct err err = {0};

	if (store_purge_surplus(s->store, &err) != 0)
		log_event(EV_imap_error, &s->log, F_ERR(&err));
}

/* ---- the commands of every state (section 6.1) ---- */

static void command_capability(struct session *s, struct imap_lex *lex)
{
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	buf_add_str(&s->out, "* CAPABILITY ");
	put_capabilities(s);
	buf_add_str(&s->out, "\r\n");
	session_ok(s, "Capabilities listed");
}

static void command_noop(struct session *s, struct imap_lex *lex)
{
	if (imap_lex_end(lex))
		session_ok(s, "Done");
	else
		session_bad(s, lex->wrong);
}

static void command_logout(struct session *s, struct imap_lex *lex)
{
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	session_bye(s, "Logging out");
	put_tagged(s, "OK", "", "Logged out");
}

static void command_check(struct session *s, struct imap_lex *lex)
{
	command_noop(s, lex); /* every command is durable when it is answered */
}

/* RFC 2971. */
static void command_id(struct session *s, struct imap_lex *lex)
{
	imap_lex_id(lex);
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	buf_add_str(&s->out, "* ID (\"name\" \"Mailwain\")\r\n");
	session_ok(s, "Thank you");
}

/* RFC 5161: nothing that needs it yet. */
static void command_enable(struct session *s, struct imap_lex *lex)
{
	struct span ignored;

	do {
		imap_lex_space(lex);
		imap_lex_atom(lex, &ignored);
	} while (lex->wrong == NULL && !imap_lex_at_end(lex));
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	buf_add_str(&s->out, "* ENABLED\r\n");
	session_ok(s, "Done");
}

static void command_again(struct session *s, struct imap_lex *lex)
{
	(void)lex;
	session_bad(s, "already logged in");
}

static const struct command commands[] = {
    {SPAN_LIT("FETCH"), COMMAND_SELECTED | COMMAND_UID | COMMAND_NO_EXPUNGE, command_fetch},
    {SPAN_LIT("STORE"), COMMAND_SELECTED | COMMAND_UID | COMMAND_NO_EXPUNGE, command_store},
    {SPAN_LIT("SEARCH"), COMMAND_SELECTED | COMMAND_UID | COMMAND_NO_EXPUNGE, command_search},
    {SPAN_LIT("COPY"), COMMAND_SELECTED | COMMAND_UID, command_copy},
    {SPAN_LIT("MOVE"), COMMAND_SELECTED | COMMAND_UID, command_move},
    {SPAN_LIT("EXPUNGE"), COMMAND_SELECTED | COMMAND_UID, command_expunge},
    {SPAN_LIT("CLOSE"), COMMAND_SELECTED | COMMAND_NO_SYNC, command_close},
    {SPAN_LIT("UNSELECT"), COMMAND_SELECTED | COMMAND_NO_SYNC, command_unselect},
    {SPAN_LIT("CHECK"), COMMAND_SELECTED, command_check},
    {SPAN_LIT("NOOP"), 0, command_noop},
    {SPAN_LIT("IDLE"), 0, command_idle},
    {SPAN_LIT("SELECT"), COMMAND_NO_SYNC, command_select},
    {SPAN_LIT("EXAMINE"), COMMAND_NO_SYNC, command_examine},
    {SPAN_LIT("STATUS"), 0, command_status},
    {SPAN_LIT("LIST"), 0, command_list},
    {SPAN_LIT("LSUB"), 0, command_lsub},
    {SPAN_LIT("APPEND"), 0, command_append},
    {SPAN_LIT("CREATE"), 0, command_create},
    {SPAN_LIT("DELETE"), 0, command_delete},
    {SPAN_LIT("RENAME"), 0, command_rename},
    {SPAN_LIT("SUBSCRIBE"), 0, command_subscribe},
    {SPAN_LIT("UNSUBSCRIBE"), 0, command_unsubscribe},
    {SPAN_LIT("NAMESPACE"), 0, command_namespace},
    {SPAN_LIT("CAPABILITY"), 0, command_capability},
    {SPAN_LIT("ID"), 0, command_id},
    {SPAN_LIT("ENABLE"), 0, command_enable},
    {SPAN_LIT("LOGOUT"), COMMAND_NO_SYNC, command_logout},
    {SPAN_LIT("LOGIN"), 0, command_again},
    {SPAN_LIT("AUTHENTICATE"), 0, command_again},
    {SPAN_LIT("STARTTLS"), 0, command_again},
};

static const struct command *command_find(struct span name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (span_caseeq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* ---- one command ---- */

void session_read_tag(struct session *s, struct imap_lex *lex)
{
	struct span tag;

	if (!imap_lex_tag(lex, &tag))
		tag = SPAN_LIT("*");
	span_copy(tag, s->tag, sizeof(s->tag));
}

/* Tag and name; false when answered already. */
static bool read_front(struct session *s, struct imap_lex *lex)
{
	struct span name;

	s->command = NULL;
	s->uid = false;
	session_read_tag(s, lex);
	if (!imap_lex_space(lex)) {
		session_bad(s, "a command begins with a tag and a space");
		return false;
	}
	name = imap_lex_word(lex);
	if (span_caseeq(name, SPAN_LIT("UID"))) {
		s->uid = true;
		imap_lex_space(lex);
		name = imap_lex_word(lex);
	}
	s->command = command_find(name);
	if (s->command == NULL || (s->uid && (s->command->flags & COMMAND_UID) == 0)) {
		s->command = NULL;
		session_bad(s, "there is no such command");
		return false;
	}
	if ((s->command->flags & COMMAND_SELECTED) != 0 && s->view.mailbox == 0) {
		session_bad(s, "no mailbox is selected");
		return false;
	}
	return true;
}

static void run_command(struct session *s, struct span text)
{
	struct imap_lex lex;
	unsigned bad = s->bad;

	imap_lex_init(&lex, text, s->pool);
	s->commands++;
	if (read_front(s, &lex))
		s->command->run(s, &lex);
	if (s->bad == bad)
		s->bad = 0;
	if (s->command != NULL)
		log_event(EV_imap_command, &s->log, F_SPAN("command", s->command->name));
	pool_reset(s->pool);
}

/* A literal that is not wanted: a client that waits for "+" is told, one that does not wait cannot be followed. */
static void refuse_literal(struct session *s, size_t len)
{
	struct imap_lex lex;

	imap_lex_init(&lex, span_sub(buf_span(&s->in), 0, len), s->pool);
	session_read_tag(s, &lex);
	put_tagged(s, "NO", "TOOBIG", "the literal is too large for this command");
	if (!s->reader.sync)
		session_bye(s, "The literal is too large to be skipped");
	buf_take(&s->in, len);
	imap_reader_reset(&s->reader);
}

static void take_literal(struct session *s, size_t len)
{
	struct span line = span_sub(buf_span(&s->in), 0, len);

	if (append_is_next(s, line)) {
		append_literal(s, line);
		imap_reader_reset(&s->reader);
		pool_reset(s->pool);
		return;
	}
	if (!imap_reader_accept(&s->reader, len)) {
		refuse_literal(s, len);
		return;
	}
	if (s->reader.sync)
		buf_add_str(&s->out, "+ Ready for literal\r\n");
}

/* Runs what is complete in the input. */
static void run_input(struct session *s)
{
	while (!s->closing && s->broken == 0 && !s->hibernates) {
		size_t len = 0;

		switch (imap_reader_look(&s->reader, buf_span(&s->in), &len)) {
		case IMAP_READ_MORE:
			return;
		case IMAP_READ_LITERAL:
			take_literal(s, len);
			break;
		case IMAP_READ_COMMAND:
			s->command_len = len;
			run_command(s, span_sub(buf_span(&s->in), 0, len));
			buf_take(&s->in, s->command_len);
			imap_reader_reset(&s->reader);
			break;
		case IMAP_READ_TOO_LONG:
			snprintf(s->tag, sizeof(s->tag), "*");
			put_tagged(s, "BAD", "TOOBIG", "the command is too long");
			session_bye(s, "The command is too long to be skipped");
			break;
		}
		if (session_would_wait(s))
			session_flush(s);
		/* What was sent ahead is not done any more. When nothing is left session_fill() looks. */
		if (buf_len(&s->in) > 0 && !s->hibernates && session_ends(s))
			session_bye_wanted(s);
	}
}

static void session_loop(struct session *s)
{
	for (;;) {
		int r;

		run_input(s);
		session_flush(s);
		if (s->closing || s->broken != 0 || s->hibernates)
			return;
		log_flush();
		r = session_fill(s, s->timeout_ms, false);
		if (r == 0)
			continue;
		if (r == E_TIMEOUT)
			session_bye(s, "Silent for too long");
		else if (r == E_UNAVAILABLE)
			session_bye_wanted(s);
		else if (r == E_TOOBIG)
			session_bye(s, "The command is too long");
		else
			s->broken = r;
		session_flush(s);
		return;
	}
}

/* ---- birth and end ---- */

static int session_open(struct session *s, const struct session_start_options *options, struct err *err)
{
	struct store_options store = {.create = true, .quota = options->quota};
	bool rebuilt = false;
	int r;

	s->pool = pool_new(NULL, SESSION_POOL_MAX);
	s->message_pool = pool_new(NULL, SESSION_MESSAGE_MAX);
	if (s->pool == NULL || s->message_pool == NULL)
		return err_set(err, E_NOMEM, "no memory for a session");
	r = proc_confine_account(profile_find("session"), options->dir, err);
	if (r != 0)
		return r;
	r = store_open(&s->store, options->dir, &store, &rebuilt, err);
	if (rebuilt)
		log_event(EV_store_rebuilt, &s->log, F_STR("reason", "the index was damaged or lost"));
	return r;
}

/* An account that gets no mail has no worker that does it. The client need not wait for it. */
static void tidy(struct session *s)
{
	struct err err = {0};

	close(s->fd);
	if (store_tidy(s->store, s->undo_days, NULL, &err) != 0)
		log_event(EV_imap_error, &s->log, F_ERR(&err));
}

enum { SESSION_FIRST = 16 * 1024 };

/* The front has given the client away: nobody else will answer it. */
static int refuse_at_once(const struct session_start_options *options)
{
	char text[IMAP_TAG_MAX + 100];
	int len = snprintf(text, sizeof(text), "%s NO [UNAVAILABLE] Out of memory; try again\r\n* BYE Try again later\r\n", options->tag);

	log_event(EV_imap_error, NULL, F_STR("user", options->user), F_STR("error", err_text(E_NOMEM)));
	log_flush();
	(void)!send(options->fd, text, (size_t)len, MSG_NOSIGNAL);
	return EX_OSERR;
}

/* The answer to the login; or, for a client whose session hibernated, what has happened meanwhile. */
static void begin(struct session *s, const struct session_start_options *options)
{
	if (options->state.len == 0) {
		buf_add_span(&s->in, options->input);
		buf_printf(&s->out, "%s OK [CAPABILITY ", s->tag);
		put_capabilities(s);
		buf_add_str(&s->out, "] Logged in\r\n");
	} else if (session_resume(s, options->state)) {
		idle_resume(s, options->left_ms > 0 ? options->left_ms : 0);
	} else {
		session_bye(s, "No memory; try again later");
	}
}

int session_main(const struct session_start_options *options)
{
	struct session *s = calloc(1, sizeof(*s));
	struct err err = {0};
	int r, status;

	if (s == NULL)
		return refuse_at_once(options);
	s->fd = options->fd;
	s->wake = options->wake;
	s->timeout_ms = options->timeout_ms;
	s->hibernate_ms = options->hibernate_ms;
	s->message_size = options->message_size;
	s->undo_days = options->undo_days;
	s->user = options->user;
	s->remote = options->remote;
	s->log = (struct log_ctx){.key = "user", .value = span_str(options->user)};
	snprintf(s->tag, sizeof(s->tag), "%s", options->tag);
	imap_reader_init(&s->reader, IMAP_LINE_MAX, IMAP_LITERALS_MAX);
	buf_init(&s->in, SESSION_INPUT_MAX);
	buf_init(&s->out, SESSION_OUTPUT_MAX);
	/* For what every session needs: without it no answer can be given later. */
	if (buf_reserve(&s->in, SESSION_FIRST) == NULL || buf_reserve(&s->out, SESSION_FIRST) == NULL) {
		buf_fini(&s->in);
		free(s);
		return refuse_at_once(options);
	}
	r = session_open(s, options, &err);
	if (r == 0) {
		begin(s, options);
		if (!s->hibernates)
			session_loop(s);
		if (!s->hibernates)
			view_close(s);
	} else {
		log_event(EV_imap_error, &s->log, F_ERR(&err));
		if (options->state.len == 0)
			buf_printf(&s->out, "%s NO [%s] The mailboxes cannot be opened now\r\n", s->tag, err_imap_code(r));
		buf_add_str(&s->out, "* BYE Try again later\r\n");
		session_flush(s);
	}
	if (r == 0 && !s->hibernates)
		tidy(s);
	store_close(&s->store);
	if (!s->hibernates)
		log_event(EV_imap_disconnect, &s->log, F_STR("rip", s->remote), F_U64("commands", s->commands),
		    F_STR("reason", s->kicked ? "kicked" : s->broken == 0 ? "closed" : err_text(s->broken)));
	log_flush();
	status = r != 0 ? EX_TEMPFAIL : s->hibernates ? SESSION_EXIT_HIBERNATES : EX_OK;
	free(s->view.uids);
	pool_free(&s->pool);
	pool_free(&s->message_pool);
	buf_fini(&s->in);
	buf_fini(&s->out);
	free(s);
	return status;
}
