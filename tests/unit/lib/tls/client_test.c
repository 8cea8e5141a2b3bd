/* The client's side: whose certificates are taken, and whose never; against a server of ours on a socket pair. */
#include "tests/unit/lib/tls/fixture.h"

#include "tls/certificate.h"
#include "tls/client.h"

#include <openssl/sha.h>

enum { HOUR = 3600 };

static EVP_PKEY *ca_key;
static X509 *ca;

static void add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(ext);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *sign(const char *subject, EVP_PKEY *key, const char *names, long ends)
{
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -2 * HOUR);
	X509_gmtime_adj(X509_getm_notAfter(x), ends);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
	X509_set_issuer_name(x, ca ? X509_get_subject_name(ca) : X509_get_subject_name(x));
	if (names != NULL)
		add_extension(x, NID_subject_alt_name, names);
	else
		add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(x, ca_key, EVP_sha256()) > 0);
	return x;
}

static int file_of(X509 *first, X509 *second)
{
	BIO *text = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(text, first);
	if (second != NULL)
		PEM_write_bio_X509(text, second);
	return memory_file(text);
}

/* A server with a certificate from our authority, which it sends along. */
struct served {
	struct tls_context *context;
	X509 *certificate;
	EVP_PKEY *key;
};

static struct served serve(const char *names, long ends)
{
	struct served s = {.key = EVP_EC_gen("P-256")};
	BIO *key_text = BIO_new(BIO_s_mem());
	struct err err = {0};
	int certificate, key;

	s.certificate = sign("leaf", s.key, names, ends);
	PEM_write_bio_PrivateKey(key_text, s.key, NULL, NULL, 0, NULL, NULL);
	key = memory_file(key_text);
	certificate = file_of(s.certificate, ca);
	if (tls_context_server(certificate, key, &s.context, &err) != 0)
		fail_msg("%s", err.text);
	close(certificate);
	close(key);
	return s;
}

static void unserve(struct served *s)
{
	tls_context_free(&s->context);
	X509_free(s->certificate);
	EVP_PKEY_free(s->key);
}

static struct tls_context *client(void)
{
	struct tls_context *context = NULL;
	struct err err = {0};
	int fd = file_of(ca, NULL);

	if (tls_context_client(fd, &context, &err) != 0)
		fail_msg("%s", err.text);
	close(fd);
	return context;
}

static struct tls_session *ours, *theirs;
static int pair[2];

/* What the client's handshake ends with; both sessions stay in ours and theirs until hang_up. */
static int meet(struct tls_context *context, const struct served *server, const struct tls_peer *peer, struct err *err)
{
	enum tls_want want;
	int r = E_AGAIN, s = E_AGAIN;

	*err = (struct err){0};
	pair_new(pair);
	theirs = tls_session_new(server->context, pair[0]);
	assert_int_equal(tls_session_connect(context, pair[1], peer, &ours, err), 0);
	for (int i = 0; i < 20 && (r == E_AGAIN || (r == 0 && s == E_AGAIN)); i++) {
		struct err other;

		if (r == E_AGAIN)
			r = tls_session_handshake(ours, &want, err);
		if (s == E_AGAIN)
			s = tls_session_handshake(theirs, &want, &other);
	}
	return r;
}

static void hang_up(void)
{
	tls_session_shutdown(ours);
	tls_session_free(&ours);
	tls_session_free(&theirs);
	close(pair[0]);
	close(pair[1]);
}

static void talk(void)
{
	enum tls_want want;
	struct err err;
	char got[8];

	assert_int_equal(tls_session_write(theirs, "220 ", 4, &want, &err), 4);
	assert_int_equal(tls_session_read(ours, got, sizeof(got), &want, &err), 4);
	assert_int_equal(tls_session_write(ours, "EHLO", 4, &want, &err), 4);
	assert_int_equal(tls_session_read(theirs, got, sizeof(got), &want, &err), 4);
	assert_memory_equal(got, "EHLO", 4);
}

static int setup(void **state)
{
	(void)state;
	ca_key = EVP_EC_gen("P-256");
	ca = sign("authority", ca_key, NULL, HOUR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return 0;
}

/* Opportunistic: the certificate of anybody, for any name, at any time. */
static void anybody_will_do(void **state)
{
	struct served s = serve("DNS:other.test", -HOUR);
	struct tls_context *context = client();
	struct tls_peer peer = {.trust = TLS_ANYBODY, .names = {"mx.test"}, .name_count = 1};
	struct tls_bindings a, b;
	struct err err;

	(void)state;
	assert_int_equal(meet(context, &s, &peer, &err), 0);
	talk();
	assert_string_equal(tls_session_version(ours), "TLSv1.3");
	/* Both ends see the same channel. */
	tls_session_bindings(ours, &a);
	tls_session_bindings(theirs, &b);
	assert_int_equal(a.exporter_len, TLS_EXPORTER);
	assert_true(a.endpoint_len > 0 && a.endpoint_len == b.endpoint_len);
	assert_memory_equal(a.exporter, b.exporter, a.exporter_len);
	assert_memory_equal(a.endpoint, b.endpoint, a.endpoint_len);
	hang_up();
	tls_context_free(&context);
	unserve(&s);
}

static void authorities_and_names(void **state)
{
	static const struct {
		const char *in_certificate;
		long ends;
		const char *name, *other;
		const char *error; /* NULL: it is right */
	} rows[] = {{"DNS:mx.test", HOUR, "mx.test", NULL, NULL}, {"DNS:MX.test", HOUR, "mx.TEST", NULL, NULL}, {"DNS:*.b.test", HOUR, "mx.b.test", NULL, NULL},
	    {"DNS:a.test,DNS:mx.test", HOUR, "mx.test", NULL, NULL}, {"DNS:b.test", HOUR, "mx.test", "b.test", NULL}, {"IP:192.0.2.1", HOUR, "192.0.2.1", NULL, NULL},
	    {"DNS:other.test", HOUR, "mx.test", NULL, "its certificate: hostname mismatch"}, {"DNS:*.b.test", HOUR, "a.mx.b.test", NULL, "its certificate: hostname mismatch"},
	    {"DNS:m*.b.test", HOUR, "mx.b.test", NULL, "its certificate: hostname mismatch"}, {"DNS:192.0.2.1", HOUR, "192.0.2.1", NULL, "its certificate: IP address mismatch"},
	    {"DNS:mx.test", -HOUR, "mx.test", NULL, "its certificate: certificate has expired"}};
	struct tls_context *context = client();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct served s = serve(rows[i].in_certificate, rows[i].ends);
		struct tls_peer peer = {.trust = TLS_AUTHORITIES, .names = {rows[i].name, rows[i].other}, .name_count = rows[i].other ? 2 : 1};
		struct err err;
		int r = meet(context, &s, &peer, &err);

		if (r != (rows[i].error ? E_DENIED : 0) || (rows[i].error && strcmp(err.text, rows[i].error) != 0))
			fail_msg("%s for %s: %d %s", rows[i].in_certificate, rows[i].name, r, err.text);
		hang_up();
		unserve(&s);
	}
	tls_context_free(&context);
}

/* Who observes is told the same, and speaks with the server all the same. */
static void a_certificate_is_looked_at_and_taken(void **state)
{
	static const struct {
		const char *in_certificate;
		long ends;
		enum tls_verdict verdict;
	} rows[] = {{"DNS:mx.test", HOUR, TLS_RIGHT}, {"DNS:other.test", HOUR, TLS_WRONG_NAME}, {"DNS:mx.test", -HOUR, TLS_EXPIRED}, {NULL, HOUR, TLS_NOT_TRUSTED}};
	struct tls_context *known = client(), *stranger = NULL;
	struct err err;
	const char *why;

	(void)state;
	assert_int_equal(tls_context_client(-1, &stranger, &err), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct served s = serve(rows[i].in_certificate ? rows[i].in_certificate : "DNS:mx.test", rows[i].ends);
		struct tls_peer peer = {.trust = TLS_ANYBODY, .observe = true, .names = {"mx.test"}, .name_count = 1};

		assert_int_equal(meet(rows[i].in_certificate ? known : stranger, &s, &peer, &err), 0);
		assert_int_equal(tls_session_verdict(ours, &why), rows[i].verdict);
		assert_true(why[0] != '\0');
		talk();
		hang_up();
		peer.trust = TLS_AUTHORITIES;
		assert_int_equal(meet(rows[i].in_certificate ? known : stranger, &s, &peer, &err), rows[i].verdict == TLS_RIGHT ? 0 : E_DENIED);
		assert_int_equal(tls_session_verdict(ours, &why), rows[i].verdict);
		hang_up();
		unserve(&s);
	}
	tls_context_free(&known);
	tls_context_free(&stranger);
}

/* RFC 8461 section 4.2: the subject says nothing of names. */
static void a_name_may_have_to_be_an_alternative(void **state)
{
	struct served s = serve(NULL, HOUR);
	struct tls_context *context = client();
	struct tls_peer peer = {.trust = TLS_AUTHORITIES, .names = {"leaf"}, .name_count = 1};
	struct err err;

	(void)state;
	assert_int_equal(meet(context, &s, &peer, &err), 0);
	hang_up();
	peer.no_subject = true;
	assert_int_equal(meet(context, &s, &peer, &err), E_DENIED);
	hang_up();
	tls_context_free(&context);
	unserve(&s);
}

static void an_authority_nobody_knows(void **state)
{
	struct served s = serve("DNS:mx.test", HOUR);
	struct tls_peer peer = {.trust = TLS_AUTHORITIES, .names = {"mx.test"}, .name_count = 1};
	struct tls_context *context = NULL, *none = NULL;
	struct err err;
	int empty = memfd_create("pem", 0);

	(void)state;
	assert_int_equal(tls_context_client(empty, &none, &err), E_SYNTAX);
	assert_null(none);
	assert_int_equal(tls_context_client(-1, &context, &err), 0); /* the system's */
	assert_int_equal(meet(context, &s, &peer, &err), E_DENIED);
	assert_true(strncmp(err.text, "its certificate: ", 17) == 0);
	hang_up();
	tls_context_free(&context);
	unserve(&s);
	close(empty);
}

/* ---- DANE ---- */

static size_t key_digest(X509 *x, unsigned char out[SHA256_DIGEST_LENGTH])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(X509_get0_pubkey(x), &der);

	SHA256(der, (size_t)len, out);
	OPENSSL_free(der);
	return SHA256_DIGEST_LENGTH;
}

/* None of a file is left out without a word. */
static void an_authority_that_is_damaged(void **state)
{
	struct tls_context *none;
	struct err err = {0};
	int file = file_of(ca, NULL);

	(void)state;
	assert_int_equal(dprintf(file, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), 59);
	assert_int_equal(tls_context_client(file, &none, &err), E_SYNTAX);
	assert_true(span_startswith(span_str(err.text), SPAN_LIT("relay-authorities: certificate 2 in the file is damaged: ")));
	close(file);
}

/* Of the system's file all others count, also those behind it. */
static void the_system_has_one_that_is_damaged(void **state)
{
	static const char *const damages[] = {"MIIB\n", "####\n", ""};
	struct served s = serve("DNS:mx.test", HOUR);

	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		X509_STORE *store = X509_STORE_new();
		BIO *text = BIO_new(BIO_s_mem());
		int file;

		PEM_write_bio_X509(text, ca);
		BIO_printf(text, "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n", damages[i]);
		PEM_write_bio_X509(text, s.certificate);
		file = memory_file(text);
		assert_int_equal(tls_store_read_system(store, file), 2);
		assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 2);
		X509_STORE_free(store);
		close(file);
	}
	unserve(&s);
}

static void tlsa_records(void **state)
{
	static const struct {
		unsigned usage;
		bool of_authority, wrong;
		const char *in_certificate, *name, *other;
		long ends;
		int result;
	} rows[] = {
	    {3, false, false, "DNS:mx.test", "mx.test", NULL, HOUR, 0},
	    {3, false, false, "DNS:other.test", "mx.test", NULL, -HOUR, 0}, /* neither names nor dates count: RFC 7672 section 3.1.1 */
	    {3, false, true, "DNS:mx.test", "mx.test", NULL, HOUR, E_DENIED},
	    {2, true, false, "DNS:mx.test", "mx.test", NULL, HOUR, 0},
	    {2, true, false, "DNS:next.test", "mx.test", "next.test", HOUR, 0}, /* section 3.2.2: the domain is right as well */
	    {2, true, false, "DNS:other.test", "mx.test", "next.test", HOUR, E_DENIED},
	    {2, true, false, "DNS:mx.test", "mx.test", NULL, -HOUR, E_DENIED},
	    {2, true, true, "DNS:mx.test", "mx.test", NULL, HOUR, E_DENIED},
	};
	struct tls_context *context = client(); /* its authorities have no say */

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct served s = serve(rows[i].in_certificate, rows[i].ends);
		unsigned char digest[SHA256_DIGEST_LENGTH];
		size_t len = key_digest(rows[i].of_authority ? ca : s.certificate, digest);
		struct tls_tlsa record = {rows[i].usage, 1, 1, span_of(digest, len)};
		struct tls_peer peer = {.trust = TLS_DANE, .names = {rows[i].name, rows[i].other}, .name_count = rows[i].other ? 2 : 1, .tlsa = &record, .tlsa_count = 1};
		struct err err;
		int r;

		digest[3] ^= rows[i].wrong;
		r = meet(context, &s, &peer, &err);
		if (r != rows[i].result)
			fail_msg("row %zu: %d %s", i, r, err.text);
		hang_up();
		unserve(&s);
	}
	tls_context_free(&context);
}

static void records_of_no_use(void **state)
{
	static const unsigned char digest[64] = {1};
	static const struct tls_tlsa rows[] = {{0, 1, 1, {(const char *)digest, 32}}, {1, 1, 1, {(const char *)digest, 32}}, {3, 2, 1, {(const char *)digest, 32}},
	    {3, 1, 3, {(const char *)digest, 32}}, {3, 1, 1, {(const char *)digest, 31}}, {3, 1, 2, {(const char *)digest, 32}}, {3, 0, 0, {NULL, 0}}, {4, 1, 1, {(const char *)digest, 32}},
	    {3, 1, 0, {(const char *)digest, 40}}, {2, 0, 0, {(const char *)digest, 40}}};
	struct tls_tlsa good = {3, 1, 2, {(const char *)digest, 64}};
	struct tls_context *context = client();

	(void)state;
	assert_true(tls_tlsa_is_usable(&good));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_peer peer = {.trust = TLS_DANE, .names = {"mx.test"}, .name_count = 1, .tlsa = &rows[i], .tlsa_count = 1};
		struct tls_session *session;
		struct err err;

		assert_false(tls_tlsa_is_usable(&rows[i]));
		assert_int_equal(tls_session_connect(context, 0, &peer, &session, &err), E_SYNTAX);
		assert_null(session);
	}
	tls_context_free(&context);
}

/* ---- coming again ---- */

static void a_ticket_saves_a_handshake_once(void **state)
{
	struct served s = serve("DNS:mx.test", HOUR);
	struct tls_context *context = client();
	struct tls_peer peer = {.trust = TLS_ANYBODY, .names = {"mx.test"}, .name_count = 1};
	struct err err;

	(void)state;
	assert_int_equal(meet(context, &s, &peer, &err), 0);
	assert_false(tls_session_resumed(ours));
	talk();
	peer.ticket = tls_session_ticket(ours);
	assert_non_null(peer.ticket);
	assert_null(tls_session_ticket(ours));
	hang_up();
	assert_int_equal(meet(context, &s, &peer, &err), 0);
	assert_true(tls_session_resumed(ours));
	talk();
	hang_up();
	/* It never stands for a certificate. */
	peer.trust = TLS_AUTHORITIES;
	assert_int_equal(meet(context, &s, &peer, &err), 0);
	assert_false(tls_session_resumed(ours));
	hang_up();
	peer.names[0] = "other.test";
	assert_int_not_equal(meet(context, &s, &peer, &err), 0);
	hang_up();
	tls_ticket_free(&peer.ticket);
	assert_null(peer.ticket);
	tls_context_free(&context);
	unserve(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(anybody_will_do),
	    cmocka_unit_test(authorities_and_names),
	    cmocka_unit_test(a_certificate_is_looked_at_and_taken),
	    cmocka_unit_test(a_name_may_have_to_be_an_alternative),
	    cmocka_unit_test(an_authority_nobody_knows),
	    cmocka_unit_test(an_authority_that_is_damaged),
	    cmocka_unit_test(the_system_has_one_that_is_damaged),
	    cmocka_unit_test(tlsa_records),
	    cmocka_unit_test(records_of_no_use),
	    cmocka_unit_test(a_ticket_saves_a_handshake_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
