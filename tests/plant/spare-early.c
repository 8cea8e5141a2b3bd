/* plant: queue; wraps: accept_retire */
/* A file serves again before the loss of its mark is on the disk: a power cut shows a committed file that is none (S5). */
#include "queue/queue.h"

void __real_accept_retire(struct message *message);
void __wrap_accept_retire(struct message *message);

void __wrap_accept_retire(struct message *message)
{
	message->queue->commits_done = UINT64_MAX;
	__real_accept_retire(message);
}
