/* AUTH (RFC 4954), the client's side. What is said within it is lib/sasl's. */
#include "smtp/client_private.h"

#include "base/encode.h"

enum { AUTH_LINE_MAX = 512 }; /* with a first response in it (section 4) */

/* The best that both have: what proves the server too, then what hides the password. */
static const enum sasl_mechanism preferred[] = {SASL_SCRAM_SHA_256_PLUS, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1_PLUS, SASL_SCRAM_SHA_1, SASL_PLAIN,
    SASL_LOGIN};

static bool has(uint32_t mechanisms, enum sasl_mechanism mechanism)
{
	return mechanisms & UINT32_C(1) << mechanism;
}

static bool is_plus(enum sasl_mechanism mechanism)
{
	return mechanism == SASL_SCRAM_SHA_1_PLUS || mechanism == SASL_SCRAM_SHA_256_PLUS;
}

static bool choose(const struct smtp_client *c, enum sasl_mechanism *out)
{
	uint32_t mechanisms = c->offers.mechanisms & ~c->refused_mechanisms;
	bool bound = c->exporter_len > 0 || c->endpoint_len > 0;

	if (c->login_is_token) {
		*out = SASL_XOAUTH2;
		return has(mechanisms, SASL_XOAUTH2);
	}
	for (size_t i = 0; i < sizeof(preferred) / sizeof(preferred[0]); i++) {
		*out = preferred[i];
		if (has(mechanisms, *out) && (bound || !is_plus(*out)))
			return true;
	}
	return false;
}

static void say_response(struct smtp_client *c, struct span response)
{
	base64_encode(c->out, response);
	buf_add_str(c->out, "\r\n");
}

/* Section 4: a first response goes with the command when the line has room for it. */
static void say_auth(struct smtp_client *c, const struct buf *initial, bool has_initial)
{
	const char *name = sasl_mechanism_name(c->mechanism);
	size_t line = strlen("AUTH ") + strlen(name) + 1 + (buf_len(initial) + 2) / 3 * 4 + 2;

	c->initial_held = has_initial && line > AUTH_LINE_MAX;
	buf_printf(c->out, "AUTH %s", name);
	if (has_initial && !c->initial_held) {
		buf_add_char(c->out, ' ');
		base64_encode(c->out, buf_span(initial));
	}
	buf_add_str(c->out, "\r\n");
	client_set_state(c, CLIENT_AUTH);
}

static struct sasl_client *new_exchange(struct smtp_client *c)
{
	uint32_t offered = c->offers.mechanisms;
	const struct sasl_channel channel = {
	    .plus_offered = has(offered, SASL_SCRAM_SHA_1_PLUS) || has(offered, SASL_SCRAM_SHA_256_PLUS),
	    .exporter = span_of(c->exporter, c->exporter_len),
	    .endpoint = span_of(c->endpoint, c->endpoint_len),
	};

	return sasl_client_new(c->mechanism, buf_span(&c->user), buf_span(&c->password), &channel);
}

static void begin(struct smtp_client *c)
{
	struct buf initial;
	struct err err = {0};
	bool has_initial;
	int r;

	sasl_client_free(&c->sasl);
	c->sasl = new_exchange(c);
	buf_init(&initial, SASL_RESPONSE_MAX);
	r = c->sasl == NULL ? err_set(&err, E_NOMEM, "No memory to log in") : sasl_client_begin(c->sasl, &initial, &has_initial, &err);
	if (r == 0)
		say_auth(c, &initial, has_initial);
	else
		client_fail(c, r, NULL, "%s", err.text);
	buf_fini_secret(&initial);
}

void client_login(struct smtp_client *c)
{
	if (!c->tls && !c->login_in_clear)
		client_fail(c, E_DENIED, NULL, "There is no TLS, without which nobody logs in");
	else if (!choose(c, &c->mechanism))
		client_fail(c, E_UNSUPPORTED, NULL, "The server offers no way to log in that is known here%s", c->login_is_token ? " and takes a token" : "");
	else
		begin(c);
}

/* The server's line is base64; the first response that was held back answers an empty one. */
static void answer_challenge(struct smtp_client *c, struct span line)
{
	struct buf challenge, response;
	struct err err = {0};
	int r = 0;

	buf_init(&challenge, SASL_RESPONSE_MAX);
	buf_init(&response, SASL_RESPONSE_MAX);
	if (base64_decode(&challenge, span_trim(line)) != 0)
		r = err_set(&err, challenge.starved ? E_NOMEM : E_REMOTE, "The server's challenge is not base64");
	else if (c->initial_held && buf_len(&challenge) > 0)
		r = err_set(&err, E_REMOTE, "The server's first challenge is not empty");
	else if (c->initial_held)
		r = sasl_client_repeat(c->sasl, &response, &err);
	else
		r = sasl_client_respond(c->sasl, buf_span(&challenge), &response, &err);
	c->initial_held = false;
	if (r == 0)
		say_response(c, buf_span(&response));
	else
		client_fail(c, r, NULL, "%s", err.text);
	buf_fini_secret(&challenge);
	buf_fini_secret(&response);
}

static void logged_in(struct smtp_client *c)
{
	struct err err = {0};
	int r = sasl_client_finish(c->sasl, &err);

	if (r != 0) {
		client_fail(c, r, NULL, "%s", err.text);
		return;
	}
	sasl_client_free(&c->sasl);
	client_ready(c);
}

/* Section 4: 504 the mechanism, 534 too weak, 538 only with TLS. Each is tried once. */
static bool is_about_mechanism(int code)
{
	return code == 504 || code == 534 || code == 538;
}

static void refused(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	int code = client_code_of(reply);

	c->refused_mechanisms |= UINT32_C(1) << c->mechanism;
	if (is_about_mechanism(reply->code) && choose(c, &c->mechanism))
		begin(c);
	else if (code == E_CANNOT)
		client_fail(c, E_AUTHFAILED, reply, "The server refuses the login: %d %.200s", reply->code, reply->text);
	else
		client_fail_by_reply(c, reply, "AUTH");
}

void client_auth_answered(struct smtp_client *c, const struct smtp_client_reply *reply, struct span line)
{
	switch (reply->code) {
	case 235:
		logged_in(c);
		break;
	case 334:
		answer_challenge(c, line);
		break;
	default:
		refused(c, reply);
	}
}
