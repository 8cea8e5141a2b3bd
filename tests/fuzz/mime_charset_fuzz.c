/*
 * Charsets to UTF-8, and folding for comparison: always UTF-8, the same each
 * time whatever was converted before, bounded; folding twice is folding once, and with its table the same as by utf8proc alone.
 *
 * Input: the charset's name, a line end, the text.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/fold.h"

#include <stdlib.h>
#include <utf8proc.h>

enum { UTF8_PER_OCTET = 4, FOLDED_PER_OCTET = 12, SHORT = 64 };

static void convert(struct span charset, struct span text, struct buf *out)
{
	buf_init(out, UTF8_PER_OCTET * text.len + 256);
	mime_to_utf8(charset, text, out);
	fuzz_assert(!buf_failed(out) && utf8_is_valid(buf_span(out)));
	fuzz_assert(buf_len(out) <= UTF8_PER_OCTET * text.len);
}

static void fold(struct span utf8, struct buf *out)
{
	buf_init(out, FOLDED_PER_OCTET * utf8.len + 16);
	mime_casefold(utf8, out);
	fuzz_assert(!buf_failed(out) && buf_len(out) <= FOLDED_PER_OCTET * utf8.len);
}

static void compare_with_utf8proc(struct span utf8, struct span folded)
{
	static const utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD;
	utf8proc_uint8_t *all = NULL;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)utf8.ptr, (utf8proc_ssize_t)utf8.len, &all, options);

	fuzz_assert(n >= 0);
	fuzz_assert_same(span_of(all, (size_t)n), folded);
	free(all);
}

static void try_fold(struct span utf8)
{
	struct buf once, twice;

	fold(utf8, &once);
	fuzz_assert(utf8_is_valid(buf_span(&once)) || !utf8_is_valid(utf8));
	if (utf8_is_ascii(utf8)) {
		fuzz_assert(span_caseeq(buf_span(&once), utf8));
		for (size_t i = 0; i < buf_len(&once); i++)
			fuzz_assert(ascii_lower(buf_span(&once).ptr[i]) == buf_span(&once).ptr[i]);
	}
	if (utf8_is_valid(utf8) && utf8.len > 0 && utf8.len <= SHORT)
		compare_with_utf8proc(utf8, buf_span(&once));
	fold(buf_span(&once), &twice);
	/* More marks than any language has on one letter are put in order in pieces. */
	if (utf8_is_valid(utf8) && buf_len(&once) <= SHORT)
		fuzz_assert_same(buf_span(&once), buf_span(&twice));
	buf_fini(&twice);
	buf_fini(&once);
}

void fuzz_one(struct span input)
{
	static bool loaded;
	struct span charset = fuzz_until(&input, '\n');
	struct buf one, other, between;

	mime_charset_preload();
	if (!loaded)
		mime_fold_preload();
	loaded = true;
	convert(charset, input, &one);
	/* Half a sequence of a charset with shifts. */
	convert(SPAN_LIT("iso-2022-jp"), SPAN_LIT("\x1b$B$"), &between);
	convert(charset, input, &other);
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	if (mime_charset_is_utf8(charset) && utf8_is_valid(input))
		fuzz_assert_same(buf_span(&one), input);
	fuzz_assert(mime_charset_is_known(charset) || !mime_charset_is_utf8(charset));
	try_fold(buf_span(&one));
	try_fold(input);
	buf_fini(&one);
	buf_fini(&other);
	buf_fini(&between);
}
