/*
 * Signatures by a private key that is in another process: what is asked, and how the answer comes back.
 *
 * A handshake that needs one leaves its stack (OpenSSL's ASYNC jobs) and gives the event loop back; when the answer is
 * there it goes on. A bounded wait in its place would stop all other clients for as long as the other process is slow.
 */
#ifndef MW_TLS_SIGN_H
#define MW_TLS_SIGN_H

#include "base/err.h"
#include "base/span.h"

#include <stdint.h>

struct tls_session;
struct tls_signer;

enum {
	TLS_FINGERPRINT = 32,	  /* SHA-256 of a public key's SubjectPublicKeyInfo */
	TLS_SIGN_DATA_MAX = 512,  /* of Ed25519, which signs the text itself: RFC 8446 section 4.4.3 has 64 + 34 + a digest */
	TLS_SIGNATURE_MAX = 1024, /* RSA of 8,192 bits */
	TLS_SIGNERS_WAIT = 256,	  /* handshakes that wait at once, with a stack of 32 KiB each; further ones wait for a stack */
};

enum tls_algorithm { TLS_RSA_PKCS1, TLS_RSA_PSS, TLS_ECDSA, TLS_ED25519, TLS_ALGORITHMS };
enum tls_digest { TLS_DIGEST_NONE, TLS_SHA256, TLS_SHA384, TLS_SHA512, TLS_DIGESTS };

struct tls_question {
	unsigned char key[TLS_FINGERPRINT];
	enum tls_algorithm algorithm;
	enum tls_digest digest; /* TLS_DIGEST_NONE with TLS_ED25519 alone */
	struct span data;	/* the digest; for TLS_ED25519 the text. Borrowed during the call */
};

struct tls_signer_callbacks {
	/* Asks; the answer is given by tls_session_signed, later. False when nobody can be asked. */
	bool (*ask)(void *arg, struct tls_session *session, const struct tls_question *question);
	/* The session ends while it waits. */
	void (*forget)(void *arg, struct tls_session *session);
};

/* Before the sandbox. One for a process, for as long as it lives; callbacks must live as long. */
int tls_signer_new(const struct tls_signer_callbacks *callbacks, void *arg, struct tls_signer **out, struct err *err);

/* The answer: code 0 and the signature, or why there is none. The session's wake is called. */
void tls_session_signed(struct tls_session *session, int code, struct span signature);

#endif
