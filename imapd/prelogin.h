/*
 * IMAP before login, sans-I/O: CAPABILITY NOOP LOGOUT ID STARTTLS LOGIN and
 * AUTHENTICATE (RFC 3501 sections 6.1 and 6.2, RFC 4959, RFC 2971, RFC
 * 7888). Everything is bounded: strangers talk to this.
 */
#ifndef MW_IMAPD_PRELOGIN_H
#define MW_IMAPD_PRELOGIN_H

#include "base/buf.h"
#include "base/secret.h"
#include "base/span.h"
#include "imap/lex.h"
#include "imap/reader.h"
#include "sasl/sasl.h"

enum {
	PRELOGIN_LINE_MAX = 12288, /* a response of SASL_RESPONSE_MAX in base64, and a command around it */
	PRELOGIN_LITERALS_MAX = 8192,  /* of all literals of a command */
	PRELOGIN_POOL_MAX = 64 * 1024, /* what one command needs */
	PRELOGIN_TAG_MAX = IMAP_TAG_MAX,
	PRELOGIN_ERRORS_MAX = 10,
	PRELOGIN_USER_MAX = 320,
};

enum prelogin_event {
	PRELOGIN_MORE,	   /* needs more input */
	PRELOGIN_GO_ON,	   /* a command was answered; call again */
	PRELOGIN_STARTTLS, /* answered OK: begin the handshake now, drop what was received behind it */
	PRELOGIN_CHECK,	   /* user and password are filled in, tag too: ask auth */
	PRELOGIN_SASL,	   /* mechanism, response and has_response too: begin an exchange */
	PRELOGIN_RESPONSE, /* response: the next one of the exchange */
	PRELOGIN_CANCEL,   /* answered: the exchange is given up */
	PRELOGIN_CLOSE,	   /* answered BYE: close */
};

struct prelogin {
	bool tls;		/* the connection is protected */
	bool bound;		/* and has something that a login can be bound to */
	bool certificate;	/* and the client has shown a certificate with an address in it */
	bool tls_offered;	/* there is a certificate */
	bool plain_login;	/* LOGIN without TLS is allowed from this address */
	bool bearer;		/* bearer tokens can be checked */
	uint32_t withheld;	/* mechanisms that are not offered, as in struct sasl_terms; with PLAIN goes LOGIN, the command */
	bool authenticating;	/* the next line is the answer to "+" */
	enum sasl_mechanism mechanism;
	bool has_response; /* an initial one, which may be empty (RFC 4959) */
	struct buf response;
	unsigned errors;
	struct imap_reader reader;
	char tag[PRELOGIN_TAG_MAX + 1];
	char user[PRELOGIN_USER_MAX + 1];
	struct secret password;
	bool starved; /* it closes for want of memory: the log has to say so */
};

void prelogin_init(struct prelogin *login);
void prelogin_fini(struct prelogin *login);
/* What auth wants to have answered. */
void prelogin_challenge(struct prelogin *login, struct span challenge, struct buf *out);
void prelogin_greeting(const struct prelogin *login, struct span hostname, struct buf *out);

/* Is the client told of a -PLUS? */
bool prelogin_plus_offered(const struct prelogin *login);

/* Looks at input, sets *consumed, writes answers to out. */
enum prelogin_event prelogin_feed(struct prelogin *login, struct span input, size_t *consumed, struct buf *out);

#endif
