/* XXH64 against values of other implementations; a bit that changes changes it. */
#include "tests/unit/test.h"

#include "base/xxh64.h"

#include <string.h>

static void known_values(void **state)
{
	static const struct {
		const char *text;
		uint64_t sum;
	} rows[] = {{"", UINT64_C(0xEF46DB3751D8E999)}, {"a", UINT64_C(0xD24EC4F1A98C6E5B)}, {"abc", UINT64_C(0x44BC2CF5AD770999)},
	    {"Nobody inspects the spammish repetition", UINT64_C(0xFBCEA83C8A378BF1)}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(xxh64(rows[i].text, strlen(rows[i].text), 0) == rows[i].sum);
}

static void every_bit_counts(void **state)
{
	unsigned char text[77];
	uint64_t before;

	(void)state;
	for (size_t len = 0; len <= sizeof(text); len++) {
		memset(text, 'x', sizeof(text));
		before = xxh64(text, len, 7);
		assert_true(before != xxh64(text, len, 8));
		for (size_t bit = 0; bit < 8 * len; bit++) {
			text[bit / 8] ^= (unsigned char)(1 << bit % 8);
			assert_true(xxh64(text, len, 7) != before);
			text[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(every_bit_counts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
