/* A client of SMTP that logs in: which mechanism it takes, what it says, and what ends it. */
#include "tests/unit/lib/smtp/client_talk.h"

#include "base/encode.h"

static struct talk *talk_login(struct smtp_client_login login, const char *offers)
{
	struct smtp_client_config config = talk_config;
	struct talk *t;

	config.login = login;
	config.tls_done = true;
	config.channel.exporter = SPAN_LIT("0123456789");
	t = talk_new(&config);
	hears(t, "220 x\r\n");
	talk_feed(t, span_str(offers));
	return t;
}

static const struct smtp_client_login secret = {.user = SPAN_LIT("a@b"), .password = SPAN_LIT("secret")};
static const struct smtp_client_login token = {.user = SPAN_LIT("a@b"), .password = SPAN_LIT("token"), .is_token = true};

static void the_best_mechanism_is_taken(void **state)
{
	static const struct {
		const char *offers, *said;
		bool is_token;
	} rows[] = {
	    {"250-x\r\n250 AUTH LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS XOAUTH2\r\n", "AUTH SCRAM-SHA-256-PLUS ", false},
	    {"250-x\r\n250 AUTH LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS XOAUTH2\r\n", "AUTH SCRAM-SHA-256 ", false},
	    {"250-x\r\n250 AUTH LOGIN PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS XOAUTH2\r\n", "AUTH SCRAM-SHA-1-PLUS ", false},
	    {"250-x\r\n250 AUTH LOGIN PLAIN SCRAM-SHA-1 XOAUTH2\r\n", "AUTH SCRAM-SHA-1 ", false},
	    {"250-x\r\n250 AUTH LOGIN PLAIN XOAUTH2\r\n", "AUTH PLAIN AGFAYgBzZWNyZXQ=\r\n", false},
	    {"250-x\r\n250 AUTH LOGIN XOAUTH2\r\n", "AUTH LOGIN\r\n", false},
	    {"250-x\r\n250 AUTH=LOGIN\r\n", "AUTH LOGIN\r\n", false},
	    {"250-x\r\n250 AUTH LOGIN XOAUTH2\r\n", "AUTH XOAUTH2 dXNlcj1hQGIBYXV0aD1CZWFyZXIgdG9rZW4BAQ==\r\n", true},
	    {"250-x\r\n250 AUTH XOAUTH2 GSSAPI EXTERNAL CRAM-MD5\r\n", "", false},
	    {"250-x\r\n250 AUTH LOGIN\r\n", "", true},
	    {"250-x\r\n250 HELP\r\n", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_login(rows[i].is_token ? token : secret, rows[i].offers);
		struct span said = span_str(says(t));

		assert_true(said.len >= strlen(rows[i].said));
		assert_span_equal(span_sub(said, 0, strlen(rows[i].said)), rows[i].said);
		assert_int_equal(t->event, rows[i].said[0] != '\0' ? SMTP_CLIENT_MORE : SMTP_CLIENT_CLOSED);
		assert_int_equal(failure_of(t), rows[i].said[0] != '\0' ? 0 : E_UNSUPPORTED);
		talk_free(&t);
	}
}

/* With the client's offers: LOGIN and PLAIN. Each line of `heard` is answered by one of `said`. */
static void exchanges(void **state)
{
	static const struct {
		const char *offers, *heard, *said;
		int code; /* of the failure; 0: READY; 1: MORE */
	} rows[] = {
	    {"PLAIN", "235 in\r\n", "", 0},
	    {"PLAIN", "334 \r\n", "", E_REMOTE},
	    {"PLAIN", "250 in\r\n", "", E_REMOTE},
	    {"PLAIN", "354 in\r\n", "", E_REMOTE},
	    {"PLAIN", "535 5.7.8 no\r\n", "", E_AUTHFAILED},
	    {"PLAIN", "454 4.7.0 later\r\n", "", E_UNAVAILABLE},
	    {"PLAIN", "421 later\r\n", "", E_UNAVAILABLE},
	    {"PLAIN", "504 what?\r\n", "", E_AUTHFAILED},
	    {"PLAIN LOGIN", "504 what?\r\n", "AUTH LOGIN\r\n", 1},
	    {"PLAIN LOGIN", "534 what?\r\n504 what?\r\n", "AUTH LOGIN\r\n", E_AUTHFAILED},
	    {"LOGIN", "334 VXNlcm5hbWU6\r\n", "YUBi\r\n", 1},
	    {"LOGIN", "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n", "YUBi\r\nc2VjcmV0\r\n", 1},
	    {"LOGIN", "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 in\r\n", "YUBi\r\nc2VjcmV0\r\n", 0},
	    {"LOGIN", "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n334 AAAA\r\n", "YUBi\r\nc2VjcmV0\r\n", E_REMOTE},
	    {"LOGIN", "334 VXNlcm5hbWU6\r\n235 in\r\n", "YUBi\r\n", E_REMOTE},
	    {"LOGIN", "334\r\n334\r\n235 in\r\n", "YUBi\r\nc2VjcmV0\r\n", 0},
	    {"LOGIN", "334 what?\r\n", "", E_REMOTE},
	    {"LOGIN", "235 in\r\n", "", E_REMOTE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char offers[100];
		struct talk *t;

		snprintf(offers, sizeof(offers), "250-x\r\n250 AUTH %s\r\n", rows[i].offers);
		t = talk_login(secret, offers);
		says(t);
		assert_string_equal(hears(t, rows[i].heard), rows[i].said);
		assert_int_equal(t->event, rows[i].code == 0 ? SMTP_CLIENT_READY : rows[i].code == 1 ? SMTP_CLIENT_MORE : SMTP_CLIENT_CLOSED);
		assert_int_equal(failure_of(t), rows[i].code == 1 ? 0 : rows[i].code);
		talk_free(&t);
	}
}

/* RFC 5802 section 6: a 235 is worth nothing while the server has not shown that it knows the password. */
static void a_server_that_takes_any_proof_is_none(void **state)
{
	struct talk *t = talk_login(secret, "250-x\r\n250 AUTH SCRAM-SHA-256\r\n");

	(void)state;
	assert_int_equal(t->event, SMTP_CLIENT_MORE);
	hears(t, "235 in\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CLOSED);
	assert_int_equal(failure_of(t), E_DENIED);
	talk_free(&t);
}

/* RFC 4954 section 4: a line of 512 octets has room for the first response, or it is waited for. */
static void a_long_token_waits_for_its_turn(void **state)
{
	static char text[8000];
	struct smtp_client_login login = token;
	struct talk *t;
	struct span said;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t len = 340; len < 360; len++) {
		login.password = span_of(text, len);
		t = talk_login(login, "250-x\r\n250 AUTH XOAUTH2\r\n");
		said = span_str(says(t));
		assert_true(said.len <= 512);
		talk_free(&t);
	}
	login.password = span_of(text, sizeof(text));
	t = talk_login(login, "250-x\r\n250 AUTH XOAUTH2\r\n");
	assert_string_equal(says(t), "AUTH XOAUTH2\r\n");
	said = span_str(hears(t, "334 \r\n"));
	assert_true(said.len > sizeof(text) * 4 / 3);
	hears(t, "235 in\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_READY);
	talk_free(&t);
	t = talk_login(login, "250-x\r\n250 AUTH XOAUTH2\r\n");
	hears(t, "334 AAAA\r\n");
	assert_int_equal(failure_of(t), E_REMOTE);
	talk_free(&t);
}

static void logins_that_are_too_long_are_none(void **state)
{
	static char text[SASL_RESPONSE_MAX + 1];
	struct smtp_client_config config = talk_config;
	struct buf out;

	(void)state;
	buf_init(&out, SMTP_CLIENT_OUT_MIN);
	config.login = (struct smtp_client_login){.user = SPAN_LIT("a"), .password = span_of(text, sizeof(text))};
	assert_null(smtp_client_new(&config, &out));
	config.login = (struct smtp_client_login){.user = span_of(text, SASL_USER_MAX + 1), .password = SPAN_LIT("a")};
	assert_null(smtp_client_new(&config, &out));
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_best_mechanism_is_taken),
	    cmocka_unit_test(exchanges),
	    cmocka_unit_test(a_server_that_takes_any_proof_is_none),
	    cmocka_unit_test(a_long_token_waits_for_its_turn),
	    cmocka_unit_test(logins_that_are_too_long_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
