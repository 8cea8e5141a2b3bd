/*
 * Sequence sets: sorted, no two ranges touch, and a number is in the set when one of
 * the ranges that were written has it.
 *
 * Input: a byte for what '*' means, then the set.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/set.h"

enum { POOL_HERE = 4 * 1024 * 1024, ASKED_MAX = 64 };

static uint32_t written_number(struct span s, uint32_t highest)
{
	uint64_t n = 0;

	if (span_eq(s, SPAN_LIT("*")))
		return highest;
	fuzz_assert(span_u64(s, UINT32_MAX, &n) && n > 0);
	return (uint32_t)n;
}

/* As the grammar has it, for a set that was taken. */
static bool written(struct span text, uint32_t highest, uint32_t wanted)
{
	while (text.len > 0) {
		struct span range = fuzz_until(&text, ','), first = fuzz_until(&range, ':');
		uint32_t a = written_number(first, highest), b = range.len > 0 ? written_number(range, highest) : a;

		if ((a <= wanted && wanted <= b) || (b <= wanted && wanted <= a))
			return true;
	}
	return false;
}

static void try_format(const struct imap_set *set, struct pool *pool)
{
	uint32_t numbers[ASKED_MAX];
	struct imap_set again;
	struct buf text;
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++)
		for (uint64_t n = set->ranges[i].first; n <= set->ranges[i].last && count < ASKED_MAX; n++)
			numbers[count++] = (uint32_t)n;
	buf_init(&text, 65536);
	imap_set_format(numbers, count, &text);
	fuzz_assert(!buf_failed(&text) && imap_set_parse(buf_span(&text), 1, pool, &again));
	for (size_t i = 0; i < count; i++)
		fuzz_assert(imap_set_has(&again, numbers[i]));
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	unsigned star = fuzz_byte(&input);
	uint32_t highest = star == 255 ? UINT32_MAX : star + 1;
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct imap_set set;

	if (imap_set_parse(input, highest, pool, &set)) {
		fuzz_assert(set.count > 0 && set.count <= input.len);
		for (size_t i = 0; i < set.count; i++) {
			const struct imap_range *r = &set.ranges[i];

			fuzz_assert(r->first > 0 && r->first <= r->last);
			fuzz_assert(i == 0 || (set.ranges[i - 1].last < r->first && r->first - set.ranges[i - 1].last > 1));
			if (i >= ASKED_MAX)
				continue;
			fuzz_assert(imap_set_has(&set, r->first) && imap_set_has(&set, r->last));
			fuzz_assert(!imap_set_has(&set, r->first - 1) && (r->last == UINT32_MAX || !imap_set_has(&set, r->last + 1)));
			fuzz_assert(written(input, highest, r->first) && written(input, highest, r->last));
			fuzz_assert(r->first == 1 || !written(input, highest, r->first - 1));
			fuzz_assert(r->last == UINT32_MAX || !written(input, highest, r->last + 1));
		}
		try_format(&set, pool);
	}
	pool_free(&pool);
}
