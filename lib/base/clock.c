#include "clock.h"

#include <stdio.h>

const char clock_month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

unsigned clock_month(struct span s)
{
	for (unsigned i = 0; i < 12; i++)
		if (span_startscase(s, span_of(clock_month_names[i], 3)))
			return i + 1;
	return 0;
}

/* Years begin in March, so that the leap day is the last; eras of 400 years have all the same days. */
int64_t clock_days(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (int64_t)(month <= 2 ? month + 9 : month - 3) + 2) / 5 + (int64_t)day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

char *clock_format_rfc5322(int64_t wall, char *out)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	time_t t = (time_t)wall;
	struct tm tm;
	long offset;

	localtime_r(&t, &tm);
	offset = tm.tm_gmtoff / 60;
	snprintf(out, CLOCK_RFC5322_MAX, "%s, %d %s %04d %02d:%02d:%02d %c%02ld%02ld",
	    days[tm.tm_wday % 7], tm.tm_mday % 100, clock_month_names[tm.tm_mon % 12],
	    (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100,
	    offset < 0 ? '-' : '+', (offset < 0 ? -offset : offset) / 60 % 100,
	    (offset < 0 ? -offset : offset) % 60);
	return out;
}
