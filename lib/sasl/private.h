/* The engine's parts: each mechanism is a few functions on this state. */
#ifndef MW_SASL_PRIVATE_H
#define MW_SASL_PRIVATE_H

#include "sasl/sasl.h"

enum { SCRAM_NONCE = 24, SCRAM_NONCE_MAX = 256 };

struct sasl {
	enum sasl_mechanism mechanism;
	unsigned turn; /* responses taken */
	bool asked;    /* the owner has a question of ours */
	bool plus_offered;
	unsigned char exporter[SASL_BINDING_MAX], unique[SASL_BINDING_MAX], endpoint[SASL_BINDING_MAX];
	size_t exporter_len, unique_len, endpoint_len;
	char certificate[SASL_USER_MAX + 1];
	char user[SASL_USER_MAX + 1], authzid[SASL_USER_MAX + 1];
	struct buf secret;
	struct buf challenge;
	/* SCRAM (RFC 5802 section 5) */
	struct buf first_bare;	 /* client-first-message-bare */
	struct buf server_first; /* server-first-message */
	struct buf header;	 /* gs2-header, and the data of the channel that it is bound to */
	char nonce[SCRAM_NONCE_MAX + 1]; /* the client's and ours */
	struct scram_keys keys;
};

enum sasl_step plain_respond(struct sasl *s, struct span response);
enum sasl_step login_begin(struct sasl *s);
enum sasl_step login_respond(struct sasl *s, struct span response);
enum sasl_step external_respond(struct sasl *s, struct span response);
enum sasl_step scram_respond(struct sasl *s, struct span response);
enum sasl_step scram_keys_given(struct sasl *s, const struct scram_keys *keys);
enum sasl_step bearer_respond(struct sasl *s, struct span response);
enum sasl_step bearer_refused(struct sasl *s, const struct sasl_refusal *refusal);

/* A name of at most SASL_USER_MAX bytes without NUL. */
bool sasl_take_name(struct span name, char out[SASL_USER_MAX + 1]);
/* The same of a name with "=2C" and "=3D" for comma and equals. */
bool sasl_take_saslname(struct span name, char out[SASL_USER_MAX + 1]);
/* A step that asks the owner. */
enum sasl_step sasl_ask(struct sasl *s, enum sasl_step question);
/* SASL_CHALLENGE, or SASL_STARVED. */
enum sasl_step sasl_challenge_made(struct sasl *s);

#endif
