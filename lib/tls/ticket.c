/*
 * Session tickets (RFC 5077, RFC 8446 section 4.6.1) whose keys come from secrets that all processes of a service share: a client
 * may come back to any of them, also after a restart. Keys are made when they are needed, and wiped: struct tls_tickets is all there is.
 */
#include "tls/private.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

enum { TICKET_NAME = 16, TICKET_AES = 32, TICKET_MAC = 32 };

struct ticket_key {
	unsigned char name[TICKET_NAME], aes[TICKET_AES], mac[TICKET_MAC];
};

/* HKDF with SHA-256 (RFC 5869). */
static bool derive(const unsigned char secret[TLS_TICKET_SECRET], struct ticket_key *out)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char digest[] = "SHA256", salt[] = "mailwain session tickets";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof(salt)),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, TLS_TICKET_SECRET), OSSL_PARAM_construct_end()};
	bool ok = ctx != NULL && EVP_KDF_derive(ctx, (unsigned char *)out, sizeof(*out), params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static bool use_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
	    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct tls_context *context, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key key;
	int ok = derive(context->tickets->now, &key) && RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 && use_mac(mac, &key) &&
		 EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) == 1;

	memcpy(name, key.name, sizeof(key.name));
	OPENSSL_cleanse(&key, sizeof(key));
	return ok ? 1 : -1;
}

/* 0: not one of ours, or too old: a full handshake. 2: good, and a new one is due. */
static int unseal(const struct tls_context *context, const unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	const unsigned char *secrets[] = {context->tickets->now, context->tickets->before};
	struct ticket_key key;
	int r = 0;

	for (int age = 0; age <= 1 && r == 0; age++)
		if (derive(secrets[age], &key) && memcmp(name, key.name, sizeof(key.name)) == 0)
			r = !use_mac(mac, &key) || EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.aes, iv) != 1 ? -1 : age == 0 ? 1 : 2;
	OPENSSL_cleanse(&key, sizeof(key));
	return r;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	const struct tls_session *session = SSL_get_app_data(ssl);

	int r = sealing ? seal(session->context, name, iv, cipher, mac) : unseal(session->context, name, iv, cipher, mac);

	/* RFC 8446 appendix C.4: a ticket of TLS 1.3 serves once; who comes back gets the next. */
	return !sealing && r == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : r;
}

int tls_tickets_set(SSL_CTX *ssl)
{
	SSL_CTX_set_timeout(ssl, TLS_TICKET_PERIOD);
	SSL_CTX_set_num_tickets(ssl, 1);
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket) == 1 ? 0 : E_CANNOT;
}
