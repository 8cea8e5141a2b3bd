/* Patterns of LIST and LSUB (RFC 3501 section 6.3.8): '*' matches anything, '%' anything but '/'. */
#ifndef MW_IMAP_PATTERN_H
#define MW_IMAP_PATTERN_H

#include "base/span.h"

enum { IMAP_PATTERN_MAX = 1024 };

enum imap_match {
	IMAP_MATCH_NO,
	IMAP_MATCH_CHILDREN, /* the name itself does not, something below it may */
	IMAP_MATCH_YES,
};

/* Time at most pattern times name; no recursion. INBOX as first level in any case. A pattern that is too long matches nothing. */
enum imap_match imap_pattern_match(struct span pattern, struct span name);

#endif
