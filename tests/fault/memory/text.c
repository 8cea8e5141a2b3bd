/* Engines that only see text: configuration, SMTP, MIME, IMAP, messages between daemons. */
#include "tests/fault/memory/memory.h"

#include "alias/set.h"
#include "conf/conf.h"
#include "dns/dns.h"
#include "imap/facts.h"
#include "imap/fetch.h"
#include "imap/search.h"
#include "imap/set.h"
#include "imap/utf7.h"
#include "ipc/ipc.h"
#include "mime/charset.h"
#include "mime/encoding.h"
#include "mime/fold.h"
#include "mime/header.h"
#include "mime/structure.h"
#include "mime/words.h"
#include "smtp/server.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- MIME ---- */

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

/* ---- questions to the resolver ---- */

static void on_answer(void *arg, const struct dns_answer *answer)
{
	*(int *)arg = answer->result == DNS_FOUND ? 0 : E_NOMEM;
}

/* What does not get there must be told at once: a deadline would come much later. */
static int ask_resolver(struct event_base *base, struct dns *dns, int resolver)
{
	static char buffer[IPC_MESSAGE_MAX];
	const struct dns_reply reply = {.records = SPAN_LIT("\1\0x")};
	struct ipc_message m;
	struct err err;
	int result = E_TIMEOUT;
	uint32_t number = dns_ask(dns, SPAN_LIT("example.org"), DNS_MX, 0, on_answer, &result);

	if (number == 0)
		return E_NOMEM;
	memory_must(result == E_TIMEOUT);
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (result == E_NOMEM)
		return result;
	memory_must(ipc_receive(resolver, &ipc_service_dns, TO_SERVICE, buffer, &m, &err) == 0 && m.id == number);
	memory_rest(); /* the resolver's own */
	memory_must(ipc_send(resolver, &ipc_dns_reply, number, &reply, -1) == 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	return result;
}

static int run_dns(void *state)
{
	struct event_base *base = event_base_new();
	struct dns *dns = dns_new(base);
	struct err err;
	int fds[2], r;

	(void)state;
	memory_must(base != NULL && ipc_pair(fds, &err) == 0);
	if (dns == NULL)
		close(fds[0]);
	r = dns != NULL ? dns_service(dns, fds[0]) : E_NOMEM;
	if (r == 0)
		r = ask_resolver(base, dns, fds[1]);
	dns_free(&dns);
	close(fds[1]);
	event_base_free(base);
	return r;
}

const struct scenario text_scenarios[] = {
    {.name = "configuration", .run = run_conf},
    {.name = "aliases", .run = run_aliases},
    {.name = "SMTP dialogue", .run = run_smtp},
    {.name = "MIME structure", .run = run_structure},
    {.name = "MIME addresses", .run = run_addresses},
    {.name = "encoded words, case folding", .run = run_words},
    {.name = "transfer encoding, charset", .run = run_decode},
    {.name = "ENVELOPE, BODY, BODYSTRUCTURE", .run = run_facts},
    {.name = "FETCH", .run = run_fetch},
    {.name = "SEARCH", .run = run_search},
    {.name = "modified UTF-7", .run = run_utf7},
    {.name = "messages between daemons", .run = run_ipc},
    {.name = "questions to the resolver", .run = run_dns},
    {0},
};
