/* Shared by the files of the client's side. */
#ifndef MW_SASL_CLIENT_PRIVATE_H
#define MW_SASL_CLIENT_PRIVATE_H

#include "sasl/client.h"
#include "sasl/private.h"

struct sasl_client {
	enum sasl_mechanism mechanism;
	unsigned turn; /* challenges answered */
	bool failed;   /* one of them could not be: there is nothing to go on with */
	bool plus_offered;
	bool proved; /* SCRAM: the server has shown that it knows the password */
	unsigned char exporter[SASL_BINDING_MAX], endpoint[SASL_BINDING_MAX];
	size_t exporter_len, endpoint_len;
	struct buf user, password;
	struct buf initial; /* the first response, as it was said */
	/* SCRAM (RFC 5802 section 5) */
	struct buf header;  /* gs2-header */
	struct buf binding; /* and the data of the channel */
	struct buf bare;    /* client-first-message-bare */
	char nonce[SCRAM_NONCE * 2];
	unsigned char signature[SCRAM_KEY_MAX]; /* what the server's is to be */
};

/* Chosen at random unless it is set, as the examples of the RFCs do. */
void scram_client_set_nonce(struct sasl_client *client, struct span nonce);
int scram_client_begin(struct sasl_client *client, struct err *err);
int scram_client_respond(struct sasl_client *client, struct span challenge, struct buf *out, struct err *err);

#endif
