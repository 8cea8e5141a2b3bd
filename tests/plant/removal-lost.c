/* plant: queue; wraps: removal_sync_soon removal_unlink */
/* What is done with is left to the file system, which makes it durable when it pleases. */
#include "queue/queue.h"

void __real_removal_unlink(struct queue *queue, uint64_t id, bool durable);
void __wrap_removal_unlink(struct queue *queue, uint64_t id, bool durable);
void __wrap_removal_sync_soon(struct queue *queue, uint64_t id);

void __wrap_removal_sync_soon(struct queue *queue, uint64_t id)
{
	(void)queue, (void)id;
}

void __wrap_removal_unlink(struct queue *queue, uint64_t id, bool durable)
{
	(void)durable;
	__real_removal_unlink(queue, id, false);
}
