/* Messages on their way: hosts one after the other, connections kept, answers told apart. */
#include "tests/unit/relay/fixture.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static const struct fake_row rows[] = {
    {"a.test", DNS_MX, "10 mx1.test", false}, {"mx1.test", DNS_A, "127.0.0.1", false}, {"mx1.test", DNS_AAAA, "", false},
    {"b.test", DNS_MX, "10 mx1.test", false}, {"b.test", DNS_MX, "20 mx2.test", false}, {"b.test", DNS_MX, "30 mx3.test", false},
    {"mx2.test", DNS_A, "127.0.0.2", false}, {"mx2.test", DNS_AAAA, "", false}, {"mx3.test", DNS_A, "127.0.0.3", false}, {"mx3.test", DNS_AAAA, "", false},
    {"null.test", DNS_MX, "0 .", false}, {0}};

static int setup(void **state)
{
	(void)state;
	return relay_begin(rows);
}

static int teardown(void **state)
{
	(void)state;
	return relay_end();
}

static void a_message_goes(void **state)
{
	struct relay_deliver m = message_to("a.test", "Subject: x\r\n\r\n.dot\r\n");

	(void)state;
	deliver_one(&m, "bob@a.test");
	assert_result(0, 0, "250 2.0.0 kept");
	assert_string_equal(results[0].host, "mx1.test");
	assert_string_equal(results[0].address, "127.0.0.1");
	assert_string_equal(results[0].tls, "none");
	assert_true(results[0].reached);
	assert_string_equal(servers[0].said, "[]|EHLO mail.own.test|MAIL FROM:<ann@own.test>|RCPT TO:<bob@a.test>|DATA|.|");
	assert_span_equal(buf_span(&servers[0].content), "Subject: x\r\n\r\n..dot\r\n");
}

/* The next one finds the connection, until it has been idle for too long. */
static void a_connection_serves_again(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	for (int i = 0; i < 3; i++)
		deliver_one(&m, "bob@a.test");
	assert_int_equal(servers[0].connections, 1);
	assert_int_equal(servers[0].transactions, 3);
	run_until(is_idle);
	relay.idle->idle_ms -= RELAY_IDLE_MS;
	session_sweep(&relay);
	run_until(is_without_sessions);
	assert_non_null(strstr(servers[0].said, "QUIT|"));
	deliver_one(&m, "bob@a.test");
	assert_int_equal(servers[0].connections, 2);
}

static bool is_dialling(void)
{
	return relay.jobs != NULL && relay.jobs->dial != NULL;
}

/* Another MTA-STS policy comes while a connection is being made by the one before: it serves that job alone. */
static void a_connection_by_an_old_policy_serves_once(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	send_to(&m, 1, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_dialling);
	destinations_distrust(&relay, "b.test");
	assert_false(relay.jobs->distrusted);
	destinations_distrust(&relay, "a.test");
	run_until_results(1);
	assert_result(0, 0, "250");
	run_until(is_without_sessions);
}

/* Many at once have a connection each; what comes afterwards shares them. */
static void many_at_once(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		send_to(&m, 100 + i, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until_results(8);
	assert_int_equal(servers[0].connections, 8);
	for (size_t i = 0; i < 8; i++)
		assert_result(i, 0, "250");
}

/* A server may end an idle connection at any time: nobody hears of it. */
static void an_idle_connection_that_is_gone(void **state)
{
	static const struct script farewell = {.rows = {{"MAIL FROM:<again", "421 4.3.2 too long\r\n"}}};
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	deliver_one(&m, "bob@a.test");
	peer_close(servers[0].peers);
	deliver_one(&m, "bob@a.test");
	assert_result(1, 0, "250");
	assert_int_equal(servers[0].connections, 2);
	/* With 421 to MAIL on a connection that was idle; on a new one it is an answer. */
	servers[0].script = &farewell;
	m.sender = SPAN_LIT("again@own.test");
	deliver_one(&m, "bob@a.test");
	assert_int_equal(servers[0].connections, 3);
	assert_result(2, E_UNAVAILABLE, "421 4.3.2 too long");
	assert_true(results[2].reached);
}

static void a_file_is_sent_in_pieces(void **state)
{
	struct relay_deliver m = message_to("a.test", "");
	int fd = memfd_create("content", MFD_CLOEXEC);
	size_t lines = 20000;

	(void)state;
	for (size_t i = 0; i < lines; i++)
		assert_int_equal(write(fd, "a line of twenty-two..\r\n", 24), 24);
	m.size = lines * 24;
	send_to(&m, 7, (const char *const[]){"bob@a.test", NULL}, fd);
	run_until_results(1);
	assert_result(0, 0, "250");
	assert_int_equal(buf_len(&servers[0].content), m.size);
	/* One that is shorter than its envelope says is never taken for whole. */
	m.size += 1;
	send_to(&m, 8, (const char *const[]){"bob@a.test", NULL}, fd);
	run_until_results(2);
	assert_true(results[1].code != 0 && err_is_temp(results[1].code));
	assert_false(results[1].maybe);
	assert_int_equal(servers[0].transactions, 1);
	close(fd);
}

static bool has_content(void)
{
	return buf_len(&servers[0].content) > 0;
}

/* A server that has seen enough says so, and takes no more of it. */
static void a_refusal_in_the_midst_of_a_message(void **state)
{
	static char line[24 * 4096];
	struct relay_deliver m = message_to("a.test", "");
	int fd = memfd_create("content", MFD_CLOEXEC);
	uint64_t sent;

	(void)state;
	for (size_t i = 0; i < sizeof(line); i += 24)
		memcpy(line + i, ".line of twenty-two...\r\n", 24);
	for (m.size = 0; m.size < 24 * 1024 * 1024; m.size += sizeof(line))
		assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
	send_to(&m, 7, (const char *const[]){"bob@a.test", NULL}, fd);
	run_until(has_content);
	conn_pause(servers[0].peers->conn, true);
	do { /* until the sockets are full */
		sent = relay.jobs->offset;
		for (int i = 0; i < 5; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
	} while (relay.jobs->offset != sent);
	assert_true(conn_output_len(relay.sessions->conn) > CONN_OUTPUT_HIGH);
	peer_say(servers[0].peers, "552 5.3.4 too large\r\n");
	conn_flush(servers[0].peers->conn);
	run_until_results(1);
	assert_result(0, E_CANNOT, "552 5.3.4 too large");
	close(fd);
}

static void recipients_have_answers_of_their_own(void **state)
{
	static const struct script script = {.rows = {{"RCPT TO:<no@", "550 5.1.1 nobody\r\n"}, {"RCPT TO:<later@", "450 4.2.1 busy\r\n"}, {"RCPT TO:<many@", "452 4.5.3 too many\r\n"}}};
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	servers[0].script = &script;
	send_to(&m, 9, (const char *const[]){"yes@a.test", "no@a.test", "later@a.test", "many@a.test", NULL}, -1);
	run_until_results(4);
	assert_result(0, 0, "250 2.0.0 kept");
	assert_result(1, E_CANNOT, "550 5.1.1 nobody");
	assert_result(2, E_UNAVAILABLE, "450 4.2.1 busy");
	assert_result(3, E_LIMIT, "452 4.5.3 too many");
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(results[i].id, 9);
		assert_int_equal(results[i].recipient, i);
		assert_int_equal(results[i].last, i == 3);
	}
}

/* Nothing listens at the first, the second has no time, the third takes it. */
static void hosts_one_after_the_other(void **state)
{
	static const struct script busy = {.greeting = "421 4.3.2 no time\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	server_begin(1, &busy);
	server_begin(2, NULL);
	event_free(servers[0].event);
	close(servers[0].fd);
	servers[0] = (struct server){0};
	deliver_one(&m, "bob@b.test");
	assert_result(0, 0, "250");
	assert_string_equal(results[0].host, "mx3.test");
	assert_int_equal(servers[1].connections, 1);
	server_begin(0, NULL);
}

static void hosts_that_are_all_of_no_use(void **state)
{
	static const struct script busy = {.greeting = "421 4.3.2 no time\r\n"}, never = {.greeting = "554 5.7.1 not from you\r\n"};
	struct relay_deliver m = message_to("b.test", "x\r\n");

	(void)state;
	server_begin(0, &never);
	server_begin(1, &busy);
	server_begin(2, &never);
	deliver_one(&m, "bob@b.test");
	assert_result(0, E_UNAVAILABLE, "451 4.4.0 none of its hosts takes mail now; the last: 5.7.1 ");
	assert_non_null(strstr(results[0].text, "not from you"));
	assert_false(results[0].reached);
	/* When all say so it is for good. */
	servers[1].script = &never;
	deliver_one(&m, "bob@b.test");
	assert_result(1, E_CANNOT, "550 5.7.1 ");
	assert_string_equal(results[1].host, "mx3.test");
}

static void no_way_at_all(void **state)
{
	struct relay_deliver m = message_to("null.test", "x\r\n");

	(void)state;
	deliver_one(&m, "bob@null.test");
	assert_result(0, E_CANNOT, "556 5.1.10 ");
	m.domain = SPAN_LIT("gone.test");
	deliver_one(&m, "bob@gone.test");
	assert_result(1, E_NOTFOUND, "550 5.1.2 ");
}

static void what_the_settings_say(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "transport a.test { error \"5.7.1 not there\" }\ntransport b.test { error \"4.7.1 not now\" }\ntransport c.test { hold yes }\n"
				     "transport d.test { lmtp 127.0.0.1:%u }\ntransport e.test { host MX1.Test:%u }\ndomain own.test { send-as out.own.test; send-from 127.0.0.9 }\n", port, port);
	configure(text);
	m.transport = SPAN_LIT("a.test");
	deliver_one(&m, "bob@a.test");
	assert_result(0, E_CANNOT, "550 5.7.1 not there");
	m.transport = SPAN_LIT("b.test");
	deliver_one(&m, "bob@a.test");
	assert_result(1, E_UNAVAILABLE, "450 4.7.1 not now");
	m.transport = SPAN_LIT("c.test");
	deliver_one(&m, "bob@a.test");
	assert_result(2, E_UNAVAILABLE, "450 4.7.0 ");
	assert_int_equal(servers[0].connections, 0);
	m.transport = SPAN_LIT("d.test");
	deliver_one(&m, "bob@a.test");
	assert_result(3, 0, "250");
	assert_string_equal(servers[0].said, "[127.0.0.9]|LHLO out.own.test|MAIL FROM:<ann@own.test>|RCPT TO:<bob@a.test>|DATA|.|");
	servers[0].said[0] = '\0';
	m.transport = SPAN_LIT("e.test");
	m.sender = SPAN_LIT("");
	deliver_one(&m, "bob@a.test");
	assert_result(4, 0, "250");
	assert_string_equal(results[4].host, "mx1.test");
	assert_string_equal(servers[0].said, "[]|EHLO mail.own.test|MAIL FROM:<>|RCPT TO:<bob@a.test>|DATA|.|");
}

/* What a domain's administrator writes into DNS never leads back to this machine. */
static void addresses_of_this_machine(void **state)
{
	static const struct {
		const char *settings;
		int family;
		const char *address;
		bool ours;
	} table[] = {
	    {"", AF_INET, "127.0.0.1", false}, {"", AF_INET, "0.0.0.0", true}, {"", AF_INET6, "::", true}, {"", AF_INET, "192.0.2.1", false},
	    {"relay-port 25", AF_INET, "127.0.0.1", true}, {"relay-port 25", AF_INET, "127.9.9.9", true}, {"relay-port 25", AF_INET6, "::1", true},
	    {"relay-port 25", AF_INET6, "::ffff:127.0.0.1", true}, {"relay-port 25", AF_INET, "192.0.2.1", false}, {"relay-port 25", AF_INET, "12.7.0.1", false},
	    {"relay-port 25\nlisten smtp on 192.0.2.1:25 { }", AF_INET, "192.0.2.1", true}, {"relay-port 25\nlisten smtp on 192.0.2.1:2525 { }", AF_INET, "192.0.2.1", false},
	    {"relay-port 2525\nlisten smtp on 0.0.0.0:2525 { }", AF_INET, "127.0.0.7", true}, {"relay-port 2525\nlisten imap on 0.0.0.0:2525 { }", AF_INET, "127.0.0.7", false},
	    {"relay-port 2525\nlisten smtp on 0.0.0.0:2525 { }", AF_INET, "198.51.100.8", false}, {"relay-port 2525\nlisten smtp on [::]:2525 { }", AF_INET6, "2001:db8::1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct sockaddr_storage a = {.ss_family = (sa_family_t)table[i].family};
		char text[256];
		struct err err;

		snprintf(text, sizeof(text), "config-version 1\n%s\n", table[i].settings[0] != '\0' ? table[i].settings : "relay-port 2525");
		conf_free(&conf);
		if (conf_parse(span_str(text), "c", &conf, &err) != 0)
			fail_msg("%s", err.text);
		inet_pton(table[i].family, table[i].address, table[i].family == AF_INET ? (void *)&((struct sockaddr_in *)(void *)&a)->sin_addr : (void *)&((struct sockaddr_in6 *)(void *)&a)->sin6_addr);
		if (settings_is_ours(&relay, &a) != table[i].ours)
			fail_msg("row %zu: %s", i, table[i].address);
	}
}

static bool is_ours(const char *text)
{
	struct sockaddr_storage a = {.ss_family = AF_INET};

	inet_pton(AF_INET, text, &((struct sockaddr_in *)(void *)&a)->sin_addr);
	return settings_is_ours(&relay, &a);
}

static bool give_loopback(const char *address)
{
	struct ifreq r = {.ifr_name = "lo"};
	struct sockaddr_in *in = (void *)&r.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool done;

	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	done = ioctl(fd, SIOCSIFADDR, &r) == 0;
	r.ifr_flags = IFF_UP;
	done = done && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
	close(fd);
	return done;
}

/* The first thing that is wrong, in a network of this process's own; 255: there is none to be had. */
static int add_addresses(void)
{
	if ((unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) || !give_loopback("198.51.100.7"))
		return 255;
	if (!is_ours("198.51.100.7") || is_ours("203.0.113.7"))
		return 1;
	return !give_loopback("203.0.113.7") || !is_ours("203.0.113.7") ? 2 : 0;
}

/* An address that the machine gets while we run is ours at once. */
static void new_addresses_of_this_machine(void **state)
{
	char listener[64];
	int status;
	pid_t pid;

	(void)state;
	snprintf(listener, sizeof(listener), "listen smtp on 0.0.0.0:%u { }\n", port);
	configure(listener);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(add_addresses());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 255)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* What cannot be sent is told without a word about the message; the connection is good for others. */
static void what_the_server_cannot_take(void **state)
{
	static const struct script small = {.rows = {{"EHLO", "250-host\r\n250 SIZE 10\r\n"}}};
	struct relay_deliver m = message_to("a.test", "a message that is longer than that\r\n");

	(void)state;
	servers[0].script = &small;
	deliver_one(&m, "bob@a.test");
	assert_result(0, E_TOOBIG, "554 5.3.4 ");
	m = message_to("a.test", "x\r\n");
	m.smtputf8 = true;
	deliver_one(&m, "bob@a.test");
	assert_result(1, E_UNSUPPORTED, "554 5.6.7 ");
	m.smtputf8 = false;
	deliver_one(&m, "bob@a.test");
	assert_result(2, 0, "250");
	assert_int_equal(servers[0].connections, 1);
}

/* Without 8BITMIME the content is made fit, from memory and from a file; what cannot be is told in clear words. */
static void a_server_that_takes_seven_bits(void **state)
{
	static const struct script seven = {.rows = {{"EHLO", "250-host\r\n250-CHUNKING\r\n250 SIZE 100000\r\n"}}};
	static const char text[] = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\303\251\r\n";
	struct relay_deliver m = message_to("a.test", text);
	int fd = memfd_create("content", MFD_CLOEXEC);

	(void)state;
	servers[0].script = &seven;
	m.body = 1;
	deliver_one(&m, "bob@a.test");
	assert_result(0, 0, "250");
	buf_add_char(&servers[0].content, '\0');
	assert_non_null(strstr(buf_span(&servers[0].content).ptr, "Content-Transfer-Encoding: quoted-printable"));
	assert_non_null(strstr(buf_span(&servers[0].content).ptr, "\r\n\r\ncaf=C3=A9\r\n"));
	assert_null(strstr(servers[0].said, "BODY="));
	assert_null(strstr(servers[0].said, "BDAT"));
	buf_clear(&servers[0].content);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	m.content = SPAN_LIT("");
	send_to(&m, 2, (const char *const[]){"bob@a.test", NULL}, fd);
	run_until_results(2);
	assert_result(1, 0, "250");
	buf_add_char(&servers[0].content, '\0');
	assert_non_null(strstr(buf_span(&servers[0].content).ptr, "\r\n\r\ncaf=C3=A9\r\n"));
	assert_int_equal(relay.converting, 0);
	m = message_to("a.test", "Subject: caf\303\251\r\n\r\nx\r\n");
	m.body = 1;
	deliver_one(&m, "bob@a.test");
	assert_result(2, E_CONTENT, "554 5.6.3 The server does not take 8BITMIME");
	close(fd);
}

/* ---- servers that do not mean well ---- */

static void one_session_and_one_answer(void **state)
{
	static const struct {
		struct script script;
		int code; /* 0: whatever is temporary */
		bool maybe;
	} table[] = {
	    {{.greeting = "hello\r\n"}, 0, false},
	    {{.greeting = "220 a\1b\r\n"}, 0, false},
	    {{.rows = {{"EHLO", "250-x\r\n251 y\r\n"}}}, 0, false},
	    {{.rows = {{"EHLO", NULL}}}, 0, false},
	    {{.rows = {{"MAIL", NULL}}}, E_CLOSED, false},
	    {{.rows = {{"MAIL", "250-half"}, {"RCPT", NULL}}}, E_CLOSED, false},
	    {{.rows = {{"DATA", "250 fine\r\n"}}}, 0, false},
	    {{.rows = {{"DATA", "250 fine\r\n250 again\r\n"}}}, 0, false},
	    {{.rows = {{".", NULL}}}, E_CLOSED, true},
	    {{.rows = {{".", "354 more\r\n"}}}, 0, true},
	    {{.rows = {{".", "999 what\r\n"}}}, 0, true},
	    {{.rows = {{"RCPT", "550 5.1.1 no\r\n"}, {"DATA", "354 go on\r\n"}}}, E_CANNOT, false},
	    {{.rows = {{"RCPT", "550 no\r\n"}, {"DATA", "554 no recipients\r\n"}}}, E_CANNOT, false},
	};
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		servers[0].script = &table[i].script;
		servers[0].transactions = 0;
		deliver_one(&m, "bob@a.test");
		if (results[i].code == 0 || (table[i].code != 0 && results[i].code != table[i].code) || results[i].maybe != table[i].maybe ||
		    (table[i].code != E_CANNOT && !err_is_temp(results[i].code)))
			fail_msg("row %zu: %d %s%s", i, results[i].code, results[i].text, results[i].maybe ? " (maybe)" : "");
		while (relay.sessions != NULL) {
			struct session *s = relay.sessions;

			session_free(&s);
		}
	}
}

static void replies_without_end(void **state)
{
	static char line[1200000], lines[1200000];
	struct script script = {.rows = {{"MAIL", line}}};
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	memset(line, 'a', sizeof(line) - 1);
	memcpy(line, "250 ", 4);
	line[1000000] = '\0';
	servers[0].script = &script;
	deliver_one(&m, "bob@a.test");
	assert_int_equal(results[0].code, E_REMOTE);
	for (size_t i = 0; i + 8 < sizeof(lines) - 200000; i += 8)
		memcpy(lines + i, "250-x y\n", 8);
	for (size_t i = 0; i + 10 < 1000000; i += 10)
		memcpy(lines + i, "250-xyz \r\n", 10);
	script.rows[0].reply = lines;
	lines[999990] = '\0';
	deliver_one(&m, "bob@a.test");
	assert_int_equal(results[1].code, E_REMOTE);
	assert_true(relay.session_count <= 1);
}

static bool has_timed_out(void)
{
	return result_count > 0;
}

/* One that drips keeps within its patience with each line, and does not within that of the whole. */
static void a_server_that_drips(void **state)
{
	static const struct script drips = {.greeting = "220-one\r\n"};
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	servers[0].script = &drips;
	send_to(&m, 1, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_connected);
	for (int i = 0; i < 3; i++) {
		peer_say(servers[0].peers, "220-more\r\n");
		conn_flush(servers[0].peers->conn);
	}
	assert_true(relay.sessions->phase_end_ms > clock_monotonic_ms() + RELAY_PHASE_MS - 10000);
	relay.sessions->phase_end_ms = clock_monotonic_ms();
	peer_say(servers[0].peers, "220-more\r\n");
	conn_flush(servers[0].peers->conn);
	run_until(has_timed_out);
	assert_result(0, E_UNAVAILABLE, "451 4.4.2 the server did not answer in time");
	assert_false(results[0].reached);
}

/* It talks although nobody asked: an idle connection that does is of no use. */
static void a_server_that_talks_to_itself(void **state)
{
	struct relay_deliver m = message_to("a.test", "x\r\n");

	(void)state;
	deliver_one(&m, "bob@a.test");
	run_until(is_idle);
	peer_say(servers[0].peers, "250 by the way\r\n");
	conn_flush(servers[0].peers->conn);
	run_until(is_without_sessions);
	deliver_one(&m, "bob@a.test");
	assert_result(1, 0, "250");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_message_goes),
	    TEST(a_connection_serves_again),
	    TEST(a_connection_by_an_old_policy_serves_once),
	    TEST(many_at_once),
	    TEST(an_idle_connection_that_is_gone),
	    TEST(a_file_is_sent_in_pieces),
	    TEST(a_refusal_in_the_midst_of_a_message),
	    TEST(recipients_have_answers_of_their_own),
	    TEST(hosts_one_after_the_other),
	    TEST(hosts_that_are_all_of_no_use),
	    TEST(no_way_at_all),
	    TEST(what_the_settings_say),
	    TEST(addresses_of_this_machine),
	    TEST(new_addresses_of_this_machine),
	    TEST(what_the_server_cannot_take),
	    TEST(a_server_that_takes_seven_bits),
	    TEST(one_session_and_one_answer),
	    TEST(replies_without_end),
	    TEST(a_server_that_drips),
	    TEST(a_server_that_talks_to_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
