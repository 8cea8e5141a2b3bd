/* The client of SMTP: whole conversations, and what becomes of each recipient. */
#include "tests/unit/lib/smtp/client_talk.h"

#define RSET_ "RSET\r\n"

static void a_message_from_greeting_to_quit(void **state)
{
	struct talk *t = talk_new(&talk_config);

	(void)state;
	assert_string_equal(hears(t, "220-mx.there.example ESMTP\r\n220 be nice\r\n"), "EHLO we.example\r\n");
	assert_span_equal(smtp_client_server_name(t->client), "mx.there.example");
	assert_false(smtp_client_was_ready(t->client));
	assert_string_equal(hears(t, "250-mx.there.example\r\n250 SIZE 100\r\n"), "");
	assert_int_equal(t->event, SMTP_CLIENT_READY);
	assert_true(smtp_client_was_ready(t->client));
	assert_string_equal(sends(t, &talk_message), "MAIL FROM:<s@here.example> SIZE=12\r\n");
	assert_string_equal(hears(t, "250 ok\r\n"), "RCPT TO:<a@there.example>\r\n");
	assert_string_equal(hears(t, "250 ok\r\n"), "RCPT TO:<b@there.example>\r\n");
	assert_string_equal(hears(t, "550 5.1.1 who?\r\n"), "RCPT TO:<c@there.example>\r\n");
	assert_string_equal(hears(t, "251 will forward\r\n"), "DATA\r\n");
	assert_string_equal(hears(t, "354 go on\r\n"), "");
	assert_int_equal(t->event, SMTP_CLIENT_CONTENT);
	smtp_client_content(t->client, SPAN_LIT("Subject: x\r\n\r\n."), false);
	smtp_client_content(t->client, SPAN_LIT(".\r"), false);
	smtp_client_content(t->client, SPAN_LIT("\n.x"), true);
	assert_string_equal(says(t), "Subject: x\r\n\r\n...\r\n..x\r\n.\r\n");
	assert_int_equal(next_event(t), SMTP_CLIENT_MORE);
	assert_string_equal(hears(t, "250 2.0.0 queued as 1\r\n"), "");
	assert_int_equal(t->event, SMTP_CLIENT_DONE);
	assert_string_equal(results_of(t, 3), "ok/end of DATA/250 not possible/RCPT/550 ok/end of DATA/250");
	assert_string_equal(smtp_client_result(t->client, 0)->reply.text, "queued as 1");
	assert_string_equal(smtp_client_result(t->client, 1)->reply.enhanced, "5.1.1");
	assert_int_equal(next_event(t), SMTP_CLIENT_READY);
	smtp_client_quit(t->client);
	assert_string_equal(says(t), "QUIT\r\n");
	assert_int_equal(next_event(t), SMTP_CLIENT_MORE);
	hears(t, "221 bye\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CLOSED);
	assert_int_equal(failure_of(t), 0);
	talk_free(&t);
}

static void commands_go_in_one_piece(void **state)
{
	struct talk *t = talk_ready("250-x\r\n250-PIPELINING\r\n");

	(void)state;
	assert_string_equal(sends(t, &talk_message), "MAIL FROM:<s@here.example>\r\nRCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\n"
						     "RCPT TO:<c@there.example>\r\nDATA\r\n");
	hears(t, "250 1\r\n250 2\r\n450 3\r\n250 4\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_MORE);
	hears(t, "354 5\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CONTENT);
	smtp_client_content(t->client, SPAN_LIT("x\r\n"), true);
	assert_string_equal(says(t), "x\r\n.\r\n");
	hears(t, "451 not now\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_DONE);
	assert_string_equal(results_of(t, 3), "service not available/end of DATA/451 service not available/RCPT/450 service not available/end of DATA/451");
	assert_int_equal(next_event(t), SMTP_CLIENT_READY);
	talk_free(&t);
}

static void content_goes_in_one_chunk(void **state)
{
	struct talk *t = talk_ready("250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n");

	(void)state;
	assert_string_equal(sends(t, &talk_message), "MAIL FROM:<s@here.example>\r\nRCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\n"
						     "RCPT TO:<c@there.example>\r\n");
	assert_string_equal(hears(t, "250 1\r\n250 2\r\n250 3\r\n550 4\r\n"), "BDAT 12 LAST\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CONTENT);
	smtp_client_content(t->client, SPAN_LIT("x\r\n.\r\n"), false);
	smtp_client_content(t->client, SPAN_LIT("1234\r\n"), true);
	assert_string_equal(says(t), "x\r\n.\r\n1234\r\n");
	assert_string_equal(hears(t, "554 no\r\n"), RSET_);
	assert_int_equal(t->event, SMTP_CLIENT_DONE);
	assert_string_equal(results_of(t, 3), "not possible/BDAT/554 not possible/BDAT/554 not possible/RCPT/550");
	assert_int_equal(next_event(t), SMTP_CLIENT_MORE);
	hears(t, "250 reset\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_READY);
	talk_free(&t);
}

/* Every count of octets but the right one: the server must not take it for the whole. */
static void a_chunk_of_another_size_is_never_finished(void **state)
{
	(void)state;
	for (size_t len = 0; len < 14; len++) {
		struct talk *t = talk_ready("250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n");

		sends(t, &talk_message);
		hears(t, "250 1\r\n250 2\r\n250 3\r\n550 4\r\n");
		smtp_client_content(t->client, span_of("12345678901234", len), true);
		assert_int_equal(next_event(t), len == 12 ? SMTP_CLIENT_MORE : SMTP_CLIENT_CLOSED);
		assert_true(len == 12 || (buf_len(&t->out) < strlen("BDAT 12 LAST\r\n") + 12 && failure_of(t) == E_CORRUPT));
		talk_free(&t);
	}
}

static void a_single_recipient_may_fail_alone_in_lmtp(void **state)
{
	struct smtp_client_config config = talk_config;
	struct talk *t;

	(void)state;
	config.lmtp = true;
	t = talk_new(&config);
	assert_string_equal(hears(t, "220 x\r\n"), "LHLO we.example\r\n");
	hears(t, "250-x\r\n250 PIPELINING\r\n");
	sends(t, &talk_message);
	hears(t, "250 1\r\n250 a\r\n550 b\r\n250 c\r\n354 5\r\n");
	smtp_client_content(t->client, SPAN_LIT("x\r\n"), true);
	says(t);
	hears(t, "452 4.2.2 full\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_MORE);
	hears(t, "250 c\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_DONE);
	assert_string_equal(results_of(t, 3), "service not available/end of DATA/452 not possible/RCPT/550 ok/end of DATA/250");
	/* One answer more than recipients is one too many. */
	hears(t, "250 d\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CLOSED);
	assert_int_equal(failure_of(t), E_REMOTE);
	assert_string_equal(results_of(t, 3), "service not available/end of DATA/452 not possible/RCPT/550 ok/end of DATA/250");
	talk_free(&t);
}

/* ---- recipients ---- */

struct row {
	const char *offers, *heard, *said, *results;
	enum smtp_client_event event;
};

/* From MAIL up to the content, or to the end of the transaction. */
static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct talk *t = talk_ready(rows[i].offers);

		sends(t, &talk_message);
		assert_string_equal(hears(t, rows[i].heard), rows[i].said);
		assert_int_equal(t->event, rows[i].event);
		if (rows[i].results != NULL)
			assert_string_equal(results_of(t, 3), rows[i].results);
		talk_free(&t);
	}
}

static void recipients_are_refused_one_by_one_or_all(void **state)
{
	static const struct row rows[] = {
	    {"250-x\r\n", "550 no\r\n", "", "not possible/MAIL/550 not possible/MAIL/550 not possible/MAIL/550", SMTP_CLIENT_DONE},
	    {"250-x\r\n", "250 1\r\n550 2\r\n450 3\r\n550 4\r\n", "RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nRCPT TO:<c@there.example>\r\n" RSET_,
		"not possible/RCPT/550 service not available/RCPT/450 not possible/RCPT/550", SMTP_CLIENT_DONE},
	    {"250-x\r\n250-PIPELINING\r\n", "450 no\r\n503 2\r\n503 3\r\n503 4\r\n503 5\r\n", "",
		"service not available/MAIL/450 service not available/MAIL/450 service not available/MAIL/450", SMTP_CLIENT_DONE},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n550 2\r\n550 3\r\n450 4\r\n503 5\r\n", RSET_,
		"not possible/RCPT/550 not possible/RCPT/550 service not available/RCPT/450", SMTP_CLIENT_DONE},
	    /* 354 for nobody: an empty message, which is for nobody, and nothing of ours */
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n550 2\r\n550 3\r\n450 4\r\n354 5\r\n", ".\r\n",
		"not possible/RCPT/550 not possible/RCPT/550 service not available/RCPT/450", SMTP_CLIENT_DONE},
	    {"250-x\r\n250-PIPELINING\r\n", "450 no\r\n250 2\r\n250 3\r\n250 4\r\n354 5\r\n", ".\r\n",
		"service not available/MAIL/450 service not available/MAIL/450 service not available/MAIL/450", SMTP_CLIENT_DONE},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 2\r\n550 3\r\n250 4\r\n451 5\r\n", RSET_,
		"service not available/DATA/451 not possible/RCPT/550 service not available/DATA/451", SMTP_CLIENT_DONE},
	    /* too many */
	    {"250-x\r\n", "250 1\r\n250 2\r\n452 3\r\n", "RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n", NULL, SMTP_CLIENT_MORE},
	    {"250-x\r\n", "250 1\r\n250 2\r\n452 4.5.3 3\r\n450 x\r\n", "RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n" RSET_,
		"service not available/DATA/450 limit reached/RCPT/452 limit reached/RCPT/452", SMTP_CLIENT_DONE},
	    {"250-x\r\n", "250 1\r\n250 2\r\n552 5.5.3 3\r\n450 x\r\n", "RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n" RSET_,
		"service not available/DATA/450 limit reached/RCPT/552 limit reached/RCPT/552", SMTP_CLIENT_DONE},
	    /* of the mailbox, or of the first one: not of their number */
	    {"250-x\r\n", "250 1\r\n250 2\r\n552 5.2.2 3\r\n450 4\r\n450 x\r\n",
		"RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nRCPT TO:<c@there.example>\r\nDATA\r\n" RSET_,
		"service not available/DATA/450 not possible/RCPT/552 service not available/RCPT/450", SMTP_CLIENT_DONE},
	    {"250-x\r\n", "250 1\r\n452 2\r\n552 3\r\n450 4\r\n",
		"RCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\nRCPT TO:<c@there.example>\r\n" RSET_,
		"service not available/RCPT/452 not possible/RCPT/552 service not available/RCPT/450", SMTP_CLIENT_DONE},
	    {"250-x\r\n250-LIMITS RCPTMAX=1\r\n", "250 1\r\n250 2\r\n450 3\r\n", "RCPT TO:<a@there.example>\r\nDATA\r\n" RSET_,
		"service not available/DATA/450 limit reached/RCPT/0 limit reached/RCPT/0", SMTP_CLIENT_DONE},
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* Every answer that breaks the protocol or ends the session, at every step. Nobody is ever told 0. */
static void answers_that_do_not_belong_there(void **state)
{
#define ALL(what) what " " what " " what
	static const struct row rows[] = {
	    {"250-x\r\n", "354 1\r\n", "", ALL("the other server broke the protocol/MAIL/354"), SMTP_CLIENT_CLOSED},
	    {"250-x\r\n", "421 1\r\n", "", ALL("service not available/MAIL/421"), SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n354 2\r\n", "", ALL("the other server broke the protocol/RCPT/354"), SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n550 a\r\n421 2\r\n", "",
		"not possible/RCPT/550 service not available/RCPT/421 service not available/RCPT/421", SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n250 x\r\n", "", ALL("the other server broke the protocol/DATA/250"),
		SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n334 x\r\n", "", ALL("the other server broke the protocol/DATA/334"),
		SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n421 x\r\n", "", ALL("service not available/DATA/421"), SMTP_CLIENT_CLOSED},
	    /* before the content was sent */
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n354 x\r\n250 ok\r\n", "", ALL("the other server broke the protocol/DATA/250"),
		SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n354 x\r\n552 big\r\n", "", ALL("not possible/DATA/552"), SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-CHUNKING\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n250 ok\r\n", "BDAT 12 LAST\r\n",
		ALL("the other server broke the protocol/BDAT/250"), SMTP_CLIENT_CLOSED},
	    {"250-x\r\n250-CHUNKING\r\n250-PIPELINING\r\n", "250 1\r\n250 a\r\n250 b\r\n250 c\r\n452 full\r\n", "BDAT 12 LAST\r\n",
		ALL("service not available/BDAT/452"), SMTP_CLIENT_CLOSED},
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* ---- the content, and no answer to it ---- */

static struct talk *talk_content(const char *offers)
{
	struct talk *t = talk_ready(offers);

	sends(t, &talk_message);
	hears(t, "250 1\r\n");
	hears(t, "250 a\r\n");
	hears(t, "550 b\r\n");
	hears(t, "250 c\r\n");
	if (!smtp_client_offers(t->client)->chunking)
		hears(t, "354 go\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_CONTENT);
	return t;
}

static void who_is_told_what_when_the_connection_ends(void **state)
{
	static const struct {
		bool sent;
		const char *heard;
		int ended;
		const char *results;
	} rows[] = {
	    {false, "", E_CLOSED, "connection closed/DATA/0 not possible/RCPT/550 connection closed/DATA/0"},
	    {false, "", E_TIMEOUT, "timed out/DATA/0 not possible/RCPT/550 timed out/DATA/0"},
	    {true, "", E_CLOSED, "connection closed/end of DATA/0/maybe not possible/RCPT/550 connection closed/end of DATA/0/maybe"},
	    {true, "250", E_TIMEOUT, "timed out/end of DATA/0/maybe not possible/RCPT/550 timed out/end of DATA/0/maybe"},
	    {true, "250-x\r\n", E_CLOSED, "connection closed/end of DATA/0/maybe not possible/RCPT/550 connection closed/end of DATA/0/maybe"},
	    {true, "25x\r\n", 0, "the other server broke the protocol/end of DATA/0/maybe not possible/RCPT/550 the other server broke the protocol/end of DATA/0/maybe"},
	    {true, "354 more\r\n", 0, "the other server broke the protocol/end of DATA/0/maybe not possible/RCPT/550 the other server broke the protocol/end of DATA/0/maybe"},
	    {true, "421 bye\r\n", 0, "service not available/end of DATA/421 not possible/RCPT/550 service not available/end of DATA/421"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_content("250-x\r\n");

		smtp_client_content(t->client, SPAN_LIT("x\r\n"), rows[i].sent);
		hears(t, rows[i].heard);
		if (rows[i].ended != 0)
			smtp_client_ended(t->client, rows[i].ended, NULL);
		assert_int_equal(next_event(t), SMTP_CLIENT_CLOSED);
		assert_string_equal(results_of(t, 3), rows[i].results);
		talk_free(&t);
	}
}

static void content_that_cannot_be_had_ends_the_connection(void **state)
{
	struct talk *t = talk_content("250-x\r\n");
	struct err why;

	(void)state;
	smtp_client_content(t->client, SPAN_LIT("x"), false);
	err_set(&why, E_CORRUPT, "the file is damaged");
	smtp_client_abandon(t->client, &why);
	assert_int_equal(next_event(t), SMTP_CLIENT_CLOSED);
	assert_string_equal(says(t), "x");
	smtp_client_content(t->client, SPAN_LIT("y\r\n"), true);
	assert_string_equal(says(t), "");
	assert_string_equal(results_of(t, 3), "damaged data/DATA/0 not possible/RCPT/550 damaged data/DATA/0");
	talk_free(&t);
}

static void only_whole_line_ends_go_out(void **state)
{
	static const struct {
		const char *content, *said;
	} rows[] = {
	    {"", ".\r\n"},
	    {".", "..\r\n.\r\n"},
	    {".\r\n", "..\r\n.\r\n"},
	    {"a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"},
	    {"a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"},
	    {"a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n"},
	    {"a\r\r\n.", "a\r\n\r\n..\r\n.\r\n"},
	    {"a\n\r.\r\n", "a\r\n\r\n..\r\n.\r\n"},
	    {"...\r\n..", "....\r\n...\r\n.\r\n"},
	    {"a.b\r\n", "a.b\r\n.\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct span content = span_str(rows[i].content);

		for (size_t cut = 0; cut <= content.len; cut++) {
			struct talk *t = talk_content("250-x\r\n");

			smtp_client_content(t->client, span_sub(content, 0, cut), false);
			smtp_client_content(t->client, span_from(content, cut), true);
			assert_string_equal(says(t), rows[i].said);
			talk_free(&t);
		}
	}
}

/* ---- connections and their limits ---- */

static void one_transaction_follows_the_other(void **state)
{
	struct talk *t = talk_ready("250-x\r\n250-LIMITS MAILMAX=2\r\n");

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_string_equal(sends(t, &talk_message), "MAIL FROM:<s@here.example>\r\n");
		hears(t, "250 1\r\n");
		hears(t, "250 a\r\n");
		hears(t, "250 b\r\n");
		hears(t, "250 c\r\n");
		hears(t, "354 x\r\n");
		smtp_client_content(t->client, SPAN_LIT("x\r\n"), true);
		assert_string_equal(says(t), "x\r\n.\r\n");
		assert_string_equal(hears(t, "250 taken\r\n"), i == 0 ? "" : "QUIT\r\n");
		assert_int_equal(t->event, SMTP_CLIENT_DONE);
		assert_string_equal(results_of(t, 3), ALL("ok/end of DATA/250"));
	}
	assert_int_equal(next_event(t), SMTP_CLIENT_MORE);
	smtp_client_ended(t->client, E_CLOSED, NULL);
	assert_int_equal(next_event(t), SMTP_CLIENT_CLOSED);
	assert_int_equal(failure_of(t), 0);
	assert_string_equal(results_of(t, 3), ALL("ok/end of DATA/250"));
	talk_free(&t);
}

static void a_probe_goes_no_further_than_the_recipients(void **state)
{
	static const char *const offers[] = {"250-x\r\n250-PIPELINING\r\n", "250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n"};
	struct smtp_client_message message = talk_message;

	(void)state;
	message.probe = true;
	for (size_t i = 0; i < 2; i++) {
		struct talk *t = talk_ready(offers[i]);

		assert_string_equal(sends(t, &message), "MAIL FROM:<s@here.example>\r\nRCPT TO:<a@there.example>\r\nRCPT TO:<b@there.example>\r\n"
						       "RCPT TO:<c@there.example>\r\n");
		assert_string_equal(hears(t, "250 1\r\n250 a\r\n550 b\r\n450 c\r\n"), RSET_);
		assert_int_equal(t->event, SMTP_CLIENT_DONE);
		assert_string_equal(results_of(t, 3), "ok/RCPT/250 not possible/RCPT/550 service not available/RCPT/450");
		assert_int_equal(next_event(t), SMTP_CLIENT_MORE);
		hears(t, "250 reset\r\n");
		assert_int_equal(t->event, SMTP_CLIENT_READY);
		talk_free(&t);
	}
}

/* What a server says to QUIT is of no interest, nor whether it says it. */
static void quit_never_fails(void **state)
{
	static const char *const rows[] = {"221 bye\r\n", "421 bye\r\n", "500 what?\r\n", "250 x\r\n", "nonsense\r\n", "221 x\n", ""};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk *t = talk_ready("250-x\r\n");

		smtp_client_quit(t->client);
		hears(t, rows[i]);
		if (rows[i][0] == '\0')
			smtp_client_ended(t->client, E_TIMEOUT, NULL);
		assert_int_equal(next_event(t), SMTP_CLIENT_CLOSED);
		assert_int_equal(failure_of(t), 0);
		talk_free(&t);
	}
}

static void a_window_of_recipients_is_on_its_way(void **state)
{
	static struct smtp_client_recipient many[SMTP_CLIENT_PIPELINE * 3];
	struct smtp_client_message message = talk_message;
	struct talk *t = talk_ready("250-x\r\n250-PIPELINING\r\n250-DSN\r\n");
	size_t on_way = 0, answered = 0;

	(void)state;
	for (size_t i = 0; i < SMTP_CLIENT_PIPELINE * 3; i++)
		many[i] = (struct smtp_client_recipient){.address = SPAN_LIT("a@there.example")};
	message.recipients = many;
	message.recipient_count = SMTP_CLIENT_PIPELINE * 3;
	assert_int_equal(smtp_client_send(t->client, &message, NULL), 0);
	while (t->event != SMTP_CLIENT_CONTENT) {
		struct span said = buf_span(&t->out);

		for (; said.len > 0; said = span_from(said, span_find(said, '\n') + 1))
			on_way++;
		buf_clear(&t->out);
		assert_true(on_way <= SMTP_CLIENT_PIPELINE && on_way > 0);
		talk_feed(t, ++answered == message.recipient_count + 2 ? SPAN_LIT("354 x\r\n") : SPAN_LIT("250 x\r\n"));
		on_way--;
	}
	assert_int_equal(answered, message.recipient_count + 2);
	talk_free(&t);
}

/* What does not fit ends the session; nobody is told that a further transaction would do at once. */
static void an_output_without_room_ends_it(void **state)
{
	static char large[SMTP_CLIENT_OUT_MIN];
	struct smtp_client_config config = talk_config;
	struct talk *t = talk_new(&config);

	(void)state;
	hears(t, "220 x\r\n");
	hears(t, "250 x\r\n");
	t->out.max = SMTP_CLIENT_OUT_MIN;
	sends(t, &talk_message);
	hears(t, "250 1\r\n");
	hears(t, "250 a\r\n");
	hears(t, "250 b\r\n");
	hears(t, "250 c\r\n");
	hears(t, "354 x\r\n");
	memset(large, '\n', sizeof(large));
	smtp_client_content(t->client, span_of(large, sizeof(large)), true);
	assert_int_equal(next_event(t), SMTP_CLIENT_CLOSED);
	assert_string_equal(results_of(t, 3), ALL("out of memory/end of DATA/0"));
	talk_free(&t);
}

static void patience_is_that_of_the_rfc(void **state)
{
	struct talk *t = talk_new(&talk_config);

	(void)state;
	assert_int_equal(smtp_client_patience_ms(t->client), 300000);
	talk_free(&t);
	t = talk_ready("250-x\r\n250-PIPELINING\r\n");
	sends(t, &talk_message);
	assert_int_equal(smtp_client_patience_ms(t->client), 300000);
	hears(t, "250 1\r\n250 a\r\n250 b\r\n250 c\r\n");
	assert_int_equal(smtp_client_patience_ms(t->client), 120000);
	hears(t, "354 x\r\n");
	assert_int_equal(smtp_client_patience_ms(t->client), 180000);
	smtp_client_content(t->client, SPAN_LIT("x"), true);
	assert_int_equal(smtp_client_patience_ms(t->client), 600000);
	talk_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_message_from_greeting_to_quit),
	    cmocka_unit_test(commands_go_in_one_piece),
	    cmocka_unit_test(content_goes_in_one_chunk),
	    cmocka_unit_test(a_chunk_of_another_size_is_never_finished),
	    cmocka_unit_test(a_single_recipient_may_fail_alone_in_lmtp),
	    cmocka_unit_test(recipients_are_refused_one_by_one_or_all),
	    cmocka_unit_test(answers_that_do_not_belong_there),
	    cmocka_unit_test(who_is_told_what_when_the_connection_ends),
	    cmocka_unit_test(content_that_cannot_be_had_ends_the_connection),
	    cmocka_unit_test(only_whole_line_ends_go_out),
	    cmocka_unit_test(one_transaction_follows_the_other),
	    cmocka_unit_test(a_probe_goes_no_further_than_the_recipients),
	    cmocka_unit_test(quit_never_fails),
	    cmocka_unit_test(a_window_of_recipients_is_on_its_way),
	    cmocka_unit_test(an_output_without_room_ends_it),
	    cmocka_unit_test(patience_is_that_of_the_rfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
