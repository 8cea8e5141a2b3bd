#include "near.h"

enum { NEAR_LENGTH = 64, NEAR_EDITS = 3 };

/* Letters to add, remove, change, or swap with their neighbour. */
static size_t edits(struct span a, struct span b)
{
	size_t rows[3][NEAR_LENGTH + 1];

	for (size_t j = 0; j <= b.len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t best = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1] && above2[j - 2] + 1 < best)
				best = above2[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a.len % 3][b.len];
}

struct near near_begin(struct span word)
{
	size_t most = word.len / 2 < NEAR_EDITS ? word.len / 2 : NEAR_EDITS;

	return (struct near){.word = word, .least = most + 1};
}

void near_try(struct near *near, const char *candidate)
{
	struct span s = span_str(candidate);
	size_t n;

	if (near->word.len > NEAR_LENGTH || s.len > NEAR_LENGTH)
		return;
	n = edits(near->word, s);
	if (n < near->least) {
		near->least = n;
		near->best = candidate;
	}
}
