/* The envelope's bytes: version, numbers little-endian, texts after a u32 length. Decoding is strict. */
#include "spool/spool.h"

#include "base/bytes.h"

enum {
	ENVELOPE_VERSION_1 = 1, /* without release and submitter, and with no flag but SMTPUTF8 */
	ENVELOPE_VERSION = 2,
	ENVELOPE_TEXT_MAX = 64 * 1024,
};
enum { FLAG_SMTPUTF8 = 1, FLAG_REQUIRETLS = 2, FLAG_TLS_OPTIONAL = 4, FLAGS = 7 };
enum { FLAG_LOCAL = 1 }; /* of a recipient */

static void put(struct buf *out, uint64_t n, size_t bytes)
{
	unsigned char wire[8];

	put_le(wire, n, bytes);
	buf_add(out, wire, bytes);
}

static void put_text(struct buf *out, struct span s)
{
	put(out, s.len, 4);
	buf_add_span(out, s);
}

static void put_recipient(struct buf *out, const struct spool_recipient *r)
{
	put_text(out, r->address);
	put_text(out, r->orcpt);
	put(out, r->notify, 1);
	put(out, r->local ? FLAG_LOCAL : 0, 1);
	put(out, r->account, 8);
	put(out, r->quota, 8);
	put_text(out, r->canonical);
	put_text(out, r->detail);
	put_text(out, r->grant);
}

static bool texts_fit(const struct span *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (texts[i].len > ENVELOPE_TEXT_MAX)
			return false;
	return true;
}

/* Nothing is written that would be refused when it is read. */
static bool envelope_fits(const struct spool_envelope *e)
{
	const struct span texts[] = {e->sender, e->envid, e->client, e->helo, e->prepend};

	if (e->recipient_count == 0 || e->recipient_count > SPOOL_RECIPIENTS_MAX || !texts_fit(texts, 5))
		return false;
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];
		const struct span of_one[] = {r->address, r->orcpt, r->canonical, r->detail, r->grant};

		if (r->address.len == 0 || !texts_fit(of_one, 5))
			return false;
	}
	return true;
}

static unsigned flags_of(const struct spool_envelope *e)
{
	return (e->smtputf8 ? FLAG_SMTPUTF8 : 0) | (e->requiretls ? FLAG_REQUIRETLS : 0) | (e->tls_optional ? FLAG_TLS_OPTIONAL : 0);
}

int spool_envelope_encode(const struct spool_envelope *e, struct buf *out)
{
	size_t before = buf_len(out);

	if (!envelope_fits(e))
		return E_TOOBIG;
	put(out, ENVELOPE_VERSION, 1);
	put(out, e->source, 1);
	put(out, (uint64_t)e->arrived, 8);
	put(out, e->ret, 1);
	put(out, e->body, 1);
	put(out, flags_of(e), 1);
	put(out, (uint64_t)e->release, 8);
	put(out, e->submitter, 8);
	put_text(out, e->sender);
	put_text(out, e->envid);
	put_text(out, e->client);
	put_text(out, e->helo);
	put_text(out, e->prepend);
	put(out, e->recipient_count, 4);
	for (size_t i = 0; i < e->recipient_count; i++)
		put_recipient(out, &e->recipients[i]);
	if (buf_failed(out) && out->starved)
		return E_NOMEM;
	return buf_failed(out) || buf_len(out) - before > SPOOL_ENVELOPE_MAX ? E_TOOBIG : 0;
}

static bool get(struct span *wire, size_t bytes, uint64_t *out)
{
	*out = 0;
	if (wire->len < bytes)
		return false;
	*out = get_le(wire->ptr, bytes);
	*wire = span_from(*wire, bytes);
	return true;
}

static bool get_text(struct span *wire, struct span *out)
{
	uint64_t len;

	if (!get(wire, 4, &len) || len > wire->len || len > ENVELOPE_TEXT_MAX)
		return false;
	*out = span_sub(*wire, 0, (size_t)len);
	*wire = span_from(*wire, (size_t)len);
	return true;
}

static bool get_recipient(struct span *wire, struct spool_recipient *r)
{
	uint64_t notify, flags;

	if (!get_text(wire, &r->address) || !get_text(wire, &r->orcpt) || !get(wire, 1, &notify) ||
	    !get(wire, 1, &flags) || notify > 15 || flags > FLAG_LOCAL || !get(wire, 8, &r->account) ||
	    !get(wire, 8, &r->quota) || !get_text(wire, &r->canonical) || !get_text(wire, &r->detail) ||
	    !get_text(wire, &r->grant))
		return false;
	r->notify = (uint32_t)notify;
	r->local = flags & FLAG_LOCAL;
	return r->address.len > 0;
}

static bool get_flags(struct span *wire, uint64_t version, struct spool_envelope *e)
{
	uint64_t flags, release = 0;

	if (!get(wire, 1, &flags) || flags > (version == ENVELOPE_VERSION_1 ? FLAG_SMTPUTF8 : FLAGS))
		return false;
	e->smtputf8 = flags & FLAG_SMTPUTF8;
	e->requiretls = flags & FLAG_REQUIRETLS;
	e->tls_optional = flags & FLAG_TLS_OPTIONAL;
	if (version != ENVELOPE_VERSION_1 && (!get(wire, 8, &release) || !get(wire, 8, &e->submitter)))
		return false;
	e->release = (int64_t)release;
	return e->release >= 0;
}

static bool get_head(struct span *wire, struct spool_envelope *e, uint64_t *count)
{
	uint64_t version, source, arrived, ret, body;

	if (!get(wire, 1, &version) || version < ENVELOPE_VERSION_1 || version > ENVELOPE_VERSION || !get(wire, 1, &source) ||
	    !get(wire, 8, &arrived) || !get(wire, 1, &ret) || !get(wire, 1, &body) || source < SPOOL_FROM_SMTP ||
	    source > SPOOL_FROM_BOUNCE || ret > SPOOL_RET_HDRS || body > SPOOL_BODY_BINARYMIME || !get_flags(wire, version, e))
		return false;
	e->source = (enum spool_source)source;
	e->arrived = (int64_t)arrived;
	e->ret = (enum spool_ret)ret;
	e->body = (enum spool_body)body;
	return get_text(wire, &e->sender) && get_text(wire, &e->envid) && get_text(wire, &e->client) &&
	       get_text(wire, &e->helo) && get_text(wire, &e->prepend) && get(wire, 4, count) && *count >= 1 &&
	       *count <= SPOOL_RECIPIENTS_MAX;
}

int spool_envelope_decode(struct span wire, struct pool *pool, struct spool_envelope *e, struct err *err)
{
	uint64_t count;

	*e = (struct spool_envelope){0};
	if (wire.len > SPOOL_ENVELOPE_MAX || !get_head(&wire, e, &count))
		return err_set(err, E_CORRUPT, "envelope: damaged at its head");
	e->recipients = pool_array(pool, (size_t)count, sizeof(*e->recipients));
	if (e->recipients == NULL)
		return err_set(err, E_NOMEM, "envelope: out of memory");
	e->recipient_count = (size_t)count;
	for (size_t i = 0; i < e->recipient_count; i++)
		if (!get_recipient(&wire, &e->recipients[i]))
			return err_set(err, E_CORRUPT, "envelope: damaged at recipient %zu", i);
	return wire.len == 0 ? 0 : err_set(err, E_CORRUPT, "envelope: %zu surplus bytes", wire.len);
}
