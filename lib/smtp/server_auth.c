/* AUTH (RFC 4954): the lines of the exchange. What is in them is the owner's. */
#include "smtp/server_private.h"

#include "base/encode.h"

/* Section 4: the code says why a client should not try it again like this. */
static void refuse_line(struct smtp_server *s, enum sasl_line line)
{
	switch (line) {
	case SASL_LINE_CANCEL:
		smtp_refuse(s, 501, "5.7.0", "AUTH cancelled");
		return;
	case SASL_LINE_TOO_LONG:
		smtp_refuse(s, 500, "5.5.6", "The response is too long");
		return;
	case SASL_LINE_STARVED:
		smtp_refuse(s, 454, "4.7.0", "The login cannot be checked now; try again later");
		return;
	default:
		smtp_refuse(s, 501, "5.5.2", "The response is not base64");
	}
}

static bool may_authenticate(struct smtp_server *s)
{
	if (!s->config.submission)
		smtp_refuse(s, 502, "5.5.1", "no logins on this port; submit mail on 587 or 465");
	else if (s->state != SMTP_READY)
		smtp_refuse(s, 503, "5.5.1", "AUTH is out of order: EHLO first, and not within a transaction");
	else if (s->authenticated)
		smtp_refuse(s, 503, "5.5.1", "somebody is logged in already");
	else if (!s->tls && !s->config.plain_login)
		smtp_refuse(s, 538, "5.7.11", "Login only over TLS: use STARTTLS or port 465");
	else
		return true;
	return false;
}

static struct sasl_terms terms(const struct smtp_server *s)
{
	return (struct sasl_terms){.bound = s->bound, .certificate = s->certificate, .bearer = s->config.bearer, .withheld = s->config.withheld};
}

bool smtp_server_plus_offered(const struct smtp_server *s)
{
	return sasl_plus_is_offered(terms(s));
}

static void put_offers(struct smtp_server *s, const char *keyword, struct sasl_terms terms)
{
	if (!sasl_any_is_offered(terms))
		return;
	buf_printf(s->out, "250-%s", keyword);
	sasl_put_offers(s->out, " ", terms);
	buf_add_str(s->out, "\r\n");
}

/*
 * mutt 2.2 takes the last list that it reads, of that the best mechanism of GNU SASL's, and gives up when it cannot do that: of -PLUS it knows
 * the name alone. So it reads the others once more. Who tells lists by the keyword in capitals (GNU SASL's own client), takes the first or
 * adds them up does not miss the -PLUS; letter case means nothing in keywords (RFC 5321 section 2.4).
 */
void smtp_offer_auth(struct smtp_server *s)
{
	struct sasl_terms unbound = terms(s);

	unbound.bound = false;
	put_offers(s, "AUTH", terms(s));
	if (smtp_server_plus_offered(s))
		put_offers(s, "auth", unbound);
}

void smtp_command_auth(struct smtp_server *s, struct span args)
{
	struct span name, response;
	enum sasl_mechanism mechanism;
	struct buf decoded;
	enum sasl_line line = SASL_LINE_OK;
	bool initial;

	if (!may_authenticate(s))
		return;
	args = span_trim(args);
	name = span_sub(args, 0, span_find(args, ' '));
	response = span_trim(span_from(args, name.len));
	initial = response.len > 0;
	if (!sasl_mechanism_find(name, &mechanism) || !sasl_mechanism_is_offered(mechanism, terms(s))) {
		smtp_refuse(s, 504, "5.5.4", "The mechanism is not one of those that EHLO names");
		return;
	}
	buf_init(&decoded, SASL_RESPONSE_MAX);
	if (initial)
		line = sasl_line_decode(response, true, &decoded);
	if (line == SASL_LINE_OK) {
		smtp_set_state(s, SMTP_WAIT_AUTH);
		s->callbacks->auth(s->arg, s, mechanism, initial ? &decoded : NULL);
	} else {
		refuse_line(s, line);
	}
	buf_fini_secret(&decoded);
}

/* The client's line ends the exchange. */
void smtp_auth_give_up(struct smtp_server *s, enum sasl_line why)
{
	smtp_set_state(s, SMTP_READY);
	s->callbacks->auth_cancel(s->arg, s);
	refuse_line(s, why);
}

void smtp_auth_line(struct smtp_server *s, struct span text)
{
	struct buf decoded;
	enum sasl_line line;

	buf_init(&decoded, SASL_RESPONSE_MAX);
	line = sasl_line_decode(text, false, &decoded);
	if (line == SASL_LINE_OK) {
		smtp_set_state(s, SMTP_WAIT_AUTH);
		s->callbacks->auth_response(s->arg, s, buf_span(&decoded));
	} else {
		smtp_auth_give_up(s, line);
	}
	buf_fini_secret(&decoded);
}

void smtp_server_auth_challenge(struct smtp_server *s, struct span challenge)
{
	smtp_set_state(s, SMTP_AUTH);
	buf_add_str(s->out, "334 ");
	base64_encode(s->out, challenge);
	buf_add_str(s->out, "\r\n");
}

void smtp_server_auth_done(struct smtp_server *s, int code, struct span text)
{
	smtp_set_state(s, SMTP_READY);
	s->authenticated = code == 0;
	if (code == 0)
		smtp_reply(s, 235, "2.7.0", "Authenticated");
	else if (code == E_AUTHFAILED)
		smtp_refuse(s, 535, "5.7.8", "%.*s", SPAN_ARG(text));
	else if (code == E_SYNTAX)
		smtp_refuse(s, 501, "5.5.2", "%.*s", SPAN_ARG(text));
	else
		smtp_refuse(s, 454, "4.7.0", "%.*s", SPAN_ARG(text));
}
