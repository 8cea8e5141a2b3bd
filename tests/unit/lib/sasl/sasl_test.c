/* SASL: each mechanism with a client of the test's own; what is wrong is told apart from what is malformed. */
#include "sasl/sasl.h"
#include "tests/unit/test.h"

#include "base/encode.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

static const char exporter[32] = "exporter exporter exporter expor";
static const char unique[12] = "unique uniqu";
static const char endpoint[32] = "endpoint endpoint endpoint endpo";

static struct sasl *new_on(enum sasl_mechanism mechanism, bool tls)
{
	struct sasl_channel channel = {.plus_offered = tls};
	struct sasl *s;

	if (tls) {
		channel.exporter = span_of(exporter, sizeof(exporter));
		channel.unique = span_of(unique, sizeof(unique));
		channel.endpoint = span_of(endpoint, sizeof(endpoint));
		channel.certificate = SPAN_LIT("carol@example.com");
	}
	s = sasl_new(mechanism, &channel);
	assert_non_null(s);
	assert_int_equal(sasl_begin(s), SASL_CHALLENGE);
	return s;
}

static enum sasl_step respond(struct sasl *s, const char *text)
{
	return sasl_respond(s, span_str(text));
}

static void assert_span(struct span s, const char *text)
{
	if (!span_eq(s, span_str(text)))
		fail_msg("\"%.*s\" instead of \"%s\"", SPAN_ARG(s), text);
}

static void mechanisms_have_their_names(void **state)
{
	enum sasl_mechanism m;

	(void)state;
	assert_true(sasl_mechanism_find(SPAN_LIT("scram-sha-256-plus"), &m));
	assert_int_equal(m, SASL_SCRAM_SHA_256_PLUS);
	assert_false(sasl_mechanism_find(SPAN_LIT("CRAM-MD5"), &m) || sasl_mechanism_find(SPAN_LIT(""), &m) || sasl_mechanism_find(SPAN_LIT("PLAI"), &m));
	assert_true(sasl_mechanism_is_plain(SASL_LOGIN) && !sasl_mechanism_is_plain(SASL_SCRAM_SHA_1));
}

static void assert_offers(struct sasl_terms terms, const char *wanted)
{
	struct buf out;

	buf_init(&out, 1000);
	sasl_put_offers(&out, " ", terms);
	assert_true(span_eq(buf_span(&out), span_str(wanted)));
	assert_int_equal(sasl_any_is_offered(terms), wanted[0] != '\0');
	assert_int_equal(sasl_plus_is_offered(terms), strstr(wanted, "-PLUS") != NULL);
	buf_fini(&out);
}

static void what_is_offered_when(void **state)
{
	(void)state;
	assert_offers((struct sasl_terms){0}, " SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
	assert_offers((struct sasl_terms){.bound = true}, " SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN");
	assert_offers((struct sasl_terms){.certificate = true, .bearer = true}, " EXTERNAL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN OAUTHBEARER XOAUTH2");
	assert_offers((struct sasl_terms){.bound = true, .certificate = true, .withheld = sasl_withheld(SPAN_LIT("PLAIN  SCRAM-SHA-256 SCRAM-SHA-1-PLUS XOAUTH2"))},
	    " SCRAM-SHA-256 SCRAM-SHA-1-PLUS PLAIN");
	assert_offers((struct sasl_terms){.withheld = sasl_withheld(SPAN_LIT(""))}, "");
}

/* ---- PLAIN, LOGIN, EXTERNAL ---- */

static void plain_says_who_and_what(void **state)
{
	static const char text[] = "act\0alice\0secret";
	struct sasl *s = new_on(SASL_PLAIN, false);

	(void)state;
	assert_span(sasl_challenge(s), "");
	assert_int_equal(sasl_respond(s, span_of(text, sizeof(text) - 1)), SASL_PASSWORD);
	assert_span(sasl_user(s), "alice");
	assert_span(sasl_authzid(s), "act");
	assert_span(sasl_secret(s), "secret");
	/* Nothing more before the answer, and nothing after it. */
	assert_int_equal(respond(s, "x"), SASL_MALFORMED);
	assert_int_equal(sasl_decide(s, true), SASL_DONE);
	assert_int_equal(sasl_decide(s, true), SASL_MALFORMED);
	sasl_free(&s);
}

static void plain_that_is_none(void **state)
{
	static const struct span rows[] = {SPAN_LIT(""), SPAN_LIT("alice"), SPAN_LIT("\0alice"), SPAN_LIT("\0alice\0"), SPAN_LIT("\0\0secret"), SPAN_LIT("\0a\0b\0c")};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sasl *s = new_on(SASL_PLAIN, false);

		assert_int_equal(sasl_respond(s, rows[i]), SASL_MALFORMED);
		sasl_free(&s);
	}
}

static void what_is_too_long_is_malformed(void **state)
{
	char text[SASL_RESPONSE_MAX + 1];

	(void)state;
	for (size_t user = SASL_USER_MAX; user <= SASL_USER_MAX + 1; user++)
		for (size_t password = SASL_PASSWORD_MAX; password <= SASL_PASSWORD_MAX + 1; password++) {
			struct sasl *s = new_on(SASL_PLAIN, false);
			bool fits = user == SASL_USER_MAX && password == SASL_PASSWORD_MAX;

			memset(text, 'x', sizeof(text));
			text[0] = text[1 + user] = '\0';
			assert_int_equal(sasl_respond(s, span_of(text, 2 + user + password)), fits ? SASL_PASSWORD : SASL_MALFORMED);
			sasl_free(&s);
		}
}

static void login_asks_twice(void **state)
{
	struct sasl *s = new_on(SASL_LOGIN, false);

	(void)state;
	assert_span(sasl_challenge(s), "Username:");
	assert_int_equal(respond(s, "alice"), SASL_CHALLENGE);
	assert_span(sasl_challenge(s), "Password:");
	assert_int_equal(respond(s, "secret"), SASL_PASSWORD);
	assert_span(sasl_secret(s), "secret");
	assert_int_equal(sasl_decide(s, false), SASL_WRONG);
	sasl_free(&s);
}

static void external_needs_a_certificate(void **state)
{
	struct sasl *s = new_on(SASL_EXTERNAL, false);

	(void)state;
	assert_int_equal(respond(s, ""), SASL_WRONG);
	sasl_free(&s);
	s = new_on(SASL_EXTERNAL, true);
	assert_int_equal(respond(s, "other@example.com"), SASL_IDENTITY);
	assert_span(sasl_user(s), "carol@example.com");
	assert_span(sasl_authzid(s), "other@example.com");
	assert_int_equal(sasl_decide(s, true), SASL_DONE);
	sasl_free(&s);
}

/* ---- bearers ---- */

static void tokens_stand_for_passwords(void **state)
{
	static const struct {
		enum sasl_mechanism mechanism;
		const char *text, *user;
	} rows[] = {
	    {SASL_OAUTHBEARER, "n,a=alice@example.com,\001host=mail.example.com\001port=143\001auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001", "alice@example.com"},
	    {SASL_OAUTHBEARER, "n,,\001auth=bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001", ""},
	    {SASL_XOAUTH2, "user=alice@example.com\001auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001", "alice@example.com"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int right = 0; right < 2; right++) {
			struct sasl *s = new_on(rows[i].mechanism, true);

			assert_int_equal(respond(s, rows[i].text), SASL_TOKEN);
			assert_span(sasl_user(s), rows[i].user);
			assert_span(sasl_secret(s), "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
			assert_int_equal(sasl_decide(s, right), right ? SASL_DONE : SASL_CHALLENGE);
			if (!right) { /* the client is told in a form that it understands, and then refused */
				assert_true(span_startswith(sasl_challenge(s), SPAN_LIT("{\"status\":")));
				assert_int_equal(respond(s, "\001"), SASL_WRONG);
			}
			sasl_free(&s);
		}
}

static void bearers_that_are_none(void **state)
{
	static const struct {
		enum sasl_mechanism mechanism;
		const char *text;
	} rows[] = {{SASL_OAUTHBEARER, ""}, {SASL_OAUTHBEARER, "n,,"}, {SASL_OAUTHBEARER, "n,,\001\001"}, {SASL_OAUTHBEARER, "n,,\001auth=Basic x\001\001"},
	    {SASL_OAUTHBEARER, "n,,\001auth=Bearer x\001"}, {SASL_OAUTHBEARER, "n,,\001auth=Bearer x\001\001x"}, {SASL_OAUTHBEARER, "n,,\001auth=Bearer x y\001\001"},
	    {SASL_OAUTHBEARER, "p=tls-exporter,,\001auth=Bearer x\001\001"}, {SASL_OAUTHBEARER, "n,a=x=y,\001auth=Bearer x\001\001"},
	    {SASL_OAUTHBEARER, "n,,\001auth=Bearer x\001auth=Bearer y\001\001"}, {SASL_XOAUTH2, "user="}, {SASL_XOAUTH2, "auth=Bearer x\001\001"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sasl *s = new_on(rows[i].mechanism, true);

		if (respond(s, rows[i].text) != SASL_MALFORMED)
			fail_msg("%zu", i);
		sasl_free(&s);
	}
}

/* ---- SCRAM ---- */

static struct scram_keys keys_of(size_t size)
{
	/* The password "pencil" and the salt of RFC 7677 section 3, worked out by another implementation. */
	static const char sha1[] = "SCRAM-SHA-1$32768:W22ZaJ0SNY7soEsUEjb6gQ==$dDf0mbNwMnXAoonGmUcirK9gqo8=:AJ1YQvvbDbHHHRVFcSE0HfQNfl4=";
	static const char sha256[] = "SCRAM-SHA-256$32768:W22ZaJ0SNY7soEsUEjb6gQ==$xuogXOjcAZK5shzNqrU8IVM1MS+EHmHMe76DEbjhhUM=:gkzmmLQN08QApND3j2m/gtExCncbL4SfM4AwE1jMUqE=";
	char text[SCRAM_TEXT_MAX];
	struct scram_keys keys;

	assert_int_equal(scram_parse(span_str(size == 20 ? sha1 : sha256), &keys), 0);
	assert_int_equal(keys.size, size);
	scram_format(&keys, text);
	assert_string_equal(text, size == 20 ? sha1 : sha256);
	return keys;
}

static void keys_are_those_of_the_rfc(void **state)
{
	(void)state;
	for (size_t size = 20; size <= 32; size += 12) {
		struct scram_keys keys = keys_of(size), own;

		assert_true(scram_fits(&keys, SPAN_LIT("pencil")));
		assert_false(scram_fits(&keys, SPAN_LIT("Pencil")));
		assert_int_equal(scram_make(size, SPAN_LIT("pencil"), &own), 0);
		assert_memory_not_equal(own.salt, keys.salt, SCRAM_SALT);
		assert_true(scram_fits(&own, SPAN_LIT("pencil")));
	}
}

static void keys_that_are_none(void **state)
{
	static const char *const rows[] = {"", "SCRAM-SHA-256$", "SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==$x:y", "SCRAM-SHA-1$32768:W22ZaJ0SNY7soEsUEjb6gQ==$dDf0mbNwMnXAoonGmUcirK9gqo8=",
	    "SCRAM-SHA-1$4095:W22ZaJ0SNY7soEsUEjb6gQ==$dDf0mbNwMnXAoonGmUcirK9gqo8=:AJ1YQvvbDbHHHRVFcSE0HfQNfl4=",
	    "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$dDf0mbNwMnXAoonGmUcirK9gqo8=:AJ1YQvvbDbHHHRVFcSE0HfQNfl4=x",
	    "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6$dDf0mbNwMnXAoonGmUcirK9gqo8=:AJ1YQvvbDbHHHRVFcSE0HfQNfl4="};
	struct scram_keys keys;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (scram_parse(span_str(rows[i]), &keys) != E_SYNTAX)
			fail_msg("%s", rows[i]);
}

/* A client, from section 3 of RFC 5802: the final message for a server-first-message; signature: what the server must prove. */
static char *final_of(size_t size, const char *bare, struct span first, const char *binding, const char *password, char signature[64])
{
	const EVP_MD *md = size == 20 ? EVP_sha1() : EVP_sha256();
	unsigned char salted[32], client[32], stored[32], proof[32], server[32], sign[32];
	unsigned iterations;
	char nonce[300], salt_text[100];
	struct buf salt, text, without, out, wanted;

	assert_int_equal(sscanf(first.ptr, "r=%299[^,],s=%99[^,],i=%u", nonce, salt_text, &iterations), 3);
	buf_init(&salt, 64);
	assert_int_equal(base64_decode(&salt, span_str(salt_text)), 0);
	PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const unsigned char *)buf_span(&salt).ptr, (int)buf_len(&salt), (int)iterations, md, (int)size, salted);
	HMAC(md, salted, (int)size, (const unsigned char *)"Client Key", 10, client, NULL);
	EVP_Digest(client, size, stored, NULL, md, NULL);
	buf_init(&without, 1000);
	buf_add_str(&without, "c=");
	base64_encode(&without, span_str(binding));
	buf_printf(&without, ",r=%s", nonce);
	buf_init(&text, 4000);
	buf_printf(&text, "%s,%.*s,%s", bare, SPAN_ARG(first), buf_cstr(&without));
	HMAC(md, stored, (int)size, (const unsigned char *)buf_span(&text).ptr, buf_len(&text), proof, NULL);
	for (size_t i = 0; i < size; i++)
		proof[i] ^= client[i];
	HMAC(md, salted, (int)size, (const unsigned char *)"Server Key", 10, server, NULL);
	HMAC(md, server, (int)size, (const unsigned char *)buf_span(&text).ptr, buf_len(&text), sign, NULL);
	buf_init(&wanted, 63);
	buf_add_str(&wanted, "v=");
	base64_encode(&wanted, span_of(sign, size));
	snprintf(signature, 64, "%s", buf_cstr(&wanted));
	buf_init(&out, 2000);
	buf_printf(&out, "%s,p=", buf_cstr(&without));
	base64_encode(&out, span_of(proof, size));
	buf_fini(&salt);
	buf_fini(&text);
	buf_fini(&without);
	buf_fini(&wanted);
	return strdup(buf_cstr(&out)); /* the test ends; out goes with it */
}

/* The whole exchange of a client with this password. header: gs2-header; bound: what it believes of the channel. */
static enum sasl_step exchange(enum sasl_mechanism mechanism, bool tls, const char *header, const char *bound, const char *password)
{
	static const char bare[] = "n=us=2Cer,r=fyko+d2lbbFgONRv9qkxdawL";
	size_t size = scram_size(mechanism);
	struct scram_keys keys = keys_of(size);
	struct sasl *s = new_on(mechanism, tls);
	char text[1000], binding[1000], signature[64], *final, *first;
	enum sasl_step step;

	snprintf(text, sizeof(text), "%s%s", header, bare);
	step = respond(s, text);
	if (step == SASL_KEYS) {
		assert_span(sasl_user(s), "us,er");
		assert_int_equal(sasl_keys(s, &keys), SASL_CHALLENGE);
		first = strndup(sasl_challenge(s).ptr, sasl_challenge(s).len);
		assert_true(span_startswith(span_str(first), SPAN_LIT("r=fyko+d2lbbFgONRv9qkxdawL")));
		assert_true(strlen(first) > 60);
		snprintf(binding, sizeof(binding), "%s%s", header, bound);
		final = final_of(size, bare, span_str(first), binding, password, signature);
		step = respond(s, final);
		if (step == SASL_CHALLENGE) {
			assert_span(sasl_challenge(s), signature);
			step = respond(s, "");
		}
		free(final);
		free(first);
	}
	sasl_free(&s);
	return step;
}

static void scram_proves_both_sides(void **state)
{
	char e[33] = {0}, u[13] = {0}, p[33] = {0};

	(void)state;
	memcpy(e, exporter, 32);
	memcpy(u, unique, 12);
	memcpy(p, endpoint, 32);
	for (enum sasl_mechanism m = SASL_SCRAM_SHA_1; m <= SASL_SCRAM_SHA_256; m += 2) {
		enum sasl_mechanism plus = m + 1;

		assert_int_equal(exchange(m, false, "n,,", "", "pencil"), SASL_DONE);
		assert_int_equal(exchange(m, false, "y,,", "", "pencil"), SASL_DONE);
		assert_int_equal(exchange(m, false, "n,a=some=3Dbody,", "", "pencil"), SASL_DONE);
		assert_int_equal(exchange(m, false, "n,,", "", "pen"), SASL_WRONG);
		assert_int_equal(exchange(m, true, "n,,", "", "pencil"), SASL_DONE);
		/* Somebody between the two has taken -PLUS out of the list. */
		assert_int_equal(exchange(m, true, "y,,", "", "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(m, true, "p=tls-exporter,,", e, "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(plus, true, "p=tls-exporter,,", e, "pencil"), SASL_DONE);
		assert_int_equal(exchange(plus, true, "p=tls-unique,,", u, "pencil"), SASL_DONE);
		assert_int_equal(exchange(plus, true, "p=tls-server-end-point,,", p, "pencil"), SASL_DONE);
		/* Of another channel: somebody sits in the middle. */
		assert_int_equal(exchange(plus, true, "p=tls-exporter,,", p, "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(plus, true, "p=tls-exporter,,", e, "pen"), SASL_WRONG);
		assert_int_equal(exchange(plus, true, "p=tls-unique,,", e, "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(plus, true, "p=tls-never,,", e, "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(plus, true, "n,,", "", "pencil"), SASL_MALFORMED);
		assert_int_equal(exchange(plus, false, "p=tls-exporter,,", "", "pencil"), SASL_MALFORMED);
	}
}

static void scram_that_is_none(void **state)
{
	static const char *const firsts[] = {"", "n,,", "n,,n=user", "n,,n=user,r=", "n,,r=x,n=user", "n,,m=ext,n=user,r=x", "x,,n=user,r=x", "n,b=x,n=user,r=x", "n,,n=us=er,r=x",
	    "n,,n=,r=x", "n,,n=user,r=a b", "n=user,r=x"};
	static const char *const finals[] = {"", "c=biws", "c=biws,r=other,p=AAAA", "c=eSws,r=%s,p=AAAA", "r=%s,p=AAAA", "c=biws,r=%s", ",p=AAAA"};
	struct scram_keys keys = keys_of(32);

	(void)state;
	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct sasl *s = new_on(SASL_SCRAM_SHA_256, false);

		if (respond(s, firsts[i]) != SASL_MALFORMED)
			fail_msg("%s", firsts[i]);
		sasl_free(&s);
	}
	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		struct sasl *s = new_on(SASL_SCRAM_SHA_256, false);
		char nonce[300], text[600];

		assert_int_equal(respond(s, "n,,n=user,r=x"), SASL_KEYS);
		assert_int_equal(sasl_keys(s, &keys), SASL_CHALLENGE);
		assert_int_equal(sscanf(sasl_challenge(s).ptr, "r=%299[^,]", nonce), 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), finals[i], nonce);
#pragma GCC diagnostic pop
		if (respond(s, text) != SASL_MALFORMED)
			fail_msg("%s", finals[i]);
		sasl_free(&s);
	}
}

static void the_unknown_have_keys_too(void **state)
{
	static const unsigned char secret[32] = "nobody knows this, nobody at all";
	struct scram_keys a, again, b;

	(void)state;
	scram_make_up(32, secret, SPAN_LIT("nobody@example.com"), &a);
	scram_make_up(32, secret, SPAN_LIT("nobody@example.com"), &again);
	scram_make_up(32, secret, SPAN_LIT("noone@example.com"), &b);
	assert_memory_equal(&a, &again, sizeof(a));
	assert_memory_not_equal(a.salt, b.salt, SCRAM_SALT);
	assert_int_equal(a.iterations, SCRAM_ITERATIONS);
	assert_false(scram_fits(&a, SPAN_LIT("pencil")));
}

/* ---- preparation, RFC 4013 section 3 ---- */

static void strings_are_prepared(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {{"I\xc2\xadX", "IX"}, {"user", "user"}, {"USER", "USER"}, {"\xc2\xaa", "a"}, {"\xe2\x85\xa8", "IX"}, {"\x07", NULL}, {"\xd8\xa7\x31", NULL},
	    {"\xd8\xa7\x31\xd8\xa8", "\xd8\xa7\x31\xd8\xa8"}, {"a\xc2\xa0z", "a z"}, {"e\xcc\x81", "\xc3\xa9"}, {"\xee\x80\x80", NULL}, {"\xef\xbf\xbe", NULL}, {"\xff", NULL}, {"\xed\xa0\x80", NULL}, {"", ""}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		int r;

		buf_init(&out, 100);
		r = sasl_prepare(span_str(rows[i].in), &out);
		if ((r == 0) != (rows[i].out != NULL) || (r == 0 && !span_eq(buf_span(&out), span_str(rows[i].out))))
			fail_msg("row %zu: %d \"%.*s\"", i, r, SPAN_ARG(buf_span(&out)));
		buf_fini(&out);
	}
}

/* ---- lines ---- */

static void lines_are_decoded(void **state)
{
	static const struct {
		const char *line;
		bool initial;
		enum sasl_line is;
		const char *out;
	} rows[] = {{"YWJj", false, SASL_LINE_OK, "abc"}, {"YWJj", true, SASL_LINE_OK, "abc"}, {"", false, SASL_LINE_OK, ""}, {"=", true, SASL_LINE_OK, ""},
	    {"=", false, SASL_LINE_MALFORMED, ""}, {"", true, SASL_LINE_MALFORMED, ""}, {"*", false, SASL_LINE_CANCEL, ""}, {"*", true, SASL_LINE_MALFORMED, ""},
	    {"YWJ", false, SASL_LINE_MALFORMED, ""}, {"YWJj ", false, SASL_LINE_MALFORMED, ""}, {"YW*j", false, SASL_LINE_MALFORMED, ""}};
	static char longest[16000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;

		buf_init(&out, SASL_RESPONSE_MAX);
		if (sasl_line_decode(span_str(rows[i].line), rows[i].initial, &out) != rows[i].is || (rows[i].is == SASL_LINE_OK && !span_eq(buf_span(&out), span_str(rows[i].out))))
			fail_msg("row %zu", i);
		buf_fini(&out);
	}
	memset(longest, 'A', sizeof(longest));
	for (size_t len = 10920; len <= 10928; len += 4) {
		struct buf out;

		buf_init(&out, SASL_RESPONSE_MAX);
		assert_int_equal(sasl_line_decode(span_of(longest, len), false, &out), len / 4 * 3 <= SASL_RESPONSE_MAX ? SASL_LINE_OK : SASL_LINE_TOO_LONG);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mechanisms_have_their_names),
	    cmocka_unit_test(what_is_offered_when),
	    cmocka_unit_test(plain_says_who_and_what),
	    cmocka_unit_test(plain_that_is_none),
	    cmocka_unit_test(what_is_too_long_is_malformed),
	    cmocka_unit_test(login_asks_twice),
	    cmocka_unit_test(external_needs_a_certificate),
	    cmocka_unit_test(tokens_stand_for_passwords),
	    cmocka_unit_test(bearers_that_are_none),
	    cmocka_unit_test(keys_are_those_of_the_rfc),
	    cmocka_unit_test(keys_that_are_none),
	    cmocka_unit_test(scram_proves_both_sides),
	    cmocka_unit_test(scram_that_is_none),
	    cmocka_unit_test(the_unknown_have_keys_too),
	    cmocka_unit_test(strings_are_prepared),
	    cmocka_unit_test(lines_are_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
