/* Turns at even distances: so many a minute. */
#ifndef MW_QUEUE_PACE_H
#define MW_QUEUE_PACE_H

#include <stdint.h>

/* All zero: none was given. */
struct pace {
	int64_t next_us; /* when the next turn is, of the clock that the caller has */
};

/* 0: it is given now. Else in how many milliseconds one may be. rate: a minute; 0: no limit. */
int64_t pace_take(struct pace *pace, uint64_t rate, int64_t now_ms);

#endif
