/*
 * TLSA records of the host that is tried (RFC 7672). They count only when everything that led to them is signed: the MX records, the
 * host's addresses, the records themselves. What cannot be told now, or is forged, is never taken for "none".
 */
#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

static void ask_records(struct job *job, const char *name);

/* ---- records ---- */

static bool take_usable(struct span rdata, struct tls_tlsa *out)
{
	struct dns_tlsa record;

	if (dns_tlsa_parse(rdata, &record) != 0)
		return false;
	*out = (struct tls_tlsa){record.usage, record.selector, record.matching, record.data};
	return tls_tlsa_is_usable(out);
}

/* Room for what the answer has, however much: one that were left out might be the one that the host shows (RFC 7672 section 3.2). False: no memory. */
static bool make_room(struct dane *dane, struct span records)
{
	struct tls_tlsa record;
	struct span rdata;
	size_t octets = 0;

	while (dns_record_next(&records, &rdata))
		if (take_usable(rdata, &record)) {
			octets += sizeof(record) + record.data.len;
			dane->count++;
		}
	dane->records = octets > 0 ? malloc(octets) : NULL;
	return octets == 0 || dane->records != NULL;
}

static void copy_records(struct dane *dane, struct span records)
{
	struct tls_tlsa *out = dane->records;
	char *data = (char *)(dane->records + dane->count);
	struct span rdata;

	while (out < dane->records + dane->count && dns_record_next(&records, &rdata)) {
		if (!take_usable(rdata, out))
			continue;
		memcpy(data, out->data.ptr, out->data.len);
		out->data = span_of(data, out->data.len);
		data += out->data.len;
		out++;
	}
}

/* False: no memory. */
static bool take_records(struct job *job, const struct dns_answer *answer)
{
	struct span records = answer->records, rdata;
	size_t all = 0;

	while (dns_record_next(&records, &rdata))
		all++;
	if (!make_room(job->dane, answer->records))
		return false;
	copy_records(job->dane, answer->records);
	job->dane_says = job->dane->count > 0 ? DANE_USABLE : DANE_UNUSABLE;
	job_trace(job, "%.*s has %zu TLSA records, of which %zu can be used (DNSSEC)", SPAN_ARG(answer->name), all, job->dane->count);
	return true;
}

/* ---- questions ---- */

static const struct route_host *host_of(const struct job *job)
{
	return &job->route->hosts[job->host];
}

static void ask(struct job *job, const char *name, enum dns_type type, dns_done *done)
{
	job->dane_question = dns_ask(job->relay->dns, span_str(name), type, ROUTE_DNS_MS, done, job);
	if (job->dane_question != 0)
		return;
	/* Not to have asked is not to know. */
	err_set(&job->failure, E_UNAVAILABLE, "4.3.2 too many questions are asked of the resolver");
	attempt_skip(job);
}

static void skip_without_memory(struct job *job)
{
	err_set(&job->failure, E_UNAVAILABLE, "4.3.0 out of memory");
	attempt_skip(job);
}

/* RFC 7672 section 2.1.2: as if the host were not to be reached. True: it is passed over. */
static bool cannot_be_told(struct job *job, const struct dns_answer *answer, const char *what)
{
	if (answer->result != DNS_TEMPORARY && answer->result != DNS_IS_BOGUS)
		return false;
	err_set(&job->failure, E_UNAVAILABLE, "4.7.5 %s of %s cannot be told now: %.*s", what, host_of(job)->name, SPAN_ARG(span_sub(answer->why, 0, 100)));
	if (answer->result == DNS_IS_BOGUS)
		attempt_tell(job, OUTCOME_DNSSEC_INVALID);
	attempt_skip(job);
	return true;
}

/* Section 2.2.3: where CNAMEs led to comes first, then the name itself. */
static void try_the_other_name(struct job *job)
{
	if (strcmp(job->dane->base, host_of(job)->name) != 0)
		ask_records(job, host_of(job)->name);
	else
		attempt_with_dane(job);
}

static void on_records(void *arg, const struct dns_answer *answer)
{
	struct job *job = arg;

	job->dane_question = 0;
	if (cannot_be_told(job, answer, "the TLSA records"))
		return;
	if (answer->secure && answer->cut) { /* whatever had no room might be what counts */
		err_set(&job->failure, E_UNAVAILABLE, "4.7.5 the TLSA records of %s have more than %d octets", host_of(job)->name, DNS_RECORDS_MAX);
		attempt_skip(job);
	} else if (answer->result != DNS_FOUND || !answer->secure) {
		try_the_other_name(job);
	} else if (!take_records(job, answer)) {
		skip_without_memory(job);
	} else {
		attempt_with_dane(job);
	}
}

static void ask_records(struct job *job, const char *name)
{
	char question[DNS_NAME_TEXT + 32];

	snprintf(job->dane->base, sizeof(job->dane->base), "%s", name);
	snprintf(question, sizeof(question), "_%u._tcp.%s", job->way.port, name);
	if (strlen(question) > DNS_NAME_MAX) /* there is no such name */
		try_the_other_name(job);
	else
		ask(job, question, DNS_TLSA, on_records);
}

/*
 * Section 2.2.2: an alias in a signed zone that leads into one that is not. Records at the alias itself count; in an unsigned zone they are not
 * even asked for, as there are name servers that cannot answer that.
 */
static void on_alias(void *arg, const struct dns_answer *answer)
{
	struct job *job = arg;

	job->dane_question = 0;
	if (cannot_be_told(job, answer, "the alias"))
		return;
	if (answer->result == DNS_FOUND && answer->secure)
		ask_records(job, host_of(job)->name);
	else
		attempt_with_dane(job);
}

void dane_free(struct dane **dane)
{
	if (*dane != NULL)
		free((*dane)->records);
	free(*dane);
	*dane = NULL;
}

void dane_drop(struct job *job)
{
	if (job->dane_question != 0)
		dns_cancel(job->relay->dns, job->dane_question);
	job->dane_question = 0;
	job->dane_says = DANE_NONE;
	dane_free(&job->dane);
}

/* Whether what records say may change anything: see policy.c. Where it may not, those that cannot be told are in nobody's way. */
static bool may_matter(const struct job *job)
{
	const struct way *way = &job->way;

	if (span_eq(way->tls, SPAN_LIT("none")))
		return false;
	if (job_requires_tls(job) || span_eq(way->tls, SPAN_LIT("dane-only")))
		return true;
	return !job->tls_optional && !span_eq(way->tls, SPAN_LIT("verify"));
}

bool dane_begin(struct job *job)
{
	const struct route_host *host = host_of(job);
	bool alias = host->canonical[0] != '\0';

	dane_drop(job);
	if (!job->route->secure || job->route->literal || (!host->secure && !alias) || !may_matter(job))
		return false;
	job->dane = calloc(1, sizeof(*job->dane));
	if (job->dane == NULL) {
		skip_without_memory(job);
	} else if (host->secure) {
		ask_records(job, alias ? host->canonical : host->name);
	} else {
		ask(job, host->name, DNS_CNAME, on_alias);
	}
	return true;
}
