/*
 * What waits: of each message that is not active its id, when it is due, and the facts that lists and figures are made of. It is found by
 * its id, and the one due first is known; both take the same time however many wait, or very nearly. Each message costs 64 octets here, 16 of the heap, 5 to
 * 11 of the index, and its texts.
 */
#ifndef MW_QUEUE_WAITING_H
#define MW_QUEUE_WAITING_H

#include "queue/texts.h"

#include <stdbool.h>

#define WAITING_NEVER INT64_MAX
enum { WAITING_SIZE_BITS = 41 };

struct waiting {
	uint64_t id : 55;
	uint64_t known : 1;   /* the facts below are; else only its file has them */
	uint64_t several : 1; /* it has more recipients than the one below */
	uint64_t held : 1;
	uint64_t wished : 1;  /* it is due when its sender wished, however far ahead */
	uint64_t telling : 1; /* it is due when the sender is to be told something: it is read whatever its destination does */
	uint64_t warns : 1;   /* somebody is still to be warned of its delay */
	uint64_t size : WAITING_SIZE_BITS; /* of the content, octets */
	uint64_t share : 13;	  /* its sender's place in queue.senders */
	uint64_t recipients : 10; /* how many, in all */
	struct text *destination; /* where all that is open of it goes; NULL: here, to several, or not known */
	struct text *sender;
	struct text *recipient; /* the first that is open */
	struct text *reason;	/* the last answer for that one */
	uint32_t arrived, begun, next; /* seconds since 1970, queue's time; begun: when its life in the queue began; next: as far as its file says, also while it is held; of one wished by the machine's clock */
	uint32_t place; /* in the heap */
};

/* What waiting_tell is told; spans are borrowed. */
struct waiting_facts {
	uint64_t size;
	int64_t arrived, begun, next;
	bool warns;
	size_t recipients;
	struct span destination, sender, recipient, reason; /* empty: none */
	uint64_t (*hash)(void *arg, struct span s);	    /* of a text */
	void *arg;
};

struct waiting_set;

/* NULL: no memory. */
struct waiting_set *waiting_new(void);
void waiting_free(struct waiting_set **set);
size_t waiting_count(const struct waiting_set *set);
/* Any of them: i from 0 to waiting_count - 1. Here and below: valid until the next waiting_add or waiting_remove. */
struct waiting *waiting_at(const struct waiting_set *set, size_t i);
/* NULL: there is none. */
struct waiting *waiting_find(const struct waiting_set *set, uint64_t id);
/* The one that is due before all others; NULL: nothing waits. */
struct waiting *waiting_first(const struct waiting_set *set);
/* When it is due, queue's time; WAITING_NEVER. */
int64_t waiting_due(const struct waiting_set *set, const struct waiting *waiting);
/* A new one, of which nothing is known; one that is there already is due at another time. NULL: no memory. */
struct waiting *waiting_add(struct waiting_set *set, uint64_t id, int64_t due);
void waiting_move(struct waiting_set *set, struct waiting *waiting, int64_t due);
/* Its facts, in place of what was known. Where there is no memory for them, or no room (queue/texts.h), they stay unknown. */
void waiting_tell(struct waiting_set *set, struct waiting *waiting, const struct waiting_facts *facts);
/* false: it was not there. */
bool waiting_remove(struct waiting_set *set, uint64_t id);
/* How many go to the destination of this hash, as far as is known. It looks at all. */
size_t waiting_count_to(const struct waiting_set *set, uint64_t hash);
/* For whoever counts what is active by the texts of what waits: the text of this name. NULL: as texts_get. waiting_put gives it back. */
struct text *waiting_get(struct waiting_set *set, struct span name, uint64_t hash);
void waiting_put(struct waiting_set *set, struct text *text);
/* Octets that it takes, as far as they are used. */
size_t waiting_bytes(const struct waiting_set *set);

#endif
