/* A context that has its key in its own process: for tests. Apart, so that a daemon of the network has no function that reads one. */
#include "tls/private.h"

int tls_context_server(int certificate_fd, int key_fd, struct tls_context **out, struct err *err)
{
	struct tls_context_options options = {.authorities = -1, .revocations = -1};
	struct tls_certificate certificate;
	struct tls_key *key = NULL;
	int r = tls_context_new(&options, out, err);

	if (r == 0)
		r = tls_certificate_read(certificate_fd, &certificate, err);
	if (r == 0)
		r = tls_key_read(key_fd, &key, err);
	if (r == 0)
		r = tls_context_add(*out, "", certificate_fd, key, err);
	tls_key_free(&key);
	if (r != 0)
		tls_context_free(out);
	return r;
}
