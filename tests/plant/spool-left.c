/* plant: queue; wraps: removal_unlink */
/* One spool file in three is not removed. */
#include "queue/queue.h"

enum { ONE_IN = 3 };

void __real_removal_unlink(struct queue *queue, uint64_t id, bool durable);
void __wrap_removal_unlink(struct queue *queue, uint64_t id, bool durable);

void __wrap_removal_unlink(struct queue *queue, uint64_t id, bool durable)
{
	static unsigned n;

	if (++n % ONE_IN != 0)
		__real_removal_unlink(queue, id, durable);
}
