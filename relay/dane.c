/*
 * TLSA records of the host that is tried (RFC 7672). They count only when everything that led to them is signed: the MX records, the
 * host's addresses, the records themselves. What cannot be told now, or is forged, is never taken for "none".
 */
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

static bool ask(struct job *job, const char *name);

/* ---- records ---- */

static void take_record(struct dane *dane, struct span rdata)
{
	struct tls_tlsa *out = &dane->records[dane->count];
	struct dns_tlsa record;

	if (dane->count == DANE_RECORDS_MAX || dns_tlsa_parse(rdata, &record) != 0)
		return;
	*out = (struct tls_tlsa){record.usage, record.selector, record.matching, record.data};
	if (!tls_tlsa_is_usable(out) || dane->used + record.data.len > sizeof(dane->data))
		return;
	memcpy(dane->data + dane->used, record.data.ptr, record.data.len);
	out->data = span_of(dane->data + dane->used, record.data.len);
	dane->used += record.data.len;
	dane->count++;
}

static void take_records(struct job *job, const struct dns_answer *answer)
{
	struct span records = answer->records, rdata;
	size_t all = 0;

	for (; dns_record_next(&records, &rdata); all++)
		take_record(job->dane, rdata);
	job->dane_says = job->dane->count > 0 ? DANE_USABLE : DANE_UNUSABLE;
	job_trace(job, "%.*s has %zu TLSA records, of which %zu can be used (DNSSEC)", SPAN_ARG(answer->name), all, job->dane->count);
}

/* ---- questions ---- */

static void on_answer(void *arg, const struct dns_answer *answer)
{
	struct job *job = arg;
	const struct route_host *host = &job->route->hosts[job->host];

	job->dane_question = 0;
	if (answer->result == DNS_TEMPORARY || answer->result == DNS_IS_BOGUS) {
		/* RFC 7672 section 2.1.2: as if the host were not to be reached. */
		err_set(&job->failure, E_UNAVAILABLE, "4.7.5 the TLSA records of %s cannot be told now: %.*s", host->name, SPAN_ARG(span_sub(answer->why, 0, 100)));
		if (answer->result == DNS_IS_BOGUS)
			attempt_tell(job, OUTCOME_DNSSEC_INVALID);
		attempt_skip(job);
		return;
	}
	if (answer->result == DNS_FOUND && answer->secure)
		take_records(job, answer);
	else if (strcmp(job->dane->base, host->name) != 0 && ask(job, host->name)) /* section 2.2.3: where CNAMEs led to, then the name itself */
		return;
	attempt_with_dane(job);
}

static bool ask(struct job *job, const char *name)
{
	char question[DNS_NAME_TEXT + 32];

	snprintf(job->dane->base, sizeof(job->dane->base), "%s", name);
	snprintf(question, sizeof(question), "_%u._tcp.%s", job->way.port, name);
	if (strlen(question) > DNS_NAME_MAX)
		return false;
	job->dane_question = dns_ask(job->relay->dns, span_str(question), DNS_TLSA, ROUTE_DNS_MS, on_answer, job);
	return job->dane_question != 0;
}

void dane_drop(struct job *job)
{
	if (job->dane_question != 0)
		dns_cancel(job->relay->dns, job->dane_question);
	job->dane_question = 0;
	job->dane_says = DANE_NONE;
	free(job->dane);
	job->dane = NULL;
}

bool dane_begin(struct job *job)
{
	const struct route_host *host = &job->route->hosts[job->host];

	dane_drop(job);
	if (!job->route->secure || !host->secure || job->route->literal || span_eq(job->way.tls, SPAN_LIT("none")))
		return false;
	job->dane = calloc(1, sizeof(*job->dane));
	if (job->dane == NULL || !ask(job, host->canonical[0] != '\0' ? host->canonical : host->name)) {
		/* Not to have asked is not to know. */
		err_set(&job->failure, E_UNAVAILABLE, "4.3.2 too many questions are asked of the resolver");
		attempt_skip(job);
	}
	return true;
}
