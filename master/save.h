/* Files of an instance's set-up: there as a whole and durable, or not at all. */
#ifndef MW_MASTER_SAVE_H
#define MW_MASTER_SAVE_H

#include "base/err.h"

#include <stdio.h>
#include <sys/types.h>

/* Opens PATH.new for writing, with this mode; what an earlier try left in it goes. NULL: *err says why. */
FILE *save_begin(const char *path, mode_t mode, struct err *err);
/* Syncs what was written and gives it its name. *file is closed either way; on failure nothing is left. E_IO, E_NOSPACE. */
int save_end(FILE **file, const char *path, struct err *err);
void save_abort(FILE **file, const char *path);
/* A directory that was just made: its name and itself are durable. E_IO. */
int save_directory(const char *path, struct err *err);

#endif
