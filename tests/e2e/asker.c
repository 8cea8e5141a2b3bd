/*
 * Plays master and a client of one resolve: what of a suite is about DNS, without the rest (test_resolve.py).
 *
 * usage: asker RESOLVE CONFIGURATION ANCHOR
 * Standard input, a line each: "ask NAME TYPE MILLISECONDS", "pid"; its end is the end. Standard output: "ready"; for each answer its name, result,
 * secure or not, number of records, why. "bench NAME COUNT AT_ONCE": that many questions, then how long they took.
 * A resolve that dies is started again.
 */
#include "dns/dns.h"
#include "ipc/ipc.h"
#include "net/ipc_conn.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MASTER_FD = 3 };

static struct {
	char **argv;
	struct event_base *base;
	struct dns *dns;
	struct ipc_conn *conn; /* as master */
	pid_t pid;
	bool ready;
	struct event *input;
	struct evbuffer *lines;
	struct bench {
		char name[DNS_NAME_TEXT];
		uint32_t left, under_way;
		int64_t began_us;
		uint32_t count;
	} bench;
} asker;

static void start(void);

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- as master ---- */

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)arg;
	(void)conn;
	if (m->type == &ipc_master_failed) {
		const struct master_failed *body = (const void *)m->body;

		printf("failed %.*s\n", SPAN_ARG(body->text));
		exit(1);
	}
	if (m->type == &ipc_master_ready && !asker.ready) {
		asker.ready = true;
		puts("ready");
	}
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
	asker.conn = NULL;
	kill(asker.pid, SIGKILL);
	waitpid(asker.pid, NULL, 0);
	start();
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

static void send_file(const struct ipc_type *type, const void *body, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ipc_conn_send(asker.conn, type, 0, body, fd) != 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void hand_over(int peer, int control)
{
	struct master_config config = {.generation = 1};
	struct master_file anchor = {.name = SPAN_LIT("resolver-trust-anchor")};
	struct master_listener listener = {.name = SPAN_LIT("control"), .address = SPAN_LIT("resolve")};
	struct master_peer channel = {.service = SPAN_LIT("dns"), .role = SPAN_LIT("relay"), .serving = true};
	struct master_go go = {.generation = 1};

	send_file(&ipc_master_config, &config, asker.argv[2]);
	send_file(&ipc_master_file, &anchor, asker.argv[3]);
	ipc_conn_send(asker.conn, &ipc_master_listener, 0, &listener, control);
	ipc_conn_send(asker.conn, &ipc_master_peer, 0, &channel, peer);
	ipc_conn_send(asker.conn, &ipc_master_go, 0, &go, -1);
}

/* A control socket that nobody connects to. */
static int listen_somewhere(void)
{
	struct sockaddr_un any = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) != 0 || listen(fd, 1) != 0)
		exit(1);
	return fd;
}

static void start(void)
{
	int master[2], peer[2], control = listen_somewhere();
	struct err err;

	if (ipc_pair(master, &err) != 0 || ipc_pair(peer, &err) != 0)
		exit(1);
	asker.pid = fork();
	if (asker.pid == 0) {
		dup2(master[1], MASTER_FD);
		close_range(MASTER_FD + 1, ~0U, 0);
		execl(asker.argv[1], asker.argv[1], NULL);
		_exit(127);
	}
	close(master[1]);
	asker.conn = ipc_conn_new(asker.base, master[0], &ipc_service_master, TO_SERVICE, &callbacks, NULL);
	hand_over(peer[0], control);
	close(peer[0]);
	close(control);
	dns_service(asker.dns, peer[1]);
}

/* ---- as a client ---- */

static void on_answer(void *arg, const struct dns_answer *answer)
{
	static const char *const results[] = {"found", "no-data", "no-name", "temporary", "bogus"};
	struct span records = answer->records, rdata;
	unsigned count = 0;

	(void)arg;
	while (dns_record_next(&records, &rdata))
		count++;
	printf("%.*s %s %s %u %.*s\n", SPAN_ARG(answer->name), results[answer->result], answer->secure ? "secure" : "-", count, SPAN_ARG(answer->why));
}

static void on_bench(void *arg, const struct dns_answer *answer);

static void bench_more(void)
{
	struct bench *b = &asker.bench;

	b->left--;
	b->under_way++;
	if (dns_ask(asker.dns, span_str(b->name), DNS_A, 0, on_bench, NULL) == 0)
		exit(1);
}

static void on_bench(void *arg, const struct dns_answer *answer)
{
	struct bench *b = &asker.bench;

	(void)arg;
	if (answer->result != DNS_FOUND)
		exit(1);
	b->under_way--;
	if (b->left > 0)
		bench_more();
	else if (b->under_way == 0)
		printf("%u questions in %.3f s\n", b->count, (double)(now_us() - b->began_us) / 1e6);
}

static void command(const char *line)
{
	struct bench *b = &asker.bench;
	char name[DNS_NAME_TEXT];
	int deadline;
	unsigned type, at_once;

	if (sscanf(line, "ask %254s %u %d", name, &type, &deadline) == 3) {
		if (dns_ask(asker.dns, span_str(name), (enum dns_type)type, deadline, on_answer, NULL) == 0)
			printf("%s refused - 0\n", name);
	} else if (sscanf(line, "bench %254s %u %u", b->name, &b->count, &at_once) == 3) {
		b->left = b->count;
		b->began_us = now_us();
		for (unsigned i = 0; i < at_once; i++)
			bench_more();
	} else if (strcmp(line, "pid") == 0) {
		printf("%d\n", (int)asker.pid);
	}
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	char *line;

	(void)what;
	(void)arg;
	if (evbuffer_read(asker.lines, fd, -1) <= 0) {
		kill(asker.pid, SIGTERM);
		exit(0);
	}
	while ((line = evbuffer_readln(asker.lines, NULL, EVBUFFER_EOL_LF)) != NULL) {
		command(line);
		free(line);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 64;
	setvbuf(stdout, NULL, _IOLBF, 0);
	asker.argv = argv;
	asker.base = event_base_new();
	asker.dns = dns_new(asker.base);
	asker.lines = evbuffer_new();
	start();
	asker.input = event_new(asker.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, NULL);
	event_add(asker.input, NULL);
	return event_base_dispatch(asker.base) == 0 ? 0 : 1;
}
