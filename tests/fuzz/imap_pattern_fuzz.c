/*
 * Patterns of LIST: as the plain definition says, found by trying everything.
 *
 * Input: the pattern, a line end, the name.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/pattern.h"

enum { TRIED_MAX = 64 };

/* can[p][n]: the pattern's first p characters may stand for the name's first n. */
static bool can[TRIED_MAX + 1][TRIED_MAX + 3];

static bool same(char p, char c, bool fold)
{
	return p == c || (fold && ascii_upper(p) == ascii_upper(c));
}

static void try_everything(struct span pattern, struct span name, bool inbox)
{
	for (size_t p = 0; p <= pattern.len; p++)
		for (size_t n = 0; n <= name.len; n++) {
			char c = p > 0 ? pattern.ptr[p - 1] : 0, d = n > 0 ? name.ptr[n - 1] : 0;

			if (p == 0)
				can[p][n] = n == 0;
			else if (c == '*' || c == '%')
				can[p][n] = can[p - 1][n] || (n > 0 && can[p][n - 1] && (c == '*' || d != '/'));
			else
				can[p][n] = n > 0 && can[p - 1][n - 1] && same(c, d, inbox && n <= 5);
		}
}

static enum imap_match expected(struct span pattern, struct span name)
{
	bool inbox = span_startscase(name, SPAN_LIT("INBOX")) && (name.len == 5 || name.ptr[5] == '/');
	char below[TRIED_MAX + 1];

	try_everything(pattern, name, inbox);
	if (can[pattern.len][name.len])
		return IMAP_MATCH_YES;
	if (name.len > 0)
		memcpy(below, name.ptr, name.len);
	below[name.len] = '/';
	try_everything(pattern, span_of(below, name.len + 1), inbox);
	for (size_t p = 0; p <= pattern.len; p++)
		if (can[p][name.len + 1])
			return IMAP_MATCH_CHILDREN;
	return IMAP_MATCH_NO;
}

void fuzz_one(struct span input)
{
	struct span pattern = fuzz_until(&input, '\n');
	enum imap_match match = imap_pattern_match(pattern, input);

	fuzz_assert(match <= IMAP_MATCH_YES);
	if (pattern.len <= TRIED_MAX && input.len <= TRIED_MAX)
		fuzz_assert(match == expected(pattern, input));
	if (pattern.len > IMAP_PATTERN_MAX)
		fuzz_assert(match == IMAP_MATCH_NO);
}
