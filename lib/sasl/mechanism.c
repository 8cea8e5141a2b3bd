/* The mechanisms: their names, and which are offered when. */
#include "sasl/sasl.h"

static const struct {
	const char *name;
	bool plain;
} mechanisms[SASL_MECHANISMS] = {
    [SASL_PLAIN] = {"PLAIN", true},
    [SASL_LOGIN] = {"LOGIN", true},
    [SASL_EXTERNAL] = {"EXTERNAL", false},
    [SASL_SCRAM_SHA_1] = {"SCRAM-SHA-1", false},
    [SASL_SCRAM_SHA_1_PLUS] = {"SCRAM-SHA-1-PLUS", false},
    [SASL_SCRAM_SHA_256] = {"SCRAM-SHA-256", false},
    [SASL_SCRAM_SHA_256_PLUS] = {"SCRAM-SHA-256-PLUS", false},
    [SASL_OAUTHBEARER] = {"OAUTHBEARER", true},
    [SASL_XOAUTH2] = {"XOAUTH2", true},
};

bool sasl_mechanism_find(struct span name, enum sasl_mechanism *out)
{
	for (*out = 0; *out < SASL_MECHANISMS; ++*out)
		if (span_caseeq(name, span_str(mechanisms[*out].name)))
			return true;
	return false;
}

const char *sasl_mechanism_name(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].name;
}

bool sasl_mechanism_is_plain(enum sasl_mechanism mechanism)
{
	return mechanisms[mechanism].plain;
}

bool sasl_mechanism_is_plus(enum sasl_mechanism mechanism)
{
	return mechanism == SASL_SCRAM_SHA_1_PLUS || mechanism == SASL_SCRAM_SHA_256_PLUS;
}

uint32_t sasl_withheld(struct span offered)
{
	uint32_t named = 0;

	while (offered.len > 0) {
		size_t end = span_find(offered, ' ');
		enum sasl_mechanism mechanism;

		if (sasl_mechanism_find(span_sub(offered, 0, end), &mechanism))
			named |= UINT32_C(1) << mechanism;
		offered = span_from(offered, end + 1);
	}
	return ~named;
}

/* In the order of preference, which some clients take from us. */
static const enum sasl_mechanism offered[] = {SASL_EXTERNAL, SASL_SCRAM_SHA_256_PLUS, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1_PLUS, SASL_SCRAM_SHA_1, SASL_PLAIN,
    SASL_LOGIN, SASL_OAUTHBEARER, SASL_XOAUTH2};

bool sasl_mechanism_is_offered(enum sasl_mechanism mechanism, struct sasl_terms terms)
{
	if (mechanism < SASL_MECHANISMS && (terms.withheld & UINT32_C(1) << mechanism))
		return false;
	switch (mechanism) {
	case SASL_EXTERNAL:
		return terms.certificate;
	case SASL_SCRAM_SHA_1_PLUS:
	case SASL_SCRAM_SHA_256_PLUS:
		return terms.bound;
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
		return terms.bearer;
	case SASL_MECHANISMS:
		return false;
	default:
		return true;
	}
}

bool sasl_plus_is_offered(struct sasl_terms terms)
{
	return sasl_mechanism_is_offered(SASL_SCRAM_SHA_256_PLUS, terms) || sasl_mechanism_is_offered(SASL_SCRAM_SHA_1_PLUS, terms);
}

bool sasl_any_is_offered(struct sasl_terms terms)
{
	enum sasl_mechanism mechanism = 0;

	while (mechanism < SASL_MECHANISMS && !sasl_mechanism_is_offered(mechanism, terms))
		mechanism++;
	return mechanism < SASL_MECHANISMS;
}

void sasl_put_offers(struct buf *out, const char *prefix, struct sasl_terms terms)
{
	for (size_t i = 0; i < sizeof(offered) / sizeof(offered[0]); i++)
		if (sasl_mechanism_is_offered(offered[i], terms))
			buf_printf(out, "%s%s", prefix, sasl_mechanism_name(offered[i]));
}
