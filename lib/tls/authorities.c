/* Whose certificates a server takes from clients, and which of them are revoked. */
#include "tls/private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

/* Kept until the handshake has left its own small stack. */
static void note_list(struct tls_session *session, X509_STORE_CTX *store)
{
	X509_CRL *list = X509_STORE_CTX_get0_current_crl(store);
	int error = X509_STORE_CTX_get_error(store);

	if (list == NULL || (error != X509_V_ERR_CRL_HAS_EXPIRED && error != X509_V_ERR_CRL_NOT_YET_VALID))
		return;
	session->old_list = error == X509_V_ERR_CRL_HAS_EXPIRED ? "ended" : "begins";
	session->old_list_when = tls_seconds_of(error == X509_V_ERR_CRL_HAS_EXPIRED ? X509_CRL_get0_nextUpdate(list) : X509_CRL_get0_lastUpdate(list));
}

/* A certificate that is none of ours does not end the connection: the client can still give a password. */
static int on_verify(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *session = SSL_get_app_data(ssl);

	if (!good) {
		session->client_refused = true;
		note_list(session, store);
	}
	return 1;
}

static int add_authorities(SSL_CTX *ssl, int fd, struct err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	int r = tls_store_read(store, fd, "tls-client-authorities", err);

	for (int i = 0; i < sk_X509_OBJECT_num(all) && r == 0; i++)
		if (SSL_CTX_add_client_CA(ssl, X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i))) != 1)
			r = tls_error(err, E_NOMEM, "no memory for TLS");
	if (r == 0)
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
	return r;
}

/* ---- revocation lists (RFC 5280 section 5) ---- */

static bool is_list_of(X509_CRL *list, X509 *authority)
{
	return X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(authority)) == 0 &&
	       X509_CRL_verify(list, X509_get0_pubkey(authority)) == 1;
}

/* Has this authority a list, or this list an authority? The one of both that is NULL is looked for. */
static bool has_other(STACK_OF(X509_OBJECT) *all, X509_CRL *list, X509 *authority)
{
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509_CRL *l = list ? list : X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		X509 *a = authority ? authority : X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (l != NULL && a != NULL && is_list_of(l, a))
			return true;
	}
	return false;
}

/* With lists, an authority without one could vouch for nobody, and a list that no authority has signed is an error or an attack. */
static int check_lists(X509_STORE *store, struct err *err)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	char name[128];

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		X509 *authority = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (list != NULL && !has_other(all, list, NULL))
			return err_set(err, E_SYNTAX, "tls-client-revocations: the list of %s was signed by none of tls-client-authorities",
			    X509_NAME_oneline(X509_CRL_get_issuer(list), name, sizeof(name)));
		if (authority != NULL && !has_other(all, NULL, authority))
			return err_set(err, E_SYNTAX, "tls-client-revocations has no list of %s, which is one of tls-client-authorities",
			    X509_NAME_oneline(X509_get_subject_name(authority), name, sizeof(name)));
	}
	return 0;
}

static int add_lists(SSL_CTX *ssl, BIO *bio, struct err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	int count = 0, r = 0;
	X509_CRL *list;

	while ((list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		count += X509_STORE_add_crl(store, list) == 1;
		X509_CRL_free(list);
	}
	if (count > 0 && tls_pem_is_damaged())
		r = tls_error(err, E_SYNTAX, "tls-client-revocations: a list in the file is damaged");
	else if (count == 0)
		r = tls_error(err, E_SYNTAX, "tls-client-revocations has no PEM revocation list (X509 CRL)");
	else
		r = check_lists(store, err);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	ERR_clear_error();
	return r;
}

/* ---- both ---- */

/* What a session is resumed under must be what it was begun under: with other authorities or lists it is not. */
static void set_session_id(SSL_CTX *ssl, BIO *authorities, BIO *lists)
{
	unsigned char both[2 * SHA256_DIGEST_LENGTH] = "mailwain", id[SHA256_DIGEST_LENGTH];
	BIO *files[] = {authorities, lists};

	for (int i = 0; i < 2; i++) {
		char *text = NULL;
		long len = files[i] ? BIO_get_mem_data(files[i], &text) : 0;

		if (len > 0)
			SHA256((const unsigned char *)text, (size_t)len, both + i * SHA256_DIGEST_LENGTH);
	}
	SHA256(both, sizeof(both), id);
	SSL_CTX_set_session_id_context(ssl, id, sizeof(id));
}

int tls_authorities_set(SSL_CTX *ssl, int fd, int revocations, struct err *err)
{
	BIO *authorities = fd >= 0 ? tls_file(fd) : NULL, *lists = fd >= 0 && revocations >= 0 ? tls_file(revocations) : NULL;
	int r = 0;

	if ((fd >= 0 && authorities == NULL) || (fd >= 0 && revocations >= 0 && lists == NULL))
		r = err_set(err, E_NOMEM, "no memory for TLS");
	set_session_id(ssl, authorities, lists);
	if (r == 0 && authorities != NULL)
		r = add_authorities(ssl, fd, err);
	if (r == 0 && lists != NULL)
		r = add_lists(ssl, lists, err);
	BIO_free(authorities);
	BIO_free(lists);
	return r;
}

/* An authority may have several lists, of which one is good: but whoever put an old one there did not mean to. */
static int64_t lists_end(SSL_CTX *ssl)
{
	STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ssl));
	int64_t ends = INT64_MAX;

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		const ASN1_TIME *next = list ? X509_CRL_get0_nextUpdate(list) : NULL;
		int64_t until = next ? tls_seconds_of(next) : INT64_MAX;

		ends = until < ends ? until : ends;
	}
	return ends;
}

int tls_authorities_check(int fd, int revocations, int64_t *ends, struct err *err)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	int r = ssl ? tls_authorities_set(ssl, fd, revocations, err) : tls_error(err, E_NOMEM, "no memory for TLS");

	*ends = r == 0 ? lists_end(ssl) : 0;
	SSL_CTX_free(ssl);
	return r;
}
