/*
 * The file of aliases and the lists it includes, opened and looked at before a line of them counts: whoever may write
 * one decides where mail goes, and what is read comes to light in notifications.
 */
#ifndef MW_MASTER_ALIAS_FILES_H
#define MW_MASTER_ALIAS_FILES_H

#include "alias/set.h"

#include <sys/stat.h>

enum { ALIAS_PATH_MAX = 4096 };

struct alias_source {
	char path[ALIAS_PATH_MAX];
	struct err err;	 /* code 0: it could be used */
	struct stat st;	 /* as it was read; zeros when there is no such file */
};

struct alias_files {
	struct pool *pool;
	struct buf set;			 /* alias_set_load reads it */
	struct alias_file file;
	struct alias_source *sources; /* the file first, then the lists */
	size_t count;
};

/*
 * Reads them all. Fails when the file itself cannot be used; sources[0] says what there is of it all the same. A list that
 * cannot be used is noted and no failure: the names that lead to it are put off. A file that is not there is one without
 * aliases (its source has E_NOTFOUND).
 * E_DENIED: not a plain file; others than root, this user and, for a list, its owner may write it; a list that is not readable by
 * everybody and not root's, or whose path goes over links; E_SYNTAX, E_TOOBIG, E_NOMEM, E_IO.
 */
int alias_files_read(const char *path, struct alias_files *out, struct err *err);
void alias_files_free(struct alias_files *files);

#endif
