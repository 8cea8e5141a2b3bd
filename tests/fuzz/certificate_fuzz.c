/*
 * Certificates and keys as their owner wrote them into files: refused with a reason, or understood. Input: the file. What is a certificate is
 * told in words that can be shown; what is a key signs, and only what TLS signs.
 */
#include "tests/fuzz/fuzz.h"

#include "tls/certificate.h"
#include "tls/key.h"

#include <sys/mman.h>
#include <unistd.h>

static void look_at_certificate(int fd)
{
	struct tls_certificate c;
	struct err err = {0};
	int r = tls_certificate_read(fd, &c, &err);
	char text[TLS_WARNING_MAX];

	fuzz_assert(r == 0 || (r == E_SYNTAX && strncmp(err.text, "tls-certificate", 15) == 0));
	if (r != 0)
		return;
	fuzz_assert(strlen(c.names) < TLS_NAMES_MAX && c.key[0] != '\0' && strlen(c.key) < sizeof(c.key));
	for (const char *p = c.names; *p != '\0'; p++)
		fuzz_assert(ascii_is_alnum(*p) ? *p == ascii_lower(*p) : strchr("-._* ", *p) != NULL);
	fuzz_assert(tls_certificate_warning(&c, c.ends + 1, text) && text[0] != '\0' && strlen(text) < sizeof(text));
	fuzz_assert(tls_certificate_check_dates(&c, c.ends + 1, &err) == E_SYNTAX);
}

static void look_at_key(int fd)
{
	static const size_t lengths[TLS_DIGESTS] = {32, 32, 48, 64};
	unsigned char data[64] = {0}, out[TLS_SIGNATURE_MAX];
	struct tls_key *key = NULL;
	struct err err = {0};
	int r = tls_key_read(fd, &key, &err);

	fuzz_assert(r == 0 || (r == E_SYNTAX && strncmp(err.text, "tls-key", 7) == 0 && key == NULL));
	for (unsigned a = 0; r == 0 && a < TLS_ALGORITHMS; a++)
		for (unsigned d = 0; d < TLS_DIGESTS; d++) {
			struct tls_question q = {.algorithm = (enum tls_algorithm)a, .digest = (enum tls_digest)d, .data = span_of(data, lengths[d])};
			size_t len = 0;
			int signed_by = tls_key_sign(key, &q, out, &len);

			fuzz_assert(signed_by == E_UNSUPPORTED || signed_by == E_CANNOT || (signed_by == 0 && len > 0 && len <= sizeof(out)));
		}
	tls_key_free(&key);
}

void fuzz_one(struct span input)
{
	int fd = memfd_create("pem", MFD_CLOEXEC);

	fuzz_assert(fd >= 0 && write(fd, input.ptr, input.len) == (ssize_t)input.len);
	look_at_certificate(fd);
	look_at_key(fd);
	close(fd);
}
