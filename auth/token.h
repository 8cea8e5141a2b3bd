/*
 * Bearer tokens: what the identity provider says of them. By its introspection endpoint, which is asked for each token that it
 * has not called good within the last minute; or by its key set, which is kept. Both come through the fetch process.
 */
#ifndef MW_AUTH_TOKEN_H
#define MW_AUTH_TOKEN_H

#include "auth/auth.h"
#include "sasl/sasl.h"

struct tokens;
struct token_check;

/* The outcome of a check; borrowed until the callback returns. */
struct token_word {
	int code;	    /* 0; E_AUTHFAILED: it is not good; E_AGAIN: nobody can say now */
	const char *reason; /* for the log */
	const char *status; /* of E_AUTHFAILED: RFC 6750 section 3.1 */
	const char *user;   /* of 0: whose it is */
};

typedef void token_done(void *arg, const struct token_word *word);

/* Confined. E_SYNTAX: the client's secret cannot be used. */
int tokens_new(struct auth *auth, struct tokens **out, struct err *err);
/* What is known is forgotten, and checks under way end with E_AGAIN. */
int tokens_reload(struct tokens *tokens, struct err *err);
/* The channel to fetch; owns fd. */
void tokens_service(struct tokens *tokens, int fd);

/* done is called once, never before this returns. NULL: too many are checked, or there is no memory. */
struct token_check *token_check_new(struct tokens *tokens, struct span token, token_done *done, void *arg);
/* done is not called any more. */
void token_check_drop(struct token_check *check);

/* What a client is told whose token was refused. configuration: the caller's memory. */
enum { TOKEN_CONFIGURATION_MAX = 512 };
struct sasl_refusal token_refusal(const struct conf *conf, const char *status, char configuration[TOKEN_CONFIGURATION_MAX]);

/* ---- token_keys.c: the provider's key set, kept ---- */
struct fetch_client;
struct oauth_keys;
struct token_keys;

/* arrived: what was asked for has come, or not. */
struct token_keys *token_keys_new(struct daemon *daemon, struct fetch_client *client, void (*arrived)(void *arg, bool fresh), void *arg);
void token_keys_forget(struct token_keys *keys);
/* NULL: none, or too old. *fresh: there is no need to ask for others yet. Borrowed until the loop turns. */
const struct oauth_keys *token_keys_now(const struct token_keys *keys, bool *fresh);
/* Asks for the set of today. False: that was done too often of late, or cannot be done. */
bool token_keys_ask(struct token_keys *keys);

#endif
