#include "relay/policy.h"

static const struct policy policy_none = {SMTP_TLS_NEVER, TLS_ANYBODY, false};
static const struct policy policy_may = {SMTP_TLS_MAY, TLS_ANYBODY, true};
static const struct policy policy_encrypt = {SMTP_TLS_MUST, TLS_ANYBODY, false};
static const struct policy policy_verify = {SMTP_TLS_MUST, TLS_AUTHORITIES, false};
static const struct policy policy_dane = {SMTP_TLS_MUST, TLS_DANE, false};

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
	if (!f->trusted_name)
		return err_set(err, E_DENIED, "5.7.10 the sender requires TLS, and that this is the right host is vouched for by nobody (DNSSEC)");
	*out = policy_verify;
	return 0;
}

/* RFC 7672 section 2.2: records that are secure are binding, but for what the administrator forbids. "verify" asks for more than anybody. */
static void follow_records(const struct policy_facts *f, const struct policy *set, struct policy *out)
{
	if (set->use == SMTP_TLS_NEVER || set->trust == TLS_AUTHORITIES)
		return;
	if (f->dane == DANE_USABLE)
		*out = policy_dane;
	else if (f->dane == DANE_UNUSABLE && set->trust == TLS_ANYBODY)
		*out = policy_encrypt;
}

int policy_decide(const struct policy_facts *f, struct policy *out, struct err *err)
{
	const struct policy *set = policy_of(f->setting);

	*out = *set;
	if (f->requiretls) /* weighs more than the header field: RFC 8689 section 4.1 */
		return decide_required(f, out, err);
	if (set->trust == TLS_DANE && f->dane != DANE_USABLE)
		return err_set(err, E_UNAVAILABLE, "4.7.5 the host has no TLSA records that can be used, and relay-tls is dane-only");
	if (!f->tls_optional)
		follow_records(f, set, out);
	if (out->use == SMTP_TLS_MAY && (f->login || f->implicit))
		*out = policy_encrypt;
	return 0;
}

const char *policy_name(const struct policy *policy)
{
	static const char *const trusts[] = {[TLS_ANYBODY] = "encrypt", [TLS_AUTHORITIES] = "verify", [TLS_DANE] = "dane"};

	return policy->use == SMTP_TLS_NEVER ? "none" : policy->use == SMTP_TLS_MAY ? "may" : trusts[policy->trust];
}
