/* Sessions of a client: authorities, DANE by OpenSSL, names, tickets. */
#include "tls/client.h"
#include "tls/private.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLIENT_DEPTH = 10 }; /* certificates of a chain */

/* ---- contexts ---- */

/* Where distributions keep them. Their directories of single files are no use to who has no file system. */
static void read_system(SSL_CTX *ssl)
{
	const char *const paths[] = {X509_get_default_cert_file(), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

	int count = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && count == 0; i++) {
		int fd = open(paths[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		count = tls_store_read_system(SSL_CTX_get_cert_store(ssl), fd);
		close(fd);
	}
}

static int on_ticket(SSL *ssl, SSL_SESSION *ticket)
{
	struct tls_session *session = SSL_get_app_data(ssl);

	SSL_SESSION_free(session->ticket);
	session->ticket = ticket;
	return 1; /* it is ours now */
}

static void set_policy(SSL_CTX *ssl)
{
	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl, on_ticket);
	SSL_CTX_set_verify_depth(ssl, CLIENT_DEPTH);
}

int tls_context_client(int authorities, struct tls_context **out, struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
	int r = 0;

	*out = context;
	if (context != NULL)
		context->all = calloc(1, sizeof(SSL_CTX *));
	if (context == NULL || ssl == NULL || context->all == NULL || SSL_CTX_dane_enable(ssl) != 1) {
		SSL_CTX_free(ssl);
		if (context != NULL)
			free(context->all);
		free(context);
		*out = NULL;
		return err_set(err, E_NOMEM, "no memory for TLS");
	}
	context->refs = 1;
	context->client = true;
	context->authorities = -1;
	context->all[context->count++] = ssl;
	set_policy(ssl);
	if (authorities >= 0)
		r = tls_store_read(SSL_CTX_get_cert_store(ssl), authorities, "relay-authorities", err);
	else
		read_system(ssl);
	if (r != 0)
		tls_context_free(out);
	return r;
}

/* ---- whom we speak with ---- */

static bool is_address(const char *name)
{
	unsigned char binary[16];

	return inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
}

/* RFC 6125 section 6.4.3: an asterisk stands for a whole label. The subject's common name counts for nothing beside names. */
static int expect_names(SSL *ssl, const struct tls_peer *peer)
{
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | (peer->no_subject ? X509_CHECK_FLAG_NEVER_CHECK_SUBJECT : 0));
	for (size_t i = 0; i < peer->name_count; i++) {
		int ok = is_address(peer->names[i]) ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer->names[i]) : SSL_add1_host(ssl, peer->names[i]);

		if (ok != 1)
			return E_NOMEM;
	}
	return 0;
}

/* The whole certificate or key that data is, and nothing behind it: OpenSSL takes no other. */
static bool is_whole(const struct tls_tlsa *record)
{
	const unsigned char *at = (const unsigned char *)record->data.ptr, *end = at + record->data.len;
	X509 *certificate = record->selector == 0 ? d2i_X509(NULL, &at, (long)record->data.len) : NULL;
	EVP_PKEY *key = record->selector == 1 ? d2i_PUBKEY(NULL, &at, (long)record->data.len) : NULL;
	bool is = at == end && (key != NULL || (certificate != NULL && X509_get0_pubkey(certificate) != NULL));

	/* Without memory nobody can tell; that it is none would let the mail go without DANE. */
	is |= ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
	X509_free(certificate);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return is;
}

bool tls_tlsa_is_usable(const struct tls_tlsa *record)
{
	static const size_t lengths[] = {0, 32, 64};

	return (record->usage == 2 || record->usage == 3) && record->selector <= 1 && record->matching <= 2 &&
	       (record->matching == 0 ? record->data.len > 0 && is_whole(record) : record->data.len == lengths[record->matching]);
}

/* Sets the first name and drops others. RFC 7672 sections 3.2.3 and 3.1.1: the names are looked at with usage 2; with 3 the key is all that counts, dates included. */
static int expect_tlsa(SSL *ssl, const struct tls_peer *peer, struct err *err)
{
	size_t used = 0;

	if (SSL_dane_enable(ssl, peer->name_count > 0 ? peer->names[0] : NULL) != 1)
		return err_set(err, E_NOMEM, "no memory for TLS");
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < peer->tlsa_count; i++) {
		const struct tls_tlsa *t = &peer->tlsa[i];

		used += tls_tlsa_is_usable(t) && SSL_dane_tlsa_add(ssl, (uint8_t)t->usage, (uint8_t)t->selector, (uint8_t)t->matching,
						     (const unsigned char *)t->data.ptr, t->data.len) == 1;
	}
	ERR_clear_error();
	return used > 0 ? 0 : err_set(err, E_SYNTAX, "none of its TLSA records can be used");
}

static int expect(struct tls_session *session, const struct tls_peer *peer, struct err *err)
{
	SSL *ssl = session->ssl;
	int r = peer->trust == TLS_DANE ? expect_tlsa(ssl, peer, err) : 0;

	if (r != 0)
		return r;
	if (peer->trust != TLS_ANYBODY || peer->observe)
		r = expect_names(ssl, peer);
	if (r == 0 && peer->name_count > 0 && !is_address(peer->names[0]) && SSL_set_tlsext_host_name(ssl, peer->names[0]) != 1)
		r = E_NOMEM;
	if (r != 0)
		return err_set(err, r, "no memory for TLS");
	if (peer->trust == TLS_ANYBODY && !peer->observe && peer->ticket != NULL) /* a session that comes again shows no certificate */
		SSL_set_session(ssl, (SSL_SESSION *)peer->ticket);
	SSL_set_verify(ssl, peer->trust == TLS_ANYBODY ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	ERR_clear_error();
	return 0;
}

int tls_session_connect(struct tls_context *context, int fd, const struct tls_peer *peer, struct tls_session **out, struct err *err)
{
	int r;

	*out = tls_session_new(context, fd);
	if (*out == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	r = expect(*out, peer, err);
	if (r != 0)
		tls_session_free(out);
	return r;
}

enum tls_verdict tls_session_verdict(const struct tls_session *session, const char **why)
{
	long verified = SSL_get_verify_result(session->ssl);

	*why = X509_verify_cert_error_string(verified);
	switch (verified) {
	case X509_V_OK:
		return TLS_RIGHT;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_WRONG_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_EXPIRED;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return TLS_NOT_TRUSTED;
	default:
		return TLS_WRONG_OTHERWISE;
	}
}

/* ---- coming again ---- */

struct tls_ticket *tls_session_ticket(struct tls_session *session)
{
	SSL_SESSION *ticket = session->ticket;

	session->ticket = NULL;
	if (ticket != NULL && SSL_SESSION_is_resumable(ticket) != 1) {
		SSL_SESSION_free(ticket);
		ticket = NULL;
	}
	return (struct tls_ticket *)ticket;
}

void tls_ticket_free(struct tls_ticket **ticket)
{
	SSL_SESSION_free((SSL_SESSION *)*ticket);
	*ticket = NULL;
}

bool tls_session_resumed(const struct tls_session *session)
{
	return SSL_session_reused(session->ssl) == 1;
}
