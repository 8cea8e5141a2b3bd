/* Engines that only see text: configuration, SMTP, MIME, IMAP, messages between daemons. */
#include "tests/fault/memory/memory.h"

#include "alias/set.h"
#include "conf/conf.h"
#include "imap/facts.h"
#include "imap/fetch.h"
#include "imap/search.h"
#include "imap/set.h"
#include "imap/utf7.h"
#include "ipc/ipc.h"
#include "local/arguments.h"
#include "local/complete.h"
#include "local/drop.h"
#include "local/lines.h"
#include "mime/charset.h"
#include "mime/convert.h"
#include "mime/encoding.h"
#include "mime/fold.h"
#include "mime/header.h"
#include "mime/structure.h"
#include "mime/words.h"
#include "sasl/client.h"
#include "smtp/client.h"
#include "smtp/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char message[] = "From: \"A. Person\" <a@example.org>, Group: b@example.org, c@example.org;\r\nTo: d@example.org\r\n"
			      "Subject: =?utf-8?q?caf=C3=A9?= and more\r\nDate: Tue, 1 Jul 2025 10:00:00 +0200\r\n"
			      "Content-Type: multipart/mixed; boundary=\"xx\"; a*0=\"b\"; a*1=\"c\"\r\n\r\n--xx\r\n"
			      "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=E9\r\n"
			      "--xx\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nFrom: e@example.org\r\n\r\ntext\r\n--xx--\r\n";

/* ---- configuration ---- */

static int run_conf(void *state)
{
	static const char text[] = "config-version 1\nhostname mx.example.org\nmessage-size 20M\nunlimited-from 192.0.2.0/24\n"
				   "domain example.org {\n quota 5G\n catch-all a@example.org\n}\nlisten smtp on 127.0.0.1:25 { }\n";
	struct conf *conf = NULL;
	struct err err = {0};
	int r = conf_parse(span_str(text), "test", &conf, &err);

	(void)state;
	if (r == 0)
		memory_must(conf_u64(conf, CONF_message_size, NULL) == 20 << 20 && conf_domain_count(conf) == 1 && conf_listener_count(conf) == 1);
	conf_free(&conf);
	return r;
}

/* ---- aliases: what is written is read, with its list ---- */

static int run_aliases(void *state)
{
	struct alias_set *set = NULL;
	struct err err = {0};
	struct buf text;
	int r;

	(void)state;
	buf_init(&text, 4096);
	alias_set_add(&text, ALIAS_MARK_FILE, "/etc/aliases", SPAN_LIT("a: b, \"|c, d\"\nl: :include:/x\n"));
	alias_set_add(&text, ALIAS_MARK_LIST, "/x", SPAN_LIT("e@example.org\nf (g)\n"));
	r = buf_failed(&text) ? E_NOMEM : alias_set_load(buf_span(&text), &set, &err);
	if (r == 0)
		memory_must(alias_find(&set->file, SPAN_LIT("A"))->count == 2 && set->lists[0].list.count == 2);
	alias_set_free(&set);
	buf_fini(&text);
	return r;
}

/* ---- SMTP: a whole dialogue. What fails is told with a 4xx, and the engine goes on or ends the session itself ---- */

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
	(void)server, (void)err;
	*(size_t *)arg += bytes.len;
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

static int run_smtp(void *state)
{
	static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_begin, .data = on_data, .data_end = on_end,
	    .data_abort = on_nothing, .refused = on_refused};
	static const struct smtp_server_config config = {.hostname = SPAN_LIT("mx.example"),
	    .limits = {.message_size = 100000, .header_size = 30000, .received_lines = 30, .recipients = 40, .errors = 10}};
	static const char *const lines[] = {"EHLO client.example\r\n", "MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME ENVID=x+2By\r\n",
	    "RCPT TO:<b@example.org> NOTIFY=FAILURE ORCPT=rfc822;b@example.org\r\n", "RCPT TO:<c@example.org>\r\n", "DATA\r\n",
	    "Subject: x\r\nReceived: a\r\n\r\n..text\r\n", ".\r\n", "QUIT\r\n"};
	struct buf out;
	size_t content = 0, used;
	struct smtp_server *server;
	int r = 0;

	(void)state;
	buf_init(&out, 1 << 20);
	server = smtp_server_new(&config, &callbacks, &content, &out);
	if (server == NULL) {
		buf_fini(&out);
		return E_NOMEM;
	}
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]) && r == 0; i++) {
		smtp_server_feed(server, span_str(lines[i]), &used);
		if (buf_failed(&out))
			r = E_NOMEM; /* its owner sees that, and closes */
		else if (memory_failed() && buf_len(&out) > 0 && buf_span(&out).ptr[0] == '4')
			r = E_NOMEM;
		else if (buf_len(&out) > 0 && buf_span(&out).ptr[0] == '5')
			fprintf(stderr, "%s%.*s", lines[i], SPAN_ARG(buf_span(&out))), r = E_BUG;
		buf_clear(&out);
	}
	if (r == 0)
		memory_must(content > 0);
	smtp_server_free(&server);
	buf_fini(&out);
	return r;
}

/* A client: what it could not say or keep ends the session with E_NOMEM; only the words of a verdict may be lost. */

static const struct smtp_client_recipient recipients[] = {{.address = SPAN_LIT("b@example.org"), .orcpt = SPAN_LIT("rfc822;x+y@example.org"), .notify = 4},
    {.address = SPAN_LIT("c@example.org")}};
static const struct smtp_client_message sent = {.sender = SPAN_LIT("a@example.org"), .envid = SPAN_LIT("x+y"), .recipients = recipients, .recipient_count = 2};

static int client_act(struct smtp_client *client, enum smtp_client_event event)
{
	struct err err = {0};
	int r = 0;

	if (event == SMTP_CLIENT_READY)
		r = smtp_client_send(client, &sent, &err);
	else if (event == SMTP_CLIENT_CONTENT)
		smtp_client_content(client, SPAN_LIT("Subject: x\r\n\r\n.text\r\n"), true);
	else if (event == SMTP_CLIENT_CLOSED)
		r = smtp_client_failure(client, NULL, NULL);
	return r;
}

static int client_results(struct smtp_client *client)
{
	const struct smtp_client_result *result = smtp_client_result(client, 0);
	bool words = result->reply.code == 250;

	memory_must(result->code == 0 && strcmp(result->command, "end of DATA") == 0);
	result = smtp_client_result(client, 1);
	memory_must(result->code == E_CANNOT);
	return words && result->reply.code == 550 ? 0 : MEMORY_LESS;
}

static int run_smtp_client(void *state)
{
	static const struct smtp_client_config config = {.helo = SPAN_LIT("we.example"), .tls_done = true, .login = {.user = SPAN_LIT("u"), .password = SPAN_LIT("p")}};
	static const char *const lines[] = {"220 mx.example\r\n", "250-mx.example\r\n250-PIPELINING\r\n250-DSN\r\n250 AUTH PLAIN\r\n", "235 in\r\n",
	    "250 1\r\n250 2\r\n550 5.1.1 no\r\n354 go on\r\n", "250 queued\r\n"};
	enum smtp_client_event event = SMTP_CLIENT_MORE;
	struct smtp_client *client;
	struct buf out;
	size_t used;
	int r = 0;

	(void)state;
	buf_init(&out, SMTP_CLIENT_OUT_MIN);
	client = smtp_client_new(&config, &out);
	if (client == NULL)
		r = E_NOMEM;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]) && r == 0; i++) {
		event = smtp_client_feed(client, span_str(lines[i]), &used);
		r = client_act(client, event);
		if (r == 0 && event != SMTP_CLIENT_CLOSED && smtp_client_feed(client, span_str(""), &used) == SMTP_CLIENT_CLOSED)
			r = smtp_client_failure(client, NULL, NULL);
		if (r == 0 && i == 3)
			memory_must(memmem(buf_span(&out).ptr, buf_len(&out), "ENVID=x+2By", 11) != NULL && memmem(buf_span(&out).ptr, buf_len(&out), "ORCPT=", 6) != NULL);
	}
	memory_must(r != 0 || event == SMTP_CLIENT_DONE);
	if (r == 0)
		r = client_results(client);
	smtp_client_free(&client);
	buf_fini(&out);
	return r;
}

/* The example of RFC 5802 has a nonce of its own; here the challenge repeats the client's. */
static int run_sasl_client(void *state)
{
	static const struct sasl_channel channel = {.exporter = SPAN_LIT("exporter"), .plus_offered = true};
	struct sasl_client *client = sasl_client_new(SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("j\303\266"), SPAN_LIT("p\303\266"), &channel);
	struct buf out, challenge;
	struct err err = {0};
	bool has_initial;
	int r = client != NULL ? 0 : E_NOMEM;

	(void)state;
	buf_init(&out, SASL_RESPONSE_MAX);
	buf_init(&challenge, SASL_RESPONSE_MAX);
	if (r == 0)
		r = sasl_client_begin(client, &out, &has_initial, &err);
	if (r == 0) {
		const char *nonce = memmem(buf_span(&out).ptr, buf_len(&out), ",r=", 3);

		memory_must(nonce != NULL);
		buf_printf(&challenge, "%.*sxyz,s=QSXCR+Q6sek8bf92,i=4096", (int)(buf_span(&out).ptr + buf_len(&out) - nonce - 1), nonce + 1);
		buf_clear(&out);
		r = buf_failed(&challenge) ? E_NOMEM : sasl_client_respond(client, buf_span(&challenge), &out, &err);
	}
	if (r == 0)
		memory_must(memmem(buf_span(&out).ptr, buf_len(&out), ",p=", 3) != NULL);
	sasl_client_free(&client);
	buf_fini(&out);
	buf_fini(&challenge);
	return r;
}

/* ---- MIME ---- */

static int run_convert(void *state)
{
	static const char text[] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ncaf\303\251\r\n--b\r\nContent-Type: a/b\r\n\r\n\303\r\n--b--\r\n";
	struct mime_converter *converter = mime_converter_new(span_str(text));
	struct buf out;
	int r = converter != NULL ? 1 : E_NOMEM;

	(void)state;
	buf_init(&out, 10000);
	while (r == 1)
		r = mime_converter_next(converter, &out);
	if (r == 0)
		memory_must(memmem(buf_span(&out).ptr, buf_len(&out), "caf=C3=A9", 9) != NULL && memmem(buf_span(&out).ptr, buf_len(&out), "ww==", 4) != NULL);
	mime_converter_free(&converter);
	buf_fini(&out);
	return r;
}

static int run_structure(void *state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct mime_part *root = pool ? mime_structure_parse(span_str(message), pool) : NULL;
	int r = root != NULL && !pool_starved(pool) ? 0 : E_NOMEM;

	(void)state;
	pool_free(&pool);
	return r;
}

static int run_addresses(void *state)
{
	static const char list[] = "\"A. Person\" <a@example.org>, Group: b@example.org, (a comment) c@example.org;, <d@[192.0.2.1]>";
	struct pool *pool = pool_new(NULL, 0);
	struct mime_address *all = NULL;
	size_t count = pool ? mime_addresses_parse(span_str(list), pool, &all) : 0;

	(void)state;
	bool whole = pool != NULL && !pool_starved(pool);

	pool_free(&pool);
	memory_must(!whole || count == 6);
	return whole ? 0 : E_NOMEM;
}

static int run_words(void *state)
{
	struct buf out, folded;
	int r;

	(void)state;
	buf_init(&out, 10000);
	buf_init(&folded, 10000);
	mime_words_decode(SPAN_LIT("=?iso-8859-1?q?caf=E9?= =?utf-8?b?w6k=?= plain"), &out);
	mime_casefold(buf_span(&out), &folded);
	r = out.starved || folded.starved ? E_NOMEM : span_eq(buf_span(&out), SPAN_LIT("caf\xc3\xa9\xc3\xa9 plain")) && buf_len(&folded) > 8 ? 0 : MEMORY_LESS;
	buf_fini(&out);
	buf_fini(&folded);
	return r;
}

static int run_decode(void *state)
{
	struct mime_decoder decoder;
	struct buf bytes, utf8;
	int r;

	(void)state;
	buf_init(&bytes, 100000);
	buf_init(&utf8, 100000);
	mime_decoder_init(&decoder, MIME_ENCODING_QUOTED_PRINTABLE);
	mime_decode(&decoder, SPAN_LIT("Caf=E9 and m=\r\nore"), &bytes);
	mime_decode_end(&decoder, &bytes);
	mime_to_utf8(SPAN_LIT("iso-8859-1"), buf_span(&bytes), &utf8);
	r = bytes.starved || utf8.starved ? E_NOMEM : span_eq(buf_span(&utf8), SPAN_LIT("Caf\xc3\xa9 and more")) ? 0 : MEMORY_LESS;
	buf_fini(&bytes);
	buf_fini(&utf8);
	return r;
}

/* ---- IMAP ---- */

static int run_facts(void *state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_facts facts;
	struct err err = {0};
	int r = pool ? imap_facts_find(span_str(message), pool, &facts, &err) : E_NOMEM;

	(void)state;
	/* They are kept with the message: never less than they are. */
	if (r == 0)
		memory_must(memmem(facts.envelope.ptr, facts.envelope.len, "a@", 2) == NULL && memmem(facts.envelope.ptr, facts.envelope.len, "\"d\"", 3) != NULL);
	if (r == 0 && memmem(facts.bodystructure.ptr, facts.bodystructure.len, "\"inner\"", 7) == NULL)
		r = MEMORY_LESS;
	pool_free(&pool);
	return r;
}

static int parse(const char *text, bool search)
{
	struct pool *pool = pool_new(NULL, 0);
	struct imap_lex lex;
	const void *result;

	if (pool == NULL)
		return E_NOMEM;
	imap_lex_init(&lex, span_str(text), pool);
	result = search ? (const void *)imap_search_parse(&lex, 10, 100) : (const void *)imap_fetch_parse(&lex);
	pool_free(&pool);
	return result != NULL ? 0 : E_NOMEM; /* BAD is said, and lex.wrong names it */
}

static int run_fetch(void *state)
{
	(void)state;
	return parse("(UID FLAGS BODY.PEEK[HEADER.FIELDS (From \"To\" {2}\r\nCc)] BODY[1.2.MIME]<0.10>)\r\n", false);
}

static int run_search(void *state)
{
	(void)state;
	return parse("CHARSET UTF-8 OR (FROM \"a\" NOT SUBJECT {2}\r\nxy) UID 1:3,7 KEYWORD k SINCE 1-Jan-2025\r\n", true);
}

static int run_utf7(void *state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct span back = {0};
	struct buf out;
	int r = pool ? 0 : E_NOMEM;

	(void)state;
	buf_init(&out, 1000);
	imap_utf7_encode(SPAN_LIT("Entw\xc3\xbcrfe & mehr"), &out);
	if (r == 0 && (buf_failed(&out) || !imap_utf7_decode(buf_span(&out), pool, &back)))
		r = E_NOMEM;
	if (r == 0)
		memory_must(span_eq(back, SPAN_LIT("Entw\xc3\xbcrfe & mehr")));
	buf_fini(&out);
	pool_free(&pool);
	return r;
}

/* ---- messages between daemons ---- */

static int run_ipc(void *state)
{
	struct deliver_message body = {.size = 10, .sender = SPAN_LIT("a@example.org"), .recipient = SPAN_LIT("b@example.org"),
	    .key = SPAN_LIT("0123456789abcdef"), .content = SPAN_LIT("0123456789")};
	struct ipc_message out;
	struct err err = {0};
	struct buf wire;
	int r;

	(void)state;
	buf_init(&wire, IPC_MESSAGE_MAX);
	r = ipc_encode(&ipc_deliver_message, 7, &body, &wire);
	if (r == 0)
		r = ipc_decode(&ipc_service_deliver, TO_SERVICE, buf_span(&wire), &out, &err);
	buf_fini(&wire);
	return r;
}

/* ---- sendmail: arguments, whole lines, recipients, domains, the file of the drop. No recipient is lost unseen ---- */

static int run_recipients(struct span text, struct pool *pool, struct letter *letter)
{
	char *argv[] = {(char[]){"sendmail"}, (char[]){"-t"}, (char[]){"one, \"t w o\"@example.org"}, NULL};
	struct sendmail_arguments a;
	struct err err = {0};
	int r = sendmail_arguments_parse(3, argv, pool, &a, &err);

	if (r == 0)
		r = recipients_extract(&a.recipients, span_sub(text, 0, local_header_length(text)), pool, &err);
	if (r == 0)
		memory_must(a.recipients.count == 3 && span_eq(a.recipients.addresses[2], SPAN_LIT("d@example.org")));
	if (r != 0)
		return r;
	*letter = (struct letter){.recipients = pool_array(pool, a.recipients.count, sizeof(*letter->recipients)), .recipient_count = a.recipients.count};
	for (size_t i = 0; i < a.recipients.count && letter->recipients != NULL; i++)
		letter->recipients[i] = (struct letter_recipient){.address = a.recipients.addresses[i], .orcpt = SPAN_LIT("rfc822;x@example.org")};
	return letter->recipients != NULL ? 0 : E_NOMEM;
}

static int run_drop(const struct letter *letter, struct pool *pool)
{
	struct letter back;
	struct err err = {0};
	struct buf head;
	size_t len;
	int r;

	buf_init(&head, DROP_HEAD_MAX);
	r = drop_encode(letter, &head);
	if (r == 0)
		r = drop_decode(buf_span(&head), pool, &back, &len, &err);
	if (r == 0)
		memory_must(back.recipient_count == 3 && len == buf_len(&head));
	buf_fini(&head);
	return r;
}

static int run_local(void *state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct complete complete;
	struct lines lines = {0};
	struct letter letter;
	struct buf text, out;
	int r = pool != NULL ? 0 : E_NOMEM;

	(void)state;
	buf_init(&text, 8192);
	buf_init(&out, 8192);
	complete_init(&complete, SPAN_LIT("example.org"));
	lines_feed(&lines, span_str(message), &text);
	lines_end(&lines, &text);
	complete_feed(&complete, buf_span(&text), &out);
	complete_end(&complete, &out);
	if (r == 0 && (buf_failed(&text) || buf_failed(&out)))
		r = E_NOMEM;
	if (r == 0)
		memory_must(span_eq(buf_span(&out), span_str(message)));
	if (r == 0)
		r = run_recipients(buf_span(&out), pool, &letter);
	if (r == 0)
		r = run_drop(&letter, pool);
	complete_fini(&complete);
	buf_fini(&text);
	buf_fini(&out);
	pool_free(&pool);
	return r;
}

const struct scenario text_scenarios[] = {
    {.name = "configuration", .run = run_conf},
    {.name = "aliases", .run = run_aliases},
    {.name = "SMTP dialogue", .run = run_smtp},
    {.name = "SMTP client", .run = run_smtp_client, .may_be_less = true},
    {.name = "SASL client", .run = run_sasl_client},
    {.name = "MIME made 7 bit", .run = run_convert},
    {.name = "MIME structure", .run = run_structure},
    {.name = "MIME addresses", .run = run_addresses},
    {.name = "encoded words, case folding", .run = run_words},
    {.name = "transfer encoding, charset", .run = run_decode},
    {.name = "ENVELOPE, BODY, BODYSTRUCTURE", .run = run_facts},
    {.name = "FETCH", .run = run_fetch},
    {.name = "SEARCH", .run = run_search},
    {.name = "modified UTF-7", .run = run_utf7},
    {.name = "messages between daemons", .run = run_ipc},
    {.name = "sendmail's message", .run = run_local},
    {0},
};
