/*
 * Grants: only what auth signed, for that purpose, account, quota and address, until then.
 *
 * Input: a byte; 'r': the rest is shown as a grant. Else the place of one octet of a true
 * one, what changes it, and the address.
 */
#include "tests/fuzz/fuzz.h"

#include "proc/grant.h"

static const unsigned char key[GRANT_KEY] = "a key that nobody else has.....";

void fuzz_one(struct span input)
{
	unsigned char grant[GRANT_SIZE];
	unsigned place, change;

	if (fuzz_byte(&input) == 'r') {
		fuzz_assert(!grant_check(key, GRANT_RECIPIENT, 1, 2, SPAN_LIT("a@b"), 1000, input));
		return;
	}
	place = fuzz_byte(&input) % GRANT_SIZE;
	change = fuzz_byte(&input);
	grant_make(key, GRANT_LOGIN, 7, 8, input, 2000, grant);
	fuzz_assert(grant_check(key, GRANT_LOGIN, 7, 8, input, 2000, span_of(grant, sizeof(grant))));
	fuzz_assert(!grant_check(key, GRANT_LOGIN, 7, 8, input, 2001, span_of(grant, sizeof(grant))));
	fuzz_assert(!grant_check(key, GRANT_RECIPIENT, 7, 8, input, 1000, span_of(grant, sizeof(grant))));
	fuzz_assert(!grant_check(key, GRANT_LOGIN, 8, 7, input, 1000, span_of(grant, sizeof(grant))));
	fuzz_assert(!grant_check(key, GRANT_LOGIN, 7, 8, input, 1000, span_of(grant, place)));
	if (input.len > 0)
		fuzz_assert(!grant_check(key, GRANT_LOGIN, 7, 8, span_from(input, 1), 1000, span_of(grant, sizeof(grant))));
	grant[place] ^= (unsigned char)change;
	fuzz_assert(grant_check(key, GRANT_LOGIN, 7, 8, input, 1000, span_of(grant, sizeof(grant))) == (change == 0));
}
