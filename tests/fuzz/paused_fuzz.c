/*
 * The list of paused destinations (spool/spool.h): what was written is read as the same, once changed it is refused, and so is what nobody sealed.
 *
 * Input: an octet that says which octet is changed; then names, a line each.
 */
#include "tests/fuzz/fuzz.h"

#include "spool/spool.h"

#include <stdlib.h>

static const unsigned char key[SPOOL_KEY] = "of the fuzz target";

void fuzz_one(struct span input)
{
	static struct span names[SPOOL_PAUSED_MAX + 1], back[SPOOL_PAUSED_MAX];
	unsigned place = fuzz_byte(&input);
	struct span rest = input;
	size_t count = 0, found;
	struct err err = {0};
	struct buf text;
	char *copy;
	bool good = true;

	fuzz_assert(spool_paused_decode(input, key, back, &found, &err) == E_CORRUPT);
	while (rest.len > 0 && count <= SPOOL_PAUSED_MAX) {
		names[count] = fuzz_until(&rest, '\n');
		good &= spool_paused_is_name(names[count++]);
	}
	buf_init(&text, SPOOL_PAUSED_SIZE);
	if (spool_paused_encode(names, count, key, &text) == 0) {
		fuzz_assert(good && count <= SPOOL_PAUSED_MAX);
		copy = fuzz_copy(buf_span(&text));
		fuzz_assert(spool_paused_decode(span_of(copy, buf_len(&text)), key, back, &found, &err) == 0 && found == count);
		for (size_t i = 0; i < count; i++)
			fuzz_assert_same(names[i], back[i]);
		copy[place % buf_len(&text)] ^= 1;
		fuzz_assert(spool_paused_decode(span_of(copy, buf_len(&text)), key, back, &found, &err) == E_CORRUPT);
		free(copy);
	} else {
		fuzz_assert(!good || count > SPOOL_PAUSED_MAX);
	}
	buf_fini(&text);
}
