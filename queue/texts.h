/*
 * Strings that many waiting messages have in common: senders, destinations, answers. Each is kept once, however many use it, and all of
 * them together have a bound, which grows with the number of messages.
 */
#ifndef MW_QUEUE_TEXTS_H
#define MW_QUEUE_TEXTS_H

#include "base/span.h"

#include <stdint.h>

enum {
	TEXT_MAX = 600,			    /* octets of one: a destination's key is the longest */
	TEXTS_FREE = 16 * 1024 * 1024,	    /* octets of all, whatever waits */
	TEXTS_EACH = 80,		    /* and so many more for each message that waits */
};

struct text {
	struct text *next; /* of its bucket */
	uint64_t hash;
	uint32_t users;
	uint32_t row; /* whoever counts by texts has its number here; 0 when nobody counts */
	uint16_t len;
	char chars[];
};

struct texts;

/* NULL: no memory. */
struct texts *texts_new(void);
void texts_free(struct texts **texts);
/*
 * One more use of this string. hash: of its octets, the same at each call; by a secret key, where strangers choose the string. messages: how
 * many wait, for the bound. NULL: no memory, too long, or the bound is reached.
 */
struct text *texts_get(struct texts *texts, struct span s, uint64_t hash, size_t messages);
/* One use less; NULL is none. */
void texts_put(struct texts *texts, struct text *text);
/* Octets of all, with what keeping them costs. */
size_t texts_bytes(const struct texts *texts);

/* NULL: the empty string. */
static inline struct span text_span(const struct text *text)
{
	return text != NULL ? span_of(text->chars, text->len) : span_str("");
}

#endif
