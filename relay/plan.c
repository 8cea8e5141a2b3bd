/* The way of a message, for an administrator to see: as far as a connection would be made, and no further. */
#include "relay/relay.h"

#include "net/ipc_conn.h"

#include <stdio.h>

static void step(const struct job *job, const char *name, const struct route_host *host, const char *text)
{
	struct relay_step body = {.step = span_str(name), .text = span_sub(span_str(text), 0, 512)};

	if (host != NULL) {
		body.host = span_str(host->name);
		body.preference = host->preference;
		body.secure = job->route->secure && host->secure;
	}
	channel_send(job->arg, &ipc_relay_step, job->id, &body);
}

/* ---- TLS ---- */

static const char *policy_words(const struct policy *policy)
{
	static const char *const trusts[] = {[TLS_ANYBODY] = "always TLS, whatever the host's certificate", [TLS_AUTHORITIES] = "always TLS, with a certificate that authorities vouch for",
	    [TLS_DANE] = "always TLS, with a key that its TLSA records name (DANE)"};

	if (policy->use == SMTP_TLS_NEVER)
		return "never TLS";
	if (policy->trust == TLS_AUTHORITIES && policy->source == SOURCE_STS)
		return "always TLS, with a certificate that authorities vouch for, as its MTA-STS policy wants";
	return policy->use == SMTP_TLS_MAY ? "TLS where the host offers it, whatever its certificate, else in clear" : trusts[policy->trust];
}

/* The same message with REQUIRETLS. */
static void tell_required(struct job *job, const struct route_host *host)
{
	const struct policy usual = job->policy;
	struct err why = {0};
	char text[ERR_TEXT_MAX + 100];
	int r;

	job->message.requiretls = true;
	r = attempt_decide(job, &why);
	job->message.requiretls = false;
	if (r == 0)
		snprintf(text, sizeof(text), "a message with REQUIRETLS: %s, and the host must offer REQUIRETLS", policy_words(&job->policy));
	else
		snprintf(text, sizeof(text), "a message with REQUIRETLS does not go to it: %s", why.text);
	step(job, "requiretls", host, text);
	job->policy = usual;
}

/* ---- what the job comes upon ---- */

/* A host that mail could go to. */
static void on_host(void *arg, struct job *job)
{
	const struct route_host *host = &job->route->hosts[job->host];
	char text[600], address[INET6_ADDRSTRLEN];
	int n = snprintf(text, sizeof(text), "%s%s, port %u: %s;", job->planned++ == 0 ? "" : "then ", host->name, job->way.port, policy_words(&job->policy));

	(void)arg;
	for (size_t i = 0; i < job->dialled_count && n > 0 && n < (int)sizeof(text); i++) {
		connect_text(&host->addresses[job->dialled[i]], address);
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s", address);
	}
	step(job, "host", host, text);
	if (job->way.kind != WAY_LMTP)
		tell_required(job, host);
}

static void on_trace(void *arg, const struct job *job, const char *text)
{
	bool passed_over = text[0] == ' '; /* a host, for a reason */

	(void)arg;
	step(job, passed_over ? "host" : "dns", NULL, passed_over ? text + strspn(text, " ") : text);
}

static void on_result(void *arg, const struct job *job, const struct job_result *r)
{
	struct relay_planned body = {.code = job->planned > 0 ? 0 : r->code, .text = span_str(job->planned > 0 ? "" : r->text)};

	channel_send(arg, &ipc_relay_planned, job->id, &body);
}

static const struct job_owner owner = {on_result, on_trace, on_host};

/* ---- the beginning ---- */

static void tell_way(struct job *job)
{
	const struct way *way = &job->way;
	char text[600];

	snprintf(text, sizeof(text), "this server calls itself %.*s, and speaks %s%s; relay-tls is %.*s", SPAN_ARG(span_sub(way->helo, 0, 254)), way->kind == WAY_LMTP ? "LMTP" : "SMTP",
	    way->implicit_tls ? " within TLS from the first octet" : "", SPAN_ARG(way->tls));
	step(job, "session", NULL, text);
	if (way->login.len == 0)
		return;
	snprintf(text, sizeof(text), "logs in as %.*s with a %s, never without TLS", SPAN_ARG(span_sub(way->login, 0, 320)), way->is_token ? "token" : "password");
	step(job, "login", NULL, text);
}

static struct job *make_job(struct relay *relay, struct channel *channel)
{
	struct job *job = job_new(relay, &owner, channel);

	if (job == NULL)
		return NULL;
	job->recipients = pool_new_object(job->pool, struct smtp_client_recipient);
	if (job->recipients != NULL)
		return job;
	job_free(job);
	return NULL;
}

void plan_begin(struct relay *relay, struct channel *channel, uint32_t id, const struct relay_plan *ask)
{
	struct job *job = make_job(relay, channel);
	struct err err = {0};
	int r;

	if (job == NULL) {
		channel_send(channel, &ipc_relay_planned, id, &(struct relay_planned){.code = E_NOMEM, .text = SPAN_LIT("451 4.3.0 out of memory")});
		return;
	}
	job->id = id;
	/* For the policy: it is no notification. */
	job->message = (struct smtp_client_message){.probe = true, .sender = SPAN_LIT("somebody"), .recipients = job->recipients, .recipient_count = 1};
	r = settings_way(relay, job->pool, ask->transport, ask->sender, &job->way, &err);
	if (r != 0) {
		result_all(job, r, true, err.text[0] != '\0' ? err.text : "4.3.0 out of memory");
	} else if (!job_take_domain(job, ask->domain)) {
		result_all(job, E_CANNOT, true, "5.1.2 that is no domain");
	} else {
		tell_way(job);
		job_start(job);
	}
}
