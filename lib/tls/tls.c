#include "tls/private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct tls_session *tls_session_new(struct tls_context *context, int fd)
{
	struct tls_session *session = context->count > 0 ? calloc(1, sizeof(*session)) : NULL;

	if (session == NULL)
		return NULL;
	session->context = context;
	context->refs++;
	session->ssl = SSL_new(context->all[0]);
	if (session->ssl == NULL || SSL_set_fd(session->ssl, fd) != 1 || SSL_set_app_data(session->ssl, session) != 1) {
		tls_session_free(&session);
		return NULL;
	}
	if (context->client)
		SSL_set_connect_state(session->ssl);
	else
		SSL_set_accept_state(session->ssl);
	if (context->signer != NULL)
		SSL_set_mode(session->ssl, SSL_MODE_ASYNC);
	return session;
}

void tls_session_on_signed(struct tls_session *session, void (*wake)(void *arg), void *arg)
{
	session->wake = wake;
	session->wake_arg = arg;
}

void tls_session_signed(struct tls_session *session, int code, struct span signature)
{
	struct tls_wait *wait = session->wait;

	if (wait == NULL || wait->over)
		return;
	wait->over = true;
	wait->code = code == 0 && signature.len > TLS_SIGNATURE_MAX ? E_TOOBIG : code;
	wait->len = wait->code == 0 ? signature.len : 0;
	memcpy(wait->signature, signature.ptr, wait->len);
	if (session->wake != NULL)
		session->wake(session->wake_arg);
}

static void starve(struct tls_session *session)
{
	struct tls_signer *signer = session->context->signer;

	session->next = NULL;
	session->link = signer->starved_tail;
	*session->link = session;
	signer->starved_tail = &session->next;
}

static void unstarve(struct tls_session *session)
{
	struct tls_signer *signer = session->context->signer;

	if (session->link == NULL)
		return;
	*session->link = session->next;
	if (session->next != NULL)
		session->next->link = session->link;
	else
		signer->starved_tail = session->link;
	session->link = NULL;
}

static void wake_starved(struct tls_signer *signer)
{
	struct tls_session *first = signer->starved;

	if (first == NULL)
		return;
	unstarve(first);
	first->woken = true;
	if (first->wake != NULL)
		first->wake(first->wake_arg);
}

/* Our provider sees by it whose handshake asks. Whoever ran and does not wait leaves its stack to the next. */
static int handshake(struct tls_session *session)
{
	struct tls_signer *signer = session->context->signer;
	int r;

	if (signer == NULL)
		return SSL_do_handshake(session->ssl);
	unstarve(session);
	session->woken = false;
	signer->current = session;
	r = SSL_do_handshake(session->ssl);
	signer->current = NULL;
	if (session->wait == NULL && !SSL_want_async_job(session->ssl))
		wake_starved(signer);
	return r;
}

/* A stack that waits cannot be thrown away: the handshake is let go on, to its failure. */
static void end_wait(struct tls_session *session)
{
	struct tls_signer *signer = session->context->signer;

	if (session->wait == NULL)
		return;
	session->wake = NULL;
	if (!session->wait->over)
		signer->callbacks->forget(signer->arg, session);
	session->wait->over = true;
	session->wait->code = E_CLOSED;
	handshake(session);
	ERR_clear_error();
}

void tls_session_free(struct tls_session **sessionp)
{
	struct tls_session *session = *sessionp;

	if (session == NULL)
		return;
	*sessionp = NULL;
	end_wait(session);
	unstarve(session);
	if (session->woken) /* the stack that it was woken for is another's */
		wake_starved(session->context->signer);
	SSL_free(session->ssl);
	tls_context_free(&session->context);
	free(session->client);
	SSL_SESSION_free(session->ticket);
	free(session);
}

/* Of a server whose certificate will not do, what is wrong with it is what its administrator must know. */
static int client_error(struct tls_session *session, struct err *err)
{
	long verified = SSL_get_verify_result(session->ssl);

	if (SSL_is_init_finished(session->ssl) || verified == X509_V_OK || (SSL_get_verify_mode(session->ssl) & SSL_VERIFY_PEER) == 0)
		return tls_error(err, E_PROTO, "TLS");
	ERR_clear_error();
	return err_set(err, E_DENIED, "its certificate: %s", X509_verify_cert_error_string(verified));
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
	case SSL_ERROR_WANT_ASYNC:
		*want = TLS_WANT_SIGNATURE;
		return E_AGAIN;
	case SSL_ERROR_WANT_ASYNC_JOB:
		ERR_clear_error();
		starve(session);
		*want = TLS_WANT_SIGNATURE;
		return E_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return err_set(err, E_CLOSED, "TLS closed by the other side");
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		return err_set(err, E_CLOSED, "connection lost");
	default:
		return session->context->client ? client_error(session, err) : tls_error(err, E_PROTO, "TLS");
	}
}

/* The first mail address of the client's certificate. */
static void take_client(struct tls_session *session)
{
	const struct tls_context *context = session->context;
	X509 *cert = SSL_get0_peer_certificate(session->ssl);
	STACK_OF(OPENSSL_STRING) *addresses;

	if (session->old_list != NULL && context->on_old_list != NULL)
		context->on_old_list(context->old_list_arg, session->old_list, session->old_list_when);
	if (cert == NULL || session->client_refused || SSL_get_verify_result(session->ssl) != X509_V_OK)
		return;
	addresses = X509_get1_email(cert);
	if (sk_OPENSSL_STRING_num(addresses) > 0)
		session->client = strdup(sk_OPENSSL_STRING_value(addresses, 0));
	X509_email_free(addresses);
}

const char *tls_session_client(const struct tls_session *session)
{
	return session->client ? session->client : "";
}

int tls_session_handshake(struct tls_session *session, enum tls_want *want, struct err *err)
{
	int r = handshake(session);

	if (r != 1)
		return tls_result(session, r, want, err);
	/* From here on each read and write would have a stack of its own. */
	SSL_clear_mode(session->ssl, SSL_MODE_ASYNC);
	if (!session->context->client)
		take_client(session);
	ERR_clear_error();
	return 0;
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

/* The first Finished of the handshake: the client's, but for a session that was taken up again. There is no second handshake. */
static size_t unique_of(const struct tls_session *session, unsigned char out[TLS_UNIQUE_MAX])
{
	bool by_client = SSL_session_reused(session->ssl) == 0;
	size_t len;

	if (SSL_version(session->ssl) != TLS1_2_VERSION || SSL_get_extms_support(session->ssl) != 1)
		return 0;
	len = by_client == session->context->client ? SSL_get_finished(session->ssl, out, TLS_UNIQUE_MAX)
						    : SSL_get_peer_finished(session->ssl, out, TLS_UNIQUE_MAX);
	return len <= TLS_UNIQUE_MAX ? len : 0;
}

void tls_session_bindings(const struct tls_session *session, struct tls_bindings *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	*out = (struct tls_bindings){0};
	if (SSL_version(session->ssl) == TLS1_3_VERSION &&
	    SSL_export_keying_material(session->ssl, out->exporter, TLS_EXPORTER, label, sizeof(label) - 1, NULL, 0, 0) == 1)
		out->exporter_len = TLS_EXPORTER;
	out->unique_len = unique_of(session, out->unique);
	out->endpoint_len = endpoint_of(session->context->client ? SSL_get0_peer_certificate(session->ssl) : SSL_get_certificate(session->ssl), out->endpoint);
	ERR_clear_error();
}
