/*
 * ENVELOPE, BODY and BODYSTRUCTURE of any message, held against the grammar of RFC 3501
 * section 9; and the sections that a client can ask for.
 *
 * Input: what stands in the brackets of BODY[], a line end, the message.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/body.h"
#include "imap/facts.h"
#include "imap/fetch.h"
#include "imapd/message.h"
#include "mime/parts.h"

enum { POOL_HERE = 64 * 1024 * 1024, DEPTH_HERE = MIME_DEPTH_MAX + 3 };

/* ---- the grammar ---- */

static void take_char(struct imap_lex *lex, char c)
{
	fuzz_assert(imap_lex_take(lex, c));
}

static bool take_nil(struct imap_lex *lex)
{
	if (!span_startswith(span_from(lex->in, lex->at), SPAN_LIT("NIL")))
		return false;
	lex->at += 3;
	return true;
}

/* Quoted: 7 bits and no line end. */
static struct span take_string(struct imap_lex *lex)
{
	bool quoted = imap_lex_sees(lex, '"');
	struct span s;

	fuzz_assert(imap_lex_string(lex, &s));
	for (size_t i = 0; quoted && i < s.len; i++)
		fuzz_assert(s.ptr[i] >= ' ' && (unsigned char)s.ptr[i] < 0x7f);
	fuzz_assert(s.len == 0 || memchr(s.ptr, '\0', s.len) == NULL);
	return s;
}

static void take_nstring(struct imap_lex *lex)
{
	if (!take_nil(lex))
		take_string(lex);
}

static void take_number(struct imap_lex *lex)
{
	uint64_t n;

	fuzz_assert(imap_lex_number(lex, UINT32_MAX, &n));
}

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")" */
static void take_addresses(struct imap_lex *lex)
{
	if (take_nil(lex))
		return;
	take_char(lex, '(');
	do {
		take_char(lex, '(');
		for (int i = 0; i < 4; i++) {
			if (i > 0)
				take_char(lex, ' ');
			take_nstring(lex);
		}
		take_char(lex, ')');
	} while (!imap_lex_take(lex, ')'));
}

static void take_envelope(struct imap_lex *lex)
{
	take_char(lex, '(');
	for (int i = 0; i < 10; i++) {
		if (i > 0)
			take_char(lex, ' ');
		if (i >= 2 && i <= 7)
			take_addresses(lex);
		else
			take_nstring(lex);
	}
	take_char(lex, ')');
}

static void take_parameters(struct imap_lex *lex)
{
	if (take_nil(lex))
		return;
	take_char(lex, '(');
	do {
		take_string(lex);
		take_char(lex, ' ');
		take_string(lex);
	} while (imap_lex_take(lex, ' '));
	take_char(lex, ')');
}

/* SP body-fld-dsp SP body-fld-lang SP body-fld-loc */
static void take_extension(struct imap_lex *lex)
{
	take_char(lex, ' ');
	if (!take_nil(lex)) {
		take_char(lex, '(');
		take_string(lex);
		take_char(lex, ' ');
		take_parameters(lex);
		take_char(lex, ')');
	}
	take_char(lex, ' ');
	take_nstring(lex);
	take_char(lex, ' ');
	take_nstring(lex);
}

static void take_body(struct imap_lex *lex, bool extended, unsigned depth);

static void take_single(struct imap_lex *lex, bool extended, unsigned depth)
{
	struct span type = take_string(lex), subtype;

	take_char(lex, ' ');
	subtype = take_string(lex);
	take_char(lex, ' ');
	take_parameters(lex);
	take_char(lex, ' ');
	take_nstring(lex);
	take_char(lex, ' ');
	take_nstring(lex);
	take_char(lex, ' ');
	take_string(lex);
	take_char(lex, ' ');
	take_number(lex);
	if (span_caseeq(type, SPAN_LIT("message")) && (span_caseeq(subtype, SPAN_LIT("rfc822")) || span_caseeq(subtype, SPAN_LIT("global")))) {
		take_char(lex, ' ');
		take_envelope(lex);
		take_char(lex, ' ');
		take_body(lex, extended, depth + 1);
		take_char(lex, ' ');
		take_number(lex);
	} else if (span_caseeq(type, SPAN_LIT("text"))) {
		take_char(lex, ' ');
		take_number(lex);
	}
	if (extended && imap_lex_take(lex, ' ')) {
		take_nstring(lex);
		take_extension(lex);
	}
}

static void take_multipart(struct imap_lex *lex, bool extended, unsigned depth)
{
	while (imap_lex_sees(lex, '('))
		take_body(lex, extended, depth + 1);
	take_char(lex, ' ');
	take_string(lex);
	if (extended && imap_lex_take(lex, ' ')) {
		take_parameters(lex);
		take_extension(lex);
	}
}

static void take_body(struct imap_lex *lex, bool extended, unsigned depth)
{
	fuzz_assert(depth <= DEPTH_HERE);
	take_char(lex, '(');
	if (imap_lex_sees(lex, '('))
		take_multipart(lex, extended, depth);
	else
		take_single(lex, extended, depth);
	take_char(lex, ')');
}

static void look_at_facts(const struct imap_facts *facts, struct span message, struct pool *pool)
{
	struct imap_lex lex;

	fuzz_assert(facts->header_size <= message.len);
	fuzz_assert(facts->envelope.len <= IMAP_TEXT_MAX && facts->body.len <= IMAP_TEXT_MAX && facts->bodystructure.len <= IMAP_TEXT_MAX);
	imap_lex_init(&lex, facts->envelope, pool);
	take_envelope(&lex);
	fuzz_assert(lex.at == facts->envelope.len);
	imap_lex_init(&lex, facts->body, pool);
	take_body(&lex, false, 0);
	fuzz_assert(lex.at == facts->body.len);
	imap_lex_init(&lex, facts->bodystructure, pool);
	take_body(&lex, true, 0);
	fuzz_assert(lex.at == facts->bodystructure.len);
}

/* ---- sections ---- */

static void try_section(struct span asked, const struct imap_facts *facts, struct span message, struct pool *pool)
{
	struct imap_fetch *fetch;
	struct imap_lex lex;
	struct buf text, fields;
	struct span out;

	buf_init(&text, 65536);
	buf_init(&fields, 1024 * 1024);
	buf_printf(&text, "BODY[%.*s]", SPAN_ARG(asked));
	imap_lex_init(&lex, buf_span(&text), pool);
	fetch = imap_fetch_parse(&lex);
	if (fetch != NULL && fetch->count == 1 && section_find(&fetch->items[0].section, message, facts->parts, &fields, &out)) {
		fuzz_assert(out.len <= message.len + 2 && !buf_failed(&fields));
		fuzz_assert(out.len == 0 || fuzz_within(message, out) || fuzz_within(buf_span(&fields), out));
	}
	buf_fini(&fields);
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct span asked = fuzz_until(&input, '\n');
	struct imap_facts facts;
	struct mime_place place;
	struct err err;

	fuzz_assert(imap_facts_find(input, pool, &facts, &err) == 0);
	look_at_facts(&facts, input, pool);
	for (size_t i = 0; i < facts.parts.len / MIME_PLACE_SIZE; i++)
		fuzz_assert(mime_parts_get(facts.parts, i, input.len, &place));
	try_section(asked, &facts, input, pool);
	pool_free(&pool);
}
