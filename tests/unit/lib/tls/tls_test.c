/* TLS sessions on socket pairs: handshakes, policy, reloads, what clients do wrong. */
#include "tests/unit/lib/tls/fixture.h"

#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static struct pem pem;
static struct tls_context *context;
static int fds[2]; /* 0: the server's end */

static int setup(void **state)
{
	(void)state;
	context = context_of(&pem);
	pair_new(fds);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_context_free(&context);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

/* Both sides in turn until the server is done: its result. The client's is in *client_done. */
static int handshake(struct tls_session *server, SSL *client, int *client_done, struct err *err)
{
	int r = E_AGAIN;

	*client_done = 0;
	for (int i = 0; i < 20 && (r == E_AGAIN || (r == 0 && *client_done == 0)); i++) {
		enum tls_want want = TLS_WANT_WRITE;

		if (*client_done == 0)
			*client_done = client_handshake(client);
		if (r == E_AGAIN)
			r = tls_session_handshake(server, &want, err);
		if (r == E_AGAIN)
			assert_int_equal(want, TLS_WANT_READ);
	}
	return r;
}

static void assert_handshake(struct tls_session *server, SSL *client)
{
	struct err err = {0};
	int done;

	if (handshake(server, client, &done, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(done, 1);
}

/* Server reads what the client says, and the other way. */
static void assert_talk(struct tls_session *server, SSL *client)
{
	enum tls_want want;
	struct err err;
	char got[16];

	assert_int_equal(SSL_write(client, "ping", 4), 4);
	assert_int_equal(tls_session_read(server, got, sizeof(got), &want, &err), 4);
	assert_memory_equal(got, "ping", 4);
	assert_int_equal(tls_session_read(server, got, sizeof(got), &want, &err), E_AGAIN);
	assert_int_equal(want, TLS_WANT_READ);
	assert_int_equal(tls_session_write(server, "pong!", 5, &want, &err), 5);
	assert_int_equal(client_read(client, got, sizeof(got)), 5);
	assert_memory_equal(got, "pong!", 5);
}

static void both_versions_are_spoken(void **state)
{
	static const struct {
		int version;
		const char *name;
	} rows[] = {{TLS1_3_VERSION, "TLSv1.3"}, {TLS1_2_VERSION, "TLSv1.2"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		SSL_CTX *ctx = client_context();
		struct tls_session *server = tls_session_new(context, fds[0]);
		SSL *client = client_new(ctx, fds[1]);

		SSL_set_min_proto_version(client, rows[i].version);
		SSL_set_max_proto_version(client, rows[i].version);
		assert_handshake(server, client);
		assert_string_equal(tls_session_version(server), rows[i].name);
		assert_string_equal(tls_session_cipher(server), SSL_get_cipher_name(client));
		assert_null(SSL_get_current_compression(client));
		assert_certificate_of(client, pem.name);
		assert_talk(server, client);
		SSL_free(client);
		SSL_CTX_free(ctx);
		tls_session_free(&server);
		assert_null(server);
		tls_session_free(&server);
	}
}

/* tls.h: 1.2 and 1.3; README: ECDHE with AES-GCM or ChaCha20. */
static void what_is_old_is_refused(void **state)
{
	static const struct {
		int version;
		const char *ciphers;
		bool ok;
	} rows[] = {{TLS1_1_VERSION, "DEFAULT@SECLEVEL=0", false}, {TLS1_VERSION, "DEFAULT@SECLEVEL=0", false},
	    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", false}, {TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", false},
	    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", true}, {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		SSL_CTX *ctx = client_context();
		struct tls_session *server;
		struct err err = {0};
		SSL *client;
		int done, pair[2];

		SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(ctx, rows[i].version);
		assert_int_equal(SSL_CTX_set_cipher_list(ctx, rows[i].ciphers), 1);
		pair_new(pair);
		server = tls_session_new(context, pair[0]);
		client = client_new(ctx, pair[1]);
		assert_int_equal(handshake(server, client, &done, &err), rows[i].ok ? 0 : E_PROTO);
		if (!rows[i].ok)
			assert_true(strncmp(err.text, "TLS: ", 5) == 0 && strlen(err.text) > 5);
		SSL_free(client);
		SSL_CTX_free(ctx);
		tls_session_free(&server);
		close(pair[0]);
		close(pair[1]);
	}
}

/* ---- certificates and keys ---- */

static int file_of(const char *text)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void assert_refused(int certificate, int key, const char *begin)
{
	struct tls_context *made = (struct tls_context *)(uintptr_t)1;
	struct err err = {0};

	assert_int_equal(tls_context_server(certificate, key, &made, &err), E_SYNTAX);
	assert_null(made);
	if (strncmp(err.text, begin, strlen(begin)) != 0)
		fail_msg("%s", err.text);
}

static void files_that_do_not_fit(void **state)
{
	struct pem other = pem_new("other.test", 0, NULL);
	int empty = file_of(""), junk = file_of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

	(void)state;
	assert_refused(pem.certificate, other.key, "tls-key does not belong to tls-certificate: ");
	assert_refused(other.certificate, pem.key, "tls-key does not belong to tls-certificate: ");
	assert_refused(pem.key, pem.certificate, "tls-certificate is not a PEM certificate: "); /* the wrong way round */
	assert_refused(pem.certificate, pem.certificate, "tls-key is not a PEM private key: ");
	assert_refused(empty, pem.key, "tls-certificate is not a PEM certificate: ");
	assert_refused(junk, pem.key, "tls-certificate is not a PEM certificate: ");
	assert_refused(pem.certificate, empty, "tls-key is not a PEM private key: ");
	assert_refused(-1, pem.key, "tls-certificate is not a PEM certificate: ");
	assert_refused(pem.certificate, -1, "tls-key is not a PEM private key: ");
	close(empty);
	close(junk);
	pem_free(&other);
}

/* Nobody sits at a daemon's terminal: it must not wait there for the key's password. */
static void a_locked_key_is_refused_at_once(void **state)
{
	struct pem locked = pem_new("locked.test", 0, "sesame");
	int master, slave, status;
	pid_t pid;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct tls_context *made;
		struct err err = {0};
		int r;

		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		r = tls_context_server(locked.certificate, locked.key, &made, &err);
		exit(r == E_SYNTAX && strncmp(err.text, "tls-key has a password", 22) == 0 ? 0 : 1);
	}
	assert_int_equal(write(master, "sesame\n", 7), 7);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(master);
	close(slave);
	pem_free(&locked);
}

static void the_chain_is_sent(void **state)
{
	struct pem chained = pem_new("chained.test", 2, NULL);
	struct tls_context *made = context_of(&chained);
	struct tls_session *server = tls_session_new(made, fds[0]);
	SSL_CTX *ctx = client_context();
	SSL *client = client_new(ctx, fds[1]);

	(void)state;
	assert_handshake(server, client);
	assert_certificate_of(client, "chained.test");
	assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(client)), 3);
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
	tls_context_free(&made);
	pem_free(&chained);
}

/* At a reload the files are read again from their beginning; running sessions keep what they began with. */
static void a_certificate_is_changed_while_sessions_run(void **state)
{
	struct pem next = pem_new("next.test", 0, NULL);
	struct tls_session *old = tls_session_new(context, fds[0]), *new;
	SSL_CTX *ctx = client_context();
	SSL *first = client_new(ctx, fds[1]), *second;
	struct tls_context *same, *other;
	int pair[2];

	(void)state;
	assert_handshake(old, first);
	same = context_of(&pem); /* the same descriptors once more */
	tls_context_free(&same);
	other = context_of(&next);
	tls_context_free(&context);
	assert_null(context);
	tls_context_free(&context);
	assert_talk(old, first);
	pair_new(pair);
	new = tls_session_new(other, pair[0]);
	second = client_new(ctx, pair[1]);
	SSL_set_session(second, SSL_get_session(first));
	assert_handshake(new, second);
	assert_certificate_of(second, "next.test");
	assert_talk(new, second);
	assert_talk(old, first);
	assert_true(fcntl(pem.certificate, F_GETFD) >= 0 && fcntl(next.key, F_GETFD) >= 0); /* the caller's */
	SSL_free(first);
	SSL_free(second);
	SSL_CTX_free(ctx);
	tls_session_free(&old);
	tls_session_free(&new);
	tls_context_free(&other);
	close(pair[0]);
	close(pair[1]);
	pem_free(&next);
}

/* ---- tickets ---- */

static SSL_SESSION *ticket;
static int tickets;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	tickets++;
	return 1;
}

/* A client that comes again is spared the certificate; without a cache in the server. */
static void a_ticket_is_taken_back(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		SSL_CTX *ctx = client_context();

		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
		SSL_CTX_set_max_proto_version(ctx, versions[i]);
		tickets = 0;
		for (int visit = 0; visit < 3; visit++) {
			struct tls_session *server;
			SSL *client;
			int pair[2];

			pair_new(pair);
			server = tls_session_new(context, pair[0]);
			client = client_new(ctx, pair[1]);
			if (visit > 0)
				assert_int_equal(SSL_set_session(client, ticket), 1);
			assert_handshake(server, client);
			assert_talk(server, client);
			assert_int_equal(SSL_session_reused(client), visit > 0);
			if (visit == 0)
				assert_int_equal(tickets, 1);
			tls_session_shutdown(server);
			SSL_shutdown(client);
			SSL_free(client);
			tls_session_free(&server);
			close(pair[0]);
			close(pair[1]);
		}
		SSL_SESSION_free(ticket);
		ticket = NULL;
		SSL_CTX_free(ctx);
	}
}

/* ---- what clients do ---- */

static void plain_text_is_no_handshake(void **state)
{
	static const char *const texts[] = {"EHLO client.test\r\n", "a1 LOGIN a b\r\n", "GET / HTTP/1.0\r\n\r\n", "\x80\x01\x02\x03\x04\x05\x06\x07", "\x16\x03\x01\xff\xff\x01\x02\x03"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tls_session *server;
		enum tls_want want;
		struct err err = {0};
		int pair[2];

		pair_new(pair);
		server = tls_session_new(context, pair[0]);
		assert_int_equal(tls_session_handshake(server, &want, &err), E_AGAIN);
		assert_int_equal(want, TLS_WANT_READ);
		assert_int_equal(write(pair[1], texts[i], strlen(texts[i])), strlen(texts[i]));
		assert_int_equal(tls_session_handshake(server, &want, &err), E_PROTO);
		assert_true(strlen(err.text) > 5);
		tls_session_shutdown(server); /* not in the middle of a handshake: does nothing */
		tls_session_free(&server);
		close(pair[0]);
		close(pair[1]);
	}
}

/* Commands in the same segment as the handshake, as STARTTLS injections have them: the handshake fails. */
static void plain_text_before_the_handshake(void **state)
{
	struct tls_session *server = tls_session_new(context, fds[0]);
	SSL_CTX *ctx = client_context();
	SSL *client = client_new(ctx, fds[1]);
	struct err err = {0};
	int done;

	(void)state;
	assert_int_equal(write(fds[1], "RSET\r\n", 6), 6);
	assert_int_equal(handshake(server, client, &done, &err), E_PROTO);
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
}

/* The network gives single octets: it only takes longer. */
static void octet_by_octet(void **state)
{
	struct tls_session *server = tls_session_new(context, fds[0]);
	SSL_CTX *ctx = client_context();
	enum tls_want want = TLS_WANT_WRITE;
	struct err err = {0};
	int wire[2], r = E_AGAIN, done = 0, waits = 0;
	SSL *client;
	char got[8];

	(void)state;
	pair_new(wire);
	client = client_new(ctx, wire[0]);
	for (int turns = 0; (r == E_AGAIN || done == 0) && turns < 20000; turns++) {
		char octet;

		if (done == 0)
			done = client_handshake(client);
		assert_true(done >= 0);
		if (read(wire[1], &octet, 1) == 1)
			assert_int_equal(write(fds[1], &octet, 1), 1);
		if (r == E_AGAIN)
			r = tls_session_handshake(server, &want, &err);
		waits += r == E_AGAIN && want == TLS_WANT_READ;
		if (read(fds[1], &octet, 1) == 1)
			assert_int_equal(write(wire[1], &octet, 1), 1);
	}
	assert_int_equal(r, 0);
	assert_int_equal(done, 1);
	assert_true(waits > 100);
	/* A record of data: nothing is there before its last octet. */
	assert_int_equal(SSL_write(client, "ping", 4), 4);
	for (ssize_t n;;) {
		char octet;

		n = tls_session_read(server, got, sizeof(got), &want, &err);
		if (n == 4)
			break;
		assert_int_equal(n, E_AGAIN);
		assert_int_equal(read(wire[1], &octet, 1), 1);
		assert_int_equal(write(fds[1], &octet, 1), 1);
	}
	assert_memory_equal(got, "ping", 4);
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
	close(wire[0]);
	close(wire[1]);
}

/* More than a socket holds, from a buffer that moves, to a client that reads late. */
static void a_full_socket_is_waited_for(void **state)
{
	enum { BIG = 3 * 1000 * 1000 };
	struct tls_session *server = tls_session_new(context, fds[0]);
	SSL_CTX *ctx = client_context();
	SSL *client = client_new(ctx, fds[1]);
	char *big = malloc(BIG), *moved = malloc(BIG), *got = malloc(BIG);
	size_t sent = 0, received = 0;
	enum tls_want want = TLS_WANT_READ;
	struct err err = {0};
	bool full = false;

	(void)state;
	assert_handshake(server, client);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 31 % 251);
	while (received < BIG) {
		ssize_t n = 1;

		while (sent < BIG && n > 0) {
			memcpy(moved + sent, big + sent, BIG - sent > 100000 ? 100000 : BIG - sent);
			n = tls_session_write(server, (full ? big : moved) + sent, BIG - sent > 100000 ? 100000 : BIG - sent, &want, &err);
			if (n > 0)
				sent += (size_t)n;
		}
		if (sent < BIG) {
			assert_int_equal(n, E_AGAIN);
			assert_int_equal(want, TLS_WANT_WRITE);
			full = true;
		}
		for (int k; (k = client_read(client, got + received, BIG - (int)received)) > 0;)
			received += (size_t)k;
	}
	assert_true(full);
	assert_memory_equal(got, big, BIG);
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
	free(big);
	free(moved);
	free(got);
}

static void what_is_decrypted_and_not_read_is_told(void **state)
{
	struct tls_session *server = tls_session_new(context, fds[0]);
	SSL_CTX *ctx = client_context();
	SSL *client = client_new(ctx, fds[1]);
	enum tls_want want;
	struct err err;
	char got[8];

	(void)state;
	assert_handshake(server, client);
	assert_false(tls_session_pending(server));
	assert_int_equal(SSL_write(client, "0123456789", 10), 10);
	assert_int_equal(tls_session_read(server, got, 4, &want, &err), 4);
	assert_true(tls_session_pending(server));
	assert_int_equal(tls_session_read(server, got, 8, &want, &err), 6);
	assert_memory_equal(got, "456789", 6);
	assert_false(tls_session_pending(server));
	/* Half a record is nothing that could be read: whoever asks again and again would spin. */
	assert_int_equal(write(fds[1], "\x17\x03\x03\x01\x00" "0123456789abcdef", 21), 21);
	assert_int_equal(tls_session_read(server, got, 8, &want, &err), E_AGAIN);
	assert_false(tls_session_pending(server));
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
}

/* An orderly end is one on either side; a cut connection and a broken record are not. */
static void sessions_end(void **state)
{
	enum { SERVER_ENDS, CLIENT_ENDS, CUT, JUNK, WAYS };

	(void)state;
	for (int way = 0; way < WAYS; way++) {
		SSL_CTX *ctx = client_context();
		struct tls_session *server;
		enum tls_want want;
		struct err err = {0};
		int pair[2];
		SSL *client;
		char got[8];
		ssize_t n;

		pair_new(pair);
		server = tls_session_new(context, pair[0]);
		client = client_new(ctx, pair[1]);
		assert_handshake(server, client);
		assert_talk(server, client);
		switch (way) {
		case SERVER_ENDS:
			tls_session_shutdown(server);
			assert_int_equal(client_read(client, got, sizeof(got)), -1);
			break;
		case CLIENT_ENDS:
			assert_int_equal(SSL_write(client, "last", 4), 4);
			SSL_shutdown(client);
			assert_int_equal(tls_session_read(server, got, sizeof(got), &want, &err), 4);
			assert_int_equal(tls_session_read(server, got, sizeof(got), &want, &err), E_CLOSED);
			assert_string_equal(err.text, "TLS closed by the other side");
			break;
		case CUT:
			shutdown(pair[1], SHUT_WR);
			n = tls_session_read(server, got, sizeof(got), &want, &err);
			assert_true(n == E_PROTO || n == E_CLOSED);
			break;
		case JUNK:
			assert_int_equal(write(pair[1], "\x17\x03\x03\x00\x10" "0123456789abcdef", 21), 21);
			assert_int_equal(tls_session_read(server, got, sizeof(got), &want, &err), E_PROTO);
			break;
		}
		SSL_free(client);
		SSL_CTX_free(ctx);
		tls_session_free(&server);
		close(pair[0]);
		close(pair[1]);
	}
}

/* RFC 5246 section 7.4.1.1: the server may decline, and so it does. */
static void renegotiation_is_refused(void **state)
{
	struct tls_session *server = tls_session_new(context, fds[0]);
	SSL_CTX *ctx = client_context();
	SSL *client = client_new(ctx, fds[1]);
	enum tls_want want;
	struct err err;
	char got[8];

	(void)state;
	SSL_set_max_proto_version(client, TLS1_2_VERSION);
	assert_handshake(server, client);
	assert_int_equal(SSL_renegotiate(client), 1);
	assert_int_equal(client_handshake(client), 0);
	assert_true(tls_session_read(server, got, sizeof(got), &want, &err) < 0);
	assert_int_equal(client_handshake(client), -1);
	SSL_free(client);
	SSL_CTX_free(ctx);
	tls_session_free(&server);
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
	    cmocka_unit_test_setup_teardown(both_versions_are_spoken, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_old_is_refused, setup, teardown),
	    cmocka_unit_test(files_that_do_not_fit),
	    cmocka_unit_test(a_locked_key_is_refused_at_once),
	    cmocka_unit_test_setup_teardown(the_chain_is_sent, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_certificate_is_changed_while_sessions_run, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_ticket_is_taken_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(plain_text_is_no_handshake, setup, teardown),
	    cmocka_unit_test_setup_teardown(plain_text_before_the_handshake, setup, teardown),
	    cmocka_unit_test_setup_teardown(octet_by_octet, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_socket_is_waited_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_decrypted_and_not_read_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(sessions_end, setup, teardown),
	    cmocka_unit_test_setup_teardown(renegotiation_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, make_pem, drop_pem);
}
