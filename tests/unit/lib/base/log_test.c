/* What a log line looks like, and what may not get into it. */
#include "tests/unit/test.h"

#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

static int pipe_fds[2];

static const char *logged(void)
{
	static char text[20000];
	ssize_t n;

	log_flush();
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void outside_text_cannot_forge_a_line_or_a_field(void **state)
{
	(void)state;
	log_init(pipe_fds[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_event(EV_smtp_reject, NULL, F_STR("from", "a\nerror: forged b=c \"q\""), F_U64("n", 7));
	assert_string_equal(logged(),
	    "smtp_reject from=\"a\\x0aerror: forged b=c \\\"q\\\"\" n=7\n");
}

static void context_comes_first_parents_before_children(void **state)
{
	struct log_ctx session = {.key = "session", .value = SPAN_LIT("s1")};
	struct log_ctx transaction = {.parent = &session, .key = "qid", .value = SPAN_LIT("Q")};

	(void)state;
	log_event(EV_smtp_queued, &transaction, F_I64("size", -1), F_SPAN("empty", SPAN_LIT("")));
	assert_string_equal(logged(), "smtp_queued session=s1 qid=Q size=-1 empty=\"\"\n");
}

static void less_important_events_are_counted_not_written(void **state)
{
	uint64_t before = log_event_count(EV_smtp_connect);

	(void)state;
	log_event(EV_smtp_connect, NULL, F_STR("rip", "x"));
	log_event(EV_smtp_queued, NULL, F_STR("marker", "y"));
	assert_string_equal(logged(), "smtp_queued marker=y\n");
	assert_true(log_event_count(EV_smtp_connect) == before + 1);
}

static void json_is_escaped(void **state)
{
	(void)state;
	log_init(pipe_fds[1], LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_event(EV_smtp_queued, NULL, F_STR("x", "a\"b\\c\x01 J\xc3\xbcrgen \xff"));
	assert_string_equal(logged(),
	    "\"event\":\"smtp_queued\",\"level\":\"info\",\"x\":\"a\\\"b\\\\c\\u0001 J\xc3\xbcrgen \\ufffd\"\n");
	log_init(pipe_fds[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void a_flood_of_warnings_is_cut_and_said(void **state)
{
	const char *text;

	(void)state;
	for (int i = 0; i < 1000; i++)
		log_event(EV_imap_error, NULL, F_STR("x", "y"));
	text = logged();
	assert_non_null(strstr(text, "imap_error"));
	assert_non_null(strstr(logged(), "log_dropped"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(outside_text_cannot_forge_a_line_or_a_field),
	    cmocka_unit_test(context_comes_first_parents_before_children),
	    cmocka_unit_test(less_important_events_are_counted_not_written),
	    cmocka_unit_test(json_is_escaped),
	    cmocka_unit_test(a_flood_of_warnings_is_cut_and_said),
	};

	if (pipe(pipe_fds) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
