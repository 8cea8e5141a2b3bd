/*
 * Modified UTF-7 (RFC 3501 section 5.1.3): a name has one form, both ways.
 *
 * Input: a name as on the wire, or in UTF-8.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "imap/utf7.h"

enum { POOL_HERE = 4 * 1024 * 1024 };

static bool is_printable(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || (unsigned char)s.ptr[i] >= 0x7f)
			return false;
	return true;
}

static bool has_controls(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return true;
	return false;
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct span name, again;
	struct buf wire;

	buf_init(&wire, 8 * input.len + 16);
	if (imap_utf7_decode(input, pool, &name)) {
		fuzz_assert(utf8_is_valid(name) && name.len <= 2 * input.len);
		imap_utf7_encode(name, &wire);
		fuzz_assert(!buf_failed(&wire) && is_printable(buf_span(&wire)));
		if (is_printable(input))
			fuzz_assert_same(buf_span(&wire), input);
	}
	if (utf8_is_valid(input)) {
		buf_clear(&wire);
		imap_utf7_encode(input, &wire);
		fuzz_assert(!buf_failed(&wire) && is_printable(buf_span(&wire)));
		/* Names with control characters do not come back: nobody is to have one. */
		if (has_controls(input))
			fuzz_assert(!imap_utf7_decode(buf_span(&wire), pool, &again));
		else {
			fuzz_assert(imap_utf7_decode(buf_span(&wire), pool, &again));
			fuzz_assert_same(again, input);
		}
	}
	buf_fini(&wire);
	pool_free(&pool);
}
