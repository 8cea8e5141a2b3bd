/*
 * Bearer tokens as a client sends them, and claims of whatever kind. Input: the token up to a line's end; behind it claims, which
 * are put into a token that is signed as they are, and looked at as an introspection's answer. A token that nobody signed is
 * never good; claims that are good say who it is.
 */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/lib/oauth/fixture.h"

#include <stdlib.h>

enum { NOW = 1800000000 };

static const struct oauth_policy policy = {.issuer = {"https://id.test", 15}, .audience = {"mail", 4}, .scope = {"imap", 4}, .skew_s = 60};

/* Made once: EdDSA is fast, and signs the same text with the same octets. */
static EVP_PKEY *key(void)
{
	static const unsigned char seed[32] = "fuzz";
	static EVP_PKEY *made;

	if (made == NULL)
		made = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
	return made;
}

static struct oauth_keys *set(void)
{
	static struct oauth_keys *made;
	struct buf json;
	struct err err;

	if (made != NULL)
		return made;
	buf_init(&json, 4096);
	buf_add_str(&json, "{\"keys\":[");
	fixture_jwk(&json, FIXTURE_EDDSA, key(), "");
	buf_add_str(&json, "]}");
	fuzz_assert(oauth_keys_parse(buf_span(&json), &made, &err) == 0);
	buf_fini(&json);
	return made;
}

static void look_at(enum oauth_verdict verdict, const struct oauth_claims *claims)
{
	fuzz_assert(verdict < OAUTH_VERDICTS && oauth_verdict_text(verdict)[0] != '\0');
	if (verdict == OAUTH_GOOD)
		fuzz_assert(claims->user[0] != '\0' && strlen(claims->user) <= OAUTH_USER_MAX && (claims->expires == 0 || claims->expires + 60 > NOW));
}

static void signed_claims(struct span text)
{
	static const char header[] = "{\"alg\":\"EdDSA\",\"kid\":\"EdDSA\"}";
	const struct oauth_policy open = {.skew_s = 60};
	struct oauth_claims claims;
	enum oauth_verdict strict, lax;
	struct buf token;

	buf_init(&token, 2 * OAUTH_TOKEN_MAX);
	base64url_encode(&token, header, strlen(header));
	buf_add_char(&token, '.');
	base64url_encode(&token, text.ptr, text.len);
	fixture_sign(&token, FIXTURE_EDDSA, key());
	lax = oauth_jwt_check(buf_span(&token), set(), &open, NOW, &claims);
	look_at(lax, &claims);
	strict = oauth_jwt_check(buf_span(&token), set(), &policy, NOW, &claims);
	look_at(strict, &claims);
	fuzz_assert(strict != OAUTH_GOOD || lax == OAUTH_GOOD);
	if (buf_len(&token) <= OAUTH_TOKEN_MAX && text.len > 0)
		fuzz_assert(lax != OAUTH_SIGNATURE && lax != OAUTH_UNKNOWN_KEY && lax != OAUTH_ALGORITHM);
	look_at(oauth_introspection_check(text, &policy, NOW, &claims), &claims);
	buf_fini(&token);
}

void fuzz_one(struct span input)
{
	struct span token = fuzz_until(&input, '\n');
	struct oauth_claims claims;

	fuzz_assert(oauth_jwt_check(token, set(), &policy, NOW, &claims) != OAUTH_GOOD);
	if (input.len > 0)
		signed_claims(input);
}
