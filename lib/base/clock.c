#include "clock.h"

#include <stdio.h>

char *clock_format_rfc5322(int64_t wall, char *out)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	    "Sep", "Oct", "Nov", "Dec"};
	time_t t = (time_t)wall;
	struct tm tm;
	long offset;

	localtime_r(&t, &tm);
	offset = tm.tm_gmtoff / 60;
	snprintf(out, CLOCK_RFC5322_MAX, "%s, %d %s %04d %02d:%02d:%02d %c%02ld%02ld",
	    days[tm.tm_wday % 7], tm.tm_mday % 100, months[tm.tm_mon % 12],
	    (tm.tm_year + 1900) % 10000, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100,
	    offset < 0 ? '-' : '+', (offset < 0 ? -offset : offset) / 60 % 100,
	    (offset < 0 ? -offset : offset) % 60);
	return out;
}
