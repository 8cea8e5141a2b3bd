/*
 * Our client speaks to our server, in memory, with every set of extensions and in pieces of any size: each recipient's message arrives as it
 * was, and the client knows of each what the server did.
 */
#include "tests/unit/test.h"

#include "sasl/sasl.h"
#include "smtp/client.h"
#include "smtp/server.h"

#include <stdio.h>
#include <stdlib.h>

enum { WITHOUT = 9, MAX_RECIPIENTS = 8 };

/* Which lines of EHLO's answer the client does not see. */
static const char *const keywords[WITHOUT] = {"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN", "LIMITS", "STARTTLS"};

struct world {
	unsigned hidden; /* bits: keywords */
	unsigned seed;
	bool lmtp, submission, fail;
	struct smtp_client *client;
	struct smtp_server *server;
	struct buf to_server, to_client, wire_server, wire_client;
	enum smtp_client_event event;
	struct buf content, taken; /* what the server got; "a@b c@d|" a message */
	struct sasl *sasl;
	struct scram_keys keys;
	unsigned logins, handshakes;
};

static unsigned dice(struct world *w, unsigned sides)
{
	w->seed = w->seed * 1103515245 + 12345;
	return w->seed / 65536 % sides;
}

/* ---- the server's owner ---- */

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	int code = span_startswith(address, SPAN_LIT("no")) ? E_NOTFOUND : span_startswith(address, SPAN_LIT("later")) ? E_BUSY : 0;
	struct err err;

	(void)arg;
	err_set(&err, code, "because");
	smtp_server_rcpt_done(server, code, &err, NULL);
}

static void on_begin(void *arg, struct smtp_server *server)
{
	buf_clear(&((struct world *)arg)->content);
	smtp_server_data_ready(server, 0, NULL);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	(void)server, (void)err;
	buf_add_span(&((struct world *)arg)->content, bytes);
	return 0;
}

static void on_end(void *arg, struct smtp_server *server)
{
	struct world *w = arg;

	for (const struct smtp_recipient *r = smtp_server_transaction(server)->recipients; r != NULL; r = r->next)
		buf_printf(&w->taken, "%.*s ", SPAN_ARG(r->address));
	for (uint32_t left = w->lmtp ? smtp_server_transaction(server)->recipient_count : 1; left > 0; left--)
		smtp_server_data_done(server, w->fail || (w->lmtp && left == 2) ? E_IO : 0, SPAN_LIT("words"));
}

static void on_nothing(void *arg, struct smtp_server *server)
{
	(void)arg, (void)server;
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	(void)arg, (void)server, (void)reply;
}

static void on_mail(void *arg, struct smtp_server *server, struct span sender)
{
	(void)arg, (void)sender;
	smtp_server_mail_done(server, 0, NULL);
}

static const struct sasl_channel channel = {.plus_offered = true, .exporter = SPAN_LIT("0123456789")};

static void auth_step(struct world *w, enum sasl_step step)
{
	if (step == SASL_KEYS)
		step = sasl_keys(w->sasl, &w->keys);
	if (step == SASL_PASSWORD)
		step = sasl_decide(w->sasl, span_eq(sasl_secret(w->sasl), SPAN_LIT("secret")));
	if (step == SASL_CHALLENGE) {
		smtp_server_auth_challenge(w->server, sasl_challenge(w->sasl));
		return;
	}
	w->logins += step == SASL_DONE;
	sasl_free(&w->sasl);
	smtp_server_auth_done(w->server, step == SASL_DONE ? 0 : step == SASL_WRONG ? E_AUTHFAILED : E_SYNTAX, SPAN_LIT("words"));
}

static void on_auth(void *arg, struct smtp_server *server, enum sasl_mechanism mechanism, const struct buf *initial)
{
	struct world *w = arg;
	enum sasl_step step;

	(void)server;
	w->sasl = sasl_new(mechanism, &channel);
	if (scram_size(mechanism) > 0)
		assert_int_equal(scram_make(scram_size(mechanism), SPAN_LIT("secret"), &w->keys), 0);
	step = sasl_begin(w->sasl);
	auth_step(w, initial != NULL ? sasl_respond(w->sasl, buf_span(initial)) : step);
}

static void on_auth_response(void *arg, struct smtp_server *server, struct span response)
{
	struct world *w = arg;

	(void)server;
	auth_step(w, sasl_respond(w->sasl, response));
}

static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_begin, .data = on_data, .data_end = on_end,
    .data_abort = on_nothing, .refused = on_refused, .mail = on_mail, .auth = on_auth, .auth_response = on_auth_response, .auth_cancel = on_nothing};

/* ---- the wires ---- */

static bool is_hidden(const struct world *w, struct span line)
{
	for (size_t i = 0; i < WITHOUT; i++)
		if (w->hidden & 1U << i && span_startswith(span_from(line, 4), span_str(keywords[i])))
			return true;
	return false;
}

static void pass_replies_on(struct world *w)
{
	struct span out = buf_span(&w->wire_server);

	while (out.len > 0) {
		struct span line = span_sub(out, 0, span_find(out, '\n') + 1);

		if (!is_hidden(w, line))
			buf_add_span(&w->to_client, line);
		out = span_from(out, line.len);
	}
	buf_clear(&w->wire_server);
}

/* A piece of what is on its way to the server; all of it, where STARTTLS ends it. */
static void server_step(struct world *w)
{
	size_t consumed, len = buf_len(&w->to_server);

	if (len > 0 && dice(w, 3) > 0)
		len = 1 + dice(w, (unsigned)len);
	if (smtp_server_feed(w->server, span_sub(buf_span(&w->to_server), 0, len), &consumed) == SMTP_STARTTLS) {
		smtp_server_tls_started(w->server);
		smtp_server_bound(w->server);
		w->handshakes++;
	}
	buf_take(&w->to_server, consumed);
	pass_replies_on(w);
}

static void client_step(struct world *w)
{
	size_t consumed, len = buf_len(&w->to_client);

	if (len > 0 && dice(w, 3) > 0)
		len = 1 + dice(w, (unsigned)len);
	w->event = smtp_client_feed(w->client, span_sub(buf_span(&w->to_client), 0, len), &consumed);
	buf_take(&w->to_client, consumed);
	if (w->event == SMTP_CLIENT_STARTTLS) {
		assert_int_equal(buf_len(&w->to_client), 0);
		smtp_client_tls_started(w->client, &channel);
	}
	buf_add_span(&w->to_server, buf_span(&w->wire_client));
	buf_clear(&w->wire_client);
}

/* Until the client's owner has something to do. */
static void run(struct world *w)
{
	int steps = 0;

	do {
		server_step(w);
		client_step(w);
		assert_true(++steps < 100000);
	} while (w->event == SMTP_CLIENT_MORE || w->event == SMTP_CLIENT_STARTTLS);
}

static void world_begin(struct world *w, unsigned hidden, unsigned seed, bool lmtp, struct smtp_client_login login)
{
	struct smtp_server_config server = {.hostname = SPAN_LIT("mx.example"), .tls_offered = true, .lmtp = lmtp, .submission = login.user.len > 0,
	    .plain_login = login.in_clear, .limits = {.message_size = 100000, .header_size = 10000, .received_lines = 10, .recipients = 5, .errors = 100}};
	struct smtp_client_config client = {.helo = SPAN_LIT("we.example"), .lmtp = lmtp, .tls = SMTP_TLS_MAY, .login = login};

	*w = (struct world){.hidden = hidden, .seed = seed, .lmtp = lmtp, .submission = server.submission};
	buf_init(&w->to_server, 1024 * 1024);
	buf_init(&w->to_client, 1024 * 1024);
	buf_init(&w->wire_server, 1024 * 1024);
	buf_init(&w->wire_client, 1024 * 1024);
	buf_init(&w->content, 1024 * 1024);
	buf_init(&w->taken, 1024 * 1024);
	w->server = smtp_server_new(&server, &callbacks, w, &w->wire_server);
	w->client = smtp_client_new(&client, &w->wire_client);
	smtp_server_greet(w->server);
	run(w);
}

static void world_end(struct world *w)
{
	smtp_client_free(&w->client);
	smtp_server_free(&w->server);
	sasl_free(&w->sasl);
	buf_fini(&w->to_server);
	buf_fini(&w->to_client);
	buf_fini(&w->wire_server);
	buf_fini(&w->wire_client);
	buf_fini(&w->content);
	buf_fini(&w->taken);
}

/* ---- a message ---- */

static const struct smtp_client_recipient everybody[MAX_RECIPIENTS] = {{.address = SPAN_LIT("a@b.example"), .notify = 6, .orcpt = SPAN_LIT("rfc822;x+y@b.example")},
    {.address = SPAN_LIT("no1@b.example")}, {.address = SPAN_LIT("c@b.example"), .notify = 1}, {.address = SPAN_LIT("later1@b.example")},
    {.address = SPAN_LIT("e@b.example")}, {.address = SPAN_LIT("no2@b.example")}, {.address = SPAN_LIT("\"g>h\"@b.example")}, {.address = SPAN_LIT("h@b.example")}};

static void say_content(struct world *w, struct span content)
{
	while (content.len > 0) {
		size_t len = 1 + dice(w, (unsigned)content.len);

		smtp_client_content(w->client, span_sub(content, 0, len), len == content.len);
		content = span_from(content, len);
	}
}

/* What the client says of each is what the server did. */
static void compare(struct world *w, const struct smtp_client_message *message)
{
	struct span taken = buf_span(&w->taken);
	size_t nth = 0, accepted = 0;

	for (size_t i = 0; i < taken.len; i++)
		accepted += taken.ptr[i] == ' ';
	for (size_t i = 0; i < message->recipient_count; i++) {
		const struct smtp_client_result *r = smtp_client_result(w->client, i);
		struct span address = message->recipients[i].address, next = span_sub(taken, 0, span_find(taken, ' '));
		bool refused = span_startswith(address, SPAN_LIT("no")), later = span_startswith(address, SPAN_LIT("later"));

		assert_false(r->maybe);
		if (r->code == E_LIMIT)
			continue;
		assert_true(refused == (r->code == E_CANNOT && r->reply.code == 550));
		assert_true(!later || (r->code == E_UNAVAILABLE && r->reply.code == 451));
		if (refused || later)
			continue;
		nth++;
		if (w->fail || (w->lmtp && accepted - nth == 1))
			assert_true(r->code == E_UNAVAILABLE && r->reply.code == 451);
		else
			assert_int_equal(r->code, 0);
		/* the server writes quoted local parts in their shortest form, which this is */
		assert_true(span_eq(next, address));
		taken = span_from(taken, next.len + 1);
	}
	assert_int_equal(taken.len, 0);
}

static void deliver(struct world *w, unsigned first, unsigned count)
{
	static const char text[] = "Subject: x\r\n\r\n.\r\n..\r\n.a\r\nline\r\n\r\n";
	struct smtp_client_message message = {.sender = SPAN_LIT("s@here.example"), .envid = SPAN_LIT("e+1"), .ret = 1, .size = strlen(text),
	    .recipients = everybody + first, .recipient_count = count};

	buf_clear(&w->taken);
	w->fail = dice(w, 8) == 0;
	assert_int_equal(smtp_client_send(w->client, &message, NULL), 0);
	run(w);
	if (w->event == SMTP_CLIENT_CONTENT) {
		say_content(w, span_str(text));
		run(w);
		assert_span_equal(buf_span(&w->content), text);
	}
	assert_int_equal(w->event, SMTP_CLIENT_DONE);
	compare(w, &message);
	run(w);
	assert_int_equal(w->event, SMTP_CLIENT_READY);
}

static void every_set_of_extensions(void **state)
{
	(void)state;
	for (unsigned hidden = 0; hidden < 1U << WITHOUT; hidden++) {
		struct world w;

		world_begin(&w, hidden, hidden, hidden % 3 == 0, (struct smtp_client_login){0});
		assert_int_equal(w.event, SMTP_CLIENT_READY);
		assert_int_equal(w.handshakes, hidden & 1U << 8 ? 0 : 1);
		for (unsigned i = 0; i < 4; i++) {
			unsigned first = dice(&w, MAX_RECIPIENTS);

			deliver(&w, first, 1 + dice(&w, MAX_RECIPIENTS - first));
		}
		smtp_client_quit(w.client);
		run(&w);
		assert_int_equal(w.event, SMTP_CLIENT_CLOSED);
		assert_int_equal(smtp_client_failure(w.client, NULL, NULL), 0);
		world_end(&w);
	}
}

static void many_messages_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 300; seed++) {
		struct world w;

		world_begin(&w, 0, seed, seed % 2, (struct smtp_client_login){0});
		for (unsigned i = 0; i < 5; i++) {
			unsigned first = dice(&w, MAX_RECIPIENTS);

			w.hidden = dice(&w, 1U << WITHOUT);
			deliver(&w, first, 1 + dice(&w, MAX_RECIPIENTS - first));
		}
		world_end(&w);
	}
}

/* ---- logging in ---- */

static void logins_with_what_is_offered(void **state)
{
	static const struct {
		struct smtp_client_login login;
		unsigned hidden;
		enum smtp_client_event event;
		int code;
	} rows[] = {
	    {{.user = SPAN_LIT("a@b"), .password = SPAN_LIT("secret")}, 0, SMTP_CLIENT_READY, 0},
	    {{.user = SPAN_LIT("a@b"), .password = SPAN_LIT("wrong")}, 0, SMTP_CLIENT_CLOSED, E_AUTHFAILED},
	    {{.user = SPAN_LIT("a@b"), .password = SPAN_LIT("secret")}, 1U << 8, SMTP_CLIENT_CLOSED, E_DENIED},
	    {{.user = SPAN_LIT("a@b"), .password = SPAN_LIT("secret"), .in_clear = true}, 1U << 8, SMTP_CLIENT_READY, 0},
	    {{.user = SPAN_LIT("a@b"), .password = SPAN_LIT("secret"), .is_token = true}, 0, SMTP_CLIENT_CLOSED, E_UNSUPPORTED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned seed = 0; seed < 4; seed++) {
			struct world w;

			world_begin(&w, rows[i].hidden, seed, false, rows[i].login);
			assert_int_equal(w.event, rows[i].event);
			assert_int_equal(w.logins, rows[i].event == SMTP_CLIENT_READY);
			assert_int_equal(smtp_client_failure(w.client, NULL, NULL), rows[i].code);
			if (w.event == SMTP_CLIENT_READY)
				deliver(&w, 0, 3);
			world_end(&w);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_set_of_extensions),
	    cmocka_unit_test(many_messages_in_pieces_of_any_size),
	    cmocka_unit_test(logins_with_what_is_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
