/* Session tickets: who takes whose, and for how long. */
#include "tests/unit/lib/tls/fixture.h"

#include "tls/key.h"

static struct pem pem;
static const struct tls_tickets one = {.now = "one", .before = "none"}, another = {.now = "another", .before = "none"};

/* As master does when a period begins. */
static void next_period(struct tls_tickets *tickets, const char *secret)
{
	memcpy(tickets->before, tickets->now, sizeof(tickets->before));
	memset(tickets->now, 0, sizeof(tickets->now));
	memcpy(tickets->now, secret, strlen(secret));
}

static struct tls_context *context_with(const struct tls_tickets *tickets)
{
	struct tls_context_options options = {.authorities = -1, .revocations = -1, .tickets = tickets};
	struct tls_context *context = NULL;
	struct tls_key *key = NULL;
	struct err err = {0};

	if (tls_context_new(&options, &context, &err) != 0 || tls_key_read(pem.key, &key, &err) != 0 ||
	    tls_context_add(context, "", pem.certificate, key, &err) != 0)
		fail_msg("%s", err.text);
	tls_key_free(&key);
	return context;
}

/* One visit with *session, which becomes what the server has given for the next one. Was it taken up? */
static bool visit(struct tls_context *context, SSL_CTX *ctx, SSL_SESSION **session)
{
	struct tls_session *server;
	int fds[2], done = 0, r = E_AGAIN;
	struct err err;
	char got[8];
	SSL *client;
	bool reused;

	pair_new(fds);
	server = tls_session_new(context, fds[0]);
	client = client_new(ctx, fds[1]);
	if (*session != NULL)
		assert_int_equal(SSL_set_session(client, *session), 1);
	for (int i = 0; i < 20 && (r == E_AGAIN || done == 0); i++) {
		enum tls_want want;

		if (done == 0)
			done = client_handshake(client);
		if (r == E_AGAIN)
			r = tls_session_handshake(server, &want, &err);
	}
	assert_int_equal(r, 0);
	assert_int_equal(done, 1);
	assert_int_equal(client_read(client, got, sizeof(got)), 0); /* the ticket of TLS 1.3 */
	reused = SSL_session_reused(client);
	SSL_SESSION_free(*session);
	*session = SSL_get1_session(client);
	SSL_shutdown(client);
	SSL_free(client);
	tls_session_free(&server);
	close(fds[0]);
	close(fds[1]);
	return reused;
}

static void each_version(void (*test)(SSL_CTX *ctx))
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_CTX *ctx = client_context();

		SSL_CTX_set_min_proto_version(ctx, version);
		SSL_CTX_set_max_proto_version(ctx, version);
		test(ctx);
		SSL_CTX_free(ctx);
	}
}

static void rotation(SSL_CTX *ctx)
{
	struct tls_tickets tickets = one;
	struct tls_context *context = context_with(&tickets);
	SSL_SESSION *session = NULL;

	assert_false(visit(context, ctx, &session));
	assert_true(visit(context, ctx, &session));
	/* Of the period before this one: taken, and a new ticket given, which is good for the next period as well. */
	next_period(&tickets, "two");
	assert_true(visit(context, ctx, &session));
	next_period(&tickets, "three");
	assert_true(visit(context, ctx, &session));
	next_period(&tickets, "four");
	next_period(&tickets, "five");
	assert_false(visit(context, ctx, &session));
	assert_true(visit(context, ctx, &session));
	SSL_SESSION_free(session);
	tls_context_free(&context);
}

static void keys_are_for_a_time(void **state)
{
	(void)state;
	each_version(rotation);
}

/* As the workers of one daemon have it, of which one hears of the next period later than the other; and as another daemon. */
static void sharing(SSL_CTX *ctx)
{
	struct tls_tickets early = one, late = one;
	struct tls_context *first = context_with(&early), *second = context_with(&late), *stranger = context_with(&another);
	SSL_SESSION *session = NULL;

	assert_false(visit(first, ctx, &session));
	assert_true(visit(second, ctx, &session));
	next_period(&early, "two");
	assert_true(visit(first, ctx, &session));
	next_period(&late, "two");
	assert_true(visit(second, ctx, &session));
	assert_true(visit(first, ctx, &session));
	assert_false(visit(stranger, ctx, &session));
	assert_false(visit(first, ctx, &session));
	SSL_SESSION_free(session);
	tls_context_free(&first);
	tls_context_free(&second);
	tls_context_free(&stranger);
}

/* Who shares with nobody has one of its own. */
static void solitude(SSL_CTX *ctx)
{
	struct tls_context *first = context_with(NULL), *second = context_with(NULL);
	SSL_SESSION *session = NULL;

	assert_false(visit(first, ctx, &session));
	assert_true(visit(first, ctx, &session));
	assert_false(visit(second, ctx, &session));
	SSL_SESSION_free(session);
	tls_context_free(&first);
	tls_context_free(&second);
}

static void a_context_can_be_alone(void **state)
{
	(void)state;
	each_version(solitude);
}

static void a_secret_is_shared(void **state)
{
	(void)state;
	each_version(sharing);
}

static int begin(void **state)
{
	(void)state;
	pem = pem_new("mail.test", 0, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	pem_free(&pem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_are_for_a_time),
	    cmocka_unit_test(a_secret_is_shared),
	    cmocka_unit_test(a_context_can_be_alone),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
