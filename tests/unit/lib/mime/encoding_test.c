/* Transfer encodings: what RFC 2045 says, what senders do, and every place to cut. */
#include "tests/unit/test.h"

#include "mime/encoding.h"

#include <stdlib.h>

enum { BIG = 3 * 1000 * 1000 };

/* Decoded in pieces cut at `first` and `second`. */
static void decode_cut(enum mime_encoding encoding, struct span in, size_t first, size_t second,
    struct buf *out)
{
	struct mime_decoder decoder;

	buf_clear(out);
	mime_decoder_init(&decoder, encoding);
	mime_decode(&decoder, span_sub(in, 0, first), out);
	mime_decode(&decoder, span_sub(in, first, second - first), out);
	mime_decode(&decoder, span_from(in, second), out);
	mime_decode_end(&decoder, out);
}

struct example {
	struct span in, out;
};
#define EXAMPLE(in, out) {{"" in, sizeof(in) - 1}, {"" out, sizeof(out) - 1}}

static void check_everywhere(enum mime_encoding encoding, const struct example *e)
{
	struct buf out;

	buf_init(&out, BIG);
	for (size_t i = 0; i <= e->in.len; i++)
		for (size_t k = i; k <= e->in.len; k++) {
			decode_cut(encoding, e->in, i, k, &out);
			if (!span_eq(buf_span(&out), e->out))
				fail_msg("\"%.*s\" cut at %zu and %zu gives \"%.*s\"", SPAN_ARG(e->in), i,
				    k, SPAN_ARG(buf_span(&out)));
		}
	buf_fini(&out);
}

static void names_are_found(void **state)
{
	(void)state;
	assert_int_equal(mime_encoding_find(SPAN_LIT("base64")), MIME_ENCODING_BASE64);
	assert_int_equal(mime_encoding_find(SPAN_LIT(" BASE64\r\n")), MIME_ENCODING_BASE64);
	assert_int_equal(mime_encoding_find(SPAN_LIT("\r\n\tBase64 (yes)")), MIME_ENCODING_BASE64);
	assert_int_equal(mime_encoding_find(SPAN_LIT("Quoted-Printable;")),
	    MIME_ENCODING_QUOTED_PRINTABLE);
	assert_int_equal(mime_encoding_find(SPAN_LIT("base64x")), MIME_ENCODING_NONE);
	assert_int_equal(mime_encoding_find(SPAN_LIT("7bit")), MIME_ENCODING_NONE);
	assert_int_equal(mime_encoding_find(SPAN_LIT("x-uuencode")), MIME_ENCODING_NONE);
	assert_int_equal(mime_encoding_find((struct span){NULL, 0}), MIME_ENCODING_NONE);
}

static void base64_is_decoded_wherever_it_is_cut(void **state)
{
	static const struct example examples[] = {
	    EXAMPLE("", ""),
	    /* RFC 4648 section 10 */
	    EXAMPLE("Zg==", "f"), EXAMPLE("Zm8=", "fo"), EXAMPLE("Zm9v", "foo"),
	    EXAMPLE("Zm9vYg==", "foob"), EXAMPLE("Zm9vYmE=", "fooba"), EXAMPLE("Zm9vYmFy", "foobar"),
	    EXAMPLE("AAECA/8A", "\0\1\2\3\377\0"), EXAMPLE("+/+/", "\373\377\277"),
	    /* line ends, blanks, and what is not in the alphabet (RFC 2045 section 6.8) */
	    EXAMPLE("Zm9v\r\nYmFy\r\n", "foobar"), EXAMPLE("Z m-9_v\0Y\x80mFy", "foobar"),
	    /* padding missing, a lone digit, "=" where no padding can be */
	    EXAMPLE("Zm9vYg", "foob"), EXAMPLE("Zm9vYmE", "fooba"), EXAMPLE("Zm9vY", "foo"),
	    EXAMPLE("=Zm9=", "fo"), EXAMPLE("Zm9v=YmFy", "foobar"),
	    /* behind padding is a list's footer, not data */
	    EXAMPLE("Zg==\r\n____\r\nlist mailing", "f"), EXAMPLE("Zm8=Zm8=", "fo"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		check_everywhere(MIME_ENCODING_BASE64, &examples[i]);
}

static void quoted_printable_is_decoded_wherever_it_is_cut(void **state)
{
	static const struct example examples[] = {
	    EXAMPLE("", ""),
	    /* RFC 2045 section 6.7: the example of rule 5, and each rule */
	    EXAMPLE("Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.",
		"Now's the time for all folk to come to the aid of their country."),
	    EXAMPLE("=0C=3D=C3=A9\r\n", "\f=\303\251\r\n"), EXAMPLE("a\tb c=20\r\nd=09\n", "a\tb c \r\nd\t\n"),
	    /* rule 3: blanks at the end of a line were added on the way */
	    EXAMPLE("a \t \r\nb \nc\t", "a\r\nb\nc"), EXAMPLE(" \r\n \r\n", "\r\n\r\n"),
	    EXAMPLE("a= \t\r\nb=  \nc= ", "abc"), EXAMPLE("a=\nb=", "ab"),
	    /* small letters (note 1 of the RFC's list), and what is no escape stays */
	    EXAMPLE("=e9=c3=A9", "\351\303\251"), EXAMPLE("=4", "=4"), EXAMPLE("=4=41", "=4A"),
	    EXAMPLE("=XY=G0=0G==41", "=XY=G0=0G=A"), EXAMPLE("a=  b", "a=  b"),
	    EXAMPLE("a= \rb =\r=\rc", "a= \rb =\r=\rc"), EXAMPLE("a \r\r\nb \r", "a \r\r\nb\r"),
	    EXAMPLE("50 = 100/2 =\0=00 \0", "50 = 100/2 =\0\0 \0"), EXAMPLE("\x80 \xff", "\x80 \xff"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
		check_everywhere(MIME_ENCODING_QUOTED_PRINTABLE, &examples[i]);
}

static void none_changes_nothing(void **state)
{
	static const struct example example = EXAMPLE("=41 \r\nQUJD==\0\xff ", "=41 \r\nQUJD==\0\xff ");

	(void)state;
	check_everywhere(MIME_ENCODING_NONE, &example);
}

/* Blanks past the limit are kept, the rest of them dropped: the same rule for any cut. */
static void a_line_of_blanks_is_held_within_bounds(void **state)
{
	char text[1000];
	struct buf whole, cut;

	(void)state;
	memset(text, ' ', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	buf_init(&whole, BIG);
	buf_init(&cut, BIG);
	decode_cut(MIME_ENCODING_QUOTED_PRINTABLE, span_of(text, sizeof(text)), 0, 0, &whole);
	assert_true(buf_len(&whole) % MIME_QUOTED_HELD_MAX == 1);
	assert_true(buf_len(&whole) > sizeof(text) - MIME_QUOTED_HELD_MAX);
	for (size_t i = 0; i < sizeof(text); i++) {
		decode_cut(MIME_ENCODING_QUOTED_PRINTABLE, span_of(text, sizeof(text)), i,
		    i / 2 + sizeof(text) / 2, &cut);
		assert_true(span_eq(buf_span(&cut), buf_span(&whole)));
	}
	/* Exactly the limit is still dropped. */
	decode_cut(MIME_ENCODING_QUOTED_PRINTABLE,
	    span_from(span_of(text, sizeof(text)), sizeof(text) - 1 - MIME_QUOTED_HELD_MAX), 0, 0, &cut);
	assert_span_equal(buf_span(&cut), "\n");
	buf_fini(&whole);
	buf_fini(&cut);
}

/* Noise of the alphabet's dangerous characters: one piece, octet by octet and random pieces agree. */
static void noise_gives_the_same_in_any_pieces(void **state)
{
	static const char alphabets[][20] = {"=A \r\n", "0AaFfgZ+/\r\n \xe9 ", "=== \t\r\n\n0AaFfgZ\xe9"};
	struct mime_decoder one, many;
	struct buf a, b;
	char *noise = malloc(BIG);

	(void)state;
	assert_non_null(noise);
	srandom(1);
	buf_init(&a, 2 * BIG);
	buf_init(&b, 2 * BIG);
	for (int e = MIME_ENCODING_NONE; e <= MIME_ENCODING_QUOTED_PRINTABLE; e++) {
		for (size_t i = 0; i < BIG; i++)
			noise[i] = alphabets[e][(size_t)random() % (strlen(alphabets[e]) + 1)];
		for (size_t step = 1; step < 100000; step = step * 7 + 1) {
			buf_clear(&a);
			buf_clear(&b);
			mime_decoder_init(&one, (enum mime_encoding)e);
			mime_decoder_init(&many, (enum mime_encoding)e);
			mime_decode(&one, span_of(noise, BIG), &a);
			for (size_t i = 0, n; i < BIG; i += n) {
				n = 1 + (size_t)random() % step;
				mime_decode(&many, span_sub(span_of(noise, BIG), i, n), &b);
			}
			mime_decode_end(&one, &a);
			mime_decode_end(&many, &b);
			assert_true(buf_len(&a) <= BIG);
			assert_true(span_eq(buf_span(&a), buf_span(&b)));
		}
	}
	buf_fini(&a);
	buf_fini(&b);
	free(noise);
}

/* A buffer that is just large enough is enough; one less fails and is not overrun. */
static void the_output_has_its_bound(void **state)
{
	struct mime_decoder d;
	struct buf out;

	(void)state;
	for (size_t max = 0; max <= 6; max++) {
		buf_init(&out, max);
		mime_decoder_init(&d, MIME_ENCODING_BASE64);
		mime_decode(&d, SPAN_LIT("Zm9vYmFy"), &out);
		assert_int_equal(buf_failed(&out), max < 6);
		buf_clear(&out);
		mime_decoder_init(&d, MIME_ENCODING_QUOTED_PRINTABLE);
		mime_decode(&d, SPAN_LIT("=66oo=62a=\n=72"), &out);
		assert_int_equal(buf_failed(&out), max < 6);
		assert_true(buf_len(&out) <= max);
		buf_fini(&out);
	}
}

/* After end the same decoder begins anew. */
static void a_decoder_can_be_used_again(void **state)
{
	struct mime_decoder d;
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	mime_decoder_init(&d, MIME_ENCODING_BASE64);
	for (int i = 0; i < 3; i++) {
		mime_decode(&d, SPAN_LIT("Zg=="), &out);
		mime_decode_end(&d, &out);
		mime_decode(&d, SPAN_LIT("Zg"), &out);
		mime_decode_end(&d, &out);
	}
	assert_span_equal(buf_span(&out), "ffffff");
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_found),
	    cmocka_unit_test(base64_is_decoded_wherever_it_is_cut),
	    cmocka_unit_test(quoted_printable_is_decoded_wherever_it_is_cut),
	    cmocka_unit_test(none_changes_nothing),
	    cmocka_unit_test(a_line_of_blanks_is_held_within_bounds),
	    cmocka_unit_test(noise_gives_the_same_in_any_pieces),
	    cmocka_unit_test(the_output_has_its_bound),
	    cmocka_unit_test(a_decoder_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
