/* plant: queue; wraps: spool_append */
/* That another host has taken a message is kept in mind and not written down (D2). */
#include "spool/spool.h"

int __real_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err);
int __wrap_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err);

int __wrap_spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records, size_t count, bool sync, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		if (records[i].status != SPOOL_DELIVERED)
			r = __real_spool_append(fd, id, key, &records[i], 1, sync, err);
	return r;
}
