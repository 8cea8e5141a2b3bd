#include "tlsrpt/record.h"

#include "base/encode.h"
#include "base/err.h"
#include "smtp/address.h"

enum { EXTENSION_NAME_MAX = 32 };

#define VERSION SPAN_LIT("v=TLSRPTv1")

/* Up to a delimiter, which is taken as well; false: nothing is left. */
static bool next_part(struct span *rest, char delimiter, struct span *part)
{
	size_t end = span_find(*rest, delimiter);

	if (rest->len == 0)
		return false;
	*part = span_trim(span_sub(*rest, 0, end));
	*rest = span_from(*rest, end + 1);
	return true;
}

bool tlsrpt_is_record(struct span text)
{
	struct span first;

	return text.len > 0 && span_find(text, ';') < text.len && next_part(&text, ';', &first) && span_eq(first, VERSION);
}

/* ---- URIs ---- */

/* Characters of a URI, without the delimiters of the record: "," "!" and ";" are encoded. */
static bool is_uri(struct span uri)
{
	for (size_t i = 0; i < uri.len; i++)
		if (uri.ptr[i] <= ' ' || uri.ptr[i] > '~' || strchr("!\"<>\\^`{|}", uri.ptr[i]) != NULL)
			return false;
	return uri.len > 0;
}

/* RFC 3986 section 2.1. False: a "%" without two digits, or no room. */
static bool percent_decode(struct span in, char *out, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];

		if (c == '%') {
			if (hex_decode(span_sub(in, i + 1, 2), &c, 1) != 0)
				return false;
			i += 2;
		}
		if (used + 1 >= size || c == '\0')
			return false;
		out[used++] = (char)c;
	}
	out[used] = '\0';
	return true;
}

static bool take_mailto(struct span uri, struct tlsrpt_target *out)
{
	struct span to = span_sub(uri, 0, span_find(uri, '?'));
	char address[SMTP_PATH_MAX + 1];

	if (!percent_decode(to, address, sizeof(address)))
		return false;
	out->kind = TLSRPT_MAILTO;
	return smtp_address_parse(span_str(address), 0, out->text);
}

static bool take_https(struct span uri, struct tlsrpt_target *out)
{
	if (!span_startscase(uri, SPAN_LIT("https://")) || uri.len == strlen("https://") || uri.len >= sizeof(out->text))
		return false;
	out->kind = TLSRPT_HTTPS;
	span_copy(uri, out->text, sizeof(out->text));
	return true;
}

/* tlsrpt-uri; schemes that are not known are passed over. */
static void take_uri(struct span uri, struct tlsrpt_record *out)
{
	struct tlsrpt_target *target = &out->targets[out->count];

	if (out->count == TLSRPT_TARGETS_MAX)
		return;
	if (span_startscase(uri, SPAN_LIT("mailto:")))
		out->count += take_mailto(span_from(uri, strlen("mailto:")), target);
	else
		out->count += take_https(uri, target);
}

/* tlsrpt-rua = "rua=" tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri) */
static int take_rua(struct span uris, struct tlsrpt_record *out)
{
	struct span uri;

	if (uris.len == 0 || uris.ptr[uris.len - 1] == ',')
		return E_SYNTAX;
	while (next_part(&uris, ',', &uri)) {
		if (!is_uri(uri))
			return E_SYNTAX;
		take_uri(uri, out);
	}
	return 0;
}

/* ---- fields ---- */

/* tlsrpt-extension = tlsrpt-ext-name "=" tlsrpt-ext-value; what it means nobody knows. */
static int check_extension(struct span name, struct span value)
{
	if (name.len == 0 || name.len > EXTENSION_NAME_MAX || !ascii_is_alnum(name.ptr[0]) || value.len == 0)
		return E_SYNTAX;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && strchr("_-.", name.ptr[i]) == NULL)
			return E_SYNTAX;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] <= ' ' || value.ptr[i] > '~' || value.ptr[i] == '=')
			return E_SYNTAX;
	return 0;
}

/*
 * tlsrpt-record = tlsrpt-version 1*(field-delim tlsrpt-field) [field-delim]
 * field-delim = *WSP ";" *WSP
 */
int tlsrpt_record_parse(struct span text, struct tlsrpt_record *out)
{
	bool rua = false;
	struct span field;
	int r = tlsrpt_is_record(text) ? 0 : E_SYNTAX;

	out->count = 0;
	next_part(&text, ';', &field);
	while (r == 0 && next_part(&text, ';', &field)) {
		size_t equals = span_find(field, '=');
		struct span name = span_sub(field, 0, equals), value = span_from(field, equals + 1);

		if (span_eq(name, SPAN_LIT("rua")) && equals < field.len) {
			r = take_rua(value, out);
			rua = true;
		} else if (field.len > 0 || span_trim(text).len > 0) { /* the last delimiter may have blanks behind it */
			r = check_extension(name, value);
		}
	}
	return r != 0 || !rua ? E_SYNTAX : out->count > 0 ? 0 : E_NOTFOUND;
}
