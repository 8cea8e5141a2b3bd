#include "resolve/packet.h"

#include "base/bytes.h"

#include <string.h>

enum {
	HEADER = 12,
	CLASS_IN = 1,
	LABEL_MAX = 63,
	POINTER = 0xc0,
	SOA_MINIMUM = 20, /* octets of numbers behind SOA's names, the last four of them this */
	TTL_MAX = 0x7fffffff,
};

struct wire_name {
	unsigned char text[PACKET_NAME_MAX]; /* in lower case */
	size_t len;
};

struct record {
	struct wire_name owner;
	unsigned type, class;
	uint32_t ttl;
	size_t at, len; /* of the RDATA */
};

static unsigned u8(struct span s, size_t at)
{
	return (unsigned char)s.ptr[at];
}

static unsigned u16(struct span s, size_t at)
{
	return u8(s, at) << 8 | u8(s, at + 1);
}

static uint32_t u32(struct span s, size_t at)
{
	return (uint32_t)u16(s, at) << 16 | u16(s, at + 2);
}

static bool add_label(struct span packet, size_t at, size_t len, struct wire_name *out)
{
	if (len > packet.len - at || out->len + 1 + len + 1 > PACKET_NAME_MAX)
		return false;
	out->text[out->len++] = (unsigned char)len;
	for (size_t i = 0; i < len; i++)
		out->text[out->len++] = (unsigned char)ascii_lower(packet.ptr[at + i]);
	return true;
}

/* RFC 1035 section 4.1.4. A pointer leads backwards only, so that there is an end. *at: behind the name afterwards. */
static bool take_name(struct span packet, size_t *at, struct wire_name *out)
{
	size_t here = *at, bound = *at;
	bool jumped = false;

	out->len = 0;
	for (;;) {
		unsigned n;

		if (here >= packet.len)
			return false;
		n = u8(packet, here);
		if (n >= POINTER) {
			if (packet.len - here < 2)
				return false;
			if (!jumped)
				*at = here + 2;
			jumped = true;
			here = u16(packet, here) & 0x3fff;
			if (here >= bound)
				return false;
			bound = here;
			continue;
		}
		if (n > LABEL_MAX)
			return false;
		here++;
		if (n == 0)
			break;
		if (!add_label(packet, here, n, out))
			return false;
		here += n;
	}
	out->text[out->len++] = 0;
	if (!jumped)
		*at = here;
	return true;
}

static bool names_equal(const struct wire_name *a, const struct wire_name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* name is normalized: labels fit. */
static void name_to_wire(struct span name, struct wire_name *out)
{
	out->len = 0;
	while (name.len > 0) {
		size_t end = span_find(name, '.');

		if (!add_label(name, 0, end, out))
			break;
		name = span_from(name, end + 1);
	}
	out->text[out->len++] = 0;
}

static bool take_record(struct span packet, size_t *at, struct record *out)
{
	if (!take_name(packet, at, &out->owner) || packet.len - *at < 10)
		return false;
	out->type = u16(packet, *at);
	out->class = u16(packet, *at + 2);
	out->ttl = u32(packet, *at + 4);
	if (out->ttl > TTL_MAX)
		out->ttl = 0;
	out->len = u16(packet, *at + 8);
	out->at = *at + 10;
	if (out->len > packet.len - out->at)
		return false;
	*at = out->at + out->len;
	return true;
}

/* ---- RDATA with whole names ---- */

/* Octets before the names, and how many names; what stands behind them is taken as it is. */
static void layout(unsigned type, size_t *before, size_t *names)
{
	*before = 0;
	*names = 0;
	switch (type) {
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		*names = 1;
		break;
	case DNS_SOA:
		*names = 2;
		break;
	case DNS_MX:
		*before = 2;
		*names = 1;
		break;
	case DNS_SRV:
		*before = 6;
		*names = 1;
		break;
	default:
		break;
	}
}

static bool expand(struct span packet, const struct record *record, struct buf *out)
{
	size_t before, names, at = record->at, end = record->at + record->len;
	struct wire_name name;

	layout(record->type, &before, &names);
	if (before > record->len)
		return false;
	buf_add(out, packet.ptr + at, before);
	for (at += before; names > 0; names--) {
		if (!take_name(packet, &at, &name) || at > end)
			return false;
		buf_add(out, name.text, name.len);
	}
	buf_add(out, packet.ptr + at, end - at);
	return true;
}

/* One that has no room is left out, and all behind it. */
static bool add_record(struct span packet, const struct record *record, struct buf *records, struct packet_answer *out)
{
	size_t start = buf_len(records);
	char *length;

	if (out->cut)
		return true;
	buf_add(records, "\0\0", 2);
	if (!expand(packet, record, records))
		return false;
	if (buf_failed(records) || buf_len(records) - start - 2 > UINT16_MAX) {
		buf_cut(records, start);
		out->cut = true;
		return true;
	}
	length = records->data + records->start + start;
	put_le(length, buf_len(records) - start - 2, 2);
	return true;
}

/* ---- the message ---- */

struct message {
	struct span packet;
	size_t answers_at;
	unsigned answers, authorities;
};

static bool message_begin(struct span packet, struct message *m)
{
	struct wire_name name;
	size_t at = HEADER;

	if (packet.len < HEADER)
		return false;
	*m = (struct message){.packet = packet, .answers = u16(packet, 6), .authorities = u16(packet, 8)};
	for (unsigned questions = u16(packet, 4); questions > 0; questions--) {
		if (!take_name(packet, &at, &name) || packet.len - at < 4)
			return false;
		at += 4;
	}
	m->answers_at = at;
	return true;
}

static void least_ttl(struct packet_answer *out, uint32_t ttl)
{
	if (ttl < out->ttl)
		out->ttl = ttl;
}

/* What the answers say of one name: its records, or the alias it is. */
static bool look_for(const struct message *m, const struct wire_name *name, unsigned type, struct buf *records, struct packet_answer *out,
    struct wire_name *alias)
{
	size_t at = m->answers_at;
	struct record record;

	alias->len = 0;
	for (unsigned i = 0; i < m->answers; i++) {
		if (!take_record(m->packet, &at, &record))
			return false;
		if (record.class != CLASS_IN || !names_equal(&record.owner, name))
			continue;
		if (record.type == type) {
			least_ttl(out, record.ttl);
			if (!add_record(m->packet, &record, records, out))
				return false;
		} else if (record.type == DNS_CNAME) {
			size_t target = record.at;

			least_ttl(out, record.ttl);
			if (!take_name(m->packet, &target, alias) || target != record.at + record.len)
				return false;
		}
	}
	return true;
}

/* How long a denial holds (RFC 2308 section 5). Without an SOA it is not kept. */
static bool denial_ttl(const struct message *m, struct packet_answer *out)
{
	size_t at = m->answers_at;
	struct record record;
	bool found = false;

	for (unsigned i = 0; i < m->answers + m->authorities; i++) {
		if (!take_record(m->packet, &at, &record))
			return false;
		if (i < m->answers || record.type != DNS_SOA || record.len < SOA_MINIMUM)
			continue;
		least_ttl(out, record.ttl);
		least_ttl(out, u32(m->packet, record.at + record.len - 4));
		found = true;
	}
	if (!found)
		out->ttl = 0;
	return true;
}

static int name_to_text(const struct wire_name *name, char out[DNS_NAME_TEXT])
{
	struct span wire = span_of(name->text, name->len);

	return dns_name_parse(&wire, out) == 0 ? 0 : E_CONTENT;
}

/* An alias that leads in a circle ends at PACKET_ALIASES, without records. */
static int follow(const struct message *m, struct wire_name *name, unsigned type, struct buf *records, struct packet_answer *out)
{
	struct wire_name alias;

	for (int i = 0; i < PACKET_ALIASES; i++) {
		if (!look_for(m, name, type, records, out, &alias))
			return E_CONTENT;
		if (buf_len(records) > 0 || out->cut || alias.len == 0)
			break;
		*name = alias;
		if (name_to_text(name, out->canonical) != 0)
			return E_CONTENT;
	}
	return 0;
}

int packet_read(struct span packet, struct span name, unsigned type, struct buf *records, struct packet_answer *out)
{
	struct wire_name at;
	struct message m;
	int r;

	buf_clear(records);
	*out = (struct packet_answer){.ttl = TTL_MAX};
	if (!message_begin(packet, &m))
		return E_CONTENT;
	out->rcode = u8(packet, 3) & 15;
	name_to_wire(name, &at);
	r = follow(&m, &at, type, records, out);
	if (r == 0 && buf_len(records) == 0 && !denial_ttl(&m, out))
		r = E_CONTENT;
	return r;
}
