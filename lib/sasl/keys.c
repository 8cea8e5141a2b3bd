/* Keys of SCRAM: what is stored in place of a password (RFC 5802 section 3). */
#include "sasl/sasl.h"

#include "base/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { ITERATIONS_MIN = 4096, ITERATIONS_MAX = 1000000 };

size_t scram_size(enum sasl_mechanism mechanism)
{
	switch (mechanism) {
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_1_PLUS:
		return 20;
	case SASL_SCRAM_SHA_256:
	case SASL_SCRAM_SHA_256_PLUS:
		return 32;
	default:
		return 0;
	}
}

static const EVP_MD *hash_of(size_t size)
{
	return size == 20 ? EVP_sha1() : EVP_sha256();
}

static bool hmac(size_t size, const unsigned char *key, size_t key_size, struct span text, unsigned char *out)
{
	return HMAC(hash_of(size), key, (int)key_size, (const unsigned char *)text.ptr, text.len, out, NULL) != NULL;
}

/* With the salt and the iterations that are in it. */
static int derive(struct scram_keys *keys, struct span password)
{
	unsigned char salted[SCRAM_KEY_MAX], client[SCRAM_KEY_MAX];
	struct buf prepared;
	int r;

	buf_init(&prepared, 4 * SASL_PASSWORD_MAX);
	r = sasl_prepare(password, &prepared);
	if (r == 0 && buf_len(&prepared) == 0)
		r = E_SYNTAX;
	if (r == 0 && (PKCS5_PBKDF2_HMAC(buf_span(&prepared).ptr, (int)buf_len(&prepared), keys->salt, SCRAM_SALT, (int)keys->iterations,
			   hash_of(keys->size), (int)keys->size, salted) != 1 ||
			  !hmac(keys->size, salted, keys->size, SPAN_LIT("Client Key"), client) ||
			  EVP_Digest(client, keys->size, keys->stored, NULL, hash_of(keys->size), NULL) != 1 ||
			  !hmac(keys->size, salted, keys->size, SPAN_LIT("Server Key"), keys->server)))
		r = E_NOMEM;
	buf_fini_secret(&prepared);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client, sizeof(client));
	return r;
}

int scram_make(size_t size, struct span password, struct scram_keys *out)
{
	*out = (struct scram_keys){.size = size, .iterations = SCRAM_ITERATIONS};
	if (RAND_bytes(out->salt, SCRAM_SALT) != 1)
		return E_NOMEM;
	return derive(out, password);
}

bool scram_fits(const struct scram_keys *keys, struct span password)
{
	struct scram_keys own = *keys;

	return derive(&own, password) == 0 && CRYPTO_memcmp(own.stored, keys->stored, keys->size) == 0;
}

static void made_up(const unsigned char secret[32], const char *what, struct span user, unsigned char *out, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};
	char text[SASL_USER_MAX + 32];
	int n = snprintf(text, sizeof(text), "%s %.*s", what, SPAN_ARG(span_sub(user, 0, SASL_USER_MAX)));

	(void)hmac(32, secret, 32, span_of(text, (size_t)n), digest);
	memcpy(out, digest, size);
}

void scram_make_up(size_t size, const unsigned char secret[32], struct span user, struct scram_keys *out)
{
	*out = (struct scram_keys){.size = size, .iterations = SCRAM_ITERATIONS};
	made_up(secret, size == 20 ? "salt 1" : "salt 256", user, out->salt, SCRAM_SALT);
	made_up(secret, "stored", user, out->stored, size);
	made_up(secret, "server", user, out->server, size);
}

void scram_format(const struct scram_keys *keys, char out[SCRAM_TEXT_MAX])
{
	struct buf text;

	buf_init(&text, SCRAM_TEXT_MAX - 1);
	buf_printf(&text, "SCRAM-SHA-%s$%u:", keys->size == 20 ? "1" : "256", keys->iterations);
	base64_encode(&text, span_of(keys->salt, SCRAM_SALT));
	buf_add_char(&text, '$');
	base64_encode(&text, span_of(keys->stored, keys->size));
	buf_add_char(&text, ':');
	base64_encode(&text, span_of(keys->server, keys->size));
	span_copy(buf_span(&text), out, SCRAM_TEXT_MAX);
	buf_fini(&text);
}

/* base64 of exactly size bytes, up to `end`, which is passed by; '\0': the end of the text. */
static int take_bytes(struct span *rest, char end, unsigned char *out, size_t size)
{
	size_t at = end == '\0' ? rest->len : span_find(*rest, end);
	struct buf bytes;
	int r;

	if (end != '\0' && at == rest->len)
		return E_SYNTAX;
	buf_init(&bytes, SCRAM_KEY_MAX + 2);
	r = base64_decode(&bytes, span_sub(*rest, 0, at)) == 0 && buf_len(&bytes) == size ? 0 : bytes.starved ? E_NOMEM : E_SYNTAX;
	if (r == 0)
		memcpy(out, buf_span(&bytes).ptr, size);
	buf_fini_secret(&bytes);
	*rest = span_from(*rest, at + 1);
	return r;
}

int scram_parse(struct span text, struct scram_keys *out)
{
	uint64_t iterations;
	size_t at;
	int r;

	*out = (struct scram_keys){.size = span_startswith(text, SPAN_LIT("SCRAM-SHA-1$")) ? 20 : 32};
	if (out->size == 32 && !span_startswith(text, SPAN_LIT("SCRAM-SHA-256$")))
		return E_SYNTAX;
	text = span_from(text, span_find(text, '$') + 1);
	at = span_find(text, ':');
	if (!span_u64(span_sub(text, 0, at), ITERATIONS_MAX, &iterations) || iterations < ITERATIONS_MIN)
		return E_SYNTAX;
	out->iterations = (uint32_t)iterations;
	text = span_from(text, at + 1);
	r = take_bytes(&text, '$', out->salt, SCRAM_SALT);
	if (r == 0)
		r = take_bytes(&text, ':', out->stored, out->size);
	return r == 0 ? take_bytes(&text, '\0', out->server, out->size) : r;
}
