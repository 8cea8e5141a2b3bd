#include "smtp/address.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool is_atext(unsigned char c)
{
	return ascii_is_alnum((char)c) || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL) || c >= 0x80;
}

/* sub-domain = Let-dig [Ldh-str]; a label has at most 63 octets */
bool smtp_domain_is_valid(struct span domain, bool utf8)
{
	size_t label = 0;

	if (domain.len == 0 || domain.len > SMTP_DOMAIN_MAX || !utf8_is_valid(domain))
		return false;
	for (size_t i = 0; i < domain.len; i++) {
		unsigned char c = (unsigned char)domain.ptr[i];
		bool last = i + 1 == domain.len || domain.ptr[i + 1] == '.';

		if (c == '.') {
			if (label == 0 || i + 1 == domain.len)
				return false;
			label = 0;
			continue;
		}
		if (!ascii_is_alnum((char)c) && c != '_' && !(c >= 0x80 && utf8) && !(c == '-' && label > 0 && !last))
			return false;
		if (++label > 63)
			return false;
	}
	return true;
}

/* "[" IPv4 / "IPv6:" IPv6 / General-tag ":" dcontent "]" */
bool smtp_literal_is_valid(struct span literal)
{
	char text[64];
	unsigned char binary[16];

	if (literal.len < 3 || literal.len > sizeof(text) || literal.ptr[0] != '[' || literal.ptr[literal.len - 1] != ']' ||
	    memchr(literal.ptr, '\0', literal.len) != NULL)
		return false;
	literal = span_sub(literal, 1, literal.len - 2);
	if (span_startscase(literal, SPAN_LIT("IPv6:"))) {
		span_copy(span_from(literal, 5), text, sizeof(text));
		return inet_pton(AF_INET6, text, binary) == 1;
	}
	span_copy(literal, text, sizeof(text));
	return inet_pton(AF_INET, text, binary) == 1;
}

/* Dot-string = Atom *("." Atom) */
static size_t scan_dot_string(struct span text)
{
	size_t i = 0;

	while (i < text.len && (is_atext((unsigned char)text.ptr[i]) || text.ptr[i] == '.'))
		i++;
	return i;
}

static bool dot_string_is_valid(struct span s)
{
	if (s.len == 0 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (s.ptr[i] == '.' && s.ptr[i - 1] == '.')
			return false;
	return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; its value goes to out without quotes. 0 when malformed. */
static size_t scan_quoted(struct span text, struct buf *out)
{
	size_t i = 1;

	for (; i < text.len && text.ptr[i] != '"'; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '\\') {
			if (++i == text.len)
				return 0;
			c = (unsigned char)text.ptr[i];
		}
		if (c < ' ' || c == 0x7f)
			return 0;
		buf_add_char(out, (char)c);
	}
	return i < text.len ? i + 1 : 0;
}

/* The same mailbox is written in one way: quoted only when it has to be. */
static void add_local(struct buf *out, struct span value)
{
	if (scan_dot_string(value) == value.len && dot_string_is_valid(value)) {
		buf_add_span(out, value);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '"' || value.ptr[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, value.ptr[i]);
	}
	buf_add_char(out, '"');
}

/* A-d-l = At-domain *( "," At-domain ), ":" behind it: source routes are read and forgotten (RFC 5321 appendix F.2). */
static int skip_route(struct span *rest, unsigned flags, struct err *err)
{
	char separator = ',';

	if (rest->len == 0 || rest->ptr[0] != '@')
		return 0;
	while (separator == ',') {
		size_t end = 0;

		while (end < rest->len && rest->ptr[end] != ',' && rest->ptr[end] != ':' && rest->ptr[end] != '>')
			end++;
		if (end == 0 || end == rest->len || rest->ptr[end] == '>' || rest->ptr[0] != '@' ||
		    !smtp_domain_is_valid(span_sub(*rest, 1, end - 1), flags & SMTP_PATH_UTF8))
			return err_set(err, E_SYNTAX, "the source route is malformed");
		separator = rest->ptr[end];
		*rest = span_from(*rest, end + 1);
	}
	return 0;
}

static int take_local(struct span *rest, struct buf *out, struct err *err)
{
	struct buf value;
	size_t used;
	int r = 0;

	buf_init(&value, SMTP_PATH_MAX);
	if (buf_reserve(&value, SMTP_PATH_MAX) == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	if (rest->len > 0 && rest->ptr[0] == '"') {
		used = scan_quoted(*rest, &value);
		if (used == 0 || buf_len(&value) == 0)
			r = err_set(err, E_SYNTAX, "the quoted local part is malformed");
	} else {
		used = scan_dot_string(*rest);
		if (!dot_string_is_valid(span_sub(*rest, 0, used)))
			r = err_set(err, E_SYNTAX, "the local part is malformed");
		buf_add_span(&value, span_sub(*rest, 0, used));
	}
	if (r == 0 && (buf_failed(&value) || buf_len(&value) > SMTP_LOCAL_MAX))
		r = err_set(err, E_SYNTAX, "the local part is longer than %d octets", SMTP_LOCAL_MAX);
	if (r == 0)
		add_local(out, buf_span(&value));
	buf_fini(&value);
	*rest = span_from(*rest, used);
	return r;
}

static int take_domain(struct span *rest, unsigned flags, struct buf *out, struct err *err)
{
	size_t end = span_find(*rest, '>');
	struct span domain = span_sub(*rest, 0, end);

	if (domain.len > 0 && domain.ptr[0] == '[') {
		if (!smtp_literal_is_valid(domain))
			return err_set(err, E_SYNTAX, "the address literal is malformed");
	} else if (!smtp_domain_is_valid(domain, flags & SMTP_PATH_UTF8)) {
		if (smtp_domain_is_valid(domain, true))
			return err_set(err, E_UNSUPPORTED, "the address needs SMTPUTF8");
		return err_set(err, E_SYNTAX, "the domain is malformed");
	}
	buf_add_span(out, domain);
	*rest = span_from(*rest, end);
	return 0;
}

static int take_mailbox(struct span *rest, unsigned flags, struct buf *out, struct err *err)
{
	int r = take_local(rest, out, err);

	if (r != 0)
		return r;
	if (rest->len > 0 && rest->ptr[0] == '>' && (flags & SMTP_PATH_POSTMASTER) &&
	    span_caseeq(buf_span(out), SPAN_LIT("postmaster")))
		return 0;
	if (rest->len == 0 || rest->ptr[0] != '@')
		return err_set(err, E_SYNTAX, "the address has no domain");
	*rest = span_from(*rest, 1);
	buf_add_char(out, '@');
	return take_domain(rest, flags, out, err);
}

int smtp_path_parse(struct span text, unsigned flags, char out[SMTP_PATH_MAX + 1], size_t *used, struct err *err)
{
	struct span rest = span_from(text, 1);
	struct buf path;
	int r;

	out[0] = '\0';
	if (text.len < 2 || text.ptr[0] != '<')
		return err_set(err, E_SYNTAX, "a path is written <local-part@domain>");
	if ((flags & SMTP_PATH_NULL) && rest.ptr[0] == '>') {
		*used = 2;
		return 0;
	}
	r = skip_route(&rest, flags, err);
	if (r != 0)
		return r;
	buf_init(&path, SMTP_PATH_MAX);
	/* All of it at once: what fails later is too long, and that is for good. */
	if (buf_reserve(&path, SMTP_PATH_MAX) == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = take_mailbox(&rest, flags, &path, err);
	if (r == 0 && (rest.len == 0 || rest.ptr[0] != '>'))
		r = err_set(err, E_SYNTAX, "the path does not end in >");
	if (r == 0 && buf_failed(&path))
		r = err_set(err, E_SYNTAX, "the path is too long");
	if (r == 0 && !utf8_is_valid(buf_span(&path)))
		r = err_set(err, E_SYNTAX, "the path is not valid UTF-8");
	if (r == 0 && !(flags & SMTP_PATH_UTF8) && !utf8_is_ascii(buf_span(&path)))
		r = err_set(err, E_UNSUPPORTED, "the address needs SMTPUTF8");
	if (r == 0) {
		span_copy(buf_span(&path), out, SMTP_PATH_MAX + 1);
		*used = (size_t)(rest.ptr - text.ptr) + 1;
	}
	buf_fini(&path);
	return r;
}

bool smtp_address_parse(struct span text, unsigned flags, char out[SMTP_PATH_MAX + 1])
{
	char path[SMTP_PATH_MAX + 3];
	struct err err;
	size_t used;

	if (text.len > SMTP_PATH_MAX)
		return false;
	snprintf(path, sizeof(path), "<%.*s>", SPAN_ARG(text));
	return smtp_path_parse(span_str(path), flags, out, &used, &err) == 0 && used == text.len + 2;
}
