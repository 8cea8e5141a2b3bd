#include "encode.h"

#include "err.h"

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, struct span in)
{
	const unsigned char *p = (const unsigned char *)in.ptr;
	size_t i;

	for (i = 0; i + 3 <= in.len; i += 3) {
		uint32_t n = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		char four[4] = {base64_digits[n >> 18], base64_digits[n >> 12 & 63],
		    base64_digits[n >> 6 & 63], base64_digits[n & 63]};

		buf_add(out, four, 4);
	}
	if (in.len - i > 0) {
		uint32_t n = (uint32_t)p[i] << 16 | (in.len - i == 2 ? (uint32_t)p[i + 1] << 8 : 0);
		char four[4] = {base64_digits[n >> 18], base64_digits[n >> 12 & 63],
		    in.len - i == 2 ? base64_digits[n >> 6 & 63] : '=', '='};

		buf_add(out, four, 4);
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct buf *out, struct span in)
{
	if (in.len % 4 != 0)
		return E_SYNTAX;
	for (size_t i = 0; i < in.len; i += 4) {
		const char *q = in.ptr + i;
		bool last = i + 4 == in.len;
		int pad = last && q[3] == '=' ? (q[2] == '=' ? 2 : 1) : 0;
		int a = base64_value(q[0]), b = base64_value(q[1]);
		int c = pad == 2 ? 0 : base64_value(q[2]), d = pad ? 0 : base64_value(q[3]);
		uint32_t n;
		char three[3];

		if (a < 0 || b < 0 || c < 0 || d < 0)
			return E_SYNTAX;
		n = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;
		/* Bits under the padding must be zero: one text for one value. */
		if ((pad == 2 && (n & 0xffff)) || (pad == 1 && (n & 0xff)))
			return E_SYNTAX;
		three[0] = (char)(n >> 16);
		three[1] = (char)(n >> 8);
		three[2] = (char)n;
		buf_add(out, three, (size_t)(3 - pad));
	}
	return !buf_failed(out) ? 0 : out->starved ? E_NOMEM : E_TOOBIG;
}

int base64url_decode(struct buf *out, struct span in)
{
	struct buf usual;
	int r = 0;

	buf_init(&usual, in.len + 4);
	for (size_t i = 0; i < in.len && r == 0; i++) {
		char c = in.ptr[i];

		if (c == '+' || c == '/' || c == '=')
			r = E_SYNTAX;
		buf_add_char(&usual, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (buf_len(&usual) % 4 != 0 && !buf_failed(&usual))
		buf_add_char(&usual, '=');
	if (r == 0)
		r = buf_failed(&usual) ? E_NOMEM : base64_decode(out, buf_span(&usual));
	buf_fini_secret(&usual);
	return r;
}

static int hex_value(char c)
{
	c = ascii_lower(c);
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct span in, unsigned char *out, size_t size)
{
	if (in.len != 2 * size)
		return E_SYNTAX;
	for (size_t i = 0; i < size; i++) {
		int high = hex_value(in.ptr[2 * i]), low = hex_value(in.ptr[2 * i + 1]);

		if (high < 0 || low < 0)
			return E_SYNTAX;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

static const char base32_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void base32_format(uint64_t n, unsigned digits, char *out)
{
	out[digits] = '\0';
	while (digits > 0) {
		out[--digits] = base32_digits[n & 31];
		n >>= 5;
	}
}

bool base32_parse(struct span in, uint64_t *out)
{
	uint64_t n = 0;

	if (in.len == 0 || in.len > 13)
		return false;
	for (size_t i = 0; i < in.len; i++) {
		const char *hit = memchr(base32_digits, ascii_upper(in.ptr[i]), 32);

		if (hit == NULL || n >> 59 != 0)
			return false;
		n = n << 5 | (uint64_t)(hit - base32_digits);
	}
	*out = n;
	return true;
}
