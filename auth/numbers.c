/* Which account numbers are taken by mail, as the store's directories tell (doc/store.md). */
#include "auth/auth.h"

#include "base/span.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One that is not there has none. */
static int highest_in(const char *path, uint64_t *highest, struct err *err)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	uint64_t n;
	int r = 0;

	if (dir == NULL)
		return errno == ENOENT ? 0 : err_set_errno(err, errno, "directory %s", path);
	while (errno = 0, (entry = readdir(dir)) != NULL)
		if (span_u64(span_str(entry->d_name), INT64_MAX, &n) && n > *highest)
			*highest = n;
	if (errno != 0)
		r = err_set_errno(err, errno, "directory %s", path);
	closedir(dir);
	return r;
}

/*
 * With a directory that was lost, or that is an old copy, the next account would get a number that has been somebody's,
 * and with it his mail. What lies in the store is the memory that such a loss leaves.
 */
int numbers_highest(const char *store, uint64_t *highest, struct err *err)
{
	int r = 0;

	*highest = 0;
	for (unsigned i = 0; i < 256 && r == 0; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%02x", store, i);
		r = highest_in(path, highest, err);
	}
	return r;
}
