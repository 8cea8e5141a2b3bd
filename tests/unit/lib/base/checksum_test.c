/* wyhash against the values of its author; a bit that changes changes it. */
#include "tests/unit/test.h"

#include "base/checksum.h"

#include <string.h>

static void known_values(void **state)
{
	static const struct {
		const char *text;
		uint64_t seed, sum;
	} rows[] = {{"", 0, UINT64_C(0x93228a4de0eec5a2)}, {"a", 1, UINT64_C(0xc5bac3db178713c4)}, {"abc", 2, UINT64_C(0xa97f2f7b1d9b3314)}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(checksum(rows[i].text, strlen(rows[i].text), rows[i].seed) == rows[i].sum);
}

static void every_bit_counts(void **state)
{
	unsigned char text[77];
	uint64_t before;

	(void)state;
	for (size_t len = 0; len <= sizeof(text); len++) {
		memset(text, 'x', sizeof(text));
		before = checksum(text, len, 7);
		assert_true(before != checksum(text, len, 8));
		for (size_t bit = 0; bit < 8 * len; bit++) {
			text[bit / 8] ^= (unsigned char)(1 << bit % 8);
			assert_true(checksum(text, len, 7) != before);
			text[bit / 8] ^= (unsigned char)(1 << bit % 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(every_bit_counts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
