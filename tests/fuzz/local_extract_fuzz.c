/*
 * Recipients of a header section (local/extract.h), and what pickup makes of them: the section lies in front, an address has no
 * line end and no NUL, one that is completed is complete, and mending (intake/mend.h) leaves no Bcc.
 *
 * Input: a message.
 */
#include "tests/fuzz/fuzz.h"

#include "intake/mend.h"
#include "local/address.h"
#include "local/extract.h"
#include "local/letter.h"
#include "local/lines.h"
#include "mime/header.h"

static void look_at_address(struct span address)
{
	char complete[SMTP_PATH_MAX + 1], again[SMTP_PATH_MAX + 1];
	struct err err;

	for (size_t i = 0; i < address.len; i++)
		fuzz_assert(address.ptr[i] != '\r' && address.ptr[i] != '\n' && address.ptr[i] != '\0');
	if (local_address(address, SPAN_LIT("here.test"), complete, &err) != 0 || complete[0] == '\0')
		return;
	fuzz_assert(strchr(complete, '@') != NULL);
	fuzz_assert(local_address(span_str(complete), SPAN_LIT("other.test"), again, &err) == 0);
	fuzz_assert_same(span_str(complete), span_str(again));
}

static void look_at_mended(struct span message)
{
	struct mime_field field;
	struct span header;
	struct buf out;
	struct mend mend;

	buf_init(&out, message.len + 4096);
	mend_init(&mend, "today", "<new@here>");
	mend.from = "me";
	mend_feed(&mend, message, &out);
	mend_end(&mend, &out);
	fuzz_assert(!buf_failed(&out));
	header = span_sub(buf_span(&out), 0, local_header_length(buf_span(&out)));
	while (mime_field_next(&header, &field))
		fuzz_assert(!span_caseeq(field.name, SPAN_LIT("Bcc")) && !span_caseeq(field.name, SPAN_LIT("Resent-Bcc")));
	fuzz_assert(mime_field_find(buf_span(&out), SPAN_LIT("From"), &field));
	buf_fini(&out);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct lines lines = {0};
	struct recipient_list list;
	struct err err = {0};
	struct buf message;
	size_t len;
	int r;

	buf_init(&message, 2 * input.len + 16);
	lines_feed(&lines, input, &message);
	lines_end(&lines, &message);
	len = local_header_length(buf_span(&message));
	fuzz_assert(len <= buf_len(&message) && recipients_init(&list, pool) == 0);
	r = recipients_extract(&list, span_sub(buf_span(&message), 0, len), pool, &err);
	fuzz_assert((r == 0 || r == E_LIMIT) && list.count <= LETTER_RECIPIENTS);
	for (size_t i = 0; i < list.count; i++)
		look_at_address(list.addresses[i]);
	look_at_mended(buf_span(&message));
	buf_fini(&message);
	pool_free(&pool);
}
