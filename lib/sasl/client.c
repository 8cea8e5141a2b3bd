/* The client's engine, and the mechanisms that only say what they know. */
#include "sasl/client_private.h"

#include <stdlib.h>

static size_t take_binding(struct span from, unsigned char out[SASL_BINDING_MAX])
{
	if (from.len > SASL_BINDING_MAX)
		return 0;
	if (from.len > 0)
		memcpy(out, from.ptr, from.len);
	return from.len;
}

static bool is_ours(enum sasl_mechanism mechanism)
{
	return mechanism == SASL_PLAIN || mechanism == SASL_LOGIN || mechanism == SASL_XOAUTH2 || scram_size(mechanism) > 0;
}

struct sasl_client *sasl_client_new(enum sasl_mechanism mechanism, struct span user, struct span password, const struct sasl_channel *channel)
{
	struct sasl_client *c = is_ours(mechanism) ? calloc(1, sizeof(*c)) : NULL;

	if (c == NULL)
		return NULL;
	c->mechanism = mechanism;
	c->plus_offered = channel->plus_offered;
	c->exporter_len = take_binding(channel->exporter, c->exporter);
	c->endpoint_len = take_binding(channel->endpoint, c->endpoint);
	buf_init(&c->user, SASL_USER_MAX);
	buf_init(&c->password, mechanism == SASL_XOAUTH2 ? SASL_RESPONSE_MAX : SASL_PASSWORD_MAX);
	buf_init(&c->initial, SASL_RESPONSE_MAX);
	buf_init(&c->header, SASL_RESPONSE_MAX);
	buf_init(&c->binding, SASL_RESPONSE_MAX);
	buf_init(&c->bare, SASL_RESPONSE_MAX);
	buf_add_span(&c->user, user);
	buf_add_span(&c->password, password);
	if (buf_failed(&c->user) || buf_failed(&c->password))
		sasl_client_free(&c);
	return c;
}

void sasl_client_free(struct sasl_client **cp)
{
	struct sasl_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	buf_fini_secret(&c->user);
	buf_fini_secret(&c->password);
	buf_fini_secret(&c->initial);
	buf_fini(&c->header);
	buf_fini(&c->binding);
	buf_fini(&c->bare);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

static int made(const struct buf *out, struct err *err)
{
	if (!buf_failed(out))
		return 0;
	return out->starved ? err_set(err, E_NOMEM, "No memory to log in") : err_set(err, E_TOOBIG, "A response of the login is too long");
}

static bool has_octet(const struct buf *text, char octet)
{
	return span_find(buf_span(text), octet) < buf_len(text);
}

static int bad_login(struct err *err)
{
	return err_set(err, E_SYNTAX, "The user or the password cannot be sent: a character of it has a meaning in the login");
}

/* message = [authzid] NUL authcid NUL passwd (RFC 4616 section 2) */
static int begin_plain(struct sasl_client *c, struct err *err)
{
	if (has_octet(&c->user, '\0') || has_octet(&c->password, '\0'))
		return bad_login(err);
	buf_add_char(&c->initial, '\0');
	buf_add_span(&c->initial, buf_span(&c->user));
	buf_add_char(&c->initial, '\0');
	buf_add_span(&c->initial, buf_span(&c->password));
	return 0;
}

/* "user=" name ^A "auth=Bearer " token ^A ^A */
static int begin_xoauth2(struct sasl_client *c, struct err *err)
{
	if (has_octet(&c->user, '\001') || has_octet(&c->password, '\001'))
		return bad_login(err);
	buf_add_str(&c->initial, "user=");
	buf_add_span(&c->initial, buf_span(&c->user));
	buf_add_str(&c->initial, "\001auth=Bearer ");
	buf_add_span(&c->initial, buf_span(&c->password));
	buf_add_str(&c->initial, "\001\001");
	return 0;
}

int sasl_client_begin(struct sasl_client *c, struct buf *out, bool *has_initial, struct err *err)
{
	int r = 0;

	*has_initial = c->mechanism != SASL_LOGIN;
	if (c->mechanism == SASL_PLAIN)
		r = begin_plain(c, err);
	else if (c->mechanism == SASL_XOAUTH2)
		r = begin_xoauth2(c, err);
	else if (c->mechanism != SASL_LOGIN)
		r = scram_client_begin(c, err);
	if (r == 0)
		r = made(&c->initial, err);
	return r == 0 ? sasl_client_repeat(c, out, err) : r;
}

int sasl_client_repeat(const struct sasl_client *c, struct buf *out, struct err *err)
{
	buf_add_span(out, buf_span(&c->initial));
	return made(out, err);
}

static int out_of_turn(struct err *err)
{
	return err_set(err, E_REMOTE, "The server does not keep to the order of the login");
}

/* Whatever the prompts say: first the name, then the password. */
static int answer_prompt(const struct sasl_client *c, struct buf *out, struct err *err)
{
	if (c->turn > 1)
		return out_of_turn(err);
	buf_add_span(out, buf_span(c->turn == 0 ? &c->user : &c->password));
	return 0;
}

/* A challenge of XOAUTH2 is why the token was refused; the server refuses it when that was answered. */
static int answer_xoauth2(const struct sasl_client *c, struct err *err)
{
	return c->turn == 0 ? 0 : out_of_turn(err);
}

int sasl_client_respond(struct sasl_client *c, struct span challenge, struct buf *out, struct err *err)
{
	int r;

	if (c->failed)
		return out_of_turn(err);
	if (challenge.len > SASL_RESPONSE_MAX || c->mechanism == SASL_PLAIN)
		r = out_of_turn(err);
	else if (c->mechanism == SASL_LOGIN)
		r = answer_prompt(c, out, err);
	else if (c->mechanism == SASL_XOAUTH2)
		r = answer_xoauth2(c, err);
	else
		r = scram_client_respond(c, challenge, out, err);
	c->turn++;
	r = r == 0 ? made(out, err) : r;
	c->failed = r != 0;
	return r;
}

int sasl_client_finish(const struct sasl_client *c, struct err *err)
{
	if (scram_size(c->mechanism) > 0 && !c->proved)
		return err_set(err, E_DENIED, "The server lets us in without having shown that it knows the password");
	if (c->failed || (c->mechanism == SASL_LOGIN && c->turn != 2))
		return out_of_turn(err);
	return c->mechanism == SASL_XOAUTH2 && c->turn > 0 ? out_of_turn(err) : 0;
}
