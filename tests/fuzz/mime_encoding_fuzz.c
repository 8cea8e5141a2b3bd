/*
 * base64 and quoted-printable: the same in every split, never more than was put
 * in, and the inverse of an encoder.
 *
 * Input: a byte for the pieces, then the octets.
 */
#include "tests/fuzz/fuzz.h"

#include "base/encode.h"
#include "mime/encoding.h"

static void decode(enum mime_encoding encoding, struct span in, bool whole, unsigned seed, struct buf *out)
{
	struct mime_decoder decoder;
	struct fuzz_pieces pieces;
	struct span piece;

	mime_decoder_init(&decoder, encoding);
	if (whole)
		mime_decode(&decoder, in, out);
	fuzz_pieces_init(&pieces, whole ? (struct span){0} : in, seed);
	while (fuzz_pieces_next(&pieces, &piece)) {
		size_t before = buf_len(out), held = decoder.held_len;

		mime_decode(&decoder, piece, out);
		fuzz_assert(buf_len(out) - before <= piece.len + held);
	}
	mime_decode_end(&decoder, out);
	fuzz_assert(decoder.held_len == 0 && decoder.count == 0 && !decoder.ended);
}

static void try_encoding(enum mime_encoding encoding, struct span input, unsigned seed)
{
	struct buf one, other;

	buf_init(&one, 2 * input.len + 16);
	buf_init(&other, 2 * input.len + 16);
	decode(encoding, input, true, 0, &one);
	decode(encoding, input, false, seed, &other);
	fuzz_assert(!buf_failed(&one) && buf_len(&one) <= input.len);
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	if (encoding == MIME_ENCODING_NONE)
		fuzz_assert_same(buf_span(&one), input);
	buf_fini(&one);
	buf_fini(&other);
}

/* RFC 2045 section 6.7, lines cut hard by soft breaks. */
static void quote(struct span in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.ptr[i];

		if (i % 20 == 19)
			buf_add_str(out, i % 40 == 19 ? "=\r\n" : "= \t\r\n");
		if (c > ' ' && c < 0x7f && c != '=')
			buf_add_char(out, (char)c);
		else
			buf_printf(out, i % 2 ? "=%02X" : "=%02x", c);
	}
}

static void try_encoders(struct span input, unsigned seed)
{
	struct buf text, back;

	buf_init(&text, 5 * input.len + 16);
	buf_init(&back, 5 * input.len + 16);
	base64_encode(&text, input);
	decode(MIME_ENCODING_BASE64, buf_span(&text), false, seed, &back);
	fuzz_assert_same(buf_span(&back), input);
	buf_clear(&text);
	buf_clear(&back);
	quote(input, &text);
	decode(MIME_ENCODING_QUOTED_PRINTABLE, buf_span(&text), false, seed, &back);
	fuzz_assert_same(buf_span(&back), input);
	buf_fini(&text);
	buf_fini(&back);
}

void fuzz_one(struct span input)
{
	unsigned seed = fuzz_byte(&input);

	try_encoding(MIME_ENCODING_BASE64, input, seed);
	try_encoding(MIME_ENCODING_QUOTED_PRINTABLE, input, seed);
	try_encoding(MIME_ENCODING_NONE, input, seed);
	try_encoders(input, seed);
	mime_encoding_find(input);
}
