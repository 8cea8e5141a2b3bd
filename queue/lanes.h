/*
 * The jobs that wait for one destination, in lanes: one for each sender. Lanes take turns, and where there are as many jobs as there may be the longest lane
 * makes room: who sends a thousand messages waits behind himself, and nobody behind him.
 */
#ifndef MW_QUEUE_LANES_H
#define MW_QUEUE_LANES_H

#include <stdbool.h>
#include <stdint.h>

struct job;
struct message;

/* Jobs of one sender. */
struct lane {
	struct lane *next;
	uint64_t sender;
	uint32_t share; /* its place in queue.senders, which few have in common */
	unsigned count;
	struct job *jobs, **jobs_tail; /* such as were not tried before first */
};

/* All zero: none waits. */
struct lanes {
	struct lane *first, *last; /* the first one's turn it is */
	unsigned count;		   /* jobs */
};

/*
 * May one more of this sender wait, where there are to be `most` jobs? Yes while there are fewer; where a lane would give one up for it, being longer than this one is
 * with it; and, up to twice as many, where it has none. Then lanes_crowd_out is called.
 */
bool lanes_have_room(const struct lanes *lanes, uint64_t sender, unsigned most);
/* The same of a sender of whom only the share is known. */
bool lanes_have_room_for_share(const struct lanes *lanes, uint32_t share, unsigned most);
/* false: no memory. */
bool lanes_put(struct lanes *lanes, uint64_t sender, uint32_t share, struct job *job);
/* The next job in turn; there is one. */
struct job *lanes_take(struct lanes *lanes);
/* The last job of the longest lane, when there are more than `most`; NULL: no lane has two. */
struct job *lanes_crowd_out(struct lanes *lanes, unsigned most);
/* All that are this message's, as a list. */
struct job *lanes_withdraw(struct lanes *lanes, const struct message *message);

#endif
