#include "utf8.h"

#include <stdint.h>
#include <string.h>

enum { UTF8_TAIL = 3 }; /* octets of a character behind its first one, at most */

static int32_t utf8_bad(struct span *s)
{
	*s = span_from(*s, 1);
	return -1;
}

int32_t utf8_next(struct span *s)
{
	const unsigned char *p = (const unsigned char *)s->ptr;
	static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len;
	int32_t cp;

	if (p[0] < 0x80) {
		*s = span_from(*s, 1);
		return p[0];
	}
	len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
	if (len == 0 || p[0] >= 0xf8 || s->len < len)
		return utf8_bad(s);
	cp = p[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return utf8_bad(s);
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return utf8_bad(s);
	*s = span_from(*s, len);
	return cp;
}

/* Octets at the front that are ASCII, eight looked at in one step. */
static size_t ascii_len(struct span s)
{
	size_t n = 0;

	for (; n + 8 <= s.len; n += 8) {
		uint64_t eight;

		memcpy(&eight, s.ptr + n, sizeof(eight));
		if ((eight & UINT64_C(0x8080808080808080)) != 0)
			break;
	}
	while (n < s.len && (unsigned char)s.ptr[n] < 0x80)
		n++;
	return n;
}

bool utf8_is_valid(struct span s)
{
	for (;;) {
		s = span_from(s, ascii_len(s));
		if (s.len == 0)
			return true;
		if (utf8_next(&s) < 0)
			return false;
	}
}

bool utf8_is_ascii(struct span s)
{
	return ascii_len(s) == s.len;
}

struct span utf8_cut(struct span s, size_t max)
{
	size_t len = max;

	if (s.len <= max)
		return s;
	while (len > 0 && max - len < UTF8_TAIL && ((unsigned char)s.ptr[len] & 0xc0) == 0x80)
		len--;
	return span_sub(s, 0, ((unsigned char)s.ptr[len] & 0xc0) == 0x80 ? max : len);
}

size_t utf8_put(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}
