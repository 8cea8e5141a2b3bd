/* All keys of one configuration, each with its certificate: checked when they are read. */
#ifndef MW_KEYS_RING_H
#define MW_KEYS_RING_H

#include "base/err.h"
#include "tls/certificate.h"
#include "tls/key.h"

struct daemon;
struct ring;

/*
 * Reads what the daemon was handed. E_SYNTAX names the place in the configuration, and says what is wrong: with the certificate, the key,
 * or both together. One that has ended or not begun is refused when it is new; one that was served (now and before, may be NULL) or is there at
 * the start (both are NULL) is better than none.
 */
int ring_load(struct daemon *daemon, const struct ring *now, const struct ring *before, struct ring **out, struct err *err);
void ring_free(struct ring **ring);
/* By the fingerprint, TLS_FINGERPRINT octets; NULL: none. ring may be NULL. */
const struct tls_key *ring_find(const struct ring *ring, const unsigned char *fingerprint);
/*
 * The next certificate about which its owner must be told something, with its domain; *at begins with 0. Those that end first, or have
 * ended, are the first. False: there is no further one.
 */
bool ring_warning(const struct ring *ring, size_t *at, int64_t now, char *out, size_t size);

#endif
