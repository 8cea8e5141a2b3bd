/* PLAIN, LOGIN and EXTERNAL: the client says who it is, and how it can be known. */
#include "sasl/private.h"

static enum sasl_step ask_password(struct sasl *s, struct span password)
{
	if (s->user[0] == '\0' || password.len == 0 || password.len > SASL_PASSWORD_MAX || span_find(password, '\0') != password.len)
		return SASL_MALFORMED;
	buf_add_span(&s->secret, password);
	return buf_failed(&s->secret) ? SASL_STARVED : sasl_ask(s, SASL_PASSWORD);
}

/* message = [authzid] NUL authcid NUL passwd (RFC 4616 section 2) */
enum sasl_step plain_respond(struct sasl *s, struct span response)
{
	size_t first = span_find(response, '\0'), second;
	struct span rest = span_from(response, first + 1);

	if (s->turn > 0 || first == response.len)
		return SASL_MALFORMED;
	second = span_find(rest, '\0');
	if (second == rest.len || !sasl_take_name(span_sub(response, 0, first), s->authzid) || !sasl_take_name(span_sub(rest, 0, second), s->user))
		return SASL_MALFORMED;
	return ask_password(s, span_from(rest, second + 1));
}

/* The prompts are those that Outlook compares, without their final NUL, as everybody sends them. */
enum sasl_step login_begin(struct sasl *s)
{
	buf_add_str(&s->challenge, "Username:");
	return sasl_challenge_made(s);
}

enum sasl_step login_respond(struct sasl *s, struct span response)
{
	if (s->turn == 0) {
		if (response.len == 0 || !sasl_take_name(response, s->user))
			return SASL_MALFORMED;
		buf_add_str(&s->challenge, "Password:");
		return sasl_challenge_made(s);
	}
	return s->turn == 1 ? ask_password(s, response) : SASL_MALFORMED;
}

/* The response is the identity to act as, or empty: then it is the certificate's own (RFC 4422 appendix A.1). */
enum sasl_step external_respond(struct sasl *s, struct span response)
{
	if (s->turn > 0 || !sasl_take_name(response, s->authzid))
		return SASL_MALFORMED;
	if (s->certificate[0] == '\0')
		return SASL_WRONG;
	(void)sasl_take_name(span_str(s->certificate), s->user);
	return sasl_ask(s, SASL_IDENTITY);
}
