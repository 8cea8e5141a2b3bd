/* SASLprep (RFC 4013): two people who type the same password on different keyboards mean the same bytes. */
#include "sasl/sasl.h"

#include <stdlib.h>
#include <utf8proc.h>

struct range {
	int32_t first, last;
};

/* RFC 3454 table C.1.2: become U+0020. */
static const struct range spaces[] = {{0x00a0, 0x00a0}, {0x1680, 0x1680}, {0x2000, 0x200b}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};

/* Table B.1: become nothing. */
static const struct range nothing[] = {{0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x1806, 0x1806}, {0x180b, 0x180d}, {0x200c, 0x200d}, {0x2060, 0x2060},
    {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}};

/* Tables C.2.1, C.2.2, C.3 to C.9: may not be there. The last two of every plane are no characters either. */
static const struct range prohibited[] = {{0x0000, 0x001f}, {0x007f, 0x009f}, {0x0340, 0x0341}, {0x06dd, 0x06dd}, {0x070f, 0x070f}, {0x180e, 0x180e},
    {0x200c, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x2063}, {0x206a, 0x206f}, {0x2ff0, 0x2ffb}, {0xd800, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfeff, 0xfeff},
    {0xfff9, 0xfffd}, {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xf0000, 0x10ffff}};

static bool is_in(int32_t c, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

#define IS_IN(c, ranges) is_in(c, ranges, sizeof(ranges) / sizeof((ranges)[0]))

static bool is_prohibited(int32_t c)
{
	return (c & 0xfffe) == 0xfffe || IS_IN(c, prohibited);
}

/* RFC 3454 section 6: with characters of right-to-left scripts there are none of the others, and both ends are such. */
static bool is_one_way(const int32_t *text, size_t count)
{
	bool right = false, left = false, ends = true;

	for (size_t i = 0; i < count; i++) {
		utf8proc_propval_t class = utf8proc_get_property(text[i])->bidi_class;
		bool r = class == UTF8PROC_BIDI_CLASS_R || class == UTF8PROC_BIDI_CLASS_AL;

		right |= r;
		left |= class == UTF8PROC_BIDI_CLASS_L;
		if (i == 0 || i == count - 1)
			ends &= r;
	}
	return !right || (!left && ends);
}

static bool is_ascii(struct span in)
{
	for (size_t i = 0; i < in.len; i++)
		if (in.ptr[i] < 0x20 || in.ptr[i] > 0x7e)
			return false;
	return true;
}

static int32_t map_one(int32_t c, void *data)
{
	(void)data;
	return IS_IN(c, spaces) ? ' ' : c;
}

/* Into *text, which is allocated. */
static int normalise(struct span in, int32_t **text, size_t *count)
{
	const utf8proc_option_t how = UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_STABLE;
	utf8proc_ssize_t size, n;
	size_t kept = 0;

	*text = NULL;
	n = utf8proc_decompose_custom((const unsigned char *)in.ptr, (utf8proc_ssize_t)in.len, NULL, 0, how, map_one, NULL);
	if (n < 0)
		return n == UTF8PROC_ERROR_NOMEM ? E_NOMEM : E_SYNTAX;
	size = n + 1;
	*text = calloc((size_t)size, sizeof(**text));
	if (*text == NULL)
		return E_NOMEM;
	n = utf8proc_decompose_custom((const unsigned char *)in.ptr, (utf8proc_ssize_t)in.len, *text, size, how, map_one, NULL);
	if (n < 0 || n >= size)
		return E_SYNTAX;
	for (utf8proc_ssize_t i = 0; i < n; i++)
		if (!IS_IN((*text)[i], nothing))
			(*text)[kept++] = (*text)[i];
	n = utf8proc_normalize_utf32(*text, (utf8proc_ssize_t)kept, how);
	*count = n < 0 ? 0 : (size_t)n;
	return n < 0 ? E_SYNTAX : 0;
}

static int write_out(const int32_t *text, size_t count, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		unsigned char bytes[4];

		if (is_prohibited(text[i]))
			return E_SYNTAX;
		buf_add(out, bytes, (size_t)utf8proc_encode_char(text[i], bytes));
	}
	if (!is_one_way(text, count))
		return E_SYNTAX;
	return buf_failed(out) ? out->starved ? E_NOMEM : E_TOOBIG : 0;
}

int sasl_prepare(struct span in, struct buf *out)
{
	int32_t *text;
	size_t count;
	int r;

	if (is_ascii(in)) {
		buf_add_span(out, in);
		return buf_failed(out) ? out->starved ? E_NOMEM : E_TOOBIG : 0;
	}
	/* Marks are put in order in a time that grows with the square of how many follow each other. */
	if (in.len > SASL_PASSWORD_MAX)
		return E_TOOBIG;
	r = normalise(in, &text, &count);
	if (r == 0)
		r = write_out(text, count, out);
	free(text);
	return r;
}
