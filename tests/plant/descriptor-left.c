/* plant: queue; wraps: accept_retire */
/* Of each message that is done with a descriptor stays open. */
#include "queue/queue.h"

#include <unistd.h>

void __real_accept_retire(struct message *m);
void __wrap_accept_retire(struct message *m);

void __wrap_accept_retire(struct message *m)
{
	(void)!dup(m->fd);
	__real_accept_retire(m);
}
