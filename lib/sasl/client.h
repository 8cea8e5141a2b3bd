/*
 * SASL (RFC 4422), the client's side, without I/O: decoded challenges in, responses out. For log-ins at other hosts: PLAIN, LOGIN,
 * SCRAM with and without -PLUS, XOAUTH2.
 */
#ifndef MW_SASL_CLIENT_H
#define MW_SASL_CLIENT_H

#include "sasl/sasl.h"

enum {
	SASL_CLIENT_ITERATIONS_MIN = 4096,   /* RFC 7677 section 4: with fewer a password is soon guessed by who has seen the exchange */
	SASL_CLIENT_ITERATIONS_MAX = 200000, /* some 0.1 s of a processor: a server could keep us busy for hours */
	SASL_CLIENT_SALT_MAX = 256,
};

struct sasl_client;

/*
 * channel: of the connection; plus_offered: the server has offered a -PLUS. Everything is copied, and wiped. NULL: no memory; or a user,
 * a password, a binding that is longer than sasl.h has it; or a mechanism that is none of ours.
 */
struct sasl_client *sasl_client_new(enum sasl_mechanism mechanism, struct span user, struct span password, const struct sasl_channel *channel);
void sasl_client_free(struct sasl_client **client);

/*
 * *has_initial: the mechanism begins with the client; its first response is added to out (maximum: SASL_RESPONSE_MAX). E_SYNTAX: user or
 * password can be in no exchange of this mechanism (RFC 4013); E_NOMEM, E_TOOBIG.
 */
int sasl_client_begin(struct sasl_client *client, struct buf *out, bool *has_initial, struct err *err);
/* The first response once more: the protocol had no room for it with the command. */
int sasl_client_repeat(const struct sasl_client *client, struct buf *out, struct err *err);
/*
 * Adds the response to a challenge. E_REMOTE: the server does not keep to the mechanism, or wants more iterations than
 * we do for anybody, or so few that it is no protection; E_DENIED: it does not know the password; E_SYNTAX, E_NOMEM, E_TOOBIG. The
 * exchange ends with the first of them.
 */
int sasl_client_respond(struct sasl_client *client, struct span challenge, struct buf *out, struct err *err);
/* The server says that all is well. E_DENIED: it has not shown that it knows the password, as the mechanism has it; E_REMOTE: it is not its turn. */
int sasl_client_finish(const struct sasl_client *client, struct err *err);

#endif
