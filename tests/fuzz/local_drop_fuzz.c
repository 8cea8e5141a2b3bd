/*
 * Letters as files (local/drop.h): refused, or the same again when what was read is written; the content begins within the file.
 *
 * Input: a file of the drop.
 */
#include "tests/fuzz/fuzz.h"

#include "local/drop.h"

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct letter letter, back;
	struct err err = {0};
	struct buf text, again;
	size_t len = 0, other = 0;
	int r = drop_decode(input, pool, &letter, &len, &err);

	fuzz_assert(r == 0 || r == E_CONTENT);
	fuzz_assert(drop_head_length(input) <= input.len);
	if (r == 0) {
		fuzz_assert(len == drop_head_length(input) && letter.recipient_count > 0);
		buf_init(&text, DROP_HEAD_MAX);
		buf_init(&again, DROP_HEAD_MAX);
		fuzz_assert(drop_encode(&letter, &text) == 0);
		fuzz_assert(drop_decode(buf_span(&text), pool, &back, &other, &err) == 0 && other == buf_len(&text));
		fuzz_assert(drop_encode(&back, &again) == 0);
		fuzz_assert_same(buf_span(&text), buf_span(&again));
		buf_fini(&text);
		buf_fini(&again);
	}
	pool_free(&pool);
}
