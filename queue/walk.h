/*
 * A walk through all messages of the queue, oldest first, a few milliseconds at a time: mail goes on meanwhile, and so does everything else. It
 * goes by the ids there were at its beginning; those that have gone since are passed by.
 */
#ifndef MW_QUEUE_WALK_H
#define MW_QUEUE_WALK_H

#include "queue/queue.h"

struct walk;

enum walk_next {
	WALK_ON,
	WALK_WAIT,  /* this one is not done: again after walk_go_on */
	WALK_LATER, /* this one is not done: again in a moment */
	WALK_STOP,  /* none of the rest */
};

/*
 * one(arg, id) for each message that is active or waits, then end(arg); neither is called from here. NULL: no memory. The walk is gone
 * when end is called.
 */
struct walk *walk_begin(struct queue *queue, enum walk_next (*one)(void *arg, uint64_t id), void (*end)(void *arg), void *arg);
/* walk: a struct walk. */
void walk_go_on(void *walk);

#endif
