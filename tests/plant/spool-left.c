/* plant: queue; wraps: disk_unlink */
/* One spool file in three is not removed. */
#include "queue/queue.h"

enum { ONE_IN = 3 };

void __real_disk_unlink(struct disk *disk, uint64_t id);
void __wrap_disk_unlink(struct disk *disk, uint64_t id);

void __wrap_disk_unlink(struct disk *disk, uint64_t id)
{
	static unsigned n;

	if (++n % ONE_IN != 0)
		__real_disk_unlink(disk, id);
}
