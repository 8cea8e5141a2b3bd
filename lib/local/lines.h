/*
 * Text as programs write it becomes the lines of a message: LF and CR LF end a line and become CR LF, a CR that ends none
 * becomes a blank, so that no header field can be smuggled in by it, and NUL is left out. Idempotent, but for dot_ends.
 */
#ifndef MW_LOCAL_LINES_H
#define MW_LOCAL_LINES_H

#include "base/buf.h"
#include "base/span.h"

enum { LINES_HEAD = 6 };

struct lines {
	bool dot_ends;	/* a line that is a dot ends the message; set by the caller */
	bool from_skip; /* lines before the first field that begin with "From " or ">From ", as in an mbox, are left out; set by the caller */
	bool ended;	/* the dot has come */
	bool cr, dot;	/* seen, and not yet decided about */
	bool in_line, dropping;
	char head[LINES_HEAD]; /* of a line that may be one of those, not yet written */
	size_t head_len;
};

/* Begin with zeroes. Pieces may be cut anywhere. */
void lines_feed(struct lines *lines, struct span bytes, struct buf *out);
/* The last line gets its end. */
void lines_end(struct lines *lines, struct buf *out);

#endif
