#include "queue/pace.h"

enum {
	PACE_MINUTE_US = 60 * 1000 * 1000,
	PACE_LATE_US = 50 * 1000, /* a turn that is noticed so late does not put off the next one */
};

int64_t pace_take(struct pace *pace, uint64_t rate, int64_t now_ms)
{
	int64_t now = now_ms * 1000;

	if (rate == 0)
		return 0;
	if (pace->next_us > now)
		return (pace->next_us - now + 999) / 1000;
	if (pace->next_us < now - PACE_LATE_US)
		pace->next_us = now;
	pace->next_us += (int64_t)((PACE_MINUTE_US + rate - 1) / rate);
	return 0;
}
