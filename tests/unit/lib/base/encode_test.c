/* base64, hex and the base32 of queue ids. */
#include "tests/unit/test.h"

#include "base/encode.h"
#include "base/err.h"

#include <stdio.h>

/* Any octets, any length: what was encoded comes back, and no other text gives it. */
static void base64_goes_both_ways(void **state)
{
	struct buf text, back;
	unsigned char octets[64];

	(void)state;
	buf_init(&text, 1000);
	buf_init(&back, 1000);
	for (size_t len = 0; len <= sizeof(octets); len++)
		for (unsigned seed = 0; seed < 16; seed++) {
			for (size_t i = 0; i < len; i++)
				octets[i] = (unsigned char)(i * 37 + seed * 101 + len);
			buf_clear(&text);
			buf_clear(&back);
			base64_encode(&text, span_of(octets, len));
			assert_int_equal(buf_len(&text), (len + 2) / 3 * 4);
			assert_int_equal(base64_decode(&back, buf_span(&text)), 0);
			assert_true(span_eq(buf_span(&back), span_of(octets, len)));
		}
	buf_fini(&text);
	buf_fini(&back);
}

/* RFC 4648 section 10; section 4 for the last two digits of the alphabet. */
static void base64_of_the_rfc(void **state)
{
	static const char *const rows[][2] = {{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}};
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&out);
		base64_encode(&out, span_str(rows[i][0]));
		assert_span_equal(buf_span(&out), rows[i][1]);
	}
	/* Section 5's alphabet is another one. */
	buf_clear(&out);
	assert_int_equal(base64_decode(&out, SPAN_LIT("-_-_")), E_SYNTAX);
	buf_clear(&out);
	assert_int_equal(base64_decode(&out, SPAN_LIT("Zm9v\n")), E_SYNTAX);
	assert_int_equal(base64_decode(&out, SPAN_LIT("Zm\0v")), E_SYNTAX);
	buf_fini(&out);
}

static void hex_is_read(void **state)
{
	unsigned char octets[256], back[256];
	struct buf text;

	(void)state;
	buf_init(&text, 1000);
	for (size_t i = 0; i < sizeof(octets); i++) {
		octets[i] = (unsigned char)i;
		buf_printf(&text, "%02x", (unsigned)i);
	}
	assert_int_equal(hex_decode(buf_span(&text), back, sizeof(back)), 0);
	assert_memory_equal(octets, back, sizeof(octets));
	assert_int_equal(hex_decode(SPAN_LIT(""), back, 0), 0);
	for (const char *const *bad = (const char *const[]){"", "0", "000", "g0", "0g", " 0", "0x", "-1", NULL}; *bad != NULL; bad++)
		assert_int_equal(hex_decode(span_str(*bad), back, 1), E_SYNTAX);
	buf_fini(&text);
}

/* Crockford's alphabet: without I, L, O and U; small letters are read, upper case is written. */
static void base32_has_its_alphabet(void **state)
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char text[14];
	uint64_t n;

	(void)state;
	for (uint64_t i = 0; i < 32; i++) {
		base32_format(i, 1, text);
		assert_int_equal(text[0], alphabet[i]);
		assert_int_equal(text[1], '\0');
		text[0] = ascii_lower(text[0]);
		assert_true(base32_parse(span_str(text), &n) && n == i);
	}
	for (const char *c = "ILOUilou-/:@[`{ \x80"; *c != '\0'; c++)
		assert_false(base32_parse(span_of(c, 1), &n));
	assert_false(base32_parse(span_of("", 1), &n)); /* a NUL is none either */
}

static void base32_holds_64_bits(void **state)
{
	static const uint64_t numbers[] = {0, 1, 31, 32, UINT64_C(1) << 54, UINT64_MAX - 1, UINT64_MAX};
	char text[14];
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		base32_format(numbers[i], 13, text);
		assert_int_equal(strlen(text), 13);
		assert_true(base32_parse(span_str(text), &n) && n == numbers[i]);
	}
	assert_string_equal(text, "FZZZZZZZZZZZZ");
	assert_false(base32_parse(SPAN_LIT("G000000000000"), &n)); /* 2^64 */
	assert_false(base32_parse(SPAN_LIT("00000000000001"), &n)); /* a digit too many */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(base64_goes_both_ways),
	    cmocka_unit_test(base64_of_the_rfc),
	    cmocka_unit_test(hex_is_read),
	    cmocka_unit_test(base32_has_its_alphabet),
	    cmocka_unit_test(base32_holds_64_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
