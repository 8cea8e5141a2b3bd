#include "relay/sts_lookup.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/fetch_client.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUCKETS = 1024, URL_MAX = DNS_NAME_TEXT + 64 };

struct sts_question {
	struct sts_question *next, **link;
	sts_done *done;
	void *arg;
};

/* A domain that is asked about, once for all who want to know. */
struct lookup {
	struct lookup *next, **link; /* in its bucket */
	struct sts_lookups *all;
	char domain[DNS_NAME_TEXT], id[STS_ID_MAX + 1];
	uint32_t dns_question, fetch_question; /* 0: not under way */
	struct event *timer;
	bool late; /* nobody waits for it any more: whoever asks is told what is known */
	struct sts_question *waiting;
};

/* A file that could not be had, or with an empty id a record. */
struct failure {
	char domain[DNS_NAME_TEXT], id[STS_ID_MAX + 1];
	int64_t until; /* monotonic, ms */
	enum outcome_kind kind;
	char text[160];
};

struct sts_lookups {
	struct sts_services with;
	struct sts_cache cache;
	uint16_t port;
	int64_t next_sweep; /* monotonic, ms */
	char swept[DNS_NAME_TEXT + 1]; /* the last one that was looked at; then those behind it */
	struct lookup *buckets[BUCKETS];
	size_t count;
	struct failure failures[STS_FAILURES];
};

static uint32_t hash_of(const char *domain)
{
	uint32_t h = 2166136261U;

	for (; *domain != '\0'; domain++)
		h = (h ^ (unsigned char)*domain) * 16777619U;
	return h;
}

/* ---- failures ---- */

static struct failure *failure_of(struct sts_lookups *all, const char *domain)
{
	struct failure *f = &all->failures[hash_of(domain) % STS_FAILURES];

	return strcmp(f->domain, domain) == 0 && f->until > clock_monotonic_ms() ? f : NULL;
}

static void remember_failure(const struct lookup *l, const char *id, enum outcome_kind kind, const char *text)
{
	struct failure *f = &l->all->failures[hash_of(l->domain) % STS_FAILURES];

	*f = (struct failure){.until = clock_monotonic_ms() + STS_RETRY_S * 1000, .kind = kind};
	snprintf(f->domain, sizeof(f->domain), "%s", l->domain);
	snprintf(f->id, sizeof(f->id), "%s", id);
	snprintf(f->text, sizeof(f->text), "%s", text);
}

static void forget_failure(struct sts_lookups *all, const char *domain)
{
	struct failure *f = failure_of(all, domain);

	if (f != NULL)
		f->until = 0;
}

/* ---- answers ---- */

static struct sts_question *take_question(struct lookup *l)
{
	struct sts_question *q = l->waiting;

	l->waiting = q->next;
	if (q->next != NULL)
		q->next->link = &l->waiting;
	return q;
}

static void tell_all(struct lookup *l, const struct sts_answer *answer)
{
	while (l->waiting != NULL) {
		struct sts_question *q = take_question(l);
		sts_done *done = q->done;
		void *arg = q->arg;

		free(q);
		done(arg, answer);
	}
}

static void tell(struct lookup *l, const struct sts_policy *policy, enum outcome_kind failure, const char *text)
{
	tell_all(l, &(struct sts_answer){.policy = policy, .failure = failure, .text = text});
}

/* That mail asks for it keeps it fresh. Written down once a day: it is no more exact than that. */
static void mark_used(struct lookup *l, struct sts_cached *cached, int64_t now)
{
	struct err err;

	if (l->waiting == NULL || (cached->used <= now && now - cached->used < STS_REFRESH_S))
		return;
	cached->used = now;
	(void)sts_cache_put(&l->all->cache, cached, &err);
}

static void tell_what_is_kept(struct lookup *l, enum outcome_kind failure, const char *text)
{
	int64_t now = clock_wall();
	struct sts_cached cached;
	int r = sts_cache_get(&l->all->cache, l->domain, now, &cached);

	if (r == 0)
		mark_used(l, &cached, now);
	if (r == E_NOMEM)
		tell_all(l, &(struct sts_answer){.code = r, .text = err_text(r)});
	else
		tell(l, r == 0 ? &cached.policy : NULL, failure, text);
}

static void end_lookup(struct lookup *l)
{
	struct sts_lookups *all = l->all;

	*l->link = l->next;
	if (l->next != NULL)
		l->next->link = l->link;
	all->count--;
	if (l->dns_question != 0)
		dns_cancel(all->with.dns, l->dns_question);
	if (l->fetch_question != 0)
		fetch_forget(all->with.fetch, l->fetch_question);
	if (l->timer != NULL)
		event_free(l->timer);
	free(l);
}

/* It may be asked about again while it is told. */
static void finish_with_what_is_kept(struct lookup *l, enum outcome_kind failure, const char *text)
{
	tell_what_is_kept(l, failure, text);
	end_lookup(l);
}

/* Mail waits no longer. What is under way goes on, for the mail that comes later. */
static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *l = arg;

	(void)fd;
	(void)what;
	if (l->dns_question == 0 && l->fetch_question == 0) {
		finish_with_what_is_kept(l, OUTCOME_GOOD, "its TXT record could not be asked for");
		return;
	}
	if (!l->late && l->dns_question != 0)
		remember_failure(l, "", OUTCOME_GOOD, "its TXT record was not told in time");
	l->late = true;
	tell_what_is_kept(l, l->fetch_question != 0 ? OUTCOME_STS_FETCH_ERROR : OUTCOME_GOOD, "it was not told in time");
}

/* ---- the file: RFC 8461 section 3.3 ---- */

static void failed(struct lookup *l, enum outcome_kind kind, const char *text)
{
	struct sts_cached kept;
	bool is_kept = sts_cache_get(&l->all->cache, l->domain, clock_wall(), &kept) == 0;

	log_event(EV_relay_sts_failed, NULL, F_STR("domain", l->domain), F_STR("id", l->id), F_STR("mode", is_kept ? sts_mode_name(kept.policy.mode) : ""), F_STR("error", text));
	remember_failure(l, l->id, kind, text);
	finish_with_what_is_kept(l, kind, text);
}

static int read_file(const struct fetch_answer *answer, struct sts_policy *out, enum outcome_kind *kind, struct err *err)
{
	*kind = answer->code == E_DENIED ? OUTCOME_STS_WEBPKI : OUTCOME_STS_FETCH_ERROR;
	if (answer->code != 0)
		return err_set(err, answer->code, "%.*s", SPAN_ARG(span_sub(answer->text, 0, 150)));
	if (answer->status != 200)
		return err_set(err, E_REMOTE, "its host answers %u, and not 200", answer->status);
	if (!sts_type_is_text(answer->content_type))
		return err_set(err, E_REMOTE, "its host sends '%.*s' and not text/plain", SPAN_ARG(span_sub(answer->content_type, 0, 80)));
	*kind = OUTCOME_STS_INVALID;
	return sts_policy_parse(answer->body, out, err);
}

static void keep(struct lookup *l, const struct sts_policy *policy)
{
	struct sts_lookups *all = l->all;
	int64_t now = clock_wall();
	struct sts_cached old, fresh = {.policy = *policy, .fetched = now, .used = now};
	bool is_new = sts_cache_get(&all->cache, l->domain, now, &old) != 0;
	struct err err = {0};

	if (!is_new && l->waiting == NULL) /* it was only looked at again */
		fresh.used = old.used;
	if (sts_cache_put(&all->cache, &fresh, &err) != 0)
		log_event(EV_relay_state_failed, NULL, F_STR("domain", l->domain), F_ERR(&err));
	log_event(EV_relay_sts_fetched, NULL, F_STR("domain", l->domain), F_STR("id", l->id), F_STR("mode", sts_mode_name(policy->mode)), F_U64("max_age", policy->max_age),
	    F_STR("mx", policy->mx_count > 0 ? sts_policy_mx(policy, 0) : ""));
	if (is_new || strcmp(old.policy.id, policy->id) != 0)
		all->with.changed(all->with.arg, l->domain);
}

static void on_fetched(void *arg, const struct fetch_answer *answer)
{
	struct lookup *l = arg;
	struct sts_policy policy;
	enum outcome_kind kind;
	struct err err = {0};

	l->fetch_question = 0;
	if (answer->code == E_BUSY || answer->code == E_NOMEM) { /* our own trouble: nothing of the domain is known by it */
		finish_with_what_is_kept(l, OUTCOME_STS_FETCH_ERROR, "too many policies are being fetched");
		return;
	}
	if (read_file(answer, &policy, &kind, &err) != 0) {
		failed(l, kind, err.text);
		return;
	}
	snprintf(policy.domain, sizeof(policy.domain), "%s", l->domain);
	snprintf(policy.id, sizeof(policy.id), "%s", l->id);
	forget_failure(l->all, l->domain);
	keep(l, &policy);
	tell(l, &policy, OUTCOME_GOOD, "");
	end_lookup(l);
}

/* fetch follows no redirect, and asks no host that is not on the internet. */
static void fetch(struct lookup *l)
{
	char url[URL_MAX], port[8] = "";
	struct fetch_request ask = {.accept = SPAN_LIT("text/plain"), .body_max = STS_BODY_MAX, .timeout_ms = STS_FETCH_MS};

	if (l->all->port != 443)
		snprintf(port, sizeof(port), ":%u", l->all->port);
	snprintf(url, sizeof(url), "https://mta-sts.%s%s/.well-known/mta-sts.txt", l->domain, port);
	ask.url = span_str(url);
	l->fetch_question = fetch_ask(l->all->with.fetch, &ask, on_fetched, l);
	if (l->fetch_question == 0)
		finish_with_what_is_kept(l, OUTCOME_STS_FETCH_ERROR, "too many policies are being fetched");
}

/* ---- the record: section 3.1 ---- */

static bool is_due(const struct sts_cached *cached, int64_t now)
{
	int64_t after = cached->policy.max_age / 2 < STS_REFRESH_S ? cached->policy.max_age / 2 : STS_REFRESH_S;

	/* By a clock that was ahead it would be good for longer than its domain has said. */
	return cached->fetched > now || now - cached->fetched >= after;
}

/* There is a policy, and this is its id. */
static void with_id(struct lookup *l)
{
	const struct failure *f = failure_of(l->all, l->domain);
	int64_t now = clock_wall();
	struct sts_cached cached;
	bool same = sts_cache_get(&l->all->cache, l->domain, now, &cached) == 0 && strcmp(cached.policy.id, l->id) == 0;

	if (f != NULL && strcmp(f->id, l->id) == 0) {
		finish_with_what_is_kept(l, f->kind, f->text);
		return;
	}
	if (same && !is_due(&cached, now)) {
		finish_with_what_is_kept(l, OUTCOME_GOOD, "");
		return;
	}
	if (same) { /* good for now; and so that it stays that */
		l->late = true;
		tell_what_is_kept(l, OUTCOME_GOOD, "");
	}
	fetch(l);
}

static void on_record(void *arg, const struct dns_answer *answer)
{
	struct lookup *l = arg;
	char text[160];
	struct err err = {0};
	int r;

	l->dns_question = 0;
	if (answer->result == DNS_TEMPORARY || answer->result == DNS_IS_BOGUS) {
		snprintf(text, sizeof(text), "its TXT record cannot be told now: %.*s", SPAN_ARG(span_sub(answer->why, 0, 100)));
		finish_with_what_is_kept(l, OUTCOME_GOOD, text);
		return;
	}
	if (failure_of(l->all, l->domain) != NULL && failure_of(l->all, l->domain)->id[0] == '\0')
		forget_failure(l->all, l->domain);
	r = answer->result == DNS_FOUND ? sts_records_read(answer->records, l->id, &err) : E_NOTFOUND;
	if (r == 0)
		with_id(l);
	else
		finish_with_what_is_kept(l, r == E_NOTFOUND ? OUTCOME_GOOD : OUTCOME_STS_INVALID, r == E_NOTFOUND ? "" : err.text);
}

/* ---- questions ---- */

static struct lookup *find_lookup(const struct sts_lookups *all, const char *domain)
{
	struct lookup *l = all->buckets[hash_of(domain) % BUCKETS];

	while (l != NULL && strcmp(l->domain, domain) != 0)
		l = l->next;
	return l;
}

/* NULL: no memory. Without room to ask, what is kept is told, in a turn of its own. */
static struct lookup *begin_lookup(struct sts_lookups *all, const char *domain)
{
	struct timeval tv = {.tv_sec = all->with.wait_ms / 1000, .tv_usec = all->with.wait_ms % 1000 * 1000};
	struct lookup **bucket = &all->buckets[hash_of(domain) % BUCKETS];
	const struct failure *f = failure_of(all, domain);
	struct lookup *l = calloc(1, sizeof(*l));
	char name[DNS_NAME_TEXT + 16];

	if (l == NULL)
		return NULL;
	l->all = all;
	snprintf(l->domain, sizeof(l->domain), "%s", domain);
	l->next = *bucket;
	l->link = bucket;
	if (l->next != NULL)
		l->next->link = &l->next;
	*bucket = l;
	l->timer = evtimer_new(all->with.base, on_late, l);
	all->count++;
	if (l->timer == NULL || evtimer_add(l->timer, &tv) != 0) {
		end_lookup(l);
		return NULL;
	}
	snprintf(name, sizeof(name), "_mta-sts.%s", domain);
	l->late = f != NULL && f->id[0] == '\0';
	if (all->count <= STS_LOOKUPS_MAX && strlen(name) <= DNS_NAME_MAX)
		l->dns_question = dns_ask(all->with.dns, span_str(name), DNS_TXT, STS_DNS_MS, on_record, l);
	if (l->dns_question == 0) {
		l->late = true;
		event_active(l->timer, EV_TIMEOUT, 0);
	}
	return l;
}

struct sts_question *sts_ask(struct sts_lookups *all, const char *domain, sts_done *done, void *arg)
{
	struct lookup *l = find_lookup(all, domain);
	struct sts_question *q = calloc(1, sizeof(*q));

	if (q != NULL && l == NULL)
		l = begin_lookup(all, domain);
	if (q == NULL || l == NULL) {
		free(q);
		return NULL;
	}
	*q = (struct sts_question){.next = l->waiting, .link = &l->waiting, .done = done, .arg = arg};
	if (q->next != NULL)
		q->next->link = &q->next;
	l->waiting = q;
	if (l->late)
		event_active(l->timer, EV_TIMEOUT, 0);
	return q;
}

void sts_cancel(struct sts_question **question)
{
	struct sts_question *q = *question;

	*question = NULL;
	if (q == NULL)
		return;
	*q->link = q->next;
	if (q->next != NULL)
		q->next->link = q->link;
	free(q);
}

int sts_forget(struct sts_lookups *all, const char *domain, struct err *err)
{
	bool failed_before = failure_of(all, domain) != NULL;
	int r = sts_cache_forget(&all->cache, domain, err);

	forget_failure(all, domain);
	if (r == 0)
		all->with.changed(all->with.arg, domain);
	return r == E_NOTFOUND && failed_before ? 0 : r;
}

/* ---- now and then: what is due is fetched again, what is over is forgotten ---- */

struct sweep {
	const struct sts_lookups *all;
	int64_t now;
	size_t seen, due_count, over_count;
	char due[STS_SWEEP_REFRESH][DNS_NAME_TEXT], over[STS_SWEEP_EXPIRED][DNS_NAME_TEXT];
	bool full; /* enough for once: further ones the next time */
	char last[DNS_NAME_TEXT];
};

static bool sweep_one(void *arg, const struct sts_cached *cached)
{
	struct sweep *s = arg;
	const char *domain = cached->policy.domain;

	if (sts_cached_until(cached) <= s->now)
		snprintf(s->over[s->over_count++], DNS_NAME_TEXT, "%s", domain);
	else if (is_due(cached, s->now) && s->now - cached->used < STS_UNUSED_S && find_lookup(s->all, domain) == NULL)
		snprintf(s->due[s->due_count++], DNS_NAME_TEXT, "%s", domain);
	snprintf(s->last, sizeof(s->last), "%s", domain);
	s->full = ++s->seen == STS_SWEEP_RECORDS || s->due_count == STS_SWEEP_REFRESH || s->over_count == STS_SWEEP_EXPIRED;
	return !s->full;
}

void sts_lookups_sweep(struct sts_lookups *all)
{
	struct sweep s = {.all = all, .now = clock_wall()};
	struct err err;

	if (clock_monotonic_ms() < all->next_sweep)
		return;
	all->next_sweep = clock_monotonic_ms() + STS_SWEEP_MS;
	if (sts_cache_each(&all->cache, all->swept, sweep_one, &s) != 0)
		return;
	all->swept[0] = '\0';
	if (s.full)
		snprintf(all->swept, sizeof(all->swept), "%s!", s.last); /* no name has it: the next one */
	for (size_t i = 0; i < s.over_count; i++)
		(void)sts_cache_forget(&all->cache, s.over[i], &err);
	for (size_t i = 0; i < s.due_count; i++)
		(void)begin_lookup(all, s.due[i]);
}

struct sts_lookups *sts_lookups_new(const struct sts_services *services)
{
	struct sts_lookups *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	all->with = *services;
	all->port = 443;
	all->next_sweep = clock_monotonic_ms() + STS_SWEEP_MS;
	sts_cache_init(&all->cache, services->state);
	return all;
}

void sts_lookups_free(struct sts_lookups **allp)
{
	struct sts_lookups *all = *allp;

	*allp = NULL;
	if (all == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (all->buckets[i] != NULL) {
			while (all->buckets[i]->waiting != NULL)
				free(take_question(all->buckets[i]));
			end_lookup(all->buckets[i]);
		}
	free(all);
}

void sts_lookups_set_port(struct sts_lookups *all, uint16_t port)
{
	all->port = port;
}

const struct sts_cache *sts_lookups_cache(const struct sts_lookups *all)
{
	return &all->cache;
}
