#include "tls/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TLS_WARNING_SECONDS = 14 * 86400 };

struct tls_context {
	SSL_CTX *ssl;
};

struct tls_session {
	SSL *ssl;
};

static int tls_error(struct err *err, int code, const char *what)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return err_set(err, code, "%s: %s", what, reason ? reason : "unknown TLS error");
}

/* All of the file, read by position: the open file is shared with other daemons. The memory is wiped by OpenSSL. */
static BIO *tls_bio(int fd)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char piece[4096];
	off_t at = 0;
	ssize_t n;

	while (bio != NULL && (n = pread(fd, piece, sizeof(piece), at)) > 0) {
		if (BIO_write(bio, piece, (int)n) != n) {
			BIO_free(bio);
			bio = NULL;
		}
		at += n;
	}
	OPENSSL_cleanse(piece, sizeof(piece));
	return bio;
}

static int tls_load_chain(SSL_CTX *ssl, int fd, struct err *err)
{
	BIO *bio = tls_bio(fd);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int r = 0;

	if (cert == NULL || SSL_CTX_use_certificate(ssl, cert) != 1)
		r = tls_error(err, E_SYNTAX, "tls-certificate is not a PEM certificate");
	X509_free(cert);
	while (r == 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ssl, cert) != 1) {
			X509_free(cert);
			r = tls_error(err, E_SYNTAX, "tls-certificate: bad chain");
		}
	ERR_clear_error();
	BIO_free(bio);
	return r;
}

/* In place of OpenSSL's own, which would ask at the terminal and wait. */
static int tls_no_password(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static int tls_load_key(SSL_CTX *ssl, int fd, struct err *err)
{
	bool locked = false;
	BIO *bio = tls_bio(fd);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, &locked) : NULL;
	int r = 0;

	if (key == NULL && locked)
		r = tls_error(err, E_SYNTAX, "tls-key has a password; it must be stored without one");
	else if (key == NULL)
		r = tls_error(err, E_SYNTAX, "tls-key is not a PEM private key");
	else if (SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1)
		r = tls_error(err, E_SYNTAX, "tls-key does not belong to tls-certificate");
	EVP_PKEY_free(key);
	BIO_free(bio);
	return r;
}

static void tls_set_policy(SSL_CTX *ssl)
{
	static const unsigned char id[] = "mailwain";

	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
	/* RELEASE_BUFFERS: 14 KiB an idle connection instead of 47. */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Tickets hold the state; a cache in the server would only cost memory. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ssl, id, sizeof(id) - 1);
	SSL_CTX_set_num_tickets(ssl, 1);
}

int tls_context_server(int certificate_fd, int key_fd, struct tls_context **out, struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	int r;

	if (context == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	context->ssl = SSL_CTX_new(TLS_server_method());
	if (context->ssl == NULL) {
		r = tls_error(err, E_NOMEM, "SSL_CTX_new");
		goto out;
	}
	tls_set_policy(context->ssl);
	r = tls_load_chain(context->ssl, certificate_fd, err);
	if (r == 0)
		r = tls_load_key(context->ssl, key_fd, err);
out:
	if (r != 0)
		tls_context_free(&context);
	*out = context;
	return r;
}

bool tls_context_warning(const struct tls_context *context, int64_t now, char out[TLS_WARNING_MAX])
{
	const X509 *cert = context != NULL ? SSL_CTX_get0_certificate(context->ssl) : NULL;
	struct tm end;
	int64_t seconds;

	out[0] = '\0';
	if (cert == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) != 1)
		return false;
	seconds = timegm(&end);
	if (seconds - now > TLS_WARNING_SECONDS)
		return false;
	snprintf(out, TLS_WARNING_MAX, "the certificate %s on %04d-%02d-%02d", seconds < now ? "ended" : "ends", end.tm_year + 1900,
	    end.tm_mon + 1, end.tm_mday);
	return true;
}

int tls_context_renew(int certificate_fd, int key_fd, struct tls_context **context, struct err *err)
{
	struct tls_context *fresh;
	int r;

	if (certificate_fd < 0 || key_fd < 0)
		return 0;
	r = tls_context_server(certificate_fd, key_fd, &fresh, err);
	if (r != 0)
		return r;
	tls_context_free(context);
	*context = fresh;
	return 0;
}

void tls_context_free(struct tls_context **contextp)
{
	struct tls_context *context = *contextp;

	if (context == NULL)
		return;
	*contextp = NULL;
	SSL_CTX_free(context->ssl); /* counted: sessions keep it alive */
	free(context);
}

struct tls_session *tls_session_new(struct tls_context *context, int fd)
{
	struct tls_session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	session->ssl = SSL_new(context->ssl);
	if (session->ssl == NULL || SSL_set_fd(session->ssl, fd) != 1)
		tls_session_free(&session);
	else
		SSL_set_accept_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session **sessionp)
{
	struct tls_session *session = *sessionp;

	if (session == NULL)
		return;
	*sessionp = NULL;
	SSL_free(session->ssl);
	free(session);
}

/* What a call that returned r <= 0 means. */
static int tls_result(struct tls_session *session, int r, enum tls_want *want, struct err *err)
{
	switch (SSL_get_error(session->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		*want = TLS_WANT_READ;
		return E_AGAIN;
	case SSL_ERROR_WANT_WRITE:
		*want = TLS_WANT_WRITE;
		return E_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return err_set(err, E_CLOSED, "TLS closed by the client");
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		return err_set(err, E_CLOSED, "connection lost");
	default:
		return tls_error(err, E_PROTO, "TLS");
	}
}

int tls_session_handshake(struct tls_session *session, enum tls_want *want, struct err *err)
{
	int r = SSL_do_handshake(session->ssl);

	return r == 1 ? 0 : tls_result(session, r, want, err);
}

ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, enum tls_want *want,
    struct err *err)
{
	size_t done;
	int r = SSL_read_ex(session->ssl, data, size, &done);

	return r == 1 ? (ssize_t)done : tls_result(session, r, want, err);
}

ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
    enum tls_want *want, struct err *err)
{
	size_t done;
	int r = SSL_write_ex(session->ssl, data, size, &done);

	return r == 1 ? (ssize_t)done : tls_result(session, r, want, err);
}

bool tls_session_pending(const struct tls_session *session)
{
	/* Not SSL_has_pending: half a record is nothing to read yet. */
	return SSL_pending(session->ssl) > 0;
}

void tls_session_shutdown(struct tls_session *session)
{
	if (SSL_is_init_finished(session->ssl))
		SSL_shutdown(session->ssl);
	ERR_clear_error();
}

const char *tls_session_version(const struct tls_session *session)
{
	return SSL_get_version(session->ssl);
}

const char *tls_session_cipher(const struct tls_session *session)
{
	return SSL_get_cipher_name(session->ssl);
}

/* The digest that the certificate was signed with; of MD5 and SHA-1 SHA-256. Those signed without one have no binding. */
static size_t endpoint_of(X509 *certificate, unsigned char out[TLS_ENDPOINT_MAX])
{
	const EVP_MD *md;
	unsigned int len = 0;
	int digest = NID_undef;

	if (certificate == NULL || X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1 || digest == NID_undef)
		return 0;
	md = digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
	if (md == NULL || EVP_MD_get_size(md) > TLS_ENDPOINT_MAX || X509_digest(certificate, md, out, &len) != 1)
		return 0;
	return len;
}

void tls_session_bindings(const struct tls_session *session, struct tls_bindings *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	*out = (struct tls_bindings){0};
	if (SSL_version(session->ssl) == TLS1_3_VERSION &&
	    SSL_export_keying_material(session->ssl, out->exporter, TLS_EXPORTER, label, sizeof(label) - 1, NULL, 0, 0) == 1)
		out->exporter_len = TLS_EXPORTER;
	out->endpoint_len = endpoint_of(SSL_get_certificate(session->ssl), out->endpoint);
	ERR_clear_error();
}
