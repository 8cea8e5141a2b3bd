/*
 * Bearer tokens (RFC 6750), without I/O: is this token good, and whose is it? Two ways to know: a signature by a key of the
 * identity provider's set (JWT, RFC 7519; JWK, RFC 7517), or the provider's own word (introspection, RFC 7662). What comes
 * from outside, token, set and word, is bounded, parsed strictly, and believed only as far as the policy goes.
 */
#ifndef MW_OAUTH_OAUTH_H
#define MW_OAUTH_OAUTH_H

#include "base/err.h"
#include "base/span.h"

enum {
	OAUTH_TOKEN_MAX = 8192,
	OAUTH_JSON_MAX = 57344, /* of a key set, or of an introspection's answer */
	OAUTH_KEYS_MAX = 32,	/* of a set; more are not looked at */
	OAUTH_KID_MAX = 255,
	OAUTH_USER_MAX = 320,
	OAUTH_RSA_BITS_MIN = 2048,
	OAUTH_RSA_BITS_MAX = 8192, /* to verify with more takes long */
};

/* What a token must say. Spans that are empty ask for nothing. */
struct oauth_policy {
	struct span issuer;	/* "iss" */
	struct span audience;	/* one of "aud" */
	struct span scope;	/* words, of which none may be missing */
	struct span user_claim; /* who it is; empty: the first of email, username and sub that is an address */
	int64_t skew_s;		/* how far the clocks may be apart */
};

struct oauth_claims {
	char user[OAUTH_USER_MAX + 1];
	int64_t expires; /* seconds since 1970; 0: it does not say */
};

enum oauth_verdict {
	OAUTH_GOOD,
	OAUTH_MALFORMED,
	OAUTH_ALGORITHM,   /* none of RS256, PS256, ES256, EdDSA: never "none", never one with a shared secret (RFC 8725 section 3.1) */
	OAUTH_UNKNOWN_KEY, /* it may be in a newer set */
	OAUTH_SIGNATURE,
	OAUTH_INACTIVE, /* the provider says so */
	OAUTH_EXPIRED,
	OAUTH_NOT_YET,
	OAUTH_ISSUER,
	OAUTH_AUDIENCE,
	OAUTH_SCOPE,
	OAUTH_NO_USER,
	OAUTH_STARVED, /* no memory */
	OAUTH_VERDICTS,
};

/* For the log: "token-expired". */
const char *oauth_verdict_text(enum oauth_verdict verdict);

struct oauth_keys;

/* A key set. Keys of kinds that are not used here are left out (RFC 7517 section 5). E_SYNTAX: it is no set, or has no key for us; E_NOMEM. */
int oauth_keys_parse(struct span json, struct oauth_keys **out, struct err *err);
void oauth_keys_free(struct oauth_keys **keys);
size_t oauth_keys_count(const struct oauth_keys *keys);

/* The signature first, then what it says. out: of OAUTH_GOOD. now: seconds since 1970. */
enum oauth_verdict oauth_jwt_check(struct span token, const struct oauth_keys *keys, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out);
/* The answer of an introspection endpoint. OAUTH_MALFORMED: it is none. */
enum oauth_verdict oauth_introspection_check(struct span json, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out);

#endif
