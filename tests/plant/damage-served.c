/* plant: queue; wraps: spool_read */
/* The checksum of a message's content is not looked at before it is delivered (D5). */
#include "spool/spool.h"

int __real_spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    struct spool_file *out, struct err *err);
int __wrap_spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    struct spool_file *out, struct err *err);

int __wrap_spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    struct spool_file *out, struct err *err)
{
	(void)content_too;
	return __real_spool_read(fd, id, key, false, pool, out, err);
}
