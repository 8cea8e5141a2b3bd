/*
 * Paths (RFC 5321 section 4.1.2): what is accepted has one form, is within the
 * limits and is accepted again as it was written down.
 *
 * Input: a byte of flags, then "<...>" or a domain.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "smtp/address.h"

static size_t local_len(struct span address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return at > 0 ? at - 1 : address.len;
}

static void look_at_address(struct span address, unsigned flags)
{
	size_t local = local_len(address);
	struct span domain = span_from(address, local + 1);

	fuzz_assert(address.len <= SMTP_PATH_MAX && utf8_is_valid(address));
	fuzz_assert((flags & SMTP_PATH_UTF8) || utf8_is_ascii(address));
	for (size_t i = 0; i < address.len; i++)
		fuzz_assert((unsigned char)address.ptr[i] >= ' ' && address.ptr[i] != 0x7f);
	if (address.len == 0) {
		fuzz_assert(flags & SMTP_PATH_NULL);
		return;
	}
	/* With its quotes and backslashes a local part may be longer than its value. */
	fuzz_assert(local > 0 && local <= 2 * SMTP_LOCAL_MAX + 2);
	if (domain.len > 0)
		fuzz_assert(smtp_domain_is_valid(domain, flags & SMTP_PATH_UTF8) || smtp_literal_is_valid(domain));
	else
		fuzz_assert((flags & SMTP_PATH_POSTMASTER) && span_caseeq(address, SPAN_LIT("postmaster")));
}

static void try_path(struct span text, unsigned flags)
{
	char out[SMTP_PATH_MAX + 1], again[SMTP_PATH_MAX + 1], more[SMTP_PATH_MAX + 1];
	size_t used = 0;
	struct buf path;
	int r = smtp_path_parse(text, flags, out, &used, NULL);

	fuzz_assert(r == 0 || r == E_SYNTAX || r == E_UNSUPPORTED);
	if (r != 0) {
		/* What needs nothing but SMTPUTF8 is fine with it. */
		if (r == E_UNSUPPORTED)
			fuzz_assert(smtp_path_parse(text, flags | SMTP_PATH_UTF8, more, &used, NULL) != E_UNSUPPORTED);
		return;
	}
	fuzz_assert(used >= 2 && used <= text.len && text.ptr[used - 1] == '>');
	look_at_address(span_str(out), flags);
	buf_init(&path, 2 * SMTP_PATH_MAX);
	buf_printf(&path, "<%s>", out);
	fuzz_assert(smtp_path_parse(buf_span(&path), flags, again, &used, NULL) == 0);
	fuzz_assert(used == buf_len(&path));
	fuzz_assert_same(span_str(out), span_str(again));
	buf_fini(&path);
	/* Whoever may write more may write this. */
	fuzz_assert(smtp_path_parse(text, flags | SMTP_PATH_NULL | SMTP_PATH_UTF8 | SMTP_PATH_POSTMASTER, more, &used, NULL) == 0);
	fuzz_assert_same(span_str(out), span_str(more));
}

void fuzz_one(struct span input)
{
	unsigned flags = fuzz_byte(&input) & (SMTP_PATH_NULL | SMTP_PATH_UTF8 | SMTP_PATH_POSTMASTER);

	try_path(input, flags);
	if (smtp_domain_is_valid(input, false))
		fuzz_assert(smtp_domain_is_valid(input, true) && utf8_is_ascii(input) && input.len <= SMTP_DOMAIN_MAX);
	if (smtp_domain_is_valid(input, true))
		fuzz_assert(!smtp_literal_is_valid(input) && utf8_is_valid(input));
	if (smtp_literal_is_valid(input))
		fuzz_assert(input.ptr[0] == '[' && input.ptr[input.len - 1] == ']' && utf8_is_ascii(input));
}
