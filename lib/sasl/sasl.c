/* The engine: which mechanism, and in which order its steps may come. */
#include "sasl/private.h"

#include <stdlib.h>

static size_t take_binding(struct span from, unsigned char out[SASL_BINDING_MAX])
{
	if (from.len > SASL_BINDING_MAX)
		return 0;
	if (from.len > 0)
		memcpy(out, from.ptr, from.len);
	return from.len;
}

struct sasl *sasl_new(enum sasl_mechanism mechanism, const struct sasl_channel *channel)
{
	struct sasl *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->mechanism = mechanism;
	s->plus_offered = channel->plus_offered;
	s->exporter_len = take_binding(channel->exporter, s->exporter);
	s->unique_len = take_binding(channel->unique, s->unique);
	s->endpoint_len = take_binding(channel->endpoint, s->endpoint);
	(void)sasl_take_name(channel->certificate, s->certificate);
	buf_init(&s->secret, SASL_RESPONSE_MAX);
	buf_init(&s->challenge, SASL_CHALLENGE_MAX);
	buf_init(&s->first_bare, SASL_RESPONSE_MAX);
	buf_init(&s->server_first, SASL_CHALLENGE_MAX);
	buf_init(&s->header, SASL_RESPONSE_MAX);
	return s;
}

void sasl_free(struct sasl **sp)
{
	struct sasl *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	buf_fini_secret(&s->secret);
	buf_fini(&s->challenge);
	buf_fini(&s->first_bare);
	buf_fini(&s->server_first);
	buf_fini(&s->header);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

bool sasl_take_name(struct span name, char out[SASL_USER_MAX + 1])
{
	out[0] = '\0';
	if (name.len > SASL_USER_MAX || span_find(name, '\0') != name.len)
		return false;
	span_copy(name, out, SASL_USER_MAX + 1);
	return true;
}

/* saslname (RFC 5801 section 4): "=2C" and "=3D" stand for what would end it. */
bool sasl_take_saslname(struct span in, char out[SASL_USER_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '=') {
			if (span_startswith(span_from(in, i), SPAN_LIT("=2C")))
				c = ',';
			else if (!span_startswith(span_from(in, i), SPAN_LIT("=3D")))
				return false;
			i += 2;
		}
		if (c == '\0' || n == SASL_USER_MAX)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

enum sasl_step sasl_ask(struct sasl *s, enum sasl_step question)
{
	s->asked = true;
	return question;
}

enum sasl_step sasl_challenge_made(struct sasl *s)
{
	return buf_failed(&s->challenge) ? SASL_STARVED : SASL_CHALLENGE;
}

enum sasl_step sasl_begin(struct sasl *s)
{
	buf_clear(&s->challenge);
	return s->mechanism == SASL_LOGIN ? login_begin(s) : SASL_CHALLENGE;
}

static enum sasl_step respond(struct sasl *s, struct span response)
{
	switch (s->mechanism) {
	case SASL_PLAIN:
		return plain_respond(s, response);
	case SASL_LOGIN:
		return login_respond(s, response);
	case SASL_EXTERNAL:
		return external_respond(s, response);
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_1_PLUS:
	case SASL_SCRAM_SHA_256:
	case SASL_SCRAM_SHA_256_PLUS:
		return scram_respond(s, response);
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
		return bearer_respond(s, response);
	case SASL_MECHANISMS:
		break;
	}
	return SASL_MALFORMED;
}

enum sasl_step sasl_respond(struct sasl *s, struct span response)
{
	enum sasl_step step;

	if (s->asked || response.len > SASL_RESPONSE_MAX)
		return SASL_MALFORMED;
	buf_clear(&s->challenge);
	step = respond(s, response);
	s->turn++;
	return step;
}

static bool is_bearer(const struct sasl *s)
{
	return s->mechanism == SASL_OAUTHBEARER || s->mechanism == SASL_XOAUTH2;
}

enum sasl_step sasl_decide(struct sasl *s, bool right)
{
	if (!s->asked)
		return SASL_MALFORMED;
	s->asked = false;
	if (right)
		return SASL_DONE;
	return is_bearer(s) ? bearer_refused(s, &(struct sasl_refusal){.status = "invalid_token"}) : SASL_WRONG;
}

enum sasl_step sasl_refuse_token(struct sasl *s, const struct sasl_refusal *refusal)
{
	if (!s->asked || !is_bearer(s))
		return SASL_MALFORMED;
	s->asked = false;
	return bearer_refused(s, refusal);
}

enum sasl_step sasl_keys(struct sasl *s, const struct scram_keys *keys)
{
	if (!s->asked || keys->size != scram_size(s->mechanism))
		return SASL_MALFORMED;
	s->asked = false;
	return scram_keys_given(s, keys);
}

struct span sasl_challenge(const struct sasl *s)
{
	return buf_span(&s->challenge);
}

struct span sasl_user(const struct sasl *s)
{
	return span_str(s->user);
}

struct span sasl_authzid(const struct sasl *s)
{
	return span_str(s->authzid);
}

struct span sasl_secret(const struct sasl *s)
{
	return buf_span(&s->secret);
}
