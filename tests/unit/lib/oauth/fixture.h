/* An identity provider in memory: keys, and tokens signed by them. */
#ifndef MW_TESTS_OAUTH_FIXTURE_H
#define MW_TESTS_OAUTH_FIXTURE_H

#include "base/buf.h"
#include "base/encode.h"
#include "oauth/oauth.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

enum { FIXTURE_RS256, FIXTURE_PS256, FIXTURE_ES256, FIXTURE_EDDSA, FIXTURE_KEYS };

static const char *const fixture_algorithms[FIXTURE_KEYS] = {"RS256", "PS256", "ES256", "EdDSA"};

static inline void base64url_encode(struct buf *out, const void *data, size_t len)
{
	struct buf usual;

	buf_init(&usual, 4 * len + 4);
	base64_encode(&usual, span_of(data, len));
	for (size_t i = 0; i < buf_len(&usual); i++) {
		char c = buf_span(&usual).ptr[i];

		if (c != '=')
			buf_add_char(out, c == '+' ? '-' : c == '/' ? '_' : c);
	}
	buf_fini(&usual);
}

static inline EVP_PKEY *fixture_key(int which)
{
	if (which == FIXTURE_ES256)
		return EVP_EC_gen("P-256");
	return which == FIXTURE_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_RSA_gen(2048);
}

static inline void fixture_number(struct buf *out, EVP_PKEY *key, const char *param, const char *name)
{
	unsigned char octets[1024];
	BIGNUM *n = NULL;
	int len;

	EVP_PKEY_get_bn_param(key, param, &n);
	len = BN_num_bytes(n) < 32 && name[0] != 'e' ? 32 : BN_num_bytes(n);
	BN_bn2binpad(n, octets, len);
	BN_free(n);
	buf_printf(out, ",\"%s\":\"", name);
	base64url_encode(out, octets, (size_t)len);
	buf_add_char(out, '"');
}

/* A JWK of its public half, kid being the algorithm's name; more: further members, each with a comma before it. */
static inline void fixture_jwk(struct buf *out, int which, EVP_PKEY *key, const char *more)
{
	unsigned char octets[32];
	size_t len = sizeof(octets);

	buf_printf(out, "{\"kid\":\"%s\",\"kty\":\"%s\"", fixture_algorithms[which], which == FIXTURE_ES256 ? "EC" : which == FIXTURE_EDDSA ? "OKP" : "RSA");
	if (which == FIXTURE_ES256) {
		buf_add_str(out, ",\"crv\":\"P-256\"");
		fixture_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, "x");
		fixture_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y");
	} else if (which == FIXTURE_EDDSA) {
		EVP_PKEY_get_raw_public_key(key, octets, &len);
		buf_add_str(out, ",\"crv\":\"Ed25519\",\"x\":\"");
		base64url_encode(out, octets, len);
		buf_add_char(out, '"');
	} else {
		fixture_number(out, key, OSSL_PKEY_PARAM_RSA_N, "n");
		fixture_number(out, key, OSSL_PKEY_PARAM_RSA_E, "e");
	}
	buf_printf(out, "%s}", more);
}

static inline size_t fixture_raw(unsigned char *signature, size_t len)
{
	const unsigned char *p = signature;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);

	BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + 32, 32);
	ECDSA_SIG_free(sig);
	return 64;
}

static inline void fixture_sign(struct buf *out, int which, EVP_PKEY *key)
{
	struct span content = buf_span(out);
	unsigned char signature[1024];
	size_t len = sizeof(signature);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *settings;

	EVP_DigestSignInit(ctx, &settings, which == FIXTURE_EDDSA ? NULL : EVP_sha256(), NULL, key);
	if (which == FIXTURE_PS256) {
		EVP_PKEY_CTX_set_rsa_padding(settings, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(settings, RSA_PSS_SALTLEN_DIGEST);
	}
	EVP_DigestSign(ctx, signature, &len, (const unsigned char *)content.ptr, content.len);
	EVP_MD_CTX_free(ctx);
	if (which == FIXTURE_ES256)
		len = fixture_raw(signature, len);
	buf_add_char(out, '.');
	base64url_encode(out, signature, len);
}

/* header and claims as they are, signed as the algorithm does. */
static inline void fixture_token(struct buf *out, int which, EVP_PKEY *key, const char *header, const char *claims)
{
	base64url_encode(out, header, strlen(header));
	buf_add_char(out, '.');
	base64url_encode(out, claims, strlen(claims));
	fixture_sign(out, which, key);
}

#endif
