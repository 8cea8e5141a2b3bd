/* Addresses of a header section get a domain where they have none, however the message is cut. */
#include "local/complete.h"
#include "tests/unit/test.h"

static const struct {
	const char *in, *out; /* NULL: as it was */
} rows[] = {
    {"From: root (Cron Daemon)\r\nTo: root\r\n\r\nTo: body\r\n", "From: root@d.test (Cron Daemon)\r\nTo: root@d.test\r\n\r\nTo: body\r\n"},
    {"to:a,b@c.test,\r\n c\r\n\r\n", "to:a@d.test,b@c.test,\r\n c@d.test\r\n\r\n"},
    {"Cc: Alice <alice>, \"B, b\" <b@c.test>, <c>\r\n\r\n", "Cc: Alice <alice@d.test>, \"B, b\" <b@c.test>, <c@d.test>\r\n\r\n"},
    {"Resent-To: a.b\r\nReply-To : x\r\n\r\n", "Resent-To: a.b@d.test\r\nReply-To : x@d.test\r\n\r\n"},
    {"To: Group: a, b@c.test;, e\r\n\r\n", "To: Group: a@d.test, b@c.test;, e@d.test\r\n\r\n"},
    {"To: \"a b\", \"a\".b\r\n\r\n", "To: \"a b\"@d.test, \"a\".b@d.test\r\n\r\n"},
    {"To: a (with \\) and (more)) (b)\r\n\r\n", "To: a@d.test (with \\) and (more)) (b)\r\n\r\n"},
    {"To: undisclosed-recipients:;\r\n\r\n", NULL},
    {"To: John Doe\r\n\r\n", NULL},
    {"To: a @ b.test, a@[192.0.2.1], <@r.test:a@b.test>\r\n\r\n", NULL},
    {"From: <>\r\nTo:\r\nCc: ,,\r\n\r\n", NULL},
    {"Subject: root\r\nX-To: root\r\n\r\n", NULL},
    {"no header\r\nTo: root\r\n\r\n", NULL},
    {"\r\nTo: root\r\n\r\n", NULL},
    {" folded from the start\r\nTo: root\r\n", NULL},
    {"To: root\r\n", "To: root@d.test\r\n"},
    {"To: \"never closed\r\n\r\n", NULL},
    {"To: (never closed\r\n\r\n", NULL},
    {"To: a\\\r\nSubject: x\r\n\r\n", "To: a\\@d.test\r\nSubject: x\r\n\r\n"},
    {"", NULL},
};

static void check(size_t row, size_t first, size_t second)
{
	struct span text = span_str(rows[row].in), want = rows[row].out != NULL ? span_str(rows[row].out) : text;
	struct complete c;
	struct buf out;

	buf_init(&out, 4096);
	complete_init(&c, SPAN_LIT("d.test"));
	complete_feed(&c, span_sub(text, 0, first), &out);
	complete_feed(&c, span_sub(text, first, second - first), &out);
	complete_feed(&c, span_from(text, second), &out);
	complete_end(&c, &out);
	complete_fini(&c);
	if (!span_eq(buf_span(&out), want))
		fail_msg("cut at %zu and %zu:\n%.*s\nbecame\n%.*s", first, second, SPAN_ARG(text), SPAN_ARG(buf_span(&out)));
	buf_fini(&out);
}

static void addresses_are_completed_in_all_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t first = 0; first <= strlen(rows[i].in); first++)
			for (size_t second = first; second <= strlen(rows[i].in); second++)
				check(i, first, second);
}

static void a_field_without_an_end_passes(void **state)
{
	char piece[1024];
	struct complete c;
	struct buf out;

	(void)state;
	memset(piece, 'a', sizeof(piece));
	buf_init(&out, 4 * COMPLETE_FIELD_MAX);
	complete_init(&c, SPAN_LIT("d.test"));
	complete_feed(&c, SPAN_LIT("To: "), &out);
	for (size_t i = 0; i < 2 * COMPLETE_FIELD_MAX; i += sizeof(piece))
		complete_feed(&c, span_of(piece, sizeof(piece)), &out);
	complete_end(&c, &out);
	assert_int_equal(buf_len(&out), 4 + 2 * COMPLETE_FIELD_MAX);
	complete_fini(&c);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(addresses_are_completed_in_all_pieces),
	    cmocka_unit_test(a_field_without_an_end_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
