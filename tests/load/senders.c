/*
 * SMTP clients, one message a connection.
 * usage: senders PORT ACCOUNTS ADDRESSES CONNECTIONS RATE SECONDS FILE FIRST
 *
 * RATE 0: CONNECTIONS clients, each begins again when it has done. RATE n: n connections begin a second whatever becomes of those before, as
 * long as fewer than CONNECTIONS are there; what was put off is tried again as one of those, and who is not connected within a fifth of a second gives up.
 * SECONDS 0: CONNECTIONS clients say EHLO and stay until standard input ends.
 *
 * Message n (from FIRST on) goes to u<n modulo ACCOUNTS>@example.com and has n as its subject. Those that were answered with 250 are
 * written to FILE, as 4 octets each. Says on standard output, once a second and at the end,
 *	second ACCEPTED REFUSED DEFERRED REJECTED RESET CLOSED SILENT OUTSIDE OPEN MEDIAN P99
 * REFUSED: 421; DEFERRED: another 4xx; REJECTED: 5xx; RESET and CLOSED: without an answer; SILENT: connected, and no answer
 * in a minute; OUTSIDE: gave up while the kernel was still trying to connect, with RATE 0 after a minute;
 * MEDIAN and P99 in ms, from the connection to the 250; "ready" when all have been greeted; "wrong TEXT" for the first replies that are neither 2xx nor 4xx.
 */
#include "tests/load/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, PATIENCE_MS = 60000, CONNECT_MS = 200, GIVE_UP_MS = 50, BEGIN_MAX = 64, TIMES = 100000, AGAIN_MAX = 1 << 20 };

enum state { FREE, GREETING, HELLO, ENVELOPE, CONTENT, ENDING };

struct sender {
	int fd;
	enum state state;
	uint32_t message;
	unsigned replies; /* of the envelope, that have come */
	double since;
	struct peer_lines lines;
};

struct counts {
	unsigned accepted, refused, deferred, rejected, reset, closed, silent, outside;
};

static struct {
	int port, epoll;
	unsigned accounts, addresses, connections, rate, seconds;
	FILE *file;
	struct sender *all;
	unsigned open, greeted, started;
	uint32_t next;
	uint32_t *again; /* to be tried once more */
	unsigned again_count;
	struct counts now, total;
	double times[TIMES];
	unsigned time_count, wrong_shown;
	struct sender **free_list;
	unsigned free_count;
} run;

static void finish(struct sender *s, bool again)
{
	close(s->fd);
	s->state = FREE;
	run.open--;
	run.free_list[run.free_count++] = s;
	if (again && run.again_count < AGAIN_MAX)
		run.again[run.again_count++] = s->message;
}

static bool begin_one(void)
{
	struct sender *s = run.free_list[run.free_count - 1];
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
	int fd = peer_connect(run.started++ % run.addresses, run.port);

	if (fd < 0)
		return false;
	run.free_count--;
	*s = (struct sender){.fd = fd, .state = GREETING, .since = peer_now_ms()};
	s->message = run.again_count > 0 ? run.again[--run.again_count] : run.next++;
	run.open++;
	epoll_ctl(run.epoll, EPOLL_CTL_ADD, fd, &e);
	return true;
}

static void say(struct sender *s, const char *text)
{
	(void)!send(s->fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_envelope(struct sender *s)
{
	char text[256];

	snprintf(text, sizeof(text), "MAIL FROM:<load@remote.test>\r\nRCPT TO:<u%u@example.com>\r\nDATA\r\n", s->message % run.accounts);
	s->state = ENVELOPE;
	say(s, text);
}

static void say_content(struct sender *s)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog, and so on for a while.\r\n";
	char text[2048];
	int n = snprintf(text, sizeof(text), "From: load@remote.test\r\nTo: u%u@example.com\r\nSubject: %u\r\nMessage-ID: <%u@remote.test>\r\n\r\n",
	    s->message % run.accounts, s->message, s->message);

	for (int i = 0; i < 12; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s", line);
	snprintf(text + n, sizeof(text) - (size_t)n, ".\r\nQUIT\r\n");
	s->state = CONTENT;
	say(s, text);
}

static void on_accepted(struct sender *s)
{
	run.now.accepted++;
	fwrite(&s->message, sizeof(s->message), 1, run.file);
	if (run.time_count < TIMES)
		run.times[run.time_count++] = peer_now_ms() - s->since;
	s->state = ENDING;
}

/* A reply that is not the one wanted. */
static void on_other(struct sender *s, const char *line)
{
	bool temporary = line[0] == '4';

	if (s->state == ENDING)
		temporary = true;
	else if (strncmp(line, "421", 3) == 0)
		run.now.refused++;
	else if (temporary)
		run.now.deferred++;
	else
		run.now.rejected++;
	if (!temporary && run.wrong_shown++ < 5)
		printf("wrong %s\n", line);
	finish(s, s->state != ENDING);
}

static void on_reply(struct sender *s, const char *line)
{
	if (s->state == GREETING && line[0] == '2') {
		s->state = HELLO;
		say(s, "EHLO client.remote.test\r\n");
	} else if (s->state == HELLO && line[0] == '2') {
		if (run.seconds > 0)
			say_envelope(s);
		else if (++run.greeted == run.connections)
			printf("ready %u\n", run.greeted);
	} else if (s->state == ENVELOPE && line[0] == (s->replies < 2 ? '2' : '3')) {
		if (++s->replies == 3)
			say_content(s);
	} else if (s->state == CONTENT && line[0] == '2') {
		on_accepted(s);
	} else if (s->state == ENDING && line[0] == '2') {
		finish(s, false);
	} else {
		on_other(s, line);
	}
}

static void on_end(struct sender *s, bool reset)
{
	if (s->state != ENDING && reset)
		run.now.reset++;
	else if (s->state != ENDING)
		run.now.closed++;
	finish(s, s->state != ENDING);
}

static void on_input(struct sender *s)
{
	char *at, *line;
	size_t room = peer_room(&s->lines, &at);
	ssize_t n = recv(s->fd, at, room, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		on_end(s, n < 0);
		return;
	}
	s->lines.len += (size_t)n;
	while (s->state != FREE && (line = peer_line(&s->lines)) != NULL) {
		if (strlen(line) >= 3 && line[3] != '-')
			on_reply(s, line);
		if (s->state != FREE)
			peer_line_done(&s->lines);
	}
}

static bool is_connected(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state != TCP_SYN_SENT;
}

static void give_up_late(struct sender *s, double waited)
{
	if (s->state == GREETING && waited > (run.rate > 0 ? CONNECT_MS : PATIENCE_MS) && !is_connected(s->fd)) {
		run.now.outside++;
		finish(s, true);
	} else if (waited > PATIENCE_MS) {
		run.now.silent++;
		finish(s, true);
	}
}

static void give_up(double now)
{
	for (unsigned i = 0; i < run.connections; i++)
		if (run.all[i].state != FREE && run.all[i].state != HELLO)
			give_up_late(&run.all[i], now - run.all[i].since);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *word, const struct counts *c)
{
	qsort(run.times, run.time_count, sizeof(double), by_size);
	printf("%s %u %u %u %u %u %u %u %u %u %.1f %.1f\n", word, c->accepted, c->refused, c->deferred, c->rejected, c->reset, c->closed,
	    c->silent, c->outside, run.open, run.time_count ? run.times[run.time_count / 2] : 0,
	    run.time_count ? run.times[(run.time_count * 99 - 1) / 100] : 0);
	fflush(stdout);
}

static void end_second(void)
{
	unsigned *total = (unsigned *)&run.total, *now = (unsigned *)&run.now;

	report("second", &run.now);
	for (size_t i = 0; i < sizeof(run.now) / sizeof(unsigned); i++)
		total[i] += now[i];
	run.now = (struct counts){0};
	run.time_count = 0;
}

/* As many as may; between them those that are there have their turn. Returns whether more were to begin. */
static bool begin_some(double *allowed)
{
	for (int i = 0; i < BEGIN_MAX; i++, --*allowed)
		if (run.free_count == 0 || *allowed < 1 || !begin_one())
			return false;
	return true;
}

/* In the seconds after the last connection has begun those under way may end. */
static void loop(void)
{
	struct epoll_event events[EVENTS];
	double start = peer_now_ms(), second = start + 1000, late = start + GIVE_UP_MS, end = start + run.seconds * 1e3;
	double allowed = 0, before = start;

	while (peer_now_ms() < end || (run.open > 0 && peer_now_ms() < end + PATIENCE_MS)) {
		double now = peer_now_ms();
		int n;

		allowed += (now - before) * run.rate / 1e3;
		before = now;
		if (run.rate == 0 || allowed > run.rate)
			allowed = run.rate == 0 ? run.connections : run.rate;
		n = epoll_wait(run.epoll, events, EVENTS, now < end && begin_some(&allowed) ? 0 : 5);
		for (int i = 0; i < n; i++)
			on_input(events[i].data.ptr);
		if (peer_now_ms() >= late) {
			late = peer_now_ms() + GIVE_UP_MS;
			give_up(late - GIVE_UP_MS);
		}
		if (peer_now_ms() >= second) {
			end_second();
			second += 1000;
		}
	}
	end_second();
	report("end", &run.total);
}

static void hold(void)
{
	struct epoll_event events[EVENTS], input = {.events = EPOLLIN};
	char byte;

	epoll_ctl(run.epoll, EPOLL_CTL_ADD, 0, &input);
	for (;;) {
		int n;

		for (int i = 0; i < 64 && run.free_count > 0 && run.started < run.connections && begin_one(); i++)
			;
		n = epoll_wait(run.epoll, events, EVENTS, run.started < run.connections ? 0 : -1);
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr != NULL)
				on_input(events[i].data.ptr);
			else if (read(0, &byte, 1) <= 0) {
				report("end", &run.now);
				return;
			}
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	unsigned numbers[9] = {0};

	if (argc != 9) {
		fprintf(stderr, "usage: senders PORT ACCOUNTS ADDRESSES CONNECTIONS RATE SECONDS FILE FIRST\n");
		return 2;
	}
	for (int i = 1; i < 9; i++)
		numbers[i] = (unsigned)strtoul(argv[i], NULL, 10);
	run.port = (int)numbers[1];
	run.accounts = numbers[2];
	run.addresses = numbers[3];
	run.connections = numbers[4];
	run.rate = numbers[5];
	run.seconds = numbers[6];
	run.next = numbers[8];
	run.file = fopen(argv[7], "w");
	peer_allow_descriptors();
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	run.all = calloc(run.connections, sizeof(*run.all));
	run.free_list = calloc(run.connections, sizeof(*run.free_list));
	run.again = calloc(AGAIN_MAX, sizeof(*run.again));
	if (run.epoll < 0 || run.all == NULL || run.free_list == NULL || run.again == NULL || run.file == NULL)
		return 1;
	for (unsigned i = run.connections; i > 0; i--)
		run.free_list[run.free_count++] = &run.all[i - 1];
	if (run.seconds > 0)
		loop();
	else
		hold();
	return fclose(run.file) == 0 ? 0 : 1;
}
