/*
 * Hashes of passwords that were imported: what their text costs is told before anything is computed, and where that is next to nothing, it is
 * (driver.c counts). No hash that was made up is that of a password.
 *
 * Input: the hash.
 */
#include "tests/fuzz/fuzz.h"

#include "auth/hash.h"

/* The driver has a second and 64 MB: there is room for estimates that are wrong, and none for those that are wrong by much. */
enum { MS_TRIED = 10, MIB_TRIED = 8 };

void fuzz_one(struct span input)
{
	static const struct span password = SPAN_LIT("a password that nobody has");
	char hash[DIRECTORY_HASH_MAX + 1];
	struct hash_cost cost, longer;
	bool is_stale = false;
	int r;

	if (span_find(input, '\0') < input.len || !hash_is_known(input))
		return;
	span_copy(input, hash, sizeof(hash));
	cost = hash_cost(hash, password.len);
	longer = hash_cost(hash, 1024);
	fuzz_assert(cost.ms >= 0 && cost.mib >= 0 && longer.ms >= cost.ms && longer.mib >= cost.mib);
	fuzz_assert(hash_is_bearable(&cost) || hash_is_dear(&cost));
	if (cost.ms > MS_TRIED || cost.mib > MIB_TRIED)
		return;
	r = hash_verify(hash, password, &is_stale);
	fuzz_assert(r == E_AUTHFAILED || r == E_NOMEM);
}
