/*
 * Questions under way: each is asked of libunbound once, whoever waits for it, and ends at its time-out. The one libunbound context, and with it
 * the one cache of the suite, is in here.
 */
#ifndef MW_RESOLVE_FLIGHTS_H
#define MW_RESOLVE_FLIGHTS_H

#include "base/err.h"
#include "dns/dns.h"
#include "ipc/ipc.h"

struct event_base;
struct flight;
struct flights;
struct settings;

enum { FLIGHTS_MAX = 8192 /* questions at once; further ones are put off */ };

/* reply: borrowed until it returns. The waiter is no longer waiting. */
typedef void flight_done(void *arg, const struct dns_reply *reply);

/* Who waits; the asker's memory. All zero when it does not wait. */
struct flight_waiter {
	struct flight_waiter *next, **link;
	struct flight *flight;
	flight_done *done;
	void *arg;
};

struct flights_stats {
	uint64_t questions, shared, timeouts, failures, bogus;
	size_t under_way;
};

/* settings: owned from now on. Fails when libunbound does not take them. */
int flights_new(struct event_base *base, struct settings *settings, struct flights **out, struct err *err);
/*
 * Other settings, which are owned from now on, also when they are refused. What is under way is asked again by the new ones; what was kept is
 * thrown away if it could be another now.
 */
int flights_change(struct flights *flights, struct settings *settings, struct err *err);
/* Throws away all that is kept. */
int flights_flush(struct flights *flights, struct err *err);
/* name: normalized. done is called once, perhaps before this returns. */
void flights_ask(struct flights *flights, struct span name, unsigned type, struct flight_waiter *waiter, flight_done *done, void *arg);
/* Does not wait any more; nothing when it did not. */
void flights_leave(struct flight_waiter *waiter);
const struct flights_stats *flights_stats(const struct flights *flights);

#endif
