/* FETCH items (RFC 3501 section 9: fetch, fetch-att, section). */
#include "tests/unit/test.h"

#include "imap/fetch.h"

#include <stdio.h>
#include <stdlib.h>

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 16 * 1024 * 1024);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

static struct imap_fetch *fetch(const char *text)
{
	struct imap_lex lex;
	struct imap_fetch *f;

	imap_lex_init(&lex, span_str(text), pool);
	f = imap_fetch_parse(&lex);
	if ((f == NULL) != (lex.wrong != NULL))
		fail_msg("%s", text);
	return f;
}

/* Each fetch-att alone and in a list, in any case; what it needs, whether it sets \Seen (section 6.4.5). */
static void every_item(void **state)
{
	static const struct {
		const char *text;
		enum imap_fetch_kind kind;
		bool peek, facts, file, uid, flags;
		const char *label;
	} rows[] = {
	    {"ENVELOPE", IMAP_FETCH_ENVELOPE, true, true, false, false, false, NULL},
	    {"FLAGS", IMAP_FETCH_FLAGS, true, false, false, false, true, NULL},
	    {"INTERNALDATE", IMAP_FETCH_INTERNALDATE, true, false, false, false, false, NULL},
	    {"RFC822", IMAP_FETCH_SECTION, false, true, true, false, false, "RFC822"},
	    {"RFC822.HEADER", IMAP_FETCH_SECTION, true, true, true, false, false, "RFC822.HEADER"},
	    {"RFC822.SIZE", IMAP_FETCH_SIZE, true, false, false, false, false, NULL},
	    {"RFC822.TEXT", IMAP_FETCH_SECTION, false, true, true, false, false, "RFC822.TEXT"},
	    {"BODY", IMAP_FETCH_BODY, true, true, false, false, false, NULL},
	    {"BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE, true, true, false, false, false, NULL},
	    {"UID", IMAP_FETCH_UID, true, false, false, true, false, NULL},
	    {"BODY[]", IMAP_FETCH_SECTION, false, true, true, false, false, "BODY[]"},
	    {"BODY.PEEK[]", IMAP_FETCH_SECTION, true, true, true, false, false, "BODY[]"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int form = 0; form < 3; form++) {
			char text[64];
			struct imap_fetch *f;

			snprintf(text, sizeof(text), form == 1 ? "(%s)" : "%s", rows[i].text);
			for (char *c = text; form == 2 && *c != '\0'; c++)
				*c = ascii_lower(*c);
			f = fetch(text);
			assert_non_null(f);
			assert_int_equal(f->count, 1);
			assert_int_equal(f->items[0].kind, rows[i].kind);
			assert_int_equal(f->items[0].peek, rows[i].peek);
			assert_int_equal(f->sets_seen, !rows[i].peek);
			assert_int_equal(f->needs_facts, rows[i].facts);
			assert_int_equal(f->needs_file, rows[i].file);
			assert_int_equal(f->has_uid, rows[i].uid);
			assert_int_equal(f->has_flags, rows[i].flags);
			if (rows[i].label != NULL)
				assert_span_equal(f->items[0].label, rows[i].label);
		}
}

/* Section 6.4.5: ALL, FAST and FULL are what is written there, in that order. */
static void the_macros(void **state)
{
	static const enum imap_fetch_kind order[] = {IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_SIZE, IMAP_FETCH_ENVELOPE, IMAP_FETCH_BODY};
	static const struct {
		const char *text;
		size_t count;
	} rows[] = {{"FAST", 3}, {"ALL", 4}, {"FULL", 5}, {"full", 5}};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct imap_fetch *f = fetch(rows[i].text);

		assert_int_equal(f->count, rows[i].count);
		for (size_t k = 0; k < f->count; k++)
			assert_int_equal(f->items[k].kind, order[k]);
	}
	assert_null(fetch("(ALL)"));
	assert_null(fetch("ALL FAST"));
	assert_null(fetch("ALLX"));
}

/* section-spec = section-msgtext / (section-part ["." section-text]) */
static void every_section(void **state)
{
	static const struct {
		const char *text;
		enum imap_section_kind kind;
		size_t depth;
		const char *label;
	} rows[] = {
	    {"BODY[]", IMAP_SECTION_WHOLE, 0, "BODY[]"},
	    {"BODY[HEADER]", IMAP_SECTION_HEADER, 0, "BODY[HEADER]"},
	    {"BODY[TEXT]", IMAP_SECTION_TEXT, 0, "BODY[TEXT]"},
	    {"BODY[HEADER.FIELDS (Subject)]", IMAP_SECTION_FIELDS, 0, "BODY[HEADER.FIELDS (\"Subject\")]"},
	    {"BODY[header.fields.not (\"To\" {2}\r\ncc)]", IMAP_SECTION_FIELDS_NOT, 0, "BODY[HEADER.FIELDS.NOT (\"To\" \"cc\")]"},
	    {"BODY[1]", IMAP_SECTION_WHOLE, 1, "BODY[1]"},
	    {"BODY[4294967295.1.22]", IMAP_SECTION_WHOLE, 3, "BODY[4294967295.1.22]"},
	    {"BODY[1.MIME]", IMAP_SECTION_MIME, 1, "BODY[1.MIME]"},
	    {"BODY[1.2.HEADER]", IMAP_SECTION_HEADER, 2, "BODY[1.2.HEADER]"},
	    {"BODY[1.TEXT]", IMAP_SECTION_TEXT, 1, "BODY[1.TEXT]"},
	    {"BODY[1.HEADER.FIELDS (a]b)]", IMAP_SECTION_FIELDS, 1, "BODY[1.HEADER.FIELDS (\"a]b\")]"},
	    {"BODY.PEEK[TEXT]<0.1>", IMAP_SECTION_TEXT, 0, "BODY[TEXT]<0>"},
	    {"BODY[1]<4294967295.4294967295>", IMAP_SECTION_WHOLE, 1, "BODY[1]<4294967295>"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_fetch *f = fetch(rows[i].text);

		if (f == NULL)
			fail_msg("%s", rows[i].text);
		assert_int_equal(f->items[0].section.kind, rows[i].kind);
		assert_int_equal(f->items[0].section.depth, rows[i].depth);
		assert_span_equal(f->items[0].label, rows[i].label);
	}
	assert_int_equal(fetch("BODY[4294967295.1.22]")->items[0].section.path[0], 4294967295U);
	assert_true(fetch("BODY[]<7.9>")->items[0].partial);
	assert_int_equal(fetch("BODY[]<7.9>")->items[0].offset, 7);
	assert_int_equal(fetch("BODY[]<7.9>")->items[0].count, 9);
	assert_false(fetch("BODY[]")->items[0].partial);
}

static void what_is_none(void **state)
{
	static const char *const bad[] = {
	    "", " ", "()", "( FLAGS)", "(FLAGS )", "(FLAGS  UID)", "(FLAGS", "FLAGS)", "FLAGS UID", "FLAGSX", "ENVELOP", "RFC822.PEEK", "RFC822.", "BODY.", "BODY.PEEK", "BODYSTRUCTURE[]", "UID[]",
	    "BODY [1]", "BODY[", "BODY[1", "BODY[TEXT", "BODY[]x", "BODY[]<", "BODY[]<1", "BODY[]<1.2", "BODY[]<1>", "BODY[]<.1>", "BODY[]<1.>", "BODY[]<1.0>", "BODY[]<-1.1>", "BODY[]<0.4294967296>",
	    "BODY[]<4294967296.1>", "BODY[]<1.2>>", "RFC822<0.1>",
	    "BODY[0]", "BODY[1.0]", "BODY[.1]", "BODY[1.]", "BODY[1..2]", "BODY[1.2.]", "BODY[-1]", "BODY[1,2]", "BODY[4294967296]", "BODY[*]", "BODY[1 ]", "BODY[ 1]",
	    "BODY[MIME]", "BODY[TEXT.1]", "BODY[TEXT.MIME]", "BODY[HEADER.TEXT]", "BODY[1.BODY]", "BODY[HEADERS]", "BODY[1MIME]", "BODY[1TEXT]", "BODY[1HEADER]",
	    "BODY[HEADER (a)]", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[HEADER.FIELDS(a)]", "BODY[HEADER.FIELDS  (a)]", "BODY[HEADER.FIELDS a]", "BODY[HEADER.FIELDS (a]", "BODY[HEADER.FIELDS (a b )]",
	    "BODY[HEADER.FIELDS (a)x]", "BODY[HEADER.FIELDS.NOT]", "BODY[HEADER.FIELDS.NO (a)]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (fetch(bad[i]) != NULL)
			fail_msg("accepted: %s", bad[i]);
}

static void bounds(void **state)
{
	char text[20000] = "(";
	struct imap_fetch *f;

	(void)state;
	for (int i = 0; i < IMAP_FETCH_MAX; i++)
		strcat(text, i > 0 ? " RFC822.SIZE" : "RFC822.SIZE");
	strcat(text, ")");
	f = fetch(text);
	assert_int_equal(f->count, IMAP_FETCH_MAX);
	/* UID FETCH answers with the UID whatever was asked for (section 6.4.8). */
	imap_fetch_add(f, IMAP_FETCH_UID);
	imap_fetch_add(f, IMAP_FETCH_FLAGS);
	assert_int_equal(f->count, IMAP_FETCH_MAX + 2);
	assert_int_equal(f->items[IMAP_FETCH_MAX].kind, IMAP_FETCH_UID);
	assert_true(f->has_uid && f->has_flags);
	text[strlen(text) - 1] = '\0';
	strcat(text, " UID)");
	assert_null(fetch(text));
	strcpy(text, "BODY[1");
	for (int i = 1; i < IMAP_SECTION_DEPTH_MAX; i++)
		strcat(text, ".1");
	strcat(text, "]");
	assert_int_equal(fetch(text)->items[0].section.depth, IMAP_SECTION_DEPTH_MAX);
	text[strlen(text) - 1] = '\0';
	strcat(text, ".1]");
	assert_null(fetch(text));
	strcpy(text, "BODY[HEADER.FIELDS (");
	for (int i = 0; i < IMAP_SECTION_FIELDS_MAX; i++)
		strcat(text, i > 0 ? " x" : "x");
	strcat(text, ")]");
	assert_int_equal(fetch(text)->items[0].section.field_count, IMAP_SECTION_FIELDS_MAX);
	text[strlen(text) - 2] = '\0';
	strcat(text, " x)]");
	assert_null(fetch(text));
}

static void what_is_there_is_not_added(void **state)
{
	struct imap_fetch *f = fetch("(UID FLAGS)");

	(void)state;
	imap_fetch_add(f, IMAP_FETCH_UID);
	imap_fetch_add(f, IMAP_FETCH_FLAGS);
	assert_int_equal(f->count, 2);
	f = fetch("BODY[]");
	imap_fetch_add(f, IMAP_FETCH_FLAGS);
	imap_fetch_add(f, IMAP_FETCH_FLAGS);
	assert_int_equal(f->count, 2);
	assert_int_equal(f->items[1].kind, IMAP_FETCH_FLAGS);
}

/* Wherever the command's memory ends, it is an error. */
static void without_memory(void **state)
{
	static const char *const texts[] = {"(FLAGS BODY[1.2.HEADER.FIELDS (\"\\\"\" b)]<0.1>)", "FULL"};
	bool made = false;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		made = false;
		for (size_t max = 16; !made; max += 16) {
			struct pool *small = pool_new(NULL, max);
			struct imap_lex lex;

			imap_lex_init(&lex, span_str(texts[i]), small);
			made = imap_fetch_parse(&lex) != NULL;
			if (!made)
				assert_string_equal(lex.wrong, "the command is too large");
			pool_free(&small);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_item, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_macros, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_section, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(bounds, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_there_is_not_added, setup, teardown),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
