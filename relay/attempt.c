/* From the route to a session: host after host, address after address, until one is of use. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/connect.h"

#include <stdio.h>

static void try_host(struct job *job);

/* From the first question of its route until it has a session, a job counts as one. */
static void set_out(struct job *job)
{
	job->relay->under_way += !job->under_way;
	job->under_way = true;
}

static void arrive(struct job *job)
{
	job->relay->under_way -= job->under_way;
	job->under_way = false;
}

/* ---- the end of the road ---- */

/* A refusal for good counts only when nobody has anything else to say (RFC 5321 section 5.1). */
static void exhausted(struct job *job)
{
	char text[ERR_TEXT_MAX + 64];

	if (job->failure.text[0] == '\0') {
		result_all(job, E_UNAVAILABLE, false, "4.4.1 no address of its hosts can be reached from the addresses of send-from");
		return;
	}
	if (job->only_refused) {
		result_all(job, job->failure.code, job->failure.code == E_CANNOT || job->failure.code == E_LOOP, job->failure.text);
		return;
	}
	snprintf(text, sizeof(text), "%s%s", job->failure.text[0] == '4' ? "" : "4.4.0 none of its hosts takes mail now; the last: ", job->failure.text);
	result_all(job, E_UNAVAILABLE, false, text);
}

/* ---- connections ---- */

/* What says nothing of the host. */
static bool is_our_own(const struct err *why)
{
	return why->code == E_NOFILES || why->code == E_NOMEM;
}

static void on_dialled(void *arg, int fd, size_t which, const struct err *why)
{
	struct job *job = arg;
	struct route_host *host = &job->route->hosts[job->host];
	size_t place = job->dialled[which];

	job->dial = NULL;
	job->attempts++;
	connect_text(&host->addresses[place], job->failure_address);
	snprintf(job->failure_host, sizeof(job->failure_host), "%s", host->name);
	host->tried[place] = true;
	if (fd >= 0) {
		job_trace(job, "connected to %s [%s]:%u", host->name, job->failure_address, job->way.port);
		job->clear_address = place;
		job->session = session_new(job, fd, job->failure_address, &job->failure);
		if (job->session != NULL) {
			arrive(job);
		} else {
			char text[ERR_TEXT_MAX];

			snprintf(text, sizeof(text), "%s", job->failure.text);
			err_set(&job->failure, E_UNAVAILABLE, "4.3.0 %.200s", text);
			attempt_next(job);
		}
		return;
	}
	if (is_our_own(why)) {
		result_all(job, why->code, true, why->code == E_NOFILES ? "4.3.2 no descriptor is free for a connection" : "4.3.0 out of memory");
		return;
	}
	for (size_t i = 0; i < job->dialled_count; i++) {
		struct sockaddr_storage at = host->addresses[job->dialled[i]];

		host->tried[job->dialled[i]] = true;
		connect_port(&at, job->way.port);
		dead_add(&job->relay->dead, &at, clock_monotonic_ms());
	}
	err_set(&job->failure, E_UNAVAILABLE, "4.4.1 %s", why->text);
	job->relay->failed_sessions++;
	log_event(EV_relay_session_failed, daemon_log(job->relay->daemon), F_STR("host", host->name), F_STR("address", job->failure_address), F_STR("tls", ""),
	    F_STR("error", why->text));
	attempt_next(job);
}

/* False: mail must not leave from another address than those that are set, and none is of this family. */
static bool make_address(const struct job *job, const struct sockaddr_storage *to, struct dial_address *out)
{
	const struct sockaddr_storage *from = &job->way.from[to->ss_family == AF_INET6];

	out->to = *to;
	connect_port(&out->to, job->way.port);
	out->from = *from;
	return !job->way.bound || from->ss_family != AF_UNSPEC;
}

static void dial(struct job *job, const struct dial_address *addresses)
{
	char text[INET6_ADDRSTRLEN];

	transaction_log_next(job);
	for (size_t i = 0; i < job->dialled_count; i++) {
		dead_ask(&job->relay->dead, &addresses[i].to, clock_monotonic_ms());
		connect_text(&addresses[i].to, text);
		job_trace(job, "%s %s [%s]:%u, TLS: %s", i == 0 ? "connecting to" : "  or", job->route->hosts[job->host].name, text, job->way.port,
		    policy_name(&job->policy));
	}
	job->dial = dial_begin(daemon_base(job->relay->daemon), addresses, job->dialled_count, on_dialled, job);
	if (job->dial == NULL)
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
}

void attempt_in_clear(struct job *job)
{
	struct route_host *host = &job->route->hosts[job->host];
	struct dial_address address;

	set_out(job);
	job->policy = (struct policy){.use = SMTP_TLS_NEVER};
	job->dialled[0] = job->clear_address;
	job->dialled_count = 1;
	if (make_address(job, &host->addresses[job->clear_address], &address))
		dial(job, &address);
}

/* ---- hosts ---- */

void attempt_tell(const struct job *job, enum outcome_kind kind)
{
	bool dane = kind == OUTCOME_DNSSEC_INVALID || kind == OUTCOME_DANE_REQUIRED;
	const struct outcome outcome = {.kind = kind, .source = dane ? SOURCE_TLSA : SOURCE_STS, .sts = job->sts, .dane = job->dane, .domain = job->domain,
	    .host = job->route->hosts[job->host].name, .address = "", .our_address = "", .text = job->failure.text};

	outcome_tell(job, &outcome);
}

int attempt_decide(struct job *job, struct err *err)
{
	const struct way *way = &job->way;
	struct policy_facts facts = {.setting = way->tls,
	    .login = way->login.len > 0,
	    .implicit = way->implicit_tls,
	    .requiretls = job_requires_tls(job),
	    .tls_optional = job->tls_optional,
	    .trusted_name = job->route->secure || (!job->route->from_mx && !job->route->literal), /* the domain is the host: nobody names another */
	    .dane = job->dane_says,
	    .sts = job->sts,
	    .host = job->route->hosts[job->host].name};

	return policy_decide(&facts, &job->policy, err);
}

/* Not tried yet, and there is an address of ours to try it from. */
static bool is_left(const struct job *job, const struct route_host *host, size_t place, struct dial_address *out, bool *dead)
{
	if (host->tried[place] || !make_address(job, &host->addresses[place], out))
		return false;
	*dead = dead_is(&job->relay->dead, &out->to, clock_monotonic_ms());
	return true;
}

static void collect_those(struct job *job, bool dead, struct dial_address *out)
{
	const struct route_host *host = &job->route->hosts[job->host];
	struct dial_address address;
	bool is_dead;

	for (size_t i = 0; i < host->address_count; i++)
		if (is_left(job, host, i, &address, &is_dead) && is_dead == dead) {
			out[job->dialled_count] = address;
			job->dialled[job->dialled_count++] = i;
		}
}

/* Those that could not be reached lately come last. */
static size_t collect(struct job *job, struct dial_address *out)
{
	job->dialled_count = 0;
	collect_those(job, false, out);
	collect_those(job, true, out);
	return job->dialled_count;
}

static bool has_left(const struct job *job, const struct route_host *host, bool dead_too)
{
	struct dial_address address;
	bool dead;

	for (size_t i = 0; i < host->address_count; i++)
		if (is_left(job, host, i, &address, &dead) && (dead_too || !dead))
			return true;
	return false;
}

static void pass_over(struct route_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		host->tried[i] = true;
}

void attempt_skip(struct job *job)
{
	struct route_host *host = &job->route->hosts[job->host];

	snprintf(job->failure_host, sizeof(job->failure_host), "%s", host->name);
	job->failure_address[0] = '\0';
	pass_over(host);
	attempt_next(job);
}

static void pass_over_by_name(struct job *job, const char *name)
{
	for (size_t i = 0; i < job->route->count; i++)
		if (strcmp(job->route->hosts[i].name, name) == 0)
			pass_over(&job->route->hosts[i]);
}

static void pass_over_put_off(struct job *job)
{
	for (size_t i = 0; i < job->further; i++)
		pass_over_by_name(job, job->put_off_by[i]);
}

void attempt_further(struct job *job)
{
	if (job->route == NULL) {
		job_trace(job, "  %s", job->failure.text);
		attempt_begin(job);
		return;
	}
	pass_over_put_off(job);
	attempt_next(job);
}

/* RFC 5321 section 5.1: they would hand it back. */
void attempt_past_self(struct job *job)
{
	const struct route_host *self = &job->route->hosts[job->host];

	for (size_t i = 0; i < job->route->count; i++)
		if (job->route->hosts[i].preference >= self->preference)
			pass_over(&job->route->hosts[i]);
	attempt_next(job);
}

/* Without a route nobody knows yet: the connection was another job's. */
bool attempt_has_further(const struct job *job, const char *host)
{
	bool has = job->route == NULL;

	for (size_t i = 0; !has && i < job->route->count; i++)
		has = strcmp(job->route->hosts[i].name, host) != 0 && has_left(job, &job->route->hosts[i], true);
	return has && job->attempts < RELAY_ATTEMPTS_MAX;
}

/* Somebody wants to know of all hosts. */
static void tell_host(struct job *job)
{
	if (job->arg != NULL)
		job->owner->host(job->arg, job);
	pass_over(&job->route->hosts[job->host]);
	try_host(job);
}

void attempt_with_dane(struct job *job)
{
	struct dial_address addresses[ROUTE_ADDRESSES_MAX];

	job->policy = (struct policy){0};
	if (collect(job, addresses) > 0 && attempt_decide(job, &job->failure) == 0) {
		if (job->owner->host != NULL)
			tell_host(job);
		else
			dial(job, addresses);
		return;
	}
	if (job->policy.not_named)
		attempt_tell(job, OUTCOME_FAILED);
	else if (job->dialled_count > 0 && job->dane_says != DANE_USABLE && span_eq(job->way.tls, SPAN_LIT("dane-only")))
		attempt_tell(job, OUTCOME_DANE_REQUIRED);
	attempt_skip(job);
}

static bool find_host(struct job *job, bool dead_too)
{
	for (job->host = 0; job->host < job->route->count; job->host++)
		if (has_left(job, &job->route->hosts[job->host], dead_too))
			return true;
	return false;
}

/* The best one; among those that could not be reached lately when there is no other. */
static void try_host(struct job *job)
{
	if (!find_host(job, false) && !find_host(job, true))
		exhausted(job);
	else if (!dane_begin(job))
		attempt_with_dane(job);
}

static bool was_tried(const struct route_host *host)
{
	for (size_t i = 0; i < host->address_count; i++)
		if (host->tried[i])
			return true;
	return false;
}

/* It comes last, as it could not be reached lately, and has not had its turn. */
static bool has_passed_by_a_better_one(struct job *job)
{
	bool has = false;

	if (!find_host(job, true))
		return false;
	for (size_t i = job->host + 1; !has && i < job->route->count; i++)
		has = was_tried(&job->route->hosts[i]);
	return has;
}

void attempt_next(struct job *job)
{
	job_trace(job, "  %s", job->failure.text);
	job->only_refused &= !err_is_temp(job->failure.code);
	set_out(job);
	if (job->cancelled) {
		result_withdrawn(job);
	} else if (job->attempts >= RELAY_ATTEMPTS_MAX) {
		job->only_refused &= !has_passed_by_a_better_one(job);
		exhausted(job);
	} else {
		try_host(job);
	}
}

/* ---- the domain's MTA-STS policy ---- */

static void trace_sts(const struct job *job, const struct sts_answer *answer)
{
	struct span domain = job_policy_domain(job);
	char hosts[600] = "";
	size_t len = 0;

	if (answer->text[0] != '\0')
		job_trace(job, "the MTA-STS policy of %.*s: %s", SPAN_ARG(domain), answer->text);
	if (job->sts == NULL) {
		job_trace(job, "%.*s has no MTA-STS policy in force", SPAN_ARG(domain));
		return;
	}
	for (size_t i = 0; i < job->sts->mx_count && len < sizeof(hosts); i++)
		len += (size_t)snprintf(hosts + len, sizeof(hosts) - len, " %s", sts_policy_mx(job->sts, i));
	job_trace(job, "%s has an MTA-STS policy, %s, id %s, of the hosts%s", job->sts->domain, sts_mode_name(job->sts->mode), job->sts->id, hosts);
}

/* That a first policy cannot be had is no reason not to send; that it was so is told. */
static void on_sts(void *arg, const struct sts_answer *answer)
{
	struct job *job = arg;

	job->sts_question = NULL;
	job->distrusted = false;
	if (answer->policy != NULL && job->sts_room == NULL)
		job->sts_room = pool_new_object(job->pool, struct sts_policy);
	if (answer->code != 0 || (answer->policy != NULL && job->sts_room == NULL)) {
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
		return;
	}
	if (answer->policy != NULL) {
		*job->sts_room = *answer->policy;
		job->sts = job->sts_room;
	}
	trace_sts(job, answer);
	if (answer->failure != OUTCOME_GOOD) {
		const struct outcome outcome = {.kind = answer->failure, .source = SOURCE_STS, .delivered = true, .sts = job->sts, .domain = job->domain, .host = "",
		    .address = "", .our_address = "", .text = answer->text};

		outcome_tell(job, &outcome);
	}
	try_host(job);
}

/* Who is named by an address has none, nor has who is spoken with by LMTP. */
static bool sts_counts(const struct job *job)
{
	const struct way *way = &job->way;
	bool optional = job->tls_optional && !job->message.requiretls;

	return job->relay->sts != NULL && way->sts && (way->kind == WAY_MX || way->kind == WAY_HOST) && !job->route->literal && !optional &&
	       !span_eq(way->tls, SPAN_LIT("none")) && !span_eq(way->tls, SPAN_LIT("dane-only"));
}

static void ask_sts(struct job *job)
{
	char domain[DNS_NAME_TEXT];

	job->sts = NULL;
	if (!sts_counts(job) || dns_name_normalize(job_policy_domain(job), domain) != 0) {
		try_host(job);
		return;
	}
	job->sts_question = sts_ask(job->relay->sts, domain, on_sts, job);
	if (job->sts_question == NULL)
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
}

/* ---- the route ---- */

static void trace_dead(const struct job *job)
{
	for (size_t i = 0; i < job->route->count; i++) {
		const struct route_host *host = &job->route->hosts[i];

		if (has_left(job, host, true) && !has_left(job, host, false))
			job_trace(job, "%s could not be reached lately: it comes last", host->name);
	}
}

static void on_route(void *arg, struct route *route, const struct err *why)
{
	struct job *job = arg;

	job->finder = NULL;
	job->route = route;
	if (route == NULL) {
		/* Who has no hosts is as dead as who has none that answer; but what is for good is said of the address. */
		result_all(job, why->code, !err_is_temp(why->code), why->text);
		return;
	}
	job->only_refused &= !route->unknown;
	pass_over_put_off(job);
	trace_dead(job);
	ask_sts(job);
}

static void on_note(void *arg, const char *text)
{
	job_trace(arg, "%s", text);
}

void attempt_begin(struct job *job)
{
	struct relay *relay = job->relay;
	bool fixed = job->way.kind != WAY_MX;
	struct route_request request = {.dns = relay->dns,
	    .domain = fixed ? job->way.host : job->domain,
	    .fixed = fixed,
	    .self = &relay->self,
	    .seed = relay->seed += 0x9e3779b9U,
	    .done = on_route,
	    .note = job->owner->trace != NULL ? on_note : NULL,
	    .arg = job};

	set_out(job);
	route_free(&job->route);
	job->host = 0;
	job->finder = route_find(daemon_base(relay->daemon), &request);
	if (job->finder == NULL)
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
}

void attempt_stop(struct job *job)
{
	route_cancel(&job->finder);
	sts_cancel(&job->sts_question);
	dane_drop(job);
	dial_cancel(&job->dial);
	route_free(&job->route);
	arrive(job);
	job_wake_waiting(job->relay);
}
