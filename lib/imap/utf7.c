#include "imap/utf7.h"

#include "base/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_of(char c)
{
	const char *p = c != '\0' ? strchr(alphabet, c) : NULL;

	return p != NULL ? (int)(p - alphabet) : -1;
}

/* One "&...-": UTF-16 in base64. in begins behind the '&'; false when malformed. */
static bool decode_shifted(struct span *in, char *out, size_t *len)
{
	uint32_t bits = 0, high = 0;
	unsigned count = 0;
	bool any = false;

	for (; in->len > 0 && *in->ptr != '-'; *in = span_from(*in, 1)) {
		int digit = digit_of(*in->ptr);
		uint32_t unit;

		if (digit < 0)
			return false;
		bits = (bits << 6 | (uint32_t)digit) & 0x3fffff;
		count += 6;
		if (count < 16)
			continue;
		count -= 16;
		unit = (bits >> count) & 0xffff;
		any = true;
		if (unit >= 0xd800 && unit < 0xdc00 && high == 0) {
			high = unit;
			continue;
		}
		if ((unit >= 0xdc00 && unit < 0xe000) != (high != 0))
			return false;
		if (high != 0)
			unit = 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00);
		else if (unit >= 0x20 && unit < 0x7f)
			return false; /* stands for itself */
		else if (unit < 0x20 || unit == 0x7f)
			return false; /* no control characters in names */
		high = 0;
		*len += utf8_put(unit, out + *len);
	}
	if (in->len == 0 || !any || high != 0 || count >= 6 || (bits & ((1U << count) - 1)) != 0)
		return false;
	*in = span_from(*in, 1);
	/* "&...-&...-" has one right form: a single shift. */
	return !(in->len > 1 && in->ptr[0] == '&' && in->ptr[1] != '-');
}

static bool has_controls(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return true;
	return false;
}

bool imap_utf7_decode(struct span in, struct pool *pool, struct span *out)
{
	size_t len = 0;
	char *text;

	*out = in;
	if (!utf8_is_valid(in) || has_controls(in))
		return false;
	if (span_find(in, '&') == in.len)
		return true;
	text = pool_alloc(pool, in.len * 2); /* three UTF-8 bytes come of at least 2.6 digits */
	if (text == NULL)
		return false;
	while (in.len > 0) {
		char c = *in.ptr;

		in = span_from(in, 1);
		if (c != '&') {
			text[len++] = c;
		} else if (in.len > 0 && *in.ptr == '-') {
			text[len++] = '&';
			in = span_from(in, 1);
		} else if (!decode_shifted(&in, text, &len)) {
			return false;
		}
	}
	*out = span_of(text, len);
	return true;
}

static void put_unit(uint32_t unit, uint32_t *bits, unsigned *count, struct buf *out)
{
	*bits = *bits << 16 | unit;
	for (*count += 16; *count >= 6; *count -= 6)
		buf_add_char(out, alphabet[(*bits >> (*count - 6)) & 63]);
	*bits &= (1U << *count) - 1;
}

void imap_utf7_encode(struct span name, struct buf *out)
{
	uint32_t bits = 0;
	unsigned count = 0;
	bool shifted = false;

	while (name.len > 0) {
		int32_t c = utf8_next(&name);
		bool plain = c >= 0x20 && c < 0x7f;

		if (plain && shifted) {
			if (count > 0)
				buf_add_char(out, alphabet[(bits << (6 - count)) & 63]);
			buf_add_char(out, '-');
			bits = count = 0;
			shifted = false;
		}
		if (plain) {
			buf_add_char(out, (char)c);
			if (c == '&')
				buf_add_char(out, '-');
			continue;
		}
		if (!shifted)
			buf_add_char(out, '&');
		shifted = true;
		if (c >= 0x10000) {
			put_unit(0xd800 + (((uint32_t)c - 0x10000) >> 10), &bits, &count, out);
			put_unit(0xdc00 + (((uint32_t)c - 0x10000) & 0x3ff), &bits, &count, out);
		} else {
			put_unit(c < 0 ? 0xfffd : (uint32_t)c, &bits, &count, out);
		}
	}
	if (shifted) {
		if (count > 0)
			buf_add_char(out, alphabet[(bits << (6 - count)) & 63]);
		buf_add_char(out, '-');
	}
}
