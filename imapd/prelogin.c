#include "imapd/prelogin.h"

#include "base/encode.h"
#include "base/err.h"

#include <stdio.h>

/* Arguments of one command, in order; spans borrow the input. */
struct arguments {
	struct span item[PRELOGIN_ARGS];
	bool quoted[PRELOGIN_ARGS]; /* has backslashes to take out */
	size_t count;
};

enum scan { SCAN_OK, SCAN_MORE, SCAN_BAD, SCAN_FATAL, SCAN_CONTINUE };

void prelogin_capabilities(const struct prelogin *login, struct buf *out)
{
	bool may_login = login->tls || login->plain_login;

	buf_add_str(out, "CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE");
	if (!login->tls && login->tls_offered)
		buf_add_str(out, " STARTTLS");
	buf_add_str(out, may_login ? " AUTH=PLAIN" : " LOGINDISABLED");
}

void prelogin_greeting(const struct prelogin *login, struct span hostname, struct buf *out)
{
	buf_add_str(out, "* OK [");
	prelogin_capabilities(login, out);
	buf_printf(out, "] %.*s Mailwain ready\r\n", SPAN_ARG(hostname));
}

static void answer(struct prelogin *login, struct buf *out, const char *text)
{
	buf_printf(out, "%s %s\r\n", login->tag[0] ? login->tag : "*", text);
}

/*
 * literal = "{" number ["+"] "}" CRLF *CHAR8 (RFC 3501 section 9, RFC 7888).
 * at stands on "{"; on SCAN_OK item is set and *at is behind it.
 */
static enum scan scan_literal(struct span all, size_t *at, struct span *item)
{
	struct span rest = span_from(all, *at + 1);
	size_t close = span_find(span_sub(rest, 0, 16), '}');
	struct span number = span_sub(rest, 0, close);
	bool plus = number.len > 0 && number.ptr[number.len - 1] == '+';
	uint64_t size;

	if (close == span_sub(rest, 0, 16).len)
		return rest.len < 16 ? SCAN_MORE : SCAN_BAD;
	if (plus)
		number.len--;
	if (!span_u64(number, UINT32_MAX, &size))
		return plus ? SCAN_FATAL : SCAN_BAD;
	/* The bytes of a refused LITERAL+ are on their way and cannot be told from commands. */
	if (size > PRELOGIN_LITERAL_MAX)
		return plus ? SCAN_FATAL : SCAN_BAD;
	rest = span_from(rest, close + 1);
	if (rest.len < 2)
		return SCAN_MORE;
	if (rest.ptr[0] != '\r' || rest.ptr[1] != '\n')
		return SCAN_BAD;
	rest = span_from(rest, 2);
	if (rest.len < size)
		return plus || rest.len > 0 ? SCAN_MORE : SCAN_CONTINUE;
	*item = span_sub(rest, 0, (size_t)size);
	*at = (size_t)(rest.ptr - all.ptr) + (size_t)size;
	return memchr(item->ptr, '\0', item->len) ? SCAN_BAD : SCAN_OK;
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE */
static enum scan scan_quoted(struct span all, size_t *at, struct span *item)
{
	size_t i = *at + 1;

	for (; i < all.len; i++) {
		if (all.ptr[i] == '\\' && i + 1 < all.len)
			i++;
		else if (all.ptr[i] == '"')
			break;
		if (all.ptr[i] == '\r' || all.ptr[i] == '\n' || all.ptr[i] == '\0')
			return SCAN_BAD;
	}
	if (i >= all.len)
		return SCAN_MORE;
	*item = span_sub(all, *at + 1, i - *at - 1);
	*at = i + 1;
	return SCAN_OK;
}

static enum scan scan_atom(struct span all, size_t *at, struct span *item)
{
	size_t i = *at;

	while (i < all.len && all.ptr[i] != ' ' && all.ptr[i] != '\r' && all.ptr[i] != '\n') {
		unsigned char c = (unsigned char)all.ptr[i];

		if (c < ' ' || c == 0x7f)
			return SCAN_BAD;
		i++;
	}
	if (i == all.len)
		return SCAN_MORE;
	*item = span_sub(all, *at, i - *at);
	*at = i;
	return SCAN_OK;
}

static enum scan scan_item(struct span all, size_t *at, struct arguments *args)
{
	struct span *item = &args->item[args->count];
	enum scan r;

	args->quoted[args->count] = false;
	if (all.ptr[*at] == '{') {
		r = scan_literal(all, at, item);
	} else if (all.ptr[*at] == '"') {
		r = scan_quoted(all, at, item);
		args->quoted[args->count] = true;
	} else {
		r = scan_atom(all, at, item);
	}
	if (r == SCAN_OK)
		args->count++;
	return r;
}

/* A whole command up to its CRLF; *end is behind it. */
static enum scan scan_command(struct span all, struct arguments *args, size_t *end)
{
	size_t at = 0;

	args->count = 0;
	for (;;) {
		enum scan r;

		if (at >= all.len)
			return SCAN_MORE;
		if (args->count == PRELOGIN_ARGS)
			return SCAN_BAD;
		r = scan_item(all, &at, args);
		if (r != SCAN_OK)
			return r;
		if (at >= all.len)
			return SCAN_MORE;
		if (all.ptr[at] == ' ') {
			at++;
			continue;
		}
		if (all.ptr[at] != '\r')
			return SCAN_BAD;
		if (at + 1 >= all.len)
			return SCAN_MORE;
		if (all.ptr[at + 1] != '\n')
			return SCAN_BAD;
		*end = at + 2;
		return SCAN_OK;
	}
}

/* tag = 1*<any ASTRING-CHAR except "+"> */
static bool tag_is_good(struct span tag)
{
	if (tag.len == 0 || tag.len > PRELOGIN_TAG_MAX)
		return false;
	for (size_t i = 0; i < tag.len; i++)
		if (strchr("(){%*\"\\+ ", tag.ptr[i]) != NULL || (unsigned char)tag.ptr[i] <= ' ' ||
		    (unsigned char)tag.ptr[i] >= 0x7f)
			return false;
	return true;
}

static bool copy_user(struct prelogin *login, struct span user)
{
	if (user.len == 0 || user.len > PRELOGIN_USER_MAX || memchr(user.ptr, '\0', user.len))
		return false;
	memcpy(login->user, user.ptr, user.len);
	login->user[user.len] = '\0';
	return true;
}

/* The text of an argument with quoting taken out, into out. */
static void unquote(const struct arguments *args, size_t i, struct buf *out)
{
	struct span s = args->item[i];

	for (size_t k = 0; k < s.len; k++) {
		if (args->quoted[i] && s.ptr[k] == '\\' && k + 1 < s.len)
			k++;
		buf_add_char(out, s.ptr[k]);
	}
}

static enum prelogin_event do_login(struct prelogin *login, const struct arguments *args, struct buf *out)
{
	struct buf text;
	bool ok;

	if (!login->tls && !login->plain_login) {
		answer(login, out, "NO [PRIVACYREQUIRED] Login only over TLS: use STARTTLS or port 993");
		return PRELOGIN_GO_ON;
	}
	if (args->count != 4) {
		answer(login, out, "BAD LOGIN takes a user name and a password");
		return PRELOGIN_GO_ON;
	}
	buf_init(&text, PRELOGIN_COMMAND_MAX);
	unquote(args, 2, &text);
	ok = copy_user(login, buf_span(&text));
	buf_clear(&text);
	unquote(args, 3, &text);
	ok = ok && secret_set(&login->password, buf_span(&text));
	buf_fini_secret(&text);
	if (ok)
		return PRELOGIN_CHECK;
	answer(login, out, "NO [AUTHENTICATIONFAILED] User name or password too long");
	return PRELOGIN_GO_ON;
}

/* message = [authzid] NUL authcid NUL passwd (RFC 4616 section 2) */
static bool take_plain(struct prelogin *login, struct span message)
{
	size_t first = span_find(message, '\0');
	struct span rest = span_from(message, first + 1);
	size_t second = span_find(rest, '\0');
	struct span authzid = span_sub(message, 0, first), user = span_sub(rest, 0, second);
	struct span password = span_from(rest, second + 1);

	if (first == message.len || second == rest.len || password.len == 0 ||
	    memchr(password.ptr, '\0', password.len))
		return false;
	if (authzid.len > 0 && !span_eq(authzid, user))
		return false; /* nobody acts for another */
	return copy_user(login, user) && secret_set(&login->password, password);
}

static enum prelogin_event do_response(struct prelogin *login, struct span response, struct buf *out)
{
	struct buf plain;
	bool ok;

	login->authenticating = false;
	if (span_eq(response, SPAN_LIT("*"))) {
		answer(login, out, "BAD AUTHENTICATE cancelled");
		return PRELOGIN_GO_ON;
	}
	if (span_eq(response, SPAN_LIT("=")))
		response.len = 0;
	buf_init(&plain, PRELOGIN_LINE_MAX);
	ok = base64_decode(&plain, response) == 0;
	if (!ok)
		answer(login, out, "BAD The response is not base64");
	else if (!(ok = take_plain(login, buf_span(&plain))))
		answer(login, out, "NO [AUTHENTICATIONFAILED] The PLAIN response is not valid");
	buf_fini_secret(&plain);
	if (ok)
		return PRELOGIN_CHECK;
	login->errors++;
	return PRELOGIN_GO_ON;
}

static enum prelogin_event do_authenticate(struct prelogin *login, const struct arguments *args, struct buf *out)
{
	if (!login->tls && !login->plain_login) {
		answer(login, out, "NO [PRIVACYREQUIRED] Login only over TLS: use STARTTLS or port 993");
		return PRELOGIN_GO_ON;
	}
	if (args->count < 3 || args->count > 4) {
		answer(login, out, "BAD AUTHENTICATE takes a mechanism and perhaps a response");
		return PRELOGIN_GO_ON;
	}
	if (!span_caseeq(args->item[2], SPAN_LIT("PLAIN"))) {
		answer(login, out, "NO [CANNOT] Mechanism not supported; PLAIN is");
		return PRELOGIN_GO_ON;
	}
	if (args->count == 4)
		return do_response(login, args->item[3], out);
	login->authenticating = true;
	buf_add_str(out, "+ \r\n");
	return PRELOGIN_GO_ON;
}

static enum prelogin_event do_starttls(struct prelogin *login, struct buf *out)
{
	if (login->tls || !login->tls_offered) {
		answer(login, out, login->tls ? "BAD TLS is active already" : "NO TLS is not set up here");
		return PRELOGIN_GO_ON;
	}
	answer(login, out, "OK Begin TLS negotiation now");
	return PRELOGIN_STARTTLS;
}

static enum prelogin_event dispatch(struct prelogin *login, const struct arguments *args, struct buf *out)
{
	struct span verb = args->item[1];

	if (span_caseeq(verb, SPAN_LIT("CAPABILITY"))) {
		buf_add_str(out, "* ");
		prelogin_capabilities(login, out);
		buf_add_str(out, "\r\n");
		answer(login, out, "OK CAPABILITY done");
	} else if (span_caseeq(verb, SPAN_LIT("NOOP"))) {
		answer(login, out, "OK NOOP done");
	} else if (span_caseeq(verb, SPAN_LIT("ID"))) {
		buf_add_str(out, "* ID (\"name\" \"Mailwain\")\r\n");
		answer(login, out, "OK ID done");
	} else if (span_caseeq(verb, SPAN_LIT("LOGOUT"))) {
		buf_add_str(out, "* BYE Logging out\r\n");
		answer(login, out, "OK LOGOUT done");
		return PRELOGIN_CLOSE;
	} else if (span_caseeq(verb, SPAN_LIT("STARTTLS"))) {
		return do_starttls(login, out);
	} else if (span_caseeq(verb, SPAN_LIT("LOGIN"))) {
		return do_login(login, args, out);
	} else if (span_caseeq(verb, SPAN_LIT("AUTHENTICATE"))) {
		return do_authenticate(login, args, out);
	} else {
		login->errors++;
		answer(login, out, "BAD Log in first: CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE, LOGOUT");
	}
	return PRELOGIN_GO_ON;
}

static enum prelogin_event too_much(struct buf *out, const char *why)
{
	buf_printf(out, "* BYE %s\r\n", why);
	return PRELOGIN_CLOSE;
}

static enum prelogin_event bad_line(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	size_t end = span_find(input, '\n');

	if (end == input.len)
		return input.len > PRELOGIN_LINE_MAX ? too_much(out, "Command line too long") : PRELOGIN_MORE;
	*consumed = end + 1;
	login->errors++;
	buf_add_str(out, "* BAD Malformed command\r\n");
	return PRELOGIN_GO_ON;
}

static enum prelogin_event feed_response(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	size_t end = span_find(input, '\n');
	struct span line = span_sub(input, 0, end);

	if (end == input.len)
		return input.len > PRELOGIN_LINE_MAX ? too_much(out, "Response too long") : PRELOGIN_MORE;
	*consumed = end + 1;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return do_response(login, line, out);
}

static enum prelogin_event feed_command(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	struct arguments args;
	size_t end = 0;

	switch (scan_command(input, &args, &end)) {
	case SCAN_MORE:
		return input.len > PRELOGIN_LINE_MAX + PRELOGIN_LITERAL_MAX ? too_much(out, "Command too long")
									     : PRELOGIN_MORE;
	case SCAN_CONTINUE:
		buf_add_str(out, "+ go on\r\n");
		return PRELOGIN_MORE;
	case SCAN_FATAL:
		return too_much(out, "Literal too long");
	case SCAN_BAD:
		login->tag[0] = '\0';
		return bad_line(login, input, consumed, out);
	case SCAN_OK:
		break;
	}
	*consumed = end;
	login->tag[0] = '\0';
	if (args.count < 2 || !tag_is_good(args.item[0])) {
		login->errors++;
		buf_add_str(out, "* BAD A command is a tag, a blank and a word\r\n");
		return PRELOGIN_GO_ON;
	}
	snprintf(login->tag, sizeof(login->tag), "%.*s", SPAN_ARG(args.item[0]));
	return dispatch(login, &args, out);
}

enum prelogin_event prelogin_feed(struct prelogin *login, struct span input, size_t *consumed, struct buf *out)
{
	enum prelogin_event event;

	*consumed = 0;
	if (input.len == 0)
		return PRELOGIN_MORE;
	event = login->authenticating ? feed_response(login, input, consumed, out)
				      : feed_command(login, input, consumed, out);
	if (event == PRELOGIN_GO_ON && login->errors >= PRELOGIN_ERRORS_MAX)
		return too_much(out, "Too many bad commands");
	return event;
}
