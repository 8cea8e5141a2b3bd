/* Whose certificates a server takes from clients. */
#include "tls/private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

/* A certificate that is none of ours does not end the connection: the client can still give a password. */
static int on_verify(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *session = SSL_get_app_data(ssl);

	if (!good)
		session->client_refused = true;
	return 1;
}

int tls_authorities_set(SSL_CTX *ssl, int fd, struct err *err)
{
	unsigned char id[SHA256_DIGEST_LENGTH] = "mailwain";
	BIO *bio = fd >= 0 ? tls_file(fd) : NULL;
	char *text = NULL;
	long len = bio ? BIO_get_mem_data(bio, &text) : 0;
	int count = 0;
	X509 *cert;

	if (len > 0)
		SHA256((const unsigned char *)text, (size_t)len, id);
	/* What a session is resumed under must be what it was begun under: with other authorities it is not. */
	SSL_CTX_set_session_id_context(ssl, id, sizeof(id));
	while (bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), cert) == 1 && SSL_CTX_add_client_CA(ssl, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	if (fd >= 0 && count == 0)
		return tls_error(err, E_SYNTAX, "tls-client-authorities has no PEM certificate");
	if (fd >= 0)
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
	ERR_clear_error();
	return 0;
}

int tls_authorities_check(int fd, struct err *err)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	int r = ssl ? tls_authorities_set(ssl, fd, err) : tls_error(err, E_NOMEM, "no memory for TLS");

	SSL_CTX_free(ssl);
	return r;
}
