/* A letter as a file: read back as it was written, refused when anything is wrong with it. */
#include "local/drop.h"
#include "tests/unit/test.h"

static struct pool *pool;

static void read_back_as_written(void **state)
{
	struct letter_recipient to[] = {{SPAN_LIT("alice"), 6, SPAN_LIT("")}, {SPAN_LIT("b c@example.com"), 1, SPAN_LIT("rfc822;b@example.net")}, {SPAN_LIT("d"), 1, SPAN_LIT("")}};
	struct letter letter = {.handover = {1, 2, 255}, .user = SPAN_LIT("root"), .full_name = SPAN_LIT("A  B"), .sender = SPAN_LIT(""), .sender_given = true, .ret = 2,
	    .envid = SPAN_LIT("e"), .recipients = to, .recipient_count = 3}, back;
	struct buf text;
	struct err err;
	size_t len;

	(void)state;
	buf_init(&text, DROP_HEAD_MAX);
	assert_int_equal(drop_encode(&letter, &text), 0);
	len = buf_len(&text);
	buf_add_str(&text, "Subject: x\n\ncontent");
	assert_int_equal(drop_head_length(buf_span(&text)), len);
	assert_int_equal(drop_decode(buf_span(&text), pool, &back, &len, &err), 0);
	assert_int_equal(len, drop_head_length(buf_span(&text)));
	assert_memory_equal(back.handover, letter.handover, LETTER_HANDOVER);
	assert_span_equal(back.user, "root");
	assert_span_equal(back.full_name, "A  B");
	assert_true(back.sender_given && back.sender.len == 0);
	assert_int_equal(back.ret, 2);
	assert_int_equal(back.recipient_count, 3);
	assert_span_equal(back.recipients[1].address, "b c@example.com");
	assert_span_equal(back.recipients[1].orcpt, "rfc822;b@example.net");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(back.recipients[i].notify, to[i].notify);
	assert_int_equal(back.recipients[0].orcpt.len + back.recipients[2].orcpt.len, 0);
	buf_fini(&text);
}

static void no_text_brings_a_line_of_its_own(void **state)
{
	struct letter_recipient to[] = {{.address = SPAN_LIT("alice\nrecipient bob")}, {.address = SPAN_LIT("alice"), .orcpt = SPAN_LIT("rfc822;a\nrecipient bob")}};
	struct buf text;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct letter letter = {.user = SPAN_LIT("root"), .recipients = &to[i], .recipient_count = 1};

		buf_init(&text, DROP_HEAD_MAX);
		assert_int_equal(drop_encode(&letter, &text), E_SYNTAX);
		buf_fini(&text);
	}
}

#define HEAD "mailwain-drop 1\nhandover 00112233445566778899aabbccddeeff\nuser u\n"

static void what_is_wrong_is_refused(void **state)
{
	static const char *const texts[] = {"", "\n", "mailwain-drop 2\n\n", HEAD, HEAD "recipient a\n", HEAD "\n", HEAD "recipient \n\n", HEAD "user v\nrecipient a\n\n", HEAD "ret 3\nrecipient a\n\n",
	    HEAD "notify 16\nrecipient a\n\n", HEAD "notify -1\nrecipient a\n\n", HEAD "other x\nrecipient a\n\n", HEAD "orcpt rfc822;a\norcpt rfc822;b\nrecipient a\n\n",
	    HEAD "recipient a\norcpt rfc822;a\n\n", HEAD "orcpt \nrecipient a\n\n", HEAD "recipient\n\n", "mailwain-drop 1\nhandover 0\nuser u\nrecipient a\n\n",
	    "mailwain-drop 1\nuser u\nrecipient a\n\n"};
	struct letter letter;
	struct err err;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (drop_decode(span_str(texts[i]), pool, &letter, &len, &err) != E_CONTENT)
			fail_msg("%s", texts[i]);
	assert_int_equal(drop_decode(span_str(HEAD "recipient a\n\n"), pool, &letter, &len, &err), 0);
	assert_false(letter.sender_given);
	/* As it was written when NOTIFY was that of all. */
	assert_int_equal(drop_decode(span_str(HEAD "notify 2\nret 0\nrecipient a\nrecipient b\n\n"), pool, &letter, &len, &err), 0);
	assert_int_equal(letter.recipients[0].notify + letter.recipients[1].notify, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(read_back_as_written),
	    cmocka_unit_test(no_text_brings_a_line_of_its_own),
	    cmocka_unit_test(what_is_wrong_is_refused),
	};

	pool = pool_new(NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
