/* Which account numbers are taken by mail, as the store's directories tell (doc/store.md). */
#include "auth/auth.h"

#include "base/span.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static uint64_t highest_in(const char *path)
{
	struct dirent *entry;
	uint64_t highest = 0, n;
	DIR *dir = opendir(path);

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (span_u64(span_str(entry->d_name), INT64_MAX, &n) && n > highest)
			highest = n;
	if (dir != NULL)
		closedir(dir);
	return highest;
}

/*
 * With a directory that was lost, or that is an old copy, the next account would get a number that has been somebody's,
 * and with it his mail. What lies in the store is the memory that such a loss leaves.
 */
uint64_t numbers_highest(const char *store)
{
	uint64_t highest = 0;

	for (unsigned i = 0; i < 256; i++) {
		char path[4096];
		uint64_t n;

		snprintf(path, sizeof(path), "%s/%02x", store, i);
		n = highest_in(path);
		if (n > highest)
			highest = n;
	}
	return highest;
}
