/* plant: queue; wraps: spool_commit */
/* A file has the mark of one that was whole before it is: a power cut shows a damaged message that nobody misses (S2). */
#include "spool/spool.h"

#include <sys/stat.h>

int __real_spool_commit(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *commit, struct err *err);
int __wrap_spool_commit(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *commit, struct err *err);

int __wrap_spool_commit(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *commit, struct err *err)
{
	if (fchmod(fd, 0700) != 0)
		return err_set(err, E_IO, "fchmod of a spool file");
	return __real_spool_commit(fd, key, commit, err);
}
