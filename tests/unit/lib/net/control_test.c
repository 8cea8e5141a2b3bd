/* The daemon's side of the commands: one request a connection, its rows, its end. */
#include "tests/unit/test.h"

#include "base/buf.h"
#include "base/log.h"
#include "ipc/ipc.h"
#include "base/json.h"
#include "net/control.h"

#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static struct event_base *base;
static struct control_server *server;
static struct sockaddr_un address;
static socklen_t address_len;
static int listening, client;
static char buffer[IPC_MESSAGE_MAX];

static struct seen {
	int requests;
	char args[4096]; /* joined by '|' */
	size_t count;
	char input[4096], secret[256];
	struct control_reply *reply; /* to be answered later */
	bool later;
	bool too_much; /* it answers a row that no message takes */
} seen;

static void handle(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret)
{
	assert_ptr_equal(arg, &seen);
	seen.requests++;
	seen.count = count;
	seen.args[0] = '\0';
	for (size_t i = 0; i < count && i < 20; i++)
		snprintf(seen.args + strlen(seen.args), sizeof(seen.args) - strlen(seen.args), "%.*s|", SPAN_ARG(args[i]));
	snprintf(seen.input, sizeof(seen.input), "%.*s", SPAN_ARG(input));
	snprintf(seen.secret, sizeof(seen.secret), "%.*s", SPAN_ARG(secret));
	seen.reply = reply;
	if (seen.later)
		return;
	if (seen.too_much) {
		control_reply_row(reply, span_of(buffer, sizeof(buffer)));
		control_reply_done(reply, EX_OK, "%s", "");
		return;
	}
	control_reply_row(reply, SPAN_LIT("{\"a\":1}"));
	control_reply_text(reply, SPAN_LIT("text"));
	control_reply_done(reply, EX_DATAERR, "%s %d", "no", 7);
}

static int setup(void **state)
{
	(void)state;
	seen = (struct seen){0};
	base = event_base_new();
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				  (size_t)snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "control-test-%d", (int)getpid()));
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listening, (struct sockaddr *)&address, address_len) != 0 || listen(listening, 8) != 0)
		return 1;
	server = control_server_new_on(base, listening, handle, &seen);
	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return server == NULL || connect(client, (struct sockaddr *)&address, address_len) != 0 || fcntl(client, F_SETFL, O_NONBLOCK) != 0;
}

static int teardown(void **state)
{
	(void)state;
	if (client >= 0)
		close(client);
	for (int i = 0; i < 3; i++) /* the server's end of it */
		event_base_loop(base, EVLOOP_NONBLOCK);
	control_server_free(&server);
	assert_null(server);
	control_server_free(&server);
	close(listening);
	event_base_free(base);
	return 0;
}

static void turns(void)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void ask(struct span args, const char *secret)
{
	struct control_request request = {.args = args, .secret = span_str(secret)};

	assert_int_equal(ipc_send(client, &ipc_control_request, 77, &request, -1), 0);
}

/* The next message of an answer: NULL when there is none yet, or at the end. */
static const struct ipc_type *next(struct ipc_message *m)
{
	struct err err;

	return ipc_receive(client, &ipc_service_control, TO_CLIENT, buffer, m, &err) == 0 ? m->type : NULL;
}

static bool is_closed(void)
{
	return recv(client, buffer, 1, MSG_PEEK) == 0;
}

static void assert_done(unsigned status, const char *text)
{
	struct ipc_message m;

	assert_ptr_equal(next(&m), &ipc_control_done);
	assert_int_equal(((const struct control_done *)(const void *)m.body)->exit, status);
	assert_span_equal(((const struct control_done *)(const void *)m.body)->text, text);
}

static void a_request_is_answered(void **state)
{
	struct ipc_message m;

	(void)state;
	ask(SPAN_LIT("noun\0verb\0\0a b\0"), "hunter2");
	turns();
	assert_int_equal(seen.requests, 1);
	assert_string_equal(seen.args, "noun|verb||a b|");
	assert_string_equal(seen.secret, "hunter2");
	assert_ptr_equal(next(&m), &ipc_control_row);
	assert_int_equal(m.id, 77);
	assert_span_equal(((const struct control_row *)(const void *)m.body)->json, "{\"a\":1}");
	assert_ptr_equal(next(&m), &ipc_control_text);
	assert_span_equal(((const struct control_text *)(const void *)m.body)->text, "text");
	assert_done(EX_DATAERR, "no 7");
	assert_null(next(&m));
}

static void what_could_not_be_answered_is_missed(void **state)
{
	(void)state;
	seen.too_much = true;
	ask(SPAN_LIT("noun\0"), "");
	turns();
	assert_done(EX_TEMPFAIL, "the answer is not all here: too big");
}

static void arguments_have_their_bounds(void **state)
{
	char many[2 * CONTROL_ARGS_MAX + 20];

	(void)state;
	memset(many, 0, sizeof(many));
	ask(span_of(many, sizeof(many)), "");
	turns();
	assert_int_equal(seen.requests, 1);
	assert_int_equal(seen.count, CONTROL_ARGS_MAX);
	close(client);
	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, address_len), 0);
	ask(SPAN_LIT(""), "");
	turns();
	assert_int_equal(seen.count, 0);
	ask(SPAN_LIT("no NUL at the end"), "");
}

static void an_input_comes_before_the_request(void **state)
{
	struct control_input one = {.text = SPAN_LIT("first ")}, two = {.text = SPAN_LIT("second")};

	(void)state;
	assert_int_equal(ipc_send(client, &ipc_control_input, 0, &one, -1), 0);
	assert_int_equal(ipc_send(client, &ipc_control_input, 0, &two, -1), 0);
	ask(SPAN_LIT("x\0"), "");
	turns();
	assert_string_equal(seen.input, "first second");
}

static void an_answer_may_come_later(void **state)
{
	struct ipc_message m;
	static char big[150000];
	size_t got = 0;

	(void)state;
	seen.later = true;
	ask(SPAN_LIT("x\0"), "");
	turns();
	assert_null(next(&m));
	memset(big, 't', sizeof(big));
	control_reply_text(seen.reply, span_of(big, sizeof(big))); /* in pieces that fit a message */
	control_reply_done(seen.reply, EX_OK, "%s", "");
	for (int i = 0; i < 100 && got < sizeof(big); i++) {
		while (got < sizeof(big) && next(&m) == &ipc_control_text)
			got += ((const struct control_text *)(const void *)m.body)->text.len;
		turns();
	}
	assert_int_equal(got, sizeof(big));
	assert_done(EX_OK, "");
}

/* The command is gone before it got its answer: nothing happens, the reply is freed by its end. */
static void a_command_that_does_not_wait(void **state)
{
	(void)state;
	seen.later = true;
	ask(SPAN_LIT("x\0"), "");
	turns();
	close(client);
	client = -1;
	turns();
	control_reply_row(seen.reply, SPAN_LIT("{}"));
	control_reply_text(seen.reply, SPAN_LIT("text"));
	control_reply_done(seen.reply, EX_OK, "nobody hears it");
	/* Gone, and not yet seen to be gone. */
	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, address_len), 0);
	ask(SPAN_LIT("x\0"), "");
	turns();
	close(client);
	client = -1;
	control_reply_done(seen.reply, EX_OK, "nobody hears it");
	turns();
	/* And one that connects only. */
	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, address_len), 0);
	turns();
	assert_int_equal(seen.requests, 2);
}

/* control.h: one request; what is malformed costs its connection. */
static void a_connection_carries_one_request(void **state)
{
	enum { TWICE_AT_ONCE, TWICE_WHILE_IT_WAITS, INPUT_BEHIND, AFTER_THE_ANSWER, MALFORMED, WAYS };

	for (int way = 0; way < WAYS; way++) {
		struct control_input input = {.text = SPAN_LIT("x")};

		seen.later = way == TWICE_WHILE_IT_WAITS || way == INPUT_BEHIND;
		if (way != MALFORMED)
			ask(SPAN_LIT("x\0"), "");
		if (way == TWICE_AT_ONCE)
			ask(SPAN_LIT("y\0"), "");
		turns();
		if (way == TWICE_WHILE_IT_WAITS || way == AFTER_THE_ANSWER)
			ask(SPAN_LIT("y\0"), "");
		if (way == INPUT_BEHIND)
			assert_int_equal(ipc_send(client, &ipc_control_input, 0, &input, -1), 0);
		if (way == MALFORMED)
			assert_int_equal(send(client, "what", 4, 0), 4);
		turns();
		assert_int_equal(seen.requests, way == MALFORMED ? 0 : 1);
		for (struct ipc_message m; next(&m) != NULL;)
			;
		assert_true(is_closed());
		if (seen.later)
			control_reply_done(seen.reply, EX_OK, "too late");
		teardown(state);
		setup(state);
	}
}

static void texts_as_json(void **state)
{
	static const struct {
		struct span text;
		const char *json;
	} rows[] = {{SPAN_LIT(""), "\"\""}, {SPAN_LIT("plain"), "\"plain\""}, {SPAN_LIT("a\"b\\c"), "\"a\\\"b\\\\c\""},
	    {SPAN_LIT("\0\x01\n\x1f\x7f"), "\"\\u0000\\u0001\\u000a\\u001f\\u007f\""}, {SPAN_LIT("\xc3\xa4\xe2\x82\xac"), "\"\xc3\xa4\xe2\x82\xac\""},
	    {SPAN_LIT("a\xff" "b\xc3"), "\"a\\ufffdb\\ufffd\""}, {SPAN_LIT("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\""}};
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *value;

		buf_clear(&out);
		json_add_string(&out, rows[i].text);
		assert_string_equal(buf_cstr(&out), rows[i].json);
		value = json_loads(rows[i].json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		assert_true(json_is_string(value));
		json_decref(value);
	}
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_request_is_answered, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_could_not_be_answered_is_missed, setup, teardown),
    cmocka_unit_test_setup_teardown(arguments_have_their_bounds, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_input_comes_before_the_request, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_answer_may_come_later, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_command_that_does_not_wait, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_carries_one_request, setup, teardown),
	    cmocka_unit_test(texts_as_json),
	};
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);

	log_init(sink, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
