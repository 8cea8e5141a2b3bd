/* The parts of one check of a token. */
#ifndef MW_OAUTH_PRIVATE_H
#define MW_OAUTH_PRIVATE_H

#include "oauth/oauth.h"

#include <jansson.h>
#include <openssl/evp.h>

enum oauth_algorithm { OAUTH_RS256, OAUTH_PS256, OAUTH_ES256, OAUTH_EDDSA, OAUTH_ALGORITHMS };
enum oauth_kind { OAUTH_RSA, OAUTH_P256, OAUTH_ED25519 };

struct oauth_key {
	enum oauth_kind kind;
	bool for_one; /* algorithm: it is for that alone */
	enum oauth_algorithm algorithm;
	char kid[OAUTH_KID_MAX + 1]; /* "": none */
	EVP_PKEY *key;
};

struct oauth_keys {
	struct oauth_key keys[OAUTH_KEYS_MAX];
	size_t count;
};

/* False: it is none of ours. */
bool oauth_algorithm_find(struct span name, enum oauth_algorithm *out);
enum oauth_kind oauth_algorithm_kind(enum oauth_algorithm algorithm);

/* A string of an object; an empty span when there is none. Borrowed from the object. */
struct span oauth_json_text(const json_t *object, const char *name);
/* NULL: it is no JSON object, has a name twice, or (*starved) there is no memory. */
json_t *oauth_json_object(struct span text, bool *starved);

/* is_signed: it must say when it ends. */
enum oauth_verdict oauth_claims_check(const json_t *claims, bool is_signed, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out);

#endif
