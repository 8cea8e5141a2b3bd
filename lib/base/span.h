/*
 * A span is borrowed text: pointer and length, never assumed to end in NUL.
 * It is valid as long as what it points into.
 */
#ifndef MW_BASE_SPAN_H
#define MW_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr;
	size_t len;
};

/* For printf's %.*s */
#define SPAN_ARG(s) (int)(s).len, (s).len ? (s).ptr : ""
#define SPAN_LIT(lit) ((struct span){"" lit, sizeof(lit) - 1})

static inline struct span span_of(const void *ptr, size_t len)
{
	return (struct span){ptr, len};
}

static inline struct span span_str(const char *s)
{
	return (struct span){s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* From offset to the end; empty when offset is past it. An empty span may point nowhere: NULL + 0 is not defined. */
static inline struct span span_from(struct span s, size_t offset)
{
	if (offset > s.len)
		offset = s.len;
	return (struct span){offset > 0 ? s.ptr + offset : s.ptr, s.len - offset};
}

/* At most len bytes from offset. */
static inline struct span span_sub(struct span s, size_t offset, size_t len)
{
	s = span_from(s, offset);
	if (s.len > len)
		s.len = len;
	return s;
}

/* ASCII case only: protocol words, never user text. */
bool span_caseeq(struct span a, struct span b);
bool span_startswith(struct span s, struct span prefix);
bool span_startscase(struct span s, struct span prefix);

/* Offset of the first c, or s.len. */
size_t span_find(struct span s, char c);

/* Without leading and trailing SP and HTAB. */
struct span span_trim(struct span s);

/* As a C string into size bytes; what does not fit is cut off. */
void span_copy(struct span s, char *out, size_t size);

/* Decimal digits only, no sign, no blanks; false on empty, surplus or > max. */
bool span_u64(struct span s, uint64_t max, uint64_t *out);

/* RFC 1123 section 2.1: labels of letters, digits and hyphens, 63 each, 253 in all; no dot at the end. */
bool span_is_host_name(struct span s);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline char ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

#endif
