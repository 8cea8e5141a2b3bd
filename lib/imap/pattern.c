#include "imap/pattern.h"

/*
 * All places of the pattern where the match may stand are followed at once, a
 * bit each: no choice of stars can make it slow.
 */
struct places {
	bool at[IMAP_PATTERN_MAX + 1];
};

static bool is_star(char c)
{
	return c == '*' || c == '%';
}

/* A star may also stand for nothing. */
static void skip_stars(struct span pattern, struct places *places)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (places->at[i] && is_star(pattern.ptr[i]))
			places->at[i + 1] = true;
}

static bool step(struct span pattern, char c, bool fold, const struct places *from, struct places *to)
{
	bool any = false;

	memset(to->at, 0, pattern.len + 1);
	for (size_t i = 0; i < pattern.len; i++) {
		char p = pattern.ptr[i];

		if (!from->at[i])
			continue;
		if (p == '*' || (p == '%' && c != '/'))
			to->at[i] = any = true;
		else if (!is_star(p) && (p == c || (fold && ascii_upper(p) == ascii_upper(c))))
			to->at[i + 1] = any = true;
	}
	skip_stars(pattern, to);
	return any;
}

enum imap_match imap_pattern_match(struct span pattern, struct span name)
{
	struct places a, b, *now = &a, *next = &b;
	bool inbox = span_startscase(name, SPAN_LIT("INBOX")) && (name.len == 5 || name.ptr[5] == '/');

	if (pattern.len > IMAP_PATTERN_MAX)
		return IMAP_MATCH_NO;
	memset(a.at, 0, pattern.len + 1);
	a.at[0] = true;
	skip_stars(pattern, &a);
	for (size_t i = 0; i < name.len; i++) {
		struct places *swap = now;

		if (!step(pattern, name.ptr[i], inbox && i < 5, now, next))
			return IMAP_MATCH_NO;
		now = next;
		next = swap;
	}
	if (now->at[pattern.len])
		return IMAP_MATCH_YES;
	return step(pattern, '/', false, now, next) ? IMAP_MATCH_CHILDREN : IMAP_MATCH_NO;
}
