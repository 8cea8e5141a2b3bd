/* Folding: the table and utf8proc give the same, whatever stands beside what. */
#include "tests/unit/test.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "mime/fold.h"

#include <stdlib.h>
#include <utf8proc.h>

static int preload(void **state)
{
	(void)state;
	mime_fold_preload();
	return 0;
}

static void folded(const char *from, const char *wanted)
{
	struct buf out;

	buf_init(&out, 1000);
	mime_casefold(span_str(from), &out);
	assert_span_equal(buf_span(&out), wanted);
	buf_fini(&out);
}

static void case_and_composition_do_not_matter(void **state)
{
	(void)state;
	folded("", "");
	folded("PLAIN text, [8] @octets^ {and} `more~", "plain text, [8] @octets^ {and} `more~");
	folded("Stra\xc3\x9f"
	       "e \xc3\x84PFEL \xce\xa3",
	    "strasse a\xcc\x88pfel \xcf\x83");
	folded("caf\xc3\xa9", "cafe\xcc\x81");
	folded("cafe\xcc\x81", "cafe\xcc\x81"); /* the same, composed and not */
	folded("\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2", "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82");
	folded("\xef\xac\x81n \xe2\x84\xaa", "fin k"); /* a ligature, the Kelvin sign */
	folded("\xef\xbc\xa1\xe6\x97\xa5", "a\xe6\x97\xa5");
}

/* Marks are ordered by their class (Unicode, canonical ordering), also behind a letter of the table or plain ASCII. */
static void marks_are_put_in_order(void **state)
{
	(void)state;
	folded("E\xcc\xa3\xcc\x81", "e\xcc\xa3\xcc\x81");
	folded("E\xcc\x81\xcc\xa3", "e\xcc\xa3\xcc\x81");
	folded("\xc3\x89\xcc\xa3", "e\xcc\xa3\xcc\x81");
	folded("12345678\xcc\x81\xcc\xa3", "12345678\xcc\xa3\xcc\x81");
}

static void malformed_text_stays(void **state)
{
	(void)state;
	folded("a\xff", "a\xff");
	folded("\xc3", "\xc3");
	folded("x \xc3", "x \xc3");
}

static void like_utf8proc(struct span text)
{
	utf8proc_uint8_t *wanted = NULL;
	utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text.ptr, (utf8proc_ssize_t)text.len, &wanted,
	    UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD);
	struct buf out;

	assert_true(len >= 0);
	buf_init(&out, 1 << 20);
	mime_casefold(text, &out);
	assert_int_equal(buf_len(&out), len);
	assert_memory_equal(buf_span(&out).ptr, wanted, (size_t)len);
	free(wanted);
	buf_fini(&out);
}

/* Every character, behind ASCII, a letter of the table, and a mark. */
static void every_character(void **state)
{
	static const char *const before[] = {"", "aB", "\xc3\x89", "x\xcc\x81"};

	(void)state;
	for (uint32_t c = 1; c < 0x20000; c++) {
		for (size_t i = 0; i < sizeof(before) / sizeof(before[0]) && (c < 0xd800 || c > 0xdfff); i++) {
			char text[32];
			size_t len = strlen(before[i]);

			memcpy(text, before[i], len);
			len += utf8_put(c, text + len);
			memcpy(text + len, "\xcc\xa3 Z", 4);
			like_utf8proc(span_of(text, len + 4));
		}
	}
}

/* Long texts, so that pieces end at every place of a character and of its marks. */
static void long_texts(void **state)
{
	static const char *const words[] = {"Word ", "\xc3\x89", "e\xcc\x81\xcc\xa3", "\xe6\x97\xa5", "12345678", "\xcc\xa3", "\xc4\xb0 "};
	struct buf text;
	unsigned seed = 1;

	(void)state;
	buf_init(&text, 1 << 16);
	for (int round = 0; round < 200; round++) {
		buf_clear(&text);
		while (buf_len(&text) < 9000) {
			seed = seed * 1103515245 + 12345;
			buf_add_str(&text, words[seed >> 16 & 0x7f ? (seed >> 16) % 2 * 4 : (seed >> 24) % 7]);
		}
		like_utf8proc(buf_span(&text));
	}
	buf_fini(&text);
}

/* Without a blank pieces end at characters too, but not at one that is folded to marks (U+0F73, U+FF9E). */
static void long_runs(void **state)
{
	static const char *const words[] = {"\xe6\x97\xa5", "\xef\xbe\x9e", "\xe0\xbd\xb3", "\xcc\x81", "\xcc\xa3", "\xc3\x89", "a", "\xe1\xb8\x9e"};
	struct buf text;
	unsigned seed = 1;

	(void)state;
	buf_init(&text, 1 << 16);
	for (int round = 0; round < 200; round++) {
		buf_clear(&text);
		while (buf_len(&text) < 2000) {
			seed = seed * 1103515245 + 12345;
			buf_add_str(&text, words[(seed >> 16) % 8]);
		}
		like_utf8proc(buf_span(&text));
	}
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(case_and_composition_do_not_matter),
	    cmocka_unit_test(marks_are_put_in_order),
	    cmocka_unit_test(malformed_text_stays),
	    cmocka_unit_test(every_character),
	    cmocka_unit_test(long_texts),
	    cmocka_unit_test(long_runs),
	};

	return cmocka_run_group_tests(tests, preload, NULL);
}
