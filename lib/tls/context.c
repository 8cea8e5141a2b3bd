/* What a server offers: versions, ciphers, certificates by name, protocols, tickets, and what it asks of clients. */
#include "tls/private.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what is asked during a handshake ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct tls_name *)a)->name, ((const struct tls_name *)b)->name);
}

static SSL_CTX *find_name(const struct tls_context *context, const char *name)
{
	struct tls_name key = {.name = (char *)(uintptr_t)name};
	const struct tls_name *hit = bsearch(&key, context->names, context->name_count, sizeof(key), compare_names);

	return hit ? hit->ssl : NULL;
}

/* RFC 6066 section 3: a name that is not ours is answered with the first certificate. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_context *context = arg;
	const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char name[260];
	SSL_CTX *found;
	size_t dot;

	(void)alert;
	if (asked == NULL || strlen(asked) + 2 > sizeof(name))
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i <= strlen(asked); i++)
		name[i] = ascii_lower(asked[i]);
	found = find_name(context, name);
	dot = strcspn(name, ".");
	/* RFC 6125 section 6.4.3: the star is all of the leftmost label. */
	if (found == NULL && dot > 0 && name[dot] == '.') {
		name[dot - 1] = '*';
		found = find_name(context, name + dot - 1);
	}
	if (found == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_SSL_CTX(ssl, found);
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 section 3.2: an alert when the client wants a protocol, and not ours. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len, void *arg)
{
	const struct tls_context *context = arg;
	unsigned char *chosen;

	(void)ssl;
	if (context->alpn[0] == 0)
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&chosen, len, context->alpn, context->alpn[0] + 1U, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* ---- making one ---- */

static void set_policy(SSL_CTX *ssl)
{
	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
	/* RELEASE_BUFFERS: 14 KiB an idle connection instead of 47. */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Tickets hold the state; a cache in the server would only cost memory. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
}

int tls_context_new(const struct tls_context_options *options, struct tls_context **out, struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	size_t len = options->protocol ? strlen(options->protocol) : 0;

	*out = context;
	if (context == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	context->refs = 1;
	context->signer = options->signer;
	context->authorities = options->authorities;
	context->revocations = options->revocations;
	context->on_old_list = options->on_old_list;
	context->old_list_arg = options->old_list_arg;
	invariant(len < sizeof(context->alpn));
	context->alpn[0] = (unsigned char)len;
	if (len > 0)
		memcpy(context->alpn + 1, options->protocol, len);
	context->tickets = options->tickets ? options->tickets : &context->own;
	if (options->tickets == NULL && RAND_bytes((unsigned char *)&context->own, sizeof(context->own)) != 1) {
		tls_context_free(out);
		return tls_error(err, E_CANNOT, "no random numbers for TLS");
	}
	return 0;
}

static int use_chain(struct tls_context *context, SSL_CTX *ssl, STACK_OF(X509) *chain, const struct tls_key *key, struct err *err)
{
	EVP_PKEY *public = X509_get0_pubkey(sk_X509_value(chain, 0)), *opaque = NULL;
	int r = 0;

	if (SSL_CTX_use_certificate(ssl, sk_X509_value(chain, 0)) != 1)
		return tls_error(err, E_SYNTAX, "tls-certificate");
	for (int i = 1; i < sk_X509_num(chain); i++)
		if (SSL_CTX_add1_chain_cert(ssl, sk_X509_value(chain, i)) != 1)
			return tls_error(err, E_SYNTAX, "tls-certificate: bad chain");
	if (context->signer != NULL)
		opaque = tls_signer_key(context->signer, public);
	if (SSL_CTX_use_PrivateKey(ssl, context->signer ? opaque : key->key) != 1)
		r = tls_error(err, E_SYNTAX, "tls-key does not belong to tls-certificate");
	EVP_PKEY_free(opaque);
	return r;
}

static int add_name(struct tls_context *context, struct span name, SSL_CTX *ssl)
{
	struct tls_name *more;
	char *copy = name.len > 0 ? strndup(name.ptr, name.len) : NULL;

	for (size_t i = 0; i < context->name_count && copy != NULL; i++)
		if (strcmp(context->names[i].name, copy) == 0) {
			context->names[i].ssl = ssl;
			free(copy);
			return 0;
		}
	more = copy ? reallocarray(context->names, context->name_count + 1, sizeof(*more)) : NULL;
	if (more == NULL) {
		free(copy);
		return name.len > 0 ? E_NOMEM : 0;
	}
	context->names = more;
	context->names[context->name_count++] = (struct tls_name){copy, ssl};
	return 0;
}

static int add_names(struct tls_context *context, const char *name, const char *names, SSL_CTX *ssl)
{
	struct span rest = span_str(names);
	int r = add_name(context, span_str(name), ssl);

	while (rest.len > 0 && r == 0) {
		size_t end = span_find(rest, ' ');

		r = add_name(context, span_sub(rest, 0, end), ssl);
		rest = span_from(rest, end + 1);
	}
	qsort(context->names, context->name_count, sizeof(*context->names), compare_names);
	return r;
}

static int set_callbacks(struct tls_context *context, SSL_CTX *ssl)
{
	SSL_CTX_set_tlsext_servername_callback(ssl, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(ssl, context);
	SSL_CTX_set_alpn_select_cb(ssl, on_protocols, context);
	return tls_tickets_set(ssl);
}

int tls_context_add(struct tls_context *context, const char *name, int certificate_fd, const struct tls_key *key, struct err *err)
{
	struct tls_signer *signer = context->signer;
	SSL_CTX *ssl = SSL_CTX_new_ex(signer ? signer->libctx : NULL, NULL, TLS_server_method());
	SSL_CTX **more = reallocarray(context->all, context->count + 1, sizeof(*more));
	struct tls_certificate certificate;
	STACK_OF(X509) *chain = NULL;
	int r;

	if (more != NULL)
		context->all = more;
	if (ssl == NULL || more == NULL) {
		SSL_CTX_free(ssl);
		return tls_error(err, E_NOMEM, "no memory for TLS");
	}
	context->all[context->count++] = ssl;
	set_policy(ssl);
	r = tls_authorities_set(ssl, context->authorities, context->revocations, err);
	if (r == 0)
		r = tls_certificate_read(certificate_fd, &certificate, err);
	if (r == 0)
		r = tls_chain_read(signer ? signer->libctx : NULL, certificate_fd, &chain, err);
	if (r == 0)
		r = use_chain(context, ssl, chain, key, err);
	tls_chain_free(&chain);
	if (r == 0 && (set_callbacks(context, ssl) != 0 || add_names(context, name, certificate.names, ssl) != 0))
		r = err_set(err, E_NOMEM, "no memory for TLS");
	return r;
}

void tls_context_free(struct tls_context **contextp)
{
	struct tls_context *context = *contextp;

	*contextp = NULL;
	if (context == NULL || --context->refs > 0)
		return;
	for (size_t i = 0; i < context->count; i++)
		SSL_CTX_free(context->all[i]);
	for (size_t i = 0; i < context->name_count; i++)
		free(context->names[i].name);
	free(context->names);
	free(context->all);
	explicit_bzero(&context->own, sizeof(context->own));
	free(context);
}
