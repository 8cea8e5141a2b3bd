/* MAIL and RCPT with their parameters (RFC 5321, RFC 1870, RFC 3461, RFC 6152, RFC 3030, RFC 6531, RFC 6533, RFC 8689). */
#include "smtp/client_private.h"

#include "base/utf8.h"

/* ---- what the server must be able to do ---- */

/* In a command it would end the line, or the path. */
static bool is_fit(struct span address)
{
	for (size_t i = 0; i < address.len; i++)
		if ((unsigned char)address.ptr[i] < ' ' || address.ptr[i] == 0x7f)
			return false;
	return address.len <= SMTP_PATH_MAX;
}

static int check_addresses(const struct smtp_client_message *m, bool *utf8, struct err *err)
{
	bool fit = is_fit(m->sender);

	*utf8 = m->smtputf8 || !utf8_is_ascii(m->sender);
	for (size_t i = 0; i < m->recipient_count; i++) {
		fit &= is_fit(m->recipients[i].address) && m->recipients[i].address.len > 0;
		*utf8 |= !utf8_is_ascii(m->recipients[i].address);
	}
	return fit ? 0 : err_set(err, E_SYNTAX, "An address of the envelope is none");
}

int client_check_message(const struct smtp_client *c, const struct smtp_client_message *m, bool *utf8, struct err *err)
{
	const struct smtp_client_offers *o = &c->offers;
	int r = check_addresses(m, utf8, err);

	if (r != 0)
		return r;
	if (*utf8 && !o->smtputf8)
		return err_set(err, E_UNSUPPORTED, "The server does not take internationalised addresses and header fields (SMTPUTF8)");
	if (m->requiretls && !o->requiretls)
		return err_set(err, E_UNSUPPORTED, "The server does not promise to pass the message on over TLS only (REQUIRETLS)");
	if (o->size > 0 && m->size > o->size)
		return err_set(err, E_TOOBIG, "The message has %llu octets; the server takes %llu", (unsigned long long)m->size, (unsigned long long)o->size);
	if (m->binary && (!o->binary || m->size == 0))
		return err_set(err, E_CONTENT, "The server does not take BINARYMIME");
	if (m->eightbit && !m->binary && !o->eightbit)
		return err_set(err, E_CONTENT, "The server does not take 8BITMIME");
	return 0;
}

/* ---- forms of values ---- */

/* xtext (RFC 3461 section 4): what is no xchar is written "+2B". */
static void put_xtext(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.ptr[i];

		if (ch < '!' || ch > '~' || ch == '+' || ch == '=')
			buf_printf(out, "+%02X", ch);
		else
			buf_add_char(out, (char)ch);
	}
}

/* EmbeddedUnicodeChar (RFC 6533 section 3): "\x{" 2 to 6 hexadecimal digits "}". */
static bool is_embedded(struct span s)
{
	size_t end = span_find(s, '}');

	if (!span_startswith(s, SPAN_LIT("\\x{")) || end == s.len || end < 5 || end > 9)
		return false;
	for (size_t i = 3; i < end; i++)
		if (!ascii_is_digit(s.ptr[i]) && (s.ptr[i] < 'A' || s.ptr[i] > 'F'))
			return false;
	return true;
}

/*
 * RFC 6533 section 3: utf-8-addr-unitext to a server that takes UTF-8 with this message, else utf-8-addr-xtext. What has the form of
 * an embedded character came as one.
 */
static void put_utf8_address(struct buf *out, struct span s, bool unitext)
{
	while (s.len > 0) {
		struct span rest = s;
		int32_t cp = utf8_next(&rest);
		bool plain = cp > ' ' && cp < 0x7f && cp != '+' && cp != '=' && (cp != '\\' || is_embedded(s));

		if (plain || (cp >= 0xa0 && unitext))
			buf_add(out, s.ptr, s.len - rest.len);
		else
			buf_printf(out, "\\x{%02X}", cp < 0 ? 0xfffd : (unsigned)cp);
		s = rest;
	}
}

/* A parameter that began behind `before` and its value behind `value`: one longer than servers have to take is better left out than refused. */
static void keep_to(struct buf *out, size_t before, size_t value, size_t max)
{
	if (!buf_failed(out) && buf_len(out) - value > max)
		buf_cut(out, before);
}

static void put_envid(struct buf *out, struct span envid)
{
	size_t before = buf_len(out), value;

	if (envid.len == 0 || envid.len > SMTP_ENVID_MAX)
		return;
	buf_add_str(out, " ENVID=");
	value = buf_len(out);
	put_xtext(out, envid);
	keep_to(out, before, value, SMTP_ENVID_MAX);
}

static void put_orcpt(struct buf *out, struct span orcpt, bool unitext)
{
	size_t semicolon = span_find(orcpt, ';'), before = buf_len(out), value;
	struct span type = span_sub(orcpt, 0, semicolon), address = span_from(orcpt, semicolon + 1);

	if (address.len == 0 || orcpt.len > SMTP_XTEXT_MAX)
		return;
	buf_add_str(out, " ORCPT=");
	value = buf_len(out);
	put_xtext(out, type);
	buf_add_char(out, ';');
	if (span_caseeq(type, SPAN_LIT("utf-8")))
		put_utf8_address(out, address, unitext);
	else
		put_xtext(out, address);
	keep_to(out, before, value, SMTP_XTEXT_MAX);
}

static void put_notify(struct buf *out, uint32_t notify)
{
	static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(notify & 1U << i))
			continue;
		buf_printf(out, "%s%s", before, names[i]);
		before = ",";
	}
}

/* ---- the commands ---- */

void client_say_mail(struct smtp_client *c, const struct smtp_client_message *m)
{
	const struct smtp_client_offers *o = &c->offers;
	struct buf *out = c->out;

	buf_printf(out, "MAIL FROM:<%.*s>", SPAN_ARG(m->sender));
	if (o->sized && m->size > 0)
		buf_printf(out, " SIZE=%llu", (unsigned long long)m->size);
	if (m->binary)
		buf_add_str(out, " BODY=BINARYMIME");
	else if (m->eightbit)
		buf_add_str(out, " BODY=8BITMIME");
	if (c->tx.smtputf8)
		buf_add_str(out, " SMTPUTF8");
	if (m->requiretls)
		buf_add_str(out, " REQUIRETLS");
	if (o->dsn && (m->ret == 1 || m->ret == 2))
		buf_add_str(out, m->ret == 1 ? " RET=FULL" : " RET=HDRS");
	if (o->dsn)
		put_envid(out, m->envid);
	buf_add_str(out, "\r\n");
}

void client_say_rcpt(struct smtp_client *c, const struct smtp_client_recipient *recipient)
{
	struct buf *out = c->out;

	buf_printf(out, "RCPT TO:<%.*s>", SPAN_ARG(recipient->address));
	if (c->offers.dsn) {
		put_notify(out, recipient->notify);
		put_orcpt(out, recipient->orcpt, c->tx.smtputf8);
	}
	buf_add_str(out, "\r\n");
}
