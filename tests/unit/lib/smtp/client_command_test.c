/* What a client of SMTP says with MAIL and RCPT, and what it does not begin. */
#include "tests/unit/lib/smtp/client_talk.h"

static const struct smtp_client_recipient one = {.address = SPAN_LIT("a@there.example")};
#define MESSAGE(...) {.sender = SPAN_LIT("s@here.example"), .recipients = &one, .recipient_count = 1, __VA_ARGS__}

static void parameters_of_mail(void **state)
{
	static const struct {
		const char *offers;
		struct smtp_client_message message;
		const char *said;
	} rows[] = {
	    {"", MESSAGE(.size = 5, .ret = 1, .envid = SPAN_LIT("x")), "MAIL FROM:<s@here.example>\r\n"},
	    {"250-SIZE 100\r\n", MESSAGE(.size = 5), "MAIL FROM:<s@here.example> SIZE=5\r\n"},
	    {"250-SIZE\r\n", MESSAGE(.size = 500), "MAIL FROM:<s@here.example> SIZE=500\r\n"},
	    {"250-SIZE 100\r\n", MESSAGE(.size = 0), "MAIL FROM:<s@here.example>\r\n"},
	    {"250-8BITMIME\r\n", MESSAGE(.eightbit = true), "MAIL FROM:<s@here.example> BODY=8BITMIME\r\n"},
	    {"250-8BITMIME\r\n", MESSAGE(.eightbit = false), "MAIL FROM:<s@here.example>\r\n"},
	    {"250-BINARYMIME\r\n250-CHUNKING\r\n", MESSAGE(.binary = true, .eightbit = true, .size = 1), "MAIL FROM:<s@here.example> BODY=BINARYMIME\r\n"},
	    {"250-SMTPUTF8\r\n", MESSAGE(.smtputf8 = true), "MAIL FROM:<s@here.example> SMTPUTF8\r\n"},
	    {"250-SMTPUTF8\r\n", MESSAGE(.smtputf8 = false), "MAIL FROM:<s@here.example>\r\n"},
	    {"250-SMTPUTF8\r\n", {.sender = SPAN_LIT("j\303\266@here.example"), .recipients = &one, .recipient_count = 1},
		"MAIL FROM:<j\303\266@here.example> SMTPUTF8\r\n"},
	    {"250-DSN\r\n", MESSAGE(.ret = 1), "MAIL FROM:<s@here.example> RET=FULL\r\n"},
	    {"250-DSN\r\n", MESSAGE(.ret = 2, .envid = SPAN_LIT("a+b=c \001")), "MAIL FROM:<s@here.example> RET=HDRS ENVID=a+2Bb+3Dc+20+01\r\n"},
	    {"250-DSN\r\n", {.sender = SPAN_LIT(""), .recipients = &one, .recipient_count = 1}, "MAIL FROM:<>\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_new(&talk_config);

		hears(t, "220 x\r\n");
		hears(t, "250-x\r\n");
		hears(t, rows[i].offers);
		hears(t, "250 HELP\r\n");
		assert_string_equal(sends(t, &rows[i].message), rows[i].said);
		talk_free(&t);
	}
}

static void parameters_of_rcpt(void **state)
{
	static const struct {
		struct smtp_client_recipient recipient;
		bool dsn, utf8;
		const char *said;
	} rows[] = {
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822;a@b"), .notify = 2}, false, true, "RCPT TO:<a@b>\r\n"},
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822;a@b"), .notify = 2}, true, true, "RCPT TO:<a@b> NOTIFY=SUCCESS ORCPT=rfc822;a@b\r\n"},
	    {{.address = SPAN_LIT("a@b"), .notify = 1}, true, true, "RCPT TO:<a@b> NOTIFY=NEVER\r\n"},
	    {{.address = SPAN_LIT("a@b"), .notify = 14}, true, true, "RCPT TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY\r\n"},
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822;a+b=c d@e")}, true, true, "RCPT TO:<a@b> ORCPT=rfc822;a+2Bb+3Dc+20d@e\r\n"},
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822;\303\266@b")}, true, true, "RCPT TO:<a@b> ORCPT=rfc822;+C3+B6@b\r\n"},
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822;")}, true, true, "RCPT TO:<a@b>\r\n"},
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("rfc822")}, true, true, "RCPT TO:<a@b>\r\n"},
	    /* RFC 6533: to a server without SMTPUTF8, and to one with it */
	    {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("utf-8;\303\266+x@\360\237\230\200.b\\x{E9}\\x{z")}, true, false,
		"RCPT TO:<a@b> ORCPT=utf-8;\\x{F6}\\x{2B}x@\\x{1F600}.b\\x{E9}\\x{5C}x{z\r\n"},
	    {{.address = SPAN_LIT("\303\266@b"), .orcpt = SPAN_LIT("utf-8;\303\266+ \377@b")}, true, true,
		"RCPT TO:<\303\266@b> ORCPT=utf-8;\303\266\\x{2B}\\x{20}\\x{FFFD}@b\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct smtp_client_message message = {.sender = SPAN_LIT("s@h"), .recipients = &rows[i].recipient, .recipient_count = 1};
		struct talk *t = talk_new(&talk_config);

		hears(t, "220 x\r\n");
		hears(t, "250-x\r\n");
		hears(t, rows[i].dsn ? "250-DSN\r\n" : "");
		hears(t, rows[i].utf8 ? "250 SMTPUTF8\r\n" : "250 HELP\r\n");
		sends(t, &message);
		assert_string_equal(hears(t, "250 ok\r\n"), rows[i].said);
		talk_free(&t);
	}
}

/* Servers take 500 octets and 100; what is longer is not said. */
static void values_that_are_too_long_are_left_out(void **state)
{
	char orcpt[SMTP_REPLY_LINE_MAX];
	struct smtp_client_recipient recipient = {.address = SPAN_LIT("a@b")};
	struct smtp_client_message message = {.sender = SPAN_LIT("s@h"), .recipients = &recipient, .recipient_count = 1};

	(void)state;
	memset(orcpt, '+', sizeof(orcpt));
	memcpy(orcpt, "rfc822;", 7);
	for (size_t extra = 0; extra < 2; extra++) {
		struct talk *t = talk_new(&talk_config);

		recipient.orcpt = span_of(orcpt, 7 + 164 + extra);
		message.envid = span_of(orcpt + 7, 33 + extra);
		hears(t, "220 x\r\n250-x\r\n");
		hears(t, "250 DSN\r\n");
		assert_true((strstr(sends(t, &message), "ENVID") != NULL) == (extra == 0));
		assert_true((strstr(hears(t, "250 ok\r\n"), "ORCPT") != NULL) == (extra == 0));
		talk_free(&t);
	}
}

static void messages_that_are_not_begun(void **state)
{
	static const struct smtp_client_recipient utf8 = {.address = SPAN_LIT("\303\266@b")}, bad = {.address = SPAN_LIT("a@b>\r\nRSET")}, none = {0};
	static const struct {
		const char *offers;
		struct smtp_client_message message;
		int code;
	} rows[] = {
	    {"250-SIZE 100\r\n", MESSAGE(.size = 101), E_TOOBIG},
	    {"250-SIZE 100\r\n", MESSAGE(.size = 100), 0},
	    {"250-x\r\n", MESSAGE(.smtputf8 = true), E_UNSUPPORTED},
	    {"250-x\r\n", {.sender = SPAN_LIT("\303\266@b"), .recipients = &one, .recipient_count = 1}, E_UNSUPPORTED},
	    {"250-x\r\n", {.sender = SPAN_LIT("a@b"), .recipients = &utf8, .recipient_count = 1}, E_UNSUPPORTED},
	    {"250-REQUIRETLS\r\n", MESSAGE(.requiretls = true), E_UNSUPPORTED},
	    {"250-CHUNKING\r\n", MESSAGE(.eightbit = true), E_CONTENT},
	    {"250-8BITMIME\r\n", MESSAGE(.binary = true, .size = 1), E_CONTENT},
	    {"250-8BITMIME\r\n250-BINARYMIME\r\n", MESSAGE(.binary = true, .size = 1), E_CONTENT},
	    {"250-CHUNKING\r\n250-BINARYMIME\r\n", MESSAGE(.binary = true), E_CONTENT},
	    {"250-CHUNKING\r\n250-BINARYMIME\r\n", MESSAGE(.binary = true, .size = 1), 0},
	    {"250-x\r\n", {.sender = SPAN_LIT("a@b"), .recipients = &bad, .recipient_count = 1}, E_SYNTAX},
	    {"250-x\r\n", {.sender = SPAN_LIT("a@b"), .recipients = &none, .recipient_count = 1}, E_SYNTAX},
	    {"250-x\r\n", {.sender = SPAN_LIT("a\0@b"), .recipients = &one, .recipient_count = 1}, E_SYNTAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_new(&talk_config);
		struct err err = {0};

		hears(t, "220 x\r\n250-x\r\n");
		hears(t, rows[i].offers);
		hears(t, "250 HELP\r\n");
		assert_int_equal(smtp_client_send(t->client, &rows[i].message, &err), rows[i].code);
		assert_int_equal(err.code, rows[i].code);
		/* The connection is as it was. */
		assert_int_equal(next_event(t), rows[i].code == 0 ? SMTP_CLIENT_MORE : SMTP_CLIENT_READY);
		assert_true((says(t)[0] == '\0') == (rows[i].code != 0));
		talk_free(&t);
	}
}

static void requiretls_is_said_over_tls(void **state)
{
	const struct smtp_client_message message = MESSAGE(.requiretls = true);
	struct smtp_client_config config = talk_config;
	struct talk *t;

	(void)state;
	config.tls_done = true;
	config.tls = SMTP_TLS_MUST;
	t = talk_new(&config);
	hears(t, "220 x\r\n250-x\r\n250 REQUIRETLS\r\n");
	assert_string_equal(sends(t, &message), "MAIL FROM:<s@here.example> REQUIRETLS\r\n");
	talk_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parameters_of_mail),
	    cmocka_unit_test(parameters_of_rcpt),
	    cmocka_unit_test(values_that_are_too_long_are_left_out),
	    cmocka_unit_test(messages_that_are_not_begun),
	    cmocka_unit_test(requiretls_is_said_over_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
