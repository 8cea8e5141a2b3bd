/* SCRAM (RFC 5802, RFC 7677): the password never travels, and a proof is bound to the TLS channel when the client can do that. */
#include "sasl/private.h"

#include "base/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { CLIENT_NONCE_MAX = SCRAM_NONCE_MAX - SCRAM_NONCE * 4 / 3 };

static const EVP_MD *hash_of(const struct sasl *s)
{
	return scram_size(s->mechanism) == 20 ? EVP_sha1() : EVP_sha256();
}

/* "key=value" up to the next comma; false when it is another key, or not there. */
static bool take_attribute(struct span *rest, char key, struct span *value)
{
	size_t end = span_find(*rest, ',');

	if (rest->len < 2 || rest->ptr[0] != key || rest->ptr[1] != '=')
		return false;
	*value = span_sub(*rest, 2, end - 2);
	*rest = span_from(*rest, end + 1);
	return true;
}

/* What the client's proof will be bound to, behind the gs2-header. */
static bool bind_to_channel(struct sasl *s, struct span name)
{
	const struct {
		struct span name;
		const unsigned char *data;
		size_t len;
	} bindings[] = {{SPAN_LIT("tls-exporter"), s->exporter, s->exporter_len},
	    {SPAN_LIT("tls-unique"), s->unique, s->unique_len},
	    {SPAN_LIT("tls-server-end-point"), s->endpoint, s->endpoint_len}};

	for (size_t i = 0; i < sizeof(bindings) / sizeof(bindings[0]); i++) {
		if (!span_eq(name, bindings[i].name))
			continue;
		buf_add(&s->header, bindings[i].data, bindings[i].len);
		return bindings[i].len > 0;
	}
	return false;
}

/* gs2-cbind-flag "," [authzid] "," (section 7); true: *rest is the client-first-message-bare. */
static bool take_header(struct sasl *s, struct span *rest)
{
	struct span all = *rest, flag, authzid;
	size_t end = span_find(all, ',');

	flag = span_sub(all, 0, end);
	*rest = span_from(all, end + 1);
	end = span_find(*rest, ',');
	if (end == rest->len)
		return false;
	authzid = span_sub(*rest, 0, end);
	*rest = span_from(*rest, end + 1);
	if (authzid.len > 0 && (!span_startswith(authzid, SPAN_LIT("a=")) || !sasl_take_saslname(span_from(authzid, 2), s->authzid)))
		return false;
	buf_add(&s->header, all.ptr, all.len - rest->len);
	if (sasl_mechanism_is_plus(s->mechanism))
		return span_startswith(flag, SPAN_LIT("p=")) && bind_to_channel(s, span_from(flag, 2));
	return span_eq(flag, SPAN_LIT("n")) || (span_eq(flag, SPAN_LIT("y")) && !s->plus_offered);
}

/* printable, without comma (section 7) */
static bool is_nonce(struct span nonce)
{
	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e || nonce.ptr[i] == ',')
			return false;
	return nonce.len > 0 && nonce.len <= CLIENT_NONCE_MAX;
}

static bool add_own_nonce(struct sasl *s, struct span client)
{
	unsigned char own[SCRAM_NONCE];
	struct buf text;
	bool made = RAND_bytes(own, sizeof(own)) == 1;

	buf_init(&text, SCRAM_NONCE_MAX);
	buf_add_span(&text, client);
	base64_encode(&text, span_of(own, sizeof(own)));
	made = made && !buf_failed(&text);
	span_copy(buf_span(&text), s->nonce, sizeof(s->nonce));
	buf_fini(&text);
	return made;
}

static enum sasl_step take_first(struct sasl *s, struct span rest)
{
	struct span user, nonce;

	if (!take_header(s, &rest))
		return SASL_MALFORMED;
	buf_add_span(&s->first_bare, rest);
	/* An "m=" in front is an extension that must be understood (section 5.1). */
	if (!take_attribute(&rest, 'n', &user) || !take_attribute(&rest, 'r', &nonce) || !sasl_take_saslname(user, s->user) || s->user[0] == '\0' ||
	    !is_nonce(nonce))
		return SASL_MALFORMED;
	if (!add_own_nonce(s, nonce) || buf_failed(&s->first_bare) || buf_failed(&s->header))
		return SASL_STARVED;
	return sasl_ask(s, SASL_KEYS);
}

enum sasl_step scram_keys_given(struct sasl *s, const struct scram_keys *keys)
{
	s->keys = *keys;
	buf_printf(&s->server_first, "r=%s,s=", s->nonce);
	base64_encode(&s->server_first, span_of(keys->salt, sizeof(keys->salt)));
	buf_printf(&s->server_first, ",i=%u", keys->iterations);
	if (buf_failed(&s->server_first))
		return SASL_STARVED;
	buf_add_span(&s->challenge, buf_span(&s->server_first));
	return sasl_challenge_made(s);
}

/* 0, E_SYNTAX or E_NOMEM. */
static int decodes_to(struct span text, struct span wanted)
{
	struct buf decoded;
	int r;

	buf_init(&decoded, SASL_RESPONSE_MAX);
	r = base64_decode(&decoded, text) == 0 && span_eq(buf_span(&decoded), wanted) ? 0 : decoded.starved ? E_NOMEM : E_SYNTAX;
	buf_fini(&decoded);
	return r;
}

/* False: no memory. */
static bool hmac(const EVP_MD *hash, const unsigned char *key, size_t size, struct span text, unsigned char out[EVP_MAX_MD_SIZE])
{
	return HMAC(hash, key, (int)size, (const unsigned char *)text.ptr, text.len, out, NULL) != NULL;
}

/* Section 3: ClientKey is the proof without its signature, and its hash is what is stored. 0, E_AUTHFAILED, E_NOMEM. */
static int proves(struct sasl *s, struct span proof, struct span message)
{
	unsigned char signature[EVP_MAX_MD_SIZE], key[EVP_MAX_MD_SIZE] = {0};
	struct buf decoded;
	int r;

	buf_init(&decoded, EVP_MAX_MD_SIZE);
	r = E_AUTHFAILED;
	if (base64_decode(&decoded, proof) == 0 && buf_len(&decoded) == s->keys.size) {
		bool made = hmac(hash_of(s), s->keys.stored, s->keys.size, message, signature);

		for (size_t i = 0; made && i < s->keys.size; i++)
			key[i] = (unsigned char)(signature[i] ^ (unsigned char)buf_span(&decoded).ptr[i]);
		if (!made || EVP_Digest(key, s->keys.size, key, NULL, hash_of(s), NULL) != 1)
			r = E_NOMEM;
		else if (CRYPTO_memcmp(key, s->keys.stored, s->keys.size) == 0)
			r = 0;
	} else if (decoded.starved) {
		r = E_NOMEM;
	}
	buf_fini_secret(&decoded);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

static enum sasl_step judge(struct sasl *s, struct span without_proof, struct span proof)
{
	unsigned char signature[EVP_MAX_MD_SIZE];
	enum sasl_step step = SASL_WRONG;
	struct buf message;
	int r;

	buf_init(&message, 2 * SASL_RESPONSE_MAX);
	buf_add_span(&message, buf_span(&s->first_bare));
	buf_add_char(&message, ',');
	buf_add_span(&message, buf_span(&s->server_first));
	buf_add_char(&message, ',');
	buf_add_span(&message, without_proof);
	r = buf_failed(&message) ? E_NOMEM : proves(s, proof, buf_span(&message));
	if (r == E_NOMEM) {
		step = SASL_STARVED;
	} else if (r == 0) {
		bool made = hmac(hash_of(s), s->keys.server, s->keys.size, buf_span(&message), signature);

		buf_add_str(&s->challenge, "v=");
		base64_encode(&s->challenge, span_of(signature, s->keys.size));
		step = made ? sasl_challenge_made(s) : SASL_STARVED;
	}
	buf_fini(&message);
	return step;
}

/* channel-binding "," nonce ["," extensions] "," proof */
static enum sasl_step take_final(struct sasl *s, struct span all)
{
	struct span rest = all, binding, nonce, proof;
	size_t at = all.len;
	int r;

	while (at > 0 && !span_startswith(span_from(all, at), SPAN_LIT(",p=")))
		at--;
	if (at == 0 || !take_attribute(&rest, 'c', &binding) || !take_attribute(&rest, 'r', &nonce))
		return SASL_MALFORMED;
	proof = span_from(all, at + 3);
	r = decodes_to(binding, buf_span(&s->header));
	if (r != 0 || !span_eq(nonce, span_str(s->nonce)))
		return r == E_NOMEM ? SASL_STARVED : SASL_MALFORMED;
	return judge(s, span_sub(all, 0, at), proof);
}

/* The client has our signature: it says nothing more. */
enum sasl_step scram_respond(struct sasl *s, struct span response)
{
	switch (s->turn) {
	case 0:
		return take_first(s, response);
	case 1:
		return take_final(s, response);
	default:
		return s->turn == 2 && response.len == 0 ? SASL_DONE : SASL_MALFORMED;
	}
}
