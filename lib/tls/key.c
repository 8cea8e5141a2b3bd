#include "tls/private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

static const struct {
	const char *name;
	size_t len;
} digests[TLS_DIGESTS] = {{NULL, 0}, {"SHA256", 32}, {"SHA384", 48}, {"SHA512", 64}};

/* In place of OpenSSL's own, which would ask at the terminal and wait. */
static int no_password(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

/* RFC 8446 section 4.2.3 has their names in TLS. */
static bool is_known(EVP_PKEY *key)
{
	return (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048) || (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) >= 256) ||
	       EVP_PKEY_is_a(key, "ED25519");
}

int tls_key_read(int fd, struct tls_key **out, struct err *err)
{
	bool locked = false;
	BIO *bio = tls_file(fd);
	struct tls_key *key = calloc(1, sizeof(*key));
	int r = 0;

	if (key != NULL && bio != NULL)
		key->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &locked);
	BIO_free(bio);
	if (key == NULL || bio == NULL)
		r = err_set(err, E_NOMEM, "no memory for TLS");
	else if (key->key == NULL && locked)
		r = tls_error(err, E_SYNTAX, "tls-key has a password; it must be stored without one");
	else if (key->key == NULL)
		r = tls_error(err, E_SYNTAX, "tls-key is not a PEM private key");
	else if (!is_known(key->key))
		r = err_set(err, E_SYNTAX, "tls-key is too weak or of a kind that is not supported; use P-256, RSA of 2048 bits or more, or Ed25519");
	else if (tls_fingerprint(key->key, key->fingerprint) != 0)
		r = tls_error(err, E_NOMEM, "tls-key");
	if (r != 0)
		tls_key_free(&key);
	*out = key;
	return r;
}

void tls_key_free(struct tls_key **keyp)
{
	struct tls_key *key = *keyp;

	if (key == NULL)
		return;
	*keyp = NULL;
	EVP_PKEY_free(key->key); /* OpenSSL wipes what is private in it */
	free(key);
}

const unsigned char *tls_key_fingerprint(const struct tls_key *key)
{
	return key->fingerprint;
}

static int sign_text(const struct tls_key *key, struct span text, unsigned char *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int r = E_CANNOT;

	*len = TLS_SIGNATURE_MAX;
	if (ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->key) == 1 &&
	    EVP_DigestSign(ctx, out, len, (const unsigned char *)text.ptr, text.len) == 1)
		r = 0;
	EVP_MD_CTX_free(ctx);
	return r;
}

static bool set_padding(EVP_PKEY_CTX *ctx, enum tls_algorithm algorithm)
{
	if (algorithm == TLS_RSA_PSS)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	return algorithm != TLS_RSA_PKCS1 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
}

static int sign_digest(const struct tls_key *key, const struct tls_question *q, unsigned char *out, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->key, NULL);
	EVP_MD *md = EVP_MD_fetch(NULL, digests[q->digest].name, NULL);
	int r = E_CANNOT;

	*len = TLS_SIGNATURE_MAX;
	if (ctx != NULL && md != NULL && EVP_PKEY_sign_init(ctx) == 1 && set_padding(ctx, q->algorithm) &&
	    EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
	    EVP_PKEY_sign(ctx, out, len, (const unsigned char *)q->data.ptr, q->data.len) == 1)
		r = 0;
	EVP_MD_free(md);
	EVP_PKEY_CTX_free(ctx);
	return r;
}

int tls_key_sign(const struct tls_key *key, const struct tls_question *q, unsigned char *out, size_t *len)
{
	static const char *const kinds[TLS_ALGORITHMS] = {"RSA", "RSA", "EC", "ED25519"};
	int r;

	if (q->algorithm >= TLS_ALGORITHMS || q->digest >= TLS_DIGESTS || !EVP_PKEY_is_a(key->key, kinds[q->algorithm]) ||
	    (q->digest == TLS_DIGEST_NONE) != (q->algorithm == TLS_ED25519))
		return E_UNSUPPORTED;
	if (q->digest == TLS_DIGEST_NONE ? q->data.len > TLS_SIGN_DATA_MAX : q->data.len != digests[q->digest].len)
		return E_SYNTAX;
	r = q->algorithm == TLS_ED25519 ? sign_text(key, q->data, out, len) : sign_digest(key, q, out, len);
	ERR_clear_error();
	return r;
}
