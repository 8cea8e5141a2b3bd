/* OAUTHBEARER (RFC 7628) and XOAUTH2, which came before it: a token stands for the password. */
#include "sasl/private.h"

#include "base/json.h"

/* RFC 6750 section 2.1: b64token */
static bool is_token(struct span token)
{
	for (size_t i = 0; i < token.len; i++)
		if (!ascii_is_alnum(token.ptr[i]) && strchr("-._~+/=", token.ptr[i]) == NULL)
			return false;
	return token.len > 0 && span_find(token, '\0') == token.len;
}

static enum sasl_step take_token(struct sasl *s, struct span value)
{
	if (!span_startscase(value, SPAN_LIT("Bearer ")))
		return SASL_MALFORMED;
	value = span_trim(span_from(value, strlen("Bearer ")));
	if (!is_token(value))
		return SASL_MALFORMED;
	buf_add_span(&s->secret, value);
	return buf_failed(&s->secret) ? SASL_STARVED : sasl_ask(s, SASL_TOKEN);
}

/* key=value pairs, each ended by ^A; one more ^A ends them. Only "auth" matters here, once. */
static enum sasl_step take_pairs(struct sasl *s, struct span rest)
{
	struct span value = {0};

	for (;;) {
		size_t end = span_find(rest, '\001'), equals;
		struct span pair = span_sub(rest, 0, end);

		if (end == rest.len)
			return SASL_MALFORMED;
		rest = span_from(rest, end + 1);
		if (pair.len == 0)
			break;
		equals = span_find(pair, '=');
		if (equals == pair.len || equals == 0)
			return SASL_MALFORMED;
		if (!span_eq(span_sub(pair, 0, equals), SPAN_LIT("auth")))
			continue;
		if (value.ptr != NULL)
			return SASL_MALFORMED;
		value = span_from(pair, equals + 1);
	}
	return rest.len > 0 || value.ptr == NULL ? SASL_MALFORMED : take_token(s, value);
}

/* gs2-header kvsep *kvpair kvsep (RFC 7628 section 3.1); "n,a=user,": no channel binding is defined for it. */
static enum sasl_step oauthbearer(struct sasl *s, struct span response)
{
	size_t end;

	if (!span_startswith(response, SPAN_LIT("n,")) && !span_startswith(response, SPAN_LIT("y,")))
		return SASL_MALFORMED;
	response = span_from(response, 2);
	end = span_find(response, ',');
	if (end == response.len)
		return SASL_MALFORMED;
	if (end > 0 && (!span_startswith(response, SPAN_LIT("a=")) || !sasl_take_saslname(span_sub(response, 2, end - 2), s->user)))
		return SASL_MALFORMED;
	response = span_from(response, end + 1);
	return span_startswith(response, SPAN_LIT("\001")) ? take_pairs(s, span_from(response, 1)) : SASL_MALFORMED;
}

/* "user=" name ^A "auth=Bearer " token ^A ^A */
static enum sasl_step xoauth2(struct sasl *s, struct span response)
{
	size_t end = span_find(response, '\001');

	if (!span_startswith(response, SPAN_LIT("user=")) || !sasl_take_name(span_sub(response, 5, end - 5), s->user))
		return SASL_MALFORMED;
	return take_pairs(s, span_from(response, end + 1));
}

/* After a refusal the client answers what it was told, and the exchange fails (RFC 7628 section 3.2.3). */
enum sasl_step bearer_respond(struct sasl *s, struct span response)
{
	if (s->turn > 0)
		return SASL_WRONG;
	return s->mechanism == SASL_OAUTHBEARER ? oauthbearer(s, response) : xoauth2(s, response);
}

static void add_member(struct buf *out, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	buf_printf(out, "%c\"%s\":", buf_len(out) == 0 ? '{' : ',', name);
	json_add_string(out, value);
}

/* RFC 7628 section 3.2.2; XOAUTH2 has a status of HTTP, as its first server has. */
enum sasl_step bearer_refused(struct sasl *s, const struct sasl_refusal *refusal)
{
	bool standard = s->mechanism == SASL_OAUTHBEARER;

	buf_clear(&s->challenge);
	add_member(&s->challenge, "status", standard ? span_str(refusal->status) : SPAN_LIT("401"));
	if (!standard)
		add_member(&s->challenge, "schemes", SPAN_LIT("bearer"));
	add_member(&s->challenge, "scope", refusal->scope);
	if (standard)
		add_member(&s->challenge, "openid-configuration", refusal->configuration);
	buf_add_char(&s->challenge, '}');
	return sasl_challenge_made(s);
}
