#include "imapd/searcher.h"

#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/encoding.h"
#include "mime/fold.h"
#include "mime/parts.h"
#include "mime/words.h"

void searcher_init(struct searcher *se, struct session *s)
{
	*se = (struct searcher){.s = s};
	buf_init(&se->decoded, SEARCH_TEXT_MAX);
	buf_init(&se->utf8, 2 * SEARCH_TEXT_MAX);
	buf_init(&se->folded, 4 * SEARCH_TEXT_MAX);
	buf_init(&se->header, SEARCH_TEXT_MAX);
}

void searcher_free(struct searcher *se)
{
	message_bytes_free(&se->bytes);
	buf_fini(&se->decoded);
	buf_fini(&se->utf8);
	buf_fini(&se->folded);
	buf_fini(&se->header);
}

/* ---- the texts that are looked for ---- */

static int prepare_key(struct searcher *se, struct span charset, struct imap_search_key *key)
{
	for (; key != NULL; key = key->next) {
		if (key->kind <= IMAP_SEARCH_NOT) {
			if (prepare_key(se, charset, key->first) != 0)
				return E_NOMEM;
			continue;
		}
		if (key->kind < IMAP_SEARCH_HEADER)
			continue;
		buf_clear(&se->utf8);
		buf_clear(&se->folded);
		mime_to_utf8(charset, key->text, &se->utf8);
		mime_casefold(buf_span(&se->utf8), &se->folded);
		key->text = pool_span(se->s->pool, buf_span(&se->folded));
		if (key->text.ptr == NULL || buf_failed(&se->utf8) || buf_failed(&se->folded))
			return E_NOMEM;
	}
	return 0;
}

int searcher_prepare(struct searcher *se, struct imap_search *search)
{
	/* Without CHARSET clients send UTF-8 in literals and mean it. */
	return mime_charset_is_known(search->charset) ? prepare_key(se, search->charset, search->root) : E_UNSUPPORTED;
}

/* ---- comparing ---- */

static bool holds(struct span text, struct span wanted)
{
	return wanted.len == 0 || memmem(text.ptr, text.len, wanted.ptr, wanted.len) != NULL;
}

/* ASCII folded with a loop the compiler makes vectors of. */
static void fold_ascii(struct span text, struct buf *out)
{
	char *to;

	buf_clear(out);
	to = buf_reserve(out, text.len);
	if (to == NULL)
		return;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		to[i] = (char)(c + ((unsigned char)(c - 'A') < 26) * 32);
	}
	buf_added(out, text.len);
}

/* utf8: text already in that charset. */
static bool text_holds(struct searcher *se, struct span utf8, struct span wanted)
{
	if (utf8_is_ascii(utf8)) {
		fold_ascii(utf8, &se->folded);
	} else {
		buf_clear(&se->folded);
		mime_casefold(utf8, &se->folded);
	}
	return holds(buf_span(&se->folded), wanted);
}

/* ---- headers ---- */

static bool value_holds(struct searcher *se, struct span value, struct span wanted)
{
	buf_clear(&se->decoded);
	buf_clear(&se->utf8);
	mime_unfold(value, &se->decoded);
	mime_words_decode(buf_span(&se->decoded), &se->utf8);
	return text_holds(se, buf_span(&se->utf8), wanted);
}

static bool header_matches(struct searcher *se, struct span header, const struct imap_search_key *key)
{
	struct mime_field field;

	while (mime_field_next(&header, &field))
		if (span_caseeq(field.name, key->name) && (key->text.len == 0 || value_holds(se, field.value, key->text)))
			return true;
	return false;
}

/* A whole header section as text: names, colons and decoded values. */
static bool header_text_holds(struct searcher *se, struct span header, struct span wanted)
{
	struct mime_field field;

	/* Nothing encoded and nothing folded that matters: as it lies there. */
	if (utf8_is_ascii(header) && memmem(header.ptr, header.len, "=?", 2) == NULL) {
		fold_ascii(header, &se->folded);
		if (holds(buf_span(&se->folded), wanted))
			return true;
		if (memmem(header.ptr, header.len, "\n ", 2) == NULL && memmem(header.ptr, header.len, "\n\t", 2) == NULL)
			return false;
	}
	buf_clear(&se->header);
	while (mime_field_next(&header, &field)) {
		buf_add_span(&se->header, field.name);
		buf_add_str(&se->header, ": ");
		buf_clear(&se->decoded);
		mime_unfold(field.value, &se->decoded);
		mime_words_decode(buf_span(&se->decoded), &se->header);
		buf_add_char(&se->header, '\n');
	}
	return text_holds(se, buf_span(&se->header), wanted);
}

/* ---- bodies ---- */

struct part_text {
	enum mime_encoding encoding;
	struct span charset; /* pooled */
	bool is_text;
};

static void part_describe(struct searcher *se, struct span header, struct part_text *out)
{
	struct mime_content content;
	struct mime_field field;

	*out = (struct part_text){.is_text = true};
	if (mime_field_find(header, SPAN_LIT("Content-Transfer-Encoding"), &field))
		out->encoding = mime_encoding_find(field.value);
	if (mime_field_find(header, SPAN_LIT("Content-Type"), &field) && mime_content_parse(field.value, se->s->message_pool, &content)) {
		out->is_text = span_caseeq(content.type, SPAN_LIT("text"));
		out->charset = mime_content_parameter(&content, SPAN_LIT("charset"));
	}
}

/* Where a decoded piece may be cut: behind its last line end, else before the last character begun. */
static size_t cut_at(struct span s)
{
	size_t at = s.len;

	while (at > 0 && s.ptr[at - 1] != '\n')
		at--;
	if (at > 0)
		return at;
	for (at = s.len; at > 0 && ((unsigned char)s.ptr[at - 1] & 0xc0) == 0x80; at--)
		;
	return at > 0 ? at - 1 : s.len;
}

static bool piece_holds(struct searcher *se, struct span charset, struct span octets, struct span wanted)
{
	if (utf8_is_ascii(octets) && (charset.len == 0 || mime_charset_is_utf8(charset) || memchr(octets.ptr, 27, octets.len) == NULL)) {
		fold_ascii(octets, &se->folded);
		if (holds(buf_span(&se->folded), wanted))
			return true;
		if (memchr(octets.ptr, 27, octets.len) == NULL && memchr(octets.ptr, '+', octets.len) == NULL && memchr(octets.ptr, 0, octets.len) == NULL)
			return false;
	}
	if (mime_charset_is_utf8(charset) && utf8_is_valid(octets))
		return text_holds(se, octets, wanted);
	buf_clear(&se->utf8);
	mime_to_utf8(charset, octets, &se->utf8);
	return text_holds(se, buf_span(&se->utf8), wanted);
}

/* Large bodies in pieces that overlap by what is looked for. */
static bool body_holds(struct searcher *se, const struct part_text *part, struct span body, struct span wanted)
{
	enum { PIECE = 1024 * 1024 };
	struct mime_decoder decoder;

	if (part->encoding == MIME_ENCODING_NONE && body.len <= SEARCH_TEXT_MAX / 2)
		return piece_holds(se, part->charset, body, wanted);
	mime_decoder_init(&decoder, part->encoding);
	buf_clear(&se->decoded);
	while (body.len > 0) {
		struct span piece = span_sub(body, 0, PIECE);
		size_t cut, keep;

		body = span_from(body, piece.len);
		mime_decode(&decoder, piece, &se->decoded);
		if (body.len == 0)
			mime_decode_end(&decoder, &se->decoded);
		cut = body.len == 0 ? buf_len(&se->decoded) : cut_at(buf_span(&se->decoded));
		if (piece_holds(se, part->charset, span_sub(buf_span(&se->decoded), 0, cut), wanted))
			return true;
		keep = cut > 4 * wanted.len ? cut - 4 * wanted.len : 0;
		while (keep > 0 && ((unsigned char)buf_span(&se->decoded).ptr[keep] & 0xc0) == 0x80)
			keep--;
		buf_take(&se->decoded, keep);
		if (buf_failed(&se->decoded))
			return false;
	}
	return false;
}

/* Damage does not get better and costs one message; anything else does, and the client must ask again. */
static bool fail(struct searcher *se, int code, const struct err *err)
{
	se->failed = true;
	if (code != E_CORRUPT && code != E_NOTFOUND && se->code == 0) {
		se->code = code;
		se->err = *err;
	}
	return false;
}

static bool ready_bytes(struct searcher *se)
{
	struct err err = {0};
	int r;

	if (se->bytes.bytes.ptr != NULL || se->message->size == 0)
		return true;
	r = message_bytes_open(se->s, se->message, &se->bytes, &err);
	return r == 0 ? !se->failed : fail(se, r, &err);
}

static bool ready_facts(struct searcher *se)
{
	struct err err = {0};
	int r = se->has_facts ? 0 : message_facts(se->s, se->txn, se->message, &se->bytes, &se->facts, &err);

	se->has_facts = true;
	return r == 0 ? !se->failed : fail(se, r, &err);
}

static struct span part_header(const struct searcher *se, const struct mime_place *place)
{
	return span_sub(se->bytes.bytes, place->header_offset, place->header_size);
}

/* Every text part, its transfer encoding undone (section 6.4.4, BODY); headers of parts too when `headers`. */
static bool parts_hold(struct searcher *se, struct span wanted, bool headers)
{
	struct mime_place place;

	if (!ready_facts(se) || !ready_bytes(se))
		return false;
	for (size_t i = 0; mime_parts_get(se->facts.parts, i, se->bytes.bytes.len, &place); i++) {
		struct part_text part;

		/* The header of the message itself only for TEXT; those of messages inside are part of the body. */
		if ((headers || i > 0) && header_text_holds(se, part_header(se, &place), wanted))
			return true;
		if (place.kind == MIME_MULTIPART || place.kind == MIME_MESSAGE)
			continue;
		part_describe(se, part_header(se, &place), &part);
		if (part.is_text && body_holds(se, &part, span_sub(se->bytes.bytes, place.body_offset, place.body_size), wanted))
			return true;
	}
	return false;
}

static bool header_key_matches(struct searcher *se, const struct imap_search_key *key)
{
	if (!ready_facts(se) || !ready_bytes(se))
		return false;
	return header_matches(se, span_sub(se->bytes.bytes, 0, se->facts.header_size), key);
}

/* ---- the tree ---- */

static int64_t day_of(int64_t when)
{
	return when >= 0 ? when / 86400 : (when - 86399) / 86400;
}

static bool has_keyword(const struct searcher *se, struct span name)
{
	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		if (span_caseeq(se->mailbox->keywords[i], name))
			return (se->message->keywords >> i & 1) != 0;
	return false;
}

static bool sent_matches(struct searcher *se, const struct imap_search_key *key)
{
	int64_t day;

	if (!ready_facts(se))
		return false;
	day = day_of(se->facts.sent);
	if (key->kind == IMAP_SEARCH_SENTBEFORE)
		return day < day_of(key->when);
	return key->kind == IMAP_SEARCH_SENTON ? day == day_of(key->when) : day >= day_of(key->when);
}

/* Depth is bounded by IMAP_SEARCH_DEPTH. */
static bool key_matches(struct searcher *se, const struct imap_search_key *key)
{
	const struct store_message *m = se->message;

	switch (key->kind) {
	case IMAP_SEARCH_AND:
		for (const struct imap_search_key *k = key->first; k != NULL; k = k->next)
			if (!key_matches(se, k))
				return false;
		return true;
	case IMAP_SEARCH_OR:
		for (const struct imap_search_key *k = key->first; k != NULL; k = k->next)
			if (key_matches(se, k))
				return true;
		return false;
	case IMAP_SEARCH_NOT:
		return !key_matches(se, key->first);
	case IMAP_SEARCH_ALL:
		return true;
	case IMAP_SEARCH_SEQUENCE:
		return imap_set_has(&key->set, se->sequence);
	case IMAP_SEARCH_UID:
		return imap_set_has(&key->set, m->uid);
	case IMAP_SEARCH_FLAG:
		return (m->flags & key->number) != 0;
	case IMAP_SEARCH_KEYWORD:
		return has_keyword(se, key->text);
	case IMAP_SEARCH_RECENT:
		return m->uid >= se->s->view.recent_from;
	case IMAP_SEARCH_BEFORE:
		return day_of(m->arrived) < day_of(key->when);
	case IMAP_SEARCH_ON:
		return day_of(m->arrived) == day_of(key->when);
	case IMAP_SEARCH_SINCE:
		return day_of(m->arrived) >= day_of(key->when);
	case IMAP_SEARCH_LARGER:
		return m->size > key->number;
	case IMAP_SEARCH_SMALLER:
		return m->size < key->number;
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return sent_matches(se, key);
	case IMAP_SEARCH_HEADER:
		return header_key_matches(se, key);
	case IMAP_SEARCH_BODY:
		return parts_hold(se, key->text, false);
	case IMAP_SEARCH_TEXT:
		return parts_hold(se, key->text, true);
	}
	return false;
}

bool searcher_matches(struct searcher *se, const struct imap_search_key *root, const struct store_message *message, uint32_t sequence)
{
	struct err err = {0};
	bool matches;

	se->message = message;
	se->sequence = sequence;
	se->has_facts = false;
	se->failed = false;
	message_bytes_close(&se->bytes);
	matches = key_matches(se, root);
	if (se->decoded.starved || se->utf8.starved || se->folded.starved || se->header.starved)
		return fail(se, err_set(&err, E_NOMEM, "no memory to look into a message"), &err);
	return matches && !se->failed;
}
