#include "span.h"

bool span_caseeq(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	return true;
}

bool span_startswith(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_eq(span_sub(s, 0, prefix.len), prefix);
}

bool span_startscase(struct span s, struct span prefix)
{
	return s.len >= prefix.len && span_caseeq(span_sub(s, 0, prefix.len), prefix);
}

size_t span_find(struct span s, char c)
{
	const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return hit ? (size_t)(hit - s.ptr) : s.len;
}

struct span span_trim(struct span s)
{
	while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = span_from(s, 1);
	while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

void span_copy(struct span s, char *out, size_t size)
{
	s = span_sub(s, 0, size - 1);
	if (s.len > 0)
		memmove(out, s.ptr, s.len);
	out[s.len] = '\0';
}

bool span_u64(struct span s, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit;

		if (!ascii_is_digit(s.ptr[i]))
			return false;
		digit = (uint64_t)(s.ptr[i] - '0');
		if (digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

bool span_is_host_name(struct span s)
{
	if (s.len == 0 || s.len > 253)
		return false;
	for (;;) {
		size_t end = span_find(s, '.');
		struct span label = span_sub(s, 0, end);

		if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-')
				return false;
		if (end == s.len)
			return true;
		s = span_from(s, end + 1);
	}
}
