/* UTF-8, strictly (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef MW_BASE_UTF8_H
#define MW_BASE_UTF8_H

#include "span.h"

bool utf8_is_valid(struct span s);
bool utf8_is_ascii(struct span s);

/*
 * Takes one character off the front of s; returns its code point, or -1 on a
 * malformed sequence (one byte is then taken). s must not be empty.
 */
int32_t utf8_next(struct span *s);

/* At most `max` octets from the front of s, no character cut in two. */
struct span utf8_cut(struct span s, size_t max);

/* Writes cp (a valid scalar value) to out; returns 1 to 4. */
size_t utf8_put(uint32_t cp, char out[4]);

#endif
