/* Charsets made UTF-8, and UTF-8 made fit for comparing. */
#include "tests/unit/test.h"

#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/fold.h"

#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>

static struct buf out;

static const char *to_utf8(const char *charset, struct span text)
{
	buf_clear(&out);
	mime_to_utf8(span_str(charset), text, &out);
	assert_true(utf8_is_valid(buf_span(&out)));
	return buf_cstr(&out);
}

/* Inside the sandbox a charset that was not opened is read as windows-1252. Runs before anything is opened. */
static void what_was_not_opened_is_windows_1252(void **state)
{
	(void)state;
	assert_string_equal(to_utf8("koi8-r", SPAN_LIT("\x93quoted\x94 \x80 100 \x85")), "\xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x82\xac 100 \xe2\x80\xa6");
	assert_string_equal(to_utf8("iso-8859-1", SPAN_LIT("\xe4\xf6\xfc\xdf\xa0")), "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc2\xa0");
	/* All of it as the C library has it; five octets stand for nothing. */
	for (unsigned c = 1; c < 256; c++) {
		char in[1] = {(char)c}, want[8] = "", *from = in, *to = want;
		size_t in_left = 1, out_left = sizeof(want) - 1;
		iconv_t cd = iconv_open("UTF-8", "WINDOWS-1252");

		if (iconv(cd, &from, &in_left, &to, &out_left) == (size_t)-1)
			snprintf(want, sizeof(want), "\xef\xbf\xbd");
		iconv_close(cd);
		if (strcmp(to_utf8("windows-1252", span_of(in, 1)), want) != 0)
			fail_msg("%x", c);
	}
}

/* A word of each; the last letter too, which some conversions hold back for a mark that may follow. */
static void words_of_each_charset(void **state)
{
	static const struct {
		const char *charset;
		struct span text;
		const char *want;
	} rows[] = {
	    {"utf-8", SPAN_LIT("\xc3\xa4"), "\xc3\xa4"}, {"UTF8", SPAN_LIT("\xc3\xa4"), "\xc3\xa4"}, {"us-ascii", SPAN_LIT("a"), "a"}, {"ascii", SPAN_LIT("a"), "a"}, {"", SPAN_LIT("a"), "a"},
	    {"ISO-8859-1", SPAN_LIT("\xe4\x80"), "\xc3\xa4\xe2\x82\xac"}, {"latin1", SPAN_LIT("\xe4"), "\xc3\xa4"}, {"windows-1252", SPAN_LIT("\x80"), "\xe2\x82\xac"}, {"cp1252", SPAN_LIT("\x80"), "\xe2\x82\xac"},
	    {"iso-8859-2", SPAN_LIT("\xb3"), "\xc5\x82"}, {"iso-8859-5", SPAN_LIT("\xbf"), "\xd0\x9f"}, {"iso-8859-7", SPAN_LIT("\xe1"), "\xce\xb1"}, {"iso-8859-9", SPAN_LIT("\xfd"), "\xc4\xb1"},
	    {"iso-8859-15", SPAN_LIT("\xa4"), "\xe2\x82\xac"}, {"windows-1250", SPAN_LIT("\xb3"), "\xc5\x82"}, {"windows-1251", SPAN_LIT("\xcf"), "\xd0\x9f"}, {"windows-1253", SPAN_LIT("\xe1"), "\xce\xb1"},
	    {"windows-1254", SPAN_LIT("\xfd"), "\xc4\xb1"}, {"windows-1255", SPAN_LIT("\xf9\xec\xe5\xed"), "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"}, {"windows-1256", SPAN_LIT("\xc7"), "\xd8\xa7"},
	    {"windows-1257", SPAN_LIT("\xe0"), "\xc4\x85"}, {"windows-1258", SPAN_LIT("a\xea"), "a\xc3\xaa"}, {"koi8-r", SPAN_LIT("\xf0"), "\xd0\x9f"}, {"koi8-u", SPAN_LIT("\xa4"), "\xd1\x94"},
	    {"iso-2022-jp", SPAN_LIT("\x1b$BF|K\\\x1b(B"), "\xe6\x97\xa5\xe6\x9c\xac"}, {"Shift_JIS", SPAN_LIT("\x93\xfa"), "\xe6\x97\xa5"}, {"shift-jis", SPAN_LIT("\x93\xfa"), "\xe6\x97\xa5"},
	    {"euc-jp", SPAN_LIT("\xc6\xfc"), "\xe6\x97\xa5"}, {"gb2312", SPAN_LIT("\xc8\xd5"), "\xe6\x97\xa5"}, {"gbk", SPAN_LIT("\xc8\xd5"), "\xe6\x97\xa5"}, {"gb18030", SPAN_LIT("\xc8\xd5"), "\xe6\x97\xa5"},
	    {"big5", SPAN_LIT("\xa4\xe9"), "\xe6\x97\xa5"}, {"euc-kr", SPAN_LIT("\xc0\xcf"), "\xec\x9d\xbc"}, {"ks_c_5601-1987", SPAN_LIT("\xc0\xcf"), "\xec\x9d\xbc"}, {"tis-620", SPAN_LIT("\xa1"), "\xe0\xb8\x81"},
	    {"utf-16be", SPAN_LIT("\0a\x20\xac"), "a\xe2\x82\xac"}, {"utf-16le", SPAN_LIT("a\0\xac\x20"), "a\xe2\x82\xac"}, {"utf-16", SPAN_LIT("\xfe\xff\0a"), "a"}, {"utf-7", SPAN_LIT("a+IKw-b"), "a\xe2\x82\xac" "b"},
	};

	(void)state;
	mime_charset_preload();
	mime_charset_preload();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int again = 0; again < 2; again++) { /* nothing of the first is left for the second */
			const char *got = to_utf8(rows[i].charset, rows[i].text);

			if (strcmp(got, rows[i].want) != 0)
				fail_msg("%s: %s", rows[i].charset, got);
		}
}

static void what_is_malformed_is_marked(void **state)
{
	static const struct {
		const char *charset;
		struct span text;
		const char *want;
	} rows[] = {
	    {"utf-8", SPAN_LIT("a\xff\xc3z"), "a\xef\xbf\xbd\xef\xbf\xbdz"}, {"us-ascii", SPAN_LIT("a\xe4z"), "a\xef\xbf\xbdz"}, {"", SPAN_LIT("a\xe4z"), "a\xef\xbf\xbdz"},
	    {"euc-jp", SPAN_LIT("a\xff\xff" "b"), "a\xef\xbf\xbd\xef\xbf\xbd" "b"}, {"utf-16be", SPAN_LIT("\0a\0"), "a\xef\xbf\xbd"}, {"windows-1252", SPAN_LIT("a\x81" "b"), "a\xef\xbf\xbd" "b"},
	    {"shift_jis", SPAN_LIT("\x93"), "\xef\xbf\xbd"},
	    /* unknown: UTF-8 when it is, else as if it were windows-1252 */
	    {"x-unknown", SPAN_LIT("\xc3\xa4"), "\xc3\xa4"}, {"x-unknown", SPAN_LIT("\xe4"), "\xc3\xa4"}, {"../../UTF-16", SPAN_LIT("\xe4"), "\xc3\xa4"}, {"utf-8 ", SPAN_LIT("\xe4"), "\xc3\xa4"},
	};

	(void)state;
	mime_charset_preload();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *got = to_utf8(rows[i].charset, rows[i].text);

		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].charset, got);
	}
}

/* Whatever the octets: an end, and UTF-8. */
static void any_octets_become_utf8(void **state)
{
	static const char *const charsets[] = {"windows-1255", "windows-1258", "iso-2022-jp", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "utf-7", "utf-16", "tis-620", "x"};
	char text[300];

	(void)state;
	mime_charset_preload();
	srandom(5);
	for (int i = 0; i < 3000; i++) {
		size_t len = (size_t)random() % sizeof(text);

		for (size_t k = 0; k < len; k++)
			text[k] = (char)random();
		to_utf8(charsets[(size_t)i % 12], span_of(text, len));
		assert_false(buf_failed(&out));
	}
}

static void names_are_known_or_not(void **state)
{
	(void)state;
	for (const char *const *name = (const char *const[]){"", "utf-8", "UTF-8", "utf8", "US-ASCII", "ascii", NULL}; *name != NULL; name++)
		assert_true(mime_charset_is_utf8(span_str(*name)) && mime_charset_is_known(span_str(*name)));
	for (const char *const *name = (const char *const[]){"iso-8859-1", "KOI8-R", "big5", "utf-16", NULL}; *name != NULL; name++)
		assert_true(!mime_charset_is_utf8(span_str(*name)) && mime_charset_is_known(span_str(*name)));
	for (const char *const *name = (const char *const[]){"utf-9", "iso-8859-", "x", "utf-8 ", NULL}; *name != NULL; name++)
		assert_true(!mime_charset_is_utf8(span_str(*name)) && !mime_charset_is_known(span_str(*name)));
}

static const char *folded(const char *text)
{
	buf_clear(&out);
	mime_casefold(span_str(text), &out);
	return buf_cstr(&out);
}

/* RFC 5051: what differs in case or in the form of composition only becomes equal; what differs otherwise does not. */
static void texts_are_folded(void **state)
{
	static const char *const same[][2] = {{"Hello World", "hELLO wORLD"}, {"\xc3\x84pfel", "\xc3\xa4PFEL"}, {"\xc3\xa4", "a\xcc\x88"}, {"Stra\xc3\x9f" "e", "STRASSE"}, {"\xce\xa3\xce\xa3", "\xcf\x83\xcf\x82"},
	    {"\xef\xac\x81", "fi"}, {"x A\xcc\x88 y", "X \xc3\xa4 Y"}, {"\xe2\x85\xa8", "IX"}, {"A\xcc\x88", "\xc3\x84"}, {"abc A\xcc\x88" "bc def \xc3\x96", "ABC \xc3\xa4" "bc DEF o\xcc\x88"}};
	static const char *const different[][2] = {{"a", "b"}, {"a", "\xc3\xa4"}, {"a b", "ab"}, {"o", "0"}, {"", "a"}};
	char first[256];

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		snprintf(first, sizeof(first), "%s", folded(same[i][0]));
		if (strcmp(first, folded(same[i][1])) != 0)
			fail_msg("%s and %s", same[i][0], same[i][1]);
		assert_string_equal(folded(first), first); /* folding again changes nothing */
	}
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
		snprintf(first, sizeof(first), "%s", folded(different[i][0]));
		assert_string_not_equal(first, folded(different[i][1]));
	}
	assert_string_equal(folded(""), "");
	/* Not UTF-8: as it is, and an end. */
	assert_string_equal(folded("A\xff\xfe" "B"), "A\xff\xfe" "B");
}

static void the_output_has_its_bound(void **state)
{
	struct buf small;

	(void)state;
	mime_charset_preload();
	buf_init(&small, 10);
	mime_to_utf8(SPAN_LIT("koi8-r"), SPAN_LIT("\xf0\xf0\xf0\xf0\xf0\xf0\xf0"), &small);
	assert_true(buf_failed(&small) && buf_len(&small) <= 10);
	buf_clear(&small);
	mime_casefold(SPAN_LIT("aaaaaaaaaaaaaaaa \xc3\xa4"), &small);
	assert_true(buf_failed(&small) && buf_len(&small) <= 10);
	buf_clear(&small);
	mime_to_utf8(SPAN_LIT("utf-8"), SPAN_LIT("aaaaaaaaaaaaaaaa\xff\xff"), &small);
	assert_true(buf_failed(&small) && buf_len(&small) <= 10);
	buf_fini(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_not_opened_is_windows_1252),
	    cmocka_unit_test(words_of_each_charset),
	    cmocka_unit_test(what_is_malformed_is_marked),
	    cmocka_unit_test(any_octets_become_utf8),
	    cmocka_unit_test(names_are_known_or_not),
	    cmocka_unit_test(texts_are_folded),
	    cmocka_unit_test(the_output_has_its_bound),
	};

	buf_init(&out, 100000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
