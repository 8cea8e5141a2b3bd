/*
 * Lists of UIDs as runs: what is taken is ascending, has gaps between its runs, and is written as it was.
 *
 * Input: the octets.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/runs.h"

#include <stdlib.h>

enum { MANY = 100000 };

void fuzz_one(struct span input)
{
	struct span rest = input;
	uint32_t *uids = calloc(MANY, sizeof(*uids)), first, last = 0;
	struct buf again;
	size_t count = 0;
	bool fits = true;

	fuzz_assert(uids != NULL);
	while (fits && rest.len > 0) {
		uint32_t before = last;

		if (!imap_runs_take(&rest, &first, &last))
			goto out;
		fuzz_assert(first <= last && (before == 0 ? first >= 1 : first > before + 1));
		fits = last - first < MANY - count;
		for (uint64_t uid = first; fits && uid <= last; uid++)
			uids[count++] = (uint32_t)uid;
	}
	buf_init(&again, 1024 * 1024);
	imap_runs_put(uids, count, &again);
	if (fits)
		fuzz_assert_same(buf_span(&again), input);
	buf_fini(&again);
out:
	free(uids);
}
