/* A client of SMTP before its first transaction: servers that do not let it begin, what they offer, TLS. */
#include "tests/unit/lib/smtp/client_talk.h"

static void servers_that_do_not_let_us_begin(void **state)
{
	static const struct {
		const char *heard, *said;
		int code;
		bool lmtp;
	} rows[] = {
	    {"421 busy\r\n", "", E_UNAVAILABLE, false},
	    {"450 wait\r\n", "", E_UNAVAILABLE, false},
	    {"554 5.7.1 not you\r\n", "", E_CANNOT, false},
	    {"250 hello\r\n", "", E_REMOTE, false},
	    {"354 hello\r\n", "", E_REMOTE, false},
	    {"220 x\r\n500 what?\r\n", "EHLO we.example\r\nHELO we.example\r\n", 0, false},
	    {"220 x\r\n500 what?\r\n250 x\r\n", "EHLO we.example\r\nHELO we.example\r\n", 1, false},
	    {"220 x\r\n502 what?\r\n250 x\r\n", "EHLO we.example\r\nHELO we.example\r\n", 1, false},
	    {"220 x\r\n504 what?\r\n550 x\r\n", "EHLO we.example\r\nHELO we.example\r\n", E_CANNOT, false},
	    {"220 x\r\n501 what?\r\n450 x\r\n", "EHLO we.example\r\nHELO we.example\r\n", E_UNAVAILABLE, false},
	    {"220 x\r\n500 what?\r\n354 x\r\n", "EHLO we.example\r\nHELO we.example\r\n", E_REMOTE, false},
	    {"220 x\r\n550 not you\r\n", "EHLO we.example\r\n", E_CANNOT, false},
	    {"220 x\r\n450 not now\r\n", "EHLO we.example\r\n", E_UNAVAILABLE, false},
	    {"220 x\r\n421 bye\r\n", "EHLO we.example\r\n", E_UNAVAILABLE, false},
	    {"220 x\r\n220 x\r\n", "EHLO we.example\r\n", E_REMOTE, false},
	    {"220 x\r\n500 what?\r\n", "LHLO we.example\r\n", E_CANNOT, true},
	    {"220 x\r\n250 x\r\n250 y\r\n", "EHLO we.example\r\n", E_REMOTE, false},
	    {"220 x\r\n250 x\r\n421 tired\r\n", "EHLO we.example\r\n", E_UNAVAILABLE, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtp_client_config config = talk_config;
		struct talk *t;

		config.lmtp = rows[i].lmtp;
		t = talk_new(&config);
		assert_string_equal(hears(t, rows[i].heard), rows[i].said);
		assert_int_equal(t->event, rows[i].code == 0 ? SMTP_CLIENT_MORE : rows[i].code == 1 ? SMTP_CLIENT_READY : SMTP_CLIENT_CLOSED);
		assert_true(rows[i].code >= 0 || failure_of(t) == rows[i].code);
		talk_free(&t);
	}
}

static void offers_are_read(void **state)
{
	struct talk *t = talk_ready("250-PIPELINING SIZE 5\r\n250-pipelining\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n"
				    "250-ENHANCEDSTATUSCODES\r\n250-SIZE 99999999999\r\n250-AUTH PLAIN XYZ scram-sha-256\r\n250-AUTH=LOGIN\r\n"
				    "250-LIMITS RCPTMAX=20 MAILMAX=x RCPTDOMAINMAX=1  MAILMAX=3\r\n250-STARTTLS\r\n250-REQUIRETLS\r\n");
	const struct smtp_client_offers *o = smtp_client_offers(t->client);

	(void)state;
	assert_true(o->extended && o->pipelining && o->eightbit && o->smtputf8 && o->chunking && o->binary && o->dsn && o->enhanced && o->sized && o->starttls);
	assert_false(o->requiretls); /* without TLS it means nothing */
	assert_true(o->size == 99999999999 && o->rcpt_max == 20 && o->mail_max == 3);
	assert_int_equal(o->mechanisms, 1U << SASL_PLAIN | 1U << SASL_LOGIN | 1U << SASL_SCRAM_SHA_256);
	talk_free(&t);
	t = talk_ready("250-x\r\n250-BINARYMIME\r\n250-SIZE\r\n250-SIZE=5\r\n250-PIPELININGS\r\n250-LIMITS RCPTMAX=0 MAILMAX=1000000\r\n");
	o = smtp_client_offers(t->client);
	assert_true(o->sized && o->size == 0 && !o->binary && !o->pipelining && o->rcpt_max == 0 && o->mail_max == 0);
	talk_free(&t);
}

/* ---- TLS ---- */

static struct talk *talk_tls(enum smtp_client_tls want, const char *offers)
{
	struct smtp_client_config config = talk_config;
	struct talk *t;

	config.tls = want;
	t = talk_new(&config);
	hears(t, "220 x\r\n");
	talk_feed(t, span_str(offers));
	return t;
}

static void tls_is_begun_when_it_is_wanted(void **state)
{
	static const struct {
		enum smtp_client_tls want;
		const char *offers, *said, *answer;
		enum smtp_client_event event;
		int code;
	} rows[] = {
	    {SMTP_TLS_NEVER, "250-x\r\n250 STARTTLS\r\n", "", "", SMTP_CLIENT_READY, 0},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n", SMTP_CLIENT_STARTTLS, 0},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "454 no\r\n", SMTP_CLIENT_READY, 0},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "502 no\r\n", SMTP_CLIENT_READY, 0},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "421 no\r\n", SMTP_CLIENT_CLOSED, E_UNAVAILABLE},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "250 no\r\n", SMTP_CLIENT_CLOSED, E_REMOTE},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n250 injected\r\n", SMTP_CLIENT_CLOSED, E_REMOTE},
	    {SMTP_TLS_MAY, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n2", SMTP_CLIENT_CLOSED, E_REMOTE},
	    {SMTP_TLS_MAY, "250 x\r\n", "", "", SMTP_CLIENT_READY, 0},
	    {SMTP_TLS_MUST, "250 x\r\n", "", "", SMTP_CLIENT_CLOSED, E_DENIED},
	    {SMTP_TLS_MUST, "500 x\r\n250 x\r\n", "HELO we.example\r\n", "", SMTP_CLIENT_CLOSED, E_DENIED},
	    {SMTP_TLS_MUST, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "454 no\r\n", SMTP_CLIENT_CLOSED, E_DENIED},
	    {SMTP_TLS_MUST, "250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n", SMTP_CLIENT_STARTTLS, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_tls(rows[i].want, rows[i].offers);

		assert_string_equal(says(t), rows[i].said);
		assert_string_equal(hears(t, rows[i].answer), "");
		assert_int_equal(t->event, rows[i].event);
		assert_int_equal(failure_of(t), rows[i].code);
		talk_free(&t);
	}
}

static void what_was_said_before_tls_is_forgotten(void **state)
{
	struct talk *t = talk_tls(SMTP_TLS_MUST, "250-x\r\n250-PIPELINING\r\n250-SIZE 5\r\n250 STARTTLS\r\n");
	const struct sasl_channel channel = {0};

	(void)state;
	says(t);
	hears(t, "220 go\r\n");
	smtp_client_tls_started(t->client, &channel);
	assert_string_equal(says(t), "EHLO we.example\r\n");
	hears(t, "250-other.example\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_READY);
	assert_false(smtp_client_offers(t->client)->pipelining || smtp_client_offers(t->client)->sized || smtp_client_offers(t->client)->starttls);
	assert_true(smtp_client_offers(t->client)->requiretls);
	assert_span_equal(smtp_client_server_name(t->client), "other.example");
	talk_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(servers_that_do_not_let_us_begin),
	    cmocka_unit_test(offers_are_read),
	    cmocka_unit_test(tls_is_begun_when_it_is_wanted),
	    cmocka_unit_test(what_was_said_before_tls_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
