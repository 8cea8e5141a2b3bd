/*
 * Queue's own time: seconds since 1970 that go on at the pace of the machine's count since its boot, whatever the machine's clock is set
 * to. All that queue decides by a time, it decides by this one: the age of a message, when it is tried again, its id. The times in the
 * spool's records are of it. It began as the machine's clock, and is that for as long as nobody sets it.
 */
#ifndef MW_QUEUE_CLOCK_H
#define MW_QUEUE_CLOCK_H

#include "base/clock.h"
#include "spool/spool.h"

struct event;

struct queue_clock {
	int64_t base_ms;  /* its time when the machine booted */
	int64_t ahead_ms; /* how far the machine's clock was ahead of it when that was last looked at */
	int64_t saved_ms;
	char boot[SPOOL_BOOT_MAX]; /* empty: not known */
	struct event *timer;
	bool saving, changed; /* it is being written down; and has changed since that began */
};

struct queue;

/* Before the daemon is confined: which boot of the machine this is. */
void queue_clock_boot(struct queue_clock *clock);
/* It goes on where it was; with the key, and the threads that write. E_NOMEM. */
int queue_clock_start(struct queue *queue, struct err *err);
/* Has the machine's clock been set? Of itself it is looked at every few seconds. */
void queue_clock_look(struct queue *queue);
/* The names in the spool are read: with nothing in it queue's time may become the machine's. */
void queue_clock_settle(struct queue *queue);

static inline int64_t queue_clock_ms(const struct queue_clock *clock)
{
	return clock->base_ms + clock_boot_ms();
}

/* Seconds that the machine's clock is ahead, of the two as they are read: a second more or less from one moment to the next. */
static inline int64_t queue_clock_ahead(const struct queue_clock *clock)
{
	return clock_wall() - queue_clock_ms(clock) / 1000;
}

/* What the machine's clock would say: for people. */
static inline int64_t queue_clock_shown(const struct queue_clock *clock, int64_t when)
{
	return when + (clock_wall_ms() - queue_clock_ms(clock)) / 1000;
}

#endif
