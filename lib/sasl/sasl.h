/*
 * SASL (RFC 4422), the server's side, without I/O: decoded responses in, challenges out. What the engine cannot know, whether a
 * password is right or what an account's keys are, it asks its owner, who answers when it can. One engine for all protocols;
 * it runs in auth, so that no daemon that faces the network learns a key.
 */
#ifndef MW_SASL_SASL_H
#define MW_SASL_SASL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum sasl_mechanism {
	SASL_PLAIN,		 /* RFC 4616 */
	SASL_LOGIN,		 /* draft-murchison-sasl-login */
	SASL_EXTERNAL,		 /* RFC 4422 appendix A */
	SASL_SCRAM_SHA_1,	 /* RFC 5802 */
	SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_256,	 /* RFC 7677 */
	SASL_SCRAM_SHA_256_PLUS,
	SASL_OAUTHBEARER,	 /* RFC 7628 */
	SASL_XOAUTH2,
	SASL_MECHANISMS,
};

enum {
	SASL_USER_MAX = 320,
	SASL_RESPONSE_MAX = 8192, /* decoded: tokens are long */
	SASL_PASSWORD_MAX = 1024,
	SASL_CHALLENGE_MAX = 1024,
	SASL_BINDING_MAX = 64,
	SCRAM_SALT = 16,
	SCRAM_KEY_MAX = 32,
	SCRAM_ITERATIONS = 32768, /* of new keys; RFC 7677 section 4 wants 4096 at least */
	SCRAM_TEXT_MAX = 192,
};

/* "SCRAM-SHA-256" in any case; false: there is no such mechanism. */
bool sasl_mechanism_find(struct span name, enum sasl_mechanism *out);
const char *sasl_mechanism_name(enum sasl_mechanism mechanism);
/* The password itself travels: not without TLS. */
bool sasl_mechanism_is_plain(enum sasl_mechanism mechanism);

/*
 * What decides which mechanisms a client is offered: -PLUS needs TLS with a binding that clients choose (tls-exporter, tls-unique),
 * EXTERNAL a certificate of the client's with an address in it, bearer tokens somebody who can tell whether they are good.
 */
struct sasl_terms {
	bool bound, certificate, bearer;
	uint32_t withheld; /* the configuration does not want them: 1 << mechanism */
};
/* All mechanisms but those of the list, names with blanks between. */
uint32_t sasl_withheld(struct span offered);
bool sasl_mechanism_is_offered(enum sasl_mechanism mechanism, struct sasl_terms terms);
bool sasl_any_is_offered(struct sasl_terms terms);
bool sasl_mechanism_is_plus(enum sasl_mechanism mechanism);
bool sasl_plus_is_offered(struct sasl_terms terms);
/* All that are, each behind `prefix`. */
void sasl_put_offers(struct buf *out, const char *prefix, struct sasl_terms terms);

/* What of the connection a mechanism may need. Spans are copied. */
struct sasl_channel {
	bool plus_offered;	 /* the client was told of -PLUS: one that says it was not has been deceived (RFC 5802 section 6) */
	struct span exporter;	 /* tls-exporter (RFC 9266); empty: none */
	struct span unique;	 /* tls-unique (RFC 5929); empty: none */
	struct span endpoint;	 /* tls-server-end-point (RFC 5929); empty: none */
	struct span certificate; /* the address in a client certificate that was verified; empty: none */
};

enum sasl_step {
	SASL_CHALLENGE, /* sasl_challenge() goes to the client, its response to sasl_respond() */
	SASL_PASSWORD,	/* is sasl_secret() the password of sasl_user()? sasl_decide() */
	SASL_KEYS,	/* the SCRAM keys of sasl_user(), or made up ones: sasl_keys() */
	SASL_TOKEN,	/* is sasl_secret() a token of sasl_user(), which may be empty? sasl_decide() */
	SASL_IDENTITY,	/* may the owner of the certificate be sasl_user()? sasl_decide() */
	SASL_DONE,	/* it is sasl_user(); who wants to act as sasl_authzid() must be allowed to */
	SASL_WRONG,	/* credentials that are not right */
	SASL_MALFORMED, /* not what the mechanism's RFC says, or a channel binding that does not fit */
	SASL_STARVED,	/* no memory */
};

/* Keys of RFC 5802 section 3; size: of the hash, 20 or 32. */
struct scram_keys {
	size_t size;
	uint32_t iterations;
	unsigned char salt[SCRAM_SALT];
	unsigned char stored[SCRAM_KEY_MAX], server[SCRAM_KEY_MAX];
};

struct sasl;

/* NULL when out of memory. */
struct sasl *sasl_new(enum sasl_mechanism mechanism, const struct sasl_channel *channel);
/* Wipes what it holds. */
void sasl_free(struct sasl **sasl);

/* First without a response when the client sent none (SASL-IR, RFC 4959): then most mechanisms make an empty challenge. */
enum sasl_step sasl_begin(struct sasl *sasl);
enum sasl_step sasl_respond(struct sasl *sasl, struct span response);
/* The owner's word after SASL_PASSWORD, SASL_TOKEN and SASL_IDENTITY. */
enum sasl_step sasl_decide(struct sasl *sasl, bool right);
/* Of a token that is not good: in place of sasl_decide(false), with more for the client (RFC 7628 section 3.2.2). */
struct sasl_refusal {
	const char *status;		  /* "invalid_token" */
	struct span scope, configuration; /* empty: nothing is said of it */
};
enum sasl_step sasl_refuse_token(struct sasl *sasl, const struct sasl_refusal *refusal);
/* After SASL_KEYS. The size must be that of the mechanism. */
enum sasl_step sasl_keys(struct sasl *sasl, const struct scram_keys *keys);

/* Borrowed until the next call. */
struct span sasl_challenge(const struct sasl *sasl);
struct span sasl_user(const struct sasl *sasl);
struct span sasl_authzid(const struct sasl *sasl); /* empty: the same */
struct span sasl_secret(const struct sasl *sasl);

/* ---- scram keys ---- */

/* Bytes of a mechanism's hash; 0: it is no SCRAM. */
size_t scram_size(enum sasl_mechanism mechanism);
/* The keys of a password (prepared by RFC 4013) with a new salt. size: 20 or 32. E_SYNTAX: it cannot be prepared, or nothing is left of it; E_NOMEM. */
int scram_make(size_t size, struct span password, struct scram_keys *out);
/*
 * What an account that does not exist, or has no such keys, seems to have: the same for the same user each time, and no
 * password has them. secret: 32 bytes that nobody else knows.
 */
void scram_make_up(size_t size, const unsigned char secret[32], struct span user, struct scram_keys *out);
/* "SCRAM-SHA-256$32768:salt$stored:server", base64. */
void scram_format(const struct scram_keys *keys, char out[SCRAM_TEXT_MAX]);
/* E_SYNTAX: it is no such text; E_NOMEM. */
int scram_parse(struct span text, struct scram_keys *out);
/* Is this the password that they were made of? Takes as long as making them; false, too, without memory. */
bool scram_fits(const struct scram_keys *keys, struct span password);

/* SASLprep (RFC 4013) of a stored string: into out. E_SYNTAX: a character that may not be there; E_TOOBIG, also of more than SASL_PASSWORD_MAX octets that are not all ASCII; E_NOMEM. */
int sasl_prepare(struct span in, struct buf *out);

/* ---- the lines of SMTP, IMAP and POP3 ---- */

enum sasl_line { SASL_LINE_OK, SASL_LINE_CANCEL, SASL_LINE_MALFORMED, SASL_LINE_TOO_LONG, SASL_LINE_STARVED /* no memory */ };

/*
 * One line of the client without its end: base64, "*" to give up; as an initial response (RFC 4954 section 4, RFC 4959
 * section 3) "=" is the empty one. Appends the decoded octets; out's maximum is SASL_RESPONSE_MAX.
 */
enum sasl_line sasl_line_decode(struct span line, bool initial, struct buf *out);

#endif
