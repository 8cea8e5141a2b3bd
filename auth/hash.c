/* What is made of a password, and how one is checked against it. All of it takes long: on a thread. */
#include "auth/hash.h"

#include "base/secret.h"
#include "sasl/sasl.h"

#include <crypt.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { CRYPT_MIN = 26 }; /* the shortest there is, of MD5 with a salt of one character; less is a salt alone */

enum { PREPARED_MAX = 4 * SASL_PASSWORD_MAX };

_Static_assert(crypto_pwhash_STRBYTES <= DIRECTORY_HASH_MAX + 1, "a hash of libsodium fits");
enum { CRYPT_LEAST = 22 }; /* characters of the shortest hash of crypt(5), MD5's */

_Static_assert(SCRAM_TEXT_MAX <= DIRECTORY_SCRAM_MAX + 1, "the text of SCRAM keys fits");

/*
 * What crypto_pwhash_str makes, computed again: crypto_pwhash_str_verify says the same of a wrong password and of
 * memory that it did not get. E_UNSUPPORTED: another form, from an import.
 */
static int verify_own(const char *hash, struct span password)
{
	unsigned char salt[crypto_pwhash_SALTBYTES], wanted[32], found[32];
	char salt_text[32], hash_text[64];
	unsigned memory, times;
	size_t salt_len, hash_len;
	int end = 0;

	if (sscanf(hash, "$argon2id$v=19$m=%u,t=%u,p=1$%31[A-Za-z0-9+/]$%63[A-Za-z0-9+/]%n", &memory, &times, salt_text, hash_text, &end) != 4 ||
	    hash[end] != '\0' ||
	    sodium_base642bin(salt, sizeof(salt), salt_text, strlen(salt_text), NULL, &salt_len, NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
	    sodium_base642bin(wanted, sizeof(wanted), hash_text, strlen(hash_text), NULL, &hash_len, NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
	    salt_len != sizeof(salt) || hash_len != sizeof(wanted) || times < crypto_pwhash_argon2id_OPSLIMIT_MIN ||
	    (size_t)memory * 1024 < crypto_pwhash_argon2id_MEMLIMIT_MIN)
		return E_UNSUPPORTED;
	if (crypto_pwhash(found, sizeof(found), password.ptr, password.len, salt, times, (size_t)memory * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return E_NOMEM;
	return sodium_memcmp(found, wanted, sizeof(found)) == 0 ? 0 : E_AUTHFAILED;
}

static bool is_argon2(const char *hash)
{
	return strncmp(hash, "$argon2", strlen("$argon2")) == 0;
}

bool hash_is_todays(const char *hash)
{
	static const char front[] = "$argon2id$v=19$m=65536,t=2,p=1$";

	_Static_assert(crypto_pwhash_MEMLIMIT_INTERACTIVE == 65536 * 1024 && crypto_pwhash_OPSLIMIT_INTERACTIVE == 2, "the front of a new hash");
	return strncmp(hash, front, sizeof(front) - 1) == 0;
}

bool hash_is_known(struct span hash)
{
	char text[DIRECTORY_HASH_MAX + 1];
	const char *last;

	if (hash.len == 0 || hash.len > DIRECTORY_HASH_MAX || span_find(hash, ' ') != hash.len)
		return false;
	span_copy(hash, text, sizeof(text));
	if (is_argon2(text))
		return true;
	/* A setting alone is no hash. */
	last = strrchr(text, '$');
	if (last == NULL || strlen(last + 1) < CRYPT_LEAST)
		return false;
	/* A prefix of crypt(5) that is no longer good for new hashes is good enough to be checked against once. */
	return text[0] == '$' && hash.len >= CRYPT_MIN && crypt_checksalt(text) != CRYPT_SALT_INVALID;
}

/* crypt(5): a hash that came from elsewhere. */
static int verify_crypt(const char *hash, struct span password)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char text[SECRET_MAX + 1];
	const char *found;
	int r = E_NOMEM;

	if (data == NULL)
		return E_NOMEM;
	span_copy(password, text, sizeof(text));
	found = crypt_r(text, hash, data);
	if (found != NULL || errno != ENOMEM)
		r = found != NULL && strlen(found) == strlen(hash) && sodium_memcmp(found, hash, strlen(hash)) == 0 ? 0 : E_AUTHFAILED;
	explicit_bzero(text, sizeof(text));
	explicit_bzero(data, sizeof(*data));
	free(data);
	return r;
}

static int verify_octets(const char *hash, struct span password)
{
	int r;

	if (!is_argon2(hash))
		return verify_crypt(hash, password);
	r = verify_own(hash, password);
	if (r == E_UNSUPPORTED)
		r = crypto_pwhash_str_verify(hash, password.ptr, password.len) == 0 ? 0 : E_AUTHFAILED;
	return r;
}

/* As RFC 4616 section 2 wants it (RFC 4013); what cannot be prepared, or of which nothing is left, stays as it was typed. E_NOMEM. */
static int prepare(struct span password, struct buf *out)
{
	int r = sasl_prepare(password, out);

	if (r == E_NOMEM)
		return r;
	if (r == 0 && buf_len(out) > 0)
		return 0;
	buf_clear(out);
	buf_add_span(out, password);
	return buf_failed(out) ? E_NOMEM : 0;
}

/* One of today's is of the prepared form; but of what was typed when it comes from somebody else with the same costs. */
static int verify_todays(const char *hash, struct span password, bool *is_stale)
{
	struct buf prepared;
	int r;

	buf_init(&prepared, PREPARED_MAX);
	r = prepare(password, &prepared);
	if (r == 0)
		r = verify_octets(hash, buf_span(&prepared));
	if (r == E_AUTHFAILED && !span_eq(buf_span(&prepared), password)) {
		r = verify_octets(hash, password);
		*is_stale = true;
	}
	buf_fini_secret(&prepared);
	return r;
}

int hash_verify(const char *hash, struct span password, bool *is_stale)
{
	*is_stale = !hash_is_todays(hash);
	return *is_stale ? verify_octets(hash, password) : verify_todays(hash, password, is_stale);
}

static int make_hash(struct span password, char out[DIRECTORY_HASH_MAX + 1])
{
	struct buf prepared;
	int r;

	buf_init(&prepared, PREPARED_MAX);
	r = prepare(password, &prepared);
	if (r == 0 &&
	    crypto_pwhash_str(out, buf_span(&prepared).ptr, buf_len(&prepared), crypto_pwhash_OPSLIMIT_INTERACTIVE, crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
		r = E_NOMEM;
	buf_fini_secret(&prepared);
	return r;
}

/* A password that cannot be prepared (RFC 4013) has no keys: PLAIN still works. */
static int make_keys(size_t size, struct span password, char out[DIRECTORY_SCRAM_MAX + 1])
{
	struct scram_keys keys;
	int r = scram_make(size, password, &keys);

	if (r == 0)
		scram_format(&keys, out);
	explicit_bzero(&keys, sizeof(keys));
	return r == E_NOMEM ? E_NOMEM : 0;
}

int credentials_complete(struct credentials *c, struct span password, bool *changed)
{
	int r = 0;

	*changed = c->hash[0] == '\0' || (c->scram_sha_1[0] == '\0' && c->scram_sha_256[0] == '\0');
	if (c->hash[0] == '\0')
		r = make_hash(password, c->hash);
	if (r == 0 && c->scram_sha_1[0] == '\0')
		r = make_keys(20, password, c->scram_sha_1);
	if (r == 0 && c->scram_sha_256[0] == '\0')
		r = make_keys(32, password, c->scram_sha_256);
	return r;
}
