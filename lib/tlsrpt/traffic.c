#include "tlsrpt/traffic.h"

#include "base/err.h"

static const char *const policy_names[TLSRPT_POLICY_TYPES] = {[TLSRPT_NO_POLICY] = "no-policy-found", [TLSRPT_TLSA] = "tlsa", [TLSRPT_STS] = "sts"};

/* RFC 8460 section 6.6 */
static const char *const result_names[TLSRPT_RESULTS] = {
    [TLSRPT_SUCCESS] = "",
    [TLSRPT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
    [TLSRPT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
    [TLSRPT_CERTIFICATE_EXPIRED] = "certificate-expired",
    [TLSRPT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
    [TLSRPT_VALIDATION_FAILURE] = "validation-failure",
    [TLSRPT_TLSA_INVALID] = "tlsa-invalid",
    [TLSRPT_DNSSEC_INVALID] = "dnssec-invalid",
    [TLSRPT_DANE_REQUIRED] = "dane-required",
    [TLSRPT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
    [TLSRPT_STS_POLICY_INVALID] = "sts-policy-invalid",
    [TLSRPT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
};

const char *tlsrpt_policy_name(enum tlsrpt_policy_type type)
{
	return policy_names[type];
}

const char *tlsrpt_result_name(enum tlsrpt_result result)
{
	return result_names[result];
}

struct tlsrpt_traffic *tlsrpt_traffic_new(int64_t begin)
{
	struct pool *pool = pool_new(NULL, TLSRPT_TRAFFIC_MAX);
	struct tlsrpt_traffic *t = pool ? pool_new_object(pool, struct tlsrpt_traffic) : NULL;

	if (t == NULL) {
		pool_free(&pool);
		return NULL;
	}
	t->pool = pool;
	t->begin = begin;
	return t;
}

void tlsrpt_traffic_free(struct tlsrpt_traffic **traffic)
{
	struct pool *pool = *traffic ? (*traffic)->pool : NULL;

	*traffic = NULL;
	pool_free(&pool);
}

/* Whole lines, as many as there is room for. */
static struct span limited(struct span lines)
{
	struct span s = span_sub(lines, 0, TLSRPT_STRINGS_MAX);

	while (s.len > 0 && s.len < lines.len && s.ptr[s.len - 1] != '\n')
		s.len--;
	return s;
}

/* Others' words cannot change the form of what is stored: a line stays one line. */
static void clean(char *text, size_t len, bool lines)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && !(lines && text[i] == '\n')) || text[i] == 0x7f)
			text[i] = ' ';
}

static struct span copy(struct pool *pool, struct span s, bool lines)
{
	char *text = pool_strndup(pool, s.ptr, s.len);

	if (text != NULL)
		clean(text, s.len, lines);
	return span_of(text, text ? s.len : 0);
}

static bool is_policy(const struct tlsrpt_policy *p, const struct tlsrpt_session *s)
{
	return p->type == s->type && span_eq(p->domain, s->domain) && span_eq(p->strings, limited(s->strings)) && span_eq(p->mx, limited(s->mx));
}

static struct tlsrpt_policy *find_policy(struct tlsrpt_traffic *t, const struct tlsrpt_session *s)
{
	struct tlsrpt_policy *p = t->policies;

	while (p < t->policies + t->policy_count && !is_policy(p, s))
		p++;
	if (p < t->policies + t->policy_count || t->policy_count == TLSRPT_POLICIES_MAX)
		return p;
	*p = (struct tlsrpt_policy){.type = s->type, .domain = copy(t->pool, s->domain, false), .strings = copy(t->pool, limited(s->strings), true),
	    .mx = copy(t->pool, limited(s->mx), true)};
	t->policy_count++;
	return p;
}

static bool is_detail(const struct tlsrpt_detail *d, size_t policy, const struct tlsrpt_session *s)
{
	return d->policy == policy && d->result == s->result && span_eq(d->our_address, s->our_address) && span_eq(d->address, s->address) &&
	       span_eq(d->host, s->host) && span_eq(d->reason, s->reason);
}

static void add_detail(struct tlsrpt_traffic *t, size_t policy, const struct tlsrpt_session *s)
{
	struct tlsrpt_detail *d = t->details;

	while (d < t->details + t->detail_count && !is_detail(d, policy, s))
		d++;
	if (d == t->details + TLSRPT_DETAILS_MAX)
		return;
	if (d == t->details + t->detail_count) {
		*d = (struct tlsrpt_detail){.policy = policy, .result = s->result, .our_address = copy(t->pool, s->our_address, false),
		    .host = copy(t->pool, s->host, false), .address = copy(t->pool, s->address, false), .reason = copy(t->pool, s->reason, false)};
		t->detail_count++;
	}
	d->count++;
}

int tlsrpt_traffic_add(struct tlsrpt_traffic *t, const struct tlsrpt_session *session)
{
	struct tlsrpt_policy *p = find_policy(t, session);
	struct tlsrpt_session s = *session;
	char reason[TLSRPT_REASON_MAX];

	s.reason = span_sub(s.reason, 0, sizeof(reason));
	memcpy(reason, s.reason.len > 0 ? s.reason.ptr : "", s.reason.len);
	clean(reason, s.reason.len, false);
	s.reason.ptr = reason;
	if (p == t->policies + TLSRPT_POLICIES_MAX)
		return E_LIMIT;
	p->successes += s.result == TLSRPT_SUCCESS;
	p->failures += s.result != TLSRPT_SUCCESS;
	if (s.result != TLSRPT_SUCCESS)
		add_detail(t, (size_t)(p - t->policies), &s);
	return pool_starved(t->pool) ? E_NOMEM : 0;
}
