/*
 * What FETCH asks for: within the limits; and a section's label, which names it in the
 * answer, asks for the same again.
 *
 * Input: the arguments behind the sequence set.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/fetch.h"

enum { POOL_HERE = 16 * 1024 * 1024 };

static void compare(const struct imap_section *a, const struct imap_section *b)
{
	fuzz_assert(a->kind == b->kind && a->depth == b->depth && a->field_count == b->field_count);
	for (size_t i = 0; i < a->depth; i++)
		fuzz_assert(a->path[i] == b->path[i]);
	for (size_t i = 0; i < a->field_count; i++)
		fuzz_assert_same(a->fields[i], b->fields[i]);
}

/* "BODY[1.2]<3>" as a request: "BODY[1.2]<3.4>". */
static void ask_again(const struct imap_fetch_item *item, struct pool *pool)
{
	struct span label = item->label;
	struct imap_fetch *again;
	struct imap_lex lex;
	struct buf text;

	if (!span_startswith(label, SPAN_LIT("BODY[")))
		return;
	buf_init(&text, 4 * 1024 * 1024);
	if (item->partial)
		while (label.ptr[label.len - 1] != '<')
			label.len--;
	buf_add_span(&text, label);
	if (item->partial)
		buf_printf(&text, "%u.%u>", item->offset, item->count);
	imap_lex_init(&lex, buf_span(&text), pool);
	again = imap_fetch_parse(&lex);
	fuzz_assert(again != NULL && again->count == 1 && again->items[0].kind == IMAP_FETCH_SECTION && !again->items[0].peek);
	fuzz_assert(again->items[0].partial == item->partial && again->items[0].offset == item->offset && again->items[0].count == item->count);
	compare(&item->section, &again->items[0].section);
	fuzz_assert_same(item->label, again->items[0].label);
	buf_fini(&text);
}

static void look_at_item(const struct imap_fetch *fetch, const struct imap_fetch_item *item)
{
	const struct imap_section *s = &item->section;

	fuzz_assert(item->kind <= IMAP_FETCH_SECTION && s->kind <= IMAP_SECTION_MIME);
	fuzz_assert(s->depth <= IMAP_SECTION_DEPTH_MAX && s->field_count <= IMAP_SECTION_FIELDS_MAX);
	fuzz_assert(!item->partial || item->count > 0);
	fuzz_assert(item->peek || fetch->sets_seen);
	for (size_t i = 0; i < s->depth; i++)
		fuzz_assert(s->path[i] > 0);
	if (s->kind == IMAP_SECTION_FIELDS || s->kind == IMAP_SECTION_FIELDS_NOT)
		fuzz_assert(s->field_count > 0);
	if (s->kind == IMAP_SECTION_MIME)
		fuzz_assert(s->depth > 0);
	if (item->kind == IMAP_FETCH_SECTION)
		fuzz_assert(fetch->needs_file && fetch->needs_facts && item->label.len > 0);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct imap_fetch *fetch;
	struct imap_lex lex;

	imap_lex_init(&lex, input, pool);
	fetch = imap_fetch_parse(&lex);
	fuzz_assert((fetch == NULL) == (lex.wrong != NULL) && lex.at <= lex.in.len);
	if (fetch != NULL) {
		fuzz_assert(fetch->count > 0 && fetch->count <= IMAP_FETCH_MAX && lex.at == lex.in.len);
		for (size_t i = 0; i < fetch->count; i++) {
			look_at_item(fetch, &fetch->items[i]);
			ask_again(&fetch->items[i], pool);
		}
		imap_fetch_add(fetch, IMAP_FETCH_UID);
		imap_fetch_add(fetch, IMAP_FETCH_FLAGS);
		/* There is room for both in what a client may ask for, or the last place is taken. */
		fuzz_assert((fetch->has_uid && fetch->has_flags) || fetch->count == IMAP_FETCH_MAX);
	}
	pool_free(&pool);
}
