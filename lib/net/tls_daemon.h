/* What every daemon that offers TLS has: the context made of what master handed it, and the channel to keys. */
#ifndef MW_NET_TLS_DAEMON_H
#define MW_NET_TLS_DAEMON_H

#include "base/err.h"
#include "base/span.h"
#include "tls/tls.h"

struct daemon;
struct keys_client;

struct tls_daemon {
	struct keys_client *keys;
	struct tls_signer *signer;
	struct tls_tickets tickets; /* of all contexts, so that an old one keeps no old secret */
	bool have_tickets;
	struct daemon *daemon;
	int64_t list_told_ms; /* when the log was last told of a list that a client was refused for; 0: not of these lists */
};

/*
 * Makes *context anew of the configuration and files that the daemon has now: before the sandbox, and at each reload. Sessions of
 * the old one go on. It stays as it is when there is no certificate, or one of no use. protocol: as in tls_context_options.
 */
int tls_daemon_load(struct tls_daemon *tls, struct daemon *daemon, const char *protocol, struct tls_context **context, struct err *err);
/* Master has dealt secrets anew: those of tickets are taken over, and the oldest is gone. */
void tls_daemon_secrets(struct tls_daemon *tls, struct daemon *daemon);
/* The channel to keys; owns fd. */
void tls_daemon_connect(struct tls_daemon *tls, int fd);

#endif
