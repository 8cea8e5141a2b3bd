#include "relay/policy.h"

static const struct policy policy_none = {.use = SMTP_TLS_NEVER};
static const struct policy policy_may = {.use = SMTP_TLS_MAY, .in_clear_after_failure = true};
static const struct policy policy_encrypt = {.use = SMTP_TLS_MUST};
static const struct policy policy_verify = {.use = SMTP_TLS_MUST, .trust = TLS_AUTHORITIES};
static const struct policy policy_dane = {.use = SMTP_TLS_MUST, .trust = TLS_DANE, .source = SOURCE_TLSA};

/* What the administrator has set, before the message and the host have their say. */
static const struct policy *policy_of(struct span setting)
{
	if (span_eq(setting, SPAN_LIT("none")))
		return &policy_none;
	if (span_eq(setting, SPAN_LIT("encrypt")))
		return &policy_encrypt;
	if (span_eq(setting, SPAN_LIT("verify")))
		return &policy_verify;
	return span_eq(setting, SPAN_LIT("dane-only")) ? &policy_dane : &policy_may;
}

/* ---- MTA-STS ---- */

static bool has_sts(const struct policy_facts *f)
{
	return f->sts != NULL && f->sts->mode != STS_NONE;
}

static bool is_named(const struct policy_facts *f)
{
	return has_sts(f) && sts_policy_matches(f->sts, f->host);
}

static void take_testing(const struct policy_facts *f, struct policy *out)
{
	out->source = SOURCE_STS;
	out->testing = true;
	out->not_named = !is_named(f);
}

/* RFC 8461 section 5. Who forbids TLS has decided; records that can be used go ahead of it (section 2). */
static int follow_sts(const struct policy_facts *f, const struct policy *set, struct policy *out, struct err *err)
{
	if (!has_sts(f) || set->use == SMTP_TLS_NEVER || f->dane == DANE_USABLE)
		return 0;
	if (f->sts->mode == STS_TESTING) {
		take_testing(f, out);
		return 0;
	}
	out->source = SOURCE_STS;
	out->not_named = !is_named(f);
	if (out->not_named)
		return err_set(err, E_UNAVAILABLE, "4.7.5 the MTA-STS policy of %s does not name the host %s", f->sts->domain, f->host);
	*out = policy_verify;
	out->source = SOURCE_STS;
	return 0;
}

/* ---- REQUIRETLS ---- */

/* RFC 8689 section 4.2.1: TLS, with a certificate that is right for a name that can be relied on. */
static int decide_required(const struct policy_facts *f, struct policy *out, struct err *err)
{
	if (span_eq(f->setting, SPAN_LIT("none")))
		return err_set(err, E_DENIED, "5.7.10 the sender requires TLS, and relay-tls is none");
	if (f->dane == DANE_USABLE) {
		*out = policy_dane;
		return 0;
	}
	if (span_eq(f->setting, SPAN_LIT("dane-only")))
		return err_set(err, E_DENIED, "5.7.10 the host has no TLSA records that can be used, and relay-tls is dane-only");
	*out = policy_verify;
	if (follow_sts(f, &policy_verify, out, err) != 0)
		return err_set(err, E_DENIED, "5.7.10 the sender requires TLS, and the MTA-STS policy of %s does not name the host %s", f->sts->domain, f->host);
	if (!f->trusted_name && !is_named(f))
		return err_set(err, E_DENIED, "5.7.10 the sender requires TLS, and that this is the right host is vouched for by nobody (DNSSEC, MTA-STS)");
	return 0;
}

/* ---- DANE ---- */

/* RFC 7672 section 2.2: records that are secure are binding, but for what the administrator forbids. "verify" asks for more than anybody. */
static void follow_records(const struct policy_facts *f, const struct policy *set, struct policy *out)
{
	if (set->use == SMTP_TLS_NEVER || set->trust == TLS_AUTHORITIES)
		return;
	if (f->dane == DANE_USABLE) {
		*out = policy_dane;
	} else if (f->dane == DANE_UNUSABLE && set->trust == TLS_ANYBODY) {
		*out = policy_encrypt;
		out->source = SOURCE_TLSA;
	}
}

/* ---- all of it ---- */

int policy_decide(const struct policy_facts *f, struct policy *out, struct err *err)
{
	const struct policy *set = policy_of(f->setting);
	int r = 0;

	*out = *set;
	if (f->requiretls) /* weighs more than the header field: RFC 8689 section 4.1 */
		return decide_required(f, out, err);
	if (set->trust == TLS_DANE && f->dane != DANE_USABLE)
		return err_set(err, E_UNAVAILABLE, "4.7.5 the host has no TLSA records that can be used, and relay-tls is dane-only");
	if (!f->tls_optional) {
		follow_records(f, set, out);
		r = follow_sts(f, set, out, err);
	}
	if (out->use == SMTP_TLS_MAY && (f->login || f->implicit)) {
		out->use = SMTP_TLS_MUST;
		out->in_clear_after_failure = false;
	}
	return r;
}

const char *policy_name(const struct policy *policy)
{
	static const char *const trusts[] = {[TLS_ANYBODY] = "encrypt", [TLS_AUTHORITIES] = "verify", [TLS_DANE] = "dane"};

	if (policy->source == SOURCE_STS && policy->trust == TLS_AUTHORITIES && !policy->testing)
		return "mta-sts";
	return policy->use == SMTP_TLS_NEVER ? "none" : policy->use == SMTP_TLS_MAY ? "may" : trusts[policy->trust];
}
