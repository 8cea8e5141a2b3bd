/*
 * Clients that log in over TLS 1.3 and leave, again and again.
 * usage: logins PORT imap|smtp DOMAIN PASSWORD CLIENTS SECONDS RESUME
 *
 * CLIENTS processes, each one login at a time, as u0 to u9 in turns. RESUME 1: with the ticket of the login before. Says on standard
 * output: LOGINS RESUMED SECONDS, and ends with 1 when one was refused.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ACCOUNTS = 10, CLIENTS_MAX = 256 };

struct count {
	unsigned long logins, resumed;
	int failed;
};

static struct {
	int port, smtp, resume;
	const char *domain, *password;
	double seconds;
	SSL_CTX *context;
	SSL_SESSION *ticket;
} run;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(run.ticket);
	run.ticket = session;
	return 1; /* kept */
}

/* Reads until the last whole line begins with `want` (and is no continuation); 0: something else, or the end. */
static int expect(SSL *ssl, const char *want)
{
	char text[4096];
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		int n = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));
		char *line;

		if (n <= 0)
			return 0;
		len += (size_t)n;
		text[len] = '\0';
		if (text[len - 1] != '\n')
			continue;
		for (line = text + len - 1; line > text && line[-1] != '\n'; line--)
			;
		if (strncmp(line, "* ", 2) == 0 && strncmp(want, "* ", 2) != 0)
			continue;
		if (run.smtp && strlen(line) > 3 && line[3] == '-')
			continue;
		return strncmp(line, want, strlen(want)) == 0;
	}
	return 0;
}

static int say(SSL *ssl, const char *text)
{
	return SSL_write(ssl, text, (int)strlen(text)) > 0;
}

static int talk(SSL *ssl, unsigned account)
{
	char text[1024], plain[512];
	unsigned char coded[700];
	int n;

	if (!run.smtp) {
		snprintf(text, sizeof(text), "a LOGIN u%u@%s %s\r\n", account, run.domain, run.password);
		return expect(ssl, "* OK") && say(ssl, text) && expect(ssl, "a OK") && say(ssl, "b LOGOUT\r\n") && expect(ssl, "b OK");
	}
	n = snprintf(plain, sizeof(plain), "%cu%u@%s%c%s", 0, account, run.domain, 0, run.password);
	EVP_EncodeBlock(coded, (const unsigned char *)plain, n);
	snprintf(text, sizeof(text), "AUTH PLAIN %s\r\n", (char *)coded);
	return expect(ssl, "220") && say(ssl, "EHLO client.remote.test\r\n") && expect(ssl, "250") && say(ssl, text) && expect(ssl, "235") &&
	    say(ssl, "QUIT\r\n") && expect(ssl, "221");
}

static int login(struct count *count, unsigned account)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, done = 0;
	SSL *ssl = SSL_new(run.context);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (ssl != NULL && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
		SSL_set_fd(ssl, fd);
		if (run.resume && run.ticket != NULL)
			SSL_set_session(ssl, run.ticket);
		done = SSL_connect(ssl) == 1 && talk(ssl, account);
		count->resumed += done && SSL_session_reused(ssl);
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
	return done;
}

static void work(struct count *count, unsigned first)
{
	double end = now() + run.seconds;

	run.context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(run.context, TLS1_3_VERSION);
	SSL_CTX_set_session_cache_mode(run.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(run.context, on_ticket);
	for (unsigned n = first; now() < end && !count->failed; n++) {
		if (login(count, n % ACCOUNTS))
			count->logins++;
		else
			count->failed = 1;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct count *counts, total = {0};
	double begun = now();
	int clients;

	if (argc != 8) {
		fprintf(stderr, "usage: logins PORT imap|smtp DOMAIN PASSWORD CLIENTS SECONDS RESUME\n");
		return 2;
	}
	run.port = atoi(argv[1]);
	run.smtp = strcmp(argv[2], "smtp") == 0;
	run.domain = argv[3];
	run.password = argv[4];
	clients = atoi(argv[5]);
	run.seconds = atof(argv[6]);
	run.resume = atoi(argv[7]);
	if (clients < 1 || clients > CLIENTS_MAX)
		return 2;
	counts = mmap(NULL, sizeof(*counts) * CLIENTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 2;
	for (int i = 0; i < clients; i++)
		if (fork() == 0)
			work(&counts[i], (unsigned)i);
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < clients; i++) {
		total.logins += counts[i].logins;
		total.resumed += counts[i].resumed;
		total.failed |= counts[i].failed;
	}
	printf("%lu %lu %.3f\n", total.logins, total.resumed, now() - begun);
	return total.failed;
}
