/* Mailbox names on the wire (RFC 3501 section 5.1.3): one form for each name. */
#include "tests/unit/test.h"

#include "base/utf8.h"
#include "imap/utf7.h"

#include <stdlib.h>

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 16 * 1024 * 1024);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

/* "printable US-ASCII characters, except for "&", represent themselves": others do not. */
static void controls_have_no_form(void **state)
{
	struct span name;

	(void)state;
	for (unsigned c = 0; c < 0x20; c++) {
		char raw[3] = {'a', (char)c, 'b'};

		assert_false(imap_utf7_decode(span_of(raw, 3), pool, &name));
	}
	assert_false(imap_utf7_decode(SPAN_LIT("a\x7f"), pool, &name));
	assert_false(imap_utf7_decode(SPAN_LIT("a\x7f&APw-"), pool, &name));
	assert_false(imap_utf7_decode(SPAN_LIT("&AAE-"), pool, &name));
	assert_false(imap_utf7_decode(SPAN_LIT("&AH8-"), pool, &name));
	for (char c = ' '; c < 0x7f; c++)
		if (c != '&')
			assert_true(imap_utf7_decode(span_of(&c, 1), pool, &name));
}

/* "&" in the shifted part ends as BASE64 of full UTF-16 units; superfluous shifts are not permitted. */
static void wrong_forms(void **state)
{
	static const char *const bad[] = {"&U,BTFw", "&U,BTFw-&ZeVnLIqe-", "&U,BTF-", "&U,BTFx-", "&AGEAYg-", "&APwAYQ-", "&+-", "&=-", "&APw=-", "&2D0-", "&3gA-", "&2D3YPQ-", "&3gDYPQ-", "&2D0AYQ-", "&A-", "& -",
	    "a&", "&&-", "&-&"};
	struct span name;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (imap_utf7_decode(span_str(bad[i]), pool, &name))
			fail_msg("accepted: %s", bad[i]);
}

/* Any mix of characters comes back; the form is ASCII and has no form that is shorter. */
static void names_come_back(void **state)
{
	static const uint32_t letters[] = {'a', '&', '-', '/', '+', ',', 0xe4, 0x7ff, 0x20ac, 0xffff, 0x10000, 0x1f600, 0x10ffff, 0x80};
	struct buf wire;

	(void)state;
	srandom(7);
	buf_init(&wire, 10000);
	for (int i = 0; i < 20000; i++) {
		char name[64];
		struct span back;
		size_t len = 0;

		for (long k = random() % 12; k > 0; k--)
			len += utf8_put(letters[(size_t)random() % (sizeof(letters) / sizeof(letters[0]))], name + len);
		buf_clear(&wire);
		pool_reset(pool);
		imap_utf7_encode(span_of(name, len), &wire);
		assert_true(utf8_is_ascii(buf_span(&wire)));
		if (!imap_utf7_decode(buf_span(&wire), pool, &back) || !span_eq(back, span_of(name, len)))
			fail_msg("%.*s", SPAN_ARG(buf_span(&wire)));
	}
	buf_fini(&wire);
}

static void without_memory(void **state)
{
	struct pool *small = pool_new(NULL, 16);
	struct span name;

	(void)state;
	assert_true(imap_utf7_decode(SPAN_LIT("a long name, but nothing to be decoded"), small, &name));
	assert_false(imap_utf7_decode(SPAN_LIT("a long name with &APw-"), small, &name));
	pool_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(controls_have_no_form, setup, teardown),
	    cmocka_unit_test_setup_teardown(wrong_forms, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_come_back, setup, teardown),
	    cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
