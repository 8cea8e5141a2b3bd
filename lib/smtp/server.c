/* The engine: states, commands, replies. */
#include "smtp/server_private.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Which state may follow which: bit n of row m is set when n may follow m. */
#define B(x) (1U << (x))
static const unsigned legal[SMTP_STATES] = {
    [SMTP_GREETED] = B(SMTP_READY) | B(SMTP_TLS) | B(SMTP_ENDED),
    [SMTP_READY] = B(SMTP_READY) | B(SMTP_WAIT_AUTH) | B(SMTP_WAIT_MAIL) | B(SMTP_MAIL) | B(SMTP_TLS) | B(SMTP_ENDED),
    [SMTP_AUTH] = B(SMTP_WAIT_AUTH) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_WAIT_AUTH] = B(SMTP_AUTH) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_WAIT_MAIL] = B(SMTP_MAIL) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_MAIL] = B(SMTP_READY) | B(SMTP_WAIT_RCPT) | B(SMTP_TLS) | B(SMTP_ENDED),
    [SMTP_RCPT] = B(SMTP_READY) | B(SMTP_WAIT_RCPT) | B(SMTP_WAIT_READY) | B(SMTP_CHUNK) | B(SMTP_TLS) | B(SMTP_ENDED),
    [SMTP_WAIT_RCPT] = B(SMTP_MAIL) | B(SMTP_RCPT) | B(SMTP_ENDED),
    [SMTP_WAIT_READY] = B(SMTP_DATA) | B(SMTP_CHUNK) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_DATA] = B(SMTP_WAIT_DONE) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_CHUNK] = B(SMTP_BDAT) | B(SMTP_WAIT_DONE) | B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_BDAT] = B(SMTP_CHUNK) | B(SMTP_READY) | B(SMTP_TLS) | B(SMTP_ENDED),
    [SMTP_WAIT_DONE] = B(SMTP_READY) | B(SMTP_ENDED),
    [SMTP_TLS] = B(SMTP_GREETED) | B(SMTP_ENDED),
    [SMTP_ENDED] = B(SMTP_ENDED),
};

void smtp_set_state(struct smtp_server *s, enum smtp_state state)
{
	invariant(legal[s->state] & B(state));
	s->state = state;
}

static void reply_text(struct smtp_server *s, int code, const char *enhanced, const char *text)
{
	if (enhanced != NULL && s->extended)
		buf_printf(s->out, "%d %s %s\r\n", code, enhanced, text);
	else
		buf_printf(s->out, "%d %s\r\n", code, text);
}

void smtp_reply(struct smtp_server *s, int code, const char *enhanced, const char *fmt, ...)
{
	char text[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	reply_text(s, code, enhanced, text);
}

/* Outside text in a reply must not end its line. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
			*text = '?';
}

static void tell_refusal(struct smtp_server *s, int code, const char *enhanced, struct span why)
{
	char text[480], whole[520];

	span_copy(why, text, sizeof(text));
	make_printable(text);
	reply_text(s, code, enhanced, text);
	snprintf(whole, sizeof(whole), "%d %s %s", code, enhanced, text);
	s->callbacks->refused(s->arg, s, span_str(whole));
}

void smtp_refuse_delivery(struct smtp_server *s, int code, struct span why)
{
	tell_refusal(s, err_smtp_code(code), err_smtp_enhanced(code), why);
}

void smtp_refuse_one(struct smtp_server *s, int code, const char *enhanced, struct span text)
{
	tell_refusal(s, code, enhanced, text);
	/*
	 * That we have no room now is no error of the client's: it must not lose its session for that as well. More recipients
	 * than there may be (4.5.3) is its own.
	 */
	if (code >= 500 || strcmp(enhanced, "4.5.3") == 0)
		s->errors++;
}

void smtp_limit_errors(struct smtp_server *s)
{
	if (s->errors < s->config.limits.errors)
		return;
	smtp_end_transaction(s);
	reply_text(s, 421, "4.7.0", "Too many errors, closing");
	s->state = SMTP_ENDED;
}

void smtp_refuse(struct smtp_server *s, int code, const char *enhanced, const char *fmt, ...)
{
	char text[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	smtp_refuse_one(s, code, enhanced, span_str(text));
	smtp_limit_errors(s);
}

void smtp_end_transaction(struct smtp_server *s)
{
	struct pool *pool = s->tx ? s->tx->pool : NULL;

	if (s->started)
		s->callbacks->data_abort(s->arg, s);
	s->started = false;
	if (s->tx != NULL && s->callbacks->over != NULL)
		s->callbacks->over(s->arg, s);
	s->tx = NULL;
	s->asked = s->answered = NULL;
	s->drop_code = 0;
	pool_free(&pool);
}

struct smtp_server *smtp_server_new(const struct smtp_server_config *config, const struct smtp_server_callbacks *callbacks,
    void *arg, struct buf *out)
{
	struct smtp_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->config = *config;
	/* The configuration it came from may be replaced while the session lives. */
	span_copy(config->hostname, s->hostname, sizeof(s->hostname));
	s->config.hostname = span_str(s->hostname);
	s->callbacks = callbacks;
	s->arg = arg;
	s->out = out;
	return s;
}

void smtp_server_free(struct smtp_server **sp)
{
	if (*sp == NULL)
		return;
	smtp_end_transaction(*sp);
	free(*sp);
	*sp = NULL;
}

void smtp_server_greet(struct smtp_server *s)
{
	buf_printf(s->out, "220 %.*s %s Mailwain\r\n", SPAN_ARG(s->config.hostname), s->config.lmtp ? "LMTP" : "ESMTP");
}

/* ---- commands without a transaction ---- */

static void reset(struct smtp_server *s)
{
	smtp_end_transaction(s);
	smtp_set_state(s, SMTP_READY);
}

static bool take_helo(struct smtp_server *s, struct span args, const char *verb)
{
	struct span name = span_trim(args);

	if (!smtp_domain_is_valid(name, true) && !smtp_literal_is_valid(name)) {
		smtp_refuse(s, 501, "5.5.4", "%s takes your host name or an address literal", verb);
		return false;
	}
	smtp_end_transaction(s);
	smtp_set_state(s, SMTP_READY);
	span_copy(name, s->helo, sizeof(s->helo));
	return true;
}

static void command_helo(struct smtp_server *s, struct span args)
{
	if (s->config.lmtp) {
		smtp_refuse(s, 500, "5.5.1", "this is LMTP: say LHLO");
		return;
	}
	if (!take_helo(s, args, "HELO"))
		return;
	s->extended = false;
	buf_printf(s->out, "250 %.*s\r\n", SPAN_ARG(s->config.hostname));
}

static void greet_extended(struct smtp_server *s, struct span args, const char *verb)
{
	struct buf *out = s->out;

	if (!take_helo(s, args, verb))
		return;
	s->extended = true;
	buf_printf(out, "250-%.*s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
			"250-BINARYMIME\r\n250-DSN\r\n250-LIMITS RCPTMAX=%u\r\n",
	    SPAN_ARG(s->config.hostname), (unsigned long long)s->config.limits.message_size, s->config.limits.recipients);
	if (s->config.tls_offered && !s->tls)
		buf_add_str(out, "250-STARTTLS\r\n");
	if (s->tls) /* RFC 8689 section 2 */
		buf_add_str(out, "250-REQUIRETLS\r\n");
	if (s->config.submission && (s->tls || s->config.plain_login))
		smtp_offer_auth(s);
	if (s->config.submission && s->config.limits.future_release > 0)
		smtp_release_offer(s);
	buf_add_str(out, "250 ENHANCEDSTATUSCODES\r\n");
}

static void command_ehlo(struct smtp_server *s, struct span args)
{
	if (s->config.lmtp)
		smtp_refuse(s, 500, "5.5.1", "this is LMTP: say LHLO");
	else
		greet_extended(s, args, "EHLO");
}

static void command_lhlo(struct smtp_server *s, struct span args)
{
	if (!s->config.lmtp)
		smtp_refuse(s, 500, "5.5.1", "this is SMTP: say EHLO");
	else
		greet_extended(s, args, "LHLO");
}

static void command_rset(struct smtp_server *s, struct span args)
{
	if (span_trim(args).len > 0) {
		smtp_refuse(s, 501, "5.5.4", "RSET takes no argument");
		return;
	}
	if (s->state != SMTP_GREETED)
		reset(s);
	smtp_reply(s, 250, "2.0.0", "Ok");
}

static void command_noop(struct smtp_server *s, struct span args)
{
	(void)args;
	smtp_reply(s, 250, "2.0.0", "Ok");
}

static void command_help(struct smtp_server *s, struct span args)
{
	(void)args;
	smtp_reply(s, 214, "2.0.0", "%s MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS; see RFC %s",
	    s->config.lmtp ? "LHLO" : "EHLO HELO", s->config.lmtp ? "2033" : "5321");
}

/* RFC 5321 section 3.5.3: neither yes nor no, so that nobody collects addresses. */
static void command_vrfy(struct smtp_server *s, struct span args)
{
	if (span_trim(args).len == 0)
		smtp_refuse(s, 501, "5.5.4", "VRFY takes an address");
	else
		smtp_reply(s, 252, "2.5.0", "Send a message and see");
}

static void command_expn(struct smtp_server *s, struct span args)
{
	(void)args;
	smtp_refuse(s, 502, "5.5.1", "EXPN is not offered");
}

static void command_quit(struct smtp_server *s, struct span args)
{
	(void)args;
	smtp_end_transaction(s);
	smtp_reply(s, 221, "2.0.0", "Bye");
	smtp_set_state(s, SMTP_ENDED);
}

static void command_starttls(struct smtp_server *s, struct span args)
{
	if (span_trim(args).len > 0)
		smtp_refuse(s, 501, "5.5.4", "STARTTLS takes no argument");
	else if (s->tls)
		smtp_refuse(s, 503, "5.5.1", "TLS is active already");
	else if (!s->config.tls_offered)
		smtp_refuse(s, 502, "5.5.1", "STARTTLS is not offered");
	else if (s->authenticated)
		smtp_refuse(s, 503, "5.5.1", "STARTTLS comes before AUTH");
	else {
		smtp_end_transaction(s);
		smtp_set_state(s, SMTP_TLS); /* answered when it is known that nothing follows */
	}
}

/* ---- the table: verb, states in which it is allowed, what it does ---- */

static const struct smtp_command {
	const char *verb;
	unsigned states;
	bool idle;		/* brings no mail */
	const char *otherwise; /* what is missing */
	void (*apply)(struct smtp_server *s, struct span args);
} commands[] = {
    {"EHLO", ~0U, true, "", command_ehlo},
    {"HELO", ~0U, true, "", command_helo},
    {"LHLO", ~0U, true, "", command_lhlo},
    {"MAIL", B(SMTP_READY), false, "EHLO first, and one transaction at a time", smtp_command_mail},
    {"RCPT", B(SMTP_MAIL) | B(SMTP_RCPT), false, "MAIL first", smtp_command_rcpt},
    {"DATA", B(SMTP_RCPT), false, "RCPT first, and DATA does not go with BDAT", smtp_command_data},
    {"BDAT", B(SMTP_RCPT) | B(SMTP_BDAT) | B(SMTP_MAIL) | B(SMTP_READY) | B(SMTP_GREETED), false, "RCPT first", smtp_command_bdat},
    {"RSET", ~0U, true, "", command_rset},
    {"NOOP", ~0U, true, "", command_noop},
    {"VRFY", ~0U, true, "", command_vrfy},
    {"EXPN", ~0U, true, "", command_expn},
    {"HELP", ~0U, true, "", command_help},
    {"QUIT", ~0U, false, "", command_quit},
    {"STARTTLS", ~0U, false, "", command_starttls},
    {"AUTH", ~0U, false, "", smtp_command_auth},
};

static void end_badly(struct smtp_server *s, int code, const char *enhanced, const char *text)
{
	smtp_end_transaction(s);
	reply_text(s, code, enhanced, text);
	s->callbacks->refused(s->arg, s, span_str(text));
	s->state = SMTP_ENDED;
}

static void apply(struct smtp_server *s, const struct smtp_command *c, struct span args)
{
	if ((c->states & B(s->state)) == 0)
		smtp_refuse(s, 503, "5.5.1", "%s is out of order: %s", c->verb, c->otherwise);
	else if (c->idle && ++s->idle > SMTP_IDLE_MAX)
		end_badly(s, 421, "4.7.0", "Too many commands without a message, closing");
	else
		c->apply(s, args);
	if (c->apply == smtp_command_data && s->state != SMTP_WAIT_READY && s->state != SMTP_DATA)
		s->data_refused = true;
}

/*
 * What is no command. RFC 2920 section 3.1: the answer to DATA is waited for. A client that does not wait sends its text
 * whatever the answer was, and somewhere in it may stand lines that are commands. Its first line is none: at that the session
 * ends, so that the others are not read. When the octets arrived has no part in this.
 */
static void refuse_line(struct smtp_server *s, const char *text)
{
	if (s->data_refused)
		end_badly(s, 421, "4.7.0", "What follows the refused DATA is no command, closing");
	else
		smtp_refuse(s, 500, "5.5.2", "%s", text);
}

static void dispatch(struct smtp_server *s, struct span line)
{
	size_t blank = span_find(line, ' ');
	struct span verb = span_sub(line, 0, blank), args = span_from(line, blank + 1);
	char unknown[48];

	if (!utf8_is_valid(line)) {
		refuse_line(s, "The command is not UTF-8");
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct smtp_command *c = &commands[i];

		if (!span_caseeq(verb, span_str(c->verb)))
			continue;
		s->data_refused = false;
		apply(s, c, args);
		return;
	}
	snprintf(unknown, sizeof(unknown), "Unknown command '%.*s'", SPAN_ARG(span_sub(verb, 0, 20)));
	refuse_line(s, unknown);
}

bool smtp_server_waits(const struct smtp_server *s)
{
	return s->state == SMTP_WAIT_RCPT || s->state == SMTP_WAIT_READY || s->state == SMTP_WAIT_DONE || s->state == SMTP_WAIT_AUTH ||
	    s->state == SMTP_WAIT_MAIL;
}

/* Octets of the line at the front of input, its end included, as far as they are there. */
static size_t line_length(struct span input)
{
	size_t end = span_find(input, '\n');

	return end < input.len ? end + 1 : end;
}

static size_t line_max(const struct smtp_server *s)
{
	return s->config.submission ? SMTP_AUTH_LINE_MAX : SMTP_LINE_MAX;
}

/*
 * A line that is too long is thrown away as it comes. It is refused when it ends, and then the session goes on:
 * whether all of it was there at once makes no difference.
 */
static bool skip_line(struct smtp_server *s, struct span *input)
{
	char too_long[48];
	size_t len = line_length(*input);
	bool ended = len > 0 && input->ptr[len - 1] == '\n', bare = len < 2 || input->ptr[len - 2] != '\r';

	if (s->skipped + len > SMTP_ENDLESS_LINE) {
		end_badly(s, 500, "5.5.2", "Line too long");
		return true;
	}
	if (!ended) {
		s->skipped += len - 1;
		*input = span_from(*input, len - 1); /* the last one may be the CR */
		return false;
	}
	s->skipped = 0;
	*input = span_from(*input, len);
	snprintf(too_long, sizeof(too_long), "Line longer than %zu octets", line_max(s));
	if (bare)
		end_badly(s, 500, "5.5.2", "a line ends in CR LF, not in LF alone");
	else if (s->state == SMTP_AUTH)
		smtp_auth_give_up(s, SASL_LINE_TOO_LONG);
	else
		refuse_line(s, too_long);
	return true;
}

static bool take_command(struct smtp_server *s, struct span *input)
{
	struct err err = {0};
	struct span line;
	int r;

	if (input->len > 0 && (s->skipped > 0 || line_length(*input) > line_max(s)))
		return skip_line(s, input);
	r = smtp_line_next(input, &line, &err);
	if (r < 0)
		end_badly(s, 500, "5.5.2", err.text);
	else if (r > 0 && s->state == SMTP_AUTH)
		smtp_auth_line(s, line);
	else if (r > 0)
		dispatch(s, line);
	return r != 0;
}

/* One step: a command or a piece of content. False when more input is needed. */
static bool step(struct smtp_server *s, struct span *input)
{
	if (s->state != SMTP_DATA && s->state != SMTP_CHUNK)
		return take_command(s, input);
	if (input->len == 0)
		return false;
	if (smtp_take_content(s, input) != 0)
		end_badly(s, 550, "5.5.2", "Bare CR, bare LF or NUL in the message: only CR LF ends a line");
	return true;
}

enum smtp_event smtp_server_feed(struct smtp_server *s, struct span input, size_t *consumed)
{
	struct span rest = input;

	while (s->state != SMTP_ENDED && s->state != SMTP_TLS && !smtp_server_waits(s) && step(s, &rest))
		;
	*consumed = input.len - rest.len;
	if (s->state == SMTP_TLS) {
		/* RFC 3207, and the injections of 2011 and 2021: nothing may come with STARTTLS. */
		if (rest.len == 0) {
			smtp_reply(s, 220, "2.0.0", "Go ahead");
			return SMTP_STARTTLS;
		}
		reply_text(s, 554, "5.5.1", "Data behind STARTTLS before the handshake");
		s->state = SMTP_ENDED;
	}
	return s->state == SMTP_ENDED ? SMTP_CLOSE : SMTP_MORE;
}

bool smtp_server_ended(const struct smtp_server *s)
{
	return s->state == SMTP_ENDED;
}

void smtp_server_certificate(struct smtp_server *s)
{
	s->certificate = true;
}

void smtp_server_bound(struct smtp_server *s)
{
	s->bound = true;
}

void smtp_server_tls_from_the_start(struct smtp_server *s)
{
	s->tls = true;
}

void smtp_server_tls_started(struct smtp_server *s)
{
	smtp_set_state(s, SMTP_GREETED);
	s->tls = true;
	s->extended = false;
	s->helo[0] = '\0';
}

void smtp_server_shutdown(struct smtp_server *s, const char *text)
{
	smtp_end_transaction(s);
	reply_text(s, 421, "4.3.2", text);
	s->state = SMTP_ENDED;
}

const struct smtp_transaction *smtp_server_transaction(const struct smtp_server *s)
{
	return s->tx;
}

struct span smtp_server_asked(const struct smtp_server *s)
{
	return s->asked ? s->asked->address : span_str("");
}

struct span smtp_server_helo(const struct smtp_server *s)
{
	return span_str(s->helo);
}

bool smtp_server_extended(const struct smtp_server *s)
{
	return s->extended;
}

bool smtp_server_in_content(const struct smtp_server *s)
{
	return s->started || s->state == SMTP_CHUNK;
}
