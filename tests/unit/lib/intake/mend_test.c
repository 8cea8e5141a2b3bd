/* What is added to a submitted message and taken out of it, however it is cut into pieces. */
#include "intake/mend.h"
#include "tests/unit/test.h"

#define DATE "Date: today\r\n"
#define ID "Message-ID: <new@here>\r\n"

static const struct {
	const char *in, *out;
} rows[] = {
    {"Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n" DATE ID "\r\nbody\r\n"},
    {"Date: d\r\nMessage-ID: <m>\r\n\r\nbody\r\n", "Date: d\r\nMessage-ID: <m>\r\n\r\nbody\r\n"},
    {"DATE : d\r\nmessage-id\t:\r\n <m>\r\n\r\n", "DATE : d\r\nmessage-id\t:\r\n <m>\r\n\r\n"},
    {"Bcc: a@b.test\r\nTo: c@d.test\r\n\r\nx\r\n", "To: c@d.test\r\n" DATE ID "\r\nx\r\n"},
    {"To: c@d.test\r\nBCC:\r\n a@b.test,\r\n\te@f.test\r\nDate: d\r\n\r\n", "To: c@d.test\r\nDate: d\r\n" ID "\r\n"},
    {"Resent-Bcc: a@b.test\r\nX-Bcc: kept\r\nBccc: kept\r\n\r\nBcc: kept\r\n", "X-Bcc: kept\r\nBccc: kept\r\n" DATE ID "\r\nBcc: kept\r\n"},
    {"Subject: a\r\n Bcc: folded, kept\r\n\r\n", "Subject: a\r\n Bcc: folded, kept\r\n" DATE ID "\r\n"},
    {"a-first-word-that-is-rather-long, and no field\r\nBcc: kept\r\n", DATE ID "\r\na-first-word-that-is-rather-long, and no field\r\nBcc: kept\r\n"},
    {"A-Name-That-Is-Longer-Than-Any: x\r\n\r\n", "A-Name-That-Is-Longer-Than-Any: x\r\n" DATE ID "\r\n"},
    {"\r\nDate: in the body\r\n", DATE ID "\r\nDate: in the body\r\n"},
    {"no header at all\r\n", DATE ID "\r\nno header at all\r\n"},
    {"Subject: x\r\nand then none\r\nBcc: kept\r\n", "Subject: x\r\n" DATE ID "\r\nand then none\r\nBcc: kept\r\n"},
    {" folded from the start\r\n", DATE ID "\r\n folded from the start\r\n"},
    {": x\r\n", DATE ID "\r\n: x\r\n"},
    {"Subject: only a header\r\n", "Subject: only a header\r\n" DATE ID "\r\n"},
    {"Bcc: only this\r\n", DATE ID "\r\n"},
    {"", DATE ID "\r\n"},
    {"Datex\r\n", DATE ID "\r\nDatex\r\n"},
    {"Sub\xc3\xa4: x\r\n\r\n", DATE ID "\r\nSub\xc3\xa4: x\r\n\r\n"},
};

static void check(const char *in, const char *out, size_t first, size_t second)
{
	struct span text = span_str(in);
	struct mend m;
	struct buf result;

	buf_init(&result, 4096);
	mend_init(&m, "today", "<new@here>");
	mend_feed(&m, span_sub(text, 0, first), &result);
	mend_feed(&m, span_sub(text, first, second - first), &result);
	mend_feed(&m, span_from(text, second), &result);
	mend_end(&m, &result);
	if (!span_eq(buf_span(&result), span_str(out)))
		fail_msg("cut at %zu and %zu:\n%s\nbecame\n%.*s\nnot\n%s", first, second, in, SPAN_ARG(buf_span(&result)), out);
	buf_fini(&result);
}

static void messages_are_mended_in_all_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t first = 0; first <= strlen(rows[i].in); first++)
			for (size_t second = first; second <= strlen(rows[i].in); second++)
				check(rows[i].in, rows[i].out, first, second);
}

/* What has been mended needs nothing more. */
static void mending_twice_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(rows[i].out, rows[i].out, 0, 0);
}

static void from_is_added_when_it_is_missing(void **state)
{
	static const char *const texts[][2] = {{"Subject: x\r\n\r\n", "Subject: x\r\n" DATE "From: me\r\n" ID "\r\n"}, {"FROM: you\r\n\r\n", "FROM: you\r\n" DATE ID "\r\n"}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mend m;
		struct buf result;

		buf_init(&result, 4096);
		mend_init(&m, "today", "<new@here>");
		m.from = "me";
		mend_feed(&m, span_str(texts[i][0]), &result);
		mend_end(&m, &result);
		assert_span_equal(buf_span(&result), texts[i][1]);
		buf_fini(&result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_are_mended_in_all_pieces),
	    cmocka_unit_test(mending_twice_changes_nothing),
	    cmocka_unit_test(from_is_added_when_it_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
