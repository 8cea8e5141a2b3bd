/* TLS on the way to other hosts: when there is none, when it fails, whose certificates are taken, TLSA records, log-ins. */
#include "tests/unit/relay/fixture.h"

#include <openssl/sha.h>

static char right[80], wrong[80];

static struct fake_row rows[] = {
    {"a.test", DNS_MX, "10 mx1.test", false}, {"mx1.test", DNS_A, "127.0.0.1", true}, {"mx1.test", DNS_AAAA, "", true},
    {"dane.test", DNS_MX, "10 mx1.test", true}, {"half.test", DNS_MX, "10 mx2.test", true}, {"mx2.test", DNS_A, "127.0.0.1", false}, {"mx2.test", DNS_AAAA, "", true},
    {"late.test", DNS_MX, "10 mx3.test", true}, {"mx3.test", DNS_A, "127.0.0.1", true}, {"mx3.test", DNS_AAAA, "servfail", false}, {NULL, DNS_TLSA, right, true},
    {NULL, DNS_TLSA, right, true}, {0}};
enum { ROW_TLSA = 10, ROW_TLSA_LATE = 11 };

static struct pem pem;
static char tlsa_name[64], late_name[64];

/* "3 1 1 …" of the server's key. */
static void make_records(void)
{
	unsigned char digest[SHA256_DIGEST_LENGTH], *der = NULL;
	FILE *file = fdopen(dup(pem.certificate), "r");
	X509 *x;
	int len;

	rewind(file);
	x = PEM_read_X509(file, NULL, NULL, NULL);
	len = i2d_PUBKEY(X509_get0_pubkey(x), &der);
	SHA256(der, (size_t)len, digest);
	OPENSSL_free(der);
	X509_free(x);
	fclose(file);
	strcpy(right, "3 1 1 ");
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(right + 6 + 2 * i, 3, "%02x", digest[i]);
	strcpy(wrong, right);
	wrong[20] ^= 1;
}

static void set_records(const char *data, bool secure)
{
	snprintf(tlsa_name, sizeof(tlsa_name), "_%u._tcp.mx1.test", port);
	snprintf(late_name, sizeof(late_name), "_%u._tcp.mx3.test", port);
	rows[ROW_TLSA] = (struct fake_row){data ? tlsa_name : NULL, DNS_TLSA, data, secure};
	rows[ROW_TLSA_LATE] = (struct fake_row){data ? late_name : NULL, DNS_TLSA, data, secure};
}

static const struct script offers = {.rows = {{"EHLO", "250-host\r\n250-PIPELINING\r\n250 STARTTLS\r\n"}}};

static int setup(void **state)
{
	(void)state;
	pem = pem_new("mx1.test", 0, NULL);
	authorities = pem.certificate;
	make_records();
	relay_begin(rows);
	set_records(NULL, false);
	servers[0].script = &offers;
	servers[0].tls = context_of(&pem);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	relay_end();
	pem_free(&pem);
	authorities = -1;
	return 0;
}

static struct relay_deliver m;

static bool is_handshaking(void)
{
	return relay.sessions != NULL && relay.sessions->handshaking;
}

static void deliver_to(const char *domain)
{
	m = message_to(domain, "x\r\n");
	deliver_one(&m, "bob@x.test");
}

static void drop_connections(void)
{
	destinations_forget(&relay);
	run_until(is_without_sessions);
}

static void it_is_used_when_it_is_offered(void **state)
{
	(void)state;
	deliver_to("a.test");
	assert_result(0, 0, "250");
	assert_string_equal(results[0].tls, "TLSv1.3");
	assert_string_equal(servers[0].said, "[]|EHLO mail.own.test|STARTTLS|EHLO mail.own.test|MAIL FROM:<ann@own.test>|RCPT TO:<bob@x.test>|DATA|.|");
	drop_connections();
	configure("relay-tls none\n");
	deliver_to("a.test");
	assert_result(1, 0, "250");
	assert_string_equal(results[1].tls, "none");
}

/* A connection that comes again has a ticket. */
static void a_ticket_is_kept(void **state)
{
	(void)state;
	deliver_to("a.test");
	run_until(is_idle);
	session_sweep(&relay);
	relay.idle->worn = true;
	session_quit(relay.idle);
	run_until(is_without_sessions);
	assert_non_null(relay.destinations->ticket);
	deliver_to("a.test");
	assert_result(1, 0, "250");
}

/* A handshake that is not answered is as one that fails. */
static void a_handshake_that_nobody_answers(void **state)
{
	static const struct script silent = {.rows = {{"EHLO", "250-host\r\n250 STARTTLS\r\n"}, {"STARTTLS", "220 go\r\n"}, {"\26", ""}}};

	(void)state;
	servers[0].script = &silent;
	m = message_to("a.test", "x\r\n");
	send_to(&m, 1, (const char *const[]){"bob@a.test", NULL}, -1);
	run_until(is_handshaking);
	conn_timeout(relay.sessions->conn, 1);
	servers[0].script = NULL;
	run_until_results(1);
	assert_result(0, 0, "250");
	assert_string_equal(results[0].tls, "none");
	assert_int_equal(servers[0].connections, 2);
}

/* What is said behind the answer to STARTTLS is never read as if it had come by TLS; without TLS on another connection, if that is allowed. */
static void a_handshake_that_fails(void **state)
{
	static const struct script broken = {.rows = {{"EHLO", "250-host\r\n250 STARTTLS\r\n"}, {"STARTTLS", "220 go\r\nthis is no handshake\r\n"}}};
	static const struct script closes = {.rows = {{"EHLO", "250-host\r\n250 STARTTLS\r\n"}, {"STARTTLS", NULL}}};
	static const struct script garbage = {.rows = {{"EHLO", "250-host\r\n250 STARTTLS\r\n"}, {"STARTTLS", "220 go\r\n"}}};

	(void)state;
	servers[0].script = &garbage; /* EHLO comes as a ClientHello, which is answered "250 fine" in clear */
	deliver_to("a.test");
	assert_result(0, 0, "250");
	assert_string_equal(results[0].tls, "none");
	assert_int_equal(servers[0].connections, 2);
	drop_connections();
	configure("relay-tls encrypt\n");
	deliver_to("a.test");
	assert_result(1, E_UNAVAILABLE, "450 4.7.5 the TLS handshake failed: ");
	assert_int_equal(servers[0].connections, 3);
	servers[0].script = &broken;
	deliver_to("a.test");
	assert_result(2, E_UNAVAILABLE, "450 4.5.0 ");
	servers[0].script = &closes;
	deliver_to("a.test");
	assert_result(3, E_UNAVAILABLE, "450 4.7.5 ");
	servers[0].script = NULL; /* it does not offer any */
	deliver_to("a.test");
	assert_result(4, E_UNAVAILABLE, "450 4.7.5 ");
	servers[0].script = &closes;
	configure("");
	deliver_to("a.test");
	assert_result(5, 0, "250");
	assert_string_equal(results[5].tls, "none");
}

static void certificates_that_are_verified(void **state)
{
	struct pem other = pem_new("mx1.test", 0, NULL);

	(void)state;
	configure("relay-tls verify\nrelay-authorities /x\n");
	deliver_to("a.test");
	assert_result(0, 0, "250");
	assert_string_equal(results[0].tls, "TLSv1.3 verified");
	drop_connections();
	authorities = other.certificate;
	configure("relay-tls verify\nrelay-authorities /x\n");
	servers[0].said[0] = '\0';
	deliver_to("a.test");
	assert_result(1, E_UNAVAILABLE, "450 4.7.5 its certificate: ");
	assert_null(strstr(servers[0].said, "MAIL"));
	pem_free(&other);
}

static void records_decide(void **state)
{
	static const struct {
		const char *settings, *domain, *data;
		bool secure;
		int code;
		const char *tls, *text;
	} table[] = {
	    {"", "dane.test", right, true, 0, "TLSv1.3 DANE", "250"},
	    {"", "dane.test", wrong, true, E_UNAVAILABLE, "", "450 4.7.5 its certificate: "},
	    {"", "dane.test", wrong, false, 0, "TLSv1.3", "250"}, /* not signed: no records */
	    {"", "a.test", wrong, true, 0, "TLSv1.3", "250"},	  /* the MX records are not signed */
	    {"", "half.test", wrong, true, 0, "TLSv1.3", "250"},  /* the addresses are not */
	    {"", "dane.test", "1 1 1 00", true, 0, "TLSv1.3", "250"}, /* none can be used: TLS of anybody */
	    {"", "dane.test", "3 1 0 0102030405", true, 0, "TLSv1.3", "250"},
	    {"", "dane.test", "servfail", true, E_UNAVAILABLE, "", "450 4.7.5 the TLSA records of mx1.test cannot be told now: "},
	    {"", "dane.test", "bogus", true, E_UNAVAILABLE, "", "450 4.7.5 the TLSA records of mx1.test cannot be told now: "},
	    {"", "dane.test", "cut", true, E_UNAVAILABLE, "", "450 4.7.5 the TLSA records of mx1.test have more than "},
	    {"", "dane.test", "cut", false, 0, "TLSv1.3", "250"},
	    {"", "late.test", wrong, true, E_UNAVAILABLE, "", "450 4.7.5 its certificate: "}, /* one family's addresses are kept away */
	    {"", "late.test", right, true, 0, "TLSv1.3 DANE", "250"},
	    {"relay-tls dane-only\n", "dane.test", right, true, 0, "TLSv1.3 DANE", "250"},
	    {"relay-tls dane-only\n", "a.test", right, true, E_UNAVAILABLE, "", "450 4.7.5 "},
	    {"relay-tls none\n", "dane.test", wrong, true, 0, "none", "250"},
	    {"relay-tls none\n", "dane.test", "servfail", true, 0, "none", "250"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		configure(table[i].settings);
		set_records(table[i].data, table[i].secure);
		servers[0].said[0] = '\0';
		deliver_to(table[i].domain);
		if (results[i].code != table[i].code || strcmp(results[i].tls, table[i].tls) != 0 || strncmp(results[i].text, table[i].text, strlen(table[i].text)) != 0)
			fail_msg("row %zu: %d %s, %s", i, results[i].code, results[i].text, results[i].tls);
		assert_true((strstr(servers[0].said, "MAIL") != NULL) == (table[i].code == 0));
		drop_connections();
	}
}

/* With records that bind, a server that offers no TLS gets nothing; in clear after a failure it gets nothing either. */
static void records_bind(void **state)
{
	static const struct script garbage = {.rows = {{"EHLO", "250-host\r\n250 STARTTLS\r\n"}, {"STARTTLS", "220 go\r\n"}}};

	(void)state;
	set_records(right, true);
	servers[0].script = NULL;
	deliver_to("dane.test");
	assert_result(0, E_UNAVAILABLE, "450 4.7.5 ");
	servers[0].script = &garbage;
	deliver_to("dane.test");
	assert_result(1, E_UNAVAILABLE, "450 4.7.5 ");
	assert_null(strstr(servers[0].said, "MAIL"));
	/* Unless the sender has said that it need not be: RFC 8689 section 3. */
	m = message_to("dane.test", "x\r\n");
	m.tls_optional = true;
	deliver_one(&m, "bob@x.test");
	assert_result(2, 0, "250");
}

static void tls_that_is_required(void **state)
{
	static const struct script promises = {.rows = {{"EHLO", "250-host\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"}}};

	(void)state;
	configure("relay-authorities /x\n");
	m = message_to("dane.test", "x\r\n");
	m.requiretls = true;
	deliver_one(&m, "bob@x.test");
	assert_result(0, E_DENIED, "550 5.7.30 ");
	deliver_one(&m, "bob@x.test"); /* the connection is no better for the next one */
	assert_result(1, E_DENIED, "550 5.7.30 ");
	drop_connections();
	servers[0].script = &promises;
	deliver_one(&m, "bob@x.test");
	assert_result(2, 0, "250");
	assert_string_equal(results[2].tls, "TLSv1.3 verified");
	assert_non_null(strstr(servers[0].said, "MAIL FROM:<ann@own.test> REQUIRETLS|"));
	m.domain = SPAN_LIT("a.test"); /* whose MX records anybody may have written */
	deliver_one(&m, "bob@x.test");
	assert_result(3, E_DENIED, "550 5.7.10 ");
}

static void a_log_in_at_a_smarthost(void **state)
{
	static const struct script smarthost = {.rows = {{"EHLO", "250-host\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"}, {"AUTH PLAIN AGFubgBzZWNyZXQ=", "235 welcome\r\n"}, {"AUTH", "535 5.7.8 no\r\n"}}};
	char text[256];

	(void)state;
	password = memfd_create("password", MFD_CLOEXEC);
	assert_int_equal(write(password, "secret\r\nmore\n", 13), 13);
	snprintf(text, sizeof(text), "transport * { host 127.0.0.1:%u; login ann; password-file /p }\n", port);
	configure(text);
	servers[0].script = &smarthost;
	m = message_to("any.test", "x\r\n");
	m.transport = SPAN_LIT("*");
	deliver_one(&m, "bob@any.test");
	assert_result(0, 0, "250");
	assert_non_null(strstr(servers[0].said, "STARTTLS|EHLO mail.own.test|AUTH PLAIN "));
	drop_connections();
	assert_int_equal(pwrite(password, "xecret", 6, 0), 6);
	deliver_one(&m, "bob@any.test");
	assert_result(1, E_UNAVAILABLE, "450 4.7.8 ");
	close(password);
	password = -1;
	deliver_one(&m, "bob@any.test");
	assert_result(2, E_UNAVAILABLE, "451 4.3.5 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_is_used_when_it_is_offered),
	    TEST(a_ticket_is_kept),
	    TEST(a_handshake_that_fails),
	    TEST(a_handshake_that_nobody_answers),
	    TEST(certificates_that_are_verified),
	    TEST(records_decide),
	    TEST(records_bind),
	    TEST(tls_that_is_required),
	    TEST(a_log_in_at_a_smarthost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
