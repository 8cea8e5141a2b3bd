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

enum tls_want { TLS_WANT_READ, TLS_WANT_WRITE };

/*
 * A server's context from open PEM files (chain; private key), which stay the
 * caller's. The key must belong to the certificate: E_SYNTAX with a text that
 * says what is wrong.
 */
int tls_context_server(int certificate_fd, int key_fd, struct tls_context **out, struct err *err);
/* The same into *context, which may be NULL. It stays as it is when a file is missing (-1) or of no use. */
int tls_context_renew(int certificate_fd, int key_fd, struct tls_context **context, struct err *err);
/*
 * What its owner must be told about the certificate at this time: that it ends within two weeks,
 * or has ended. False, and an empty text, when there is nothing to tell.
 */
enum { TLS_WARNING_MAX = 64 };
bool tls_context_warning(const struct tls_context *context, int64_t now, char out[TLS_WARNING_MAX]);
/* Drops the caller's hold on it. */
void tls_context_free(struct tls_context **context);

/* fd stays the caller's and must be non-blocking. NULL when out of memory. */
struct tls_session *tls_session_new(struct tls_context *context, int fd);
void tls_session_free(struct tls_session **session);

/* All three: bytes done (handshake: 0), E_AGAIN with *want set, E_CLOSED at an orderly end, E_PROTO. */
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
 * What a login can be bound to (RFC 9266 tls-exporter, of TLS 1.3 alone; RFC 5929 section 4 tls-server-end-point). A length of 0: there is
 * no such thing on this connection.
 */
enum { TLS_EXPORTER = 32, TLS_ENDPOINT_MAX = 64 };
struct tls_bindings {
	unsigned char exporter[TLS_EXPORTER], endpoint[TLS_ENDPOINT_MAX];
	size_t exporter_len, endpoint_len;
};
void tls_session_bindings(const struct tls_session *session, struct tls_bindings *out);

#endif
