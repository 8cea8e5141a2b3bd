/* Signatures that come from elsewhere, names, protocols, and clients' certificates: contexts as the daemons make them. */
#include "tests/unit/lib/tls/fixture.h"

#include "tls/certificate.h"
#include "tls/key.h"
#include "tls/sign.h"

/* The other process: it has one key, and answers when it is told to. */
static struct elsewhere {
	struct tls_key *key;
	struct tls_session *waits;
	struct tls_question question;
	unsigned char data[TLS_SIGN_DATA_MAX];
	int asked, forgotten, woken;
	bool dead;
} elsewhere;

static struct tls_signer *signer;

static bool ask(void *arg, struct tls_session *session, const struct tls_question *question)
{
	struct elsewhere *e = arg;

	e->asked++;
	if (e->dead)
		return false;
	e->waits = session;
	e->question = *question;
	memcpy(e->data, question->data.ptr, question->data.len);
	e->question.data.ptr = (const char *)e->data;
	return true;
}

static void forget(void *arg, struct tls_session *session)
{
	struct elsewhere *e = arg;

	assert_ptr_equal(session, e->waits);
	e->waits = NULL;
	e->forgotten++;
}

static void wake(void *arg)
{
	((struct elsewhere *)arg)->woken++;
}

static void answer(int code)
{
	struct tls_session *session = elsewhere.waits;
	unsigned char signature[TLS_SIGNATURE_MAX];
	size_t len = 0;

	assert_non_null(session);
	assert_memory_equal(elsewhere.question.key, tls_key_fingerprint(elsewhere.key), TLS_FINGERPRINT);
	if (code == 0)
		assert_int_equal(tls_key_sign(elsewhere.key, &elsewhere.question, signature, &len), 0);
	elsewhere.waits = NULL;
	tls_session_signed(session, code, span_of(signature, len));
}

static const struct tls_signer_callbacks callbacks = {ask, forget};

/* A certificate for any kind of key. */
static struct pem pem_of(const char *name, EVP_PKEY *key)
{
	BIO *cert_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
	X509 *x = certificate_new(name, name, key);
	struct pem pem;

	assert_int_equal(PEM_write_bio_X509(cert_text, x), 1);
	assert_int_equal(PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL), 1);
	X509_free(x);
	pem.certificate = memory_file(cert_text);
	pem.key = memory_file(key_text);
	return pem;
}

static struct tls_context *remote_context(const struct pem *pem, const char *protocol, int authorities)
{
	struct tls_context_options options = {.signer = signer, .protocol = protocol, .authorities = authorities, .revocations = -1};
	struct tls_context *context = NULL;
	struct err err = {0};

	tls_key_free(&elsewhere.key);
	if (tls_key_read(pem->key, &elsewhere.key, &err) != 0 || tls_context_new(&options, &context, &err) != 0 ||
	    tls_context_add(context, "", pem->certificate, NULL, &err) != 0)
		fail_msg("%s", err.text);
	return context;
}

/* One connection. Both sides in turn; what waits for a signature is answered with code. */
struct talk {
	struct tls_session *server;
	SSL *client;
	int fds[2], client_done;
	struct err err;
};

static void talk_begin(struct talk *t, struct tls_context *context, SSL_CTX *ctx)
{
	*t = (struct talk){0};
	pair_new(t->fds);
	t->server = tls_session_new(context, t->fds[0]);
	tls_session_on_signed(t->server, wake, &elsewhere);
	t->client = client_new(ctx, t->fds[1]);
}

static int talk_go(struct talk *t, int code)
{
	int r = E_AGAIN;

	for (int i = 0; i < 20 && (r == E_AGAIN || (r == 0 && t->client_done == 0)); i++) {
		enum tls_want want = TLS_WANT_WRITE;

		if (t->client_done == 0)
			t->client_done = client_handshake(t->client);
		if (r == E_AGAIN)
			r = tls_session_handshake(t->server, &want, &t->err);
		if (r == E_AGAIN && want == TLS_WANT_SIGNATURE)
			answer(code);
	}
	return r;
}

static void talk_end(struct talk *t)
{
	SSL_free(t->client);
	tls_session_free(&t->server);
	close(t->fds[0]);
	close(t->fds[1]);
}

/* Each kind of key with each version and digest that TLS knows for it. */
static void every_kind_of_key(void **state)
{
	static const struct {
		const char *kind;
		unsigned bits;
		int version;
		const char *algorithms;
	} rows[] = {{"RSA", 2048, TLS1_3_VERSION, "rsa_pss_rsae_sha256"}, {"RSA", 2048, TLS1_3_VERSION, "rsa_pss_rsae_sha512"},
	    {"RSA", 2048, TLS1_2_VERSION, "RSA+SHA256"}, {"RSA", 2048, TLS1_2_VERSION, "RSA+SHA384"}, {"RSA", 2048, TLS1_2_VERSION, "rsa_pss_rsae_sha384"},
	    {"RSA", 4096, TLS1_3_VERSION, "rsa_pss_rsae_sha384"}, {"RSA", 4096, TLS1_2_VERSION, "RSA+SHA512"}, {"EC", 256, TLS1_3_VERSION, "ecdsa_secp256r1_sha256"},
	    {"EC", 256, TLS1_2_VERSION, "ECDSA+SHA256"}, {"EC", 256, TLS1_2_VERSION, "ECDSA+SHA512"}, {"ED25519", 0, TLS1_3_VERSION, "ed25519"},
	    {"ED25519", 0, TLS1_2_VERSION, "ed25519"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		EVP_PKEY *key = rows[i].kind[0] == 'R' ? EVP_RSA_gen(rows[i].bits) : rows[i].bits ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		struct pem pem = pem_of("kind.test", key);
		struct tls_context *context = remote_context(&pem, NULL, -1);
		SSL_CTX *ctx = client_context();
		struct talk t;

		elsewhere.asked = elsewhere.woken = 0;
		SSL_CTX_set_min_proto_version(ctx, rows[i].version);
		SSL_CTX_set_max_proto_version(ctx, rows[i].version);
		assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, rows[i].algorithms), 1);
		talk_begin(&t, context, ctx);
		if (talk_go(&t, 0) != 0 || t.client_done != 1)
			fail_msg("%s %s: %s", rows[i].kind, rows[i].algorithms, t.err.text);
		assert_int_equal(elsewhere.asked, 1);
		assert_int_equal(elsewhere.woken, 1);
		assert_certificate_of(t.client, "kind.test");
		talk_end(&t);
		SSL_CTX_free(ctx);
		tls_context_free(&context);
		EVP_PKEY_free(key);
		pem_free(&pem);
	}
}

static struct pem pem;

/* No answer, a refusal, nobody to ask: this handshake fails, the next does not. */
static void without_a_signature(void **state)
{
	struct tls_context *context = remote_context(&pem, NULL, -1);
	SSL_CTX *ctx = client_context();
	struct talk t;

	(void)state;
	elsewhere.forgotten = 0;
	for (int way = 0; way < 4; way++) {
		talk_begin(&t, context, ctx);
		if (way == 0) {
			assert_int_equal(talk_go(&t, E_TIMEOUT), E_PROTO);
		} else if (way == 1) {
			elsewhere.dead = true;
			assert_int_equal(talk_go(&t, 0), E_PROTO);
			elsewhere.dead = false;
		} else if (way == 2) {
			enum tls_want want;

			/* The client goes away while the answer is on its way. */
			client_handshake(t.client);
			assert_int_equal(tls_session_handshake(t.server, &want, &t.err), E_AGAIN);
			assert_int_equal(want, TLS_WANT_SIGNATURE);
			assert_int_equal(tls_session_handshake(t.server, &want, &t.err), E_AGAIN); /* too early: it goes on waiting */
			assert_int_equal(want, TLS_WANT_SIGNATURE);
		} else {
			assert_int_equal(talk_go(&t, 0), 0);
			assert_int_equal(t.client_done, 1);
		}
		talk_end(&t);
		assert_int_equal(elsewhere.forgotten, way >= 2);
		assert_null(elsewhere.waits);
	}
	SSL_CTX_free(ctx);
	tls_context_free(&context);
}

/* Many wait, and are answered in another order than they came. */
static void many_at_once(void **state)
{
	enum { MANY = 50 };
	struct tls_context *context = remote_context(&pem, NULL, -1);
	SSL_CTX *ctx = client_context();
	static struct talk talks[MANY];
	struct elsewhere asked[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		enum tls_want want;

		talk_begin(&talks[i], context, ctx);
		client_handshake(talks[i].client);
		assert_int_equal(tls_session_handshake(talks[i].server, &want, &talks[i].err), E_AGAIN);
		asked[i] = elsewhere;
		asked[i].question.data.ptr = (const char *)asked[i].data;
	}
	for (int i = MANY - 1; i >= 0; i--) {
		elsewhere.waits = asked[i].waits;
		elsewhere.question = asked[i].question;
		answer(0);
		assert_int_equal(talk_go(&talks[i], 0), 0);
		assert_int_equal(talks[i].client_done, 1);
		talk_end(&talks[i]);
	}
	SSL_CTX_free(ctx);
	tls_context_free(&context);
}

/* More than there are stacks: who comes too late goes on when one is free, also when that is because another client has gone. */
static void more_than_there_are_stacks(void **state)
{
	enum { FIRST = TLS_SIGNERS_WAIT, MANY = FIRST + 40 };
	struct tls_context *context = remote_context(&pem, NULL, -1);
	SSL_CTX *ctx = client_context();
	static struct talk talks[MANY];
	static struct elsewhere asked[MANY];
	int before;

	(void)state;
	elsewhere.asked = 0;
	for (int i = 0; i < MANY; i++) {
		enum tls_want want;

		talk_begin(&talks[i], context, ctx);
		client_handshake(talks[i].client);
		assert_int_equal(tls_session_handshake(talks[i].server, &want, &talks[i].err), E_AGAIN);
		assert_int_equal(want, TLS_WANT_SIGNATURE);
		asked[i] = elsewhere;
		asked[i].question.data.ptr = (const char *)asked[i].data;
	}
	assert_int_equal(elsewhere.asked, TLS_SIGNERS_WAIT);
	talk_end(&talks[MANY - 1]); /* it has no stack yet */
	before = elsewhere.woken;
	elsewhere.waits = asked[0].waits;
	talk_end(&talks[0]);
	assert_int_equal(elsewhere.woken, before + 1);
	talk_end(&talks[FIRST]); /* it was woken, and goes: the next is */
	assert_int_equal(elsewhere.woken, before + 2);
	elsewhere.dead = true; /* that one's handshake fails without a wait */
	assert_int_not_equal(talk_go(&talks[FIRST + 1], 0), 0);
	assert_int_equal(elsewhere.woken, before + 3);
	elsewhere.dead = false;
	talk_end(&talks[FIRST + 1]);
	for (int i = 1; i < TLS_SIGNERS_WAIT; i++) {
		before = elsewhere.woken;
		elsewhere.waits = asked[i].waits;
		elsewhere.question = asked[i].question;
		answer(0);
		assert_int_equal(talk_go(&talks[i], 0), 0);
		assert_true(elsewhere.woken >= before + 1 + (i < 10)); /* itself, and who waited */
		talk_end(&talks[i]);
	}
	for (int i = FIRST + 2; i < MANY - 1; i++) {
		assert_int_equal(talk_go(&talks[i], 0), 0);
		assert_int_equal(talks[i].client_done, 1);
		talk_end(&talks[i]);
	}
	SSL_CTX_free(ctx);
	tls_context_free(&context);
}

/* A context outlives its owner's hold for as long as a handshake waits. */
static void a_context_that_is_replaced(void **state)
{
	struct tls_context *context = remote_context(&pem, NULL, -1);
	SSL_CTX *ctx = client_context();
	enum tls_want want;
	struct talk t;

	(void)state;
	talk_begin(&t, context, ctx);
	client_handshake(t.client);
	assert_int_equal(tls_session_handshake(t.server, &want, &t.err), E_AGAIN);
	tls_context_free(&context);
	answer(0);
	assert_int_equal(talk_go(&t, 0), 0);
	talk_end(&t);
	SSL_CTX_free(ctx);
}

/* ---- what a key signs ---- */

static void what_a_key_does_not_sign(void **state)
{
	static const struct {
		enum tls_algorithm algorithm;
		enum tls_digest digest;
		size_t len;
		int code;
	} rows[] = {{TLS_ECDSA, TLS_SHA256, 32, 0}, {TLS_ECDSA, TLS_SHA256, 31, E_SYNTAX}, {TLS_ECDSA, TLS_SHA384, 32, E_SYNTAX}, {TLS_ECDSA, TLS_DIGEST_NONE, 32, E_UNSUPPORTED},
	    {TLS_RSA_PSS, TLS_SHA256, 32, E_UNSUPPORTED}, {TLS_RSA_PKCS1, TLS_SHA256, 32, E_UNSUPPORTED}, {TLS_ED25519, TLS_DIGEST_NONE, 32, E_UNSUPPORTED},
	    {TLS_ALGORITHMS, TLS_SHA256, 32, E_UNSUPPORTED}, {TLS_ECDSA, TLS_DIGESTS, 32, E_UNSUPPORTED}};
	unsigned char out[TLS_SIGNATURE_MAX], data[TLS_SIGN_DATA_MAX] = {0};
	struct tls_key *key = NULL;
	struct err err;
	size_t len;

	(void)state;
	assert_int_equal(tls_key_read(pem.key, &key, &err), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_question q = {.algorithm = rows[i].algorithm, .digest = rows[i].digest, .data = span_of(data, rows[i].len)};

		assert_int_equal(tls_key_sign(key, &q, out, &len), rows[i].code);
	}
	tls_key_free(&key);
	assert_null(key);
}

/* ---- clients' certificates ---- */

/* The address is given only when an authority of ours has signed it; whoever has another one is let in without. It is the same when they come again. */
static void the_clients_address(void **state)
{
	enum { NONE, OURS, STRANGER, WAYS };

	(void)state;
	for (int way = 0; way < WAYS; way++) {
		EVP_PKEY *authority = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
		X509 *ca = certificate_new("authority", "authority", authority), *x = certificate_new("alice", "authority", key);
		X509_EXTENSION *address = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "email:alice@example.com");
		X509_EXTENSION *may_sign = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
		BIO *text = BIO_new(BIO_s_mem());
		SSL_CTX *ctx = client_context();
		struct tls_context *context;
		struct talk t;
		int file;

		X509_add_ext(ca, may_sign, -1);
		assert_true(X509_sign(ca, authority, EVP_sha256()) > 0);
		X509_add_ext(x, address, -1);
		assert_true(X509_sign(x, way == STRANGER ? key : authority, EVP_sha256()) > 0);
		PEM_write_bio_X509(text, ca);
		file = memory_file(text);
		context = remote_context(&pem, NULL, file);
		if (way != NONE) {
			assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
			assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
		}
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			SSL_SESSION *session = NULL;

			SSL_CTX_set_max_proto_version(ctx, version);
			for (int visit = 0; visit < 2; visit++) {
				char got[8];

				talk_begin(&t, context, ctx);
				if (visit == 1)
					assert_int_equal(SSL_set_session(t.client, session), 1);
				assert_int_equal(talk_go(&t, 0), 0);
				assert_int_equal(client_read(t.client, got, sizeof(got)), 0); /* the ticket */
				assert_int_equal(SSL_session_reused(t.client), visit == 1);
				assert_string_equal(tls_session_client(t.server), way == OURS ? "alice@example.com" : "");
				SSL_SESSION_free(session);
				session = SSL_get1_session(t.client);
				SSL_shutdown(t.client); /* else the session is not to be used again */
				talk_end(&t);
			}
			SSL_SESSION_free(session);
		}
		tls_context_free(&context);
		SSL_CTX_free(ctx);
		X509_EXTENSION_free(address);
		X509_EXTENSION_free(may_sign);
		X509_free(x);
		X509_free(ca);
		EVP_PKEY_free(key);
		EVP_PKEY_free(authority);
		close(file);
	}
}

static void authorities_of_no_use(void **state)
{
	struct tls_context_options options = {.signer = signer, .authorities = pem.key, .revocations = -1};
	struct tls_context *context;
	struct err err = {0};

	(void)state;
	assert_int_equal(tls_context_new(&options, &context, &err), 0);
	assert_int_equal(tls_context_add(context, "", pem.certificate, NULL, &err), E_SYNTAX);
	assert_true(strncmp(err.text, "tls-client-authorities has no PEM certificate", 45) == 0);
	tls_context_free(&context);
}

static void an_authority_that_is_damaged(void **state)
{
	struct pem two = pem_new("an.authority", 0, NULL);
	struct err err = {0};
	int64_t ends;

	(void)state;
	assert_int_equal(tls_authorities_check(two.certificate, -1, &ends, &err), 0);
	assert_int_equal(dprintf(two.certificate, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), 59);
	assert_int_equal(tls_authorities_check(two.certificate, -1, &ends, &err), E_SYNTAX);
	assert_true(span_startswith(span_str(err.text), SPAN_LIT("tls-client-authorities: certificate 2 in the file is damaged: ")));
	pem_free(&two);
}

/* ---- warnings ---- */

static void what_its_owner_is_told(void **state)
{
	struct tls_certificate c = {.begins = 1000, .ends = 100 * 86400};
	char text[TLS_WARNING_MAX];
	struct err err = {0};

	(void)state;
	assert_false(tls_certificate_warning(&c, 78 * 86400, text));
	assert_string_equal(text, "");
	assert_true(tls_certificate_warning(&c, 79 * 86400, text));
	assert_string_equal(text, "the certificate ends on 1970-04-11");
	assert_true(tls_certificate_warning(&c, 101 * 86400, text));
	assert_string_equal(text, "the certificate ended on 1970-04-11");
	assert_true(tls_certificate_warning(&c, 999, text));
	assert_string_equal(text, "the certificate begins on 1970-01-01 only");
	assert_int_equal(tls_certificate_check_dates(&c, 78 * 86400, &err), 0);
	assert_int_equal(tls_certificate_check_dates(&c, 101 * 86400, &err), E_SYNTAX);
	assert_int_equal(tls_certificate_check_dates(&c, 999, &err), E_SYNTAX);
	c.alone = true;
	assert_true(tls_certificate_warning(&c, 78 * 86400, text));
}

static int begin(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct err err = {0};

	(void)state;
	if (tls_signer_new(&callbacks, &elsewhere, &signer, &err) != 0)
		fail_msg("%s", err.text);
	pem = pem_of("mail.test", key);
	EVP_PKEY_free(key);
	return 0;
}

static int end(void **state)
{
	(void)state;
	tls_key_free(&elsewhere.key);
	pem_free(&pem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_of_key),
	    cmocka_unit_test(without_a_signature),
	    cmocka_unit_test(many_at_once),
	    cmocka_unit_test(more_than_there_are_stacks),
	    cmocka_unit_test(a_context_that_is_replaced),
	    cmocka_unit_test(what_a_key_does_not_sign),
	    cmocka_unit_test(the_clients_address),
	    cmocka_unit_test(authorities_of_no_use),
	    cmocka_unit_test(an_authority_that_is_damaged),
	    cmocka_unit_test(what_its_owner_is_told),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
