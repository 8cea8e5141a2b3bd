/* MAIL and RCPT with their parameters (RFC 5321 section 4.1.1, RFC 1870, RFC 3461, RFC 6152, RFC 3030, RFC 6531). */
#include "smtp/server_private.h"

#include "base/utf8.h"

#include <stdio.h>

enum { TRANSACTION_POOL_MAX = 4 * 1024 * 1024 };

/* The path behind "FROM:" or "TO:"; *rest is what follows it. */
static int take_path(struct span args, struct span keyword, unsigned flags, char *out, struct span *rest, struct err *err)
{
	size_t used;
	int r;

	if (!span_startscase(args, keyword))
		return err_set(err, E_SYNTAX, "write %.*s<address>", SPAN_ARG(keyword));
	args = span_trim(span_from(args, keyword.len)); /* a blank before "<" is common and harmless */
	r = smtp_path_parse(args, flags, out, &used, err);
	if (r != 0)
		return r;
	*rest = span_from(args, used);
	if (rest->len > 0 && rest->ptr[0] != ' ')
		return err_set(err, E_SYNTAX, "something follows the address");
	return 0;
}

static bool next_parameter(struct span *rest, struct span *name, struct span *value)
{
	struct span word;
	size_t end, equals;

	*rest = span_trim(*rest);
	if (rest->len == 0)
		return false;
	end = span_find(*rest, ' ');
	word = span_sub(*rest, 0, end);
	*rest = span_from(*rest, end);
	equals = span_find(word, '=');
	*name = span_sub(word, 0, equals);
	*value = span_from(word, equals + 1);
	return true;
}

/* hexchar = "+" 2 * (%x30-39 / %x41-46): its value, or -1. */
static int hexchar_value(struct span s)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *high, *low;

	if (s.len < 3 || s.ptr[0] != '+' || s.ptr[1] == '\0' || s.ptr[2] == '\0')
		return -1;
	high = strchr(digits, s.ptr[1]);
	low = strchr(digits, s.ptr[2]);
	return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

/* xtext = *( xchar / hexchar ), RFC 3461 section 4 */
static bool is_xtext(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '+') {
			if (hexchar_value(span_from(s, i)) < 0)
				return false;
			i += 2;
		} else if (c < '!' || c == '=' || c > '~') {
			return false;
		}
	}
	return s.len > 0 && s.len <= SMTP_XTEXT_MAX;
}

/* "+20" and the like, decoded, in place of a span that borrows the input. Any other "+" stays: an ORCPT of RFC 6533 has it. */
static struct span decode_xtext(struct pool *pool, struct span s)
{
	char *out = pool_alloc(pool, s.len + 1);
	size_t len = 0;

	for (size_t i = 0; out != NULL && i < s.len; i++) {
		int value = hexchar_value(span_from(s, i));

		out[len++] = value >= 0 ? (char)value : s.ptr[i];
		i += value >= 0 ? 2 : 0;
	}
	return span_of(out, out ? len : 0);
}

/* Before they are encoded, both texts are graphic characters and white space alone (RFC 3461 sections 4.2 and 4.4). */
static bool has_control(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			return true;
	return false;
}

struct mail_seen {
	bool size, body, utf8, ret, envid, auth, requiretls;
};

static int bad_parameter(struct err *err, struct span name)
{
	return err_set(err, E_SYNTAX, "parameter %.*s is malformed or given twice", SPAN_ARG(span_sub(name, 0, 30)));
}

static int mail_parameter(struct smtp_server *s, struct mail_seen *seen, struct span name, struct span value, struct err *err)
{
	struct smtp_transaction *tx = s->tx;
	uint64_t size;

	if (span_caseeq(name, SPAN_LIT("SIZE"))) {
		if (seen->size || value.len > 20)
			return bad_parameter(err, name);
		seen->size = true;
		for (size_t i = 0; i < value.len; i++)
			if (!ascii_is_digit(value.ptr[i]))
				return bad_parameter(err, name);
		if (value.len == 0)
			return bad_parameter(err, name);
		if (!span_u64(value, s->config.limits.message_size, &size))
			return err_set(err, E_TOOBIG, "the message is larger than %llu octets",
			    (unsigned long long)s->config.limits.message_size);
	} else if (span_caseeq(name, SPAN_LIT("BODY"))) {
		if (seen->body)
			return bad_parameter(err, name);
		seen->body = true;
		if (span_caseeq(value, SPAN_LIT("8BITMIME")))
			tx->body = SMTP_BODY_8BITMIME;
		else if (span_caseeq(value, SPAN_LIT("BINARYMIME")))
			tx->body = SMTP_BODY_BINARYMIME;
		else if (!span_caseeq(value, SPAN_LIT("7BIT")))
			return bad_parameter(err, name);
	} else if (span_caseeq(name, SPAN_LIT("SMTPUTF8"))) {
		if (seen->utf8 || value.len > 0)
			return bad_parameter(err, name);
		seen->utf8 = tx->smtputf8 = true;
	} else if (s->tls && span_caseeq(name, SPAN_LIT("REQUIRETLS"))) {
		if (seen->requiretls || value.len > 0)
			return bad_parameter(err, name);
		seen->requiretls = tx->requiretls = true;
	} else if (span_caseeq(name, SPAN_LIT("RET"))) {
		tx->ret = span_caseeq(value, SPAN_LIT("FULL")) ? 1 : span_caseeq(value, SPAN_LIT("HDRS")) ? 2 : 0;
		if (seen->ret || tx->ret == 0)
			return bad_parameter(err, name);
		seen->ret = true;
	} else if (span_caseeq(name, SPAN_LIT("ENVID"))) {
		if (seen->envid || !is_xtext(value) || value.len > SMTP_ENVID_MAX)
			return bad_parameter(err, name);
		seen->envid = true;
		tx->envid = decode_xtext(tx->pool, value);
		if (tx->envid.ptr == NULL)
			return err_set(err, E_NOMEM, "out of memory");
		if (has_control(tx->envid))
			return bad_parameter(err, name);
	} else if (s->config.submission && s->config.limits.future_release > 0 &&
		   (span_caseeq(name, SPAN_LIT("HOLDFOR")) || span_caseeq(name, SPAN_LIT("HOLDUNTIL")))) {
		return smtp_release_take(s, span_caseeq(name, SPAN_LIT("HOLDUNTIL")), value, err);
	} else if (s->config.submission && span_caseeq(name, SPAN_LIT("AUTH"))) {
		/* RFC 4954 section 5: who says that another has submitted it is not believed, but may say so. */
		if (seen->auth || !is_xtext(value))
			return bad_parameter(err, name);
		seen->auth = true;
	} else {
		return err_set(err, E_UNSUPPORTED, "parameter %.*s is not known", SPAN_ARG(span_sub(name, 0, 30)));
	}
	return 0;
}

/* enhanced: what a syntax error is called, which depends on whether the address or a parameter has it (RFC 3463 section 3). */
static void refuse_path(struct smtp_server *s, int code, const struct err *err, const char *what, const char *enhanced)
{
	switch (code) {
	case E_NOMEM:
		smtp_refuse(s, err_smtp_code(code), err_smtp_enhanced(code), "%s: %s", what, err->text);
		return;
	case E_TOOBIG:
		smtp_refuse(s, 552, "5.3.4", "%s", err->text);
		return;
	case E_UNSUPPORTED:
		if (strstr(err->text, "SMTPUTF8") != NULL)
			smtp_refuse(s, 553, "5.6.7", "%s: %s", what, err->text);
		else
			smtp_refuse(s, 555, "5.5.4", "%s: %s", what, err->text);
		return;
	default:
		smtp_refuse(s, 501, enhanced, "%s: %s", what, err->text);
	}
}

static int begin_transaction(struct smtp_server *s)
{
	struct pool *pool = pool_new(NULL, TRANSACTION_POOL_MAX);

	s->tx = pool ? pool_new_object(pool, struct smtp_transaction) : NULL;
	if (s->tx == NULL) {
		pool_free(&pool);
		return E_NOMEM;
	}
	s->tx->pool = pool;
	s->tx->recipients_tail = &s->tx->recipients;
	return 0;
}

/* The parameters are looked at first: SMTPUTF8 decides what the path may hold. */
static bool says_smtputf8(struct span args)
{
	struct span name, value;
	size_t end = span_find(args, '>');

	args = span_from(args, end + 1);
	while (next_parameter(&args, &name, &value))
		if (span_caseeq(name, SPAN_LIT("SMTPUTF8")))
			return true;
	return false;
}

void smtp_command_mail(struct smtp_server *s, struct span args)
{
	char path[SMTP_PATH_MAX + 1];
	struct mail_seen seen = {0};
	struct span rest, name, value;
	struct err err = {0};
	const char *enhanced = "5.1.7";
	int r;

	if (s->config.submission && !s->authenticated) {
		smtp_refuse(s, 530, "5.7.0", "Log in first: AUTH");
		return;
	}
	r = begin_transaction(s);
	if (r != 0) {
		smtp_refuse(s, 451, "4.3.0", "out of memory");
		return;
	}
	r = take_path(args, SPAN_LIT("FROM:"), SMTP_PATH_NULL | (says_smtputf8(args) ? SMTP_PATH_UTF8 : 0), path, &rest, &err);
	if (r == 0)
		enhanced = "5.5.4";
	while (r == 0 && next_parameter(&rest, &name, &value))
		r = mail_parameter(s, &seen, name, value, &err);
	/* Words within a quoted local part looked like the parameter. */
	if (r == 0 && !seen.utf8 && !utf8_is_ascii(span_str(path)))
		r = err_set(&err, E_UNSUPPORTED, "the address needs SMTPUTF8");
	if (r == 0 && !s->extended && (seen.size || seen.body || seen.utf8 || seen.ret || seen.envid))
		r = err_set(&err, E_UNSUPPORTED, "parameters need EHLO");
	if (r != 0) {
		smtp_end_transaction(s);
		refuse_path(s, r, &err, "MAIL", enhanced);
		return;
	}
	s->tx->sender = pool_span(s->tx->pool, span_str(path));
	if (s->tx->sender.ptr == NULL) {
		smtp_end_transaction(s);
		smtp_refuse(s, 451, "4.3.0", "out of memory");
		return;
	}
	if (s->config.submission) {
		smtp_set_state(s, SMTP_WAIT_MAIL);
		s->callbacks->mail(s->arg, s, s->tx->sender);
		return;
	}
	smtp_set_state(s, SMTP_MAIL);
	smtp_reply(s, 250, "2.1.0", "Ok");
}

/* RFC 6409 section 6.1: who may not send as this is told 553 5.7.1; the rest as of a recipient. */
void smtp_server_mail_done(struct smtp_server *s, int code, const struct err *err)
{
	if (code == 0) {
		smtp_set_state(s, SMTP_MAIL);
		smtp_reply(s, 250, "2.1.0", "Ok");
		return;
	}
	smtp_end_transaction(s);
	smtp_set_state(s, SMTP_READY);
	smtp_refuse(s, code == E_DENIED ? 553 : err_smtp_code(code), code == E_DENIED ? "5.7.1" : err_smtp_enhanced(code), "%s",
	    err->text[0] ? err->text : err_text(code));
}

/* notify-esmtp-value = "NEVER" / notify-list-element *( "," notify-list-element ) */
static uint32_t parse_notify(struct span value)
{
	uint32_t bits = 0;
	size_t end;

	for (;; value = span_from(value, end + 1)) {
		struct span word;
		uint32_t bit;

		end = span_find(value, ',');
		word = span_sub(value, 0, end);
		bit = span_caseeq(word, SPAN_LIT("NEVER")) ? 1 : span_caseeq(word, SPAN_LIT("SUCCESS")) ? 2
			: span_caseeq(word, SPAN_LIT("FAILURE")) ? 4 : span_caseeq(word, SPAN_LIT("DELAY")) ? 8 : 0;
		if (bit == 0 || bits & bit)
			return 0;
		bits |= bit;
		if (end == value.len)
			break;
	}
	return bits & 1 && bits != 1 ? 0 : bits;
}

static int rcpt_parameter(struct smtp_server *s, struct smtp_recipient *rcpt, struct span name, struct span value, struct err *err)
{
	if (span_caseeq(name, SPAN_LIT("NOTIFY"))) {
		if (rcpt->notify != 0 || (rcpt->notify = parse_notify(value)) == 0)
			return bad_parameter(err, name);
	} else if (span_caseeq(name, SPAN_LIT("ORCPT"))) {
		size_t semicolon = span_find(value, ';');

		if (rcpt->orcpt.len > 0 || semicolon == value.len || semicolon == 0 || value.len > SMTP_XTEXT_MAX)
			return bad_parameter(err, name);
		if (span_find(value, '+') < semicolon) /* the type is no xtext (RFC 3461 section 4.2), and none has it */
			return bad_parameter(err, name);
		if (!(s->tx->smtputf8 ? utf8_is_valid(value) : is_xtext(span_from(value, semicolon + 1))))
			return bad_parameter(err, name);
		rcpt->orcpt = decode_xtext(s->tx->pool, value);
		if (rcpt->orcpt.ptr == NULL)
			return err_set(err, E_NOMEM, "out of memory");
		if (has_control(rcpt->orcpt))
			return bad_parameter(err, name);
	} else {
		return err_set(err, E_UNSUPPORTED, "parameter %.*s is not known", SPAN_ARG(span_sub(name, 0, 30)));
	}
	return 0;
}

void smtp_command_rcpt(struct smtp_server *s, struct span args)
{
	struct smtp_recipient *rcpt = pool_new_object(s->tx->pool, struct smtp_recipient);
	char path[SMTP_PATH_MAX + 1];
	struct span rest, name, value;
	struct err err = {0};
	const char *enhanced = "5.1.3";
	int r;

	if (s->tx->recipient_count >= s->config.limits.recipients) {
		smtp_refuse(s, 452, "4.5.3", "More than %u recipients", s->config.limits.recipients);
		return;
	}
	if (rcpt == NULL) {
		smtp_refuse(s, 452, "4.5.3", "The recipients' parameters take too much memory");
		return;
	}
	r = take_path(args, SPAN_LIT("TO:"), SMTP_PATH_POSTMASTER | (s->tx->smtputf8 ? SMTP_PATH_UTF8 : 0), path, &rest, &err);
	if (r == 0)
		enhanced = "5.5.4";
	while (r == 0 && next_parameter(&rest, &name, &value))
		r = rcpt_parameter(s, rcpt, name, value, &err);
	if (r != 0 && r != E_NOMEM) {
		refuse_path(s, r, &err, "RCPT", enhanced);
		return;
	}
	rcpt->address = pool_span(s->tx->pool, span_str(path));
	if (r == E_NOMEM || rcpt->address.ptr == NULL) {
		smtp_refuse(s, 452, "4.5.3", "The recipients take too much memory");
		return;
	}
	s->asked = rcpt;
	s->after_rcpt = s->state;
	smtp_set_state(s, SMTP_WAIT_RCPT);
	s->callbacks->rcpt(s->arg, s, rcpt->address);
}

void smtp_server_rcpt_done(struct smtp_server *s, int code, const struct err *err, void *owner)
{
	struct smtp_recipient *rcpt = s->asked;

	invariant(s->state == SMTP_WAIT_RCPT);
	s->asked = NULL;
	smtp_set_state(s, code == 0 ? SMTP_RCPT : s->after_rcpt);
	if (code != 0) {
		smtp_refuse(s, err_smtp_code(code), err_smtp_enhanced(code), "<%.*s>: %s", SPAN_ARG(span_sub(rcpt->address, 0, 200)),
		    err->text[0] ? err->text : err_text(code));
		return;
	}
	rcpt->owner = owner;
	*s->tx->recipients_tail = rcpt;
	s->tx->recipients_tail = &rcpt->next;
	s->tx->recipient_count++;
	smtp_reply(s, 250, "2.1.5", "Ok");
}
