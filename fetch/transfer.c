/*
 * One request: checked, made to wait for its turn, its host resolved by the resolve process, then curl's. What curl is told
 * is all here: https and nothing else, no redirect, no proxy, no file, no name that it looks up by itself.
 */
#include "fetch/fetch.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum transfer_state { TRANSFER_WAITS, TRANSFER_RESOLVES, TRANSFER_RUNS };

enum { QUESTIONS = 2, RESOLVE_MAX = 2048, FIELD_MAX = 4352, HTTPS_PORT = 443 };

static const enum dns_type question_types[QUESTIONS] = {DNS_A, DNS_AAAA};

struct transfer {
	struct transfer *next, **link;
	struct fetch *fetch;
	enum transfer_state state;
	const void *owner;
	uint32_t id;
	fetch_done *done;
	void *arg;
	struct event *deadline;
	CURL *easy;
	CURLU *url;
	struct curl_slist *fields, *resolve;
	bool is_literal; /* the host is an address */
	char host[DNS_NAME_TEXT + 1], port[8];
	uint32_t questions[QUESTIONS]; /* 0: answered */
	enum dns_result worst;
	char why[128];
	struct buf addresses; /* as CURLOPT_RESOLVE wants them */
	bool refused;	      /* an address that it must not be asked at; why has it */
	struct buf body;      /* of the request */
	struct buf got;
	size_t head_len;
	bool too_big;
	int64_t max_age;
	char problem[CURL_ERROR_SIZE];
};

/* ---- the end ---- */

static void wipe_fields(struct curl_slist *fields)
{
	for (struct curl_slist *f = fields; f != NULL; f = f->next)
		explicit_bzero(f->data, strlen(f->data));
	curl_slist_free_all(fields);
}

static void transfer_free(struct transfer *t)
{
	for (size_t i = 0; i < QUESTIONS; i++)
		if (t->questions[i] != 0)
			dns_cancel(t->fetch->dns, t->questions[i]);
	if (t->state == TRANSFER_RUNS)
		curl_multi_remove_handle(t->fetch->multi, t->easy);
	if (t->state == TRANSFER_WAITS)
		t->fetch->waiting--;
	else
		t->fetch->running--;
	*t->link = t->next;
	if (t->next != NULL)
		t->next->link = t->link;
	else
		t->fetch->tail = t->link;
	curl_easy_cleanup(t->easy);
	curl_url_cleanup(t->url);
	wipe_fields(t->fields);
	curl_slist_free_all(t->resolve);
	if (t->deadline != NULL)
		event_free(t->deadline);
	buf_fini(&t->addresses);
	buf_fini_secret(&t->body);
	buf_fini_secret(&t->got);
	free(t);
}

static void run_waiting(struct fetch *fetch);

static void answer(struct transfer *t, const struct fetch_answer *body)
{
	struct fetch *fetch = t->fetch;

	if (body->code == 0)
		log_event(EV_fetch_done, daemon_log(fetch->daemon), F_STR("host", t->host), F_U64("status", body->status), F_U64("size", body->body.len));
	else
		log_event(EV_fetch_failed, daemon_log(fetch->daemon), F_STR("host", t->host), F_STR("reason", err_text(body->code)), F_SPAN("error", body->text));
	t->done(t->arg, t->id, body);
	transfer_free(t);
	run_waiting(fetch);
}

/* Words of ours and curl's, in which a piece of what the host sent may stand. */
static void fail(struct transfer *t, int code, const char *text)
{
	char shown[257];
	struct fetch_answer body = {.code = code, .max_age = -1};

	span_copy(span_str(text), shown, sizeof(shown));
	for (char *p = shown; *p != '\0'; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
	body.text = span_str(shown);
	answer(t, &body);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	static const char *const doing[] = {"too many requests are under way", "its name was not resolved in time", "it did not answer in time"};
	struct transfer *t = arg;

	(void)fd;
	(void)what;
	fail(t, E_TIMEOUT, doing[t->state]);
}

/* ---- what curl tells us ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;

	buf_add(&t->got, data, size * count);
	t->too_big = buf_failed(&t->got);
	return t->too_big ? 0 : size * count;
}

static size_t on_head(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct span line = span_of(data, size * count);

	t->head_len += line.len;
	if (t->head_len > FETCH_HEADERS_MAX) {
		t->too_big = true;
		return 0;
	}
	if (span_startswith(line, SPAN_LIT("HTTP/")))
		t->max_age = -1; /* what came before was not the answer */
	header_max_age(line, &t->max_age);
	return line.len;
}

/* The last word on where we connect to, whatever the name was said to be. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = arg;
	char text[INET6_ADDRSTRLEN] = "?";

	(void)purpose;
	if (address_is_allowed(daemon_conf(t->fetch->daemon), &address->addr))
		return socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (address->family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&address->addr)->sin_addr, text, sizeof(text));
	else if (address->family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&address->addr)->sin6_addr, text, sizeof(text));
	t->refused = true;
	snprintf(t->why, sizeof(t->why), "%s is no public address, and not in fetch-private-networks", text);
	return CURL_SOCKET_BAD;
}

static CURLcode on_ssl(CURL *easy, void *ctx, void *arg)
{
	struct transfer *t = arg;

	(void)easy;
	SSL_CTX_set1_cert_store(ctx, t->fetch->authorities);
	return CURLE_OK;
}

static int code_of(const struct transfer *t, CURLcode result)
{
	switch (result) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return E_TIMEOUT;
	case CURLE_FILESIZE_EXCEEDED:
		return E_TOOBIG;
	case CURLE_WRITE_ERROR:
		return t->too_big ? E_TOOBIG : E_UNAVAILABLE;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		return E_DENIED;
	case CURLE_URL_MALFORMAT:
		return E_SYNTAX;
	case CURLE_OUT_OF_MEMORY:
		return E_NOMEM;
	default:
		return t->refused ? E_DENIED : E_UNAVAILABLE;
	}
}

static const char *words_of(const struct transfer *t, int code, CURLcode result)
{
	bool is_certificate = result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_ISSUER_ERROR;

	if (code == E_TOOBIG)
		return "its answer is too long";
	if (code == E_DENIED && !is_certificate)
		return t->why;
	return t->problem[0] != '\0' ? t->problem : curl_easy_strerror(result);
}

void transfer_finished(struct transfer *t, CURLcode result)
{
	struct fetch_answer body = {.code = code_of(t, result), .max_age = t->max_age};
	char *type = NULL;
	long status = 0;

	if (body.code != 0) {
		fail(t, body.code, words_of(t, body.code, result));
		return;
	}
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
	body.status = (uint32_t)status;
	body.content_type = span_sub(span_str(type), 0, 128);
	body.body = buf_span(&t->got);
	answer(t, &body);
}

/* ---- what we tell curl ---- */

/* Connections that were made under other authorities or networks are not used again. */
static void set_reuse(struct transfer *t)
{
	int64_t age_s = (clock_monotonic_ms() - t->fetch->since_ms) / 1000;

	if (age_s < 2)
		curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
	else
		curl_easy_setopt(t->easy, CURLOPT_MAXLIFETIME_CONN, age_s < 3600 ? (long)age_s - 1 : 3600L);
	curl_easy_setopt(t->easy, CURLOPT_MAXAGE_CONN, (long)FETCH_CONNECTION_IDLE_S);
}

static void set_tls(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(t->easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(t->easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl);
	curl_easy_setopt(t->easy, CURLOPT_SSL_CTX_DATA, t);
	/* Or curl keeps the first store that it sees, and puts it in the place of the one that a reload has brought. */
	curl_easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	/* Who resumes a session looks at no certificate. */
	curl_easy_setopt(t->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

static void set_limits(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(t->easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	curl_easy_setopt(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(t->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(t->easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(t->easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_MAXFILESIZE, (long)t->got.max);
}

static void set_callbacks(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_head);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->problem);
}

static void set_request(struct transfer *t)
{
	curl_easy_setopt(t->easy, CURLOPT_CURLU, t->url);
	curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "Mailwain");
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->fields);
	if (t->resolve != NULL)
		curl_easy_setopt(t->easy, CURLOPT_RESOLVE, t->resolve);
	if (buf_len(&t->body) == 0)
		return;
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, buf_span(&t->body).ptr);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE, (long)buf_len(&t->body));
}

static void run(struct transfer *t)
{
	struct buf line;

	if (!t->is_literal) {
		buf_init(&line, RESOLVE_MAX + DNS_NAME_TEXT + 16);
		buf_printf(&line, "+%s:%s:%s", t->host, t->port, buf_cstr(&t->addresses));
		t->resolve = buf_failed(&line) ? NULL : curl_slist_append(NULL, buf_cstr(&line));
		buf_fini(&line);
	}
	t->easy = t->is_literal || t->resolve != NULL ? curl_easy_init() : NULL;
	if (t->easy == NULL) {
		fail(t, E_NOMEM, "no memory for curl");
		return;
	}
	set_limits(t);
	set_tls(t);
	set_callbacks(t);
	set_request(t);
	set_reuse(t);
	if (curl_multi_add_handle(t->fetch->multi, t->easy) != CURLM_OK) {
		fail(t, E_NOMEM, "no memory for curl");
		return;
	}
	t->state = TRANSFER_RUNS;
}

/* ---- the host's addresses ---- */

static void add_addresses(struct transfer *t, const struct dns_answer *found)
{
	struct span records = found->records, rdata;
	struct sockaddr_storage address;
	char text[INET6_ADDRSTRLEN];

	for (unsigned i = 0; i < FETCH_ADDRESSES_MAX && dns_record_next(&records, &rdata);) {
		if (dns_address_parse(found->type, rdata, &address) != 0)
			continue;
		if (found->type == DNS_A)
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&address)->sin_addr, text, sizeof(text));
		else
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&address)->sin6_addr, text, sizeof(text));
		buf_printf(&t->addresses, found->type == DNS_A ? "%s%s" : "%s[%s]", buf_len(&t->addresses) > 0 ? "," : "", text);
		i++;
	}
}

/* No address at all: does that stay so? */
static void not_resolved(struct transfer *t)
{
	char text[DNS_NAME_TEXT + sizeof(t->why) + 64];

	if (t->worst == DNS_TEMPORARY || t->worst == DNS_IS_BOGUS) {
		snprintf(text, sizeof(text), "%s cannot be resolved now: %s", t->host, t->why);
		fail(t, E_UNAVAILABLE, text);
		return;
	}
	snprintf(text, sizeof(text), t->worst == DNS_NO_NAME ? "%s does not exist" : "%s has no address", t->host);
	fail(t, E_NOTFOUND, text);
}

static void on_resolved(void *arg, const struct dns_answer *found)
{
	struct transfer *t = arg;

	t->questions[found->type == DNS_A ? 0 : 1] = 0;
	if (found->result == DNS_FOUND)
		add_addresses(t, found);
	if (found->result > t->worst) {
		t->worst = found->result;
		span_copy(found->why, t->why, sizeof(t->why));
	}
	if (t->questions[0] != 0 || t->questions[1] != 0)
		return;
	if (buf_len(&t->addresses) > 0)
		run(t);
	else
		not_resolved(t);
}

static void resolve(struct transfer *t)
{
	for (size_t i = 0; i < QUESTIONS; i++) {
		t->questions[i] = dns_ask(t->fetch->dns, span_str(t->host), question_types[i], 0, on_resolved, t);
		if (t->questions[i] == 0) {
			fail(t, E_BUSY, "too many names are being resolved");
			return;
		}
	}
}

/* ---- turns ---- */

static bool may_run(const struct transfer *t)
{
	unsigned with_host = 0, for_owner = 0;

	for (const struct transfer *other = t->fetch->first; other != NULL; other = other->next) {
		bool runs = other->state != TRANSFER_WAITS;

		with_host += runs && strcmp(other->host, t->host) == 0;
		for_owner += runs && other->owner == t->owner;
	}
	return t->state == TRANSFER_WAITS && with_host < FETCH_HOST_MAX && for_owner < FETCH_OWNER_MAX;
}

static bool may_wait(const struct fetch *fetch, const void *owner)
{
	unsigned for_owner = 0;

	for (const struct transfer *other = fetch->first; other != NULL; other = other->next)
		for_owner += other->state == TRANSFER_WAITS && other->owner == owner;
	return fetch->waiting < FETCH_WAITING_MAX && for_owner < FETCH_OWNER_WAITING_MAX;
}

static void start(struct transfer *t)
{
	t->fetch->waiting--;
	t->fetch->running++;
	t->state = TRANSFER_RESOLVES;
	if (t->is_literal)
		run(t);
	else
		resolve(t);
}

/* Who has waited longest, but not for a host or a peer that has enough. NULL: nobody may run now. */
static struct transfer *next_waiting(const struct fetch *fetch)
{
	if (fetch->waiting == 0 || fetch->running >= FETCH_RUNNING_MAX)
		return NULL;
	for (struct transfer *t = fetch->first; t != NULL; t = t->next)
		if (may_run(t))
			return t;
	return NULL;
}

static void run_waiting(struct fetch *fetch)
{
	struct transfer *t;

	while ((t = next_waiting(fetch)) != NULL)
		start(t);
}

/* ---- the question ---- */

static bool is_field_value(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if ((unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool add_field(struct transfer *t, const char *name, struct span value)
{
	struct curl_slist *more;
	struct buf line;

	if (value.len == 0)
		return true;
	buf_init(&line, FIELD_MAX);
	buf_printf(&line, "%s: %.*s", name, SPAN_ARG(value));
	more = buf_failed(&line) ? NULL : curl_slist_append(t->fields, buf_cstr(&line));
	buf_fini_secret(&line);
	if (more != NULL)
		t->fields = more;
	return more != NULL;
}

/* The host in the form in which it is asked for; an address in brackets or with dots is none of DNS's. */
static bool take_host(struct transfer *t, const char *host)
{
	struct in_addr in4;
	size_t len = strlen(host);

	t->is_literal = host[0] == '[' || inet_pton(AF_INET, host, &in4) == 1;
	if (t->is_literal && len < sizeof(t->host)) {
		memcpy(t->host, host, len + 1);
		return true;
	}
	return !t->is_literal && dns_name_normalize(span_str(host), t->host) == 0 && curl_url_set(t->url, CURLUPART_HOST, t->host, 0) == CURLUE_OK;
}

static bool take_url(struct transfer *t, struct span url)
{
	char text[2049], *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	bool good;

	span_copy(url, text, sizeof(text));
	t->url = curl_url();
	/* "https:///x" would be the host x. */
	if (t->url == NULL || !span_startscase(url, SPAN_LIT("https://")) || span_startswith(url, SPAN_LIT("https:///")) || curl_url_set(t->url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return false;
	curl_url_get(t->url, CURLUPART_SCHEME, &scheme, 0);
	curl_url_get(t->url, CURLUPART_USER, &user, 0);
	curl_url_get(t->url, CURLUPART_HOST, &host, 0);
	curl_url_get(t->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	good = scheme != NULL && strcmp(scheme, "https") == 0 && user == NULL && host != NULL && port != NULL && take_host(t, host);
	if (good)
		snprintf(t->port, sizeof(t->port), "%s", port);
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	return good;
}

static int take_request(struct transfer *t, const struct fetch_request *ask)
{
	if (!take_url(t, ask->url) || !is_field_value(ask->accept) || !is_field_value(ask->content_type) || !is_field_value(ask->authorization))
		return E_SYNTAX;
	buf_add_span(&t->body, ask->body);
	if (buf_failed(&t->body) || !add_field(t, "Accept", ask->accept) || !add_field(t, "Content-Type", ask->content_type) ||
	    !add_field(t, "Authorization", ask->authorization) || curl_slist_append(t->fields, "Expect:") == NULL)
		return E_NOMEM;
	return 0;
}

static void arm(struct transfer *t, uint32_t ms)
{
	struct timeval tv;

	if (ms == 0 || ms > FETCH_TIMEOUT_MAX_MS)
		ms = FETCH_TIMEOUT_MAX_MS;
	tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
	evtimer_add(t->deadline, &tv);
}

static struct transfer *transfer_new(struct fetch *fetch, size_t body_max)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->fetch = fetch;
	t->max_age = -1;
	t->deadline = evtimer_new(daemon_base(fetch->daemon), on_deadline, t);
	buf_init(&t->addresses, RESOLVE_MAX);
	buf_init(&t->body, FETCH_POST_MAX);
	buf_init(&t->got, body_max > 0 && body_max < FETCH_BODY_MAX ? body_max : FETCH_BODY_MAX);
	t->link = fetch->tail;
	*fetch->tail = t;
	fetch->tail = &t->next;
	fetch->waiting++;
	return t;
}

void fetch_begin(struct fetch *fetch, const struct fetch_request *ask, const void *owner, uint32_t id, fetch_done *done, void *arg)
{
	struct fetch_answer refused = {.code = E_BUSY, .max_age = -1, .text = SPAN_LIT("too many requests wait")};
	struct transfer *t = may_wait(fetch, owner) ? transfer_new(fetch, ask->body_max) : NULL;
	int r;

	if (t == NULL) {
		done(arg, id, &refused);
		return;
	}
	t->owner = owner;
	t->id = id;
	t->done = done;
	t->arg = arg;
	fetch->total++;
	r = t->deadline ? take_request(t, ask) : E_NOMEM;
	if (r != 0) {
		fail(t, r, r == E_SYNTAX ? "the address is no https:// URL of a host" : "no memory for the request");
		return;
	}
	arm(t, ask->timeout_ms);
	run_waiting(fetch);
}

void fetch_cancel_one(struct fetch *fetch, const void *owner, uint32_t id)
{
	for (struct transfer *t = fetch->first; t != NULL; t = t->next)
		if (t->owner == owner && t->id == id) {
			transfer_free(t);
			run_waiting(fetch);
			return;
		}
}

void fetch_cancel_all(struct fetch *fetch, const void *owner)
{
	struct transfer *next;

	for (struct transfer *t = fetch->first; t != NULL; t = next) {
		next = t->next;
		if (t->owner == owner)
			transfer_free(t);
	}
	run_waiting(fetch);
}
