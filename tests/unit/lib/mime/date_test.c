/* Dates of header fields (RFC 5322 sections 3.3 and 4.3). */
#include "tests/unit/test.h"

#include "mime/header.h"

#include <stdio.h>

static void the_dates_of_the_rfc(void **state)
{
	static const struct {
		const char *text;
		int64_t when;
	} rows[] = {
	    /* Appendix A.1.1, A.1.2, A.2, A.4 */
	    {"Fri, 21 Nov 1997 09:55:06 -0600", 880127706},
	    {"Tue, 1 Jul 2003 10:52:37 +0200", 1057049557},
	    {"Thu, 13 Feb 1969 23:32:54 -0330", -27723426},
	    {"Mon, 24 Nov 1997 14:22:01 -0800", 880410121},
	    /* A.5: white space, comments, and no seconds */
	    {"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)", -27723480},
	    /* A.6.2: the obsolete year and zone */
	    {"21 Nov 97 09:55:06 GMT", 880106106},
	    /* A.6.3: white space and comments where they may not be made any more */
	    {"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706},
	};
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!mime_date_parse(span_str(rows[i].text), &when, NULL))
			fail_msg("refused: %s", rows[i].text);
		if (when != rows[i].when)
			fail_msg("%s is %lld", rows[i].text, (long long)when);
	}
}

/* Section 4.3: EST and so on have their hours; other letters stand for -0000. */
static void zones(void **state)
{
	static const struct {
		const char *zone;
		int64_t minutes;
	} rows[] = {{"UT", 0}, {"GMT", 0}, {"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}, {"est", -300}, {"Z", 0}, {"A", 0}, {"CEST", 0}, {"", 0},
	    {"+0000", 0}, {"-0000", 0}, {"+1400", 840}, {"-1200", -720}, {"+0530", 330}, {"-9959", -(99 * 60 + 59)}};
	char text[80];
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "1 Jan 1970 00:00:00 %s", rows[i].zone);
		assert_true(mime_date_parse(span_str(text), &when, NULL));
		if (when != -rows[i].minutes * 60)
			fail_msg("%s is %lld", rows[i].zone, (long long)when);
	}
}

/* Section 4.3: two digits from 00 to 49 are of this century, from 50 to 99 and three of the last. */
static void years(void **state)
{
	static const struct {
		const char *year;
		int64_t when;
	} rows[] = {{"2000", 946684800}, {"00", 946684800}, {"49", 2493072000}, {"50", -631152000}, {"99", 915148800}, {"100", 946684800}, {"1900", -2208988800}, {"9999", 253370764800}};
	char text[80];
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "1 Jan %s 00:00:00 +0000", rows[i].year);
		assert_true(mime_date_parse(span_str(text), &when, NULL));
		if (when != rows[i].when)
			fail_msg("%s is %lld", rows[i].year, (long long)when);
	}
}

static void months_and_their_days(void **state)
{
	static const char names[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t want = 1672531200 /* 1 Jan 2023 */, when;
	char text[80];

	(void)state;
	for (int m = 0; m < 12; m++)
		for (int d = 1; d <= 32; d++) {
			bool is = d <= days[m];

			snprintf(text, sizeof(text), "%d %s 2023 00:00:00 +0000", d, names[m]);
			if (mime_date_parse(span_str(text), &when, NULL) != is) /* section 3.3: a day of that month */
				fail_msg("%s", text);
			if (!is)
				continue;
			assert_true(when == want);
			want += 86400;
		}
	assert_true(mime_date_parse(SPAN_LIT("29 Feb 2024 00:00:00 +0000"), &when, NULL));
	assert_true(mime_date_parse(SPAN_LIT("29 Feb 2000 00:00:00 +0000"), &when, NULL));
	assert_false(mime_date_parse(SPAN_LIT("29 Feb 2100 00:00:00 +0000"), &when, NULL));
	assert_true(mime_date_parse(SPAN_LIT("1 JAN 2023 00:00:00 +0000"), &when, NULL));
}

static void what_is_none(void **state)
{
	static const char *const bad[] = {"", " ", "()", "Fri", "Fri,", "Fri, 21", "Fri, 21 Nov", "21 Nov 1997", "21 Nov 1997 09", "21 Nov 1997 09:", "21 Nov 1997 09:xx", "21 Nov 1997 09:60:00 +0000", "21 Nov 1997 24:00:00 +0000",
	    "21 Nov 1997 09:55:61 +0000", "21 Nov 1997 09:55: +0000", "0 Nov 1997 09:55:06 +0000", "32 Nov 1997 09:55:06 +0000", "21 Nob 1997 09:55:06 +0000", "21 No", "21 November 1997 09:55:06 +0000", "Nov 21 1997 09:55:06 +0000",
	    "1997-11-21T09:55:06Z", "21 Nov 10000 09:55:06 +0000", "-1 Nov 1997 09:55:06 +0000", "999999999999 Nov 1997 09:55:06 +0000", "(", "Fri, (21 Nov 1997 09:55:06"};
	int64_t when;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mime_date_parse(span_str(bad[i]), &when, NULL))
			fail_msg("accepted: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_dates_of_the_rfc),
	    cmocka_unit_test(zones),
	    cmocka_unit_test(years),
	    cmocka_unit_test(months_and_their_days),
	    cmocka_unit_test(what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
