#include "mime/fold.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
	TABLE_FIRST = 0x80, /* characters of two octets */
	TABLE_END = 0x800,
	FOLDED_MAX = 7, /* octets; what folds to more is not in the table */
	PIECE = 4096,
	OTHER_PIECE = 64, /* what is not in the table is folded in pieces of this length, */
	OTHER_PIECE_MAX = 128, /* and at most of that */
};

static const utf8proc_option_t fold_options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;

/* len 0: a mark, whose place depends on its neighbours, or nothing the table can hold. */
static struct folded {
	unsigned char len;
	char text[FOLDED_MAX];
} table[TABLE_END - TABLE_FIRST];

static void table_put(utf8proc_int32_t c)
{
	struct folded *f = &table[c - TABLE_FIRST];
	utf8proc_int32_t parts[8];
	utf8proc_uint8_t utf8[8 * 4];
	utf8proc_ssize_t count, len = 0;

	if (utf8proc_get_property(c)->combining_class != 0)
		return;
	count = utf8proc_decompose_char(c, parts, 8, fold_options, NULL);
	if (count < 1 || count > 8)
		return;
	for (utf8proc_ssize_t i = 0; i < count; i++)
		len += utf8proc_encode_char(parts[i], utf8 + len);
	if (len > FOLDED_MAX)
		return;
	memcpy(f->text, utf8, (size_t)len);
	f->len = (unsigned char)len;
}

void mime_fold_preload(void)
{
	for (utf8proc_int32_t c = TABLE_FIRST; c < TABLE_END; c++)
		table_put(c);
}

/* NULL: not two octets of a character in the table. */
static const struct folded *table_get(struct span s)
{
	unsigned first, second;
	const struct folded *f;

	if (s.len < 2)
		return NULL;
	first = (unsigned char)s.ptr[0];
	second = (unsigned char)s.ptr[1];
	if (first < 0xc2 || first > 0xdf || (second & 0xc0) != 0x80)
		return NULL;
	f = &table[((first & 0x1f) << 6 | (second & 0x3f)) - TABLE_FIRST];
	return f->len > 0 ? f : NULL;
}

#define EACH(octet) (UINT64_C(0x0101010101010101) * (octet))

/* Eight octets at once; false when one is not ASCII. */
static bool lower_eight(const char *from, char *to)
{
	uint64_t x, above_z, from_a;

	memcpy(&x, from, sizeof(x));
	if ((x & EACH(0x80)) != 0)
		return false;
	above_z = x + EACH(0x7f - 'Z');
	from_a = x + EACH(0x80 - 'A');
	x |= ((above_z ^ from_a) & EACH(0x80)) >> 2;
	memcpy(to, &x, sizeof(x));
	return true;
}

/*
 * ASCII and what the table has, for at least `least` octets; returns the octets taken, *made: those written. The
 * character in front of something else is left to that: a mark may belong to it. *other: there is something else.
 */
static size_t fold_common(struct span s, size_t least, char *to, size_t *made, bool *other)
{
	size_t i = 0, n = 0, before_i = 0, before_n = 0;

	*other = false;
	while (i < s.len && i < least) {
		const struct folded *f;

		if (i + 8 <= s.len && lower_eight(s.ptr + i, to + n)) {
			i += 8;
			n += 8;
			before_i = i - 1;
			before_n = n - 1;
			continue;
		}
		f = (unsigned char)s.ptr[i] < 0x80 ? NULL : table_get(span_from(s, i));
		*other = f == NULL && (unsigned char)s.ptr[i] >= 0x80;
		if (*other)
			break;
		before_i = i;
		before_n = n;
		if (f == NULL) {
			to[n++] = ascii_lower(s.ptr[i++]);
			continue;
		}
		memcpy(to + n, f->text, FOLDED_MAX);
		n += f->len;
		i += 2;
	}
	if (i == s.len)
		before_i = i, before_n = n;
	*made = before_n;
	return before_i;
}

static void fold_other(struct span utf8, struct buf *out)
{
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)utf8.ptr, (utf8proc_ssize_t)utf8.len, &folded, fold_options);

	if (n >= 0)
		buf_add(out, folded, (size_t)n);
	else
		buf_add_span(out, utf8);
	free(folded);
}

/* No mark in front of it changes places with what it is folded to. */
static bool begins_anew(int32_t c)
{
	utf8proc_int32_t parts[32];

	return c < 0 || (utf8proc_decompose_char(c, parts, 32, fold_options, NULL) > 0 && utf8proc_get_property(parts[0])->combining_class == 0);
}

/*
 * A character and what belongs to it: up to the next blank. Marks are put in order, which takes their number squared: a
 * long run ends at a character they do not belong to, and one with more of them than any language has is cut.
 */
static size_t other_len(struct span s)
{
	size_t n = 1;

	while (n < s.len && (unsigned char)s.ptr[n] > ' ' && (n < OTHER_PIECE || (n < OTHER_PIECE_MAX && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)))
		n++;
	while (n < s.len && (unsigned char)s.ptr[n] > ' ' && n < OTHER_PIECE_MAX) {
		struct span rest = span_from(s, n);

		if (begins_anew(utf8_next(&rest)))
			break;
		n = s.len - rest.len;
	}
	return n;
}

void mime_casefold(struct span utf8, struct buf *out)
{
	while (utf8.len > 0 && !buf_failed(out)) {
		size_t piece = utf8.len < PIECE ? utf8.len : PIECE, made, len;
		/* Two octets become seven at most; the last step may pass the piece's end, and writes in full. */
		char *to = buf_reserve(out, piece * 4 + 8 + FOLDED_MAX);
		bool other;

		if (to == NULL)
			return;
		len = fold_common(utf8, piece, to, &made, &other);
		buf_added(out, made);
		utf8 = span_from(utf8, len);
		if (!other)
			continue;
		len = other_len(utf8);
		fold_other(span_sub(utf8, 0, len), out);
		utf8 = span_from(utf8, len);
	}
}
