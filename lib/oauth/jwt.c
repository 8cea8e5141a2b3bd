/*
 * A signed token: header "." claims "." signature, base64url each (RFC 7515 section 7.1). The header says which key; it is
 * believed in nothing else: the algorithm must be one of ours and the key's own (RFC 8725 sections 3.1 and 3.2).
 */
#include "oauth/private.h"

#include "base/encode.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

enum { SIGNATURE_MAX = OAUTH_RSA_BITS_MAX / 8, ES256_HALF = 32 };

struct token {
	struct span header, claims, signature; /* as written */
	struct span content;		       /* what is signed: header "." claims */
};

static bool split(struct span text, struct token *out)
{
	size_t first = span_find(text, '.'), second;

	if (first == text.len)
		return false;
	second = first + 1 + span_find(span_from(text, first + 1), '.');
	if (second >= text.len)
		return false;
	*out = (struct token){span_sub(text, 0, first), span_sub(text, first + 1, second - first - 1), span_from(text, second + 1), span_sub(text, 0, second)};
	return out->header.len > 0 && out->claims.len > 0 && span_find(out->signature, '.') == out->signature.len;
}

/* NULL: it is no object, or (*verdict) there is no memory. */
static json_t *take_object(struct span text, enum oauth_verdict *verdict)
{
	json_t *object = NULL;
	struct buf octets;
	bool starved = false;
	int r;

	buf_init(&octets, OAUTH_TOKEN_MAX);
	r = base64url_decode(&octets, text);
	if (r == 0)
		object = oauth_json_object(buf_span(&octets), &starved);
	*verdict = r == E_NOMEM || starved || octets.starved ? OAUTH_STARVED : OAUTH_MALFORMED;
	buf_fini_secret(&octets);
	return object;
}

/* Not a token of another purpose that the same key has signed (RFC 8725 section 3.11). */
static bool is_type(struct span type)
{
	if (span_startscase(type, SPAN_LIT("application/")))
		type = span_from(type, strlen("application/"));
	return type.len == 0 || span_caseeq(type, SPAN_LIT("JWT")) || span_caseeq(type, SPAN_LIT("at+jwt"));
}

/* ---- the key ---- */

static bool fits(const struct oauth_key *key, enum oauth_algorithm algorithm)
{
	return key->kind == oauth_algorithm_kind(algorithm) && (!key->for_one || key->algorithm == algorithm);
}

/* By its name; without one it must be the only one that fits. */
static const struct oauth_key *find_key(const struct oauth_keys *keys, struct span kid, enum oauth_algorithm algorithm)
{
	const struct oauth_key *found = NULL;

	for (size_t i = 0; keys != NULL && i < keys->count; i++) {
		const struct oauth_key *key = &keys->keys[i];

		if (!fits(key, algorithm) || (kid.len > 0 && !span_eq(span_str(key->kid), kid)))
			continue;
		if (found != NULL)
			return NULL;
		found = key;
	}
	return found;
}

/* ---- the signature ---- */

/* RFC 7518 section 3.4: two numbers of 32 octets, where OpenSSL wants DER. Octets of out; 0: it is none. */
static size_t es256_to_der(struct span raw, unsigned char out[SIGNATURE_MAX])
{
	const unsigned char *octets = (const unsigned char *)raw.ptr;
	ECDSA_SIG *sig = raw.len == 2 * ES256_HALF ? ECDSA_SIG_new() : NULL;
	BIGNUM *r, *s;
	int len = 0;

	if (sig == NULL)
		return 0;
	r = BN_bin2bn(octets, ES256_HALF, NULL);
	s = BN_bin2bn(octets + ES256_HALF, ES256_HALF, NULL);
	if (r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
	} else {
		len = i2d_ECDSA_SIG(sig, &out);
	}
	ECDSA_SIG_free(sig);
	return len > 0 ? (size_t)len : 0;
}

static bool set_padding(EVP_PKEY_CTX *ctx, enum oauth_algorithm algorithm)
{
	if (algorithm == OAUTH_PS256)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	return algorithm != OAUTH_RS256 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
}

static bool verify(const struct oauth_key *key, enum oauth_algorithm algorithm, struct span content, struct span signature)
{
	const EVP_MD *digest = algorithm == OAUTH_EDDSA ? NULL : EVP_sha256();
	unsigned char der[SIGNATURE_MAX];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;
	bool good = false;

	if (algorithm == OAUTH_ES256)
		signature = span_of(der, es256_to_der(signature, der));
	if (ctx != NULL && signature.len > 0 && EVP_DigestVerifyInit(ctx, &settings, digest, NULL, key->key) == 1 && set_padding(settings, algorithm))
		good = EVP_DigestVerify(ctx, (const unsigned char *)signature.ptr, signature.len, (const unsigned char *)content.ptr, content.len) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return good;
}

static enum oauth_verdict check_signature(const struct token *token, const json_t *header, const struct oauth_keys *keys)
{
	enum oauth_algorithm algorithm;
	enum oauth_verdict verdict = OAUTH_SIGNATURE;
	const struct oauth_key *key;
	struct buf signature;
	int r;

	/* What it marks as critical we would have to understand (RFC 7515 section 4.1.11). */
	if (!is_type(oauth_json_text(header, "typ")) || json_object_get(header, "crit") != NULL)
		return OAUTH_MALFORMED;
	if (!oauth_algorithm_find(oauth_json_text(header, "alg"), &algorithm))
		return OAUTH_ALGORITHM;
	key = find_key(keys, oauth_json_text(header, "kid"), algorithm);
	if (key == NULL)
		return OAUTH_UNKNOWN_KEY;
	buf_init(&signature, SIGNATURE_MAX);
	r = base64url_decode(&signature, token->signature);
	if (r == 0 && verify(key, algorithm, token->content, buf_span(&signature)))
		verdict = OAUTH_GOOD;
	else if (r == E_NOMEM || signature.starved)
		verdict = OAUTH_STARVED;
	buf_fini(&signature);
	return verdict;
}

enum oauth_verdict oauth_jwt_check(struct span text, const struct oauth_keys *keys, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out)
{
	enum oauth_verdict verdict;
	json_t *header, *claims;
	struct token token;

	*out = (struct oauth_claims){0};
	if (text.len > OAUTH_TOKEN_MAX || !split(text, &token))
		return OAUTH_MALFORMED;
	header = take_object(token.header, &verdict);
	if (header != NULL)
		verdict = check_signature(&token, header, keys);
	json_decref(header);
	if (verdict != OAUTH_GOOD)
		return verdict;
	claims = take_object(token.claims, &verdict);
	if (claims != NULL)
		verdict = oauth_claims_check(claims, true, policy, now, out);
	json_decref(claims);
	return verdict;
}
