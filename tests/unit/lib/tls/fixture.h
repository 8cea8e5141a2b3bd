/* Certificates made on the spot, and a client that is driven by hand. */
#ifndef MW_TESTS_UNIT_TLS_FIXTURE_H
#define MW_TESTS_UNIT_TLS_FIXTURE_H

#include "tests/unit/test.h"

#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* PEM files in memory. */
struct pem {
	int certificate, key;
	char name[32];
};

static inline int memory_file(BIO *text)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);
	char *data;
	long len = BIO_get_mem_data(text, &data);

	assert_int_equal(write(fd, data, (size_t)len), len);
	BIO_free(text);
	return fd; /* its offset is at the end */
}

static inline X509 *certificate_new(const char *name, const char *issuer, EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *from;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	from = X509_NAME_new();
	X509_NAME_add_entry_by_txt(from, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
	X509_set_issuer_name(x, from);
	X509_NAME_free(from);
	assert_true(X509_sign(x, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
	return x;
}

/* chain: how many certificates stand behind the first. password: of the key's file, NULL for none. */
static inline struct pem pem_new(const char *name, int chain, const char *password)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *cert_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
	struct pem pem;

	assert_non_null(key);
	snprintf(pem.name, sizeof(pem.name), "%s", name);
	for (int i = 0; i <= chain; i++) {
		char own[64], issuer[64];
		X509 *x;

		snprintf(own, sizeof(own), i > 0 ? "%s issuer %d" : "%s", name, i);
		snprintf(issuer, sizeof(issuer), i < chain ? "%s issuer %d" : "%s", i < chain ? name : own, i + 1);
		x = certificate_new(own, issuer, key);
		assert_int_equal(PEM_write_bio_X509(cert_text, x), 1);
		X509_free(x);
	}
	assert_int_equal(PEM_write_bio_PrivateKey(key_text, key, password ? EVP_aes_128_cbc() : NULL, (const unsigned char *)password,
			     password ? (int)strlen(password) : 0, NULL, NULL), 1);
	EVP_PKEY_free(key);
	pem.certificate = memory_file(cert_text);
	pem.key = memory_file(key_text);
	return pem;
}

static inline void pem_free(struct pem *pem)
{
	close(pem->certificate);
	close(pem->key);
}

static inline struct tls_context *context_of(const struct pem *pem)
{
	struct tls_context *context = NULL;
	struct err err = {0};

	if (tls_context_server(pem->certificate, pem->key, &context, &err) != 0)
		fail_msg("%s", err.text);
	return context;
}

static inline void pair_new(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

/* ---- the client ---- */

static inline SSL_CTX *client_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	return ctx;
}

/* fd stays the caller's. */
static inline SSL *client_new(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	SSL_set_connect_state(ssl);
	return ssl;
}

/* 1 when the handshake is done, 0 when it waits, -1 when it failed. */
static inline int client_handshake(SSL *ssl)
{
	int r = SSL_do_handshake(ssl), e;

	if (r == 1)
		return 1;
	e = SSL_get_error(ssl, r);
	ERR_clear_error();
	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Octets read; 0: none yet; -1: the end; -2: failed. */
static inline int client_read(SSL *ssl, void *data, int size)
{
	int r = SSL_read(ssl, data, size), e;

	if (r > 0)
		return r;
	e = SSL_get_error(ssl, r);
	ERR_clear_error();
	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : e == SSL_ERROR_ZERO_RETURN ? -1 : -2;
}

static inline void assert_certificate_of(SSL *ssl, const char *name)
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	char got[64] = "";

	assert_non_null(x);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, got, sizeof(got));
	assert_string_equal(got, name);
	X509_free(x);
}

#endif
