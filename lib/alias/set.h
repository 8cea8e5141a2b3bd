/*
 * All aliases of an instance: the file and the lists it includes, as one text that master writes and auth reads. Whoever
 * reads it opens no path.
 *
 *   set  = *( mark " " length " " path LF octets )
 *   mark = "F" the file · "L" a list · "f", "l": it could not be had, and the octets say why
 */
#ifndef MW_ALIAS_SET_H
#define MW_ALIAS_SET_H

#include "alias/alias.h"

enum {
	ALIAS_SET_MAX = 4 * ALIAS_FILE_MAX,	/* bytes of the text */
	ALIAS_POOL_MAX = 512 * 1024 * 1024,	/* of what is made of it */
};

enum alias_mark { ALIAS_MARK_FILE = 'F', ALIAS_MARK_NO_FILE = 'f', ALIAS_MARK_LIST = 'L', ALIAS_MARK_NO_LIST = 'l' };

void alias_set_add(struct buf *out, enum alias_mark mark, const char *path, struct span octets);

struct alias_list {
	struct span path;
	struct alias list;   /* nothing when why is set */
	const char *why;     /* NULL, or why it cannot be used */
};

struct alias_set {
	struct pool *pool;
	struct alias_file file;
	const char *why; /* NULL, or why there are no aliases */
	struct alias_list lists[ALIAS_INCLUDES_MAX];
	size_t list_count;
};

/* A list that does not parse is one that cannot be used; a file that does not is an error. E_CORRUPT, E_SYNTAX, E_TOOBIG, E_NOMEM. */
int alias_set_load(struct span text, struct alias_set **out, struct err *err);
void alias_set_free(struct alias_set **set);
/* NULL: master did not hand it over. */
const struct alias_list *alias_set_list(const struct alias_set *set, struct span path);

#endif
