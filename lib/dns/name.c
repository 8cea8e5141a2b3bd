/* What a name that somebody wrote is asked for as. */
#include "dns/dns.h"

#include "base/utf8.h"

#include <idn2.h>

enum {
	LABEL_MAX = 63,
	NAME_GIVEN_MAX = 4 * DNS_NAME_MAX, /* octets of UTF-8 */
};

static bool is_label(struct span label)
{
	if (label.len == 0 || label.len > LABEL_MAX || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
			return false;
	return true;
}

static bool is_number(struct span label)
{
	for (size_t i = 0; i < label.len; i++)
		if (!ascii_is_digit(label.ptr[i]))
			return false;
	return true;
}

/* Names of hosts, and those with underscores that are asked for (RFC 8552). The last label is no number: 192.0.2.1 is an address. */
static bool is_name(struct span name)
{
	for (;;) {
		size_t end = span_find(name, '.');
		struct span label = span_sub(name, 0, end);

		if (!is_label(label))
			return false;
		if (end == name.len)
			return !is_number(label);
		name = span_from(name, end + 1);
	}
}

static int take_ascii(struct span name, char out[DNS_NAME_TEXT])
{
	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	if (name.len > DNS_NAME_MAX || !is_name(name))
		return E_SYNTAX;
	for (size_t i = 0; i < name.len; i++)
		out[i] = ascii_lower(name.ptr[i]);
	out[name.len] = '\0';
	return 0;
}

int dns_name_normalize(struct span name, char out[DNS_NAME_TEXT])
{
	char text[NAME_GIVEN_MAX + 1], *ascii = NULL;
	int r;

	if (name.len == 0 || name.len > NAME_GIVEN_MAX || memchr(name.ptr, '\0', name.len) != NULL)
		return E_SYNTAX;
	if (utf8_is_ascii(name))
		return take_ascii(name, out);
	span_copy(name, text, sizeof(text));
	r = idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	if (r != IDN2_OK)
		return r == IDN2_MALLOC ? E_NOMEM : E_SYNTAX;
	r = take_ascii(span_str(ascii), out);
	idn2_free(ascii);
	return r;
}
