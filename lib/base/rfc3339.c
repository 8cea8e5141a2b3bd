/*
 * Dates of the internet (RFC 3339 section 5.6):
 *
 *   date-time = full-date "T" partial-time ( "Z" / ( "+" / "-" ) time-hour ":" time-minute )
 */
#include "clock.h"

enum { DATE_TIME_MAX = 64, DAY = 86400 };

/* Exactly this many digits off the front. */
static bool take_digits(struct span *in, size_t digits, int64_t least, int64_t most, int64_t *out)
{
	uint64_t value;

	if (in->len < digits || !span_u64(span_sub(*in, 0, digits), (uint64_t)most, &value) || (int64_t)value < least)
		return false;
	*out = (int64_t)value;
	*in = span_from(*in, digits);
	return true;
}

static bool take_char(struct span *in, char c)
{
	if (in->len == 0 || ascii_lower(in->ptr[0]) != c)
		return false;
	*in = span_from(*in, 1);
	return true;
}

/* full-date: a day that is in the calendar. */
static bool take_date(struct span *in, int64_t *days)
{
	static const int64_t lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t year, month, day;

	if (!take_digits(in, 4, 1970, 9999, &year) || !take_char(in, '-') || !take_digits(in, 2, 1, 12, &month) || !take_char(in, '-') ||
	    !take_digits(in, 2, 1, 31, &day) || day > lengths[month - 1])
		return false;
	if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
		return false;
	*days = clock_days(year, (unsigned)month, (unsigned)day);
	return true;
}

/* partial-time; a leap second counts as the one before it. */
static bool take_time(struct span *in, int64_t *seconds)
{
	int64_t hour, minute, second, digit;

	if (!take_digits(in, 2, 0, 23, &hour) || !take_char(in, ':') || !take_digits(in, 2, 0, 59, &minute) || !take_char(in, ':') ||
	    !take_digits(in, 2, 0, 60, &second))
		return false;
	*seconds = hour * 3600 + minute * 60 + (second == 60 ? 59 : second);
	if (!take_char(in, '.'))
		return true;
	if (!take_digits(in, 1, 0, 9, &digit))
		return false;
	while (take_digits(in, 1, 0, 9, &digit))
		;
	return true;
}

/* time-offset */
static bool take_offset(struct span *in, int64_t *seconds)
{
	int64_t hour, minute, sign = take_char(in, '+') ? 1 : take_char(in, '-') ? -1 : 0;

	*seconds = 0;
	if (sign == 0)
		return take_char(in, 'z');
	if (!take_digits(in, 2, 0, 23, &hour) || !take_char(in, ':') || !take_digits(in, 2, 0, 59, &minute))
		return false;
	*seconds = sign * (hour * 3600 + minute * 60);
	return true;
}

bool clock_parse_rfc3339(struct span text, int64_t *wall)
{
	int64_t days, seconds, offset;

	if (text.len > DATE_TIME_MAX || !take_date(&text, &days) || !take_char(&text, 't') || !take_time(&text, &seconds) ||
	    !take_offset(&text, &offset) || text.len > 0)
		return false;
	*wall = days * DAY + seconds - offset;
	return *wall >= 0;
}

void clock_format_rfc3339(int64_t wall, char out[CLOCK_RFC3339_MAX])
{
	time_t t = (time_t)wall;
	struct tm tm = {0};

	gmtime_r(&t, &tm);
	if (strftime(out, CLOCK_RFC3339_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}
