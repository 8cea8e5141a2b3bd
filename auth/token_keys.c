/* The identity provider's key set: kept while it is fresh, asked for again when a token names a key that is not in it. */
#include "auth/token.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/fetch_client.h"
#include "oauth/oauth.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	KEYS_AGE_MIN_S = 60, /* the set keeps so long at least, whatever its max-age */
	KEYS_AGE_MAX_S = 86400,
	KEYS_AGE_USUAL_S = 600,	     /* when it does not say */
	KEYS_LAST_MS = 86400 * 1000, /* and is used for so long when no other can be had */
	KEYS_TIMEOUT_MS = 5000,
	/* A token that names an unknown key makes us ask again, but strangers' tokens not all the time. */
	KEYS_ASKS = 3,
	KEYS_ASKS_MS = 60 * 1000,
};

struct token_keys {
	struct daemon *daemon;
	struct fetch_client *client;
	void (*arrived)(void *arg, bool fresh);
	void *arg;
	struct oauth_keys *keys;
	int64_t got_ms, fresh_until_ms;
	int64_t asked_ms[KEYS_ASKS]; /* the latest, in turn */
	unsigned asks;
	uint32_t question; /* 0: none is open */
};

struct token_keys *token_keys_new(struct daemon *daemon, struct fetch_client *client, void (*arrived)(void *arg, bool fresh), void *arg)
{
	struct token_keys *keys = calloc(1, sizeof(*keys));

	if (keys != NULL)
		*keys = (struct token_keys){.daemon = daemon, .client = client, .arrived = arrived, .arg = arg};
	return keys;
}

void token_keys_forget(struct token_keys *keys)
{
	if (keys->question != 0)
		fetch_forget(keys->client, keys->question);
	keys->question = 0;
	keys->asks = 0;
	oauth_keys_free(&keys->keys);
}

const struct oauth_keys *token_keys_now(const struct token_keys *keys, bool *fresh)
{
	int64_t now = clock_monotonic_ms();

	*fresh = keys->keys != NULL && now < keys->fresh_until_ms;
	return keys->keys != NULL && now - keys->got_ms < KEYS_LAST_MS ? keys->keys : NULL;
}

static int64_t age_of(int64_t max_age)
{
	if (max_age < 0)
		return KEYS_AGE_USUAL_S;
	return max_age < KEYS_AGE_MIN_S ? KEYS_AGE_MIN_S : max_age > KEYS_AGE_MAX_S ? KEYS_AGE_MAX_S : max_age;
}

static int read_answer(const struct fetch_answer *answer, struct oauth_keys **out, struct err *err)
{
	if (answer->code != 0)
		return err_set(err, answer->code, "%.*s", SPAN_ARG(answer->text));
	if (answer->status != 200)
		return err_set(err, E_UNAVAILABLE, "it answers with status %u", answer->status);
	return oauth_keys_parse(answer->body, out, err);
}

static void on_answer(void *arg, const struct fetch_answer *answer)
{
	struct token_keys *keys = arg;
	struct oauth_keys *fresh = NULL;
	struct err err = {0};
	int r = read_answer(answer, &fresh, &err);

	keys->question = 0;
	if (r == 0) {
		oauth_keys_free(&keys->keys);
		keys->keys = fresh;
		keys->got_ms = clock_monotonic_ms();
		keys->fresh_until_ms = keys->got_ms + age_of(answer->max_age) * 1000;
		log_event(EV_auth_keys, daemon_log(keys->daemon), F_U64("keys", oauth_keys_count(fresh)), F_I64("seconds", age_of(answer->max_age)));
	} else {
		log_event(EV_auth_keys_failed, daemon_log(keys->daemon), F_SPAN("url", conf_text(daemon_conf(keys->daemon), CONF_oauth_jwks, NULL)), F_ERR(&err));
	}
	keys->arrived(keys->arg, r == 0);
}

bool token_keys_ask(struct token_keys *keys)
{
	const struct fetch_request ask = {.url = conf_text(daemon_conf(keys->daemon), CONF_oauth_jwks, NULL),
	    .accept = SPAN_LIT("application/jwk-set+json, application/json"),
	    .body_max = OAUTH_JSON_MAX,
	    .timeout_ms = KEYS_TIMEOUT_MS};
	int64_t now = clock_monotonic_ms(), *slot = &keys->asked_ms[keys->asks % KEYS_ASKS];

	if (keys->question != 0)
		return true;
	if (keys->asks >= KEYS_ASKS && now - *slot < KEYS_ASKS_MS)
		return false;
	keys->question = fetch_ask(keys->client, &ask, on_answer, keys);
	if (keys->question == 0)
		return false;
	*slot = now;
	keys->asks++;
	return true;
}
