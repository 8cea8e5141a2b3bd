/* A self-signed certificate, so that TLS works from the first minute. */
#include "master/init.h"
#include "master/save.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>

enum { CERTIFICATE_DAYS = 3650 };

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static X509 *make_certificate(const char *hostname, EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name;
	char alt[300];
	uint64_t serial = 0;

	if (cert == NULL || RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
		goto fail;
	name = X509_get_subject_name(cert);
	snprintf(alt, sizeof(alt), "DNS:%s", hostname);
	if (X509_set_version(cert, X509_VERSION_3) != 1 ||
	    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) != 1 ||
	    X509_gmtime_adj(X509_getm_notBefore(cert), -3600) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(cert), (long)CERTIFICATE_DAYS * 86400) == NULL ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)hostname, -1,
		-1, 0) != 1 ||
	    X509_set_issuer_name(cert, name) != 1 || X509_set_pubkey(cert, key) != 1 ||
	    !add_extension(cert, NID_subject_alt_name, alt) ||
	    !add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") ||
	    X509_sign(cert, key, EVP_sha256()) == 0)
		goto fail;
	return cert;
fail:
	X509_free(cert);
	return NULL;
}

int init_certificate(const char *hostname, const char *certificate, const char *key_path, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? make_certificate(hostname, key) : NULL;
	FILE *file;
	int r = cert ? 0 : err_set(err, E_CANNOT, "could not make a certificate for %s", hostname);

	/* The key first: a certificate that is there has one. */
	if (r == 0) {
		file = save_begin(key_path, 0600, err);
		r = file ? 0 : err->code;
		if (r == 0 && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) != 1) {
			r = err_set(err, E_IO, "could not write %s", key_path);
			save_abort(&file, key_path);
		}
		if (r == 0)
			r = save_end(&file, key_path, err);
	}
	if (r == 0) {
		file = save_begin(certificate, 0644, err);
		r = file ? 0 : err->code;
		if (r == 0 && PEM_write_X509(file, cert) != 1) {
			r = err_set(err, E_IO, "could not write %s", certificate);
			save_abort(&file, certificate);
		}
		if (r == 0)
			r = save_end(&file, certificate, err);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return r;
}
