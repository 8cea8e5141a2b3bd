/*
 * A letter as a file of data/drop (doc/spool.md, "The drop"): lines of text, an empty one, and the content.
 *
 *   mailwain-drop 1
 *   handover 0123456789abcdef0123456789abcdef
 *   user alice
 *   name Alice Example            and others, each at most once, but for
 *   notify 2                      of the recipients from here on
 *   orcpt rfc822;bob@example.net  of the next one
 *   recipient bob@example.org     one or more
 */
#ifndef MW_LOCAL_DROP_H
#define MW_LOCAL_DROP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "local/letter.h"

enum {
	DROP_HEAD_MAX = 1200 * 1024,
	/* Everybody may put a file in, nobody but its owner lists it or takes one out; files have its group, which reads them. */
	DROP_DIRECTORY_MODE = 03733,
	DROP_FILE_MODE = 0640,
};

#define DROP_WRITING "tmp."
#define DROP_READY   "new."
#define DROP_BAD     "bad."

/* E_SYNTAX when a text of it has a line end or a NUL in it, E_TOOBIG, E_NOMEM. */
int drop_encode(const struct letter *letter, struct buf *out);

/* Octets of the head, with its empty line; all of text when it does not end. */
size_t drop_head_length(struct span text);

/* Strict. head: at least what stands before the content. Pooled; *len: where the content begins. E_CONTENT with a text, E_NOMEM. */
int drop_decode(struct span head, struct pool *pool, struct letter *out, size_t *len, struct err *err);

#endif
