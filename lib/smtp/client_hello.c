/* From the greeting to the point where transactions may begin: EHLO (RFC 5321 section 4.1.1.1), what it offers, STARTTLS (RFC 3207). */
#include "smtp/client_private.h"

#include "base/utf8.h"

#include <stdio.h>

/* Domain [ SP text ]: for people. What is no name is not kept. */
static void take_server_name(struct smtp_client *c, struct span line)
{
	struct span name = span_sub(line, 0, span_find(line, ' '));

	if (c->server[0] == '\0' && (smtp_domain_is_valid(name, true) || smtp_literal_is_valid(name)))
		span_copy(name, c->server, sizeof(c->server));
}

void client_say_hello(struct smtp_client *c)
{
	c->offers = (struct smtp_client_offers){0}; /* RFC 3207 section 4.2 */
	buf_printf(c->out, "%s %s\r\n", c->lmtp ? "LHLO" : "EHLO", c->helo);
	client_set_state(c, CLIENT_HELLO);
}

void client_greeted(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	if (reply->code != 220) {
		client_fail_by_reply(c, reply, "the connection");
		return;
	}
	take_server_name(c, span_str(reply->text));
	client_say_hello(c);
}

/* ---- what EHLO offers ---- */

static struct span next_word(struct span *rest)
{
	struct span word;

	*rest = span_trim(*rest);
	word = span_sub(*rest, 0, span_find(*rest, ' '));
	*rest = span_from(*rest, word.len);
	return word;
}

/* RFC 1870 section 3. A number that is none, or too large for any message, is no limit. */
static void offer_size(struct smtp_client_offers *offers, struct span rest)
{
	offers->sized = true;
	if (!span_u64(next_word(&rest), UINT64_MAX, &offers->size))
		offers->size = 0;
}

static void offer_auth(struct smtp_client_offers *offers, struct span rest)
{
	while (span_trim(rest).len > 0) {
		enum sasl_mechanism mechanism;

		if (sasl_mechanism_find(next_word(&rest), &mechanism))
			offers->mechanisms |= UINT32_C(1) << mechanism;
	}
}

/* limit-param = limit-name "=" limit-value (RFC 9422 section 3.1): 1 to 6 digits */
static void offer_limits(struct smtp_client_offers *offers, struct span rest)
{
	while (span_trim(rest).len > 0) {
		struct span word = next_word(&rest);
		size_t equals = span_find(word, '=');
		struct span name = span_sub(word, 0, equals);
		uint64_t value;

		if (!span_u64(span_from(word, equals + 1), 999999, &value))
			continue;
		if (span_caseeq(name, SPAN_LIT("RCPTMAX")))
			offers->rcpt_max = (uint32_t)value;
		else if (span_caseeq(name, SPAN_LIT("MAILMAX")))
			offers->mail_max = (uint32_t)value;
	}
}

void client_take_offer(struct smtp_client *c, struct span line, bool first)
{
	struct smtp_client_offers *o = &c->offers;
	const struct {
		struct span keyword;
		bool *offered;
	} flags[] = {
	    {SPAN_LIT("PIPELINING"), &o->pipelining}, {SPAN_LIT("8BITMIME"), &o->eightbit}, {SPAN_LIT("SMTPUTF8"), &o->smtputf8},
	    {SPAN_LIT("CHUNKING"), &o->chunking},     {SPAN_LIT("BINARYMIME"), &o->binary}, {SPAN_LIT("DSN"), &o->dsn},
	    {SPAN_LIT("STARTTLS"), &o->starttls},     {SPAN_LIT("REQUIRETLS"), &o->requiretls}, {SPAN_LIT("ENHANCEDSTATUSCODES"), &o->enhanced},
	};
	struct span keyword;

	o->extended = true;
	if (first) {
		take_server_name(c, line);
		return;
	}
	keyword = next_word(&line);
	if (span_caseeq(keyword, SPAN_LIT("SIZE")))
		offer_size(o, line);
	else if (span_caseeq(keyword, SPAN_LIT("AUTH")))
		offer_auth(o, line);
	else if (span_startscase(keyword, SPAN_LIT("AUTH="))) /* its old form */
		offer_auth(o, span_from(keyword, strlen("AUTH=")));
	else if (span_caseeq(keyword, SPAN_LIT("LIMITS")))
		offer_limits(o, line);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (span_caseeq(keyword, flags[i].keyword))
			*flags[i].offered = true;
}

/* ---- what comes next ---- */

static void after_hello(struct smtp_client *c)
{
	if (c->login)
		client_login(c);
	else
		client_ready(c);
}

static void after_offers(struct smtp_client *c)
{
	struct smtp_client_offers *o = &c->offers;

	o->binary &= o->chunking; /* RFC 3030 section 3 */
	o->starttls &= !c->tls;
	o->requiretls &= c->tls; /* RFC 8689 section 2 */
	if (o->starttls && c->want_tls != SMTP_TLS_NEVER) {
		buf_add_str(c->out, "STARTTLS\r\n");
		client_set_state(c, CLIENT_STARTTLS);
	} else if (!c->tls && c->want_tls == SMTP_TLS_MUST) {
		client_fail(c, E_DENIED, NULL, "The server does not offer STARTTLS, without which nothing is sent to it");
	} else {
		after_hello(c);
	}
}

/*
 * RFC 5321 section 3.2: a server that does not know EHLO is told HELO. One that refuses us, and does not only fail to
 * understand, is not asked again.
 */
void client_hello_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	bool unknown = reply->code >= CLIENT_CODE_SYNTAX && reply->code < CLIENT_CODE_SYNTAX + 10;

	if (reply->code == 250) {
		after_offers(c);
	} else if (unknown && !c->lmtp) {
		buf_printf(c->out, "HELO %s\r\n", c->helo);
		client_set_state(c, CLIENT_HELO);
	} else {
		client_fail_by_reply(c, reply, c->lmtp ? "LHLO" : "EHLO");
	}
}

void client_helo_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	c->offers = (struct smtp_client_offers){0};
	if (reply->code != 250)
		client_fail_by_reply(c, reply, "HELO");
	else if (!c->tls && c->want_tls == SMTP_TLS_MUST)
		client_fail(c, E_DENIED, NULL, "The server knows no EHLO and so no STARTTLS, without which nothing is sent to it");
	else if (c->login)
		client_fail(c, E_UNSUPPORTED, NULL, "The server knows no EHLO and so no way to log in");
	else
		client_ready(c);
}

/* RFC 3207 section 4.1: without the duty to use it, a refusal leaves the session as it was. */
void client_starttls_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	if (reply->code == 220)
		client_set_state(c, CLIENT_TLS);
	else if (client_code_of(reply) == E_REMOTE)
		client_fail_by_reply(c, reply, "STARTTLS");
	else if (c->want_tls == SMTP_TLS_MUST)
		client_fail(c, E_DENIED, reply, "The server refuses STARTTLS, without which nothing is sent to it: %d %.150s", reply->code, reply->text);
	else
		after_hello(c);
}
