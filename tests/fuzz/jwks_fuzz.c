/*
 * Key sets as a host sends them, and the age that its answer may have. Input: the set. What is taken over has keys, no more than
 * there may be, and none of them makes a token good that nobody signed.
 */
#include "tests/fuzz/fuzz.h"

#include "fetch/fetch.h"
#include "oauth/oauth.h"

void fuzz_one(struct span input)
{
	static const char *const tokens[] = {"eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "eyJhbGciOiJQUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
	    "eyJhbGciOiJFUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	const struct oauth_policy open = {.skew_s = 60};
	struct oauth_keys *keys;
	struct oauth_claims claims;
	struct err err = {0};
	int64_t age = -1;
	int r = oauth_keys_parse(input, &keys, &err);

	fuzz_assert(r == 0 || (r == E_SYNTAX && keys == NULL && err.text[0] != '\0'));
	if (r == 0)
		fuzz_assert(oauth_keys_count(keys) > 0 && oauth_keys_count(keys) <= OAUTH_KEYS_MAX);
	for (size_t i = 0; r == 0 && i < sizeof(tokens) / sizeof(tokens[0]); i++)
		fuzz_assert(oauth_jwt_check(span_str(tokens[i]), keys, &open, 0, &claims) != OAUTH_GOOD);
	oauth_keys_free(&keys);
	header_max_age(input, &age);
	fuzz_assert(age >= -1 && age <= 366 * 86400);
}
