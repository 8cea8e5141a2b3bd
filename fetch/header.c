/* How long an answer keeps, as its header says. */
#include "fetch/fetch.h"

enum { MAX_AGE_MOST = 366 * 86400 };

/* One directive: token, or token "=" seconds, which may be in quotes. */
static void take_directive(struct span directive, int64_t *max_age)
{
	struct span name = span_trim(span_sub(directive, 0, span_find(directive, '=')));
	struct span value = span_trim(span_from(directive, span_find(directive, '=') + 1));
	uint64_t seconds;

	if (span_caseeq(name, SPAN_LIT("no-store")) || span_caseeq(name, SPAN_LIT("no-cache")))
		*max_age = 0;
	if (!span_caseeq(name, SPAN_LIT("max-age")) || *max_age == 0)
		return;
	if (value.len > 1 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
		value = span_sub(value, 1, value.len - 2);
	if (span_u64(value, MAX_AGE_MOST, &seconds))
		*max_age = (int64_t)seconds;
}

void header_max_age(struct span line, int64_t *max_age)
{
	struct span rest;

	while (line.len > 0 && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == '\n'))
		line.len--;
	if (!span_startscase(line, SPAN_LIT("Cache-Control:")))
		return;
	rest = span_from(line, strlen("Cache-Control:"));
	while (rest.len > 0) {
		size_t comma = span_find(rest, ',');

		take_directive(span_sub(rest, 0, comma), max_age);
		rest = span_from(rest, comma + 1);
	}
}
