#include "auth/token.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"
#include "net/fetch_client.h"
#include "oauth/oauth.h"

#include <event2/event.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CHECKS_MAX = 1024, /* at once */
	INTROSPECTION_TIMEOUT_MS = 5000,
	FORM_MAX = 3 * OAUTH_TOKEN_MAX < 16384 ? 3 * OAUTH_TOKEN_MAX : 16384,
	CREDENTIALS_MAX = 3000, /* of ourselves; base64 makes it 4000 */
	/* What was good stays so for a minute: a client opens several connections at once, and comes back. */
	GOOD_ROWS = 1024,
	GOOD_MS = 60 * 1000,
	GOOD_DIGEST = 16,
};

struct good {
	unsigned char digest[GOOD_DIGEST];
	int64_t until_ms; /* 0: an empty row */
	char user[OAUTH_USER_MAX + 1];
};

struct token_check {
	struct token_check *next, **link;
	struct tokens *tokens;
	struct event *timer; /* answers never come from within the question */
	uint32_t question;   /* of introspection; 0: none */
	bool waits_for_keys;
	struct buf token;
	token_done *done;
	void *arg;
	int code;
	enum oauth_verdict verdict;
	char reason[128]; /* "": the verdict's */
	char user[OAUTH_USER_MAX + 1];
};

struct tokens {
	struct auth *auth;
	struct fetch_client *client;
	struct token_keys *keys;
	struct token_check *first;
	unsigned count;
	struct secret secret; /* the client's */
	unsigned char key[crypto_generichash_KEYBYTES];
	struct good good[GOOD_ROWS];
};

static const struct conf *conf_of(const struct tokens *tokens)
{
	return daemon_conf(tokens->auth->daemon);
}

static struct span setting(const struct tokens *tokens, enum conf_setting which)
{
	return conf_text(conf_of(tokens), which, NULL);
}

static struct oauth_policy policy_of(const struct tokens *tokens)
{
	return (struct oauth_policy){.issuer = setting(tokens, CONF_oauth_issuer),
	    .audience = setting(tokens, CONF_oauth_audience),
	    .scope = setting(tokens, CONF_oauth_scope),
	    .user_claim = setting(tokens, CONF_oauth_user_claim),
	    .skew_s = conf_ms(conf_of(tokens), CONF_oauth_clock_skew, NULL) / 1000};
}

/* ---- what was good a moment ago ---- */

static struct good *good_row(struct tokens *tokens, struct span token, unsigned char digest[GOOD_DIGEST])
{
	uint32_t index;

	crypto_generichash(digest, GOOD_DIGEST, (const unsigned char *)token.ptr, token.len, tokens->key, sizeof(tokens->key));
	memcpy(&index, digest, sizeof(index));
	return &tokens->good[index % GOOD_ROWS];
}

static bool was_good(struct tokens *tokens, struct span token, char user[OAUTH_USER_MAX + 1])
{
	unsigned char digest[GOOD_DIGEST];
	const struct good *row = good_row(tokens, token, digest);

	if (clock_monotonic_ms() >= row->until_ms || sodium_memcmp(row->digest, digest, GOOD_DIGEST) != 0)
		return false;
	memcpy(user, row->user, sizeof(row->user));
	return true;
}

static void remember(struct tokens *tokens, struct span token, const struct oauth_claims *claims)
{
	unsigned char digest[GOOD_DIGEST];
	struct good *row = good_row(tokens, token, digest);
	int64_t ms = claims->expires != 0 ? (claims->expires - clock_wall()) * 1000 : GOOD_MS;

	memcpy(row->digest, digest, GOOD_DIGEST);
	memcpy(row->user, claims->user, sizeof(row->user));
	row->until_ms = clock_monotonic_ms() + (ms < GOOD_MS ? ms : GOOD_MS);
}

/* ---- the outcome ---- */

void token_check_drop(struct token_check *check)
{
	*check->link = check->next;
	if (check->next != NULL)
		check->next->link = check->link;
	check->tokens->count--;
	if (check->question != 0)
		fetch_forget(check->tokens->client, check->question);
	if (check->timer != NULL)
		event_free(check->timer);
	buf_fini_secret(&check->token);
	free(check);
}

static const char *status_of(enum oauth_verdict verdict)
{
	return verdict == OAUTH_SCOPE ? "insufficient_scope" : verdict == OAUTH_MALFORMED ? "invalid_request" : "invalid_token";
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct token_check *check = arg;
	struct token_word word = {.code = check->code, .status = status_of(check->verdict)};
	char reason[sizeof(check->reason)], user[OAUTH_USER_MAX + 1];
	token_done *done = check->done;
	void *owner = check->arg;

	(void)fd;
	(void)what;
	snprintf(reason, sizeof(reason), "%s", check->reason[0] != '\0' ? check->reason : oauth_verdict_text(check->verdict));
	memcpy(user, check->user, sizeof(user));
	word.reason = reason;
	word.user = user;
	token_check_drop(check);
	done(owner, &word);
}

static void end(struct token_check *check)
{
	static const struct timeval now = {0};

	check->waits_for_keys = false;
	evtimer_add(check->timer, &now);
}

static void end_with(struct token_check *check, enum oauth_verdict verdict)
{
	check->verdict = verdict;
	check->code = verdict == OAUTH_GOOD ? 0 : verdict == OAUTH_STARVED ? E_NOMEM : E_AUTHFAILED;
	end(check);
}

static void end_unknown(struct token_check *check, struct span why)
{
	check->code = E_AGAIN;
	snprintf(check->reason, sizeof(check->reason), "identity provider: %.*s", SPAN_ARG(why));
	end(check);
}

/* ---- by the key set ---- */

static void check_by_keys(struct token_check *check, const struct oauth_keys *keys)
{
	const struct oauth_policy policy = policy_of(check->tokens);
	struct oauth_claims claims;

	check->verdict = oauth_jwt_check(buf_span(&check->token), keys, &policy, clock_wall(), &claims);
	memcpy(check->user, claims.user, sizeof(check->user));
}

/* With the keys at hand, unless others should be asked for first. */
static void begin_by_keys(struct token_check *check)
{
	struct token_keys *source = check->tokens->keys;
	bool fresh;
	const struct oauth_keys *keys = token_keys_now(source, &fresh);

	check_by_keys(check, keys);
	if ((fresh && check->verdict != OAUTH_UNKNOWN_KEY) || check->verdict == OAUTH_MALFORMED || check->verdict == OAUTH_ALGORITHM)
		end_with(check, check->verdict);
	else if (token_keys_ask(source))
		check->waits_for_keys = true;
	else if (keys != NULL)
		end_with(check, check->verdict);
	else
		end_unknown(check, SPAN_LIT("there are no keys"));
}

/* fresh: these are the provider's of now. Else an unknown key may still be one of its own. */
static void on_keys(void *arg, bool fresh)
{
	struct tokens *tokens = arg;
	bool ignored;
	const struct oauth_keys *keys = token_keys_now(tokens->keys, &ignored);

	for (struct token_check *check = tokens->first; check != NULL; check = check->next) {
		if (!check->waits_for_keys)
			continue;
		check_by_keys(check, keys);
		if (!fresh && check->verdict == OAUTH_UNKNOWN_KEY)
			end_unknown(check, SPAN_LIT("its keys cannot be had"));
		else
			end_with(check, check->verdict);
	}
}

/* ---- by introspection (RFC 7662 section 2) ---- */

static void add_encoded(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (ascii_is_alnum(text.ptr[i]) || (text.ptr[i] != '\0' && strchr("-._~", text.ptr[i]) != NULL))
			buf_add_char(out, text.ptr[i]);
		else
			buf_printf(out, "%%%02X", (unsigned char)text.ptr[i]);
}

/* Both parts are encoded before they are joined (RFC 6749 section 2.3.1). */
static void add_credentials(const struct tokens *tokens, struct buf *out)
{
	struct buf pair;

	buf_init(&pair, CREDENTIALS_MAX);
	buf_reserve(&pair, CREDENTIALS_MAX); /* a buffer that grows would leave pieces of it behind */
	add_encoded(&pair, setting(tokens, CONF_oauth_client_id));
	buf_add_char(&pair, ':');
	add_encoded(&pair, secret_span(&tokens->secret));
	buf_add_str(out, "Basic ");
	base64_encode(out, buf_span(&pair));
	out->failed |= buf_failed(&pair);
	buf_fini_secret(&pair);
}

static void on_answer(void *arg, const struct fetch_answer *answer)
{
	struct token_check *check = arg;
	const struct oauth_policy policy = policy_of(check->tokens);
	struct oauth_claims claims;
	char text[64];

	check->question = 0;
	if (answer->code != 0) {
		end_unknown(check, answer->text);
		return;
	}
	if (answer->status != 200) {
		snprintf(text, sizeof(text), "introspection is answered with status %u", answer->status);
		end_unknown(check, span_str(text));
		return;
	}
	check->verdict = oauth_introspection_check(answer->body, &policy, clock_wall(), &claims);
	if (check->verdict == OAUTH_MALFORMED) {
		end_unknown(check, SPAN_LIT("its answer is not one of introspection"));
		return;
	}
	if (check->verdict == OAUTH_GOOD)
		remember(check->tokens, buf_span(&check->token), &claims);
	memcpy(check->user, claims.user, sizeof(check->user));
	end_with(check, check->verdict);
}

static void begin_by_introspection(struct token_check *check)
{
	struct fetch_request ask = {.url = setting(check->tokens, CONF_oauth_introspection),
	    .accept = SPAN_LIT("application/json"),
	    .content_type = SPAN_LIT("application/x-www-form-urlencoded"),
	    .body_max = OAUTH_JSON_MAX,
	    .timeout_ms = INTROSPECTION_TIMEOUT_MS};
	struct buf form, credentials;

	if (was_good(check->tokens, buf_span(&check->token), check->user)) {
		end_with(check, OAUTH_GOOD);
		return;
	}
	buf_init(&form, FORM_MAX);
	buf_init(&credentials, 4096);
	buf_reserve(&form, 2 * buf_len(&check->token) + 64);
	buf_add_str(&form, "token=");
	add_encoded(&form, buf_span(&check->token));
	buf_add_str(&form, "&token_type_hint=access_token");
	add_credentials(check->tokens, &credentials);
	ask.body = buf_span(&form);
	ask.authorization = buf_span(&credentials);
	if (!buf_failed(&form) && !buf_failed(&credentials))
		check->question = fetch_ask(check->tokens->client, &ask, on_answer, check);
	buf_fini_secret(&form);
	buf_fini_secret(&credentials);
	if (check->question == 0)
		end_unknown(check, SPAN_LIT("it cannot be asked now"));
}

/* ---- one check ---- */

static void begin(struct token_check *check)
{
	if (setting(check->tokens, CONF_oauth_jwks).len > 0)
		begin_by_keys(check);
	else if (setting(check->tokens, CONF_oauth_introspection).len > 0)
		begin_by_introspection(check);
	else
		end_with(check, OAUTH_INACTIVE); /* the daemon that offered tokens has still to hear that they are not taken */
}

struct token_check *token_check_new(struct tokens *tokens, struct span token, token_done *done, void *arg)
{
	struct token_check *check = tokens->count < CHECKS_MAX ? calloc(1, sizeof(*check)) : NULL;

	if (check == NULL)
		return NULL;
	check->tokens = tokens;
	check->done = done;
	check->arg = arg;
	check->next = tokens->first;
	check->link = &tokens->first;
	if (check->next != NULL)
		check->next->link = &check->next;
	tokens->first = check;
	tokens->count++;
	check->timer = evtimer_new(daemon_base(tokens->auth->daemon), on_timer, check);
	buf_init(&check->token, OAUTH_TOKEN_MAX);
	buf_add_span(&check->token, token);
	if (check->timer == NULL || buf_failed(&check->token)) {
		token_check_drop(check);
		return NULL;
	}
	begin(check);
	return check;
}

struct sasl_refusal token_refusal(const struct conf *conf, const char *status, char configuration[TOKEN_CONFIGURATION_MAX])
{
	struct span issuer = conf_text(conf, CONF_oauth_issuer, NULL);
	bool slash = issuer.len > 0 && issuer.ptr[issuer.len - 1] == '/';

	configuration[0] = '\0';
	if (issuer.len > 0)
		snprintf(configuration, TOKEN_CONFIGURATION_MAX, "%.*s/.well-known/openid-configuration", (int)(issuer.len - slash), issuer.ptr);
	return (struct sasl_refusal){.status = status, .scope = conf_text(conf, CONF_oauth_scope, NULL), .configuration = span_str(configuration)};
}

/* ---- all of them ---- */

/* From the file that master hands over; a line's end belongs to no secret. */
static int read_secret(struct tokens *tokens, struct err *err)
{
	char text[SECRET_MAX + 2];
	struct secret fresh = {0};
	int fd = daemon_file(tokens->auth->daemon, "oauth-client-secret");
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : 0;
	bool fits;

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	fits = n >= 0 && secret_set(&fresh, span_of(text, (size_t)n)) && (n > 0 || setting(tokens, CONF_oauth_introspection).len == 0);
	explicit_bzero(text, sizeof(text));
	if (fits)
		tokens->secret = fresh; /* else the old one stays, as the old configuration does */
	secret_wipe(&fresh);
	if (!fits)
		return err_set(err, E_SYNTAX, "oauth-client-secret: the file must have one line of 1 to %d octets", SECRET_MAX);
	return 0;
}

int tokens_new(struct auth *auth, struct tokens **out, struct err *err)
{
	struct tokens *tokens = calloc(1, sizeof(*tokens));

	*out = tokens;
	if (tokens != NULL) {
		tokens->auth = auth;
		tokens->client = fetch_client_new(auth->daemon);
	}
	if (tokens != NULL && tokens->client != NULL)
		tokens->keys = token_keys_new(auth->daemon, tokens->client, on_keys, tokens);
	if (tokens == NULL || tokens->keys == NULL)
		return err_set(err, E_NOMEM, "no memory for bearer tokens");
	json_object_seed(randombytes_random() | 1); /* or jansson would look for a file that it cannot open */
	randombytes_buf(tokens->key, sizeof(tokens->key));
	return read_secret(tokens, err);
}

int tokens_reload(struct tokens *tokens, struct err *err)
{
	int r = read_secret(tokens, err);

	if (r != 0)
		return r;
	explicit_bzero(tokens->good, sizeof(tokens->good));
	token_keys_forget(tokens->keys);
	for (struct token_check *check = tokens->first; check != NULL; check = check->next) {
		if (check->question != 0)
			fetch_forget(tokens->client, check->question);
		check->question = 0;
		end_unknown(check, SPAN_LIT("its settings have changed"));
	}
	return 0;
}

void tokens_service(struct tokens *tokens, int fd)
{
	fetch_client_connect(tokens->client, fd);
}
