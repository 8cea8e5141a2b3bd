/* What a token says of itself, held against the policy; and the answer of an introspection, which says the same. */
#include "oauth/private.h"

#include <math.h>
#include <stdlib.h>

static const char *const verdict_texts[OAUTH_VERDICTS] = {"token-good", "token-malformed", "token-algorithm", "token-unknown-key", "token-signature",
    "token-inactive", "token-expired", "token-not-yet-valid", "token-issuer", "token-audience", "token-scope", "token-without-user", "out of memory"};

const char *oauth_verdict_text(enum oauth_verdict verdict)
{
	return verdict_texts[verdict];
}

struct span oauth_json_text(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_string(value) ? span_of(json_string_value(value), json_string_length(value)) : span_str("");
}

/* jansson calls a text malformed when there was no memory for it; whose token that is would be refused for good. */
static bool has_starved;

static void *noting_malloc(size_t size)
{
	void *p = malloc(size);

	has_starved |= p == NULL;
	return p;
}

json_t *oauth_json_object(struct span text, bool *starved)
{
	json_t *value;

	has_starved = false;
	json_set_alloc_funcs(noting_malloc, free);
	value = text.len > 0 ? json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	*starved = has_starved;
	if (value != NULL && (has_starved || !json_is_object(value))) {
		json_decref(value);
		value = NULL;
	}
	return value;
}

/* ---- times (RFC 7519 section 2, NumericDate) ---- */

/* False: it is there and is no time. *out: 0 when it is not there. */
static bool take_time(const json_t *claims, const char *name, int64_t *out)
{
	const double most = 1e12; /* far beyond any life */
	const json_t *value = json_object_get(claims, name);
	double number;

	*out = 0;
	if (value == NULL || json_is_null(value))
		return true;
	number = json_is_number(value) ? json_number_value(value) : NAN;
	if (!(number >= 1 && number <= most))
		return false;
	*out = (int64_t)number;
	return true;
}

static enum oauth_verdict check_times(const json_t *claims, bool is_signed, const struct oauth_policy *policy, int64_t now, int64_t *expires)
{
	int64_t from, issued;

	if (!take_time(claims, "exp", expires) || !take_time(claims, "nbf", &from) || !take_time(claims, "iat", &issued))
		return OAUTH_MALFORMED;
	if (is_signed && *expires == 0)
		return OAUTH_MALFORMED;
	if (*expires != 0 && now >= *expires + policy->skew_s)
		return OAUTH_EXPIRED;
	return now < from - policy->skew_s || now < issued - policy->skew_s ? OAUTH_NOT_YET : OAUTH_GOOD;
}

/* ---- audience and scope ---- */

/* A string, or an array with such a string in it (RFC 7519 section 4.1.3). */
static bool is_or_has(const json_t *value, struct span wanted)
{
	size_t i;
	json_t *one;

	if (json_is_string(value))
		return span_eq(span_of(json_string_value(value), json_string_length(value)), wanted);
	json_array_foreach(value, i, one)
		if (json_is_string(one) && span_eq(span_of(json_string_value(one), json_string_length(one)), wanted))
			return true;
	return false;
}

/* The next of the words that blanks part; empty after the last. */
static struct span next_word(struct span *text)
{
	struct span word;

	*text = span_trim(*text);
	word = span_sub(*text, 0, span_find(*text, ' '));
	*text = span_from(*text, word.len);
	return word;
}

/* Words in a string (RFC 8693 section 4.2), or an array, as some write it; also by its other name. */
static bool has_scope(const json_t *claims, struct span wanted)
{
	static const char *const names[] = {"scope", "scp"};

	for (size_t i = 0; i < 2; i++) {
		const json_t *value = json_object_get(claims, names[i]);
		struct span words = oauth_json_text(claims, names[i]), word;

		if (json_is_array(value) && is_or_has(value, wanted))
			return true;
		while ((word = next_word(&words)).len > 0)
			if (span_eq(word, wanted))
				return true;
	}
	return false;
}

static bool has_scopes(const json_t *claims, struct span wanted)
{
	struct span word;

	while ((word = next_word(&wanted)).len > 0)
		if (!has_scope(claims, word))
			return false;
	return true;
}

/* ---- who it is ---- */

static bool take_user(struct span name, char out[OAUTH_USER_MAX + 1])
{
	if (name.len == 0 || name.len > OAUTH_USER_MAX)
		return false;
	span_copy(name, out, OAUTH_USER_MAX + 1);
	return true;
}

/* An address that its user wrote there and nobody has looked at is no name to log in by. */
static bool is_unverified(const json_t *claims)
{
	const json_t *value = json_object_get(claims, "email_verified");

	return value != NULL && !json_is_true(value) && !span_eq(oauth_json_text(claims, "email_verified"), SPAN_LIT("true"));
}

static bool find_user(const json_t *claims, struct span claim, char out[OAUTH_USER_MAX + 1])
{
	static const char *const usual[] = {"email", "username", "sub"};
	char name[64];

	if (claim.len > 0) {
		span_copy(claim, name, sizeof(name));
		return take_user(oauth_json_text(claims, name), out) && !(span_eq(claim, SPAN_LIT("email")) && is_unverified(claims));
	}
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		struct span value = oauth_json_text(claims, usual[i]);

		if (span_find(value, '@') < value.len)
			return take_user(value, out) && !(i == 0 && is_unverified(claims));
	}
	return false;
}

enum oauth_verdict oauth_claims_check(const json_t *claims, bool is_signed, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out)
{
	enum oauth_verdict verdict = check_times(claims, is_signed, policy, now, &out->expires);

	if (verdict != OAUTH_GOOD)
		return verdict;
	if (policy->issuer.len > 0 && !span_eq(oauth_json_text(claims, "iss"), policy->issuer))
		return OAUTH_ISSUER;
	if (policy->audience.len > 0 && !is_or_has(json_object_get(claims, "aud"), policy->audience))
		return OAUTH_AUDIENCE;
	if (!has_scopes(claims, policy->scope))
		return OAUTH_SCOPE;
	return find_user(claims, policy->user_claim, out->user) ? OAUTH_GOOD : OAUTH_NO_USER;
}

/* RFC 7662 section 2.2 */
enum oauth_verdict oauth_introspection_check(struct span json, const struct oauth_policy *policy, int64_t now, struct oauth_claims *out)
{
	bool starved = false;
	json_t *answer = json.len <= OAUTH_JSON_MAX ? oauth_json_object(json, &starved) : NULL;
	const json_t *active = json_object_get(answer, "active");
	enum oauth_verdict verdict;

	*out = (struct oauth_claims){0};
	if (!json_is_boolean(active))
		verdict = starved ? OAUTH_STARVED : OAUTH_MALFORMED;
	else if (json_is_false(active))
		verdict = OAUTH_INACTIVE;
	else
		verdict = oauth_claims_check(answer, false, policy, now, out);
	json_decref(answer);
	return verdict;
}
