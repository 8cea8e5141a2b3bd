#include "imapd/prelogin.h"

#include "base/encode.h"
#include "base/err.h"

#include <stdio.h>

void prelogin_init(struct prelogin *login)
{
	imap_reader_init(&login->reader, PRELOGIN_LINE_MAX, PRELOGIN_LITERALS_MAX);
	buf_init(&login->response, SASL_RESPONSE_MAX);
}

void prelogin_fini(struct prelogin *login)
{
	secret_wipe(&login->password);
	buf_fini_secret(&login->response);
}

static struct sasl_terms terms(const struct prelogin *login)
{
	return (struct sasl_terms){.bound = login->bound, .certificate = login->certificate, .bearer = login->bearer, .withheld = login->withheld};
}

bool prelogin_plus_offered(const struct prelogin *login)
{
	return sasl_plus_is_offered(terms(login));
}

/* The LOGIN command sends what PLAIN does. */
static bool login_is_offered(const struct prelogin *login)
{
	return sasl_mechanism_is_offered(SASL_PLAIN, terms(login));
}

static void put_capabilities(const struct prelogin *login, struct buf *out)
{
	bool may_login = login->tls || login->plain_login;

	buf_add_str(out, "CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE");
	if (!login->tls && login->tls_offered)
		buf_add_str(out, " STARTTLS");
	if (may_login)
		sasl_put_offers(out, " AUTH=", terms(login));
	if (!may_login || !login_is_offered(login))
		buf_add_str(out, " LOGINDISABLED");
}

void prelogin_greeting(const struct prelogin *login, struct span hostname, struct buf *out)
{
	buf_add_str(out, "* OK [");
	put_capabilities(login, out);
	buf_printf(out, "] %.*s Mailwain ready\r\n", SPAN_ARG(hostname));
}

static void answer(struct prelogin *login, struct buf *out, const char *text)
{
	buf_printf(out, "%s %s\r\n", login->tag[0] ? login->tag : "*", text);
}

static enum prelogin_event bad(struct prelogin *login, struct buf *out, const char *why)
{
	login->errors++;
	buf_printf(out, "%s BAD %s\r\n", login->tag[0] ? login->tag : "*", why);
	return PRELOGIN_GO_ON;
}

/* What could not be read for want of memory is not the client's fault. */
static void starved(struct prelogin *login, struct buf *out)
{
	answer(login, out, "NO [UNAVAILABLE] Out of memory; try again later");
}

static enum prelogin_event bad_arguments(struct prelogin *login, const struct imap_lex *lex, struct buf *out)
{
	if (!pool_starved(lex->pool))
		return bad(login, out, lex->wrong);
	starved(login, out);
	return PRELOGIN_GO_ON;
}

static bool copy_user(struct prelogin *login, struct span user)
{
	if (user.len == 0 || user.len > PRELOGIN_USER_MAX || memchr(user.ptr, '\0', user.len))
		return false;
	memcpy(login->user, user.ptr, user.len);
	login->user[user.len] = '\0';
	return true;
}

static bool refuse_plain(struct prelogin *login, struct buf *out)
{
	if (login->tls || login->plain_login)
		return false;
	answer(login, out, "NO [PRIVACYREQUIRED] Login only over TLS: use STARTTLS or port 993");
	return true;
}

static enum prelogin_event do_login(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	struct span user, password;

	if (refuse_plain(login, out))
		return PRELOGIN_GO_ON;
	if (!login_is_offered(login)) {
		answer(login, out, "NO [CANNOT] LOGIN is not offered here: use AUTHENTICATE");
		return PRELOGIN_GO_ON;
	}
	imap_lex_space(lex);
	imap_lex_astring(lex, &user);
	imap_lex_space(lex);
	imap_lex_astring(lex, &password);
	if (!imap_lex_end(lex))
		return bad_arguments(login, lex, out);
	if (copy_user(login, user) && secret_set(&login->password, password))
		return PRELOGIN_CHECK;
	answer(login, out, "NO [AUTHENTICATIONFAILED] User name or password too long");
	return PRELOGIN_GO_ON;
}

void prelogin_challenge(struct prelogin *login, struct span challenge, struct buf *out)
{
	login->authenticating = true;
	buf_add_str(out, "+ ");
	base64_encode(out, challenge);
	buf_add_str(out, "\r\n");
}

static enum prelogin_event give_up(struct prelogin *login, struct buf *out, const char *why, bool begun)
{
	enum prelogin_event event = bad(login, out, why);

	return begun ? PRELOGIN_CANCEL : event;
}

/* begun: an exchange is under way, and this is no initial response. */
static enum prelogin_event take_response(struct prelogin *login, struct span line, bool begun, struct buf *out)
{
	buf_fini_secret(&login->response);
	buf_init(&login->response, SASL_RESPONSE_MAX);
	switch (sasl_line_decode(line, !begun, &login->response)) {
	case SASL_LINE_OK:
		return begun ? PRELOGIN_RESPONSE : PRELOGIN_SASL;
	case SASL_LINE_CANCEL:
		answer(login, out, "BAD AUTHENTICATE cancelled");
		return PRELOGIN_CANCEL;
	case SASL_LINE_TOO_LONG:
		return give_up(login, out, "The response is too long", begun);
	case SASL_LINE_STARVED:
		starved(login, out);
		return begun ? PRELOGIN_CANCEL : PRELOGIN_GO_ON;
	case SASL_LINE_MALFORMED:
		break;
	}
	return give_up(login, out, "The response is not base64", begun);
}

/* The initial response is one word of base64 or "=" (RFC 4959). */
static enum prelogin_event do_authenticate(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	struct span mechanism, response = {0};

	if (refuse_plain(login, out))
		return PRELOGIN_GO_ON;
	imap_lex_space(lex);
	imap_lex_atom(lex, &mechanism);
	login->has_response = imap_lex_take(lex, ' ');
	if (login->has_response)
		imap_lex_atom(lex, &response);
	if (!imap_lex_end(lex))
		return bad_arguments(login, lex, out);
	if (!sasl_mechanism_find(mechanism, &login->mechanism) || !sasl_mechanism_is_offered(login->mechanism, terms(login))) {
		answer(login, out, "NO [CANNOT] The mechanism is not one of those that CAPABILITY names");
		return PRELOGIN_GO_ON;
	}
	return login->has_response ? take_response(login, response, false, out) : PRELOGIN_SASL;
}

static enum prelogin_event do_starttls(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	(void)lex;
	if (login->tls || !login->tls_offered) {
		answer(login, out, login->tls ? "BAD TLS is active already" : "NO TLS is not set up here");
		return PRELOGIN_GO_ON;
	}
	answer(login, out, "OK Begin TLS negotiation now");
	return PRELOGIN_STARTTLS;
}

static enum prelogin_event do_capability(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	(void)lex;
	buf_add_str(out, "* ");
	put_capabilities(login, out);
	buf_add_str(out, "\r\n");
	answer(login, out, "OK CAPABILITY done");
	return PRELOGIN_GO_ON;
}

static enum prelogin_event do_id(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	imap_lex_id(lex);
	if (!imap_lex_end(lex))
		return bad_arguments(login, lex, out);
	buf_add_str(out, "* ID (\"name\" \"Mailwain\")\r\n");
	answer(login, out, "OK ID done");
	return PRELOGIN_GO_ON;
}

static enum prelogin_event do_noop(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	(void)lex;
	answer(login, out, "OK NOOP done");
	return PRELOGIN_GO_ON;
}

static enum prelogin_event do_logout(struct prelogin *login, struct imap_lex *lex, struct buf *out)
{
	(void)lex;
	buf_add_str(out, "* BYE Logging out\r\n");
	answer(login, out, "OK LOGOUT done");
	return PRELOGIN_CLOSE;
}

static const struct {
	const char *verb;
	bool takes_arguments;
	enum prelogin_event (*apply)(struct prelogin *login, struct imap_lex *lex, struct buf *out);
} commands[] = {
    {"LOGIN", true, do_login},
    {"AUTHENTICATE", true, do_authenticate},
    {"ID", true, do_id},
    {"STARTTLS", false, do_starttls},
    {"CAPABILITY", false, do_capability},
    {"NOOP", false, do_noop},
    {"LOGOUT", false, do_logout},
};

static enum prelogin_event dispatch(struct prelogin *login, struct span verb, struct imap_lex *lex, struct buf *out)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!span_caseeq(verb, span_str(commands[i].verb)))
			continue;
		if (!commands[i].takes_arguments && !imap_lex_end(lex))
			return bad_arguments(login, lex, out);
		return commands[i].apply(login, lex, out);
	}
	return bad(login, out, "Log in first: CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE, LOGOUT");
}

static enum prelogin_event too_much(struct buf *out, const char *why)
{
	buf_printf(out, "* BYE %s\r\n", why);
	return PRELOGIN_CLOSE;
}

static enum prelogin_event feed_response(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	size_t end = span_find(input, '\n');
	struct span line = span_sub(input, 0, end);

	if (end > PRELOGIN_LINE_MAX)
		return too_much(out, "Response too long");
	if (end == input.len)
		return PRELOGIN_MORE;
	*consumed = end + 1;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	login->authenticating = false;
	return take_response(login, line, true, out);
}

static enum prelogin_event run_command(struct prelogin *login, struct span command, struct buf *out)
{
	struct pool *pool = pool_new(NULL, PRELOGIN_POOL_MAX);
	enum prelogin_event event;
	struct imap_lex lex;
	struct span tag;

	if (pool == NULL) {
		login->starved = true;
		return too_much(out, "Out of memory");
	}
	imap_lex_init(&lex, command, pool);
	login->tag[0] = '\0';
	if (imap_lex_tag(&lex, &tag))
		span_copy(tag, login->tag, sizeof(login->tag));
	if (imap_lex_space(&lex))
		event = dispatch(login, imap_lex_word(&lex), &lex, out);
	else
		event = bad(login, out, "A command is a tag, a space and a word");
	pool_free(&pool);
	return event;
}

static enum prelogin_event feed_command(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	enum prelogin_event event = PRELOGIN_MORE;
	size_t len = 0;

	for (;;) {
		switch (imap_reader_look(&login->reader, input, &len)) {
		case IMAP_READ_MORE:
			return PRELOGIN_MORE;
		case IMAP_READ_TOO_LONG:
			return too_much(out, "The command is too long");
		case IMAP_READ_LITERAL:
			/* The octets of a literal that does not wait are on their way and cannot be told from commands. */
			if (!imap_reader_accept(&login->reader, len))
				return too_much(out, "The literal is too large");
			if (login->reader.sync)
				buf_add_str(out, "+ Go on\r\n");
			break;
		case IMAP_READ_COMMAND:
			*consumed = len;
			event = run_command(login, span_sub(input, 0, len), out);
			imap_reader_reset(&login->reader);
			return event;
		}
	}
}

enum prelogin_event prelogin_feed(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	enum prelogin_event event;

	*consumed = 0;
	if (input.len == 0)
		return PRELOGIN_MORE;
	event = login->authenticating ? feed_response(login, input, consumed, out)
				      : feed_command(login, input, consumed, out);
	if ((event == PRELOGIN_GO_ON || event == PRELOGIN_CANCEL) && login->errors >= PRELOGIN_ERRORS_MAX)
		return too_much(out, "Too many bad commands");
	return event;
}
