/* The client's side of SASL: the examples of the RFCs, our own server, and servers that lie. */
#include "sasl/client_private.h"
#include "tests/unit/test.h"

#include "base/encode.h"

#include <stdlib.h>

static const char exporter[32] = "exporter exporter exporter expor";
static const char endpoint[32] = "endpoint endpoint endpoint endpo";

struct exchange {
	struct sasl_client *client;
	struct buf out;
	struct err err;
	bool has_initial;
	int r;
};

static void begin_on(struct exchange *x, enum sasl_mechanism mechanism, struct span user, struct span password, struct sasl_channel channel)
{
	*x = (struct exchange){0};
	buf_init(&x->out, SASL_RESPONSE_MAX);
	x->client = sasl_client_new(mechanism, user, password, &channel);
	assert_non_null(x->client);
}

static void begin(struct exchange *x, enum sasl_mechanism mechanism, const char *user, const char *password)
{
	begin_on(x, mechanism, span_str(user), span_str(password), (struct sasl_channel){0});
}

static void first(struct exchange *x)
{
	buf_clear(&x->out);
	x->r = sasl_client_begin(x->client, &x->out, &x->has_initial, &x->err);
}

static void answer(struct exchange *x, struct span challenge)
{
	buf_clear(&x->out);
	x->r = sasl_client_respond(x->client, challenge, &x->out, &x->err);
	assert_true(x->r == 0 || (x->err.code == x->r && x->err.text[0] != '\0'));
}

static void end(struct exchange *x)
{
	sasl_client_free(&x->client);
	buf_fini(&x->out);
}

static void assert_out(const struct exchange *x, struct span text)
{
	assert_int_equal(x->r, 0);
	if (!span_eq(buf_span(&x->out), text))
		fail_msg("\"%.*s\" instead of \"%.*s\"", SPAN_ARG(buf_span(&x->out)), SPAN_ARG(text));
}

/* ---- examples ---- */

static void plain_login_and_xoauth2_are_said(void **state)
{
	struct exchange x;

	(void)state;
	begin(&x, SASL_PLAIN, "tim", "tanstaaftanstaaf"); /* RFC 4616 section 4 */
	first(&x);
	assert_true(x.has_initial);
	assert_out(&x, SPAN_LIT("\0tim\0tanstaaftanstaaf"));
	assert_int_equal(sasl_client_finish(x.client, &x.err), 0);
	answer(&x, SPAN_LIT(""));
	assert_int_equal(x.r, E_REMOTE);
	end(&x);

	begin(&x, SASL_LOGIN, "tim", "secret");
	first(&x);
	assert_false(x.has_initial);
	assert_int_equal(sasl_client_finish(x.client, &x.err), E_REMOTE);
	answer(&x, SPAN_LIT("Username:"));
	assert_out(&x, SPAN_LIT("tim"));
	answer(&x, SPAN_LIT("whatever"));
	assert_out(&x, SPAN_LIT("secret"));
	assert_int_equal(sasl_client_finish(x.client, &x.err), 0);
	answer(&x, SPAN_LIT("more"));
	assert_int_equal(x.r, E_REMOTE);
	end(&x);

	begin(&x, SASL_XOAUTH2, "tim@example.com", "ya29.token");
	first(&x);
	assert_out(&x, SPAN_LIT("user=tim@example.com\001auth=Bearer ya29.token\001\001"));
	assert_int_equal(sasl_client_finish(x.client, &x.err), 0);
	answer(&x, SPAN_LIT("{\"status\":\"401\"}"));
	assert_out(&x, SPAN_LIT(""));
	assert_int_equal(sasl_client_finish(x.client, &x.err), E_REMOTE);
	answer(&x, SPAN_LIT("again"));
	assert_int_equal(x.r, E_REMOTE);
	end(&x);
}

static const struct vector {
	enum sasl_mechanism mechanism;
	const char *nonce, *first, *challenge, *final, *verifier;
} vectors[] = {
    /* RFC 5802 section 5 */
    {SASL_SCRAM_SHA_1, "fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
	"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    /* RFC 7677 section 3 */
    {SASL_SCRAM_SHA_256, "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
	"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void begin_vector(struct exchange *x, const struct vector *v)
{
	begin(x, v->mechanism, "user", "pencil");
	scram_client_set_nonce(x->client, span_str(v->nonce));
	first(x);
	assert_out(x, span_str(v->first));
}

static void the_examples_of_scram(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct exchange x;

		begin_vector(&x, &vectors[i]);
		answer(&x, span_str(vectors[i].challenge));
		assert_out(&x, span_str(vectors[i].final));
		assert_int_equal(sasl_client_finish(x.client, &x.err), E_DENIED); /* it has shown nothing yet */
		answer(&x, span_str(vectors[i].verifier));
		assert_out(&x, SPAN_LIT(""));
		assert_int_equal(sasl_client_finish(x.client, &x.err), 0);
		answer(&x, span_str(vectors[i].verifier));
		assert_int_equal(x.r, E_REMOTE);
		end(&x);
	}
}

/* ---- servers that lie ---- */

static void challenges_that_are_none(void **state)
{
#define R "r=fyko+d2lbbFgONRv9qkxdawL"
	static const struct span rows[] = {SPAN_LIT(""), SPAN_LIT("r="), SPAN_LIT(R ",s=QSXCR+Q6sek8bf92,i=4096"), SPAN_LIT("r=fyko+d2lbbFgONRv9qkxdawMx,s=QSXCR+Q6sek8bf92,i=4096"),
	    SPAN_LIT("r=x" R ",s=QSXCR+Q6sek8bf92,i=4096"), SPAN_LIT("m=x," R "x,s=QSXCR+Q6sek8bf92,i=4096"), SPAN_LIT(R "x,i=4096,s=QSXCR+Q6sek8bf92"),
	    SPAN_LIT(R "x,s=,i=4096"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf9,i=4096"), SPAN_LIT(R "x,s=????,i=4096"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92"),
	    SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i="), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=0"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=4095"),
	    SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=200001"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=4294971392"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=99999999999999999999"),
	    SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=-4096"), SPAN_LIT(R "x,s=QSXCR+Q6sek8bf92,i=4096x"), SPAN_LIT(R " x,s=QSXCR+Q6sek8bf92,i=4096"),
	    SPAN_LIT(R "\0x,s=QSXCR+Q6sek8bf92,i=4096"), SPAN_LIT(R "\377,s=QSXCR+Q6sek8bf92,i=4096"), SPAN_LIT("e=other-error")};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exchange x;

		begin_vector(&x, &vectors[0]);
		answer(&x, rows[i]);
		assert_int_equal(x.r, E_REMOTE);
		answer(&x, SPAN_LIT("v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=")); /* no verifier was computed: none is right */
		assert_int_equal(x.r, E_REMOTE);
		assert_int_not_equal(sasl_client_finish(x.client, &x.err), 0);
		end(&x);
	}
}

static void servers_that_do_not_know_the_password(void **state)
{
	static const struct {
		const char *verifier;
		int code;
	} rows[] = {
	    {"v=rmF9pqV8S7suAoZWja4dJRkFsKR=", E_DENIED}, {"v=rmF9pqV8S7suAoZWja4dJRkFsA==", E_DENIED}, {"v=", E_DENIED}, {"v=?", E_DENIED},
	    {"v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", E_DENIED}, {"", E_REMOTE}, {"x=rmF9pqV8S7suAoZWja4dJRkFsKQ=", E_REMOTE}, {"e=invalid-proof", E_AUTHFAILED}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exchange x;

		begin_vector(&x, &vectors[0]);
		answer(&x, span_str(vectors[0].challenge));
		answer(&x, span_str(rows[i].verifier));
		assert_int_equal(x.r, rows[i].code);
		assert_int_equal(sasl_client_finish(x.client, &x.err), E_DENIED);
		end(&x);
	}
}

/* ---- with our own server ---- */

static bool against_server(enum sasl_mechanism mechanism, struct span password, struct sasl_channel ours, struct sasl_channel theirs)
{
	struct sasl *server = sasl_new(mechanism, &theirs);
	struct scram_keys keys;
	struct exchange x;
	enum sasl_step step = sasl_begin(server);

	begin_on(&x, mechanism, SPAN_LIT("j\303\266=x,y"), password, ours);
	first(&x);
	assert_int_equal(x.r, 0);
	assert_int_equal(scram_make(scram_size(mechanism), SPAN_LIT("IX"), &keys), 0);
	if (x.has_initial)
		step = sasl_respond(server, buf_span(&x.out));
	for (;;) {
		if (step == SASL_KEYS) {
			assert_span_equal(sasl_user(server), "j\303\266=x,y");
			step = sasl_keys(server, &keys);
		}
		if (step == SASL_PASSWORD)
			step = sasl_decide(server, span_eq(sasl_user(server), SPAN_LIT("j\303\266=x,y")) && span_eq(sasl_secret(server), SPAN_LIT("IX")));
		if (step != SASL_CHALLENGE)
			break;
		answer(&x, sasl_challenge(server));
		if (x.r != 0)
			break;
		step = sasl_respond(server, buf_span(&x.out));
	}
	if (step == SASL_DONE)
		assert_int_equal(sasl_client_finish(x.client, &x.err), 0);
	end(&x);
	sasl_free(&server);
	return step == SASL_DONE;
}

static void our_own_server_lets_it_in(void **state)
{
	static const enum sasl_mechanism all[] = {SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_1_PLUS, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS};
	const struct sasl_channel tls = {.plus_offered = true, .exporter = span_of(exporter, 32), .endpoint = span_of(endpoint, 32)};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_true(against_server(all[i], SPAN_LIT("IX"), tls, tls));
		assert_false(against_server(all[i], SPAN_LIT("IY"), tls, tls));
	}
	/* RFC 4013: "I\u00adX" and the Roman numeral are the same password */
	assert_true(against_server(SASL_SCRAM_SHA_256, SPAN_LIT("I\302\255X"), tls, tls));
	assert_true(against_server(SASL_SCRAM_SHA_256, SPAN_LIT("\342\205\250"), tls, tls));
}

static void the_channel_is_that_of_both(void **state)
{
	const struct sasl_channel both = {.plus_offered = true, .exporter = span_of(exporter, 32), .endpoint = span_of(endpoint, 32)};
	const struct sasl_channel old = {.plus_offered = true, .endpoint = span_of(endpoint, 32)};
	const struct sasl_channel other = {.plus_offered = true, .exporter = span_of(endpoint, 32), .endpoint = span_of(exporter, 32)};
	const struct sasl_channel stripped = {.plus_offered = false, .exporter = span_of(exporter, 32)};
	const struct sasl_channel none = {0};
	struct exchange x;

	(void)state;
	assert_true(against_server(SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("IX"), old, both));
	/* Somebody in between has a channel with each of us. */
	assert_false(against_server(SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("IX"), other, both));
	/* Or took -PLUS out of the offers: the server finds that out. */
	assert_false(against_server(SASL_SCRAM_SHA_256, SPAN_LIT("IX"), stripped, both));
	assert_true(against_server(SASL_SCRAM_SHA_256, SPAN_LIT("IX"), none, both));
	begin_on(&x, SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("u"), SPAN_LIT("p"), none);
	first(&x);
	assert_int_equal(x.r, E_UNSUPPORTED);
	end(&x);
}

static void logins_that_cannot_be_said(void **state)
{
	static char long_text[SASL_RESPONSE_MAX + 1];
	const struct sasl_channel none = {0};
	static const struct {
		enum sasl_mechanism mechanism;
		struct span user, password;
	} rows[] = {
	    {SASL_PLAIN, SPAN_LIT("a\0b"), SPAN_LIT("x")}, {SASL_PLAIN, SPAN_LIT("a"), SPAN_LIT("x\0y")}, {SASL_XOAUTH2, SPAN_LIT("a\001"), SPAN_LIT("x")},
	    {SASL_XOAUTH2, SPAN_LIT("a"), SPAN_LIT("x\001")}, {SASL_SCRAM_SHA_1, SPAN_LIT("a\007"), SPAN_LIT("x\303\266")}, {SASL_SCRAM_SHA_1, SPAN_LIT("\377"), SPAN_LIT("x")}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct exchange x;

		begin_on(&x, rows[i].mechanism, rows[i].user, rows[i].password, none);
		first(&x);
		assert_int_equal(x.r, E_SYNTAX);
		end(&x);
	}
	assert_null(sasl_client_new(SASL_PLAIN, SPAN_LIT("u"), span_of(long_text, SASL_PASSWORD_MAX + 1), &none));
	assert_null(sasl_client_new(SASL_PLAIN, span_of(long_text, SASL_USER_MAX + 1), SPAN_LIT("p"), &none));
	assert_null(sasl_client_new(SASL_XOAUTH2, SPAN_LIT("u"), span_of(long_text, sizeof(long_text)), &none));
	assert_null(sasl_client_new(SASL_EXTERNAL, SPAN_LIT("u"), SPAN_LIT("p"), &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_login_and_xoauth2_are_said),
	    cmocka_unit_test(the_examples_of_scram),
	    cmocka_unit_test(challenges_that_are_none),
	    cmocka_unit_test(servers_that_do_not_know_the_password),
	    cmocka_unit_test(our_own_server_lets_it_in),
	    cmocka_unit_test(the_channel_is_that_of_both),
	    cmocka_unit_test(logins_that_cannot_be_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
