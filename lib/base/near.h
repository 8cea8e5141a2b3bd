/* The word that was probably meant: what a message about an unknown one suggests. */
#ifndef MW_BASE_NEAR_H
#define MW_BASE_NEAR_H

#include "span.h"

struct near {
	struct span word;
	const char *best; /* NULL: nothing is near enough to be a help */
	size_t least;	  /* edits from word to best */
};

/* word: borrowed. A slip is up to three edits, fewer for a short word. */
struct near near_begin(struct span word);
/* candidate: kept as best when it is nearer than those before. */
void near_try(struct near *near, const char *candidate);

#endif
