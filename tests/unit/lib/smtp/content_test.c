/* DATA and BDAT: limits, failures, chunks (RFC 3030); LMTP (RFC 2033). */
#include "tests/unit/lib/smtp/dialog.h"

#define ONE_RCPT "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@b.test>\r\n"

static struct dialog *begin(const struct smtp_server_config *config, const char *commands)
{
	struct dialog *d = dialog_new(config);

	say(d, config->lmtp ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
	say(d, commands);
	owner_saw(d);
	return d;
}

static int setup(void **state)
{
	*state = begin(&dialog_config, ONE_RCPT);
	return 0;
}

static int teardown(void **state)
{
	struct dialog *d = *state;

	dialog_free(&d);
	return 0;
}

/* Whatever was refused: the session goes on with the next message. */
static void assert_next_message_works(struct dialog *d)
{
	d->ready_code = d->data_code = d->done_code = 0;
	assert_string_equal(say(d, ONE_RCPT "DATA\r\nok\r\n.\r\n"), "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End with CR LF . CR LF\r\n250 2.0.0 queued\r\n");
	assert_span_equal(buf_span(&d->content), "ok\r\n");
}

/* ---- DATA ---- */

static char *message(const char *front, const char *line, int lines, const char *end)
{
	char *text = malloc(strlen(front) + strlen(line) * (size_t)lines + strlen(end) + 1);

	strcpy(text, front);
	for (int i = 0; i < lines; i++)
		strcat(text, line);
	return strcat(text, end);
}

/* Each is taken to its end, dropped and refused once; what the owner began it is told to give back. */
static void contents_that_are_refused(void **state)
{
	static const struct {
		const char *front, *line;
		int lines;
		int data_code;
		const char *reply;
	} rows[] = {
	    {"Subject: x\r\n\r\n", "0123456789\r\n", 90, 0, "552 5.3.4 The message is too large\r\n"},
	    {"Subject: 12345678\r\n\r\n", "01234567\r\n", 98, 0, "552 5.3.4 The message is too large\r\n"}, /* by one */
	    {"", "Received: from x\r\n", 4, 0, "554 5.4.6 Too many Received lines: the message is going in circles\r\n"},
	    {"", "received: by y;\r\n folded\r\n", 4, 0, "554 5.4.6 Too many Received lines: the message is going in circles\r\n"},
	    {"", "X-Long: 0123456789012345678901234567890123456789\r\n", 7, 0, "552 5.3.4 The header section is too large\r\n"},
	    {"Subject: x\r\n\r\n", "x\r\n", 1, E_NOSPACE, "452 4.3.1 no space left on disk\r\n"},
	    {"Subject: x\r\n\r\n", "x\r\n", 1, E_IO, "451 4.3.0 input/output error\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = begin(&dialog_config, ONE_RCPT);
		char *text = message(rows[i].front, rows[i].line, rows[i].lines, ".\r\n");

		d->data_code = rows[i].data_code;
		say(d, "DATA\r\n");
		assert_string_equal(say(d, text), rows[i].reply);
		assert_non_null(strstr(owner_saw(d), "begin abort refused("));
		assert_int_equal(d->event, SMTP_MORE);
		assert_next_message_works(d);
		dialog_free(&d);
		free(text);
	}
}

/* At the limit, not past it; and what looks like a header line in the body does not count. */
static void contents_at_their_limits(void **state)
{
	static const struct {
		const char *front, *line;
		int lines;
	} rows[] = {{"Subject: 12345\r\n\r\n", "01234567\r\n", 98}, {"", "Received: from x\r\n", 3}, {"\r\n", "Received: from x\r\n", 20}, {"", "XReceived: x\r\n", 5}, {"", " Received: x\r\n", 5}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = begin(&dialog_config, ONE_RCPT);
		char *text = message(rows[i].front, rows[i].line, rows[i].lines, "\r\n.\r\n");

		say(d, "DATA\r\n");
		assert_string_equal(say(d, text), "250 2.0.0 queued\r\n");
		assert_true(buf_len(&d->content) <= 1000);
		dialog_free(&d);
		free(text);
	}
}

/* Octet by octet the same limits hold: a line's beginning may come in any pieces. */
static void headers_in_small_pieces(void **state)
{
	struct dialog *d = *state;
	char *text = message("", "Received: from x\r\n", 4, "\r\n.\r\n");

	say(d, "DATA\r\n");
	for (const char *c = text; *c != '\0'; c++)
		dialog_say(d, span_of(c, 1));
	assert_string_equal(dialog_replies(d), "554 5.4.6 Too many Received lines: the message is going in circles\r\n");
	free(text);
}

static void no_place_for_the_content(void **state)
{
	struct dialog *d = *state;

	d->ready_code = E_NOSPACE;
	assert_string_equal(say(d, "DATA\r\n"), "452 4.3.1 no space left on disk\r\n");
	assert_string_equal(owner_saw(d), "begin refused(452) "); /* nothing to give back */
	assert_next_message_works(d);
}

static void the_owner_refuses_in_the_end(void **state)
{
	struct dialog *d = *state;

	d->done_code = E_BUSY;
	assert_string_equal(say(d, "DATA\r\nx\r\n.\r\n"), "354 End with CR LF . CR LF\r\n451 4.3.2 busy\r\n");
	assert_string_equal(owner_saw(d), "begin end(3) refused(451) "); /* it has finished with it itself */
	assert_next_message_works(d);
}

/* The end of a line that is too long is not known, and so nothing behind it can be trusted. */
static void a_text_line_without_end(void **state)
{
	struct smtp_server_config config = dialog_config;
	struct dialog *d;
	char *line = malloc(SMTP_TEXT_LINE_MAX + 10);

	(void)state;
	config.limits.message_size = 1000000;
	config.limits.header_size = 1000000;
	d = begin(&config, ONE_RCPT "DATA\r\n");
	memset(line, 'x', SMTP_TEXT_LINE_MAX + 9);
	line[SMTP_TEXT_LINE_MAX + 9] = '\0';
	assert_int_equal(strncmp(say(d, line), "554 5.6.0 ", 10), 0);
	assert_int_equal(d->event, SMTP_CLOSE);
	dialog_free(&d);
	free(line);
}

static void bare_line_ends_end_the_session(void **state)
{
	static const struct span rows[] = {SPAN_LIT("a\nb\r\n.\r\n"), SPAN_LIT("a\rb\r\n.\r\n"), SPAN_LIT("a\r\n.\nb\r\n"), SPAN_LIT("a\n.\r\n"), SPAN_LIT("a\0b\r\n.\r\n")};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = begin(&dialog_config, ONE_RCPT "DATA\r\n");

		dialog_say(d, rows[i]);
		assert_string_equal(dialog_replies(d), "550 5.5.2 Bare CR, bare LF or NUL in the message: only CR LF ends a line\r\n");
		assert_int_equal(d->event, SMTP_CLOSE);
		dialog_free(&d);
	}
}

/* ---- BDAT ---- */

static void a_message_in_chunks(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "BDAT 7\r\n.\r\nab\r\n"), "250 2.0.0 Ok\r\n"); /* a dot is a dot */
	assert_string_equal(say(d, "BDAT 0\r\nBDAT 2\r\ncd"), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
	assert_string_equal(say(d, "bdat 3 last\r\nefg"), "250 2.0.0 queued\r\n");
	assert_span_equal(buf_span(&d->content), ".\r\nab\r\ncdefg");
	assert_string_equal(owner_saw(d), "begin end(12) ");
	assert_next_message_works(d);
}

static void chunks_begin_and_end_a_message(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "BDAT 0 LAST\r\n"), "250 2.0.0 queued\r\n");
	assert_span_equal(buf_span(&d->content), "");
	assert_string_equal(say(d, "BDAT 3 LAST\r\nabc"), "503 5.5.1 BDAT is out of order: RCPT first\r\n"); /* "illegal after LAST" */
	say(d, ONE_RCPT "BDAT 3\r\nabc");
	assert_string_equal(say(d, "DATA\r\n"), "503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n");
	owner_saw(d);
	assert_string_equal(say(d, "RSET\r\n"), "250 2.0.0 Ok\r\n"); /* clears all chunks */
	assert_string_equal(owner_saw(d), "abort ");
	assert_next_message_works(d);
}

/* "MUST accept and discard the associated message data before sending the appropriate code". */
static void chunks_that_fail(void **state)
{
	static const struct {
		const char *say, *replies;
		int data_code, ready_code;
	} rows[] = {
	    {"BDAT 7\r\nNOOP\r\n!NOOP\r\n", "451 4.3.0 input/output error\r\n250 2.0.0 Ok\r\n", E_IO, 0},
	    {"BDAT 7 LAST\r\nNOOP\r\n!NOOP\r\n", "451 4.3.0 input/output error\r\n250 2.0.0 Ok\r\n", E_IO, 0},
	    {"BDAT 6\r\nNOOP\r\nNOOP\r\n", "452 4.3.1 no space left on disk\r\n250 2.0.0 Ok\r\n", 0, E_NOSPACE},
	    {"BDAT 0\r\nNOOP\r\n", "452 4.3.1 no space left on disk\r\n250 2.0.0 Ok\r\n", 0, E_NOSPACE},
	    /* and those that were already on their way */
	    {"BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n", "451 4.3.0 input/output error\r\n503 5.5.1 BDAT is out of order: RCPT first\r\n250 2.0.0 Ok\r\n", E_IO, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = begin(&dialog_config, ONE_RCPT);

		d->data_code = rows[i].data_code;
		d->ready_code = rows[i].ready_code;
		assert_string_equal(say(d, rows[i].say), rows[i].replies);
		assert_next_message_works(d);
		dialog_free(&d);
	}
}

static void chunks_that_are_too_large(void **state)
{
	struct dialog *d = *state;
	char octets[1100];

	memset(octets, 'N', sizeof(octets));
	/* Just past the limit: thrown away, and the session goes on. */
	say(d, "BDAT 1\r\nx");
	say(d, "BDAT 1000\r\n");
	dialog_say(d, span_of(octets, 999));
	assert_string_equal(dialog_replies(d), "");
	dialog_say(d, span_of(octets, 1));
	assert_string_equal(dialog_replies(d), "552 5.3.4 The message is too large\r\n");
	assert_int_equal(d->event, SMTP_MORE);
	assert_next_message_works(d);
	/* Far past it: not worth its time. */
	assert_string_equal(say(d, ONE_RCPT "BDAT 100000\r\n"), "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n552 5.3.4 The message is too large\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
}

static void chunks_of_no_known_size(void **state)
{
	static const char *const bad[] = {"BDAT\r\n", "BDAT x\r\n", "BDAT -1\r\n", "BDAT 1x\r\n", "BDAT 1 LASTING\r\n", "BDAT 1 LAST LAST\r\n", "BDAT LAST\r\n", "BDAT 99999999999999999999\r\n", "BDAT  1\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dialog *d = begin(&dialog_config, ONE_RCPT);

		assert_string_equal(say(d, bad[i]), "501 5.5.4 BDAT takes a size and perhaps LAST\r\n421 4.7.0 The size of the chunk is not known, closing\r\n");
		assert_int_equal(d->event, SMTP_CLOSE);
		dialog_free(&d);
	}
}

/* RFC 3030 section 3: only with BDAT. */
static void binary_goes_in_chunks(void **state)
{
	struct dialog *d = begin(&dialog_config, "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<x@b.test>\r\n");

	(void)state;
	assert_int_equal(smtp_server_transaction(d->server)->body, SMTP_BODY_BINARYMIME);
	assert_string_equal(say(d, "DATA\r\n"), "503 5.5.1 BINARYMIME goes with BDAT only\r\n");
	dialog_say(d, SPAN_LIT("BDAT 5 LAST\r\n\0\r\n\n\xff"));
	assert_string_equal(dialog_replies(d), "250 2.0.0 queued\r\n");
	assert_true(span_eq(buf_span(&d->content), SPAN_LIT("\0\r\n\n\xff")));
	dialog_free(&d);
}

/* ---- LMTP ---- */

static struct smtp_server_config lmtp_config(void)
{
	struct smtp_server_config config = dialog_config;

	config.lmtp = true;
	return config;
}

#define THREE_RCPT "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@b.test>\r\nRCPT TO:<no@b.test>\r\nRCPT TO:<y@b.test>\r\nRCPT TO:<x@b.test>\r\n"

/* RFC 2033 section 4.1: LHLO in place of HELO and EHLO. */
static void lmtp_has_its_own_hello(void **state)
{
	struct smtp_server_config config = lmtp_config();
	struct dialog *d = dialog_new(&config);

	(void)state;
	smtp_server_greet(d->server);
	assert_string_equal(dialog_replies(d), "220 mx.example LMTP Mailwain\r\n");
	assert_string_equal(say(d, "HELO a\r\n"), "500 this is LMTP: say LHLO\r\n");
	assert_string_equal(say(d, "EHLO a\r\n"), "500 this is LMTP: say LHLO\r\n");
	assert_non_null(strstr(say(d, "LHLO a\r\n"), "250-PIPELINING\r\n")); /* section 5: MUST */
	assert_string_equal(say(d, "HELP\r\n"), "214 2.0.0 LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS; see RFC 2033\r\n");
	dialog_free(&d);
	d = dialog_new(&dialog_config);
	assert_string_equal(say(d, "HELP MAIL\r\n"), "214 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS; see RFC 5321\r\n");
	dialog_free(&d);
}

/* Section 4.2: one reply for each RCPT that was accepted, in their order, also when they name the same mailbox. */
static void lmtp_answers_for_each_recipient(void **state)
{
	struct smtp_server_config config = lmtp_config();
	struct dialog *d = begin(&config, THREE_RCPT);

	(void)state;
	d->manual = true;
	assert_string_equal(say(d, "DATA\r\n"), "");
	smtp_server_data_ready(d->server, 0, NULL);
	assert_string_equal(dialog_replies(d), "354 End with CR LF . CR LF\r\n");
	assert_string_equal(say(d, "x\r\n.\r\n"), "");
	smtp_server_data_done(d->server, 0, SPAN_LIT("first"));
	smtp_server_data_done(d->server, E_OVERQUOTA, SPAN_LIT("second"));
	assert_true(smtp_server_waits(d->server));
	smtp_server_data_done(d->server, 0, SPAN_LIT("third"));
	assert_false(smtp_server_waits(d->server));
	assert_string_equal(dialog_replies(d), "250 2.0.0 first\r\n452 4.2.2 second\r\n250 2.0.0 third\r\n");
	dialog_free(&d);
	/* "503 to DATA without a recipient" */
	d = begin(&config, "MAIL FROM:<a@b.test>\r\nRCPT TO:<no@b.test>\r\n");
	assert_string_equal(say(d, "DATA\r\n"), "503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n");
	dialog_free(&d);
}

static void lmtp_refuses_for_each_recipient(void **state)
{
	struct smtp_server_config config = lmtp_config();
	struct dialog *d = begin(&config, THREE_RCPT "DATA\r\n");

	(void)state;
	d->data_code = E_IO;
	assert_string_equal(say(d, "x\r\n.\r\n"), "451 4.3.0 input/output error\r\n451 4.3.0 input/output error\r\n451 4.3.0 input/output error\r\n");
	dialog_free(&d);
	/* The answer to DATA itself is one. */
	d = begin(&config, THREE_RCPT);
	d->ready_code = E_IO;
	assert_string_equal(say(d, "DATA\r\n"), "451 4.3.0 input/output error\r\n");
	dialog_free(&d);
}

/* Section 4.3: BDAT LAST is answered for each recipient; without LAST "they still return exactly one reply". */
static void lmtp_answers_to_chunks(void **state)
{
	struct smtp_server_config config = lmtp_config();
	struct dialog *d = begin(&config, THREE_RCPT);

	(void)state;
	assert_string_equal(say(d, "BDAT 3\r\nabc"), "250 2.0.0 Ok\r\n");
	d->data_code = E_IO;
	assert_string_equal(say(d, "BDAT 3\r\nabc"), "451 4.3.0 input/output error\r\n");
	dialog_free(&d);
	d = begin(&config, THREE_RCPT);
	d->data_code = E_IO;
	assert_string_equal(say(d, "BDAT 3 LAST\r\nabc"), "451 4.3.0 input/output error\r\n451 4.3.0 input/output error\r\n451 4.3.0 input/output error\r\n");
	dialog_free(&d);
	d = begin(&config, THREE_RCPT);
	d->ready_code = E_IO;
	assert_string_equal(say(d, "BDAT 3\r\nabc"), "451 4.3.0 input/output error\r\n");
	dialog_free(&d);
	/* "If there were no previously successful RCPT commands ... the BDAT LAST command returns zero replies." */
	d = begin(&config, "MAIL FROM:<a@b.test>\r\nRCPT TO:<no@b.test>\r\n");
	assert_string_equal(say(d, "BDAT 3 LAST\r\nabc"), "");
	assert_next_message_works(d);
	assert_string_equal(say(d, "BDAT 3 LAST\r\nabc"), "503 5.5.1 BDAT is out of order: RCPT first\r\n"); /* no transaction at all */
	dialog_free(&d);
}

/* ---- memory ---- */

/* Recipients take memory of their transaction: it has an end, and the session goes on. */
static void recipients_have_a_bound(void **state)
{
	static const size_t lengths[] = {1, 60, 470};
	struct smtp_server_config config = dialog_config;
	char command[800], orcpt[480];

	(void)state;
	config.limits.recipients = UINT32_MAX;
	for (size_t i = 0; i < 3; i++) {
		struct dialog *d = begin(&config, "MAIL FROM:<a@b.test>\r\n");
		const char *reply;

		memset(orcpt, 'o', sizeof(orcpt));
		snprintf(command, sizeof(command), "RCPT TO:<x@b.test> ORCPT=rfc822;%.*s\r\n", (int)lengths[i], orcpt);
		do
			reply = say(d, command);
		while (strcmp(reply, "250 2.1.5 Ok\r\n") == 0);
		assert_int_equal(strncmp(reply, "452 4.5.3 The recipients", 24), 0);
		assert_true(smtp_server_transaction(d->server)->recipient_count > 4000);
		assert_string_equal(say(d, "DATA\r\nx\r\n.\r\n"), "354 End with CR LF . CR LF\r\n250 2.0.0 queued\r\n");
		assert_next_message_works(d);
		dialog_free(&d);
	}
}

/* RFC 6531 section 3.5: what of it a host without SMTPUTF8 may not get, octet by octet and at once. */
static void what_needs_smtputf8(void **state)
{
	static const struct {
		const char *mail, *content;
		bool needs;
	} rows[] = {
	    {" SMTPUTF8", "Subject: x\r\n\r\nx\r\n", false},
	    {" SMTPUTF8", "Subject: \303\266\r\n\r\nx\r\n", true},
	    {" SMTPUTF8", "X: 0123456789012345678901234567890123456789\303\266\r\n\r\nx\r\n", true},
	    {" SMTPUTF8", "Subject: x\r\n \303\266\r\n\r\nx\r\n", true},
	    {" SMTPUTF8", "Subject: x\r\n\r\n\303\266\r\n", false},
	    {" SMTPUTF8", "Content-Type: text/plain; charset=utf-8\r\n\r\n\303\266\r\n", false},
	    {" SMTPUTF8", "content-type:multipart/mixed\r\n\r\n--x\r\nContent-Description: \303\266\r\n", true},
	    {" SMTPUTF8", "Content-Type:\r\n message/rfc822\r\n\r\nSubject: \303\266\r\n", true},
	    {" SMTPUTF8", "Content-Type: multipart/mixed\r\n\r\n--x\r\nContent-Description: o\r\n", false},
	    {"", "Subject: \303\266\r\n\r\nx\r\n", false}, /* as ever: who does not ask is not asked for */
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		const char *content = rows[i / 2].content;
		size_t len = strlen(content), step = i % 2 == 0 ? len : 1;
		struct dialog *d = dialog_new(&dialog_config);
		char text[100];

		say(d, "EHLO client.test\r\n");
		snprintf(text, sizeof(text), "MAIL FROM:<a@b.test>%s\r\nRCPT TO:<x@b.test>\r\nDATA\r\n", rows[i / 2].mail);
		say(d, text);
		for (size_t at = 0; at < len; at += step)
			dialog_say(d, span_of(content + at, step));
		d->manual = true;
		say(d, ".\r\n");
		if (smtp_server_transaction(d->server)->utf8_content != rows[i / 2].needs)
			fail_msg("row %zu", i);
		d->manual = false;
		smtp_server_data_done(d->server, 0, span_str("queued"));
		dialog_free(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_needs_smtputf8),
	    cmocka_unit_test(contents_that_are_refused),
	    cmocka_unit_test(contents_at_their_limits),
	    cmocka_unit_test_setup_teardown(headers_in_small_pieces, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_place_for_the_content, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_owner_refuses_in_the_end, setup, teardown),
	    cmocka_unit_test(a_text_line_without_end),
	    cmocka_unit_test(bare_line_ends_end_the_session),
	    cmocka_unit_test_setup_teardown(a_message_in_chunks, setup, teardown),
	    cmocka_unit_test_setup_teardown(chunks_begin_and_end_a_message, setup, teardown),
	    cmocka_unit_test(chunks_that_fail),
	    cmocka_unit_test_setup_teardown(chunks_that_are_too_large, setup, teardown),
	    cmocka_unit_test(chunks_of_no_known_size),
	    cmocka_unit_test(binary_goes_in_chunks),
	    cmocka_unit_test(lmtp_has_its_own_hello),
	    cmocka_unit_test(lmtp_answers_for_each_recipient),
	    cmocka_unit_test(lmtp_refuses_for_each_recipient),
	    cmocka_unit_test(lmtp_answers_to_chunks),
	    cmocka_unit_test(recipients_have_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
