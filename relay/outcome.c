#include "relay/outcome.h"

#include "base/log.h"
#include "net/connect.h"
#include "relay/relay.h"

#include <sys/socket.h>

enum { TEXT_MAX = STS_TEXT_MAX + STS_NAMES_MAX };

const char *outcome_name(enum outcome_kind kind)
{
	static const char *const names[OUTCOME_KINDS] = {[OUTCOME_GOOD] = "", [OUTCOME_NO_STARTTLS] = "starttls-not-supported",
	    [OUTCOME_WRONG_NAME] = "certificate-host-mismatch", [OUTCOME_EXPIRED] = "certificate-expired", [OUTCOME_NOT_TRUSTED] = "certificate-not-trusted",
	    [OUTCOME_FAILED] = "validation-failure", [OUTCOME_TLSA_INVALID] = "tlsa-invalid", [OUTCOME_DNSSEC_INVALID] = "dnssec-invalid",
	    [OUTCOME_DANE_REQUIRED] = "dane-required", [OUTCOME_STS_FETCH_ERROR] = "sts-policy-fetch-error", [OUTCOME_STS_INVALID] = "sts-policy-invalid",
	    [OUTCOME_STS_WEBPKI] = "sts-webpki-invalid"};

	return names[kind];
}

/* What a policy in testing would have kept back is what its domain wants to find out. */
static bool would_have_been_kept_back(const struct outcome *o)
{
	return o->source == SOURCE_STS && o->delivered && o->kind != OUTCOME_GOOD && o->sts != NULL && o->sts->mode == STS_TESTING && o->host[0] != '\0';
}

/* ---- what is used ---- */

void outcome_our_address(int fd, char out[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	out[0] = '\0';
	if (getsockname(fd, (struct sockaddr *)&address, &len) == 0 && (address.ss_family == AF_INET || address.ss_family == AF_INET6))
		connect_text(&address, out);
}

static enum outcome_use use_of(const struct session *s)
{
	static const enum outcome_use uses[] = {[TLS_ANYBODY] = USE_ANYBODY, [TLS_AUTHORITIES] = USE_VERIFIED, [TLS_DANE] = USE_DANE};

	return s->policy.source == SOURCE_STS && s->policy.trust == TLS_AUTHORITIES ? USE_STS : uses[s->policy.trust];
}

void outcome_count(struct session *s)
{
	uint64_t *used = s->relay->used;

	if (s->counted)
		return;
	s->counted = true;
	if (strcmp(s->tls, "none") == 0) {
		used[USE_NONE]++;
		return;
	}
	used[use_of(s)]++;
	used[strncmp(s->tls, "TLSv1.3", 7) == 0 ? USE_TLS13 : USE_TLS12]++;
}

void outcome_uses(const struct relay *relay, struct buf *out)
{
	static const char *const words[OUTCOME_USES] = {[USE_NONE] = "without TLS", [USE_ANYBODY] = "not verified", [USE_VERIFIED] = "verified", [USE_STS] = "MTA-STS", [USE_DANE] = "DANE",
	    [USE_TLS12] = "TLSv1.2", [USE_TLS13] = "TLSv1.3"};

	for (size_t i = 0; i < OUTCOME_USES; i++)
		buf_printf(out, "%s%llu %s", i == 0 ? "" : i == USE_TLS12 ? "; " : ", ", (unsigned long long)relay->used[i], words[i]);
}

/* ---- for reports ---- */

/* As master files have it (RFC 6698 section 2.2), and RFC 8460 section 4.4. */
static void add_records(struct buf *out, const struct dane *dane)
{
	for (size_t i = 0; i < dane->count; i++) {
		const struct tls_tlsa *r = &dane->records[i];
		size_t before = buf_len(out);

		buf_printf(out, "%u %u %u ", r->usage, r->selector, r->matching);
		for (size_t k = 0; k < r->data.len; k++)
			buf_printf(out, "%02x", (unsigned char)r->data.ptr[k]);
		buf_add_char(out, '\n');
		if (buf_failed(out)) /* one of a whole certificate; the next may be short */
			buf_cut(out, before);
	}
}

static void add_patterns(struct buf *out, const struct sts_policy *policy)
{
	for (size_t i = 0; i < policy->mx_count; i++)
		buf_printf(out, "%s\n", sts_policy_mx(policy, i));
}

/* RFC 8460 section 1.1: with DANE the policy is the base domain's. */
static void take_policy(const struct outcome *o, struct tlsrpt_session *session, struct buf *strings, struct buf *mx)
{
	session->type = o->source == SOURCE_TLSA ? TLSRPT_TLSA : o->source == SOURCE_STS ? TLSRPT_STS : TLSRPT_NO_POLICY;
	session->domain = o->domain;
	if (o->source == SOURCE_TLSA) {
		session->domain = span_str(o->dane != NULL ? o->dane->base : o->host);
		if (o->dane != NULL)
			add_records(strings, o->dane);
	} else if (o->source == SOURCE_STS && o->sts != NULL) {
		sts_policy_format(o->sts, strings);
		add_patterns(mx, o->sts);
	}
	session->strings = buf_span(strings);
	session->mx = buf_span(mx);
}

static void note(const struct job *job, const struct outcome *o)
{
	static const enum tlsrpt_result results[OUTCOME_KINDS] = {[OUTCOME_GOOD] = TLSRPT_SUCCESS, [OUTCOME_NO_STARTTLS] = TLSRPT_STARTTLS_NOT_SUPPORTED,
	    [OUTCOME_WRONG_NAME] = TLSRPT_CERTIFICATE_HOST_MISMATCH, [OUTCOME_EXPIRED] = TLSRPT_CERTIFICATE_EXPIRED, [OUTCOME_NOT_TRUSTED] = TLSRPT_CERTIFICATE_NOT_TRUSTED,
	    [OUTCOME_FAILED] = TLSRPT_VALIDATION_FAILURE, [OUTCOME_TLSA_INVALID] = TLSRPT_TLSA_INVALID, [OUTCOME_DNSSEC_INVALID] = TLSRPT_DNSSEC_INVALID,
	    [OUTCOME_DANE_REQUIRED] = TLSRPT_DANE_REQUIRED, [OUTCOME_STS_FETCH_ERROR] = TLSRPT_STS_POLICY_FETCH_ERROR, [OUTCOME_STS_INVALID] = TLSRPT_STS_POLICY_INVALID,
	    [OUTCOME_STS_WEBPKI] = TLSRPT_STS_WEBPKI_INVALID};
	struct report_attempt attempt = {.domain = o->domain, .session = {.result = results[o->kind], .our_address = span_str(o->our_address), .host = span_str(o->host),
		.address = span_str(o->address), .reason = span_str(o->text)}};
	struct buf strings, mx;

	buf_init(&strings, TEXT_MAX);
	buf_init(&mx, TEXT_MAX);
	take_policy(o, &attempt.session, &strings, &mx);
	report_note(job->relay, &attempt);
	buf_fini(&strings);
	buf_fini(&mx);
}

/* Mail that goes whatever a policy says tells nothing of it, and reports go like that (RFC 8460 section 3). */
static bool counts(const struct job *job)
{
	return job->way.kind == WAY_MX && job->route != NULL && !job->route->literal && (!job->tls_optional || job->message.requiretls);
}

void outcome_tell(const struct job *job, const struct outcome *o)
{
	if (job->message.probe) /* nothing is sent */
		return;
	if (would_have_been_kept_back(o))
		log_event(EV_relay_sts_testing, daemon_log(job->relay->daemon), F_SPAN("domain", o->domain), F_STR("host", o->host), F_STR("address", o->address),
		    F_STR("result", outcome_name(o->kind)), F_STR("error", o->text));
	if (counts(job))
		note(job, o);
}
