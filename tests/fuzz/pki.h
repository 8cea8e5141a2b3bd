/*
 * A little world of certificates and revocation lists, for targets that read files of them. Each has a letter; keys are fixed and signatures
 * Ed25519, so that the same input is the same file each time. Input of a file: letters; '!', a place (two octets) and a change before one: that
 * octet of it is changed.
 */
#ifndef MW_TESTS_FUZZ_PKI_H
#define MW_TESTS_FUZZ_PKI_H

#include "tests/fuzz/fuzz.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PKI_KEYS = 6, PKI_DER_MAX = 1024, PKI_FILE_MAX = 8 };

/* Seconds since 1970: all dates of this world are days of it. */
#define PKI_DAY(n) (INT64_C(1767225600) + (n) * INT64_C(86400))

/* What signed it is told by the number of a key; two authorities of one name, with a key each, are what differs. until of a list: 0 is never. */
struct pki_object {
	char letter;
	bool list;
	const char *name, *issuer;
	unsigned key, signer; /* key: of a list unused */
	int64_t since, until;
	unsigned char der[PKI_DER_MAX];
	size_t len;
};

static struct pki_object pki_objects[] = {
    {'A', false, "A", "A", 0, 0, PKI_DAY(0), PKI_DAY(3650), {0}, 0},
    {'a', false, "A", "A", 1, 1, PKI_DAY(10), PKI_DAY(3660), {0}, 0},
    {'B', false, "B", "A", 2, 0, PKI_DAY(1), PKI_DAY(400), {0}, 0},
    {'b', false, "B", "A", 3, 1, PKI_DAY(11), PKI_DAY(410), {0}, 0},
    {'L', false, "mx.example", "B", 4, 2, PKI_DAY(2), PKI_DAY(92), {0}, 0},
    {'l', false, "mx.example", "B", 4, 3, PKI_DAY(12), PKI_DAY(500), {0}, 0},
    {'S', false, "self.example", "self.example", 5, 5, PKI_DAY(3), PKI_DAY(93), {0}, 0},
    {'1', true, "A", "A", 0, 0, PKI_DAY(0), PKI_DAY(30), {0}, 0},
    {'2', true, "A", "A", 0, 1, PKI_DAY(0), PKI_DAY(40), {0}, 0},
    {'3', true, "B", "B", 0, 2, PKI_DAY(0), PKI_DAY(20), {0}, 0},
    {'4', true, "B", "B", 0, 0, PKI_DAY(0), PKI_DAY(50), {0}, 0}, /* by nobody of that name */
    {'5', true, "A", "A", 0, 0, PKI_DAY(0), 0, {0}, 0},
};

enum { PKI_OBJECTS = sizeof(pki_objects) / sizeof(pki_objects[0]) };

/* A file of them. */
struct pki_file {
	const struct pki_object *all[PKI_FILE_MAX];
	bool changed[PKI_FILE_MAX];
	size_t count;
	int fd;
};

static inline X509_NAME *pki_name(const char *text)
{
	X509_NAME *name = X509_NAME_new();

	fuzz_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0) == 1);
	return name;
}

static inline void pki_keep(struct pki_object *o, unsigned char *der, int len)
{
	fuzz_assert(len > 0 && len <= PKI_DER_MAX);
	memcpy(o->der, der, (size_t)len);
	o->len = (size_t)len;
	OPENSSL_free(der);
}

static inline void pki_make_certificate(struct pki_object *o, EVP_PKEY **keys)
{
	X509 *x = X509_new();
	X509_NAME *name = pki_name(o->name), *issuer = pki_name(o->issuer);
	unsigned char *der = NULL;
	int len;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), o->letter);
	ASN1_TIME_set(X509_getm_notBefore(x), o->since);
	ASN1_TIME_set(X509_getm_notAfter(x), o->until);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, issuer);
	X509_set_pubkey(x, keys[o->key]);
	fuzz_assert(X509_sign(x, keys[o->signer], NULL) > 0);
	len = i2d_X509(x, &der);
	pki_keep(o, der, len);
	X509_NAME_free(name);
	X509_NAME_free(issuer);
	X509_free(x);
}

static inline void pki_make_list(struct pki_object *o, EVP_PKEY **keys)
{
	X509_CRL *list = X509_CRL_new();
	X509_NAME *issuer = pki_name(o->issuer);
	ASN1_TIME *since = ASN1_TIME_set(NULL, o->since), *until = ASN1_TIME_set(NULL, o->until);
	unsigned char *der = NULL;
	int len;

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, issuer);
	X509_CRL_set1_lastUpdate(list, since);
	if (o->until != 0)
		X509_CRL_set1_nextUpdate(list, until);
	fuzz_assert(X509_CRL_sign(list, keys[o->signer], NULL) > 0);
	len = i2d_X509_CRL(list, &der);
	pki_keep(o, der, len);
	X509_NAME_free(issuer);
	ASN1_TIME_free(since);
	ASN1_TIME_free(until);
	X509_CRL_free(list);
}

static inline void pki_start(void)
{
	EVP_PKEY *keys[PKI_KEYS];

	if (pki_objects[0].len > 0)
		return;
	for (unsigned i = 0; i < PKI_KEYS; i++) {
		unsigned char seed[32] = {(unsigned char)(i + 1)};

		keys[i] = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
		fuzz_assert(keys[i] != NULL);
	}
	for (size_t i = 0; i < PKI_OBJECTS; i++)
		if (pki_objects[i].list)
			pki_make_list(&pki_objects[i], keys);
		else
			pki_make_certificate(&pki_objects[i], keys);
	for (unsigned i = 0; i < PKI_KEYS; i++)
		EVP_PKEY_free(keys[i]);
}

static inline const struct pki_object *pki_find(unsigned letter, bool list)
{
	for (size_t i = 0; i < PKI_OBJECTS; i++)
		if (pki_objects[i].list == list && (unsigned)pki_objects[i].letter == letter)
			return &pki_objects[i];
	return NULL;
}

static inline void pki_write(int fd, struct span text)
{
	fuzz_assert(write(fd, text.ptr, text.len) == (ssize_t)text.len);
}

static inline void pki_write_pem(int fd, const char *kind, struct span der)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	fuzz_assert(PEM_write_bio(bio, kind, "", (const unsigned char *)der.ptr, (long)der.len) > 0);
	len = BIO_get_mem_data(bio, &text);
	pki_write(fd, span_of(text, (size_t)len));
	BIO_free(bio);
}

/* The certificates, or the lists, that the letters name; others are passed over. */
static inline void pki_file_make(struct span letters, bool lists, struct pki_file *file)
{
	unsigned place = 0, change = 0;

	*file = (struct pki_file){.fd = memfd_create("pem", MFD_CLOEXEC)};
	fuzz_assert(file->fd >= 0);
	while (letters.len > 0 && file->count < PKI_FILE_MAX) {
		unsigned letter = fuzz_byte(&letters);
		const struct pki_object *o = pki_find(letter, lists);
		unsigned char der[PKI_DER_MAX];

		if (letter == '!') {
			place = fuzz_byte(&letters) * 4 + fuzz_byte(&letters) % 4;
			change = fuzz_byte(&letters);
		}
		if (o == NULL)
			continue;
		memcpy(der, o->der, o->len);
		der[place % o->len] ^= (unsigned char)change;
		file->changed[file->count] = change != 0;
		file->all[file->count++] = o;
		pki_write_pem(file->fd, lists ? "X509 CRL" : "CERTIFICATE", span_of(der, o->len));
		change = 0;
	}
}

/* These octets, whatever they are. */
static inline void pki_file_raw(struct span text, struct pki_file *file)
{
	*file = (struct pki_file){.fd = memfd_create("pem", MFD_CLOEXEC)};
	fuzz_assert(file->fd >= 0);
	pki_write(file->fd, text);
}

static inline bool pki_file_is_changed(const struct pki_file *file)
{
	for (size_t i = 0; i < file->count; i++)
		if (file->changed[i])
			return true;
	return false;
}

/* Is this the issuer of that, by name and key? */
static inline bool pki_issued(const struct pki_object *issuer, const struct pki_object *o)
{
	return strcmp(o->issuer, issuer->name) == 0 && o->signer == issuer->key;
}

#endif
