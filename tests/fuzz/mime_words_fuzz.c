/*
 * Encoded words (RFC 2047) and parameters (RFC 2231): the result is UTF-8, text
 * without them stays as it is, and the time before does not show.
 *
 * Input: a field's value.
 */
#include "tests/fuzz/fuzz.h"

#include "base/encode.h"
#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/words.h"

static void try_words(struct span input)
{
	struct buf one, other;

	buf_init(&one, 4 * input.len + 4096);
	buf_init(&other, 4 * input.len + 4096);
	mime_words_decode(input, &one);
	mime_words_decode(input, &other);
	fuzz_assert(!buf_failed(&one) && utf8_is_valid(buf_span(&one)));
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	if (memmem(input.ptr, input.len, "=?", 2) == NULL && utf8_is_valid(input))
		fuzz_assert_same(buf_span(&one), input);
	buf_fini(&one);
	buf_fini(&other);
}

/* Any text as a word of its own comes back as it was. */
static void try_round(struct span input)
{
	struct span part = span_sub(input, 0, 600);
	struct buf text, back;

	if (!utf8_is_valid(part))
		return;
	buf_init(&text, 2000);
	buf_init(&back, 4 * 2000 + 4096);
	buf_add_str(&text, "=?UTF-8?B?");
	base64_encode(&text, part);
	buf_add_str(&text, "?=");
	mime_words_decode(buf_span(&text), &back);
	fuzz_assert_same(buf_span(&back), part);
	buf_fini(&text);
	buf_fini(&back);
}

static void try_parameters(struct span input)
{
	static const char *const names[] = {"name", "filename", "title", "a"};
	struct pool *pool = pool_new(NULL, 0);
	struct mime_content content;

	if (mime_content_parse(input, pool, &content))
		for (size_t i = 0; i < 4; i++) {
			struct span s = mime_parameter_decode(&content, span_str(names[i]), pool);

			fuzz_assert(s.ptr != NULL && utf8_is_valid(s));
		}
	pool_free(&pool);
}

void fuzz_one(struct span input)
{
	mime_charset_preload();
	try_words(input);
	try_round(input);
	try_parameters(input);
}
