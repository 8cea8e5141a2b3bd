/* plant: queue; wraps: spool_append */
/* That a recipient has had the message is written and not synced: after a power cut he may get it again (D2). */
#include "spool/spool.h"

int __real_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err);
int __wrap_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err);

int __wrap_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		sync = sync && records[i].status != SPOOL_DELIVERED;
	return __real_spool_append(fd, id, key, records, count, sync, err);
}
