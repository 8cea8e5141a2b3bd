/* Connections: reading, writing, bounds, time-outs, TLS, and their end. */
#include "tests/unit/lib/net/conn_fixture.h"

#include "tls/client.h"

enum { SLACK_MS = 20 /* the loop's clock goes in ticks */ };

static void bytes_come_in_and_go_out(void **state)
{
	char peer[100];

	(void)state;
	assert_string_equal(conn_peer(conn), "192.0.2.1");
	assert_true(fcntl(conn_fd(conn), F_GETFL) & O_NONBLOCK);
	say("hello");
	turn();
	assert_input("hello");
	answer(conn, SPAN_LIT("at once")); /* outside a callback */
	assert_string_equal(got(), "at once");
	assert_int_equal(seen.drained, 1);
	buf_printf(conn_output(conn), "format%s", "ted");
	assert_string_equal(got(), "");
	conn_flush(conn);
	assert_string_equal(got(), "formatted");
	conn_flush(conn); /* nothing to do */
	assert_int_equal(seen.drained, 2);
	seen.on_input = ECHO;
	say("x");
	turn();
	assert_string_equal(got(), "x!");
	assert_false(conn_is_tls(conn));
	assert_string_equal(conn_tls_version(conn), "");
	assert_string_equal(conn_tls_cipher(conn), "");
	/* A text that is too long for the peer's place is cut. */
	memset(peer, 'p', sizeof(peer) - 1);
	peer[sizeof(peer) - 1] = '\0';
	teardown(state);
	setup(state);
	conn_free(&conn);
	conn = conn_new(base, dup(client), peer, &callbacks, &seen);
	assert_int_equal(strlen(conn_peer(conn)), CONN_PEER_TEXT - 1);
}

static void what_is_not_consumed_is_shown_again(void **state)
{
	(void)state;
	seen.on_input = TAKE_NOTHING;
	say("abc");
	turn();
	assert_span_equal(conn_input(conn), "abc");
	say("def");
	turn();
	assert_span_equal(conn_input(conn), "abcdef");
	assert_int_equal(seen.inputs, 2);
	turn();
	assert_int_equal(seen.inputs, 2); /* not without new bytes */
	seen.on_input = TAKE_ONE;
	conn_resume(conn);
	assert_input("a");
	assert_span_equal(conn_input(conn), "bcdef");
	conn_consume(conn, 2);
	seen.on_input = TAKE_ALL;
	conn_resume(conn);
	assert_input("def");
	conn_resume(conn); /* nothing left: not called */
	assert_int_equal(seen.inputs, 4);
}

static void a_callback_may_ask_to_be_called_again(void **state)
{
	(void)state;
	seen.on_input = RESUME_TWICE;
	say("abcdef");
	turn();
	assert_int_equal(seen.inputs, 3);
	assert_input("abc");
	assert_span_equal(conn_input(conn), "def");
}

/* A client costs no more than the buffer. */
static void a_full_buffer_stops_reading(void **state)
{
	static char big[150000];
	size_t sent = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 23);
	seen.on_input = TAKE_NOTHING;
	for (int i = 0; i < 50; i++) {
		ssize_t n = write(client, big + sent, sizeof(big) - sent);

		sent += n > 0 ? (size_t)n : 0;
		turn();
	}
	assert_int_equal(conn_input(conn).len, CONN_INPUT_MAX);
	assert_memory_equal(conn_input(conn).ptr, big, CONN_INPUT_MAX);
	seen.on_input = TAKE_ALL;
	conn_resume(conn);
	for (int i = 0; i < 50; i++) {
		ssize_t n = write(client, big + sent, sizeof(big) - sent);

		sent += n > 0 ? (size_t)n : 0;
		turn();
	}
	assert_int_equal(sent, sizeof(big));
	assert_int_equal(seen.input_len, sizeof(big));
	assert_memory_equal(seen.input, big, sizeof(big));
}

static void fill_output(size_t len)
{
	static char block[1000];

	memset(block, 'o', sizeof(block));
	for (size_t done = 0; done < len; done += sizeof(block))
		buf_add(conn_output(conn), block, sizeof(block));
}

/* One that sends commands and takes no answers gets no further. */
static void output_that_is_not_taken_stops_reading(void **state)
{
	char scratch[4096];

	(void)state;
	fill_output(600000);
	conn_flush(conn);
	assert_true(conn_output_len(conn) > CONN_OUTPUT_HIGH);
	say("more");
	turns(3);
	assert_int_equal(seen.inputs, 0);
	while (conn_output_len(conn) > 0) {
		while (read(client, scratch, sizeof(scratch)) > 0)
			;
		turn();
	}
	assert_int_equal(seen.drained, 1);
	turn();
	assert_input("more");
}

static void output_past_its_maximum_ends_the_connection(void **state)
{
	(void)state;
	fill_output(CONN_OUTPUT_MAX + 1000);
	conn_flush(conn);
	assert_null(conn);
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, E_LIMIT);
	assert_string_equal(seen.closed_text, "the other side does not read");
}

static void reading_can_be_paused(void **state)
{
	(void)state;
	seen.on_input = PAUSE;
	say("first");
	turn();
	assert_input("first");
	seen.on_input = TAKE_ALL;
	say("second");
	turns(3);
	assert_input("");
	conn_resume(conn); /* paused is paused */
	assert_int_equal(seen.inputs, 1);
	conn_pause(conn, false);
	turn();
	assert_input("second");
}

/* ---- the end ---- */

static void the_client_goes(void **state)
{
	(void)state;
	say("last words");
	close(client);
	client = -1;
	turns(3);
	assert_input("last words");
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, E_CLOSED);
	assert_null(conn);
}

static void the_client_is_gone_when_it_is_written_to(void **state)
{
	(void)state;
	close(client);
	client = -1;
	answer(conn, SPAN_LIT("hello?"));
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, E_CLOSED);
	assert_null(conn);
}

static void a_connection_is_freed_within_its_callbacks(void **state)
{
	(void)state;
	seen.on_input = FREE;
	say("x");
	turns(2);
	assert_null(conn);
	assert_null(got()); /* closed, and what was not sent is lost */
	assert_int_equal(seen.closed_calls, 0);
	teardown(state);
	setup(state);
	seen.free_on_drained = true;
	answer(conn, SPAN_LIT("x"));
	assert_null(conn);
	assert_string_equal(got(), "x");
	assert_null(got());
}

static void a_finished_one_says_its_last_word(void **state)
{
	(void)state;
	seen.on_input = FINISH;
	say("QUIT\r\n");
	turn();
	/* "QUIT" was not consumed: the connection lingers, so that no reset overtakes the answer. */
	assert_string_equal(got(), "bye\r\n");
	assert_null(got());
	say("still talking");
	turns(2);
	assert_int_equal(seen.inputs, 1);
	close(client);
	client = -1;
	turns(2);
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, 0);
	assert_null(conn);
}

static void a_finished_one_with_nothing_to_say_is_closed_at_once(void **state)
{
	(void)state;
	conn_finish(conn);
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, 0);
	assert_null(got());
	teardown(state);
	setup(state);
	/* What is left is written first. */
	fill_output(600000);
	conn_finish(conn);
	conn_finish(conn);
	assert_int_equal(seen.closed_calls, 0);
	for (size_t taken = 0; taken < 600000;) {
		const char *text = got();

		assert_non_null(text);
		taken += strlen(text);
		turn();
	}
	turn();
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, 0);
}

static void time_runs_out(void **state)
{
	int64_t start = clock_monotonic_ms();

	(void)state;
	conn_timeout(conn, 10000);
	conn_timeout(conn, 40); /* earlier than the one before */
	while (seen.closed_calls == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(seen.closed_code, E_TIMEOUT);
	assert_true(clock_monotonic_ms() - start >= 40 - SLACK_MS);
	assert_true(clock_monotonic_ms() - start < 9000);
	assert_null(conn);
}

/* The deadline moves with each call, and 0 takes it away. */
static void a_deadline_is_put_off(void **state)
{
	int64_t start = clock_monotonic_ms();
	struct timeval tv = {.tv_usec = 90 * 1000};

	(void)state;
	conn_timeout(conn, 30);
	conn_timeout(conn, 80);
	while (seen.closed_calls == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(clock_monotonic_ms() - start >= 80 - SLACK_MS);
	teardown(state);
	setup(state);
	conn_timeout(conn, 20);
	conn_timeout(conn, 0);
	event_base_loopexit(base, &tv);
	event_base_loop(base, 0);
	assert_int_equal(seen.closed_calls, 0);
}

/* ---- TLS ---- */

static struct pem pem;

static SSL_CTX *client_ctx;
static SSL *ssl;

static int setup_tls(void **state)
{
	setup(state);
	seen.context = context_of(&pem);
	client_ctx = client_context();
	ssl = client_new(client_ctx, client);
	return 0;
}

static int teardown_tls(void **state)
{
	SSL_free(ssl);
	SSL_CTX_free(client_ctx);
	tls_context_free(&seen.context);
	return teardown(state);
}

static int shake(void)
{
	int r = 0;

	for (int i = 0; i < 20 && (r == 0 || seen.tls_calls == 0) && r >= 0; i++) {
		if (r == 0)
			r = client_handshake(ssl);
		turn();
	}
	return r;
}

static void tls_from_the_first_byte(void **state)
{
	char text[32] = "";

	(void)state;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	assert_false(conn_is_tls(conn)); /* not yet */
	assert_string_equal(conn_tls_version(conn), "");
	assert_int_equal(shake(), 1);
	assert_int_equal(seen.tls_calls, 1);
	assert_int_equal(seen.tls_code, 0);
	assert_true(conn_is_tls(conn));
	assert_string_equal(conn_tls_version(conn), "TLSv1.3");
	assert_string_equal(conn_tls_cipher(conn), SSL_get_cipher_name(ssl));
	assert_int_equal(SSL_write(ssl, "hello", 5), 5);
	turn();
	assert_input("hello");
	answer(conn, SPAN_LIT("world"));
	assert_int_equal(client_read(ssl, text, sizeof(text)), 5);
	assert_string_equal(text, "world");
}

/* The answer goes out plain; what stood behind STARTTLS is dropped (RFC 3207). */
static void the_handover_to_tls(void **state)
{
	(void)state;
	seen.on_input = START_TLS;
	assert_true(conn_is_plain(conn));
	say("STARTTLS\r\nMAIL FROM:<injected@x.test>\r\n");
	turn();
	assert_string_equal(got(), "220 go\r\n");
	assert_false(conn_is_plain(conn) || conn_is_tls(conn));
	assert_int_equal(shake(), 1);
	assert_true(conn_is_tls(conn) && !conn_is_plain(conn));
	assert_input("");
	assert_int_equal(SSL_write(ssl, "EHLO", 4), 4);
	turn();
	assert_input("EHLO");
	SSL_shutdown(ssl);
	turn();
	assert_int_equal(seen.closed_code, E_CLOSED);
}

/* The answer finds no room, and the client has begun to shake hands meanwhile: all of it goes out plain, then the handshake begins. */
static void the_handover_waits_for_the_answer(void **state)
{
	static char filling[4096];
	ssize_t n = 0, left = 0;
	char last[16] = "";

	(void)state;
	while ((n = send(conn_fd(conn), filling, sizeof(filling), MSG_DONTWAIT)) > 0)
		left += n;
	seen.on_input = START_TLS;
	say("STARTTLS\r\n");
	turns(3);
	assert_int_equal(conn_output_len(conn), 8);
	say("x"); /* as a handshake begins: it is not read yet, and wakes nobody again and again */
	turns(3);
	assert_int_equal(seen.tls_calls, 0);
	for (; left > 0; left -= n) {
		n = read(client, filling, left < (ssize_t)sizeof(filling) ? (size_t)left : sizeof(filling));
		assert_true(n > 0);
	}
	turn();
	assert_int_equal(read(client, last, sizeof(last)), 8);
	assert_string_equal(last, "220 go\r\n");
	turns(2);
	assert_int_equal(conn_output_len(conn), 0);
	conn_free(&conn);
}

static void no_handshake_once_it_finishes(void **state)
{
	struct err err;
	struct tls_context *context = NULL;
	struct tls_peer peer = {.trust = TLS_ANYBODY};

	(void)state;
	assert_int_equal(tls_context_client(-1, &context, &err), 0);
	assert_int_equal(conn_start_tls_client(conn, context, &peer, &err), 0);
	conn_finish(conn);
	turn();
	assert_string_equal(got(), "");
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(seen.tls_calls, 0);
	assert_int_equal(seen.closed_calls, 1);
	assert_null(got());
	tls_context_free(&context);
}

/* Behind the answer, before the handshake: no TLS, and so the end. */
static void plain_text_behind_the_answer(void **state)
{
	(void)state;
	seen.on_input = START_TLS;
	say("STARTTLS\r\n");
	turn();
	assert_string_equal(got(), "220 go\r\n");
	say("MAIL FROM:<injected@x.test>\r\n");
	turns(2);
	assert_int_equal(seen.tls_calls, 1);
	assert_int_equal(seen.tls_code, E_PROTO);
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, E_PROTO);
	assert_int_equal(seen.inputs, 1);
	assert_null(conn);
}

static void freed_when_the_handshake_ends(void **state)
{
	(void)state;
	seen.free_on_tls = true;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	shake();
	assert_int_equal(seen.tls_calls, 1);
	assert_int_equal(seen.closed_calls, 0);
	assert_null(conn);
}

static void a_handshake_has_its_time(void **state)
{
	(void)state;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	conn_timeout(conn, 20);
	while (seen.closed_calls == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(seen.closed_code, E_TIMEOUT);
}

/* The rest of a record that did not fit is not in the socket any more: nobody but TLS knows of it. */
static void the_rest_of_a_record_is_not_forgotten(void **state)
{
	enum { RECORD = 10000, RECORDS = 7 };
	static char record[RECORD];

	(void)state;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	assert_int_equal(shake(), 1);
	seen.on_input = TAKE_NOTHING;
	memset(record, 'r', sizeof(record));
	for (int i = 0; i < RECORDS; i++) {
		assert_int_equal(SSL_write(ssl, record, RECORD), RECORD);
		turns(3);
	}
	assert_int_equal(conn_input(conn).len, CONN_INPUT_MAX);
	seen.on_input = TAKE_ALL;
	conn_resume(conn);
	turns(5);
	assert_int_equal(seen.input_len, RECORD * RECORDS);
	/* The same when reading was paused meanwhile. */
	seen.input_len = 0;
	seen.on_input = TAKE_NOTHING;
	for (int i = 0; i < RECORDS; i++) {
		assert_int_equal(SSL_write(ssl, record, RECORD), RECORD);
		turns(3);
	}
	conn_pause(conn, true);
	conn_consume(conn, CONN_INPUT_MAX);
	turns(3);
	seen.on_input = TAKE_ALL;
	conn_pause(conn, false);
	turns(5);
	assert_int_equal(seen.input_len, RECORD * RECORDS - CONN_INPUT_MAX);
}

/* Half a record in TLS's hands must not keep the loop busy. */
static void half_a_record_costs_no_turns(void **state)
{
	struct timeval tv = {.tv_usec = 30 * 1000};
	int loops = 0;

	(void)state;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	assert_int_equal(shake(), 1);
	say("\x17\x03\x03\x01\x10" "0123456789abcdef");
	turn();
	event_base_loopexit(base, &tv);
	while (!event_base_got_exit(base) && loops < 1000) {
		event_base_loop(base, EVLOOP_ONCE);
		loops++;
	}
	assert_true(loops < 5);
}

static void large_answers_over_tls(void **state)
{
	static char buffer[20000];
	size_t taken = 0;

	(void)state;
	assert_int_equal(conn_start_tls(conn, seen.context), 0);
	assert_int_equal(shake(), 1);
	fill_output(900000);
	conn_finish(conn);
	for (int n, i = 0; i < 10000; i++) {
		n = client_read(ssl, buffer, sizeof(buffer));
		if (n < 0)
			break;
		taken += (size_t)n;
		turn();
	}
	assert_int_equal(taken, 900000);
	turns(2);
	assert_int_equal(client_read(ssl, buffer, sizeof(buffer)), -1); /* an orderly end */
	assert_int_equal(seen.closed_calls, 1);
	assert_int_equal(seen.closed_code, 0);
}

static int make_pem(void **state)
{
	(void)state;
	pem = pem_new("mail.test", 0, NULL);
	return 0;
}

static int drop_pem(void **state)
{
	(void)state;
	pem_free(&pem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(bytes_come_in_and_go_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_not_consumed_is_shown_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_callback_may_ask_to_be_called_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_buffer_stops_reading, setup, teardown),
	    cmocka_unit_test_setup_teardown(output_that_is_not_taken_stops_reading, setup, teardown),
	    cmocka_unit_test_setup_teardown(output_past_its_maximum_ends_the_connection, setup, teardown),
	    cmocka_unit_test_setup_teardown(reading_can_be_paused, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_client_goes, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_client_is_gone_when_it_is_written_to, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_is_freed_within_its_callbacks, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_finished_one_says_its_last_word, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_finished_one_with_nothing_to_say_is_closed_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(time_runs_out, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_deadline_is_put_off, setup, teardown),
	    cmocka_unit_test_setup_teardown(tls_from_the_first_byte, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(the_handover_to_tls, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(the_handover_waits_for_the_answer, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(no_handshake_once_it_finishes, setup, teardown),
	    cmocka_unit_test_setup_teardown(plain_text_behind_the_answer, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(freed_when_the_handshake_ends, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(a_handshake_has_its_time, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(the_rest_of_a_record_is_not_forgotten, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(half_a_record_costs_no_turns, setup_tls, teardown_tls),
	    cmocka_unit_test_setup_teardown(large_answers_over_tls, setup_tls, teardown_tls),
	};

	return cmocka_run_group_tests(tests, make_pem, drop_pem);
}
