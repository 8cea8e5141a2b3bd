/* What the files of this folder share; it has OpenSSL's types. */
#ifndef MW_TLS_PRIVATE_H
#define MW_TLS_PRIVATE_H

#include "tls/certificate.h"
#include "tls/key.h"
#include "tls/sign.h"
#include "tls/tls.h"

#include <openssl/ssl.h>

/* Sets code and "what: OpenSSL's reason". */
int tls_error(struct err *err, int code, const char *what);
/* All of an open file, read by position: it is shared with other daemons. OpenSSL wipes the memory. NULL: unreadable. */
BIO *tls_file(int fd);
/* libctx: NULL for OpenSSL's own. Owned: free with sk_X509_pop_free. The first is the server's own. */
int tls_chain_read(OSSL_LIB_CTX *libctx, int fd, STACK_OF(X509) **out, struct err *err);
void tls_chain_free(STACK_OF(X509) **chain);
/* After PEM_read_bio_X509 or its like has found no more: what it stopped at is no end, but something that it does not understand. Asks OpenSSL's errors. */
bool tls_pem_is_damaged(void);
int64_t tls_seconds_of(const ASN1_TIME *time); /* since 1970; 0 when it is none */
int tls_fingerprint(EVP_PKEY *key, unsigned char out[TLS_FINGERPRINT]);

struct tls_key {
	EVP_PKEY *key;
	unsigned char fingerprint[TLS_FINGERPRINT];
};

/* A signature that a handshake waits for; on the stack it left. */
struct tls_wait {
	bool over;
	int code;
	size_t len;
	unsigned char signature[TLS_SIGNATURE_MAX];
};

struct tls_signer {
	OSSL_LIB_CTX *libctx; /* our provider beside OpenSSL's own, seen by nothing else of this process */
	const struct tls_signer_callbacks *callbacks;
	void *arg;
	struct tls_session *current; /* whose handshake runs */
	struct tls_session *starved, **starved_tail; /* who found no free stack; the first is the next */
};

struct tls_session {
	SSL *ssl;
	struct tls_context *context;
	struct tls_wait *wait; /* NULL: no signature is waited for */
	void (*wake)(void *arg);
	void *wake_arg;
	struct tls_session *next, **link; /* of those who are starved; link NULL: is not */
	bool woken; /* a stack is free for it; it has not run since */
	bool client_refused; /* its certificate is not of an authority of ours */
	const char *old_list; /* that was for a list that "ended", or "begins" only, at this time; NULL: it was not */
	int64_t old_list_when;
	char *client;	     /* NULL: there is none */
	SSL_SESSION *ticket; /* of a client: the last one its server gave; NULL */
};

struct tls_name {
	char *name; /* lower case; "*.example.org" for all of one label */
	SSL_CTX *ssl;
};

struct tls_context {
	unsigned refs; /* its owner, and each session */
	struct tls_signer *signer;
	bool client; /* its sessions begin handshakes */
	int authorities, revocations;
	void (*on_old_list)(void *arg, const char *what, int64_t when); /* NULL: nobody wants to know */
	void *old_list_arg;
	SSL_CTX **all; /* the first is for clients that name nobody */
	size_t count;
	struct tls_name *names; /* sorted */
	size_t name_count;
	unsigned char alpn[32]; /* as on the wire; the first octet is 0 for none */
	const struct tls_tickets *tickets;
	struct tls_tickets own; /* what tickets is when nobody shares them */
};

/* Key of the certificate, held by the signer: an object that looks like a private key. */
EVP_PKEY *tls_signer_key(struct tls_signer *signer, EVP_PKEY *public);
/* authorities.c; fd -1: clients are not asked; revocations -1: there are no lists. */
int tls_authorities_set(SSL_CTX *ssl, int fd, int revocations, struct err *err);
/* ticket.c */
int tls_tickets_set(SSL_CTX *ssl);

#endif
