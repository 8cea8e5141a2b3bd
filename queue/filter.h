/* Which messages of the queue an administrator means: by sender, recipient, destination, age, status and the last answer. */
#ifndef MW_QUEUE_FILTER_H
#define MW_QUEUE_FILTER_H

#include "queue/destination.h"
#include "queue/waiting.h"

struct filter {
	struct span sender, recipient, status, destination, reason;
	int64_t before; /* came before that, queue's time; 0: whenever */
	bool any; /* one of them, or --all */
	struct span to; /* of reroute; no filter, and not copied */
};

/* Of a request, from its third word on; spans borrow args. ids: how many words are no options. false: an option that is none, or lacks its value. */
bool filter_parse(const struct queue *queue, const struct span *args, size_t count, struct filter *filter, size_t *ids);
/* A copy whose texts are the pool's; false: no memory. */
bool filter_copy(struct pool *pool, const struct filter *from, struct filter *to);
bool filter_status_is_known(struct span status);
/* "active", "deferred", "scheduled" or "held"; static. */
const char *filter_status_of(const struct message *message);
const char *filter_status_of_waiting(const struct queue *queue, const struct waiting *waiting);
bool filter_matches(const struct message *message, const struct filter *filter);

enum filter_fit { FILTER_NO, FILTER_YES, FILTER_READ /* its file has to be looked at */ };
enum filter_fit filter_fits(const struct queue *queue, const struct waiting *waiting, const struct filter *filter);

#endif
