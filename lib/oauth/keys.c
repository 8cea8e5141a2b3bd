/* The identity provider's key set (JWK, RFC 7517; parameters of the kinds: RFC 7518 section 6, RFC 8037 section 2). */
#include "oauth/private.h"

#include "base/encode.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <stdlib.h>

enum { NUMBER_MAX = OAUTH_RSA_BITS_MAX / 8 + 1, P256_SIZE = 32, ED25519_SIZE = 32, EXPONENT_BITS_MAX = 33 };

static const struct {
	const char *name;
	enum oauth_kind kind;
} algorithms[OAUTH_ALGORITHMS] = {{"RS256", OAUTH_RSA}, {"PS256", OAUTH_RSA}, {"ES256", OAUTH_P256}, {"EdDSA", OAUTH_ED25519}};

bool oauth_algorithm_find(struct span name, enum oauth_algorithm *out)
{
	for (size_t i = 0; i < OAUTH_ALGORITHMS; i++)
		if (span_eq(name, span_str(algorithms[i].name))) {
			*out = (enum oauth_algorithm)i;
			return true;
		}
	return false;
}

enum oauth_kind oauth_algorithm_kind(enum oauth_algorithm algorithm)
{
	return algorithms[algorithm].kind;
}

/* A number or a point's half in base64url. Its octets; 0: it is none, or (*starved) there is no memory. */
static size_t take_octets(const json_t *jwk, const char *name, unsigned char out[NUMBER_MAX], bool *starved)
{
	struct buf octets;
	size_t len = 0;
	int r;

	buf_init(&octets, NUMBER_MAX);
	r = base64url_decode(&octets, oauth_json_text(jwk, name));
	if (r == 0)
		len = buf_len(&octets);
	if (len > 0)
		memcpy(out, buf_span(&octets).ptr, len);
	*starved |= r == E_NOMEM || octets.starved;
	buf_fini(&octets);
	return len;
}

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM_BLD *build)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL), *check = NULL;
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *key = NULL;

	if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	if (key != NULL)
		check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (key != NULL && (check == NULL || EVP_PKEY_public_check(check) != 1)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(check);
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *take_rsa(const json_t *jwk, bool *starved)
{
	unsigned char octets[NUMBER_MAX];
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn(octets, (int)take_octets(jwk, "n", octets, starved), NULL);
	BIGNUM *e = BN_bin2bn(octets, (int)take_octets(jwk, "e", octets, starved), NULL);
	EVP_PKEY *key = NULL;

	if (n != NULL && e != NULL && build != NULL && BN_num_bits(n) >= OAUTH_RSA_BITS_MIN && BN_num_bits(n) <= OAUTH_RSA_BITS_MAX && BN_is_odd(e) &&
	    BN_num_bits(e) > 1 && BN_num_bits(e) <= EXPONENT_BITS_MAX && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = from_params("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(n);
	BN_free(e);
	return key;
}

static EVP_PKEY *take_p256(const json_t *jwk, bool *starved)
{
	unsigned char half[NUMBER_MAX], point[1 + 2 * P256_SIZE] = {4 /* not compressed */};
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;
	bool whole = span_eq(oauth_json_text(jwk, "crv"), SPAN_LIT("P-256"));

	for (size_t i = 0; i < 2 && whole; i++) {
		whole = take_octets(jwk, i == 0 ? "x" : "y", half, starved) == P256_SIZE;
		memcpy(point + 1 + i * P256_SIZE, half, P256_SIZE);
	}
	if (whole && build != NULL && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
		key = from_params("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *take_ed25519(const json_t *jwk, bool *starved)
{
	unsigned char octets[NUMBER_MAX];

	if (!span_eq(oauth_json_text(jwk, "crv"), SPAN_LIT("Ed25519")) || take_octets(jwk, "x", octets, starved) != ED25519_SIZE)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, octets, ED25519_SIZE);
}

static bool is_for_signatures(const json_t *jwk)
{
	struct span use = oauth_json_text(jwk, "use");

	return json_is_object(jwk) && (use.len == 0 || span_eq(use, SPAN_LIT("sig")));
}

/* False: it is not for us, or (*starved) there is no memory. */
static bool take_key(const json_t *jwk, struct oauth_key *out, bool *starved)
{
	struct span kind = oauth_json_text(jwk, "kty"), algorithm = oauth_json_text(jwk, "alg"), kid = oauth_json_text(jwk, "kid");

	*out = (struct oauth_key){.for_one = algorithm.len > 0};
	if (!is_for_signatures(jwk) || kid.len > OAUTH_KID_MAX)
		return false;
	if (out->for_one && !oauth_algorithm_find(algorithm, &out->algorithm))
		return false;
	span_copy(kid, out->kid, sizeof(out->kid));
	if (span_eq(kind, SPAN_LIT("RSA"))) {
		out->kind = OAUTH_RSA;
		out->key = take_rsa(jwk, starved);
	} else if (span_eq(kind, SPAN_LIT("EC"))) {
		out->kind = OAUTH_P256;
		out->key = take_p256(jwk, starved);
	} else if (span_eq(kind, SPAN_LIT("OKP"))) {
		out->kind = OAUTH_ED25519;
		out->key = take_ed25519(jwk, starved);
	}
	return out->key != NULL;
}

int oauth_keys_parse(struct span json, struct oauth_keys **out, struct err *err)
{
	bool starved = false;
	json_t *set = json.len <= OAUTH_JSON_MAX ? oauth_json_object(json, &starved) : NULL;
	const json_t *list = json_object_get(set, "keys");
	struct oauth_keys *keys = calloc(1, sizeof(*keys));
	size_t i;
	json_t *jwk;
	int r = 0;

	json_array_foreach(list, i, jwk)
		if (keys != NULL && keys->count < OAUTH_KEYS_MAX && take_key(jwk, &keys->keys[keys->count], &starved))
			keys->count++;
	if (keys == NULL || starved)
		r = err_set(err, E_NOMEM, "no memory for keys");
	else if (!json_is_array(list))
		r = err_set(err, E_SYNTAX, "it is no JSON object with a list of keys");
	else if (keys->count == 0)
		r = err_set(err, E_SYNTAX, "no key of it is one for RS256, PS256, ES256 or EdDSA");
	ERR_clear_error();
	json_decref(set);
	if (r != 0)
		oauth_keys_free(&keys);
	*out = keys;
	return r;
}

void oauth_keys_free(struct oauth_keys **keysp)
{
	struct oauth_keys *keys = *keysp;

	*keysp = NULL;
	for (size_t i = 0; keys != NULL && i < keys->count; i++)
		EVP_PKEY_free(keys->keys[i].key);
	free(keys);
}

size_t oauth_keys_count(const struct oauth_keys *keys)
{
	return keys->count;
}
