/*
 * IMAP clients over TLS that log in, select their INBOX and wait in IDLE.
 * usage: idlers PORT CLIENTS ACCOUNTS ADDRESSES PASSWORD
 *
 * Client n logs in as u<n modulo ACCOUNTS>@example.com. Says on standard output
 *	ready CLIENTS MS	all wait; MS from the first connection on
 *	told ACCOUNT MS		an EXISTS came; MS of the monotonic clock
 *	done MS MS MS		after "stir": how long the median, the 99th of a hundred and the slowest took
 *	lost TEXT		a client was refused or its connection ended
 * and takes from standard input
 *	stir COUNT		so many, evenly chosen, say DONE, and IDLE again when it was answered
 * until that ends.
 */
#include "tests/load/peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BEGINNING_MAX = 48, EVENTS = 256 };

enum state { CONNECTING, GREETING, LOGIN, SELECTING, IDLING, LEAVING, LOST };

struct client {
	SSL *ssl;
	int fd;
	unsigned number;
	enum state state;
	bool waits_to_write;
	double since;
	struct peer_lines lines;
};

static struct {
	int port, epoll;
	unsigned clients, accounts, addresses;
	const char *password;
	SSL_CTX *tls;
	struct client *all;
	unsigned begun, beginning, idle;
	unsigned stirred, stirring;
	double *times;
	bool ready;
} run;

static void watch(struct client *c, uint32_t events, int how)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	epoll_ctl(run.epoll, how, c->fd, &e);
}

static void lose(struct client *c, const char *why)
{
	printf("lost client %u in state %d: %s\n", c->number, (int)c->state, why);
	if (c->state < IDLING)
		run.beginning--;
	c->state = LOST;
	close(c->fd);
	SSL_free(c->ssl);
	c->ssl = NULL;
}

static void begin_one(void)
{
	struct client *c = &run.all[run.begun];

	*c = (struct client){.number = run.begun++, .since = peer_now_ms()};
	run.beginning++;
	c->fd = peer_connect(c->number % run.addresses, run.port);
	c->ssl = SSL_new(run.tls);
	if (c->fd < 0 || c->ssl == NULL) {
		lose(c, strerror(errno));
		return;
	}
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_connect_state(c->ssl);
	watch(c, EPOLLOUT, EPOLL_CTL_ADD);
	c->waits_to_write = true;
}

/* Lines are short and the connection is quiet: one that cannot be written at once means that something is wrong. */
static void say(struct client *c, const char *text)
{
	if (SSL_write(c->ssl, text, (int)strlen(text)) != (int)strlen(text))
		lose(c, "a line could not be written");
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void stir_done(double took)
{
	run.times[run.stirred++] = took;
	if (run.stirred < run.stirring)
		return;
	qsort(run.times, run.stirred, sizeof(double), by_size);
	printf("done %.1f %.1f %.1f\n", run.times[run.stirred / 2], run.times[(run.stirred * 99 - 1) / 100], run.times[run.stirred - 1]);
	run.stirring = run.stirred = 0;
}

static void start_idle(struct client *c)
{
	c->state = IDLING;
	run.beginning--;
	run.idle++;
	if (!run.ready && run.idle == run.clients) {
		run.ready = true;
		printf("ready %u %.0f\n", run.idle, peer_now_ms() - run.all[0].since);
	}
}

static void on_line(struct client *c, const char *line)
{
	char text[512];

	if (c->state == GREETING && strncmp(line, "* OK", 4) == 0) {
		snprintf(text, sizeof(text), "a LOGIN u%u@example.com \"%s\"\r\n", c->number % run.accounts, run.password);
		c->state = LOGIN;
		say(c, text);
	} else if (c->state == LOGIN && strncmp(line, "a OK", 4) == 0) {
		c->state = SELECTING;
		say(c, "b SELECT INBOX\r\nc IDLE\r\n");
	} else if (c->state == SELECTING && line[0] == '+') {
		start_idle(c);
	} else if (c->state == IDLING && strstr(line, " EXISTS") != NULL) {
		printf("told %u %.3f\n", c->number % run.accounts, peer_now_ms());
	} else if (c->state == LEAVING && strncmp(line, "c OK", 4) == 0) {
		c->state = IDLING;
		stir_done(peer_now_ms() - c->since);
		say(c, "c IDLE\r\n");
	} else if (line[0] != '*' && line[0] != '+' && strncmp(line, "b OK", 4) != 0) {
		lose(c, line);
	} else if (strncmp(line, "* BYE", 5) == 0) {
		lose(c, line);
	}
}

static void on_input(struct client *c)
{
	char *at, *line;
	size_t room;
	int n;

	while (c->state != LOST && (room = peer_room(&c->lines, &at)) > 0) {
		n = SSL_read(c->ssl, at, (int)room);
		if (n <= 0) {
			if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
				lose(c, "the connection ended");
			ERR_clear_error();
			return;
		}
		c->lines.len += (size_t)n;
		while (c->state != LOST && (line = peer_line(&c->lines)) != NULL) {
			on_line(c, line);
			if (c->state != LOST)
				peer_line_done(&c->lines);
		}
	}
}

static void on_handshake(struct client *c)
{
	int r = SSL_do_handshake(c->ssl), want = SSL_get_error(c->ssl, r);

	if (r == 1) {
		c->state = GREETING;
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
		on_input(c);
	} else if (want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE) {
		watch(c, want == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
	} else {
		ERR_clear_error();
		lose(c, "the handshake failed");
	}
}

static void stir(unsigned count)
{
	run.times = realloc(run.times, count * sizeof(double));
	run.stirred = 0;
	run.stirring = count;
	for (unsigned i = 0; i < count; i++) {
		struct client *c = &run.all[(uint64_t)i * run.clients / count];

		if (c->state != IDLING) {
			stir_done(0);
			continue;
		}
		c->state = LEAVING;
		c->since = peer_now_ms();
		say(c, "DONE\r\n");
	}
}

/* False when it has ended. */
static bool on_command(void)
{
	static char text[256];
	ssize_t n = read(0, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (strncmp(text, "stir ", 5) == 0)
		stir((unsigned)strtoul(text + 5, NULL, 10));
	return true;
}

static void loop(void)
{
	struct epoll_event events[EVENTS], input = {.events = EPOLLIN};

	epoll_ctl(run.epoll, EPOLL_CTL_ADD, 0, &input);
	for (;;) {
		int n;

		while (run.begun < run.clients && run.beginning < BEGINNING_MAX)
			begin_one();
		fflush(stdout);
		n = epoll_wait(run.epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (c == NULL && !on_command())
				return;
			if (c == NULL || c->state == LOST)
				continue;
			if (c->state == CONNECTING)
				on_handshake(c);
			else
				on_input(c);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: idlers PORT CLIENTS ACCOUNTS ADDRESSES PASSWORD\n");
		return 2;
	}
	run.port = atoi(argv[1]);
	run.clients = (unsigned)strtoul(argv[2], NULL, 10);
	run.accounts = (unsigned)strtoul(argv[3], NULL, 10);
	run.addresses = (unsigned)strtoul(argv[4], NULL, 10);
	run.password = argv[5];
	peer_allow_descriptors();
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	run.tls = SSL_CTX_new(TLS_client_method());
	run.all = calloc(run.clients, sizeof(*run.all));
	if (run.epoll < 0 || run.tls == NULL || run.all == NULL)
		return 1;
	SSL_CTX_set_mode(run.tls, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(run.tls, SSL_SESS_CACHE_OFF);
	loop();
	return 0;
}
