/* Directories in memory, for what wants files: each goes away with the process, however it ends. */
#ifndef MW_TESTS_FUZZ_SCRATCH_H
#define MW_TESTS_FUZZ_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void scratch_remove(const char *path)
{
	nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Into path[64]; 0 when it was made. */
static inline int scratch_make(char *path)
{
	snprintf(path, 64, "%s/mailwain-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	return mkdtemp(path) != NULL ? 0 : -1;
}

#endif
