/*
 * Twice the input, twice the time: what strangers send is made as long as it can be, in the shapes that parsers
 * dislike, five times, twice as long each time; linear_records_test.c has more of them. LINEAR_MB is the longest (`make check-linear`: 50); without it the
 * sizes are such that `make check` does not take too long. LINEAR_SHAPE and LINEAR_TEST choose one shape or test.
 * Processor time counts. What looks wrong is measured up to thirty-two times more.
 *
 * The Makefile links buf_add_char through __wrap_: appending as strcat does must be found.
 */
#include "tests/unit/lib/linear_time.h"

#include "alias/alias.h"
#include "base/encode.h"
#include "base/utf8.h"
#include "conf/conf.h"
#include "imap/facts.h"
#include "imap/fetch.h"
#include "imap/pattern.h"
#include "imap/reader.h"
#include "imap/search.h"
#include "imap/set.h"
#include "imap/utf7.h"
#include "mime/charset.h"
#include "mime/convert.h"
#include "mime/encoding.h"
#include "mime/fold.h"
#include "mime/structure.h"
#include "mime/words.h"
#include "smtp/client.h"
#include "smtp/server.h"

#include <stdlib.h>

/* ---- messages ---- */

static void facts(struct span message)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_facts out;

	assert_int_equal(imap_facts_find(message, pool, &out, NULL), 0);
	pool_free(&pool);
}

static void messages(void **state)
{
	static const struct shape shapes[] = {
	    {"headers of addresses", "", "To: a <a@example.org>, b@c\r\n", "\r\n", facts, 3},
	    {"one header of addresses", "From: ", "a <a@example.org>, ", "\r\n\r\n", facts, 1},
	    {"addresses in many lines", "From: a@b", ",\r\n (c) \"d\" <e@f>", "\r\n\r\n", facts, 2},
	    {"groups", "To: ", "g:;,", "\r\n\r\n", facts, 0},
	    {"open comments", "To: ", "(", "\r\n\r\n", facts, 0},
	    {"open quotes", "To: ", "\"\\", "\r\n\r\n", facts, 0},
	    {"angles", "To: ", "<", "\r\n\r\n", facts, 0},
	    {"at signs", "To: ", "@,", "\r\n\r\n", facts, 0},
	    {"folded lines", "Subject: x", "\r\n y", "\r\n\r\n", facts, 3},
	    {"lines that are no field", "", "x\r\n", "\r\n", facts, 4},
	    {"blanks before the colon", "X", " ", ":\r\n\r\n", facts, 2},
	    {"a header without an end", "", "A:", "", facts, 0},
	    {"nested parts", "", "Content-Type: multipart/mixed; boundary=b#\r\n\r\n--b#\r\n", "", facts, 0},
	    {"nested messages", "", "Content-Type: message/rfc822\r\n\r\n", "", facts, 0},
	    {"parts", "Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--x\r\n\r\ny\r\n", "--x--\r\n", facts, 1},
	    {"parts with types", "Content-Type: multipart/mixed; boundary=x\r\n\r\n",
		"--x\r\nContent-Type: a/b; c=\"d\"; e=f\r\nContent-Disposition: attachment; filename=\"g#\"\r\n\r\ny\r\n", "", facts, 1},
	    {"parts without headers", "Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--x\r\n", "", facts, 2},
	    {"lines of dashes", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n", "--\r\n", "", facts, 2},
	    {"boundaries that are none", "Content-Type: multipart/mixed; boundary=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n\r\n",
		"--xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxy\r\n", "", facts, 0},
	    {"empty lines", "Subject: x\r\n\r\n", "\r\n", "", facts, 1},
	    {"parameters", "Content-Type: a/b", "; p#=x", "\r\n\r\n", facts, 0},
	    {"parameters without a value", "Content-Type: a/b", ";", "\r\n\r\n", facts, 0},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- aliases ---- */

static void aliases(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct alias_file file;

	alias_file_parse(input, "aliases", pool, &file, NULL);
	pool_free(&pool);
}

static void alias_list(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct alias list;

	alias_list_parse(input, "list", pool, &list, NULL);
	pool_free(&pool);
}

static void names_of_this_machine(void **state)
{
	static const struct shape shapes[] = {
	    {"names", "", "n#:a@example.org,b\n", "", aliases, 2},
	    {"a name in many lines", "a: b", "\n ", ",c\n", aliases, 1},
	    {"comments within a name", "a: b", "\n# x", "\n ,c\n", aliases, 2},
	    {"names with empty lines and blanks behind", "", "n#:a\n\n", "     \t\t", aliases, 2},
	    {"open comments", "a: ", "(", "\n", aliases, 1},
	    {"nested comments", "a: x ", "((", "))))", aliases, 1},
	    {"commas", "a: x", ",", "\n", aliases, 1},
	    {"empty targets", "a: x", ",\"\"", "\n", aliases, 2},
	    {"lines of a list that say nothing", "", "# x\n \n", "a", alias_list, 2},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- texts ---- */

static void decode(enum mime_encoding encoding, struct span input)
{
	struct mime_decoder decoder;
	struct buf out;

	buf_init(&out, input.len + 16);
	mime_decoder_init(&decoder, encoding);
	mime_decode(&decoder, input, &out);
	mime_decode_end(&decoder, &out);
	assert_false(buf_failed(&out));
	buf_fini(&out);
}

static void base64(struct span input)
{
	decode(MIME_ENCODING_BASE64, input);
}

static void quoted_printable(struct span input)
{
	decode(MIME_ENCODING_QUOTED_PRINTABLE, input);
}

static void words(struct span input)
{
	struct buf out;

	buf_init(&out, 4 * input.len);
	mime_words_decode(input, &out);
	buf_fini(&out);
}

static void parameters(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct mime_content content;

	assert_true(mime_content_parse(input, pool, &content));
	mime_parameter_decode(&content, SPAN_LIT("p"), pool);
	pool_free(&pool);
}

static void convert(const char *charset, struct span input)
{
	struct buf utf8, folded;

	buf_init(&utf8, 4 * input.len + 64);
	buf_init(&folded, 16 * input.len + 64);
	mime_to_utf8(span_str(charset), input, &utf8);
	mime_casefold(buf_span(&utf8), &folded);
	assert_false(buf_failed(&utf8));
	assert_false(buf_failed(&folded));
	buf_fini(&utf8);
	buf_fini(&folded);
}

static void utf8(struct span input)
{
	convert("utf-8", input);
}

static void shift_jis(struct span input)
{
	convert("shift_jis", input);
}

static void texts(void **state)
{
	static const struct shape shapes[] = {
	    {"soft line breaks", "", "=\r\n", "", quoted_printable, 1},
	    {"soft line breaks with blanks", "", "=                                   \r\n", "", quoted_printable, 1},
	    {"blanks", "", " ", "", quoted_printable, 1},
	    {"equals signs", "", "=", "", quoted_printable, 2},
	    {"escapes", "", "=C3=a4", "", quoted_printable, 1},
	    {"base64 in lines of one", "", "A\r\n", "", base64, 0},
	    {"base64", "", "QUJD", "", base64, 1},
	    {"no base64", "", "-", "", base64, 1},
	    {"encoded words", "", "=?utf-8?q?a?= ", "", words, 1},
	    {"encoded words of two charsets", "", "=?utf-8?q?a?= =?koi8-r?b?8A==?= ", "", words, 1},
	    {"encoded words without an end", "", "=?utf-8?q?a", "", words, 1},
	    {"beginnings of encoded words", "", "=?", "", words, 2},
	    {"equals signs", "", "=", "", words, 2},
	    {"blanks between words", "=?utf-8?q?a?=", " ", "=?utf-8?q?a?=", words, 0},
	    {"continued parameters", "a/b", "; p*#=x", "", parameters, 0},
	    {"encoded parameters", "a/b", "; p*#*=utf-8''%20", "", parameters, 0},
	    {"open comments in parameters", "a/b", "; (", "", parameters, 0},
	    {"letters", "", "Abc ", "", utf8, 2},
	    {"letters without a blank", "", "\xc3\x84\xe2\x84\xab", "", utf8, 3},
	    {"marks", "a", "\xcc\x81\xcc\xa3", "", utf8, 3}, /* above and below: they are put in order */
	    {"no UTF-8", "", "\xff", "", utf8, 3},
	    {"no Shift JIS", "", "\xff\x81", "", shift_jis, 3},
	};

	(void)state;
	mime_charset_preload();
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- commands ---- */

static void set(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_set out;

	if (input.ptr[input.len - 1] == ',')
		input.len--;
	assert_true(imap_set_parse(input, 1, pool, &out));
	pool_free(&pool);
}

static void name(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct span out;
	struct buf wire;

	assert_true(imap_utf7_decode(input, pool, &out));
	buf_init(&wire, 8 * input.len);
	imap_utf7_encode(out, &wire);
	assert_int_equal(buf_len(&wire), input.len);
	buf_fini(&wire);
	pool_free(&pool);
}

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	(void)arg, (void)address;
	smtp_server_rcpt_done(server, 0, NULL, NULL);
}

static void on_begin(void *arg, struct smtp_server *server)
{
	(void)arg;
	smtp_server_data_ready(server, 0, NULL);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	(void)arg, (void)server, (void)bytes, (void)err;
	return 0;
}

static void on_end(void *arg, struct smtp_server *server)
{
	(void)arg;
	smtp_server_data_done(server, 0, SPAN_LIT("queued"));
}

static void on_nothing(void *arg, struct smtp_server *server)
{
	(void)arg, (void)server;
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	(void)arg, (void)server, (void)reply;
}

/* In pieces as they come from a connection. */
static void conversation(struct span input)
{
	static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_begin, .data = on_data, .data_end = on_end, .data_abort = on_nothing, .refused = on_refused};
	struct smtp_server_config config = {.hostname = SPAN_LIT("mx.example"),
	    .limits = {.message_size = UINT32_MAX, .header_size = UINT32_MAX, .received_lines = UINT32_MAX, .recipients = UINT32_MAX,
		.errors = UINT32_MAX}};
	struct smtp_server *server;
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 64 * 1024 * 1024);
	server = smtp_server_new(&config, &callbacks, NULL, &out);
	while (input.len > 0) {
		struct span piece = span_sub(input, 0, 16384);
		enum smtp_event event;
		size_t consumed;

		buf_add_span(&in, piece);
		input = span_from(input, piece.len);
		event = smtp_server_feed(server, buf_span(&in), &consumed);
		assert_int_equal(event, SMTP_MORE);
		buf_take(&in, consumed);
		buf_clear(&out);
	}
	assert_false(buf_failed(&in));
	smtp_server_free(&server);
	buf_fini(&in);
	buf_fini(&out);
}

#define FRONT "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"

static void commands(void **state)
{
	static const struct shape shapes[] = {
	    {"sets", "1", ",#1", "", set, 2},
	    {"sets of one number", "", "7,", "", set, 4},
	    {"ranges", "", "1:*,", "", set, 3},
	    {"names", "", "&AOk-x", "", name, 2},
	    {"ampersands", "", "&-", "", name, 2},
	    {"long shifts", "&", "AOkA6QDp", "-", name, 3},
	    {"commands", "", "MAIL\r\n", "", conversation, 4},
	    {"commands that are none", "", "\r\n", "", conversation, 5},
	    {"recipients", FRONT, "RCPT TO:<#@d>\r\nDATA\r\n.\r\nMAIL FROM:<a@b>\r\n", "", conversation, 4},
	    {"transactions", "EHLO a\r\n", "MAIL FROM:<a@b> ENVID=x\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nDATA\r\n.\r\n", "", conversation, 4},
	    {"empty lines of a message", FRONT "DATA\r\n", "\r\n", ".\r\n", conversation, 3},
	    {"dots", FRONT "DATA\r\n", "..\r\n", ".\r\n", conversation, 3},
	    {"a header", FRONT "DATA\r\n", "Received: x\r\n", "\r\n.\r\n", conversation, 3},
	    {"small chunks", FRONT, "BDAT 1\r\nx", "", conversation, 4},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- arguments of IMAP, and the configuration. Whether they are taken or refused at some limit: in no more than linear time ---- */

static void search(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_lex lex;

	imap_lex_init(&lex, input, pool);
	(void)imap_search_parse(&lex, 10, 100);
	pool_free(&pool);
}

static void fetch(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_lex lex;

	imap_lex_init(&lex, input, pool);
	(void)imap_fetch_parse(&lex);
	pool_free(&pool);
}

/* The pattern has its own limit; what backtracks in it would do so for each octet of the name. */
static void pattern(struct span input)
{
	assert_int_not_equal(imap_pattern_match(SPAN_LIT("*a*a*a*a*a*a*a*a*a*a*b"), input), IMAP_MATCH_YES);
}

/* All at once, however many commands: each is found where the last one ended. */
static void reader(struct span input)
{
	struct imap_reader reader;
	size_t len;

	imap_reader_init(&reader, SIZE_MAX / 4, SIZE_MAX / 4);
	for (;;) {
		enum imap_read found = imap_reader_look(&reader, input, &len);

		if (found == IMAP_READ_MORE || found == IMAP_READ_TOO_LONG || (found == IMAP_READ_LITERAL && !imap_reader_accept(&reader, len)))
			return;
		if (found == IMAP_READ_COMMAND) {
			input = span_from(input, len);
			imap_reader_reset(&reader);
		}
	}
}

static void configuration(struct span input)
{
	struct conf *conf = NULL;
	struct err err;

	(void)conf_parse(input, "test", &conf, &err);
	conf_free(&conf);
}

static void arguments(void **state)
{
	static const struct shape shapes[] = {
	    {"search keys", "", "SEEN ", "SEEN\r\n", search, 4},
	    {"search keys in parentheses", "", "(", "\r\n", search, 4},
	    {"alternatives", "", "OR SEEN ", "SEEN SEEN\r\n", search, 4},
	    {"quoted search texts", "", "TEXT \"a\\\"b\" ", "SEEN\r\n", search, 4},
	    {"fetch items", "(", "UID ", "UID)\r\n", fetch, 4},
	    {"header fields of FETCH", "BODY[HEADER.FIELDS (", "a ", "b)]\r\n", fetch, 4},
	    {"a name against a pattern", "", "a", "", pattern, 5},
	    {"commands of IMAP", "", "a NOOP\r\n", "", reader, 2},
	    {"literals of one command", "a X ", "{1+}\r\nx", "\r\n", reader, 3},
	    {"settings", "config-version 1\n", "unlimited-from 192.0.2.0/24\n", "", configuration, 5},
	    {"an endless line of settings", "config-version 1\nunlimited-from", " 192.0.2.0/24", "\n", configuration, 5},
	    {"comments", "config-version 1\n", "# x\n", "", configuration, 4},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- what other servers say, and what is sent to them ---- */

static const struct smtp_client_recipient recipient = {.address = SPAN_LIT("a@b")};
static const struct smtp_client_message outgoing = {.sender = SPAN_LIT("c@d"), .recipients = &recipient, .recipient_count = 1};

/* In pieces as they come from a connection; the owner sends one message after the other. */
static void replies(struct span input)
{
	const struct smtp_client_config config = {.helo = SPAN_LIT("we.example")};
	enum smtp_client_event event = SMTP_CLIENT_MORE;
	struct smtp_client *client;
	struct buf in, out;

	buf_init(&in, 65536);
	buf_init(&out, 64 * 1024 * 1024);
	client = smtp_client_new(&config, &out);
	while (event != SMTP_CLIENT_CLOSED && (input.len > 0 || buf_len(&in) > 0)) {
		struct span piece = span_sub(input, 0, buf_len(&in) < 4096 ? 16384 : 0);
		size_t line, consumed;

		buf_add_span(&in, piece);
		input = span_from(input, piece.len);
		line = span_find(buf_span(&in), '\n') + 1;
		event = smtp_client_feed(client, span_sub(buf_span(&in), 0, line), &consumed);
		buf_take(&in, consumed);
		if (event == SMTP_CLIENT_READY)
			assert_int_equal(smtp_client_send(client, &outgoing, NULL), 0);
		else if (event == SMTP_CLIENT_CONTENT)
			smtp_client_content(client, SPAN_LIT("x\r\n"), true);
		else if (event == SMTP_CLIENT_MORE && consumed == 0)
			break;
		buf_clear(&out);
	}
	smtp_client_free(&client);
	buf_fini(&in);
	buf_fini(&out);
}

static void content(struct span input)
{
	const struct smtp_client_config config = {.helo = SPAN_LIT("we.example")};
	struct smtp_client *client;
	struct buf out;
	size_t consumed;

	buf_init(&out, 64 * 1024);
	client = smtp_client_new(&config, &out);
	smtp_client_feed(client, SPAN_LIT("220 x\r\n250 x\r\n"), &consumed);
	assert_int_equal(smtp_client_send(client, &outgoing, NULL), 0);
	assert_int_equal(smtp_client_feed(client, SPAN_LIT("250 x\r\n250 x\r\n354 x\r\n"), &consumed), SMTP_CLIENT_CONTENT);
	for (; input.len > 0; input = span_from(input, 16384)) {
		buf_clear(&out);
		smtp_client_content(client, span_sub(input, 0, 16384), input.len <= 16384);
		assert_false(buf_failed(&out));
	}
	smtp_client_free(&client);
	buf_fini(&out);
}

static void made_7bit(struct span input)
{
	struct mime_converter *c = mime_converter_new(input);
	struct buf out;

	if (c == NULL) /* more parts than there may be */
		return;
	buf_init(&out, MIME_CONVERT_PIECE);
	while (mime_converter_next(c, &out) == 1)
		buf_clear(&out);
	mime_converter_free(&c);
	buf_fini(&out);
}

static void other_servers(void **state)
{
	static const struct shape shapes[] = {
	    {"replies", "220 x\r\n250 x\r\n", "250 1\r\n250 2\r\n354 3\r\n250 4\r\n", "", replies, 5},
	    {"refusals", "220 x\r\n250 x\r\n", "250 1\r\n550 2\r\n250 4\r\n", "", replies, 5},
	    {"lines of dots", "", "..\r\n", "", content, 3},
	    {"empty lines", "", "\r\n", "", content, 3},
	    {"lone carriage returns", "", "\r", "", content, 3},
	    {"8 bit text", "\r\n", "\303\251", "", made_7bit, 3},
	    {"blanks", "\r\n\303", " ", "", made_7bit, 3},
	    {"8 bit parts", "Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--x\r\n\r\n\303\r\n", "--x--\r\n", made_7bit, 3},
	    {"8 bit lines that are no parts", "Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--\303\r\ny\r\n", "\r\n--x\r\n", made_7bit, 3},
	    {"nested 8 bit parts", "", "Content-Type: multipart/mixed; boundary=b#\r\n\r\n--b#\r\n", "\303", made_7bit, 3},
	    {"fields about the encoding", "", "Content-Transfer-Encoding: 8bit\r\n", "\r\n\303", made_7bit, 3},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- a planted fault ---- */

static bool planted;

void __real_buf_add_char(struct buf *buf, char c);
void __wrap_buf_add_char(struct buf *buf, char c);

/* As strcat: looks for the end first. */
void __wrap_buf_add_char(struct buf *buf, char c)
{
	if (planted && memchr(buf_span(buf).ptr, '\0', buf_len(buf)) != NULL)
		abort();
	__real_buf_add_char(buf, c);
}

static void a_quadratic_parser_is_found(void **state)
{
	static const struct shape shape = {"escapes", "", "=C3=a4", "", quoted_printable, 0};
	char report[256];
	double ratio;

	(void)state;
	planted = true;
	ratio = highest_ratio(&shape, 512 * 1024, report, sizeof(report));
	planted = false;
	print_message("planted: %s\n", report);
	if (ratio <= ratio_max && ratio_max < 4)
		fail_msg("not found: %s", report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages),
	    cmocka_unit_test(names_of_this_machine),
	    cmocka_unit_test(texts),
	    cmocka_unit_test(commands),
	    cmocka_unit_test(arguments),
	    cmocka_unit_test(other_servers),
	    cmocka_unit_test(figures),
	    cmocka_unit_test(a_quadratic_parser_is_found),
	};

	begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
