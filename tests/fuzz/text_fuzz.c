/*
 * The text forms of lib/base and the spool's ids: base64, hex, base32, UTF-8,
 * numbers. Each is undone to what it was, and has one form only.
 *
 * Input: the text, or the octets.
 */
#include "tests/fuzz/fuzz.h"

#include "base/encode.h"
#include "base/utf8.h"
#include "spool/spool.h"

static void try_base64(struct span input)
{
	struct buf text, octets, tight;

	buf_init(&text, 2 * input.len + 4);
	buf_init(&octets, input.len);
	base64_encode(&text, input);
	fuzz_assert(!buf_failed(&text) && buf_len(&text) == (input.len + 2) / 3 * 4);
	fuzz_assert(base64_decode(&octets, buf_span(&text)) == 0);
	fuzz_assert_same(buf_span(&octets), input);
	buf_clear(&octets);
	if (base64_decode(&octets, input) == 0) {
		fuzz_assert(buf_len(&octets) <= input.len / 4 * 3);
		buf_clear(&text);
		base64_encode(&text, buf_span(&octets));
		fuzz_assert_same(buf_span(&text), input);
		if (buf_len(&octets) > 0) {
			buf_init(&tight, buf_len(&octets) - 1);
			fuzz_assert(base64_decode(&tight, input) == E_TOOBIG && buf_len(&tight) < buf_len(&octets));
			buf_fini(&tight);
		}
	}
	buf_fini(&text);
	buf_fini(&octets);
}

static void hex_encode(struct buf *out, struct span octets)
{
	for (size_t i = 0; i < octets.len; i++)
		buf_printf(out, "%02x", (unsigned char)octets.ptr[i]);
}

static void try_hex(struct span input)
{
	unsigned char octets[64];
	struct span part = span_sub(input, 0, sizeof(octets));
	struct buf text;

	buf_init(&text, 2 * input.len + 4);
	hex_encode(&text, part);
	fuzz_assert(buf_len(&text) == 2 * part.len && hex_decode(buf_span(&text), octets, part.len) == 0);
	fuzz_assert_same(span_of(octets, part.len), part);
	part = span_sub(input, 0, 2 * sizeof(octets));
	if (hex_decode(part, octets, part.len / 2) == 0) {
		buf_clear(&text);
		hex_encode(&text, span_of(octets, part.len / 2));
		fuzz_assert(span_caseeq(buf_span(&text), part));
	}
	buf_fini(&text);
}

static void try_ids(struct span input)
{
	char text[16], id_text[SPOOL_ID_TEXT];
	uint64_t n, id;

	if (base32_parse(input, &n)) {
		base32_format(n, (unsigned)input.len, text);
		fuzz_assert(span_caseeq(span_str(text), input));
	}
	if (spool_id_parse(input, &id)) {
		spool_id_format(id, id_text);
		fuzz_assert(id < UINT64_C(1) << 55 && span_caseeq(span_str(id_text), input));
	}
	if (input.len >= 16) {
		uint64_t last, before;
		int64_t now;

		memcpy(&last, input.ptr, 8);
		memcpy(&now, input.ptr + 8, 8);
		/* What the queue has given out before, and any clock. */
		last &= (UINT64_C(1) << 54) - 1;
		before = last;
		id = spool_id_next(&last, now);
		fuzz_assert(id == last && id > before);
		spool_id_format(id, id_text);
		fuzz_assert(spool_id_parse(span_str(id_text), &n) && n == id);
	}
}

static void try_utf8(struct span input)
{
	struct span rest = input;
	bool valid = true, ascii = true;

	while (rest.len > 0) {
		struct span before = rest;
		int32_t c = utf8_next(&rest);
		size_t taken = before.len - rest.len;
		char out[4];

		fuzz_assert(rest.ptr == before.ptr + taken && taken >= 1 && taken <= 4);
		valid &= c >= 0;
		ascii &= (unsigned char)before.ptr[0] < 0x80;
		if (c < 0) {
			fuzz_assert(taken == 1);
			continue;
		}
		fuzz_assert(c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff));
		fuzz_assert(utf8_put((uint32_t)c, out) == taken && memcmp(out, before.ptr, taken) == 0);
	}
	fuzz_assert(utf8_is_valid(input) == valid && utf8_is_ascii(input) == ascii);
}

static void try_numbers(struct span input)
{
	uint64_t n, again;
	struct buf text;

	if (!span_u64(input, UINT64_MAX, &n))
		return;
	buf_init(&text, 32);
	buf_add_u64(&text, n);
	while (input.len > 1 && input.ptr[0] == '0')
		input = span_from(input, 1);
	fuzz_assert_same(buf_span(&text), input);
	fuzz_assert(span_u64(input, n, &again) && again == n && (n == 0 || !span_u64(input, n - 1, &again)));
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	try_base64(input);
	try_hex(input);
	try_ids(input);
	try_utf8(input);
	try_numbers(input);
}
