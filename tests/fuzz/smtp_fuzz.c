/*
 * The SMTP engine in whole conversations. What it says and asks does not depend
 * on how the octets arrive, nor on whether its owner answers at once or later.
 *
 * Input: a byte of options, a byte for the pieces, then what the client sends;
 * 0x1e: it waits for the answers before it goes on.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "smtp/server.h"

#include <stdlib.h>

enum { OPTION_LMTP = 1, OPTION_TLS = 2, OPTION_LATER = 4, OPTION_SHUTDOWN = 8, OPTION_LEAVE = 16, OPTION_SUBMISSION = 32 };
enum { CHALLENGE = 100 };
enum { MESSAGE_SIZE = 3000, HEADER_SIZE = 1000, RECEIVED_LINES = 3, RECIPIENTS = 4, ERRORS = 8, FULL_AT = 100 };

struct talk {
	struct smtp_server *server;
	struct buf out, log, content;
	bool later, begun, ended, submission, in_exchange, logged_in;
	size_t response; /* octets of the last one in an exchange */
	char first;	 /* and how it begins */
	enum question { ASKED_NOTHING, ASKED_RCPT, ASKED_READY, ASKED_DONE, ASKED_MAIL, ASKED_AUTH } asked;
	enum smtp_event event;
};

static struct err why(int code)
{
	struct err err;

	err_set(&err, code, "%s", err_text(code));
	return err;
}

/* ---- the owner: its answers depend on what it is asked, on nothing else ---- */

static void answer_rcpt(struct talk *t)
{
	struct span address = smtp_server_asked(t->server);
	int code = span_startswith(address, SPAN_LIT("no")) ? E_NOTFOUND : span_startswith(address, SPAN_LIT("busy")) ? E_BUSY : 0;
	struct err err = why(code);

	smtp_server_rcpt_done(t->server, code, &err, t);
}

static void answer_mail(struct talk *t)
{
	int code = span_startswith(smtp_server_transaction(t->server)->sender, SPAN_LIT("no")) ? E_DENIED : 0;
	struct err err = why(code);

	smtp_server_mail_done(t->server, code, &err);
}

/* A response of an even length is followed by a challenge; of the others those that begin with 'y' are right. */
static void answer_auth(struct talk *t)
{
	static const char text[CHALLENGE] = "challenge";

	if (t->response % 2 == 0) {
		smtp_server_auth_challenge(t->server, span_of(text, t->response % CHALLENGE));
		return;
	}
	t->in_exchange = false;
	t->logged_in = t->first == 'y';
	smtp_server_auth_done(t->server, t->logged_in ? 0 : t->first == 's' ? E_SYNTAX : t->first == 'b' ? E_BUSY : E_AUTHFAILED, SPAN_LIT("because"));
}

static void answer_ready(struct talk *t)
{
	struct span sender = smtp_server_transaction(t->server)->sender;
	int code = span_startswith(sender, SPAN_LIT("noroom")) ? E_NOSPACE : 0;
	struct err err = why(code);

	t->begun = code == 0;
	smtp_server_data_ready(t->server, code, &err);
}

/* One answer; in LMTP one for each recipient in order. */
static void answer_done(struct talk *t)
{
	const struct smtp_transaction *tx = smtp_server_transaction(t->server);
	bool bad = span_startswith(tx->sender, SPAN_LIT("fail"));

	t->ended = true;
	smtp_server_data_done(t->server, bad ? E_IO : 0, bad ? SPAN_LIT("broken") : SPAN_LIT("queued"));
}

static void answer(struct talk *t)
{
	enum question asked = t->asked;

	t->asked = ASKED_NOTHING;
	if (asked == ASKED_RCPT)
		answer_rcpt(t);
	else if (asked == ASKED_READY)
		answer_ready(t);
	else if (asked == ASKED_MAIL)
		answer_mail(t);
	else if (asked == ASKED_AUTH)
		answer_auth(t);
	else
		while (smtp_server_waits(t->server) && t->asked == ASKED_NOTHING)
			answer_done(t);
}

static void ask_auth(struct talk *t, struct span response)
{
	fuzz_assert(t->submission && !t->logged_in && response.len <= SASL_RESPONSE_MAX);
	t->response = response.len;
	t->first = response.len > 0 ? response.ptr[0] : '\0';
	buf_printf(&t->log, "response of %zu\n", response.len);
	t->asked = ASKED_AUTH;
	if (!t->later)
		answer(t);
}

static void on_auth(void *arg, struct smtp_server *server, enum sasl_mechanism mechanism, const struct buf *initial)
{
	struct talk *t = arg;

	(void)server;
	fuzz_assert(!t->in_exchange);
	t->in_exchange = true;
	buf_printf(&t->log, "auth %s\n", sasl_mechanism_name(mechanism));
	ask_auth(t, initial != NULL ? buf_span(initial) : (struct span){0});
}

static void on_auth_response(void *arg, struct smtp_server *server, struct span response)
{
	struct talk *t = arg;

	(void)server;
	fuzz_assert(t->in_exchange);
	ask_auth(t, response);
}

static void on_auth_cancel(void *arg, struct smtp_server *server)
{
	struct talk *t = arg;

	(void)server;
	fuzz_assert(t->in_exchange);
	t->in_exchange = false;
	buf_add_str(&t->log, "cancel\n");
}

static void on_mail(void *arg, struct smtp_server *server, struct span sender)
{
	struct talk *t = arg;

	(void)server;
	fuzz_assert(t->submission && t->logged_in);
	buf_printf(&t->log, "mail %.*s\n", SPAN_ARG(sender));
	t->asked = ASKED_MAIL;
	if (!t->later)
		answer(t);
}

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	struct talk *t = arg;
	char again[SMTP_PATH_MAX + 1];
	struct buf path;
	size_t used;

	fuzz_assert(span_eq(address, smtp_server_asked(server)) && t->submission == t->logged_in);
	buf_init(&path, SMTP_PATH_MAX + 2);
	buf_printf(&path, "<%.*s>", SPAN_ARG(address));
	fuzz_assert(smtp_path_parse(buf_span(&path), SMTP_PATH_POSTMASTER | SMTP_PATH_UTF8, again, &used, NULL) == 0);
	fuzz_assert_same(span_str(again), address);
	buf_fini(&path);
	buf_printf(&t->log, "rcpt %.*s\n", SPAN_ARG(address));
	t->asked = ASKED_RCPT;
	if (!t->later)
		answer(t);
}

static void look_at_transaction(const struct smtp_transaction *tx)
{
	uint32_t count = 0;

	fuzz_assert(tx->size <= MESSAGE_SIZE && tx->ret <= 2);
	fuzz_assert(tx->envid.len <= SMTP_ENVID_MAX && tx->sender.len <= SMTP_PATH_MAX && utf8_is_valid(tx->sender));
	fuzz_assert(tx->smtputf8 || utf8_is_ascii(tx->sender));
	for (const struct smtp_recipient *r = tx->recipients; r != NULL; r = r->next, count++) {
		fuzz_assert(r->address.len > 0 && r->address.len <= SMTP_PATH_MAX && r->orcpt.len <= SMTP_XTEXT_MAX);
		fuzz_assert(r->notify <= 1 || (r->notify < 16 && !(r->notify & 1)));
		fuzz_assert(tx->smtputf8 || utf8_is_ascii(r->address));
	}
	fuzz_assert(count == tx->recipient_count && count <= RECIPIENTS);
}

static void on_data_begin(void *arg, struct smtp_server *server)
{
	struct talk *t = arg;
	const struct smtp_transaction *tx = smtp_server_transaction(server);

	fuzz_assert(!t->begun && tx->recipient_count > 0);
	look_at_transaction(tx);
	for (const struct smtp_recipient *r = tx->recipients; r != NULL; r = r->next)
		buf_printf(&t->log, "for %.*s %u %.*s\n", SPAN_ARG(r->address), r->notify, SPAN_ARG(r->orcpt));
	buf_printf(&t->log, "begin %.*s %u %u %d\n", SPAN_ARG(tx->sender), (unsigned)tx->body, tx->ret, tx->smtputf8);
	buf_clear(&t->content);
	t->ended = false;
	t->asked = ASKED_READY;
	if (!t->later)
		answer(t);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	struct talk *t = arg;

	fuzz_assert(t->begun && !t->ended && bytes.len > 0);
	buf_add_span(&t->content, bytes);
	if (span_startswith(smtp_server_transaction(server)->sender, SPAN_LIT("full")) && buf_len(&t->content) > FULL_AT)
		return err_set(err, E_NOSPACE, "full");
	return 0;
}

static unsigned received_lines(struct span content)
{
	unsigned count = 0;

	while (content.len > 0) {
		struct span line = fuzz_until(&content, '\n');

		if (line.len == 0 || span_eq(line, SPAN_LIT("\r")))
			break;
		count += span_startscase(line, SPAN_LIT("Received:"));
	}
	return count;
}

static void on_data_end(void *arg, struct smtp_server *server)
{
	struct talk *t = arg;
	const struct smtp_transaction *tx = smtp_server_transaction(server);

	fuzz_assert(t->begun && !t->ended);
	look_at_transaction(tx);
	fuzz_assert(tx->size == buf_len(&t->content));
	fuzz_assert(received_lines(buf_span(&t->content)) <= RECEIVED_LINES);
	buf_printf(&t->log, "end %zu\n", buf_len(&t->content));
	buf_add_span(&t->log, buf_span(&t->content));
	t->asked = ASKED_DONE;
	if (!t->later)
		answer(t);
	if (t->asked == ASKED_NOTHING)
		t->begun = false;
}

static void on_data_abort(void *arg, struct smtp_server *server)
{
	struct talk *t = arg;

	(void)server;
	/* What the owner has answered for is not its own any more. */
	fuzz_assert(t->begun && !t->ended);
	t->begun = false;
	buf_add_str(&t->log, "abort\n");
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	struct talk *t = arg;

	(void)server;
	buf_printf(&t->log, "refused %.*s\n", SPAN_ARG(reply));
}

static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_data_begin, .data = on_data, .data_end = on_data_end,
    .data_abort = on_data_abort, .refused = on_refused, .mail = on_mail, .auth = on_auth, .auth_response = on_auth_response, .auth_cancel = on_auth_cancel};

/* ---- the client ---- */

static int64_t at_noon(void)
{
	return 1795521600;
}

static void talk_begin(struct talk *t, unsigned options, bool later)
{
	struct smtp_server_config config = {.hostname = SPAN_LIT("mx.example"), .lmtp = options & OPTION_LMTP,
	    .tls_offered = options & OPTION_TLS, .submission = (options & OPTION_SUBMISSION) && !(options & OPTION_LMTP), .plain_login = options & OPTION_SHUTDOWN,
	    .limits = {.message_size = MESSAGE_SIZE, .header_size = HEADER_SIZE, .received_lines = RECEIVED_LINES,
		.recipients = RECIPIENTS, .errors = ERRORS, .future_release = 86400},
	    .wall = at_noon};

	*t = (struct talk){.later = later, .submission = config.submission};
	buf_init(&t->out, 16 * 1024 * 1024);
	buf_init(&t->log, 16 * 1024 * 1024);
	buf_init(&t->content, 1024 * 1024);
	t->server = smtp_server_new(&config, &callbacks, t, &t->out);
	fuzz_assert(t->server != NULL);
	smtp_server_greet(t->server);
}

static void talk_end(struct talk *t, unsigned options)
{
	if (options & OPTION_SHUTDOWN && t->event != SMTP_CLOSE)
		smtp_server_shutdown(t->server, "Server is shutting down");
	smtp_server_free(&t->server);
	fuzz_assert(!t->begun);
	buf_fini(&t->out);
	buf_fini(&t->log);
	buf_fini(&t->content);
}

/* What is in the buffer, as far as it goes now. leave: the last question stays open. */
static void talk_feed(struct talk *t, struct buf *in, bool leave)
{
	for (;;) {
		char *copy = fuzz_copy(buf_span(in));
		bool waited = smtp_server_waits(t->server);
		size_t consumed, before = buf_len(&t->out);

		t->event = smtp_server_feed(t->server, span_of(copy, buf_len(in)), &consumed);
		free(copy);
		fuzz_assert(consumed <= buf_len(in) && (!waited || (consumed == 0 && buf_len(&t->out) == before)));
		buf_take(in, consumed);
		/* A line that is too long is taken or ends it; the buffer of a connection need not grow. */
		fuzz_assert(smtp_server_waits(t->server) || t->event == SMTP_CLOSE || buf_len(in) <= (t->submission ? SMTP_AUTH_LINE_MAX : SMTP_LINE_MAX));
		if (!smtp_server_waits(t->server) || leave)
			return;
		fuzz_assert(t->asked != ASKED_NOTHING);
		answer(t);
		if (t->ended && !smtp_server_waits(t->server))
			t->begun = false;
	}
}

/* "250-text", "250 text", each ended by CR LF, printable, at most 512 octets (RFC 5321 section 4.5.3.1.5). */
static void look_at_replies(struct span out)
{
	while (out.len > 0) {
		struct span line = fuzz_until(&out, '\n');

		fuzz_assert(line.len >= 5 && line.len < 512 && line.ptr[line.len - 1] == '\r');
		line.len--;
		for (size_t i = 0; i < line.len; i++)
			fuzz_assert(line.ptr[i] >= ' ' && (unsigned char)line.ptr[i] < 0x7f);
		fuzz_assert(line.ptr[0] >= '2' && line.ptr[0] <= '5' && ascii_is_digit(line.ptr[1]) && ascii_is_digit(line.ptr[2]));
		fuzz_assert(line.ptr[3] == ' ' || line.ptr[3] == '-');
	}
}

static void tls_started(struct talk *t)
{
	fuzz_assert(!t->logged_in && !t->in_exchange);
	smtp_server_bound(t->server);
	smtp_server_tls_started(t->server);
}

/* One flight in pieces. True when STARTTLS was answered although more was to come. */
static bool talk_flight(struct talk *t, struct span flight, unsigned seed, bool leave)
{
	struct fuzz_pieces pieces;
	struct span piece;
	struct buf in;
	bool torn = false;

	buf_init(&in, 4 * 1024 * 1024);
	fuzz_pieces_init(&pieces, flight, seed);
	while (fuzz_pieces_next(&pieces, &piece)) {
		buf_add_span(&in, piece);
		if (t->event == SMTP_CLOSE || torn)
			continue;
		talk_feed(t, &in, leave && pieces.rest.len == 0);
		if (t->event == SMTP_STARTTLS && pieces.rest.len > 0)
			torn = true;
		else if (t->event == SMTP_STARTTLS)
			tls_started(t);
	}
	buf_fini(&in);
	return torn;
}

static void talk_at_once(struct talk *t, struct span flight, bool leave)
{
	struct buf in;

	buf_init(&in, 4 * 1024 * 1024);
	buf_add_span(&in, flight);
	if (t->event != SMTP_CLOSE)
		talk_feed(t, &in, leave);
	if (t->event == SMTP_STARTTLS)
		tls_started(t);
	buf_fini(&in);
}

void fuzz_one(struct span input)
{
	unsigned options = fuzz_byte(&input), seed = fuzz_byte(&input);
	struct talk one, other;
	bool torn = false;
	struct buf text;

	buf_init(&text, 256 * 1024);
	fuzz_expand(input, &text);
	input = buf_span(&text);
	talk_begin(&one, options, false);
	talk_begin(&other, options, options & OPTION_LATER);
	while (input.len > 0 && !torn) {
		struct span flight = fuzz_until(&input, '\x1e');
		bool leave = input.len == 0 && options & OPTION_LEAVE;

		talk_at_once(&one, flight, leave);
		torn = talk_flight(&other, flight, seed, leave);
	}
	look_at_replies(buf_span(&one.out));
	look_at_replies(buf_span(&other.out));
	/* Data behind STARTTLS is only seen when it comes along with it (RFC 3207). */
	if (torn)
		fuzz_assert(one.event == SMTP_CLOSE);
	else if (!(options & OPTION_LEAVE)) {
		fuzz_assert_same(buf_span(&one.out), buf_span(&other.out));
		fuzz_assert_same(buf_span(&one.log), buf_span(&other.log));
		fuzz_assert(one.event == other.event);
	}
	talk_end(&one, options);
	talk_end(&other, options);
	buf_fini(&text);
}
