/* SCRAM (RFC 5802, RFC 7677), the client's side: both show that they know the password, and neither says it. */
#include "sasl/client_private.h"

#include "base/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

static const EVP_MD *hash_of(const struct sasl_client *c)
{
	return scram_size(c->mechanism) == 20 ? EVP_sha1() : EVP_sha256();
}

static bool is_plus(const struct sasl_client *c)
{
	return c->mechanism == SASL_SCRAM_SHA_1_PLUS || c->mechanism == SASL_SCRAM_SHA_256_PLUS;
}

static int no_memory(struct err *err)
{
	return err_set(err, E_NOMEM, "No memory to log in");
}

/* ---- client-first-message ---- */

void scram_client_set_nonce(struct sasl_client *c, struct span nonce)
{
	span_copy(nonce, c->nonce, sizeof(c->nonce));
}

static bool make_nonce(struct sasl_client *c)
{
	unsigned char random[SCRAM_NONCE];
	struct buf text;
	bool well = RAND_bytes(random, sizeof(random)) == 1;

	buf_init(&text, sizeof(c->nonce) - 1);
	base64_encode(&text, span_of(random, sizeof(random)));
	well = well && !buf_failed(&text);
	if (well)
		scram_client_set_nonce(c, buf_span(&text));
	buf_fini(&text);
	return well;
}

/* saslname (RFC 5801 section 4): comma and equals would end it. */
static void put_saslname(struct buf *out, struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == ',')
			buf_add_str(out, "=2C");
		else if (name.ptr[i] == '=')
			buf_add_str(out, "=3D");
		else
			buf_add_char(out, name.ptr[i]);
	}
}

/*
 * gs2-header (section 7) and the data that it names. "y": we could be bound to the channel and the server does not offer it; if
 * somebody has taken the offer away on its way, the server finds that out (section 6).
 */
static int bind_to_channel(struct sasl_client *c, struct err *err)
{
	bool exporter = c->exporter_len > 0, can = exporter || c->endpoint_len > 0;

	if (is_plus(c) && !can)
		return err_set(err, E_UNSUPPORTED, "This login is bound to a TLS channel, and there is none");
	if (is_plus(c))
		buf_printf(&c->header, "p=%s,,", exporter ? "tls-exporter" : "tls-server-end-point");
	else
		buf_add_str(&c->header, can && !c->plus_offered ? "y,," : "n,,");
	buf_add_span(&c->binding, buf_span(&c->header));
	if (is_plus(c))
		buf_add(&c->binding, exporter ? c->exporter : c->endpoint, exporter ? c->exporter_len : c->endpoint_len);
	return 0;
}

int scram_client_begin(struct sasl_client *c, struct err *err)
{
	struct buf user;
	int r;

	if (c->nonce[0] == '\0' && !make_nonce(c))
		return no_memory(err);
	r = bind_to_channel(c, err);
	if (r != 0)
		return r;
	buf_init(&user, 4 * SASL_USER_MAX);
	r = sasl_prepare(buf_span(&c->user), &user);
	if (r == 0) {
		buf_add_str(&c->bare, "n=");
		put_saslname(&c->bare, buf_span(&user));
		buf_printf(&c->bare, ",r=%s", c->nonce);
		buf_add_span(&c->initial, buf_span(&c->header));
		buf_add_span(&c->initial, buf_span(&c->bare));
	}
	buf_fini(&user);
	if (r == E_SYNTAX)
		return err_set(err, r, "The user's name has characters that no login may have");
	return r != 0 || buf_failed(&c->bare) || buf_failed(&c->header) || buf_failed(&c->binding) ? no_memory(err) : 0;
}

/* ---- server-first-message ---- */

struct server_first {
	struct span nonce;
	struct buf salt;
	uint32_t iterations;
};

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

static bool is_nonce(const struct sasl_client *c, struct span nonce)
{
	struct span own = span_str(c->nonce);

	for (size_t i = 0; i < nonce.len; i++)
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e)
			return false;
	return nonce.len > own.len && nonce.len <= SCRAM_NONCE_MAX && span_startswith(nonce, own);
}

static int malformed(struct err *err)
{
	return err_set(err, E_REMOTE, "The server's challenge is not as SCRAM has it");
}

/* [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]; an extension in front must be understood (section 5.1). */
static int take_first(const struct sasl_client *c, struct span text, struct server_first *out, struct err *err)
{
	struct span salt, count;
	uint64_t iterations;
	int r;

	if (!take_attribute(&text, 'r', &out->nonce) || !is_nonce(c, out->nonce) || !take_attribute(&text, 's', &salt) ||
	    !take_attribute(&text, 'i', &count) || !span_u64(count, UINT64_MAX, &iterations))
		return malformed(err);
	if (iterations < SASL_CLIENT_ITERATIONS_MIN || iterations > SASL_CLIENT_ITERATIONS_MAX)
		return err_set(err, E_REMOTE, "The server wants %llu iterations; between %d and %d are made", (unsigned long long)iterations,
		    SASL_CLIENT_ITERATIONS_MIN, SASL_CLIENT_ITERATIONS_MAX);
	out->iterations = (uint32_t)iterations;
	r = base64_decode(&out->salt, salt);
	if (r != 0 && out->salt.starved)
		return no_memory(err);
	return r != 0 || buf_len(&out->salt) == 0 ? malformed(err) : 0;
}

/* ---- client-final-message (section 3) ---- */

static bool hmac(const struct sasl_client *c, const unsigned char *key, struct span text, unsigned char *out)
{
	return HMAC(hash_of(c), key, (int)scram_size(c->mechanism), (const unsigned char *)text.ptr, text.len, out, NULL) != NULL;
}

static bool salt_password(const struct sasl_client *c, const struct server_first *first, struct span password, unsigned char *out)
{
	struct span salt = buf_span(&first->salt);

	return PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr, (int)salt.len, (int)first->iterations, hash_of(c),
		   (int)scram_size(c->mechanism), out) == 1;
}

/* ClientProof into proof; ServerSignature into c->signature. */
static bool make_proof(struct sasl_client *c, const struct server_first *first, struct span password, struct span message,
    unsigned char proof[SCRAM_KEY_MAX])
{
	unsigned char salted[SCRAM_KEY_MAX], key[SCRAM_KEY_MAX], stored[SCRAM_KEY_MAX], signature[SCRAM_KEY_MAX];
	size_t size = scram_size(c->mechanism);
	bool well = salt_password(c, first, password, salted) && hmac(c, salted, SPAN_LIT("Client Key"), key) &&
		    EVP_Digest(key, size, stored, NULL, hash_of(c), NULL) == 1 && hmac(c, stored, message, signature);

	for (size_t i = 0; well && i < size; i++)
		proof[i] = (unsigned char)(key[i] ^ signature[i]);
	well = well && hmac(c, salted, SPAN_LIT("Server Key"), key) && hmac(c, key, message, c->signature);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(stored, sizeof(stored));
	return well;
}

static int put_final(struct sasl_client *c, const struct server_first *first, struct span server_first, struct span password, struct buf *out,
    struct err *err)
{
	unsigned char proof[SCRAM_KEY_MAX] = {0};
	struct buf message;
	bool well;

	buf_add_str(out, "c=");
	base64_encode(out, buf_span(&c->binding));
	buf_printf(out, ",r=%.*s", SPAN_ARG(first->nonce));
	buf_init(&message, 4 * SASL_RESPONSE_MAX);
	buf_add_span(&message, buf_span(&c->bare));
	buf_add_char(&message, ',');
	buf_add_span(&message, server_first);
	buf_add_char(&message, ',');
	buf_add_span(&message, buf_span(out));
	well = !buf_failed(&message) && !buf_failed(out) && make_proof(c, first, password, buf_span(&message), proof);
	buf_fini(&message);
	buf_add_str(out, ",p=");
	base64_encode(out, span_of(proof, scram_size(c->mechanism)));
	return well && !buf_failed(out) ? 0 : no_memory(err);
}

static int answer_first(struct sasl_client *c, struct span challenge, struct buf *out, struct err *err)
{
	struct server_first first = {0};
	struct buf password;
	int r;

	buf_init(&first.salt, SASL_CLIENT_SALT_MAX);
	buf_init(&password, 4 * SASL_PASSWORD_MAX);
	r = take_first(c, challenge, &first, err);
	if (r == 0) {
		r = sasl_prepare(buf_span(&c->password), &password);
		if (r == E_SYNTAX)
			err_set(err, r, "The password has characters that no login may have");
		else if (r != 0)
			r = no_memory(err);
	}
	if (r == 0)
		r = put_final(c, &first, challenge, buf_span(&password), out, err);
	buf_fini_secret(&password);
	buf_fini(&first.salt);
	return r;
}

/* ---- server-final-message ---- */

/* verifier: "v=" and the signature; or "e=" and why not. */
static int judge_final(struct sasl_client *c, struct span text, struct err *err)
{
	size_t size = scram_size(c->mechanism);
	struct buf signature;
	struct span value;
	int r = 0;

	if (!take_attribute(&text, 'v', &value))
		return take_attribute(&text, 'e', &value) ? err_set(err, E_AUTHFAILED, "The server refuses the login") : malformed(err);
	buf_init(&signature, EVP_MAX_MD_SIZE);
	c->proved = base64_decode(&signature, value) == 0 && buf_len(&signature) == size &&
		    CRYPTO_memcmp(buf_span(&signature).ptr, c->signature, size) == 0;
	if (!c->proved && signature.starved)
		r = no_memory(err);
	else if (!c->proved)
		r = err_set(err, E_DENIED, "The server does not know the password: it is not the one that we want to talk to");
	buf_fini(&signature);
	return r;
}

int scram_client_respond(struct sasl_client *c, struct span challenge, struct buf *out, struct err *err)
{
	switch (c->turn) {
	case 0:
		return answer_first(c, challenge, out, err);
	case 1:
		return judge_final(c, challenge, err);
	default:
		return err_set(err, E_REMOTE, "The server does not keep to the order of the login");
	}
}
