#include "resolve/present.h"

#include "base/encode.h"
#include "dns/dns.h"

#include <arpa/inet.h>
#include <string.h>

enum { TYPE_OPT = 41, META_FIRST = 128, META_LAST = 255, TYPE_LAST = 65535 };

/*
 * How RDATA is written: a letter for each field. 1, 2, 4: a number of so many octets; n: a name; t: texts to the end; w: a word; r: the rest as
 * a text; x: the rest as hexadecimal; b: the rest as base64; a, A: an address.
 */
static const struct {
	const char *name;
	unsigned type;
	const char *fields;
} types[] = {
    {"A", DNS_A, "a"},
    {"AAAA", DNS_AAAA, "A"},
    {"CAA", DNS_CAA, "1wr"},
    {"CNAME", DNS_CNAME, "n"},
    {"DNSKEY", DNS_DNSKEY, "211b"},
    {"DS", DNS_DS, "211x"},
    {"MX", DNS_MX, "2n"},
    {"NS", DNS_NS, "n"},
    {"PTR", DNS_PTR, "n"},
    {"SOA", DNS_SOA, "nn44444"},
    {"SRV", DNS_SRV, "222n"},
    {"TLSA", DNS_TLSA, "111x"},
    {"TXT", DNS_TXT, "t"},
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

/* Types that are no data have their numbers from 128 to 255 (RFC 6895 section 3.1); OPT is one too. */
bool present_type_is_data(unsigned type)
{
	return type > 0 && type <= TYPE_LAST && type != TYPE_OPT && (type < META_FIRST || type > META_LAST);
}

bool present_type_find(struct span text, unsigned *type)
{
	uint64_t n;

	for (size_t i = 0; i < TYPES; i++)
		if (span_caseeq(text, span_str(types[i].name))) {
			*type = types[i].type;
			return true;
		}
	if (!span_startscase(text, SPAN_LIT("TYPE")) || !span_u64(span_from(text, 4), TYPE_LAST, &n))
		return false;
	*type = (unsigned)n;
	return present_type_is_data(*type);
}

void present_type(unsigned type, struct buf *out)
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == type) {
			buf_add_str(out, types[i].name);
			return;
		}
	buf_printf(out, "TYPE%u", type);
}

/* ---- fields ---- */

static void add_octet(unsigned char c, const char *special, struct buf *out)
{
	if (c < '!' || c > '~')
		buf_printf(out, "\\%03u", c);
	else if (strchr(special, c) != NULL)
		buf_printf(out, "\\%c", c);
	else
		buf_add_char(out, (char)c);
}

static void add_text(struct span text, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == ' ')
			buf_add_char(out, ' ');
		else
			add_octet((unsigned char)text.ptr[i], "\"\\", out);
	buf_add_char(out, '"');
}

static void add_word(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++)
		add_octet((unsigned char)text.ptr[i], "\"\\();", out);
}

/* One of RFC 1035 section 3.3: a length and so many octets. */
static bool add_counted(struct span *rest, void (*add)(struct span text, struct buf *out), struct buf *out)
{
	struct span text = rest->len > 0 ? span_sub(*rest, 1, (unsigned char)rest->ptr[0]) : SPAN_LIT("");

	if (rest->len == 0 || text.len < (unsigned char)rest->ptr[0])
		return false;
	*rest = span_from(*rest, 1 + text.len);
	add(text, out);
	return true;
}

static bool add_texts(struct span *rest, struct buf *out)
{
	for (bool first = true; first || rest->len > 0; first = false) {
		if (!first)
			buf_add_char(out, ' ');
		if (!add_counted(rest, add_text, out))
			return false;
	}
	return true;
}

/* With its last dot: this is a name in full. Any octet may be in it. */
static bool add_name(struct span *rest, struct buf *out)
{
	for (bool first = true;; first = false) {
		size_t len = rest->len > 0 ? (unsigned char)rest->ptr[0] : 0;

		if (rest->len < 1 + len || len > 63)
			return false;
		for (size_t i = 1; i <= len; i++)
			add_octet((unsigned char)rest->ptr[i], ".\"\\()@;$", out);
		*rest = span_from(*rest, 1 + len);
		if (len > 0 || first)
			buf_add_char(out, '.');
		if (len == 0)
			return true;
	}
}

static bool add_number(struct span *rest, size_t octets, struct buf *out)
{
	uint64_t n = 0;

	if (rest->len < octets)
		return false;
	for (size_t i = 0; i < octets; i++)
		n = n << 8 | (unsigned char)rest->ptr[i];
	*rest = span_from(*rest, octets);
	buf_add_u64(out, n);
	return true;
}

static bool add_address(int family, size_t octets, struct span *rest, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];

	if (rest->len != octets || inet_ntop(family, rest->ptr, text, sizeof(text)) == NULL)
		return false;
	*rest = span_from(*rest, octets);
	buf_add_str(out, text);
	return true;
}

static void add_hex(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++)
		buf_printf(out, "%02X", (unsigned char)s.ptr[i]);
}

static bool add_field(char field, struct span *rest, struct buf *out)
{
	struct span all = *rest;

	switch (field) {
	case 'a':
		return add_address(AF_INET, 4, rest, out);
	case 'A':
		return add_address(AF_INET6, 16, rest, out);
	case 'n':
		return add_name(rest, out);
	case 't':
		return add_texts(rest, out);
	case 'w':
		return add_counted(rest, add_word, out);
	case 'r':
		*rest = SPAN_LIT("");
		add_text(all, out);
		return true;
	case 'x':
		*rest = SPAN_LIT("");
		add_hex(all, out);
		return true;
	case 'b':
		*rest = SPAN_LIT("");
		base64_encode(out, all);
		return true;
	default:
		return add_number(rest, (size_t)(field - '0'), out);
	}
}

static bool add_fields(const char *fields, struct span rdata, struct buf *out)
{
	for (const char *f = fields; *f != '\0'; f++) {
		if (f != fields)
			buf_add_char(out, ' ');
		if (!add_field(*f, &rdata, out))
			return false;
	}
	return rdata.len == 0;
}

/* RFC 3597 section 5. */
static void add_unknown(struct span rdata, struct buf *out)
{
	buf_printf(out, "\\# %zu%s", rdata.len, rdata.len > 0 ? " " : "");
	add_hex(rdata, out);
}

void present_rdata(unsigned type, struct span rdata, struct buf *out)
{
	size_t start = buf_len(out);

	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == type) {
			if (add_fields(types[i].fields, rdata, out))
				return;
			buf_cut(out, start);
		}
	add_unknown(rdata, out);
}
