/* Time: milliseconds since start of the machine for deadlines, seconds since 1970 for people. */
#ifndef MW_BASE_CLOCK_H
#define MW_BASE_CLOCK_H

#include "span.h"

#include <time.h>

static inline int64_t clock_monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Since the machine booted, also while it slept. Nobody sets this clock. */
static inline int64_t clock_boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline int64_t clock_wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static inline int64_t clock_wall_ms(void)
{
	return clock_wall_us() / 1000;
}

static inline int64_t clock_wall(void)
{
	return clock_wall_ms() / 1000;
}

/* "Jan" for 0 to "Dec" for 11, as mail and IMAP write them. */
extern const char clock_month_names[12][4];
/* 1 to 12 by the three letters s begins with, in any case; 0 when they are no month. */
unsigned clock_month(struct span s);
/* Days since 1970 of a date of the Gregorian calendar, months from 1; also of a day that is not in it. */
int64_t clock_days(int64_t year, unsigned month, unsigned day);

enum { CLOCK_RFC5322_MAX = 40 };

/*
 * "Tue, 24 Nov 2026 01:02:03 +0000" in local time into out (CLOCK_RFC5322_MAX
 * bytes); returns out. Local time is read once, before the sandbox: call
 * tzset() at start. RFC 5322 section 3.3.
 */
char *clock_format_rfc5322(int64_t wall, char *out);

enum { CLOCK_RFC3339_MAX = 40 };

/* "2030-01-31T08:00:00Z" (RFC 3339 section 5.6) to and from seconds since 1970; false: it is none, or of before 1970. */
bool clock_parse_rfc3339(struct span text, int64_t *wall);
void clock_format_rfc3339(int64_t wall, char out[CLOCK_RFC3339_MAX]);

#endif
