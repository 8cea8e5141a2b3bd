/* The SMTP engine: whole conversations. */
#include "tests/unit/lib/smtp/dialog.h"

static int setup(void **state)
{
	struct dialog *d = dialog_new(&dialog_config);

	say(d, "EHLO client.example\r\n");
	*state = d;
	return 0;
}

static int setup_new(void **state)
{
	*state = dialog_new(&dialog_config);
	return 0;
}

static int teardown(void **state)
{
	struct dialog *d = *state;

	dialog_free(&d);
	return 0;
}

static void a_message_from_hello_to_quit(void **state)
{
	struct dialog *d = *state;

	smtp_server_greet(d->server);
	assert_string_equal(dialog_replies(d), "220 mx.example ESMTP Mailwain\r\n");
	assert_string_equal(say(d, "EHLO client.example\r\n"),
	    "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
	    "250-BINARYMIME\r\n250-DSN\r\n250-LIMITS RCPTMAX=4\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n");
	assert_span_equal(smtp_server_helo(d->server), "client.example");
	assert_true(smtp_server_extended(d->server));
	assert_string_equal(say(d, "MAIL FROM:<a@example.org> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=x+2By\r\n"), "250 2.1.0 Ok\r\n");
	assert_span_equal(smtp_server_transaction(d->server)->sender, "a@example.org");
	assert_int_equal(smtp_server_transaction(d->server)->body, SMTP_BODY_8BITMIME);
	assert_int_equal(smtp_server_transaction(d->server)->ret, 2);
	assert_span_equal(smtp_server_transaction(d->server)->envid, "x+y");
	assert_string_equal(say(d, "RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+40example.net\r\n"), "250 2.1.5 Ok\r\n");
	assert_string_equal(say(d, "RCPT TO:<nobody@example.net>\r\n"), "550 5.1.1 <nobody@example.net>: not found\r\n");
	assert_string_equal(say(d, "RCPT TO:<later@example.net>\r\n"), "451 4.3.2 <later@example.net>: busy\r\n");
	assert_int_equal(smtp_server_transaction(d->server)->recipient_count, 1);
	assert_int_equal(smtp_server_transaction(d->server)->recipients->notify, 10);
	assert_span_equal(smtp_server_transaction(d->server)->recipients->orcpt, "rfc822;b@example.net");
	assert_ptr_equal(smtp_server_transaction(d->server)->recipients->owner, d);
	assert_string_equal(say(d, "DATA\r\n"), "354 End with CR LF . CR LF\r\n");
	assert_true(smtp_server_in_content(d->server));
	assert_string_equal(say(d, "Subject: x\r\n\r\n..dot\r\n.\r\n"), "250 2.0.0 queued\r\n");
	assert_span_equal(buf_span(&d->content), "Subject: x\r\n\r\n.dot\r\n");
	assert_false(smtp_server_in_content(d->server));
	assert_null(smtp_server_transaction(d->server));
	assert_string_equal(owner_saw(d), "rcpt(b@example.net) rcpt(nobody@example.net) refused(550) rcpt(later@example.net) refused(451) "
	    "begin end(20) ");
	assert_string_equal(say(d, "QUIT\r\n"), "221 2.0.0 Bye\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
}

static void an_old_client_is_served_without_extensions(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "HELO [192.0.2.1]\r\n"), "250 mx.example\r\n");
	assert_false(smtp_server_extended(d->server));
	assert_string_equal(say(d, "MAIL FROM:<> SIZE=1\r\n"), "555 MAIL: parameters need EHLO\r\n");
	assert_string_equal(say(d, "mail from: <>\r\n"), "250 Ok\r\n");
	assert_string_equal(say(d, "rcpt to:<postmaster>\r\n"), "250 Ok\r\n");
	assert_string_equal(say(d, "DATA\r\n.\r\n"), "354 End with CR LF . CR LF\r\n250 queued\r\n");
}

static void the_order_of_commands_is_kept(void **state)
{
	static const struct {
		const char *before, *command, *reply;
	} rows[] = {
	    {"", "MAIL FROM:<a@b>\r\n", "503 MAIL is out of order: EHLO first, and one transaction at a time\r\n"},
	    {"", "RCPT TO:<a@b>\r\n", "503 RCPT is out of order: MAIL first\r\n"},
	    {"", "DATA\r\n", "503 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n"},
	    {"", "RSET\r\n", "250 Ok\r\n"},
	    {"", "NOOP x\r\n", "250 Ok\r\n"},
	    {"", "VRFY a\r\n", "252 Send a message and see\r\n"},
	    {"", "EHLO\r\n", "501 EHLO takes your host name or an address literal\r\n"},
	    {"", "EHLO a b\r\n", "501 EHLO takes your host name or an address literal\r\n"},
	    {"EHLO a\r\n", "RCPT TO:<a@b>\r\n", "503 5.5.1 RCPT is out of order: MAIL first\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\n", "MAIL FROM:<a@b>\r\n",
		"503 5.5.1 MAIL is out of order: EHLO first, and one transaction at a time\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\n", "DATA\r\n", "503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@b>\r\n", "DATA\r\n",
		"503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n", "DATA x\r\n", "501 5.5.4 DATA takes no argument\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nRSET\r\n", "DATA\r\n",
		"503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n"},
	    {"EHLO a\r\nMAIL FROM:<a@b>\r\nHELO b\r\n", "RCPT TO:<a@b>\r\n", "503 RCPT is out of order: MAIL first\r\n"},
	    {"EHLO a\r\n", "RSET x\r\n", "501 5.5.4 RSET takes no argument\r\n"},
	    {"EHLO a\r\n", "LHLO x\r\n", "500 5.5.1 this is SMTP: say EHLO\r\n"},
	    {"EHLO a\r\n", "EXPN x\r\n", "502 5.5.1 EXPN is not offered\r\n"},
	    {"EHLO a\r\n", "VRFY\r\n", "501 5.5.4 VRFY takes an address\r\n"},
	    {"EHLO a\r\n", "AUTH PLAIN x\r\n", "502 5.5.1 no logins on this port; submit mail on 587 or 465\r\n"},
	    {"EHLO a\r\n", "\r\n", "500 5.5.2 Unknown command ''\r\n"},
	    {"EHLO a\r\n", " NOOP\r\n", "500 5.5.2 Unknown command ''\r\n"},
	    {"EHLO a\r\n", "GET / HTTP/1.1\r\n", "500 5.5.2 Unknown command 'GET'\r\n"},
	    {"EHLO a\r\n", "NOOP\t\r\n", "500 5.5.2 Unknown command 'NOOP?'\r\n"},
	    {"EHLO a\r\n", "\377\r\n", "500 5.5.2 The command is not UTF-8\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = dialog_new(&dialog_config);

		say(d, rows[i].before);
		assert_string_equal(say(d, rows[i].command), rows[i].reply);
		assert_int_equal(d->event, SMTP_MORE);
		dialog_free(&d);
	}
}

static void parameters_are_checked(void **state)
{
	static const struct {
		const char *command, *reply;
	} rows[] = {
	    {"MAIL FROM:<a@b> SIZE=1000\r\n", "250"}, {"MAIL FROM:<a@b> SIZE=1001\r\n", "552 5.3.4"},
	    {"MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "552 5.3.4"}, {"MAIL FROM:<a@b> SIZE=999999999999999999999\r\n", "501"},
	    {"MAIL FROM:<a@b> SIZE=\r\n", "501"}, {"MAIL FROM:<a@b> SIZE\r\n", "501"}, {"MAIL FROM:<a@b> SIZE=-1\r\n", "501"},
	    {"MAIL FROM:<a@b> SIZE=1 SIZE=1\r\n", "501"}, {"MAIL FROM:<a@b> BODY=9BIT\r\n", "501"},
	    {"MAIL FROM:<a@b> body=7bit smtputf8\r\n", "250"}, {"MAIL FROM:<a@b> BODY=7BIT BODY=7BIT\r\n", "501"},
	    {"MAIL FROM:<a@b> SMTPUTF8=1\r\n", "501"}, {"MAIL FROM:<a@b> RET=NONE\r\n", "501"}, {"MAIL FROM:<a@b> RET=FULL\r\n", "250"},
	    {"MAIL FROM:<a@b> ENVID=a+2\r\n", "501"}, {"MAIL FROM:<a@b> ENVID=a+2b\r\n", "501"}, {"MAIL FROM:<a@b> ENVID=a+2B\r\n", "250"},
	    {"MAIL FROM:<a@b> ENVID=\r\n", "501"}, {"MAIL FROM:<a@b> X=1\r\n", "555"}, {"MAIL FROM:<a@b> AUTH=<>\r\n", "555"},
	    {"MAIL FROM:<a@b>SIZE=1\r\n", "501"}, {"MAIL FROM:a@b\r\n", "501"}, {"MAIL TO:<a@b>\r\n", "501"}, {"MAIL\r\n", "501"},
	    {"MAIL FROM:<j\303\266@b>\r\n", "553 5.6.7"}, {"MAIL FROM:<j\303\266@b> SMTPUTF8\r\n", "250"},
	    {"MAIL FROM:<\"> SMTPUTF8 \303\266\"@b>\r\n", "553 5.6.7"}, {"MAIL FROM:<postmaster>\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<>\r\n", "501 5.1.3"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n", "250"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=NEVER,DELAY\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=DELAY,DELAY\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> NOTIFY=DELAY,\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=;x\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=+3B;x\r\n", "501"}, {"MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<a@b> ORCPT=+3B;x\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;a+4\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;a+00b\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;a+0D+0A\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;+7F\r\n", "501"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> ORCPT=rfc822;+C3+B6\r\n", "250"},
	    {"MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<a@b> ORCPT=utf-8;a+00b\r\n", "501"}, {"MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<a@b> ORCPT=utf-8;a\1b\r\n", "501"},
	    {"MAIL FROM:<a@b> ENVID=a+00\r\n", "501"}, {"MAIL FROM:<a@b> ENVID=a+1F\r\n", "501"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<j\303\266@b>\r\n", "553 5.6.7"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b> X\r\n", "555"},
	    {"MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<j\303\266@b>\r\n", "250"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *d = dialog_new(&dialog_config);
		const char *replies, *last;

		say(d, "EHLO a\r\n");
		replies = say(d, rows[i].command);
		last = strchr(strchr(rows[i].command, '\n') + 1, '\n') ? strchr(replies, '\n') + 1 : replies;
		if (strncmp(last, rows[i].reply, strlen(rows[i].reply)) != 0)
			fail_msg("%s -> %s", rows[i].command, replies);
		assert_int_equal(d->event, SMTP_MORE);
		dialog_free(&d);
	}
}

/* With SMTPUTF8 an ORCPT need not be xtext: what looks like the beginning of an escape is text. */
static void escapes_that_are_none_stay(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "MAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<a@b> ORCPT=utf-8;a+\r\nRCPT TO:<a@b> ORCPT=utf-8;+4z+41+\303\266\r\n"),
	    "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n");
	assert_span_equal(smtp_server_transaction(d->server)->recipients->orcpt, "utf-8;a+");
	assert_span_equal(smtp_server_transaction(d->server)->recipients->next->orcpt, "utf-8;+4zA+\303\266");
}

static const char closing[] = "421 4.7.0 What follows the refused DATA is no command, closing\r\n";

/* RFC 2920 section 3.1: a client waits for the answer to DATA. The text of one that did not ends the session at its first line. */
static void text_behind_a_refused_data_is_no_command(void **state)
{
	static const struct {
		const char *before, *data, *reply;
	} rows[] = {
	    {"MAIL FROM:<a@b>\r\n", "DATA\r\n", "503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n"},
	    {"MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n", "DATA x\r\n", "501 5.5.4 DATA takes no argument\r\n"},
	    {"MAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\n", "DATA\r\n", "503 5.5.1 BINARYMIME goes with BDAT only\r\n"},
	};
	static const char *const texts[] = {"Subject: x\r\nRSET\r\n", "\r\nRSET\r\n", ".\r\nRSET\r\n", "\xff\r\nRSET\r\n"};
	enum { ROWS = sizeof(rows) / sizeof(rows[0]), TEXTS = sizeof(texts) / sizeof(texts[0]) };

	(void)state;
	for (size_t i = 0; i < 2 * ROWS * TEXTS; i++) {
		size_t row = i / 2 % ROWS, text = i / 2 / ROWS;
		struct dialog *d = dialog_new(&dialog_config);
		char all[200], expected[200];

		say(d, "EHLO a\r\n");
		say(d, rows[row].before);
		snprintf(all, sizeof(all), "%s%s", rows[row].data, texts[text]);
		snprintf(expected, sizeof(expected), "%s%s", rows[row].reply, closing);
		if (i % 2 == 0) {
			assert_string_equal(say(d, all), expected);
		} else { /* in two segments the same */
			assert_string_equal(say(d, rows[row].data), rows[row].reply);
			assert_string_equal(say(d, texts[text]), closing);
		}
		assert_int_equal(d->event, SMTP_CLOSE);
		dialog_free(&d);
	}
}

/* Refused after a while: there is no place for the content. */
static void text_behind_a_data_refused_late(void **state)
{
	static const char *const texts[] = {"Subject: x\r\nRSET\r\n", "RSET\r\n"};
	struct err err;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct dialog *d = dialog_new(&dialog_config);
		const char *text = texts[i / 2];

		d->manual = true;
		say(d, "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
		smtp_server_rcpt_done(d->server, 0, NULL, NULL);
		dialog_replies(d);
		say(d, "DATA\r\n");
		if (i % 2 == 0)
			assert_string_equal(say(d, text), "");
		err_set(&err, E_NOSPACE, "full");
		smtp_server_data_ready(d->server, E_NOSPACE, &err);
		assert_string_equal(dialog_replies(d), "452 4.3.1 full\r\n");
		assert_string_equal(say(d, i % 2 == 0 ? "" : text), i < 2 ? closing : "250 2.0.0 Ok\r\n");
		assert_int_equal(d->event, i < 2 ? SMTP_CLOSE : SMTP_MORE);
		dialog_free(&d);
	}
}

/* One that waited goes on with a command, whatever it is; and then the session is as any other. */
static void a_command_behind_a_refused_data(void **state)
{
	struct dialog *d = *state;

	say(d, "MAIL FROM:<a@b>\r\n");
	assert_string_equal(say(d, "DATA\r\nRCPT TO:<a@b>\r\nhello\r\nDATA\r\n.\r\n"),
	    "503 5.5.1 DATA is out of order: RCPT first, and DATA does not go with BDAT\r\n250 2.1.5 Ok\r\n"
	    "500 5.5.2 Unknown command 'hello'\r\n354 End with CR LF . CR LF\r\n250 2.0.0 queued\r\n");
}

/* Commands that bring no mail are answered a hundred times, then no more; a message begins the count anew. */
static void asking_without_end_ends_the_session(void **state)
{
	struct dialog *d = *state;

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 24; i++)
			assert_string_equal(say(d, "NOOP\r\nRSET\r\nVRFY x\r\nEHLO y\r\n") + strlen("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"),
			    "252 2.5.0 Send a message and see\r\n250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
			    "250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-LIMITS RCPTMAX=4\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n");
		say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
		assert_string_equal(say(d, ".\r\n"), "250 2.0.0 queued\r\n");
	}
	for (int i = 0; i < 100; i++)
		assert_string_equal(say(d, "NOOP\r\n"), "250 2.0.0 Ok\r\n");
	assert_string_equal(say(d, "NOOP\r\nNOOP\r\n"), "421 4.7.0 Too many commands without a message, closing\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
}

static void limits_are_told(void **state)
{
	struct dialog *d = *state;
	char long_line[SMTP_LINE_MAX + 10] = "NOOP ";

	say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\nRCPT TO:<no@b>\r\nRCPT TO:<3@b>\r\nRCPT TO:<4@b>\r\n");
	assert_string_equal(say(d, "RCPT TO:<5@b>\r\n"), "452 4.5.3 More than 4 recipients\r\n");
	assert_int_equal(smtp_server_transaction(d->server)->recipient_count, 4);
	memset(long_line + 5, 'x', SMTP_LINE_MAX - 7);
	strcpy(long_line + SMTP_LINE_MAX - 2, "\r\n");
	assert_string_equal(say(d, long_line), "250 2.0.0 Ok\r\n");
	strcpy(long_line + SMTP_LINE_MAX - 2, "x\r\n");
	assert_string_equal(say(d, long_line), "500 5.5.2 Line longer than 2048 octets\r\n");
	assert_int_equal(d->event, SMTP_MORE);
}

/* A line that is too long is refused at its end, whatever pieces it comes in; one without an end is not waited for. */
static void long_lines_are_refused_at_their_end(void **state)
{
	struct dialog *d = *state;
	char part[1000];

	memset(part, 'x', sizeof(part));
	for (int i = 0; i < 5; i++) {
		dialog_say(d, span_of(part, sizeof(part)));
		assert_string_equal(dialog_replies(d), "");
		assert_true(buf_len(&d->input) <= SMTP_LINE_MAX);
	}
	assert_string_equal(say(d, "x\r"), "");
	assert_string_equal(say(d, "\nNOOP\r\n"), "500 5.5.2 Line longer than 2048 octets\r\n250 2.0.0 Ok\r\n");
	for (int i = 0; i < SMTP_ENDLESS_LINE / 1000; i++) {
		dialog_say(d, span_of(part, sizeof(part)));
		assert_int_equal(d->event, SMTP_MORE);
	}
	dialog_say(d, span_of(part, sizeof(part)));
	assert_string_equal(dialog_replies(d), "500 5.5.2 Line too long\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
}

/* The same message at once and octet by octet: limits are reached at the same place, with the same answer. */
static void limits_do_not_depend_on_segments(void **state)
{
	static const char *const rows[] = {
	    "DATA\r\nX: 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 "
	    "123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456789 "
	    "123456789 123456789 123456789 123456789 123456789 1\r\n\r\n.\r\n",
	    "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\nX: y\r\n\r\n.\r\n",
	    "BDAT 16 LAST\r\nReceiv\red: 1\r\n\r\n", "BDAT 7 LAST\r\na: b\r\r\n", "BDAT 1500 LAST\r\nNOOP\r\n", "BDAT 1500\r\nQUIT\r\n",
	    "DATA\r\na\rb\r\n.\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dialog *one = dialog_new(&dialog_config), *other = dialog_new(&dialog_config);
		static const char front[] = "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n";

		say(one, front);
		say(other, front);
		dialog_say(one, span_str(rows[i]));
		for (const char *at = rows[i]; *at != '\0'; at++)
			dialog_say(other, span_of(at, 1));
		assert_string_equal(dialog_replies(one), dialog_replies(other));
		assert_string_equal(owner_saw(one), owner_saw(other));
		assert_int_equal(one->event, other->event);
		dialog_free(&one);
		dialog_free(&other);
	}
}

/* Deliveries that fail are no errors of the client; that there were too many of those is said when all recipients have their answer. */
static void lmtp_answers_for_all_before_it_closes(void **state)
{
	struct smtp_server_config config = dialog_config;
	struct dialog *d;

	(void)state;
	config.lmtp = true;
	config.limits.errors = 2;
	d = dialog_new(&config);
	d->manual = true;
	say(d, "LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\n");
	smtp_server_rcpt_done(d->server, 0, NULL, NULL);
	say(d, "RCPT TO:<2@b>\r\n");
	smtp_server_rcpt_done(d->server, 0, NULL, NULL);
	say(d, "RCPT TO:<3@b>\r\n");
	smtp_server_rcpt_done(d->server, 0, NULL, NULL);
	say(d, "DATA\r\n");
	smtp_server_data_ready(d->server, 0, NULL);
	say(d, "x\r\n.\r\n");
	owner_saw(d);
	for (int i = 0; i < 3; i++) {
		assert_true(smtp_server_waits(d->server));
		smtp_server_data_done(d->server, E_OVERQUOTA, SPAN_LIT("full"));
	}
	assert_string_equal(dialog_replies(d), "452 4.2.2 full\r\n452 4.2.2 full\r\n452 4.2.2 full\r\n");
	assert_string_equal(owner_saw(d), "refused(452) refused(452) refused(452) ");
	say(d, "");
	assert_int_equal(d->event, SMTP_MORE);
	dialog_free(&d);

	config.limits.errors = 1;
	d = dialog_new(&config);
	say(d, "LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\n");
	assert_string_equal(say(d, "BDAT 1001 LAST\r\n"),
	    "552 5.3.4 The message is too large\r\n552 5.3.4 The message is too large\r\n421 4.7.0 Too many errors, closing\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
	dialog_free(&d);
}

static void too_many_errors_end_the_session(void **state)
{
	struct dialog *d = *state;

	for (int i = 0; i < 9; i++)
		assert_string_equal(say(d, "FOO\r\n"), "500 5.5.2 Unknown command 'FOO'\r\n");
	assert_string_equal(say(d, "FOO\r\nNOOP\r\n"), "500 5.5.2 Unknown command 'FOO'\r\n421 4.7.0 Too many errors, closing\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
	assert_string_equal(say(d, "NOOP\r\n"), "");
	assert_int_equal(d->event, SMTP_CLOSE);
}

/* The last error in every place where one can happen: nothing is used after its end. */
static void the_last_error_may_come_anywhere(void **state)
{
	static const char *const rows[] = {"MAIL FROM:<a@b> X\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<no@b>\r\n", "MAIL FROM:<a@b>\r\nRCPT TO:<>\r\n",
	    "BDAT x\r\n", "BDAT 3\r\nabc", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 0 LAST\r\n", "BDAT 999999\r\n", "BDAT 0 LAST\r\n",
	    "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n", "EHLO -\r\n", "STARTTLS x\r\n"};
	struct smtp_server_config config = dialog_config;

	(void)state;
	config.limits.errors = 1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int way = 0; way < 2; way++) {
			struct dialog *d = dialog_new(&config);
			const char *replies;

			d->done_code = E_CONTENT;
			d->ready_code = way == 0 ? 0 : E_CANNOT;
			say(d, "EHLO a\r\n");
			replies = say(d, rows[i]);
			if (strstr(replies, "421 4.7.0") == NULL && strstr(replies, "552") == NULL)
				fail_msg("%s -> %s", rows[i], replies);
			assert_int_equal(d->event, SMTP_CLOSE);
			dialog_free(&d);
		}
}

/* A full disk is no error of the client's: however often it tries, the session stays. */
static void our_own_troubles_are_not_counted(void **state)
{
	struct smtp_server_config config = dialog_config;
	struct dialog *d;

	(void)state;
	config.limits.errors = 1;
	d = dialog_new(&config);
	d->ready_code = E_NOSPACE;
	say(d, "EHLO a\r\n");
	for (int i = 0; i < 10; i++) {
		const char *replies = say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n");

		if (strstr(replies, "452 4.3.1") == NULL)
			fail_msg("%s", replies);
		assert_int_equal(d->event, SMTP_MORE);
	}
	dialog_free(&d);
}

static void outside_text_cannot_end_a_reply(void **state)
{
	struct dialog *d = *state;
	struct err err;

	d->manual = true;
	say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
	err_set(&err, E_DENIED, "a");
	strcpy(err.text, "x\r\n250 ok\200");
	smtp_server_rcpt_done(d->server, E_DENIED, &err, NULL);
	assert_string_equal(dialog_replies(d), "550 5.7.1 <a@b>: x??250 ok?\r\n");
}

static void answers_may_come_later(void **state)
{
	struct dialog *d = *state;
	struct err err = {0};

	d->manual = true;
	assert_string_equal(say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<x@b>\r\nRCPT TO:<y@b>\r\nDATA\r\nhello\r\n.\r\nNOOP\r\n"), "250 2.1.0 Ok\r\n");
	assert_true(smtp_server_waits(d->server));
	assert_string_equal(say(d, ""), "");
	smtp_server_rcpt_done(d->server, 0, NULL, NULL);
	assert_string_equal(say(d, ""), "250 2.1.5 Ok\r\n");
	assert_span_equal(smtp_server_asked(d->server), "y@b");
	smtp_server_rcpt_done(d->server, 0, NULL, NULL);
	assert_string_equal(say(d, ""), "250 2.1.5 Ok\r\n");
	assert_true(smtp_server_waits(d->server));
	smtp_server_data_ready(d->server, 0, &err);
	assert_string_equal(say(d, ""), "354 End with CR LF . CR LF\r\n");
	assert_true(smtp_server_waits(d->server));
	assert_span_equal(buf_span(&d->content), "hello\r\n");
	smtp_server_data_done(d->server, 0, SPAN_LIT("queued as 1"));
	assert_string_equal(say(d, ""), "250 2.0.0 queued as 1\r\n250 2.0.0 Ok\r\n");
	assert_string_equal(owner_saw(d), "rcpt(x@b) rcpt(y@b) begin end(7) ");
}

static void starttls_forgets_everything(void **state)
{
	struct dialog *d = *state;

	say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n");
	assert_string_equal(say(d, "STARTTLS x\r\n"), "501 5.5.4 STARTTLS takes no argument\r\n");
	assert_string_equal(say(d, "STARTTLS\r\n"), "220 2.0.0 Go ahead\r\n");
	assert_int_equal(d->event, SMTP_STARTTLS);
	smtp_server_tls_started(d->server);
	assert_span_equal(smtp_server_helo(d->server), "");
	assert_null(smtp_server_transaction(d->server));
	assert_string_equal(say(d, "MAIL FROM:<a@b>\r\n"), "503 MAIL is out of order: EHLO first, and one transaction at a time\r\n");
	assert_null(strstr(say(d, "EHLO a\r\n"), "STARTTLS"));
	assert_string_equal(say(d, "STARTTLS\r\n"), "503 5.5.1 TLS is active already\r\n");
}

/* CVE-2011-0411 and its relatives: what is sent with STARTTLS is never read as if it came through TLS. */
static void nothing_may_come_with_starttls(void **state)
{
	struct dialog *d = *state;

	assert_string_equal(say(d, "NOOP\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n"),
	    "250 2.0.0 Ok\r\n554 5.5.1 Data behind STARTTLS before the handshake\r\n");
	assert_int_equal(d->event, SMTP_CLOSE);
	assert_string_equal(say(d, ""), "");
}

static void starttls_is_refused_where_it_is_not_offered(void **state)
{
	struct smtp_server_config config = dialog_config;
	struct dialog *d;

	(void)state;
	config.tls_offered = false;
	d = dialog_new(&config);
	assert_null(strstr(say(d, "EHLO a\r\n"), "STARTTLS"));
	assert_string_equal(say(d, "STARTTLS\r\n"), "502 5.5.1 STARTTLS is not offered\r\n");
	dialog_free(&d);
}

static void the_session_can_be_ended_at_any_time(void **state)
{
	struct dialog *d = *state;

	say(d, "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf a mess");
	owner_saw(d);
	smtp_server_shutdown(d->server, "Shutting down");
	assert_string_equal(dialog_replies(d), "421 4.3.2 Shutting down\r\n");
	assert_string_equal(owner_saw(d), "abort ");
	assert_string_equal(say(d, "age\r\n.\r\n"), "");
	assert_int_equal(d->event, SMTP_CLOSE);
}

static void a_bare_line_end_ends_the_session(void **state)
{
	static const char *const rows[] = {"NOOP\n", "NO\rOP\r\n"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct dialog *d = dialog_new(&dialog_config);

		say(d, "EHLO a\r\n");
		assert_int_equal(strncmp(say(d, rows[i]), "500 5.5.2 ", 10), 0);
		assert_int_equal(d->event, SMTP_CLOSE);
		dialog_free(&d);
	}
}

/* RFC 2033: every recipient has its reply, however many fail; a full mailbox is no error of the client's. */
static void lmtp_answers_each_recipient_even_when_all_fail(void **state)
{
	struct smtp_server_config config = dialog_config;
	struct dialog *d;

	(void)state;
	config.lmtp = true;
	config.limits.errors = 3;
	config.limits.recipients = 10;
	d = dialog_new(&config);
	say(d, "LHLO a\r\nMAIL FROM:<a@b>\r\n");
	for (int i = 0; i < 6; i++)
		assert_string_equal(say(d, "RCPT TO:<a@b>\r\n"), "250 2.1.5 Ok\r\n");
	d->manual = true;
	say(d, "DATA\r\n");
	smtp_server_data_ready(d->server, 0, NULL);
	assert_string_equal(say(d, "x\r\n.\r\n"), "354 End with CR LF . CR LF\r\n");
	for (int i = 0; i < 6; i++) {
		smtp_server_data_done(d->server, E_OVERQUOTA, SPAN_LIT("full"));
		assert_string_equal(dialog_replies(d), "452 4.2.2 full\r\n");
	}
	assert_string_equal(say(d, "NOOP\r\n"), "250 2.0.0 Ok\r\n");
	dialog_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lmtp_answers_each_recipient_even_when_all_fail),
	    cmocka_unit_test_setup_teardown(a_message_from_hello_to_quit, setup_new, teardown),
	    cmocka_unit_test_setup_teardown(an_old_client_is_served_without_extensions, setup_new, teardown),
	    cmocka_unit_test(the_order_of_commands_is_kept),
	    cmocka_unit_test(parameters_are_checked),
	    cmocka_unit_test_setup_teardown(escapes_that_are_none_stay, setup, teardown),
	    cmocka_unit_test(text_behind_a_refused_data_is_no_command),
	    cmocka_unit_test(text_behind_a_data_refused_late),
	    cmocka_unit_test_setup_teardown(a_command_behind_a_refused_data, setup, teardown),
	    cmocka_unit_test_setup_teardown(asking_without_end_ends_the_session, setup, teardown),
	    cmocka_unit_test_setup_teardown(limits_are_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(long_lines_are_refused_at_their_end, setup, teardown),
	    cmocka_unit_test(limits_do_not_depend_on_segments),
	    cmocka_unit_test(lmtp_answers_for_all_before_it_closes),
	    cmocka_unit_test_setup_teardown(too_many_errors_end_the_session, setup, teardown),
	    cmocka_unit_test(the_last_error_may_come_anywhere),
	    cmocka_unit_test(our_own_troubles_are_not_counted),
	    cmocka_unit_test_setup_teardown(outside_text_cannot_end_a_reply, setup, teardown),
	    cmocka_unit_test_setup_teardown(answers_may_come_later, setup, teardown),
	    cmocka_unit_test_setup_teardown(starttls_forgets_everything, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_may_come_with_starttls, setup, teardown),
	    cmocka_unit_test(starttls_is_refused_where_it_is_not_offered),
	    cmocka_unit_test_setup_teardown(the_session_can_be_ended_at_any_time, setup, teardown),
	    cmocka_unit_test(a_bare_line_end_ends_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
