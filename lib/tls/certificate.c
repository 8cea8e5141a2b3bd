#include "tls/private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int tls_error(struct err *err, int code, const char *what)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return err_set(err, code, "%s: %s", what, reason ? reason : "unknown TLS error");
}

BIO *tls_file(int fd)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char piece[4096];
	off_t at = 0;
	ssize_t n;

	while (bio != NULL && (n = pread(fd, piece, sizeof(piece), at)) > 0) {
		if (BIO_write(bio, piece, (int)n) != n) {
			BIO_free(bio);
			bio = NULL;
		}
		at += n;
	}
	OPENSSL_cleanse(piece, sizeof(piece));
	return bio;
}

bool tls_pem_is_damaged(void)
{
	return ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
}

/* ---- the chain ---- */

void tls_chain_free(STACK_OF(X509) **chain)
{
	sk_X509_pop_free(*chain, X509_free);
	*chain = NULL;
}

/* NULL: there is none left, or *r says that it is damaged. */
static X509 *next_certificate(OSSL_LIB_CTX *libctx, BIO *bio, bool first, int *r, struct err *err)
{
	X509 *fresh = X509_new_ex(libctx, NULL), *cert = fresh ? PEM_read_bio_X509(bio, &fresh, NULL, NULL) : NULL;

	if (cert != NULL)
		return cert;
	X509_free(fresh);
	if (first)
		*r = tls_error(err, E_SYNTAX, "tls-certificate is not a PEM certificate");
	else if (tls_pem_is_damaged())
		*r = tls_error(err, E_SYNTAX, "tls-certificate: a further certificate in the file is damaged");
	ERR_clear_error();
	return NULL;
}

static int check_order(STACK_OF(X509) *chain, struct err *err)
{
	for (int i = 0; i + 1 < sk_X509_num(chain); i++)
		if (X509_NAME_cmp(X509_get_issuer_name(sk_X509_value(chain, i)), X509_get_subject_name(sk_X509_value(chain, i + 1))) != 0)
			return err_set(err, E_SYNTAX,
			    "tls-certificate: certificate %d in the file is not the issuer of the one before it; "
			    "put the server's own first, then its issuer's, and so on", i + 2);
	return 0;
}

/* An authority has several certificates in one name: the old and the new, and each may be signed by others (RFC 5280 section 6.1.3 (a)(1)). */
static int check_signatures(STACK_OF(X509) *chain, struct err *err)
{
	for (int i = 0; i + 1 < sk_X509_num(chain); i++)
		if (X509_verify(sk_X509_value(chain, i), X509_get0_pubkey(sk_X509_value(chain, i + 1))) != 1) {
			ERR_clear_error();
			return err_set(err, E_SYNTAX,
			    "tls-certificate: certificate %d in the file has the name of the issuer of the one before it, and did not sign it; "
			    "put there the one that came with the server's", i + 2);
		}
	return 0;
}

int tls_chain_read(OSSL_LIB_CTX *libctx, int fd, STACK_OF(X509) **out, struct err *err)
{
	BIO *bio = tls_file(fd);
	STACK_OF(X509) *chain = sk_X509_new_null();
	int r = bio && chain ? 0 : err_set(err, E_NOMEM, "no memory for TLS");
	X509 *cert;

	while (r == 0 && (cert = next_certificate(libctx, bio, sk_X509_num(chain) == 0, &r, err)) != NULL)
		if (sk_X509_push(chain, cert) == 0) {
			X509_free(cert);
			r = err_set(err, E_NOMEM, "no memory for TLS");
		}
	if (r == 0)
		r = check_order(chain, err);
	BIO_free(bio);
	if (r != 0)
		tls_chain_free(&chain);
	*out = chain;
	return r;
}

/* ---- authorities ---- */

int tls_store_read(X509_STORE *store, int fd, const char *setting, struct err *err)
{
	BIO *bio = tls_file(fd);
	int count = 0, r = bio != NULL ? 0 : err_set(err, E_NOMEM, "no memory for TLS");
	char what[128];
	X509 *cert;

	ERR_clear_error();
	while (r == 0 && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, cert) != 1)
			r = err_set(err, E_NOMEM, "no memory for TLS");
		X509_free(cert);
		count++;
	}
	if (r == 0 && tls_pem_is_damaged()) {
		snprintf(what, sizeof(what), "%s: certificate %d in the file is damaged", setting, count + 1);
		r = tls_error(err, E_SYNTAX, what);
	} else if (r == 0 && count == 0) {
		r = err_set(err, E_SYNTAX, "%s has no PEM certificate", setting);
	}
	ERR_clear_error();
	BIO_free(bio);
	return r;
}

int tls_store_read_system(X509_STORE *store, int fd)
{
	BIO *bio = tls_file(fd);
	size_t left = SIZE_MAX;
	int count = 0;

	while (bio != NULL && BIO_ctrl_pending(bio) < left) {
		X509 *cert;

		left = BIO_ctrl_pending(bio);
		cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
		count += X509_STORE_add_cert(store, cert) == 1;
		X509_free(cert);
	}
	ERR_clear_error();
	BIO_free(bio);
	return count;
}

int tls_store_check(int fd, const char *setting, struct err *err)
{
	X509_STORE *store = X509_STORE_new();
	int r = store != NULL ? tls_store_read(store, fd, setting, err) : err_set(err, E_NOMEM, "no memory for TLS");

	X509_STORE_free(store);
	return r;
}

/* ---- what it says ---- */

int tls_fingerprint(EVP_PKEY *key, unsigned char out[TLS_FINGERPRINT])
{
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der), r = E_CANNOT;

	if (len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1)
		r = 0;
	OPENSSL_free(der);
	return r;
}

int64_t tls_seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void add_name(char *out, const unsigned char *name, int len)
{
	size_t at = strlen(out);

	if (len <= 0 || at + (size_t)len + 2 > TLS_NAMES_MAX)
		return;
	for (int i = 0; i < len; i++)
		if (!ascii_is_alnum((char)name[i]) && strchr("-._*", name[i]) == NULL)
			return;
	if (at > 0)
		out[at++] = ' ';
	for (int i = 0; i < len; i++)
		out[at++] = ascii_lower((char)name[i]);
	out[at] = '\0';
}

/* RFC 6125 section 6.4.4: the common name only where there is no name that was meant for this. */
static void take_names(X509 *cert, char out[TLS_NAMES_MAX])
{
	GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char common[256];
	int len;

	out[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);

		if (name->type == GEN_DNS)
			add_name(out, ASN1_STRING_get0_data(name->d.dNSName), ASN1_STRING_length(name->d.dNSName));
	}
	GENERAL_NAMES_free(all);
	len = out[0] == '\0' ? X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, common, sizeof(common)) : 0;
	add_name(out, (const unsigned char *)common, len);
	ERR_clear_error();
}

static int take_key(EVP_PKEY *key, const char *what, char out[32], struct err *err)
{
	char group[24] = "";

	if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= 2048) {
		snprintf(out, 32, "RSA %d", EVP_PKEY_get_bits(key));
	} else if (EVP_PKEY_is_a(key, "RSA")) {
		return err_set(err, E_SYNTAX, "%s: RSA of %d bits is too weak; have a certificate made for a new key of P-256, or of RSA with 2048 bits",
		    what, EVP_PKEY_get_bits(key));
	} else if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
		   EVP_PKEY_get_bits(key) >= 256) {
		snprintf(out, 32, "EC %s", strcmp(group, "prime256v1") == 0 ? "P-256" : strcmp(group, "secp384r1") == 0 ? "P-384" : group);
	} else if (EVP_PKEY_is_a(key, "ED25519")) {
		snprintf(out, 32, "Ed25519");
	} else {
		return err_set(err, E_SYNTAX, "%s: this kind of key is not supported; use P-256, RSA or Ed25519", what);
	}
	return 0;
}

/* Clients look at the dates of each. */
static void take_dates(STACK_OF(X509) *chain, struct tls_certificate *out)
{
	out->begins = INT64_MIN;
	out->ends = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t begins = tls_seconds_of(X509_get0_notBefore(sk_X509_value(chain, i)));
		int64_t ends = tls_seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));

		if (begins > out->begins) {
			out->begins = begins;
			out->begins_with = i;
		}
		if (ends < out->ends) {
			out->ends = ends;
			out->ends_with = i;
		}
	}
}

static bool take_digest(STACK_OF(X509) *chain, unsigned char out[32])
{
	unsigned char both[64] = {0}; /* of those before, and of the next */
	bool ok = true;

	for (int i = 0; i < sk_X509_num(chain) && ok; i++)
		ok = X509_digest(sk_X509_value(chain, i), EVP_sha256(), both + 32, NULL) == 1 &&
		     EVP_Digest(both, sizeof(both), both, NULL, EVP_sha256(), NULL) == 1;
	memcpy(out, both, 32);
	return ok;
}

static int describe(STACK_OF(X509) *chain, struct tls_certificate *out, struct err *err)
{
	X509 *cert = sk_X509_value(chain, 0);
	EVP_PKEY *key = X509_get0_pubkey(cert);
	int r = key ? take_key(key, "tls-certificate", out->key, err) : tls_error(err, E_SYNTAX, "tls-certificate: its key is not understood");

	if (r == 0 && (tls_fingerprint(key, out->fingerprint) != 0 || !take_digest(chain, out->digest)))
		r = tls_error(err, E_NOMEM, "tls-certificate");
	if (r != 0)
		return r;
	take_dates(chain, out);
	out->self_signed = X509_NAME_cmp(X509_get_issuer_name(cert), X509_get_subject_name(cert)) == 0;
	out->alone = !out->self_signed && sk_X509_num(chain) == 1;
	take_names(cert, out->names);
	return 0;
}

int tls_certificate_read(int fd, struct tls_certificate *out, struct err *err)
{
	STACK_OF(X509) *chain;
	int r = tls_chain_read(NULL, fd, &chain, err);

	*out = (struct tls_certificate){0};
	if (r == 0)
		r = check_signatures(chain, err);
	if (r == 0)
		r = describe(chain, out, err);
	tls_chain_free(&chain);
	return r;
}

/* ---- whether it serves ---- */

char *tls_date(int64_t seconds, char out[TLS_DATE_MAX])
{
	time_t time = seconds;
	struct tm tm;

	gmtime_r(&time, &tm);
	strftime(out, TLS_DATE_MAX, "%Y-%m-%d", &tm);
	return out;
}

int tls_certificate_check_dates(const struct tls_certificate *c, int64_t now, struct err *err)
{
	char date[TLS_DATE_MAX];

	if (now > c->ends && c->ends_with > 0)
		return err_set(err, E_SYNTAX, "tls-certificate: certificate %d in the file, of an issuer, ended on %s; put there the one that the authority has now",
		    c->ends_with + 1, tls_date(c->ends, date));
	if (now > c->ends)
		return err_set(err, E_SYNTAX, "tls-certificate ended on %s; have it renewed", tls_date(c->ends, date));
	if (now < c->begins && c->begins_with > 0)
		return err_set(err, E_SYNTAX, "tls-certificate: certificate %d in the file, of an issuer, begins on %s only; is this machine's clock right?",
		    c->begins_with + 1, tls_date(c->begins, date));
	if (now < c->begins)
		return err_set(err, E_SYNTAX, "tls-certificate begins on %s only; is this machine's clock right?", tls_date(c->begins, date));
	return 0;
}

int tls_certificate_check_key(const struct tls_certificate *certificate, const struct tls_key *key, struct err *err)
{
	if (memcmp(certificate->fingerprint, key->fingerprint, TLS_FINGERPRINT) == 0)
		return 0;
	return err_set(err, E_SYNTAX, "tls-key does not belong to tls-certificate; name the key that the certificate was made for");
}

static const char *name_one(int number, char out[40])
{
	if (number == 0)
		return "the certificate";
	snprintf(out, 40, "certificate %d in its file", number + 1);
	return out;
}

bool tls_certificate_warning(const struct tls_certificate *c, int64_t now, char out[TLS_WARNING_MAX])
{
	char date[TLS_DATE_MAX], one[40];

	out[0] = '\0';
	if (c->ends - now <= (int64_t)TLS_WARNING_DAYS * 86400)
		snprintf(out, TLS_WARNING_MAX, "%s %s on %s", name_one(c->ends_with, one), c->ends < now ? "ended" : "ends", tls_date(c->ends, date));
	else if (c->begins > now)
		snprintf(out, TLS_WARNING_MAX, "%s begins on %s only", name_one(c->begins_with, one), tls_date(c->begins, date));
	else if (c->alone)
		snprintf(out, TLS_WARNING_MAX, "the certificates of its issuers are missing behind the certificate");
	return out[0] != '\0';
}
