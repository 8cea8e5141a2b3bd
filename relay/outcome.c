#include "relay/outcome.h"

#include "base/log.h"
#include "relay/relay.h"

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

void outcome_tell(const struct job *job, const struct outcome *o)
{
	if (job->message.probe) /* nothing is sent */
		return;
	if (would_have_been_kept_back(o))
		log_event(EV_relay_sts_testing, daemon_log(job->relay->daemon), F_SPAN("domain", o->domain), F_STR("host", o->host), F_STR("address", o->address),
		    F_STR("result", outcome_name(o->kind)), F_STR("error", o->text));
}
