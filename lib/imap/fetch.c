#include "imap/fetch.h"

#include "imap/body.h"

static struct imap_fetch_item *item_put(struct imap_fetch *fetch, enum imap_fetch_kind kind)
{
	struct imap_fetch_item *item = &fetch->items[fetch->count++];

	item->kind = kind;
	item->peek = true;
	switch (kind) {
	case IMAP_FETCH_UID:
		fetch->has_uid = true;
		break;
	case IMAP_FETCH_FLAGS:
		fetch->has_flags = true;
		break;
	case IMAP_FETCH_ENVELOPE:
	case IMAP_FETCH_BODY:
	case IMAP_FETCH_BODYSTRUCTURE:
		fetch->needs_facts = true;
		break;
	case IMAP_FETCH_SECTION:
		fetch->needs_facts = fetch->needs_file = true;
		break;
	default:
		break;
	}
	return item;
}

static struct imap_fetch_item *item_new(struct imap_lex *lex, struct imap_fetch *fetch, enum imap_fetch_kind kind)
{
	if (fetch->count < IMAP_FETCH_MAX)
		return item_put(fetch, kind);
	imap_lex_fail(lex, "too many items in one FETCH");
	return NULL;
}

void imap_fetch_add(struct imap_fetch *fetch, enum imap_fetch_kind kind)
{
	if (kind == IMAP_FETCH_UID ? !fetch->has_uid : !fetch->has_flags)
		item_put(fetch, kind);
}

/* ---- sections ---- */

static const struct {
	struct span word;
	enum imap_section_kind kind;
} section_words[] = {
    {SPAN_LIT("HEADER"), IMAP_SECTION_HEADER},
    {SPAN_LIT("HEADER.FIELDS"), IMAP_SECTION_FIELDS},
    {SPAN_LIT("HEADER.FIELDS.NOT"), IMAP_SECTION_FIELDS_NOT},
    {SPAN_LIT("TEXT"), IMAP_SECTION_TEXT},
    {SPAN_LIT("MIME"), IMAP_SECTION_MIME},
};

static bool take_path(struct imap_lex *lex, struct imap_section *section)
{
	section->path = pool_array(lex->pool, IMAP_SECTION_DEPTH_MAX, sizeof(uint32_t));
	if (section->path == NULL)
		return imap_lex_fail(lex, "the command is too large");
	while (lex->at < lex->in.len && ascii_is_digit(lex->in.ptr[lex->at])) {
		uint64_t n;

		if (section->depth == IMAP_SECTION_DEPTH_MAX)
			return imap_lex_fail(lex, "a section goes too deep");
		if (!imap_lex_number(lex, UINT32_MAX, &n) || n == 0)
			return imap_lex_fail(lex, "a part number is not 1 or more");
		section->path[section->depth++] = (uint32_t)n;
		if (!imap_lex_take(lex, '.'))
			break;
		if (lex->at < lex->in.len && !ascii_is_alnum(lex->in.ptr[lex->at]))
			return imap_lex_fail(lex, "a section ends in '.'");
	}
	return true;
}

static bool take_fields(struct imap_lex *lex, struct imap_section *section)
{
	section->fields = pool_array(lex->pool, IMAP_SECTION_FIELDS_MAX, sizeof(struct span));
	if (section->fields == NULL)
		return imap_lex_fail(lex, "the command is too large");
	imap_lex_space(lex);
	imap_lex_char(lex, '(');
	do {
		if (section->field_count == IMAP_SECTION_FIELDS_MAX)
			return imap_lex_fail(lex, "too many header fields");
		imap_lex_astring(lex, &section->fields[section->field_count++]);
	} while (imap_lex_take(lex, ' '));
	return imap_lex_char(lex, ')');
}

static bool take_section(struct imap_lex *lex, struct imap_section *section)
{
	struct span word;
	size_t i, known = sizeof(section_words) / sizeof(section_words[0]);

	if (!imap_lex_char(lex, '[') || !take_path(lex, section))
		return false;
	word = imap_lex_word(lex);
	for (i = 0; i < known && !span_caseeq(word, section_words[i].word); i++)
		;
	if (i < known)
		section->kind = section_words[i].kind;
	else if (word.len > 0)
		return imap_lex_fail(lex, "there is no such section");
	if (section->depth > 0 && (lex->in.ptr[lex->at - word.len - 1] == '.') != (word.len > 0))
		return imap_lex_fail(lex, "between a part's number and what follows stands one '.'");
	if (section->kind == IMAP_SECTION_MIME && section->depth == 0)
		return imap_lex_fail(lex, "MIME needs a part number");
	if (section->kind == IMAP_SECTION_FIELDS || section->kind == IMAP_SECTION_FIELDS_NOT)
		take_fields(lex, section);
	return imap_lex_char(lex, ']');
}

static bool take_partial(struct imap_lex *lex, struct imap_fetch_item *item)
{
	uint64_t offset, count;

	if (!imap_lex_take(lex, '<'))
		return lex->wrong == NULL;
	if (!imap_lex_number(lex, UINT32_MAX, &offset) || !imap_lex_char(lex, '.') ||
	    !imap_lex_number(lex, UINT32_MAX, &count) || !imap_lex_char(lex, '>'))
		return false;
	if (count == 0)
		return imap_lex_fail(lex, "a partial of no octets");
	item->partial = true;
	item->offset = (uint32_t)offset;
	item->count = (uint32_t)count;
	return true;
}

static void label_section(struct buf *out, const struct imap_section *section)
{
	buf_add_str(out, "BODY[");
	for (size_t i = 0; i < section->depth; i++) {
		if (i > 0)
			buf_add_char(out, '.');
		buf_add_u64(out, section->path[i]);
	}
	if (section->kind == IMAP_SECTION_WHOLE)
		return;
	if (section->depth > 0)
		buf_add_char(out, '.');
	for (size_t i = 0; i < sizeof(section_words) / sizeof(section_words[0]); i++)
		if (section_words[i].kind == section->kind)
			buf_add_span(out, section_words[i].word);
	for (size_t i = 0; i < section->field_count; i++) {
		buf_add_str(out, i == 0 ? " (" : " ");
		imap_string_format(section->fields[i], out);
	}
	if (section->field_count > 0)
		buf_add_char(out, ')');
}

static bool label(struct imap_lex *lex, struct imap_fetch_item *item)
{
	struct buf text;

	buf_init(&text, IMAP_TEXT_MAX);
	label_section(&text, &item->section);
	buf_add_char(&text, ']');
	if (item->partial)
		buf_printf(&text, "<%u>", item->offset);
	item->label = buf_failed(&text) ? (struct span){0} : pool_span(lex->pool, buf_span(&text));
	if (text.starved)
		pool_starve(lex->pool);
	buf_fini(&text);
	return item->label.ptr != NULL ? true : imap_lex_fail(lex, "the command is too large");
}

static bool take_body(struct imap_lex *lex, struct imap_fetch *fetch, bool peek)
{
	struct imap_fetch_item *item = item_new(lex, fetch, IMAP_FETCH_SECTION);

	if (item == NULL)
		return false;
	item->peek = peek;
	fetch->sets_seen |= !peek;
	return take_section(lex, &item->section) && take_partial(lex, item) && label(lex, item);
}

/* ---- items ---- */

static const struct {
	struct span word;
	enum imap_fetch_kind kind;
	enum imap_section_kind section;
	bool seen;
} item_words[] = {
    {SPAN_LIT("UID"), IMAP_FETCH_UID, 0, false},
    {SPAN_LIT("FLAGS"), IMAP_FETCH_FLAGS, 0, false},
    {SPAN_LIT("INTERNALDATE"), IMAP_FETCH_INTERNALDATE, 0, false},
    {SPAN_LIT("RFC822.SIZE"), IMAP_FETCH_SIZE, 0, false},
    {SPAN_LIT("ENVELOPE"), IMAP_FETCH_ENVELOPE, 0, false},
    {SPAN_LIT("BODYSTRUCTURE"), IMAP_FETCH_BODYSTRUCTURE, 0, false},
    {SPAN_LIT("RFC822"), IMAP_FETCH_SECTION, IMAP_SECTION_WHOLE, true},
    {SPAN_LIT("RFC822.HEADER"), IMAP_FETCH_SECTION, IMAP_SECTION_HEADER, false},
    {SPAN_LIT("RFC822.TEXT"), IMAP_FETCH_SECTION, IMAP_SECTION_TEXT, true},
};

static bool take_item(struct imap_lex *lex, struct imap_fetch *fetch)
{
	struct span word = imap_lex_word(lex);

	if (span_caseeq(word, SPAN_LIT("BODY.PEEK")))
		return take_body(lex, fetch, true);
	if (span_caseeq(word, SPAN_LIT("BODY")))
		return imap_lex_sees(lex, '[') ? take_body(lex, fetch, false)
					       : item_new(lex, fetch, IMAP_FETCH_BODY) != NULL;
	for (size_t i = 0; i < sizeof(item_words) / sizeof(item_words[0]); i++) {
		struct imap_fetch_item *item;

		if (!span_caseeq(word, item_words[i].word))
			continue;
		item = item_new(lex, fetch, item_words[i].kind);
		if (item == NULL)
			return false;
		item->section.kind = item_words[i].section;
		item->peek = !item_words[i].seen;
		item->label = item_words[i].word;
		fetch->sets_seen |= item_words[i].seen;
		return true;
	}
	return imap_lex_fail(lex, "there is no such FETCH item");
}

/* ALL, FAST and FULL stand alone (section 6.4.5). */
static bool take_macro(struct imap_lex *lex, struct imap_fetch *fetch)
{
	struct imap_lex saved = *lex;
	struct span word = imap_lex_word(lex);
	bool fast = span_caseeq(word, SPAN_LIT("FAST"));
	bool all = span_caseeq(word, SPAN_LIT("ALL"));
	bool full = span_caseeq(word, SPAN_LIT("FULL"));

	if (!fast && !all && !full) {
		*lex = saved;
		return false;
	}
	item_new(lex, fetch, IMAP_FETCH_FLAGS);
	item_new(lex, fetch, IMAP_FETCH_INTERNALDATE);
	item_new(lex, fetch, IMAP_FETCH_SIZE);
	if (all || full)
		item_new(lex, fetch, IMAP_FETCH_ENVELOPE);
	if (full)
		item_new(lex, fetch, IMAP_FETCH_BODY);
	return true;
}

struct imap_fetch *imap_fetch_parse(struct imap_lex *lex)
{
	struct imap_fetch *fetch = pool_new_object(lex->pool, struct imap_fetch);

	if (fetch == NULL) {
		imap_lex_fail(lex, "the command is too large");
		return NULL;
	}
	if (imap_lex_take(lex, '(')) {
		do
			take_item(lex, fetch);
		while (imap_lex_take(lex, ' '));
		imap_lex_char(lex, ')');
	} else if (!take_macro(lex, fetch)) {
		take_item(lex, fetch);
	}
	return imap_lex_end(lex) ? fetch : NULL;
}
