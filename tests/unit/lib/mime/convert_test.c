/*
 * Messages made 7 bit: which parts are encoded and how, what stays, and that nothing is lost.
 * With a file's name it writes that message as it would be sent: e2e/test_convert.py compares it by another's eyes.
 */
#include "tests/unit/test.h"

#include "mime/convert.h"
#include "mime/encode.h"

#include <stdio.h>
#include <stdlib.h>

static void convert(struct span message, struct buf *out, struct mime_conversion *facts)
{
	struct mime_converter *c = mime_converter_new(message);
	size_t before;
	int r;

	assert_non_null(c);
	*facts = *mime_converter_facts(c);
	do {
		before = buf_len(out);
		r = mime_converter_next(c, out);
		assert_true(r >= 0 && buf_len(out) - before <= MIME_CONVERT_PIECE);
	} while (r == 1);
	mime_converter_free(&c);
}

enum { CHANGED = 1, BROKEN = 2, LEFT = 4, LEFT_OUT = 8 };

struct row {
	const char *message, *converted; /* NULL: the same */
	unsigned facts;
};

static void check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct span message = span_str(rows[i].message);
		struct mime_conversion f;
		struct buf out;

		buf_init(&out, 100000);
		convert(message, &out, &f);
		assert_string_equal(buf_cstr(&out), rows[i].converted != NULL ? rows[i].converted : rows[i].message);
		assert_int_equal(f.changed * CHANGED | f.signature_broken * BROKEN | f.left * LEFT | f.left_out * LEFT_OUT, rows[i].facts);
		buf_fini(&out);
	}
}

#define CTE "Content-Transfer-Encoding: "
#define QP CTE "quoted-printable\r\n"
#define B64 CTE "base64\r\n"
#define SEVEN CTE "7bit\r\n"
#define VERSION "MIME-Version: 1.0\r\n"

static void messages_of_one_part(void **state)
{
	static const struct row rows[] = {
	    {"Subject: x\r\n\r\nplain\r\n", NULL, 0},
	    {"Subject: x\r\n\r\ncaf\303\251\r\n", "Subject: x\r\n" QP VERSION "\r\ncaf=C3=A9\r\n", CHANGED},
	    {VERSION "Content-Type: text/html\r\n" CTE "8bit\r\n\r\n\303\251 =\r\n", VERSION "Content-Type: text/html\r\n" QP "\r\n=C3=A9 =3D\r\n", CHANGED},
	    /* fit as it is, whatever it says */
	    {VERSION CTE "8BIT\r\nSubject: x\r\n\r\nplain\r\n", NULL, 0},
	    {CTE "8bit\r\nSubject: x\r\n" CTE "8bit\r\n\r\n\303\251\r\n", QP "Subject: x\r\n" VERSION "\r\n=C3=A9\r\n", CHANGED},
	    {"Content-Type: image/png\r\n\r\n\211PNG\r\n\032\n", "Content-Type: image/png\r\n" B64 VERSION "\r\niVBORw0KGgo=", CHANGED},
	    /* octets that an encoding does not have are read as its readers do */
	    {VERSION QP "\r\n=41\303\251 \r\n", VERSION QP "\r\nA=C3=A9\r\n", CHANGED},
	    {VERSION B64 "\r\naGVs\377bG8=\r\n", VERSION B64 "\r\naGVsbG8=", CHANGED},
	    {"Subject: \303\251\r\n\r\nx\r\n", NULL, LEFT},
	    {"Subject: x\nTo: y\n\nx\r\n", "Subject: x\r\nTo: y\r\n\r\nx\r\n", 0},
	    {"Subject: x\rTo: y\r\n\r\nx\r\n", "Subject: x To: y\r\n\r\nx\r\n", 0},
	    {"\r\n\303\251", QP VERSION "\r\n=C3=A9", CHANGED},
	    {"\303\251", NULL, LEFT},
	    {"", NULL, 0},
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

#define MIXED VERSION "Content-Type: multipart/mixed; boundary=b\r\n"

static void parts_within_parts(void **state)
{
	static const struct row rows[] = {
	    {MIXED CTE "8bit\r\n\r\npreamble\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/plain\r\n" CTE "8bit\r\n\r\n\303\251\r\n--b\r\nContent-Type: a/b\r\n"
		   "\r\n\303\r\n--b--\r\n",
		MIXED SEVEN "\r\npreamble\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/plain\r\n" QP "\r\n=C3=A9\r\n--b\r\nContent-Type: a/b\r\n" B64
			    "\r\nww==\r\n--b--\r\n",
		CHANGED},
	    {MIXED "\r\n--b\r\n" CTE "8bit\r\n\r\nplain\r\n--b\r\n" CTE "binary\r\n\r\n\303\251\r\n--b--\r\n",
		MIXED "\r\n--b\r\n" SEVEN "\r\nplain\r\n--b\r\n" QP "\r\n=C3=A9\r\n--b--\r\n", CHANGED},
	    /* a message within one: its parts are, it is not */
	    {MIXED "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n" VERSION CTE "8bit\r\n\r\n\303\251\r\n--b--\r\n",
		MIXED "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n" VERSION QP "\r\n=C3=A9\r\n--b--\r\n", CHANGED},
	    {MIXED "\r\n--b\r\nContent-Type: message/global\r\n\r\nSubject: \303\251\r\n\r\nx\r\n--b--\r\n",
		MIXED "\r\n--b\r\nContent-Type: message/global\r\n" B64 "\r\nU3ViamVjdDogw6kNCg0KeA==\r\n--b--\r\n", CHANGED},
	    /* without a body: the line end behind its header section is the boundary's */
	    {MIXED "\r\n--b\r\nContent-Type: message/global\r\n\r\nSubject: \303\251\r\n\r\n--b--\r\n",
		MIXED "\r\n--b\r\nContent-Type: message/global\r\n" B64 "\r\nU3ViamVjdDogw6kNCg0K\r\n--b--\r\n", CHANGED},
	    {MIXED "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: \303\251\r\n\r\nx\r\n--b--\r\n", NULL, LEFT},
	    /* outside of all parts */
	    {MIXED "\r\n\303\251\r\n--b\r\n\r\nx\r\n--b--\r\n\303\r\n", MIXED "\r\n--b\r\n\r\nx\r\n--b--\r\n", CHANGED | LEFT_OUT},
	    {VERSION "Content-Type: multipart/mixed; boundary=\"\303\"\r\n\r\n--\303\r\n\r\nx\r\n--\303--\r\n", NULL, LEFT},
	    /* signed */
	    {VERSION "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\303\251\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n",
		VERSION "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n" QP
			"\r\n=C3=A9\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n",
		CHANGED | BROKEN},
	    {MIXED "\r\n--b\r\n\r\n\303\251\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n" CTE "8bit\r\n\r\n--c\r\n" CTE
		   "8bit\r\n\r\nx\r\n--c--\r\n--b--\r\n",
		MIXED "\r\n--b\r\n" QP "\r\n=C3=A9\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n" CTE "8bit\r\n\r\n--c\r\n" CTE
		      "8bit\r\n\r\nx\r\n--c--\r\n--b--\r\n",
		CHANGED},
	    /* a multipart that has no parts is text for whoever reads it */
	    {MIXED "\r\n\303\251\r\n", MIXED B64 "\r\nw6kNCg==", CHANGED},
	    {MIXED "\r\n--b\r\n\r\n\303\251", MIXED "\r\n--b\r\n" QP "\r\n=C3=A9", CHANGED},
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void encode(enum mime_encoding encoding, struct span text, size_t cut, struct buf *out)
{
	struct mime_encoder e;

	mime_encoder_init(&e, encoding);
	mime_encode(&e, span_sub(text, 0, cut), out);
	mime_encode(&e, span_from(text, cut), out);
	mime_encode_end(&e, out);
}

static void quoted_printable_is_made(void **state)
{
	static const struct {
		struct span text;
		const char *encoded;
	} rows[] = {
	    {SPAN_LIT(""), ""},
	    {SPAN_LIT("a b\r\n"), "a b\r\n"},
	    {SPAN_LIT("a \r\nb\t\r\n c"), "a=20\r\nb=09\r\n c"},
	    {SPAN_LIT("a "), "a=20"},
	    {SPAN_LIT("a  \r\n"), "a =20\r\n"},
	    {SPAN_LIT("a\nb\rc\r\r\n"), "a=0Ab=0Dc=0D\r\n"},
	    {SPAN_LIT("a\r"), "a=0D"},
	    {SPAN_LIT("a \r"), "a =0D"},
	    {SPAN_LIT("=\0\377~"), "=3D=00=FF~"},
	    {SPAN_LIT("--b\r\n-"), "=2D-b\r\n=2D"},
	    {SPAN_LIT("1234567890123456789012345678901234567890123456789012345678901234567890123456"),
		"123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n6"},
	    {SPAN_LIT("12345678901234567890123456789012345678901234567890123456789012345678901234\303\r\n"),
		"12345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=C3\r\n"},
	    {SPAN_LIT("123456789012345678901234567890123456789012345678901234567890123456789012345--b"),
		"123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n=2D-b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t cut = 0; cut <= rows[i].text.len; cut++) {
			struct mime_decoder d;
			struct buf out, back;

			buf_init(&out, 1000);
			buf_init(&back, 1000);
			encode(MIME_ENCODING_QUOTED_PRINTABLE, rows[i].text, cut, &out);
			assert_string_equal(buf_cstr(&out), rows[i].encoded);
			mime_decoder_init(&d, MIME_ENCODING_QUOTED_PRINTABLE);
			mime_decode(&d, buf_span(&out), &back);
			mime_decode_end(&d, &back);
			assert_true(span_eq(buf_span(&back), rows[i].text));
			buf_fini(&out);
			buf_fini(&back);
		}
}

static void base64_is_made(void **state)
{
	char text[200];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t len = 0; len <= sizeof(text); len++)
		for (size_t cut = 0; cut <= len; cut += 7) {
			struct mime_decoder d;
			struct buf out, back;

			buf_init(&out, 1000);
			buf_init(&back, 1000);
			encode(MIME_ENCODING_BASE64, span_of(text, len), cut, &out);
			for (struct span s = buf_span(&out); s.len > 0; s = span_from(s, span_find(s, '\n') + 1))
				assert_true(span_find(s, '\n') <= MIME_LINE_MAX + 1);
			mime_decoder_init(&d, MIME_ENCODING_BASE64);
			mime_decode(&d, buf_span(&out), &back);
			mime_decode_end(&d, &back);
			assert_true(span_eq(buf_span(&back), span_of(text, len)));
			buf_fini(&out);
			buf_fini(&back);
		}
}

static void long_lines_are_broken(void **state)
{
	struct mime_conversion f;
	struct buf in, out;

	(void)state;
	buf_init(&in, 100000);
	buf_init(&out, 100000);
	buf_add_str(&in, "Subject: x\r\n\r\n");
	for (int i = 0; i < MIME_TEXT_LINE_MAX + 1; i++)
		buf_add_char(&in, 'x');
	convert(buf_span(&in), &out, &f);
	assert_true(f.changed && buf_len(&out) > buf_len(&in));
	buf_cut(&in, buf_len(&in) - 1);
	buf_clear(&out);
	convert(buf_span(&in), &out, &f);
	assert_true(!f.changed && span_eq(buf_span(&in), buf_span(&out)));
	buf_fini(&in);
	buf_fini(&out);
}

static int write_converted(const char *path)
{
	struct buf in, out;
	struct mime_conversion facts;
	FILE *file = fopen(path, "rb");
	char *room;
	size_t n;

	buf_init(&in, 64 * 1024 * 1024);
	buf_init(&out, 256 * 1024 * 1024);
	if (file == NULL)
		return 1;
	while ((room = buf_reserve(&in, 65536)) != NULL && (n = fread(room, 1, 65536, file)) > 0)
		buf_added(&in, n);
	fclose(file);
	convert(buf_span(&in), &out, &facts);
	fwrite(buf_span(&out).ptr, 1, buf_len(&out), stdout);
	fprintf(stderr, "%d%d%d%d\n", facts.changed, facts.signature_broken, facts.left, facts.left_out);
	buf_fini(&in);
	buf_fini(&out);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_of_one_part),
	    cmocka_unit_test(parts_within_parts),
	    cmocka_unit_test(quoted_printable_is_made),
	    cmocka_unit_test(base64_is_made),
	    cmocka_unit_test(long_lines_are_broken),
	};

	if (argc == 2)
		return write_converted(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
