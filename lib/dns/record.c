/* What the resolver replied, and what is in the records of it. */
#include "dns/private.h"

#include "base/bytes.h"

#include <string.h>

enum {
	RCODE_NOERROR = 0,
	RCODE_SERVFAIL = 2,
	RCODE_NXDOMAIN = 3,
	RCODE_REFUSED = 5,
	LABEL_MAX = 63,
	WIRE_NAME_MAX = 255,
};

static unsigned u8(struct span s, size_t at)
{
	return (unsigned char)s.ptr[at];
}

static unsigned u16(struct span s, size_t at)
{
	return u8(s, at) << 8 | u8(s, at + 1);
}

/* As lib/ipc/dns.def has them: a length and that many octets. */
bool dns_record_next(struct span *records, struct span *rdata)
{
	size_t len;

	if (records->len < 2)
		return false;
	len = (size_t)get_le(records->ptr, 2);
	if (records->len - 2 < len)
		return false;
	*rdata = span_sub(*records, 2, len);
	*records = span_from(*records, 2 + len);
	return true;
}

static bool are_records(struct span records)
{
	struct span rdata;

	while (dns_record_next(&records, &rdata))
		;
	return records.len == 0;
}

static struct span why_rcode(unsigned rcode)
{
	switch (rcode) {
	case RCODE_SERVFAIL:
		return SPAN_LIT("SERVFAIL: the name servers of the domain, or of one above it, gave no usable answer");
	case RCODE_REFUSED:
		return SPAN_LIT("REFUSED: the name server does not answer questions from here");
	default:
		return SPAN_LIT("the name servers answered with an error");
	}
}

static enum dns_result result_of(const struct dns_reply *reply)
{
	if (reply->code != 0)
		return reply->code == E_SYNTAX ? DNS_NO_NAME : DNS_TEMPORARY;
	if (reply->security == DNS_BOGUS)
		return DNS_IS_BOGUS;
	if (reply->rcode == RCODE_NXDOMAIN)
		return DNS_NO_NAME;
	if (reply->rcode != RCODE_NOERROR)
		return DNS_TEMPORARY;
	return reply->records.len > 0 ? DNS_FOUND : DNS_NO_DATA;
}

int dns_answer_read(const struct dns_reply *reply, struct dns_answer *out)
{
	*out = (struct dns_answer){0};
	if (reply->security > DNS_BOGUS || !are_records(reply->records))
		return E_PROTO;
	out->result = result_of(reply);
	if (out->result == DNS_TEMPORARY || out->result == DNS_IS_BOGUS) {
		out->why = reply->why;
		if (out->why.len == 0)
			out->why = reply->code != 0 ? span_str(err_text(reply->code)) : why_rcode(reply->rcode);
		return 0;
	}
	out->secure = reply->code == 0 && reply->security == DNS_SECURE;
	out->ttl = reply->ttl;
	out->canonical = reply->canonical;
	if (out->result == DNS_FOUND) {
		out->records = reply->records;
		out->cut = reply->cut;
	}
	return 0;
}

/* The underscore is for names such as _dmarc; all else could mean something to who reads the name. */
static bool is_name_octet(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_';
}

/* RFC 1035 section 3.1, without the pointers of section 4.1.4: there is no message for them to point into. */
int dns_name_parse(struct span *wire, char out[DNS_NAME_TEXT])
{
	size_t at = 0, n = 0;

	for (;;) {
		size_t label;

		if (at >= wire->len)
			return E_SYNTAX;
		label = u8(*wire, at++);
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > wire->len - at || at + label + 1 > WIRE_NAME_MAX)
			return E_SYNTAX;
		if (n > 0)
			out[n++] = '.';
		for (; label > 0; label--, at++) {
			if (!is_name_octet(wire->ptr[at]))
				return E_SYNTAX;
			out[n++] = ascii_lower(wire->ptr[at]);
		}
	}
	out[n] = '\0';
	*wire = span_from(*wire, at);
	return 0;
}

/* A name that is the rest of the RDATA. */
static int last_name(struct span rdata, size_t at, char out[DNS_NAME_TEXT])
{
	struct span rest = span_from(rdata, at);
	int r = dns_name_parse(&rest, out);

	return r == 0 && rest.len > 0 ? E_SYNTAX : r;
}

int dns_mx_parse(struct span rdata, struct dns_mx *out)
{
	if (rdata.len < 3)
		return E_SYNTAX;
	out->preference = u16(rdata, 0);
	return last_name(rdata, 2, out->host);
}

int dns_tlsa_parse(struct span rdata, struct dns_tlsa *out)
{
	if (rdata.len < 4)
		return E_SYNTAX;
	*out = (struct dns_tlsa){.usage = u8(rdata, 0), .selector = u8(rdata, 1), .matching = u8(rdata, 2), .data = span_from(rdata, 3)};
	return 0;
}

/* RFC 2782. */
int dns_srv_parse(struct span rdata, struct dns_srv *out)
{
	if (rdata.len < 7)
		return E_SYNTAX;
	out->priority = u16(rdata, 0);
	out->weight = u16(rdata, 2);
	out->port = u16(rdata, 4);
	return last_name(rdata, 6, out->host);
}

int dns_address_parse(enum dns_type type, struct span rdata, struct sockaddr_storage *out)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	memset(out, 0, sizeof(*out));
	if (type == DNS_A && rdata.len == sizeof(in.sin_addr)) {
		memcpy(&in.sin_addr, rdata.ptr, rdata.len);
		memcpy(out, &in, sizeof(in));
		return 0;
	}
	if (type == DNS_AAAA && rdata.len == sizeof(in6.sin6_addr)) {
		memcpy(&in6.sin6_addr, rdata.ptr, rdata.len);
		memcpy(out, &in6, sizeof(in6));
		return 0;
	}
	return E_SYNTAX;
}

bool dns_txt_parse(struct span rdata, char *out, size_t size, size_t *len)
{
	*len = 0;
	if (rdata.len == 0)
		return false;
	while (rdata.len > 0) {
		struct span text = span_sub(rdata, 1, u8(rdata, 0));

		if (text.len < u8(rdata, 0) || text.len > size - *len)
			return false;
		if (text.len > 0)
			memcpy(out + *len, text.ptr, text.len);
		*len += text.len;
		rdata = span_from(rdata, 1 + text.len);
	}
	return true;
}
