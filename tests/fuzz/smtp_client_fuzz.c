/*
 * The client of SMTP and a server that says anything. It never tells of a recipient that was taken without a reply that says so,
 * what it sends has one end, and all of it depends on the server's octets alone, never on how they arrive.
 *
 * Input: a byte of options, one of the message, one for the pieces; the content up to 0x1d; then what the server says; 0x1e: it waits
 * for what the client has to say, whose owner acts then.
 */
#include "tests/fuzz/fuzz.h"

#include "smtp/client.h"
#include "smtp/framing.h"

#include <stdlib.h>

enum { OPTION_LMTP = 1, OPTION_TLS_MAY = 2, OPTION_TLS_MUST = 4, OPTION_TLS_DONE = 8, OPTION_LOGIN = 16, OPTION_TOKEN = 32, OPTION_QUIT = 64, OPTION_LOST = 128 };
enum { MESSAGE_EIGHTBIT = 1, MESSAGE_BINARY = 2, MESSAGE_UTF8 = 4, MESSAGE_SIZED = 8, MESSAGE_MANY = 16, MESSAGE_REQUIRETLS = 32 };
enum { RECIPIENTS = 150, TRANSACTIONS = 5 };

static const struct smtp_client_recipient few[] = {{.address = SPAN_LIT("a@b"), .orcpt = SPAN_LIT("utf-8;\303\266+\\@b"), .notify = 14}, {.address = SPAN_LIT("c@d")},
    {.address = SPAN_LIT("e@f"), .orcpt = SPAN_LIT("rfc822;x=y"), .notify = 1}};

struct talk {
	struct smtp_client *client;
	struct buf out, in, log;
	struct span content;
	struct smtp_client_message message;
	struct smtp_client_recipient many[RECIPIENTS];
	unsigned options, transactions;
	bool lmtp, tls, sent, begun;
	size_t taken; /* replies of 2yz since the content was sent */
	bool line_start;
	enum smtp_client_event event;
};

static const struct sasl_channel channel = {.exporter = SPAN_LIT("exporter")};

static void talk_begin(struct talk *t, unsigned options, unsigned message, struct span content)
{
	struct smtp_client_config config = {.helo = SPAN_LIT("we.example"), .lmtp = options & OPTION_LMTP, .tls_done = options & OPTION_TLS_DONE, .channel = channel,
	    .tls = options & OPTION_TLS_MUST ? SMTP_TLS_MUST : options & OPTION_TLS_MAY ? SMTP_TLS_MAY : SMTP_TLS_NEVER};

	if (options & OPTION_LOGIN)
		config.login = (struct smtp_client_login){.user = SPAN_LIT("u"), .password = SPAN_LIT("p"), .is_token = options & OPTION_TOKEN, .in_clear = true};
	*t = (struct talk){.content = content, .options = options, .lmtp = config.lmtp, .tls = config.tls_done, .line_start = true};
	buf_init(&t->out, 4 * 1024 * 1024);
	buf_init(&t->in, 4 * 1024 * 1024);
	buf_init(&t->log, 16 * 1024 * 1024);
	t->client = smtp_client_new(&config, &t->out);
	fuzz_assert(t->client != NULL);
	t->message = (struct smtp_client_message){.sender = SPAN_LIT("s@h"), .envid = SPAN_LIT("i+d"), .ret = 1, .eightbit = message & MESSAGE_EIGHTBIT,
	    .binary = message & MESSAGE_BINARY, .smtputf8 = message & MESSAGE_UTF8, .requiretls = message & MESSAGE_REQUIRETLS,
	    .size = message & MESSAGE_SIZED ? content.len : 0, .recipients = few, .recipient_count = 3};
	for (size_t i = 0; i < RECIPIENTS; i++)
		t->many[i].address = SPAN_LIT("r@h");
	if (message & MESSAGE_MANY) {
		t->message.recipients = t->many;
		t->message.recipient_count = RECIPIENTS;
	}
	t->event = SMTP_CLIENT_MORE;
}

static void talk_end(struct talk *t)
{
	smtp_client_free(&t->client);
	buf_fini(&t->out);
	buf_fini(&t->in);
	buf_fini(&t->log);
}

/* ---- what it says ---- */

/* Commands: lines of their own, whose length has a limit. */
static void look_at_commands(struct talk *t)
{
	struct span out = buf_span(&t->out), line;

	while (out.len > 0) {
		fuzz_assert(smtp_line_next(&out, &line, NULL) == 1);
		fuzz_assert(line.len <= 4096 && !span_eq(line, SPAN_LIT(".")) == !(line.len == 1));
		buf_printf(&t->log, "C: %.*s\n", span_startscase(line, SPAN_LIT("AUTH SCRAM")) ? 10 : (int)line.len, line.ptr);
	}
	fuzz_assert(buf_len(&t->out) <= SMTP_CLIENT_OUT_MIN);
	buf_clear(&t->out);
}

/* Every CR and LF a whole line end; the last line has one. */
static void plain_text(struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n')
			continue;
		if (in.ptr[i] == '\r' || in.ptr[i] == '\n')
			buf_add_str(out, "\r\n");
		else
			buf_add_char(out, in.ptr[i]);
	}
	if (buf_len(out) > 0 && buf_span(out).ptr[buf_len(out) - 1] != '\n')
		buf_add_str(out, "\r\n");
}

/* As a server reads it: one end, and it is the last that was sent. NUL is no server's business here. */
static void look_at_text(struct talk *t)
{
	struct smtp_frame frame = {.state = FRAME_LINE_START, .line_max = SIZE_MAX / 2};
	struct span out = buf_span(&t->out), piece;
	struct buf expected, got;

	if (span_find(t->content, '\0') < t->content.len)
		return;
	buf_init(&expected, 4 * 1024 * 1024);
	buf_init(&got, 4 * 1024 * 1024);
	plain_text(t->content, &expected);
	while (out.len > 0) {
		fuzz_assert(frame.state != FRAME_END && smtp_frame_next(&frame, &out, &piece, NULL) == 0);
		buf_add_span(&got, piece);
	}
	fuzz_assert(frame.state == FRAME_END);
	fuzz_assert_same(buf_span(&got), buf_span(&expected));
	buf_fini(&expected);
	buf_fini(&got);
}

/* ---- its owner ---- */

static void look_at_results(struct talk *t)
{
	size_t well = 0;

	for (size_t i = 0; i < t->message.recipient_count; i++) {
		const struct smtp_client_result *r = smtp_client_result(t->client, i);

		buf_printf(&t->log, "%zu: %d %d %s %d\n", i, r->code, r->maybe, r->command, r->reply.code);
		well += r->code == 0;
		fuzz_assert(r->code != 0 || (r->reply.code / 100 == 2 && t->sent && !r->maybe));
		fuzz_assert(!r->maybe || (t->sent && t->event == SMTP_CLIENT_CLOSED));
		fuzz_assert(r->code == 0 || err_is_temp(r->code) || r->reply.code >= 500);
	}
	fuzz_assert(well == 0 || (t->sent && t->taken >= (t->lmtp ? well : 1)));
}

static void say_content(struct talk *t)
{
	bool sized = t->message.size > 0 && smtp_client_offers(t->client)->chunking;

	look_at_commands(t);
	for (size_t at = 0; at < t->content.len; at += 7)
		smtp_client_content(t->client, span_sub(t->content, at, 7), false);
	smtp_client_content(t->client, span_str(""), true);
	if (sized)
		fuzz_assert_same(buf_span(&t->out), t->content);
	else
		look_at_text(t);
	buf_clear(&t->out);
	t->sent = true;
	t->taken = 0;
	t->line_start = true;
}

static void begin_transaction(struct talk *t)
{
	struct err err = {0};
	int r;

	if (t->transactions++ == TRANSACTIONS) {
		smtp_client_quit(t->client);
		return;
	}
	t->sent = false;
	r = smtp_client_send(t->client, &t->message, &err);
	buf_printf(&t->log, "send %d %s\n", r, err.text);
	t->begun = r == 0;
	if (r != 0)
		smtp_client_quit(t->client);
}

/* The flight is over: what the client wants done is done. */
static void act(struct talk *t)
{
	switch (t->event) {
	case SMTP_CLIENT_STARTTLS:
		fuzz_assert(!t->tls);
		t->tls = true;
		smtp_client_tls_started(t->client, &channel);
		break;
	case SMTP_CLIENT_READY:
		fuzz_assert(t->tls || !(t->options & OPTION_TLS_MUST));
		if (t->options & OPTION_QUIT && t->transactions > 0)
			smtp_client_quit(t->client);
		else
			begin_transaction(t);
		break;
	case SMTP_CLIENT_CONTENT:
		say_content(t);
		break;
	default:
		break;
	}
	look_at_commands(t);
}

/* How many replies of 2yz the content was answered with, by what a line looks like alone. */
static void count_replies(struct talk *t, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		t->taken += t->line_start && bytes.ptr[i] == '2';
		t->line_start = bytes.ptr[i] == '\n';
	}
}

/* All that is there. */
static void talk_feed(struct talk *t)
{
	for (;;) {
		char *copy = fuzz_copy(buf_span(&t->in));
		size_t consumed;

		t->event = smtp_client_feed(t->client, span_of(copy, buf_len(&t->in)), &consumed);
		free(copy);
		fuzz_assert(consumed <= buf_len(&t->in));
		count_replies(t, span_sub(buf_span(&t->in), 0, consumed));
		buf_take(&t->in, consumed);
		look_at_commands(t);
		fuzz_assert(t->event == SMTP_CLIENT_CLOSED || t->event == SMTP_CLIENT_DONE || buf_len(&t->in) < SMTP_REPLY_LINE_MAX);
		if (t->event != SMTP_CLIENT_DONE)
			return;
		buf_add_str(&t->log, "done\n");
		look_at_results(t);
		t->begun = false;
	}
}

/* True when STARTTLS was answered although more was to come. */
static bool talk_flight(struct talk *t, struct span flight, unsigned seed)
{
	struct fuzz_pieces pieces;
	struct span piece;
	bool torn = false;

	fuzz_pieces_init(&pieces, flight, seed);
	while (fuzz_pieces_next(&pieces, &piece)) {
		buf_add_span(&t->in, piece);
		if (t->event == SMTP_CLIENT_CLOSED || torn)
			continue;
		talk_feed(t);
		torn = t->event == SMTP_CLIENT_STARTTLS && pieces.rest.len > 0;
	}
	if (flight.len == 0 && t->event != SMTP_CLIENT_CLOSED)
		talk_feed(t);
	if (!torn)
		act(t);
	return torn;
}

static void talk_at_once(struct talk *t, struct span flight)
{
	buf_add_span(&t->in, flight);
	if (t->event != SMTP_CLIENT_CLOSED)
		talk_feed(t);
	act(t);
}

static void look_at_end(struct talk *t)
{
	struct err err;
	const struct smtp_client_reply *reply;
	int code;

	if (t->event != SMTP_CLIENT_CLOSED && t->options & OPTION_LOST) {
		smtp_client_ended(t->client, E_TIMEOUT, NULL);
		talk_feed(t);
		fuzz_assert(t->event == SMTP_CLIENT_CLOSED);
	}
	if (t->event != SMTP_CLIENT_CLOSED)
		return;
	code = smtp_client_failure(t->client, &err, &reply);
	fuzz_assert(code == err.code && (reply->code == 0 || (reply->code >= 200 && reply->code < 600)) && err.text[0] != '\0');
	buf_printf(&t->log, "closed %d %s %d\n", code, err.text, smtp_client_was_ready(t->client));
	if (t->begun)
		look_at_results(t);
}

void fuzz_one(struct span input)
{
	unsigned options = fuzz_byte(&input), message = fuzz_byte(&input), seed = fuzz_byte(&input);
	struct talk one, other;
	struct span content;
	struct buf text;
	bool torn = false;

	buf_init(&text, 256 * 1024);
	fuzz_expand(input, &text);
	input = buf_span(&text);
	content = fuzz_until(&input, '\x1d');
	talk_begin(&one, options, message, content);
	talk_begin(&other, options, message, content);
	while (input.len > 0 && !torn) {
		struct span flight = fuzz_until(&input, '\x1e');

		talk_at_once(&one, flight);
		torn = talk_flight(&other, flight, seed);
	}
	if (torn) {
		fuzz_assert(one.event == SMTP_CLIENT_CLOSED);
	} else {
		look_at_end(&one);
		look_at_end(&other);
		fuzz_assert(one.event == other.event);
		fuzz_assert_same(buf_span(&one.log), buf_span(&other.log));
	}
	talk_end(&one);
	talk_end(&other);
	buf_fini(&text);
}
