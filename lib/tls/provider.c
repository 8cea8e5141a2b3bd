/*
 * An OpenSSL provider (provider(7)) whose private keys are names of keys in another process. A key is a public key with its
 * fingerprint; it signs by asking, and leaves the handshake's stack until the answer is there.
 *
 * It lives in a library context of its own, in which OpenSSL's default provider goes first: only keys that were made here lead here.
 */
#include "tls/private.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <stdlib.h>

#define OPAQUE_SIGNER "mailwain-signer"

/* ---- keys ---- */

struct opaque_key {
	EVP_PKEY *public;
	struct tls_signer *signer; /* NULL: somebody's public key, for a comparison */
	unsigned char fingerprint[TLS_FINGERPRINT];
};

static void *key_new(void *provider)
{
	(void)provider;
	return calloc(1, sizeof(struct opaque_key));
}

static void key_free(void *arg)
{
	struct opaque_key *key = arg;

	if (key != NULL)
		EVP_PKEY_free(key->public);
	free(key);
}

static int key_has(const void *arg, int selection)
{
	const struct opaque_key *key = arg;

	if (key->public == NULL)
		return 0;
	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key->signer != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
	const struct opaque_key *x = a, *y = b;

	(void)selection;
	return memcmp(x->fingerprint, y->fingerprint, TLS_FINGERPRINT) == 0;
}

/* From the public numbers, by OpenSSL's own key of this kind; and from tls_signer_key, which adds who signs. */
static int key_import(struct opaque_key *key, const char *kind, const OSSL_PARAM params[])
{
	const OSSL_PARAM *signer = OSSL_PARAM_locate_const(params, OPAQUE_SIGNER);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	const void *pointer = NULL;
	size_t size = 0;
	int ok = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		 EVP_PKEY_fromdata(ctx, &key->public, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) == 1 &&
		 tls_fingerprint(key->public, key->fingerprint) == 0;

	EVP_PKEY_CTX_free(ctx);
	if (ok && signer != NULL && OSSL_PARAM_get_octet_string_ptr(signer, &pointer, &size) == 1 && size == sizeof(key->signer))
		memcpy(&key->signer, pointer, size);
	return ok;
}

static int rsa_import(void *key, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	return key_import(key, "RSA", params);
}

static int ec_import(void *key, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	return key_import(key, "EC", params);
}

static int ed25519_import(void *key, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	return key_import(key, "ED25519", params);
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_octet_string(OPAQUE_SIGNER, NULL, 0), OSSL_PARAM_END};

	(void)selection;
	return types;
}

static int key_get_params(void *arg, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct opaque_key *)arg)->public, params);
}

static const OSSL_PARAM *key_gettable_params(void *provider)
{
	static const OSSL_PARAM gettable[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
	    OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
	    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0), OSSL_PARAM_END};

	(void)provider;
	return gettable;
}

static const char *ec_operation(int operation)
{
	(void)operation;
	return "ECDSA";
}

typedef void (*function)(void); /* of OSSL_DISPATCH */

#define KEY_FUNCTIONS(import)                                                                                          \
	{OSSL_FUNC_KEYMGMT_NEW, (function)key_new}, {OSSL_FUNC_KEYMGMT_FREE, (function)key_free},                      \
	    {OSSL_FUNC_KEYMGMT_HAS, (function)key_has}, {OSSL_FUNC_KEYMGMT_MATCH, (function)key_match},                \
	    {OSSL_FUNC_KEYMGMT_IMPORT, (function)(import)}, {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (function)key_import_types}, \
	    {OSSL_FUNC_KEYMGMT_GET_PARAMS, (function)key_get_params},                                                  \
	    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (function)key_gettable_params}

static const OSSL_DISPATCH rsa_key[] = {KEY_FUNCTIONS(rsa_import), {0, NULL}};
static const OSSL_DISPATCH ec_key[] = {KEY_FUNCTIONS(ec_import), {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (function)ec_operation}, {0, NULL}};
static const OSSL_DISPATCH ed25519_key[] = {KEY_FUNCTIONS(ed25519_import), {0, NULL}};

/* ---- signatures ---- */

struct opaque_signature {
	struct opaque_key *key; /* the caller's, who keeps it as long */
	enum tls_digest digest;
	bool pss;
};

static void *signature_new(void *provider, const char *properties)
{
	(void)provider;
	(void)properties;
	return calloc(1, sizeof(struct opaque_signature));
}

/* libssl copies the state that it prepared for a context. */
static void *signature_dup(void *arg)
{
	struct opaque_signature *copy = malloc(sizeof(*copy));

	if (copy != NULL)
		memcpy(copy, arg, sizeof(*copy));
	return copy;
}

static bool is_digest(const char *name, const EVP_MD *md)
{
	return EVP_MD_is_a(md, name);
}

static enum tls_digest digest_of(const char *name)
{
	if (name == NULL || name[0] == '\0')
		return TLS_DIGEST_NONE;
	return is_digest(name, EVP_sha256()) ? TLS_SHA256 : is_digest(name, EVP_sha384()) ? TLS_SHA384
		: is_digest(name, EVP_sha512()) ? TLS_SHA512 : TLS_DIGESTS;
}

static int signature_set_params(void *arg, const OSSL_PARAM params[])
{
	struct opaque_signature *s = arg;
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	const char *text = NULL;
	int mode = 0;

	if (p == NULL)
		return 1; /* the salt's length is the digest's in all of TLS */
	if (p->data_type == OSSL_PARAM_UTF8_STRING && OSSL_PARAM_get_utf8_string_ptr(p, &text) == 1)
		s->pss = strcmp(text, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
	else if (OSSL_PARAM_get_int(p, &mode) == 1)
		s->pss = mode == RSA_PKCS1_PSS_PADDING;
	return 1;
}

static const OSSL_PARAM *signature_settable_params(void *ctx, void *provider)
{
	static const OSSL_PARAM settable[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
	    OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_END};

	(void)ctx;
	(void)provider;
	return settable;
}

static int signature_init(void *arg, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct opaque_signature *s = arg;

	s->key = key;
	s->digest = digest_of(digest);
	s->pss = false;
	(void)params;
	return s->digest != TLS_DIGESTS && s->key->signer != NULL;
}

static enum tls_algorithm algorithm_of(const struct opaque_signature *s)
{
	if (EVP_PKEY_is_a(s->key->public, "RSA"))
		return s->pss ? TLS_RSA_PSS : TLS_RSA_PKCS1;
	return EVP_PKEY_is_a(s->key->public, "EC") ? TLS_ECDSA : TLS_ED25519;
}

/* The one place that leaves the stack: what the answer is written to stands on it. */
static int ask(struct tls_signer *signer, const struct tls_question *question, unsigned char *out, size_t *len, size_t size)
{
	struct tls_session *session = signer->current;
	struct tls_wait wait = {.code = E_UNAVAILABLE};

	if (session == NULL || ASYNC_get_current_job() == NULL || !signer->callbacks->ask(signer->arg, session, question))
		return 0;
	session->wait = &wait;
	while (!wait.over)
		if (ASYNC_pause_job() == 0)
			break;
	session->wait = NULL;
	if (!wait.over || wait.code != 0 || wait.len > size)
		return 0;
	memcpy(out, wait.signature, wait.len);
	*len = wait.len;
	return 1;
}

static int signature_sign(void *arg, unsigned char *out, size_t *len, size_t size, const unsigned char *text, size_t text_len)
{
	static const char *const names[] = {NULL, "SHA256", "SHA384", "SHA512"};
	struct opaque_signature *s = arg;
	struct tls_question question = {.algorithm = algorithm_of(s), .digest = s->digest, .data = span_of(text, text_len)};
	unsigned char digest[EVP_MAX_MD_SIZE];
	size_t digest_len = 0;

	if (out == NULL) {
		*len = (size_t)EVP_PKEY_get_size(s->key->public);
		return 1;
	}
	if (s->digest != TLS_DIGEST_NONE) {
		if (EVP_Q_digest(NULL, names[s->digest], NULL, text, text_len, digest, &digest_len) != 1)
			return 0;
		question.data = span_of(digest, digest_len);
	}
	memcpy(question.key, s->key->fingerprint, TLS_FINGERPRINT);
	return ask(s->key->signer, &question, out, len, size);
}

static const OSSL_DISPATCH signature[] = {{OSSL_FUNC_SIGNATURE_NEWCTX, (function)signature_new}, {OSSL_FUNC_SIGNATURE_FREECTX, (function)free},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (function)signature_dup}, {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (function)signature_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (function)signature_sign}, {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (function)signature_set_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (function)signature_settable_params}, {0, NULL}};

/* ---- the provider ---- */

#define OURS "provider=mailwain"

static const OSSL_ALGORITHM *provider_query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {{"RSA:rsaEncryption", OURS, rsa_key, NULL}, {"EC:id-ecPublicKey", OURS, ec_key, NULL},
	    {"ED25519", OURS, ed25519_key, NULL}, {NULL, NULL, NULL, NULL}};
	static const OSSL_ALGORITHM signatures[] = {{"RSA:rsaEncryption", OURS, signature, NULL}, {"ECDSA", OURS, signature, NULL},
	    {"ED25519", OURS, signature, NULL}, {NULL, NULL, NULL, NULL}};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (function)provider_query}, {0, NULL}};

	(void)in;
	*out = functions;
	*context = (void *)(uintptr_t)handle;
	return 1;
}

int tls_signer_new(const struct tls_signer_callbacks *callbacks, void *arg, struct tls_signer **out, struct err *err)
{
	struct tls_signer *signer = calloc(1, sizeof(*signer));

	*out = signer;
	if (signer == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	signer->callbacks = callbacks;
	signer->arg = arg;
	signer->starved_tail = &signer->starved;
	signer->libctx = OSSL_LIB_CTX_new();
	if (signer->libctx == NULL || OSSL_PROVIDER_load(signer->libctx, "default") == NULL ||
	    OSSL_PROVIDER_add_builtin(signer->libctx, "mailwain", provider_init) != 1 ||
	    OSSL_PROVIDER_load(signer->libctx, "mailwain") == NULL || EVP_set_default_properties(signer->libctx, "?provider=default") != 1 ||
	    ASYNC_is_capable() != 1 || ASYNC_init_thread(TLS_SIGNERS_WAIT, 0) != 1)
		return tls_error(err, E_CANNOT, "TLS with keys in another process");
	return 0;
}

static int collect(const OSSL_PARAM params[], void *arg)
{
	*(OSSL_PARAM **)arg = OSSL_PARAM_dup(params);
	return *(OSSL_PARAM **)arg != NULL;
}

EVP_PKEY *tls_signer_key(struct tls_signer *signer, EVP_PKEY *public)
{
	OSSL_PARAM who[] = {OSSL_PARAM_construct_octet_string(OPAQUE_SIGNER, &signer, sizeof(signer)), OSSL_PARAM_construct_end()};
	OSSL_PARAM *numbers = NULL, *all = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(signer->libctx, EVP_PKEY_get0_type_name(public), OURS);
	EVP_PKEY *key = NULL;

	if (ctx != NULL && EVP_PKEY_export(public, EVP_PKEY_PUBLIC_KEY, collect, &numbers) == 1)
		all = OSSL_PARAM_merge(numbers, who);
	if (all == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, all) != 1)
		key = NULL;
	OSSL_PARAM_free(all);
	OSSL_PARAM_free(numbers);
	EVP_PKEY_CTX_free(ctx);
	return key;
}
