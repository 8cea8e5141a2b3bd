/*
 * MTA-STS: TXT records and policies as others wrote them, and what is kept of a policy. Input: an octet: 1, a TXT record's text; 2, what is kept; else a policy. What is accepted is
 * bounded, has names that can be asked for, and is written and read again to the same; each of its patterns fits the host it names, and no other's.
 */
#include "tests/fuzz/fuzz.h"

#include "relay/sts_cache.h"

static void take_record(struct span text)
{
	char id[STS_ID_MAX + 1];
	struct err err = {0};
	int r = sts_record_parse(text, id, &err);

	fuzz_assert(r == 0 || ((r == E_SYNTAX || r == E_NOTFOUND) && err.text[0] != '\0'));
	if (r != 0)
		return;
	fuzz_assert(id[0] != '\0' && span_startswith(text, SPAN_LIT("v=STSv1")));
	for (const char *p = id; *p != '\0'; p++)
		fuzz_assert(ascii_is_alnum(*p));
}

static void take_pattern(const struct sts_policy *policy, const char *pattern)
{
	bool wild = pattern[0] == '*';
	char host[DNS_NAME_TEXT + 8], name[DNS_NAME_TEXT];

	fuzz_assert(dns_name_normalize(span_str(pattern + (wild ? 2 : 0)), name) == 0);
	fuzz_assert_same(span_str(name), span_str(pattern + (wild ? 2 : 0)));
	memcpy(host, "a.b.", 4);
	memcpy(host + 4, name, strlen(name) + 1);
	fuzz_assert(sts_policy_matches(policy, wild ? host + 2 : name));
	if (policy->mx_count == 1)
		fuzz_assert(!sts_policy_matches(policy, host) && sts_policy_matches(policy, name) == !wild);
}

static void take_policy(struct span text)
{
	struct sts_policy policy, again;
	struct err err = {0};
	struct buf out;
	int r = sts_policy_parse(text, &policy, &err);

	(void)sts_type_is_text(text);
	fuzz_assert(r == 0 || ((r == E_SYNTAX || r == E_TOOBIG || r == E_LIMIT) && err.text[0] != '\0'));
	if (r != 0)
		return;
	fuzz_assert(policy.mx_count <= STS_MX_MAX && policy.max_age <= STS_AGE_MAX && (policy.mx_count > 0 || policy.mode == STS_NONE));
	for (size_t i = 0; i < policy.mx_count; i++)
		take_pattern(&policy, sts_policy_mx(&policy, i));
	buf_init(&out, STS_TEXT_MAX);
	sts_policy_format(&policy, &out);
	fuzz_assert(!buf_failed(&out) && sts_policy_parse(buf_span(&out), &again, &err) == 0);
	fuzz_assert(memcmp(&policy, &again, sizeof(policy)) == 0);
	buf_fini(&out);
}

/* Whatever the disk says. */
static void take_kept(struct span record)
{
	struct sts_cached cached, again;
	struct buf out;

	if (sts_cached_decode(SPAN_LIT("a.test"), record, &cached) != 0)
		return;
	fuzz_assert(sts_cached_until(&cached) >= cached.fetched);
	buf_init(&out, 2 * STS_TEXT_MAX);
	sts_cached_encode(&cached, &out);
	fuzz_assert(sts_cached_decode(SPAN_LIT("a.test"), buf_span(&out), &again) == 0);
	fuzz_assert(again.fetched == cached.fetched && again.used == cached.used && memcmp(&again.policy, &cached.policy, sizeof(again.policy)) == 0);
	buf_fini(&out);
}

void fuzz_one(struct span input)
{
	struct buf text;

	buf_init(&text, 2 * STS_FILE_MAX);
	switch (fuzz_byte(&input)) {
	case 1:
		take_record(input);
		break;
	case 2:
		take_kept(input);
		break;
	default:
		fuzz_expand(input, &text);
		take_policy(buf_span(&text));
		break;
	}
	buf_fini(&text);
}
