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
		snprintf(text, sizeof(text), "%s%s", policy_name(&policy), policy.in_clear_after_failure ? ", or in clear" : "");
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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(decisions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
