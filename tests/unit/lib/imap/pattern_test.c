/* LIST patterns (RFC 3501 section 6.3.8) against a matcher that is obviously right. */
#include "tests/unit/test.h"

#include "imap/pattern.h"

#include <stdio.h>

/* "*" stands for any text, "%" for any without the separator. */
static bool matches(const char *pattern, const char *name)
{
	if (*pattern == '\0')
		return *name == '\0';
	if (*pattern == '*' || *pattern == '%')
		return matches(pattern + 1, name) || (*name != '\0' && (*pattern == '*' || *name != '/') && matches(pattern, name + 1));
	return *pattern == *name && matches(pattern + 1, name + 1);
}

/* Is something matched that begins with `name`? */
static bool matches_below(const char *pattern, const char *name)
{
	if (*name == '\0' || *pattern == '*')
		return true; /* the rest can be chosen */
	if (*pattern == '%')
		return matches_below(pattern + 1, name) || (*name != '/' && matches_below(pattern, name + 1));
	return *pattern == *name && matches_below(pattern + 1, name + 1);
}

static void all_short_patterns(void **state)
{
	static const char letters[] = "a/*%", name_letters[] = "ab/";
	char pattern[6], name[6];

	(void)state;
	for (int p = 0; p < 4 * 4 * 4 * 4 * 4; p++)
		for (int plen = 0; plen <= 5; plen++) {
			if (plen < 5 && p >= 1 << (2 * plen))
				continue;
			for (int i = 0; i < plen; i++)
				pattern[i] = letters[p >> (2 * i) & 3];
			pattern[plen] = '\0';
			for (int n = 0; n < 3 * 3 * 3; n++) {
				char below[8];
				enum imap_match want, got;
				int rest = n;

				for (int i = 0; i < 3; i++, rest /= 3)
					name[i] = name_letters[rest % 3];
				name[3] = '\0';
				/* No empty levels in names. */
				if (name[0] == '/' || name[2] == '/')
					continue;
				snprintf(below, sizeof(below), "%s/", name);
				want = matches(pattern, name) ? IMAP_MATCH_YES : matches_below(pattern, below) ? IMAP_MATCH_CHILDREN : IMAP_MATCH_NO;
				got = imap_pattern_match(span_str(pattern), span_str(name));
				if (got != want)
					fail_msg("'%s' on '%s': %d in place of %d", pattern, name, got, want);
			}
		}
}

/* Section 5.1: INBOX is INBOX in any case; other names are not. */
static void inbox_in_any_case(void **state)
{
	static const struct {
		const char *pattern, *name;
		enum imap_match match;
	} rows[] = {{"inbox", "INBOX", IMAP_MATCH_YES}, {"iN%", "INBOX", IMAP_MATCH_YES}, {"*box", "INBOX", IMAP_MATCH_YES}, {"inbox/%", "INBOX/a", IMAP_MATCH_YES},
	    {"inbox/A", "INBOX/a", IMAP_MATCH_NO}, {"inbox/%", "INBOX", IMAP_MATCH_CHILDREN}, {"sent", "Sent", IMAP_MATCH_NO}, {"inboxes", "INBOXES", IMAP_MATCH_NO},
	    {"a/inbox", "a/INBOX", IMAP_MATCH_NO}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (imap_pattern_match(span_str(rows[i].pattern), span_str(rows[i].name)) != rows[i].match)
			fail_msg("'%s' on '%s'", rows[i].pattern, rows[i].name);
}

static void too_long_a_pattern_matches_nothing(void **state)
{
	char pattern[IMAP_PATTERN_MAX + 1];

	(void)state;
	memset(pattern, '*', sizeof(pattern));
	assert_int_equal(imap_pattern_match(span_of(pattern, IMAP_PATTERN_MAX), SPAN_LIT("a")), IMAP_MATCH_YES);
	assert_int_equal(imap_pattern_match(span_of(pattern, IMAP_PATTERN_MAX + 1), SPAN_LIT("a")), IMAP_MATCH_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_short_patterns),
	    cmocka_unit_test(inbox_in_any_case),
	    cmocka_unit_test(too_long_a_pattern_matches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
