#include "local/address.h"

#include "base/encode.h"
#include "base/utf8.h"

enum { WORD_OCTETS = 42, FROM_NAME_MAX = 256 };

/* Is there an at sign outside of a quoted string? */
static bool has_domain(struct span address)
{
	bool quoted = false;

	for (size_t i = 0; i < address.len; i++) {
		if (quoted && address.ptr[i] == '\\')
			i++;
		else if (address.ptr[i] == '"')
			quoted = !quoted;
		else if (address.ptr[i] == '@' && !quoted)
			return true;
	}
	return false;
}

static struct span without_brackets(struct span s)
{
	s = span_trim(s);
	return s.len >= 2 && s.ptr[0] == '<' && s.ptr[s.len - 1] == '>' ? span_trim(span_sub(s, 1, s.len - 2)) : s;
}

int local_address(struct span given, struct span domain, char out[SMTP_PATH_MAX + 1], struct err *err)
{
	struct span address = without_brackets(given);
	struct buf path;
	size_t used = 0;
	int r;

	buf_init(&path, 2048);
	buf_add_char(&path, '<');
	buf_add_span(&path, address);
	if (address.len > 0 && !has_domain(address)) {
		buf_add_char(&path, '@');
		buf_add_span(&path, domain);
	}
	buf_add_char(&path, '>');
	if (buf_failed(&path))
		r = err_set(err, path.starved ? E_NOMEM : E_SYNTAX, "the address is too long");
	else
		r = smtp_path_parse(buf_span(&path), SMTP_PATH_NULL | SMTP_PATH_UTF8, out, &used, err);
	if (r == 0 && used != buf_len(&path))
		r = err_set(err, E_SYNTAX, "this is not one address");
	buf_fini(&path);
	return r;
}

/* ---- From ---- */

static bool is_atext(char c)
{
	return ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static void add_quoted(struct span name, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '"' || name.ptr[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, name.ptr[i]);
	}
	buf_add_char(out, '"');
}

static void add_ascii(struct span name, struct buf *out)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] != ' ' && !is_atext(name.ptr[i])) {
			add_quoted(name, out);
			return;
		}
	buf_add_span(out, name);
}

/* Each word holds whole characters (RFC 2047 section 5). */
static void add_encoded(struct span name, struct buf *out)
{
	for (bool first = true; name.len > 0; first = false) {
		struct span rest = name, word;

		while (rest.len > 0 && name.len - rest.len <= WORD_OCTETS - 4)
			utf8_next(&rest);
		word = span_sub(name, 0, name.len - rest.len);
		buf_add_str(out, first ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
		base64_encode(out, word);
		buf_add_str(out, "?=");
		name = rest;
	}
}

/* What may stand in a name: characters that can be printed. */
static void clean_name(struct span name, struct buf *out)
{
	while (name.len > 0) {
		const char *at = name.ptr;
		int32_t cp = utf8_next(&name);

		if (cp >= ' ' && cp != 0x7f && !(cp >= 0x80 && cp < 0xa0))
			buf_add(out, at, (size_t)(name.ptr - at));
	}
}

void local_from(struct span full_name, struct span address, struct buf *out)
{
	struct buf name;
	struct span clean;

	buf_init(&name, FROM_NAME_MAX);
	clean_name(span_sub(full_name, 0, FROM_NAME_MAX), &name);
	clean = span_trim(buf_span(&name));
	if (clean.len == 0) {
		buf_add_span(out, address);
	} else {
		if (utf8_is_ascii(clean))
			add_ascii(clean, out);
		else
			add_encoded(clean, out);
		buf_add_str(out, " <");
		buf_add_span(out, address);
		buf_add_char(out, '>');
	}
	buf_fini(&name);
}
