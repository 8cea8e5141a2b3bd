/*
 * Messages made 7 bit: what comes out is, every part holds what it held, and a second time there is nothing to do.
 *
 * Input: the message.
 */
#include "tests/fuzz/fuzz.h"

#include "mime/convert.h"
#include "mime/encoding.h"
#include "mime/structure.h"

static struct mime_conversion convert(struct span message, struct buf *out)
{
	struct mime_converter *c = mime_converter_new(message);
	struct mime_conversion facts;
	size_t before;
	int r;

	fuzz_assert(c != NULL);
	facts = *mime_converter_facts(c);
	do {
		before = buf_len(out);
		r = mime_converter_next(c, out);
		fuzz_assert(r >= 0 && buf_len(out) - before <= MIME_CONVERT_PIECE);
	} while (r == 1);
	fuzz_assert(mime_converter_next(c, out) == 0);
	mime_converter_free(&c);
	fuzz_assert(facts.changed || (!facts.signature_broken && !facts.left_out));
	return facts;
}

/* Line ends are whole; 7 bit and lines of 998 octets, unless something was left. */
static void look_at_lines(struct span out, bool left)
{
	size_t line = 0;

	for (size_t i = 0; i < out.len; i++) {
		char c = out.ptr[i];

		fuzz_assert((c == '\n') == (i > 0 && out.ptr[i - 1] == '\r'));
		fuzz_assert(left || ((unsigned char)c < 0x80 && c != '\0'));
		line = c == '\n' ? 0 : line + (c != '\r');
		fuzz_assert(left || line <= MIME_TEXT_LINE_MAX);
	}
}

static bool is_leaf(const struct mime_part *part)
{
	return part->first_child == NULL || (part->kind == MIME_MESSAGE && span_caseeq(part->content.subtype, SPAN_LIT("global")));
}

static const struct mime_part *next_part(const struct mime_part *part)
{
	if (!is_leaf(part))
		return part->first_child;
	while (part != NULL && part->next == NULL)
		part = part->parent;
	return part != NULL ? part->next : NULL;
}

static void decode(struct span message, const struct mime_part *part, struct buf *out)
{
	struct mime_decoder decoder;
	struct mime_field field;
	bool said = mime_field_find(mime_part_header(message, part), SPAN_LIT("Content-Transfer-Encoding"), &field);

	mime_decoder_init(&decoder, said ? mime_encoding_find(field.value) : MIME_ENCODING_NONE);
	mime_decode(&decoder, span_sub(message, part->body_offset, part->body_size), out);
	mime_decode_end(&decoder, out);
}

/* A CR alone in a header field is made a blank, which is another character where it was quoted. */
static bool has_lone_cr(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\r' && (i + 1 == s.len || s.ptr[i + 1] != '\n'))
			return true;
	return false;
}

static void compare(struct span message, struct span converted)
{
	struct pool *pool = pool_new(NULL, 0);
	const struct mime_part *a = mime_structure_parse(message, pool), *b = mime_structure_parse(converted, pool);
	struct buf one, other;

	fuzz_assert(a != NULL && b != NULL);
	buf_init(&one, 4 * 1024 * 1024);
	buf_init(&other, 4 * 1024 * 1024);
	for (; a != NULL && b != NULL; a = next_part(a), b = next_part(b)) {
		if (has_lone_cr(mime_part_header(message, a)))
			break;
		fuzz_assert(is_leaf(a) == is_leaf(b) && a->depth == b->depth);
		fuzz_assert_same(a->content.type, b->content.type);
		if (!is_leaf(a))
			continue;
		buf_clear(&one);
		buf_clear(&other);
		decode(message, a, &one);
		decode(converted, b, &other);
		fuzz_assert_same(buf_span(&one), buf_span(&other));
	}
	if (a == NULL)
		fuzz_assert(b == NULL);
	buf_fini(&one);
	buf_fini(&other);
	pool_free(&pool);
}

void fuzz_one(struct span input)
{
	struct mime_conversion facts, again;
	struct buf text, out, twice;

	buf_init(&text, 256 * 1024);
	buf_init(&out, 4 * 1024 * 1024);
	buf_init(&twice, 4 * 1024 * 1024);
	fuzz_expand(input, &text);
	facts = convert(buf_span(&text), &out);
	look_at_lines(buf_span(&out), facts.left);
	compare(buf_span(&text), buf_span(&out));
	again = convert(buf_span(&out), &twice);
	fuzz_assert(facts.left || !again.changed);
	if (!facts.left)
		fuzz_assert_same(buf_span(&out), buf_span(&twice));
	buf_fini(&text);
	buf_fini(&out);
	buf_fini(&twice);
}
