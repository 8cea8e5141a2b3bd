#include "imap/set.h"

#include <stdlib.h>

static bool take_number(struct span *text, uint32_t highest, uint32_t *out)
{
	size_t digits = 0;
	uint64_t n;

	if (text->len > 0 && *text->ptr == '*') {
		*out = highest;
		*text = span_from(*text, 1);
		return true;
	}
	while (digits < text->len && ascii_is_digit(text->ptr[digits]))
		digits++;
	if (!span_u64(span_sub(*text, 0, digits), UINT32_MAX, &n) || n == 0)
		return false;
	*text = span_from(*text, digits);
	*out = (uint32_t)n;
	return true;
}

static int by_first(const void *a, const void *b)
{
	uint32_t x = ((const struct imap_range *)a)->first, y = ((const struct imap_range *)b)->first;

	return (x > y) - (x < y);
}

static void merge(struct imap_set *set)
{
	size_t kept = 0;

	qsort(set->ranges, set->count, sizeof(set->ranges[0]), by_first);
	for (size_t i = 0; i < set->count; i++) {
		struct imap_range *last = kept > 0 ? &set->ranges[kept - 1] : NULL;

		if (last != NULL && set->ranges[i].first <= last->last + (last->last < UINT32_MAX)) {
			if (set->ranges[i].last > last->last)
				last->last = set->ranges[i].last;
		} else {
			set->ranges[kept++] = set->ranges[i];
		}
	}
	set->count = kept;
}

bool imap_set_parse(struct span text, uint32_t highest, struct pool *pool, struct imap_set *out)
{
	size_t places = 1;

	for (size_t i = 0; i < text.len; i++)
		places += text.ptr[i] == ',';
	out->count = 0;
	out->ranges = pool_array(pool, places, sizeof(out->ranges[0]));
	if (out->ranges == NULL)
		return false;
	for (;;) {
		struct imap_range *range = &out->ranges[out->count++];

		if (!take_number(&text, highest, &range->first))
			return false;
		range->last = range->first;
		if (text.len > 0 && *text.ptr == ':') {
			text = span_from(text, 1);
			if (!take_number(&text, highest, &range->last))
				return false;
		}
		if (range->first > range->last) { /* "*:5" and "5:*" mean the same */
			uint32_t n = range->first;

			range->first = range->last;
			range->last = n;
		}
		if (text.len == 0)
			break;
		if (*text.ptr != ',')
			return false;
		text = span_from(text, 1);
	}
	merge(out);
	return true;
}

bool imap_set_has(const struct imap_set *set, uint32_t n)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->ranges[middle].last < n)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->count && set->ranges[low].first <= n;
}

void imap_set_format(const uint32_t *numbers, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && numbers[end] == numbers[end - 1] + 1)
			end++;
		if (i > 0)
			buf_add_char(out, ',');
		buf_add_u64(out, numbers[i]);
		if (end - i > 1) {
			buf_add_char(out, ':');
			buf_add_u64(out, numbers[end - 1]);
		}
		i = end;
	}
}
