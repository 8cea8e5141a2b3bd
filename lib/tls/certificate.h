/* Certificates as their owner sees them: what they say, and what is wrong with them. */
#ifndef MW_TLS_CERTIFICATE_H
#define MW_TLS_CERTIFICATE_H

#include "tls/sign.h"

struct x509_store_st; /* OpenSSL's X509_STORE */

enum { TLS_NAMES_MAX = 1024, TLS_DATE_MAX = 16, TLS_WARNING_MAX = 96, TLS_WARNING_DAYS = 21 };

struct tls_certificate {
	char names[TLS_NAMES_MAX]; /* with blanks between; lower case */
	char key[32];		   /* "RSA 2048", "EC P-256", "Ed25519" */
	int64_t begins, ends;	   /* seconds since 1970: when all in the file have begun, and none has ended */
	int begins_with, ends_with; /* which of the file's that is; 0: the server's own */
	bool self_signed;
	bool alone; /* not self-signed, and without its issuer's certificate behind it */
	unsigned char fingerprint[TLS_FINGERPRINT]; /* of its public key */
	unsigned char digest[32];		    /* of all certificates in the file */
};

/*
 * From an open PEM file: the certificate, then those of its issuers. E_SYNTAX with a text that begins with "tls-certificate" and says
 * what is wrong and what to do: not PEM, a chain out of order, a key that is too weak.
 */
int tls_certificate_read(int fd, struct tls_certificate *out, struct err *err);
/* Is it for now, and are those of its issuers? E_SYNTAX says since or until when not. */
int tls_certificate_check_dates(const struct tls_certificate *c, int64_t now, struct err *err);
/* Certificate, key, and that they belong together; dates as well. */
struct tls_key;
int tls_certificate_check_key(const struct tls_certificate *certificate, const struct tls_key *key, struct err *err);
/*
 * Adds the authorities of an open PEM file to the store: all of them, or the file is refused. E_SYNTAX with a text that begins with the
 * setting: there is none, or one is damaged, which it tells by number. E_NOMEM.
 */
int tls_store_read(struct x509_store_st *store, int fd, const char *setting, struct err *err);
/* Of the system's file, which is not its reader's to mend: what is damaged is passed over, and those behind it count. How many there are. */
int tls_store_read_system(struct x509_store_st *store, int fd);
/* Whether tls_store_read takes the file. */
int tls_store_check(int fd, const char *setting, struct err *err);
/* What its owner must be told at this time: that it or an issuer's ends within three weeks or has ended, or that its chain is missing. False: nothing. */
bool tls_certificate_warning(const struct tls_certificate *c, int64_t now, char out[TLS_WARNING_MAX]);
/* "2026-11-25" */
char *tls_date(int64_t seconds, char out[TLS_DATE_MAX]);

#endif
