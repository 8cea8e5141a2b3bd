/*
 * The client's side of TLS: whom a connection is made to, and what that peer must show. Sessions are those of tls.h.
 *
 * TLS_ANYBODY takes every certificate: it keeps those out who only listen (RFC 7435). TLS_AUTHORITIES wants one for a name of the
 * peer's, from an authority. TLS_DANE wants what TLSA records say (RFC 7672 section 3.1).
 */
#ifndef MW_TLS_CLIENT_H
#define MW_TLS_CLIENT_H

#include "tls/tls.h"

struct tls_ticket;

enum tls_trust { TLS_ANYBODY, TLS_AUTHORITIES, TLS_DANE };

/* What a server's certificate is worth. */
enum tls_verdict { TLS_RIGHT, TLS_WRONG_NAME, TLS_EXPIRED, TLS_NOT_TRUSTED, TLS_WRONG_OTHERWISE };

enum { TLS_PEER_NAMES = 4 };

/* RFC 6698 section 2.1. */
struct tls_tlsa {
	unsigned usage, selector, matching;
	struct span data;
};

/* Borrowed for the call. */
struct tls_peer {
	enum tls_trust trust;
	const char *names[TLS_PEER_NAMES]; /* any of them is right in its certificate; the first is what it is asked for (SNI), unless it is an address */
	size_t name_count;
	const struct tls_tlsa *tlsa; /* of TLS_DANE: usable ones */
	size_t tlsa_count;
	struct tls_ticket *ticket; /* of a session with the same peer; NULL; used with TLS_ANYBODY alone: nobody is verified without a certificate */
	bool observe;	/* of TLS_ANYBODY: the certificate is looked at as by TLS_AUTHORITIES, and taken whatever tls_session_verdict says */
	bool no_subject; /* names count in subjectAltName alone: RFC 8461 section 4.2 */
};

/*
 * A client's context, and who vouches for certificates: the PEM file authorities, -1: the system's, which are read now. E_SYNTAX: it
 * holds none, or one that is damaged; without a file of the system's, nobody vouches.
 */
int tls_context_client(int authorities, struct tls_context **out, struct err *err);
/* As tls_session_new. E_NOMEM, E_SYNTAX for TLSA records of which none can be used. */
int tls_session_connect(struct tls_context *context, int fd, const struct tls_peer *peer, struct tls_session **out, struct err *err);

/* RFC 7672 section 3.1: usages 2 and 3 alone, of a kind that is known, and with what that kind has. */
bool tls_tlsa_is_usable(const struct tls_tlsa *record);

/*
 * After a handshake, or one that failed: what was found of the certificate, in *why for people; TLS_RIGHT as well when it was not come to
 * it, or nobody looked. Static.
 */
enum tls_verdict tls_session_verdict(const struct tls_session *session, const char **why);

/* The last ticket that the peer gave, to come again with once; it is the caller's. NULL: none. */
struct tls_ticket *tls_session_ticket(struct tls_session *session);
void tls_ticket_free(struct tls_ticket **ticket);
bool tls_session_resumed(const struct tls_session *session);

#endif
