/* UTF-8 as RFC 3629 has it. */
#include "tests/unit/test.h"

#include "base/utf8.h"

/* Section 3: every scalar value has one form, and it comes back. */
static void every_character_goes_both_ways(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp < 0x110000; cp++) {
		char out[4];
		size_t len;
		struct span s;

		if (cp >= 0xd800 && cp < 0xe000)
			continue;
		len = utf8_put(cp, out);
		if (len != (cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4))
			fail_msg("%x has %zu octets", cp, len);
		s = span_of(out, len);
		if (utf8_next(&s) != (int32_t)cp || s.len != 0)
			fail_msg("%x does not come back", cp);
	}
}

/* Section 4: the edges of UTF8-2, UTF8-3 and UTF8-4. */
static void the_syntax_of_the_rfc(void **state)
{
	static const struct {
		const char *text;
		int32_t cp;
	} rows[] = {{"\xc2\x80", 0x80}, {"\xdf\xbf", 0x7ff}, {"\xe0\xa0\x80", 0x800}, {"\xed\x9f\xbf", 0xd7ff}, {"\xee\x80\x80", 0xe000},
	    {"\xef\xbf\xbf", 0xffff}, {"\xf0\x90\x80\x80", 0x10000}, {"\xf4\x8f\xbf\xbf", 0x10ffff},
	    /* too long a form, surrogates, past the end, a lone tail, a head of 5 or 6 */
	    {"\xc0\x80", -1}, {"\xc1\xbf", -1}, {"\xe0\x9f\xbf", -1}, {"\xed\xa0\x80", -1}, {"\xed\xbf\xbf", -1}, {"\xf0\x8f\xbf\xbf", -1},
	    {"\xf4\x90\x80\x80", -1}, {"\xf5\x80\x80\x80", -1}, {"\x80", -1}, {"\xbf", -1}, {"\xf8\x88\x80\x80\x80", -1}, {"\xfe", -1},
	    {"\xff", -1},
	    /* cut short, or a tail that is none */
	    {"\xc2", -1}, {"\xe2\x82", -1}, {"\xf0\x9f\x98", -1}, {"\xc2" "a", -1}, {"\xe2\x82" "a", -1}, {"\xe2" "a\x82", -1}, {"\xc2\xc2", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span s = span_str(rows[i].text);
		size_t len = s.len;

		assert_int_equal(utf8_next(&s), rows[i].cp);
		/* Of a malformed one a single octet is taken: what follows is looked at anew. */
		assert_int_equal(len - s.len, rows[i].cp < 0 ? 1 : len);
		assert_int_equal(utf8_is_valid(span_str(rows[i].text)), rows[i].cp >= 0);
		assert_false(utf8_is_ascii(span_str(rows[i].text)));
	}
}

static void ascii_is_ascii(void **state)
{
	(void)state;
	assert_true(utf8_is_ascii(SPAN_LIT("")));
	assert_true(utf8_is_ascii(SPAN_LIT("a\0\x7f~")));
	assert_false(utf8_is_ascii(SPAN_LIT("a\x80")));
	assert_true(utf8_is_valid(SPAN_LIT("a\0\x7f~")));
	assert_false(utf8_is_valid(SPAN_LIT("ok \xe2\x82\xac then \xe2\x82")));
}

static void a_cut_is_between_characters(void **state)
{
	static const struct {
		const char *text;
		size_t max, len;
	} rows[] = {{"abc", 3, 3}, {"abc", 4, 3}, {"abc", 2, 2}, {"abc", 0, 0}, {"", 0, 0},
	    {"a\xc3\xa9", 2, 1}, {"a\xc3\xa9z", 3, 3}, {"\xe2\x82\xac", 2, 0}, {"\xe2\x82\xac", 1, 0}, {"a\xf0\x9f\x98\x80", 4, 1}, {"a\xf0\x9f\x98\x80", 2, 1}, {"a\xf0\x9f\x98\x80", 5, 5},
	    /* what is no character has no place where it must not be cut */
	    {"\x80\x80\x80\x80\x80\x80", 5, 5}, {"\x80\x80", 1, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(utf8_cut(span_str(rows[i].text), rows[i].max).len, rows[i].len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_character_goes_both_ways),
	    cmocka_unit_test(the_syntax_of_the_rfc),
	    cmocka_unit_test(ascii_is_ascii),
	    cmocka_unit_test(a_cut_is_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
