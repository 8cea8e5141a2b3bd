/*
 * TLS on a non-blocking descriptor (OpenSSL). 1.2 and 1.3, no renegotiation,
 * no compression. A context serves many sessions; it stays alive until the
 * last session that uses it has ended.
 */
#ifndef MW_TLS_TLS_H
#define MW_TLS_TLS_H

#include "base/err.h"
#include "base/span.h"

#include <sys/types.h>

struct tls_context;
struct tls_session;

/* TLS_WANT_SIGNATURE: the session's wake is called. */
enum tls_want { TLS_WANT_READ, TLS_WANT_WRITE, TLS_WANT_SIGNATURE };
enum {
	TLS_TICKET_SECRET = 32,
	TLS_TICKET_PERIOD = 4 * 3600, /* seconds: of a secret, and the longest that a session is taken up again */
};

/*
 * Of what session tickets are sealed with: a secret that is drawn for each period and shared by all processes of a service. What was sealed
 * in the period before this one is still taken; what is older nobody can open any more, as no secret of a period tells another's.
 */
struct tls_tickets {
	unsigned char now[TLS_TICKET_SECRET], before[TLS_TICKET_SECRET];
};

struct tls_signer;
struct tls_key;
struct tls_context_options {
	struct tls_signer *signer;  /* who has the keys; NULL: they are given to tls_context_add */
	const char *protocol;	    /* RFC 7301: what clients that ask for a protocol must ask for; NULL: whatever they like. Static */
	const struct tls_tickets *tickets; /* borrowed, as long as a session lives: its owner changes them; NULL: tickets are this context's alone */
	int authorities;	    /* an open PEM file: clients are asked for certificates of these; -1: they are not */
	int revocations;	    /* an open PEM file: the list of each of these authorities; -1: none */
	void (*on_old_list)(void *arg, const char *what, int64_t when); /* a client was refused for a list that `when` "ended", or only "begins"; NULL */
	void *old_list_arg;
};

/*
 * Whether clients can be asked for certificates of this PEM file's authorities, and whether the other file (-1: none) has a list of each, and of
 * nobody else. *ends: until when all lists are good, in seconds since 1970; later nobody is taken whose authority's list is out of date. E_SYNTAX.
 */
int tls_authorities_check(int fd, int revocations, int64_t *ends, struct err *err);
/*
 * A server's context, still without a certificate; files stay the caller's. E_SYNTAX: the authorities are of no use.
 */
int tls_context_new(const struct tls_context_options *options, struct tls_context **out, struct err *err);
/*
 * Adds a certificate for the names that it holds, and for `name` ("": none). The first one also serves clients that name nobody, or
 * somebody else; of two for one name the last counts. key: NULL with a signer. E_SYNTAX with a text that says what is wrong.
 */
int tls_context_add(struct tls_context *context, const char *name, int certificate_fd, const struct tls_key *key, struct err *err);
/* One certificate, with its key in this process: for tests. */
int tls_context_server(int certificate_fd, int key_fd, struct tls_context **out, struct err *err);
/* Drops the caller's hold on it. */
void tls_context_free(struct tls_context **context);

/* fd stays the caller's and must be non-blocking. NULL when out of memory. */
struct tls_session *tls_session_new(struct tls_context *context, int fd);
/* wake is called when a handshake that wanted a signature can go on, from outside of it. */
void tls_session_on_signed(struct tls_session *session, void (*wake)(void *arg), void *arg);
void tls_session_free(struct tls_session **session);

/* All three: bytes done (handshake: 0), E_AGAIN with *want set, E_CLOSED at an orderly end, E_PROTO; of a client's handshake E_DENIED, the
 * server's certificate will not do. */
int tls_session_handshake(struct tls_session *session, enum tls_want *want, struct err *err);
ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, enum tls_want *want,
    struct err *err);
ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
    enum tls_want *want, struct err *err);
/* Bytes that were decrypted and not yet read: the descriptor will not say so. */
bool tls_session_pending(const struct tls_session *session);
/* Says good-bye, without waiting for the answer. */
void tls_session_shutdown(struct tls_session *session);

/* "TLSv1.3", "TLS_AES_256_GCM_SHA384". Static. */
const char *tls_session_version(const struct tls_session *session);
const char *tls_session_cipher(const struct tls_session *session);

/*
 * The mail address of the certificate that the client has shown, signed by one of our authorities; "" without one. Borrowed. It is what
 * EXTERNAL (RFC 4422 appendix A) is about.
 */
const char *tls_session_client(const struct tls_session *session);

/*
 * What a login can be bound to: tls-exporter (RFC 9266), of TLS 1.3 alone; tls-unique (RFC 5929 section 3), of TLS 1.2 with an extended
 * master secret (RFC 7627), without which somebody in the middle can have the same one on both sides; tls-server-end-point (RFC 5929
 * section 4). A length of 0: there is no such thing on this connection.
 */
enum { TLS_EXPORTER = 32, TLS_UNIQUE_MAX = 64, TLS_ENDPOINT_MAX = 64 };
struct tls_bindings {
	unsigned char exporter[TLS_EXPORTER], unique[TLS_UNIQUE_MAX], endpoint[TLS_ENDPOINT_MAX];
	size_t exporter_len, unique_len, endpoint_len;
};
void tls_session_bindings(const struct tls_session *session, struct tls_bindings *out);

#endif
