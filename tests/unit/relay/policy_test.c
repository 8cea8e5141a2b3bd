/* Which TLS there must be: every setting, what the message says, what the host's records say. */
#include "tests/unit/test.h"

#include "relay/policy.h"

#include <stdio.h>

static const char *decide(const struct policy_facts *facts)
{
	static char text[300];
	struct policy policy;
	struct err err;
	int r = policy_decide(facts, &policy, &err);

	if (r != 0)
		snprintf(text, sizeof(text), "%s %.6s", r == E_DENIED ? "never" : "later", err.text);
	else
		snprintf(text, sizeof(text), "%s%s%s%s", policy_name(&policy), policy.in_clear_after_failure ? ", or in clear" : "", policy.testing ? ", testing" : "",
		    policy.not_named ? ", not named" : "");
	return text;
}

struct row {
	const char *setting;
	enum policy_dane dane;
	bool requiretls, optional, login, trusted;
	const char *policy;
};

static void decisions(void **state)
{
	static const struct row rows[] = {
	    {"none", DANE_NONE, false, false, false, true, "none"},
	    {"may", DANE_NONE, false, false, false, true, "may, or in clear"},
	    {"encrypt", DANE_NONE, false, false, false, true, "encrypt"},
	    {"verify", DANE_NONE, false, false, false, true, "verify"},
	    {"dane-only", DANE_NONE, false, false, false, true, "later 4.7.5 "},
	    /* RFC 7672 section 2.2 */
	    {"none", DANE_USABLE, false, false, false, true, "none"},
	    {"may", DANE_USABLE, false, false, false, true, "dane"},
	    {"encrypt", DANE_USABLE, false, false, false, true, "dane"},
	    {"verify", DANE_USABLE, false, false, false, true, "verify"},
	    {"dane-only", DANE_USABLE, false, false, false, true, "dane"},
	    {"may", DANE_UNUSABLE, false, false, false, true, "encrypt"},
	    {"verify", DANE_UNUSABLE, false, false, false, true, "verify"},
	    {"dane-only", DANE_UNUSABLE, false, false, false, true, "later 4.7.5 "},
	    /* TLS-Required: No: what the recipients' side asks for is passed over, what is set here is not. */
	    {"may", DANE_USABLE, false, true, false, true, "may, or in clear"},
	    {"may", DANE_UNUSABLE, false, true, false, true, "may, or in clear"},
	    {"encrypt", DANE_NONE, false, true, false, true, "encrypt"},
	    {"verify", DANE_USABLE, false, true, false, true, "verify"},
	    /* REQUIRETLS weighs more than all. */
	    {"none", DANE_NONE, true, false, false, true, "never 5.7.10"},
	    {"may", DANE_NONE, true, false, false, true, "verify"},
	    {"may", DANE_NONE, true, false, false, false, "never 5.7.10"},
	    {"may", DANE_USABLE, true, false, false, true, "dane"},
	    {"may", DANE_UNUSABLE, true, false, false, true, "verify"},
	    {"encrypt", DANE_NONE, true, true, false, true, "verify"},
	    {"dane-only", DANE_NONE, true, false, false, true, "never 5.7.10"},
	    /* A password is never said in clear. */
	    {"may", DANE_NONE, false, false, true, true, "encrypt"},
	    {"may", DANE_NONE, false, true, true, true, "encrypt"},
	    {"verify", DANE_NONE, false, false, true, true, "verify"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy_facts facts = {.setting = span_str(rows[i].setting), .login = rows[i].login, .requiretls = rows[i].requiretls,
		    .tls_optional = rows[i].optional, .trusted_name = rows[i].trusted, .dane = rows[i].dane};
		const char *got = decide(&facts);

		if (strcmp(got, rows[i].policy) != 0)
			fail_msg("row %zu, %s: %s", i, rows[i].setting, got);
	}
}

/* RFC 8461 section 5, and what goes ahead of it. */
static void decisions_with_a_policy(void **state)
{
	static const struct {
		const char *setting;
		enum sts_mode mode;
		bool named;
		enum policy_dane dane;
		bool requiretls, optional;
		const char *policy;
	} rows[] = {
	    {"may", STS_ENFORCE, true, DANE_NONE, false, false, "mta-sts"},
	    {"may", STS_ENFORCE, false, DANE_NONE, false, false, "later 4.7.5 "},
	    {"may", STS_TESTING, true, DANE_NONE, false, false, "may, or in clear, testing"},
	    {"may", STS_TESTING, false, DANE_NONE, false, false, "may, or in clear, testing, not named"},
	    {"may", STS_NONE, false, DANE_NONE, false, false, "may, or in clear"},
	    {"encrypt", STS_ENFORCE, true, DANE_NONE, false, false, "mta-sts"},
	    {"encrypt", STS_TESTING, true, DANE_NONE, false, false, "encrypt, testing"},
	    {"verify", STS_ENFORCE, true, DANE_NONE, false, false, "mta-sts"},
	    {"verify", STS_ENFORCE, false, DANE_NONE, false, false, "later 4.7.5 "},
	    {"verify", STS_TESTING, false, DANE_NONE, false, false, "verify, testing, not named"},
	    {"none", STS_ENFORCE, false, DANE_NONE, false, false, "none"},
	    /* Records go ahead; those that cannot be used leave it to the policy. */
	    {"may", STS_ENFORCE, true, DANE_USABLE, false, false, "dane"},
	    {"may", STS_ENFORCE, false, DANE_USABLE, false, false, "dane"},
	    {"verify", STS_ENFORCE, false, DANE_USABLE, false, false, "verify"},
	    {"dane-only", STS_ENFORCE, false, DANE_USABLE, false, false, "dane"},
	    {"dane-only", STS_ENFORCE, true, DANE_NONE, false, false, "later 4.7.5 "},
	    {"may", STS_ENFORCE, true, DANE_UNUSABLE, false, false, "mta-sts"},
	    {"may", STS_ENFORCE, false, DANE_UNUSABLE, false, false, "later 4.7.5 "},
	    {"may", STS_TESTING, true, DANE_UNUSABLE, false, false, "encrypt, testing"},
	    /* What the message says. */
	    {"may", STS_ENFORCE, false, DANE_NONE, false, true, "may, or in clear"},
	    {"may", STS_ENFORCE, true, DANE_NONE, true, false, "mta-sts"},
	    {"may", STS_ENFORCE, false, DANE_NONE, true, true, "never 5.7.10"},
	    {"may", STS_TESTING, true, DANE_NONE, true, false, "verify, testing"},
	    {"may", STS_TESTING, false, DANE_NONE, true, false, "never 5.7.10"},
	    {"may", STS_NONE, true, DANE_NONE, true, false, "never 5.7.10"},
	    {"may", STS_ENFORCE, false, DANE_USABLE, true, false, "dane"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sts_policy policy = {.domain = "a.test", .mode = rows[i].mode, .mx_count = 1, .names = "*.a.test"};
		struct policy_facts facts = {.setting = span_str(rows[i].setting), .requiretls = rows[i].requiretls, .tls_optional = rows[i].optional, .dane = rows[i].dane,
		    .sts = &policy, .host = rows[i].named ? "mx.a.test" : "mx.b.test"};
		const char *got = decide(&facts);

		if (strcmp(got, rows[i].policy) != 0)
			fail_msg("row %zu, %s: %s", i, rows[i].setting, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(decisions), cmocka_unit_test(decisions_with_a_policy)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
