/* Private keys, where they are held: read, and signed with. */
#ifndef MW_TLS_KEY_H
#define MW_TLS_KEY_H

#include "tls/sign.h"

struct tls_key;

/*
 * From an open PEM file, which stays the caller's: RSA of 2,048 bits or more, P-256, P-384, P-521, Ed25519, without a password.
 * E_SYNTAX with a text that begins with "tls-key" and says what is wrong and what to do.
 */
int tls_key_read(int fd, struct tls_key **out, struct err *err);
/* Wiped. */
void tls_key_free(struct tls_key **key);
/* Borrowed: TLS_FINGERPRINT octets. */
const unsigned char *tls_key_fingerprint(const struct tls_key *key);
/*
 * Signs what TLS signs, with this key. out: TLS_SIGNATURE_MAX octets. E_UNSUPPORTED: the algorithm is not this key's, or the
 * digest none; E_SYNTAX: the data has not the digest's length; E_CANNOT.
 */
int tls_key_sign(const struct tls_key *key, const struct tls_question *question, unsigned char *out, size_t *len);

#endif
