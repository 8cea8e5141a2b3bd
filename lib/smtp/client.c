/* The engine: states, replies, events. */
#include "smtp/client_private.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Which state may follow which: bit n of row m is set when n may follow m. CLIENT_ENDED may follow any. */
#define B(x) (1U << (x))
static const unsigned legal[CLIENT_STATES] = {
    [CLIENT_GREETING] = B(CLIENT_HELLO),
    [CLIENT_HELLO] = B(CLIENT_HELO) | B(CLIENT_STARTTLS) | B(CLIENT_AUTH) | B(CLIENT_IDLE),
    [CLIENT_HELO] = B(CLIENT_IDLE),
    [CLIENT_STARTTLS] = B(CLIENT_TLS) | B(CLIENT_AUTH) | B(CLIENT_IDLE),
    [CLIENT_TLS] = B(CLIENT_HELLO),
    [CLIENT_AUTH] = B(CLIENT_AUTH) | B(CLIENT_IDLE),
    [CLIENT_IDLE] = B(CLIENT_ENVELOPE) | B(CLIENT_QUIT),
    [CLIENT_ENVELOPE] = B(CLIENT_CONTENT) | B(CLIENT_DRAIN) | B(CLIENT_RSET) | B(CLIENT_IDLE) | B(CLIENT_QUIT),
    [CLIENT_CONTENT] = B(CLIENT_END),
    [CLIENT_END] = B(CLIENT_IDLE) | B(CLIENT_RSET) | B(CLIENT_QUIT),
    [CLIENT_DRAIN] = B(CLIENT_RSET),
    [CLIENT_RSET] = B(CLIENT_IDLE) | B(CLIENT_QUIT),
    [CLIENT_QUIT] = 0,
    [CLIENT_ENDED] = 0,
};

void client_set_state(struct smtp_client *c, enum client_state state)
{
	invariant(state == CLIENT_ENDED || (legal[c->state] & B(state)));
	c->state = state;
}

/* ---- birth and death ---- */

static size_t take_binding(struct span from, unsigned char out[SASL_BINDING_MAX])
{
	if (from.len > SASL_BINDING_MAX)
		return 0;
	if (from.len > 0)
		memcpy(out, from.ptr, from.len);
	return from.len;
}

static void take_channel(struct smtp_client *c, const struct sasl_channel *channel)
{
	c->exporter_len = take_binding(channel->exporter, c->exporter);
	c->endpoint_len = take_binding(channel->endpoint, c->endpoint);
}

struct smtp_client *smtp_client_new(const struct smtp_client_config *config, struct buf *out)
{
	struct smtp_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->out = out;
	c->lmtp = config->lmtp;
	c->tls = config->tls_done;
	c->want_tls = config->tls;
	span_copy(config->helo, c->helo, sizeof(c->helo));
	if (config->tls_done)
		take_channel(c, &config->channel);
	c->login = config->login.user.len > 0;
	c->login_in_clear = config->login.in_clear;
	c->login_is_token = config->login.is_token;
	buf_init(&c->user, SASL_USER_MAX);
	buf_init(&c->password, SASL_RESPONSE_MAX);
	buf_add_span(&c->user, config->login.user);
	buf_add_span(&c->password, config->login.password);
	if (buf_failed(&c->user) || buf_failed(&c->password))
		smtp_client_free(&c);
	return c;
}

void smtp_client_free(struct smtp_client **cp)
{
	struct smtp_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	pool_free(&c->tx.pool);
	sasl_client_free(&c->sasl);
	buf_fini_secret(&c->user);
	buf_fini_secret(&c->password);
	explicit_bzero(c, sizeof(*c));
	free(c);
}

/* ---- the end ---- */

static const struct smtp_client_reply no_reply;

static void end_well(struct smtp_client *c)
{
	client_set_state(c, CLIENT_ENDED);
	err_set(&c->failure, 0, "closed");
}

void client_fail(struct smtp_client *c, int code, const struct smtp_client_reply *reply, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	if (c->state == CLIENT_ENDED)
		return;
	if (c->state == CLIENT_QUIT) { /* whatever it says to that */
		end_well(c);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&c->failure, code, "%s", text);
	c->failure_reply = reply != NULL ? *reply : no_reply;
	client_judge_rest(c, code, reply);
	client_set_state(c, CLIENT_ENDED);
	sasl_client_free(&c->sasl);
}

int client_code_of(const struct smtp_client_reply *reply)
{
	return reply->code >= 500 ? E_CANNOT : reply->code >= 400 ? E_UNAVAILABLE : E_REMOTE;
}

void client_fail_by_reply(struct smtp_client *c, const struct smtp_client_reply *reply, const char *command)
{
	int code = client_code_of(reply);

	client_fail(c, code, reply, code == E_REMOTE ? "The server broke the protocol: it answers %s with %d %.200s" : "The server refuses %s: %d %.200s",
	    command, reply->code, reply->text);
}

static void say_quit(struct smtp_client *c)
{
	buf_add_str(c->out, "QUIT\r\n");
	client_set_state(c, CLIENT_QUIT);
}

void client_say_rset(struct smtp_client *c)
{
	buf_add_str(c->out, "RSET\r\n");
	client_set_state(c, CLIENT_RSET);
}

void smtp_client_quit(struct smtp_client *c)
{
	if (c->state == CLIENT_IDLE)
		say_quit(c);
	else if (c->state != CLIENT_QUIT)
		client_fail(c, E_CLOSED, NULL, "The connection was given up");
}

void smtp_client_ended(struct smtp_client *c, int code, const struct err *why)
{
	client_fail(c, code, NULL, "%s", why != NULL && why->text[0] != '\0' ? why->text : err_text(code));
}

void smtp_client_abandon(struct smtp_client *c, const struct err *why)
{
	if (c->state == CLIENT_CONTENT)
		client_fail(c, why->code, NULL, "%s", why->text);
}

/* RFC 9422: how many transactions a connection may have. */
void client_ready(struct smtp_client *c)
{
	c->was_ready = true;
	if (c->offers.mail_max > 0 && c->transactions >= c->offers.mail_max) {
		say_quit(c);
		return;
	}
	client_set_state(c, CLIENT_IDLE);
}

/* ---- replies ---- */

static void reset_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	if (reply->code / 100 == 2)
		client_ready(c);
	else
		client_fail_by_reply(c, reply, "RSET");
}

/* RFC 5321 section 3.8: the server may say 421 at any time, and is gone. */
static bool is_farewell(const struct smtp_client *c, const struct smtp_client_reply *reply)
{
	return reply->code == 421 && c->state != CLIENT_QUIT;
}

static void take_farewell(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	client_fail(c, E_UNAVAILABLE, reply, "The server closes the connection: 421 %.200s", reply->text);
}

static void take_reply(struct smtp_client *c, const struct smtp_client_reply *reply, struct span line)
{
	switch (c->state) {
	case CLIENT_GREETING:
		client_greeted(c, reply);
		break;
	case CLIENT_HELLO:
		client_hello_answered(c, reply);
		break;
	case CLIENT_HELO:
		client_helo_answered(c, reply);
		break;
	case CLIENT_STARTTLS:
		client_starttls_answered(c, reply);
		break;
	case CLIENT_AUTH:
		client_auth_answered(c, reply, line);
		break;
	case CLIENT_ENVELOPE:
		client_envelope_answered(c, reply);
		break;
	case CLIENT_CONTENT:
		client_content_interrupted(c, reply);
		break;
	case CLIENT_END:
		client_end_answered(c, reply);
		break;
	case CLIENT_DRAIN:
		client_say_rset(c);
		break;
	case CLIENT_RSET:
		reset_answered(c, reply);
		break;
	case CLIENT_QUIT:
		end_well(c);
		break;
	case CLIENT_IDLE:
		client_fail(c, E_REMOTE, reply, "The server says something that nobody asked for: %d %.200s", reply->code, reply->text);
		break;
	case CLIENT_TLS:
	case CLIENT_ENDED:
	case CLIENT_STATES:
		break;
	}
}

/* One line. False when more input is needed, or the session has ended. */
static bool step(struct smtp_client *c, struct span *input)
{
	bool first = c->reader.lines == 0, last;
	struct err err = {0};
	struct span line;
	int r;

	if (input->len == 0)
		return false;
	r = smtp_reply_next(&c->reader, input, &line, &last, &err);
	if (r < 0) {
		client_fail(c, r, NULL, "%s", err.text);
		return false;
	}
	if (r == 0)
		return false;
	if (c->state == CLIENT_HELLO && c->reader.reply.code == 250)
		client_take_offer(c, line, first);
	if (last && is_farewell(c, &c->reader.reply))
		take_farewell(c, &c->reader.reply);
	else if (last)
		take_reply(c, &c->reader.reply, first ? line : (struct span){0});
	return true;
}

static enum smtp_client_event event_of(struct smtp_client *c)
{
	if (c->done_untold) {
		c->done_untold = false;
		return SMTP_CLIENT_DONE;
	}
	switch (c->state) {
	case CLIENT_TLS:
		return SMTP_CLIENT_STARTTLS;
	case CLIENT_IDLE:
		return SMTP_CLIENT_READY;
	case CLIENT_CONTENT:
		return SMTP_CLIENT_CONTENT;
	case CLIENT_ENDED:
		return SMTP_CLIENT_CLOSED;
	default:
		return SMTP_CLIENT_MORE;
	}
}

/* The owner has something to do. */
static bool is_turn_of_owner(const struct smtp_client *c)
{
	return c->done_untold || c->state == CLIENT_TLS || c->state == CLIENT_ENDED;
}

/* A server that goes on talking when it is the owner's turn is found out at once. */
enum smtp_client_event smtp_client_feed(struct smtp_client *c, struct span input, size_t *consumed)
{
	struct span rest = input;

	while (!is_turn_of_owner(c) && step(c, &rest))
		;
	/* RFC 3207, and the injections of 2011 and 2021: what came along with the 220 would be read as if it had come by TLS. */
	if (c->state == CLIENT_TLS && rest.len > 0)
		client_fail(c, E_REMOTE, NULL, "The server sends something behind its answer to STARTTLS, before the handshake");
	if (buf_failed(c->out))
		client_fail(c, E_NOMEM, NULL, "There is no room for what is to be sent");
	*consumed = input.len - rest.len;
	return event_of(c);
}

void smtp_client_tls_started(struct smtp_client *c, const struct sasl_channel *channel)
{
	invariant(c->state == CLIENT_TLS);
	c->tls = true;
	c->server[0] = '\0';
	take_channel(c, channel);
	client_say_hello(c);
}

/* ---- what the owner may ask ---- */

const struct smtp_client_offers *smtp_client_offers(const struct smtp_client *c)
{
	return &c->offers;
}

int smtp_client_failure(const struct smtp_client *c, struct err *err, const struct smtp_client_reply **reply)
{
	if (err != NULL)
		*err = c->failure;
	if (reply != NULL)
		*reply = &c->failure_reply;
	return c->failure.code;
}

bool smtp_client_was_ready(const struct smtp_client *c)
{
	return c->was_ready;
}

struct span smtp_client_server_name(const struct smtp_client *c)
{
	return span_str(c->server);
}

/* RFC 5321 section 4.5.3.2; it says nothing of the others. Of QUIT nobody needs the answer. */
int smtp_client_patience_ms(const struct smtp_client *c)
{
	enum { SECOND = 1000, MINUTE = 60 * SECOND };

	switch (c->state) {
	case CLIENT_ENVELOPE:
		return c->tx.data_sent && c->tx.answered == 1 + c->tx.sent ? 2 * MINUTE : 5 * MINUTE;
	case CLIENT_CONTENT:
		return 3 * MINUTE;
	case CLIENT_END:
		return 10 * MINUTE;
	case CLIENT_DRAIN:
		return 2 * MINUTE;
	case CLIENT_RSET:
	case CLIENT_QUIT:
		return 30 * SECOND;
	default:
		return 5 * MINUTE;
	}
}
