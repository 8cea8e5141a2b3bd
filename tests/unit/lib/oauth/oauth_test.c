/* Bearer tokens: signatures, key sets, and what a token says of itself. */
#include "tests/unit/test.h"

#include "tests/unit/lib/oauth/fixture.h"

#include <stdio.h>

enum { NOW = 1800000000 };

static const struct oauth_policy policy = {.issuer = {"https://id.test", 15}, .audience = {"mail", 4}, .scope = {"imap smtp", 9}, .skew_s = 60};

#define GOOD_CLAIMS "\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scope\":\"smtp x imap\",\"email\":\"a@b.test\",\"exp\":1800000300"

struct provider {
	EVP_PKEY *keys[FIXTURE_KEYS];
	struct oauth_keys *set;
};

static int setup(void **state)
{
	static struct provider p;
	struct err err;
	struct buf json;

	buf_init(&json, 65536);
	buf_add_str(&json, "{\"keys\":[7,{},{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"HS256\"}");
	for (int i = 0; i < FIXTURE_KEYS; i++) {
		char more[64];

		p.keys[i] = fixture_key(i);
		snprintf(more, sizeof(more), ",\"alg\":\"%s\",\"use\":\"sig\"", fixture_algorithms[i]);
		buf_add_char(&json, ',');
		fixture_jwk(&json, i, p.keys[i], more);
	}
	buf_add_str(&json, "]}");
	assert_int_equal(oauth_keys_parse(buf_span(&json), &p.set, &err), 0);
	buf_fini(&json);
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct provider *p = *state;

	for (int i = 0; i < FIXTURE_KEYS; i++)
		EVP_PKEY_free(p->keys[i]);
	oauth_keys_free(&p->set);
	return 0;
}

static enum oauth_verdict check(struct provider *p, int which, const char *header, const char *claims, struct oauth_claims *out)
{
	enum oauth_verdict verdict;
	struct buf token;

	buf_init(&token, 16384);
	fixture_token(&token, which, p->keys[which], header, claims);
	verdict = oauth_jwt_check(buf_span(&token), p->set, &policy, NOW, out);
	buf_fini(&token);
	return verdict;
}

static void each_algorithm_verifies_its_own(void **state)
{
	struct provider *p = *state;
	struct oauth_claims claims;
	char header[128];

	assert_int_equal(oauth_keys_count(p->set), FIXTURE_KEYS);
	for (int i = 0; i < FIXTURE_KEYS; i++)
		for (int named = 0; named < FIXTURE_KEYS; named++) {
			snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"kid\":\"%s\"}", fixture_algorithms[named], fixture_algorithms[named]);
			assert_int_equal(check(p, i, header, "{" GOOD_CLAIMS "}", &claims), i == named ? OAUTH_GOOD : OAUTH_SIGNATURE);
			if (i == named)
				assert_string_equal(claims.user, "a@b.test");
		}
}

static void the_header_chooses_a_key_and_nothing_else(void **state)
{
	static const struct {
		const char *header;
		enum oauth_verdict verdict;
	} cases[] = {{"{\"alg\":\"ES256\"}", OAUTH_GOOD}, {"{\"alg\":\"ES256\",\"typ\":\"at+JWT\"}", OAUTH_GOOD}, {"{\"alg\":\"ES256\",\"typ\":\"application/at+jwt\"}", OAUTH_GOOD},
	    {"{\"alg\":\"none\"}", OAUTH_ALGORITHM}, {"{\"alg\":\"HS256\",\"kid\":\"HS256\"}", OAUTH_ALGORITHM}, {"{\"alg\":\"es256\"}", OAUTH_ALGORITHM},
	    {"{\"alg\":\"ES384\"}", OAUTH_ALGORITHM}, {"{\"alg\":[\"ES256\"]}", OAUTH_ALGORITHM}, {"{}", OAUTH_ALGORITHM}, {"{\"alg\":\"ES256\",\"kid\":\"RS256\"}", OAUTH_UNKNOWN_KEY},
	    {"{\"alg\":\"ES256\",\"kid\":\"x\"}", OAUTH_UNKNOWN_KEY}, {"{\"alg\":\"PS256\",\"kid\":\"RS256\"}", OAUTH_UNKNOWN_KEY},
	    {"{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", OAUTH_MALFORMED}, {"{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", OAUTH_MALFORMED},
	    {"{\"alg\":\"ES256\",\"alg\":\"none\"}", OAUTH_MALFORMED}, {"[]", OAUTH_MALFORMED}, {"{\"alg\":\"ES256\"} ", OAUTH_GOOD}, {"{\"alg\":\"ES256\"}x", OAUTH_MALFORMED}};
	struct oauth_claims claims;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(check(*state, FIXTURE_ES256, cases[i].header, "{" GOOD_CLAIMS "}", &claims), cases[i].verdict);
}

static void a_changed_octet_is_no_token(void **state)
{
	struct provider *p = *state;
	struct oauth_claims claims;
	struct buf token;

	buf_init(&token, 16384);
	fixture_token(&token, FIXTURE_ES256, p->keys[FIXTURE_ES256], "{\"alg\":\"ES256\"}", "{" GOOD_CLAIMS "}");
	for (size_t i = 0; i < buf_len(&token); i++) {
		char *at = (char *)(uintptr_t)buf_span(&token).ptr + i, was = *at;

		*at = was == 'A' ? 'B' : 'A';
		assert_int_not_equal(oauth_jwt_check(buf_span(&token), p->set, &policy, NOW, &claims), OAUTH_GOOD);
		*at = was;
	}
	for (size_t len = 0; len < buf_len(&token); len++)
		assert_int_not_equal(oauth_jwt_check(span_sub(buf_span(&token), 0, len), p->set, &policy, NOW, &claims), OAUTH_GOOD);
	assert_int_equal(oauth_jwt_check(buf_span(&token), p->set, &policy, NOW, &claims), OAUTH_GOOD);
	assert_int_equal(oauth_jwt_check(buf_span(&token), NULL, &policy, NOW, &claims), OAUTH_UNKNOWN_KEY);
	buf_add_str(&token, ".x");
	assert_int_equal(oauth_jwt_check(buf_span(&token), p->set, &policy, NOW, &claims), OAUTH_MALFORMED);
	buf_fini(&token);
}

static void what_a_token_must_say(void **state)
{
	static const struct {
		const char *claims;
		enum oauth_verdict verdict;
	} cases[] = {
	    {"{" GOOD_CLAIMS ",\"nbf\":1800000060,\"iat\":1800000060}", OAUTH_GOOD},
	    {"{" GOOD_CLAIMS ",\"nbf\":1800000061}", OAUTH_NOT_YET},
	    {"{" GOOD_CLAIMS ",\"iat\":1800000061.5}", OAUTH_NOT_YET},
	    {"{" GOOD_CLAIMS ",\"nbf\":\"1\"}", OAUTH_MALFORMED},
	    {"{" GOOD_CLAIMS ",\"email_verified\":true}", OAUTH_GOOD},
	    {"{" GOOD_CLAIMS ",\"email_verified\":\"true\"}", OAUTH_GOOD},
	    {"{" GOOD_CLAIMS ",\"email_verified\":false}", OAUTH_NO_USER},
	    {"{" GOOD_CLAIMS ",\"exp\":1}", OAUTH_MALFORMED},
	    {"{\"exp\":1799999941,\"iss\":\"https://id.test\",\"aud\":[\"x\",\"mail\"],\"scp\":[\"imap\",\"smtp\"],\"sub\":\"a@b.test\"}", OAUTH_GOOD},
	    {"{\"exp\":1799999940,\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scp\":[\"imap\",\"smtp\"],\"sub\":\"a@b.test\"}", OAUTH_EXPIRED},
	    {"{\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scp\":\"imap smtp\",\"sub\":\"a@b.test\"}", OAUTH_MALFORMED},
	    {"{\"exp\":-1,\"iss\":\"https://id.test\"}", OAUTH_MALFORMED},
	    {"{\"exp\":1e300,\"iss\":\"https://id.test\"}", OAUTH_MALFORMED},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test/\",\"aud\":\"mail\"}", OAUTH_ISSUER},
	    {"{\"exp\":1800000300,\"iss\":[\"https://id.test\"],\"aud\":\"mail\"}", OAUTH_ISSUER},
	    {"{\"exp\":1800000300,\"aud\":\"mail\"}", OAUTH_ISSUER},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\"}", OAUTH_AUDIENCE},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":\"mail2\"}", OAUTH_AUDIENCE},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":[[\"mail\"],{\"mail\":\"mail\"}]}", OAUTH_AUDIENCE},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scope\":\"imap smtpx\"}", OAUTH_SCOPE},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scope\":\"imap\",\"scp\":\"smtp\"}", OAUTH_NO_USER},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scope\":\"imap smtp\",\"email\":\"alice\",\"sub\":\"7\"}", OAUTH_NO_USER},
	    {"{\"exp\":1800000300,\"iss\":\"https://id.test\",\"aud\":\"mail\",\"scope\":\"imap smtp\",\"email\":\"\",\"username\":\"u@b.test\"}", OAUTH_GOOD},
	    {"7", OAUTH_MALFORMED},
	    {"", OAUTH_MALFORMED},
	};
	struct oauth_claims claims;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum oauth_verdict got = check(*state, FIXTURE_EDDSA, "{\"alg\":\"EdDSA\"}", cases[i].claims, &claims);

		if (got != cases[i].verdict)
			print_error("%s: %s\n", cases[i].claims, oauth_verdict_text(got));
		assert_int_equal(got, cases[i].verdict);
	}
}

static void which_claim_is_the_user(void **state)
{
	static const char answer[] = "{\"active\":true,\"email\":\"e@b.test\",\"username\":\"u@b.test\",\"sub\":\"s@b.test\",\"upn\":\"n\",\"long\":7,\"email_verified\":false}";
	static const struct {
		const char *claim, *user;
	} cases[] = {{"username", "u@b.test"}, {"sub", "s@b.test"}, {"upn", "n"}, {"long", NULL}, {"none", NULL}, {"email", NULL}, {"", NULL}};
	struct oauth_claims claims;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct oauth_policy p = {.user_claim = span_str(cases[i].claim)};

		assert_int_equal(oauth_introspection_check(span_str(answer), &p, NOW, &claims), cases[i].user ? OAUTH_GOOD : OAUTH_NO_USER);
		if (cases[i].user != NULL)
			assert_string_equal(claims.user, cases[i].user);
	}
}

static void what_an_endpoint_answers(void **state)
{
	static const struct {
		const char *json;
		enum oauth_verdict verdict;
	} cases[] = {{"{\"active\":true,\"sub\":\"a@b.test\"}", OAUTH_GOOD}, {"{\"active\":false,\"sub\":\"a@b.test\"}", OAUTH_INACTIVE}, {"{\"active\":false}", OAUTH_INACTIVE},
	    {"{\"active\":\"true\",\"sub\":\"a@b.test\"}", OAUTH_MALFORMED}, {"{\"active\":1}", OAUTH_MALFORMED}, {"{\"sub\":\"a@b.test\"}", OAUTH_MALFORMED},
	    {"{\"active\":false,\"active\":true}", OAUTH_MALFORMED}, {"", OAUTH_MALFORMED}, {"[]", OAUTH_MALFORMED}, {"true", OAUTH_MALFORMED},
	    {"{\"active\":true,\"sub\":\"a@b.test\",\"exp\":1799999940}", OAUTH_EXPIRED}, {"{\"active\":true,\"sub\":\"a@b.test\",\"exp\":null}", OAUTH_GOOD},
	    {"{\"active\":true,\"sub\":\"a@b.test\\u0000\"}", OAUTH_MALFORMED}, {"{\"active\":true}x", OAUTH_MALFORMED}};
	const struct oauth_policy none = {.skew_s = 60};
	struct oauth_claims claims;
	char *deep = malloc(OAUTH_JSON_MAX + 1);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(oauth_introspection_check(span_str(cases[i].json), &none, NOW, &claims), cases[i].verdict);
	memset(deep, '[', OAUTH_JSON_MAX + 1);
	assert_int_equal(oauth_introspection_check(span_of(deep, OAUTH_JSON_MAX), &none, NOW, &claims), OAUTH_MALFORMED);
	assert_int_equal(oauth_introspection_check(span_of(deep, OAUTH_JSON_MAX + 1), &none, NOW, &claims), OAUTH_MALFORMED);
	free(deep);
}

static void sets_without_a_key_for_us(void **state)
{
	static const char *const sets[] = {"", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
	    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
	    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
	    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
	    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"ES256K\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}"};
	struct oauth_keys *keys;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		assert_int_equal(oauth_keys_parse(span_str(sets[i]), &keys, &err), E_SYNTAX);
		assert_null(keys);
	}
}

/* Two keys that fit, and no word on which it is. */
static void without_a_name_there_must_be_one_key(void **state)
{
	struct provider *p = *state;
	struct oauth_claims claims;
	struct oauth_keys *keys;
	struct buf json, token;
	struct err err;

	buf_init(&json, 65536);
	buf_init(&token, 8192);
	buf_add_str(&json, "{\"keys\":[");
	fixture_jwk(&json, FIXTURE_RS256, p->keys[FIXTURE_RS256], "");
	buf_add_char(&json, ',');
	fixture_jwk(&json, FIXTURE_PS256, p->keys[FIXTURE_PS256], "");
	buf_add_str(&json, "]}");
	assert_int_equal(oauth_keys_parse(buf_span(&json), &keys, &err), 0);
	fixture_token(&token, FIXTURE_RS256, p->keys[FIXTURE_RS256], "{\"alg\":\"RS256\"}", "{" GOOD_CLAIMS "}");
	assert_int_equal(oauth_jwt_check(buf_span(&token), keys, &policy, NOW, &claims), OAUTH_UNKNOWN_KEY);
	buf_clear(&token);
	/* Without "alg" a key of RSA serves both paddings. */
	fixture_token(&token, FIXTURE_PS256, p->keys[FIXTURE_RS256], "{\"alg\":\"PS256\",\"kid\":\"RS256\"}", "{" GOOD_CLAIMS "}");
	assert_int_equal(oauth_jwt_check(buf_span(&token), keys, &policy, NOW, &claims), OAUTH_GOOD);
	oauth_keys_free(&keys);
	buf_fini(&json);
	buf_fini(&token);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_algorithm_verifies_its_own),
	    cmocka_unit_test(the_header_chooses_a_key_and_nothing_else),
	    cmocka_unit_test(a_changed_octet_is_no_token),
	    cmocka_unit_test(what_a_token_must_say),
	    cmocka_unit_test(which_claim_is_the_user),
	    cmocka_unit_test(what_an_endpoint_answers),
	    cmocka_unit_test(sets_without_a_key_for_us),
	    cmocka_unit_test(without_a_name_there_must_be_one_key),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
