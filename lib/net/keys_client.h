/*
 * What a daemon of the network has to do with `keys`: it asks for signatures and keeps those who wait.
 * A question that keys did not answer because it died is asked again when it is back; after KEYS_WAIT_MS it fails.
 */
#ifndef MW_NET_KEYS_CLIENT_H
#define MW_NET_KEYS_CLIENT_H

#include "base/err.h"

struct event_base;
struct daemon;
struct keys_client;
struct tls_signer;

enum { KEYS_WAIT_MS = 5000 };

/* Before the sandbox; for the life of the process. *signer: what contexts are made with; it is the client's. */
int keys_client_new(struct daemon *daemon, struct keys_client **out, struct tls_signer **signer, struct err *err);
/* The channel, made or made again; owns fd. */
void keys_client_connect(struct keys_client *client, int fd);

#endif
