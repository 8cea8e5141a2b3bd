/* plant: queue; wraps: removal_lasting */
/* What is done with is left to the file system, which makes it durable when it pleases. */
#include "queue/queue.h"

void __wrap_removal_lasting(struct queue *queue, uint64_t id);

void __wrap_removal_lasting(struct queue *queue, uint64_t id)
{
	(void)queue, (void)id;
}
