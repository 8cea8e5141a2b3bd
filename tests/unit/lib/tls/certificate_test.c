/* What stands behind a certificate in its file: that each signed the one before it, and whose dates count. */
#include "tests/unit/lib/tls/fixture.h"

#include "tls/certificate.h"

#include <time.h>

enum { DAY = 86400, ROOT, OTHER_ROOT, MIDDLE, OTHER_MIDDLE, LEAF, KEYS };

static EVP_PKEY *keys[KEYS];

struct link {
	const char *name, *issuer;
	int key, signer;
	int begins, ends; /* days from now; 0, 0: from yesterday for 100 days */
};

static void add(BIO *text, const struct link *l, time_t now)
{
	X509 *x = certificate_new(l->name, l->issuer, keys[l->key]);
	bool usual = l->begins == 0 && l->ends == 0;

	ASN1_TIME_set(X509_getm_notBefore(x), now + (usual ? -1 : l->begins) * DAY);
	ASN1_TIME_set(X509_getm_notAfter(x), now + (usual ? 100 : l->ends) * DAY);
	assert_true(X509_sign(x, keys[l->signer], EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(text, x), 1);
	X509_free(x);
}

static int read_chain(const struct link *links, time_t now, struct tls_certificate *out, struct err *err)
{
	BIO *text = BIO_new(BIO_s_mem());
	int fd, r;

	for (size_t i = 0; links[i].name != NULL; i++)
		add(text, &links[i], now);
	fd = memory_file(text);
	r = tls_certificate_read(fd, out, err);
	close(fd);
	return r;
}

static const struct link leaf = {"mail.test", "Middle", LEAF, MIDDLE, 0, 0}, middle = {"Middle", "Root", MIDDLE, ROOT, 0, 0},
			 root = {"Root", "Root", ROOT, ROOT, 0, 0};

static void each_signed_the_one_before_it(void **state)
{
	const struct {
		struct link links[5];
		const char *wrong; /* NULL: nothing */
	} rows[] = {
	    {{leaf}, NULL},
	    {{leaf, middle}, NULL},
	    {{leaf, middle, root}, NULL},
	    {{root}, NULL},
	    /* The authority's old root signed the new one (RFC 5280 section 3.2): the file has the new one's key, in the old one's hand. */
	    {{leaf, middle, {"Root", "Other Root", ROOT, OTHER_ROOT, 0, 0}, {"Other Root", "Other Root", OTHER_ROOT, OTHER_ROOT, 0, 0}}, NULL},
	    {{leaf, {"Middle", "Other Root", MIDDLE, OTHER_ROOT, 0, 0}, {"Other Root", "Other Root", OTHER_ROOT, OTHER_ROOT, 0, 0}}, NULL},
	    {{leaf, {"Middle", "Root", OTHER_MIDDLE, ROOT, 0, 0}, root}, "certificate 2 in the file has the name of the issuer of the one before it, and did not sign it"},
	    {{leaf, middle, {"Root", "Root", OTHER_ROOT, OTHER_ROOT, 0, 0}}, "certificate 3 in the file has the name of the issuer of the one before it, and did not sign it"},
	    {{leaf, root}, "certificate 2 in the file is not the issuer of the one before it"},
	    {{leaf, root, middle}, "certificate 2 in the file is not the issuer of the one before it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_certificate c;
		struct err err = {0};
		int r = read_chain(rows[i].links, time(NULL), &c, &err);

		if (rows[i].wrong == NULL && r != 0)
			fail_msg("row %zu: %s", i, err.text);
		if (rows[i].wrong != NULL && (r != E_SYNTAX || strncmp(err.text, "tls-certificate", 15) != 0 || strstr(err.text, rows[i].wrong) == NULL))
			fail_msg("row %zu: %d %s", i, r, err.text);
	}
}

static struct link dated(const struct link *l, int begins, int ends)
{
	struct link with = *l;

	with.begins = begins;
	with.ends = ends;
	return with;
}

static void assert_says(const char *text, const char *beginning, int64_t day)
{
	char date[TLS_DATE_MAX];

	if (beginning == NULL) {
		assert_string_equal(text, "");
		return;
	}
	tls_date(day, date);
	assert_memory_equal(text, beginning, strlen(beginning));
	assert_memory_equal(text + strlen(beginning), date, strlen(date));
}

static void the_dates_of_all_count(void **state)
{
	const struct {
		struct link links[4];
		int ends;
		const char *warning, *wrong; /* as it begins, and the day follows; NULL: nothing */
	} rows[] = {
	    {{leaf, middle, root}, 100, NULL, NULL},
	    {{dated(&leaf, -1, 10), middle, root}, 10, "the certificate ends on ", NULL},
	    {{dated(&leaf, -1, 90), dated(&middle, -1, 20), root}, 20, "certificate 2 in its file ends on ", NULL},
	    {{leaf, middle, dated(&root, -1, 5)}, 5, "certificate 3 in its file ends on ", NULL},
	    {{dated(&leaf, -1, 10), dated(&middle, -1, 3), root}, 3, "certificate 2 in its file ends on ", NULL},
	    {{dated(&leaf, -1, 3), dated(&middle, -1, 10), root}, 3, "the certificate ends on ", NULL},
	    {{leaf, dated(&middle, -9, -2), root}, -2, "certificate 2 in its file ended on ",
		"tls-certificate: certificate 2 in the file, of an issuer, ended on "},
	    {{dated(&leaf, -9, -2), middle, root}, -2, "the certificate ended on ", "tls-certificate ended on "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[TLS_WARNING_MAX];
		time_t now = time(NULL);
		struct tls_certificate c;
		struct err err = {0};

		assert_int_equal(read_chain(rows[i].links, now, &c, &err), 0);
		assert_int_equal(c.ends, now + rows[i].ends * DAY);
		tls_certificate_warning(&c, now, text);
		assert_says(text, rows[i].warning, c.ends);
		assert_int_equal(tls_certificate_check_dates(&c, now, &err), rows[i].wrong ? E_SYNTAX : 0);
		assert_says(err.text, rows[i].wrong, c.ends);
	}
}

static void an_issuer_may_not_have_begun(void **state)
{
	time_t now = time(NULL);
	char text[TLS_WARNING_MAX];
	struct tls_certificate c;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_chain((struct link[]){leaf, dated(&middle, 2, 99), root, {0}}, now, &c, &err), 0);
	assert_true(tls_certificate_warning(&c, now, text));
	assert_non_null(strstr(text, "certificate 2 in its file begins on "));
	assert_int_equal(tls_certificate_check_dates(&c, now, &err), E_SYNTAX);
	assert_non_null(strstr(err.text, "certificate 2 in the file, of an issuer, begins on "));
	assert_int_equal(tls_certificate_check_dates(&c, now + 3 * DAY, &err), 0);
}

/* By the digest it is known whether a file is new: also when the server's own certificate stayed. */
static void another_issuer_makes_another_file(void **state)
{
	time_t now = time(NULL);
	struct tls_certificate one, other;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_chain((struct link[]){leaf, middle, {0}}, now, &one, &err), 0);
	assert_int_equal(read_chain((struct link[]){leaf, dated(&middle, -1, 50), {0}}, now, &other, &err), 0);
	assert_memory_not_equal(one.digest, other.digest, sizeof(one.digest));
	assert_int_equal(read_chain((struct link[]){dated(&root, -1, 7), {0}}, now, &one, &err), 0);
	assert_int_equal(read_chain((struct link[]){dated(&root, -1, 8), {0}}, now, &other, &err), 0);
	assert_memory_not_equal(one.digest, other.digest, sizeof(one.digest));
}

static int begin(void **state)
{
	(void)state;
	for (int i = ROOT; i < KEYS; i++)
		keys[i] = EVP_EC_gen("P-256");
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (int i = ROOT; i < KEYS; i++)
		EVP_PKEY_free(keys[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_signed_the_one_before_it),
	    cmocka_unit_test(the_dates_of_all_count),
	    cmocka_unit_test(an_issuer_may_not_have_begun),
	    cmocka_unit_test(another_issuer_makes_another_file),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
