/* A relay in the test's own process: queue and the resolver are played over their channels, the hosts by scripts on 127.0.0.x. */
#ifndef MW_TESTS_UNIT_RELAY_FIXTURE_H
#define MW_TESTS_UNIT_RELAY_FIXTURE_H

#include "tests/unit/lib/tls/fixture.h"
#include "tests/unit/relay/daemon.h"
#include "tests/unit/relay/fake_dns.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "net/conn.h"

#include <event2/event.h>

enum { SERVERS = 8, RESULTS = 64 };

static struct relay relay;
static struct fake_dns fake;
static struct ipc_conn *queue;
static uint16_t port;

/* ---- the hosts ---- */

struct script {
	const char *greeting; /* NULL: "220 host ESMTP" */
	/* The first row whose command a line begins with; NULL ends. reply: "" says nothing, NULL closes; "STARTTLS" begins TLS; "." is the content's end. */
	struct {
		const char *command, *reply;
	} rows[12];
};

struct server {
	struct event *event;
	int fd;
	const struct script *script;
	struct tls_context *tls;
	unsigned connections, transactions;
	char said[8192];    /* lines without ends, "|" between them */
	struct buf content; /* as it came */
	struct peer *peers;
};

struct peer {
	struct peer *next;
	struct server *server;
	struct conn *conn;
	bool content, closing;
};

static struct server servers[SERVERS]; /* servers[i] is 127.0.0.(i + 1) */

/* "\1" is a NUL. */
static inline void peer_say(struct peer *p, const char *text)
{
	for (; *text != '\0'; text++)
		buf_add_char(conn_output(p->conn), *text == '\1' ? '\0' : *text);
}

static inline void peer_close(struct peer *p)
{
	p->closing = true;
	conn_finish(p->conn);
}

static inline const char *reply_to(const struct server *s, const char *line)
{
	static const char *const defaults[][2] = {{"EHLO", "250-host\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"}, {"LHLO", "250-host\r\n250 PIPELINING\r\n"},
	    {"DATA", "354 go on\r\n"}, {"QUIT", "221 bye\r\n"}, {"STARTTLS", "STARTTLS"}, {"MAIL", "250 2.1.0 sender\r\n"}, {"RCPT", "250 2.1.5 recipient\r\n"},
	    {".", "250 2.0.0 kept\r\n"}, {"", "250 fine\r\n"}};

	for (size_t i = 0; s->script != NULL && s->script->rows[i].command != NULL; i++)
		if (strncmp(line, s->script->rows[i].command, strlen(s->script->rows[i].command)) == 0)
			return s->script->rows[i].reply;
	for (size_t i = 0;; i++)
		if (strncmp(line, defaults[i][0], strlen(defaults[i][0])) == 0)
			return defaults[i][1];
}

static inline void peer_line(struct peer *p, const char *line)
{
	struct server *s = p->server;
	const char *reply = reply_to(s, line);

	strncat(s->said, line, sizeof(s->said) - strlen(s->said) - 2);
	strcat(s->said, "|");
	if (reply == NULL) {
		peer_close(p);
	} else if (strcmp(reply, "STARTTLS") == 0) {
		peer_say(p, "220 go\r\n");
		assert_int_equal(conn_start_tls(p->conn, s->tls), 0);
	} else {
		peer_say(p, reply);
		if (strncmp(line, "DATA", 4) == 0 && strncmp(reply, "354", 3) == 0)
			p->content = true;
		if (strcmp(line, "QUIT") == 0)
			peer_close(p);
	}
}

static inline void peer_input(void *arg, struct conn *conn)
{
	struct peer *p = arg;
	struct span in;
	size_t end;

	while (in = conn_input(conn), end = span_find(in, '\n'), end < in.len && !p->closing) {
		char line[2048];

		if (p->content) {
			struct span whole = span_sub(in, 0, end + 1);

			if (span_eq(whole, SPAN_LIT(".\r\n"))) {
				p->content = false;
				p->server->transactions++;
				conn_consume(conn, whole.len);
				peer_line(p, ".");
				continue;
			}
			buf_add_span(&p->server->content, whole);
			conn_consume(conn, whole.len);
			continue;
		}
		span_copy(span_sub(in, 0, end - (end > 0 && in.ptr[end - 1] == '\r')), line, sizeof(line));
		conn_consume(conn, end + 1);
		peer_line(p, line);
	}
}

static inline void peer_gone(void *arg, struct conn *conn, const struct err *why)
{
	struct peer *p = arg, **at = &p->server->peers;

	(void)conn;
	(void)why;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	conn_free(&p->conn);
	free(p);
}

static inline void peer_tls(void *arg, struct conn *conn, int code, const struct err *why)
{
	(void)arg;
	(void)conn;
	(void)code;
	(void)why;
}

static inline void server_accept(evutil_socket_t fd, short what, void *arg)
{
	static const struct conn_callbacks callbacks = {peer_input, peer_gone, NULL, peer_tls};
	struct server *s = arg;
	struct peer *p = calloc(1, sizeof(*p));
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char text[CONN_PEER_TEXT];
	int peer = accept(fd, (void *)&from, &len);

	(void)what;
	assert_true(peer >= 0);
	s->connections++;
	p->server = s;
	p->next = s->peers;
	s->peers = p;
	inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text));
	p->conn = conn_new(base, peer, text, &callbacks, p);
	snprintf(s->said + strlen(s->said), sizeof(text) + 4, "[%s]|", strcmp(text, "127.0.0.1") == 0 ? "" : text);
	peer_say(p, s->script != NULL && s->script->greeting != NULL ? s->script->greeting : "220 host ESMTP\r\n");
	conn_flush(p->conn);
}

/* Begins to listen at 127.0.0.(n + 1). */
static inline struct server *server_begin(size_t n, const struct script *script)
{
	struct server *s = &servers[n];
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)n)};
	socklen_t len = sizeof(at);
	int on = 1;

	s->script = script;
	if (s->fd > 0)
		return s;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(s->fd, (void *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->fd, 50), 0);
	getsockname(s->fd, (void *)&at, &len);
	port = ntohs(at.sin_port);
	buf_init(&s->content, 8 * 1024 * 1024);
	s->event = event_new(base, s->fd, EV_READ | EV_PERSIST, server_accept, s);
	event_add(s->event, NULL);
	return s;
}

static inline void server_end(struct server *s)
{
	if (s->fd <= 0)
		return;
	while (s->peers != NULL) {
		struct err none = {0};

		peer_gone(s->peers, s->peers->conn, &none);
	}
	event_free(s->event);
	close(s->fd);
	buf_fini(&s->content);
	tls_context_free(&s->tls);
	*s = (struct server){0};
}

/* ---- queue ---- */

static struct {
	uint32_t id, recipient;
	int code;
	bool maybe, reached, pause, last;
	char host[256], address[64], tls[64], text[520];
} results[RESULTS];
static size_t result_count;

static inline int queue_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct relay_result *r = (const void *)m->body;
	size_t i = result_count++;

	(void)arg;
	(void)conn;
	assert_true(i < RESULTS);
	results[i].id = m->id;
	results[i].recipient = r->recipient;
	results[i].code = r->code;
	results[i].maybe = r->maybe;
	results[i].reached = r->reached;
	results[i].pause = r->pause;
	results[i].last = r->last;
	span_copy(r->host, results[i].host, sizeof(results[i].host));
	span_copy(r->address, results[i].address, sizeof(results[i].address));
	span_copy(r->tls, results[i].tls, sizeof(results[i].tls));
	span_copy(r->text, results[i].text, sizeof(results[i].text));
	return 0;
}

static inline void queue_gone(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
	queue = NULL;
}

static inline void queue_begin(void)
{
	static const struct ipc_conn_callbacks callbacks = {queue_message, queue_gone};
	struct err err;
	int fds[2];

	assert_int_equal(ipc_pair(fds, &err), 0);
	channel_new(&relay, fds[0]);
	queue = ipc_conn_new(base, fds[1], &ipc_service_relay, TO_CLIENT, &callbacks, NULL);
}

static inline void pack(struct buf *out, const char *const *recipients)
{
	for (; *recipients != NULL; recipients++) {
		fake_put(out, *recipients, strlen(*recipients));
		fake_put(out, "", 0);
		buf_add_char(out, 0);
	}
}

/* What most messages have; a test changes it. */
static inline struct relay_deliver message_to(const char *domain, const char *content)
{
	return (struct relay_deliver){.queue_id = SPAN_LIT("ABC"), .domain = span_str(domain), .sender = SPAN_LIT("ann@own.test"), .content = span_str(content), .size = strlen(content)};
}

static inline void send_to(const struct relay_deliver *message, uint32_t id, const char *const *recipients, int fd)
{
	struct relay_deliver body = *message;
	struct buf packed;

	buf_init(&packed, 24576);
	pack(&packed, recipients);
	body.recipients = buf_span(&packed);
	assert_int_equal(ipc_conn_send(queue, &ipc_relay_deliver, id, &body, fd), 0);
	buf_fini(&packed);
}

static inline void on_overdue(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Runs until it is so. */
static inline void run_until(bool (*is_so)(void))
{
	struct timeval tv = {.tv_sec = 30};
	bool overdue = false;
	struct event *timer = evtimer_new(base, on_overdue, &overdue);

	evtimer_add(timer, &tv);
	while (!is_so() && !overdue)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
	if (overdue)
		fail_msg("%zu results, %u sessions, %u jobs; the first server was told: %s", result_count, relay.session_count, relay.job_count, servers[0].said);
}

static size_t results_wanted;

static inline bool has_results(void)
{
	return result_count >= results_wanted;
}

static inline void run_until_results(size_t count)
{
	results_wanted = count;
	run_until(has_results);
}

static inline bool is_without_sessions(void)
{
	return relay.sessions == NULL;
}

static inline bool is_without_jobs(void)
{
	return relay.job_count == 0;
}

static inline bool is_without_channels(void)
{
	return relay.channels == NULL && relay.job_count == 0;
}

static inline bool is_idle(void)
{
	return relay.idle != NULL;
}

static inline bool is_without_queue(void)
{
	return queue == NULL;
}

static inline bool is_connected(void)
{
	return servers[0].peers != NULL && relay.sessions != NULL;
}

/* One recipient, one result; it is the last one in results. */
static inline void deliver_one(const struct relay_deliver *message, const char *recipient)
{
	size_t before = result_count;

	send_to(message, 1, (const char *const[]){recipient, NULL}, -1);
	run_until_results(before + 1);
	assert_true(results[before].last);
}

#define assert_result(i, c, begin)                                                                                         \
	do {                                                                                                               \
		if (results[i].code != (c) || strncmp(results[i].text, begin, strlen(begin)) != 0)                         \
			fail_msg("result %zu: %d %s (host %s)", (size_t)(i), results[i].code, results[i].text, results[i].host); \
	} while (0)

/* ---- all of it ---- */

static inline void configure(const char *more)
{
	char text[2048];
	struct err err;

	conf_free(&conf);
	snprintf(text, sizeof(text), "config-version 1\nhostname mail.own.test\nrelay-port %u\n%s", port, more);
	if (conf_parse(span_str(text), "c", &conf, &err) != 0 || settings_load(&relay, &err) != 0)
		fail_msg("%s", err.text);
	relay.self = (struct route_self){.hostname = conf_text(conf, CONF_hostname, NULL), .is_ours = settings_is_ours, .arg = &relay};
}

static inline int relay_begin(const struct fake_row *rows)
{
	base = event_base_new();
	relay = (struct relay){.seed = 1};
	for (size_t i = 0; i < SERVERS; i++)
		servers[i] = (struct server){0};
	relay.waiting_tail = &relay.waiting;
	relay.idle_tail = &relay.idle;
	result_count = 0;
	memset(results, 0, sizeof(results));
	port = 0;
	server_begin(0, NULL);
	fake_dns_begin(&fake, base, rows);
	relay.dns = fake.dns;
	queue_begin();
	configure("");
	return 0;
}

static inline int relay_end(void)
{
	ipc_conn_free(&queue);
	run_until(is_without_channels);
	while (relay.sessions != NULL) {
		struct session *s = relay.sessions;

		session_free(&s);
	}
	assert_int_equal(relay.job_count, 0);
	assert_int_equal(relay.session_count, 0);
	assert_int_equal(relay.under_way, 0);
	if (relay.wake != NULL)
		event_free(relay.wake);
	assert_null(relay.idle);
	for (size_t i = 0; i < SERVERS; i++)
		server_end(&servers[i]);
	fake_dns_end(&fake);
	destinations_free(&relay);
	tls_context_free(&relay.system);
	tls_context_free(&relay.own);
	conf_free(&conf);
	event_base_free(base);
	return 0;
}

#endif
