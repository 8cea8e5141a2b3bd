/* What a log line looks like, and what may not get into it. */
#include "tests/unit/test.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
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

/* Three values of nothing but escapes: longer than a line may be. */
static void a_line_that_is_too_long_takes_no_other_with_it(void **state)
{
	static char noise[1024];
	struct span loud = span_of(noise, sizeof(noise));
	const char *text;

	(void)state;
	memset(noise, 1, sizeof(noise));
	log_flush();
	log_event(EV_auth_failed, NULL, F_STR("user", "alice"));
	log_event(EV_smtp_reject, NULL, F_SPAN("a", loud), F_SPAN("b", loud), F_SPAN("c", loud));
	log_event(EV_auth_ok, NULL, F_STR("user", "bob"));
	text = logged();
	assert_non_null(strstr(text, "auth_failed user=alice\n"));
	assert_non_null(strstr(text, "auth_ok user=bob\n"));
	assert_null(strstr(text, "smtp_reject"));
	log_flush();
	assert_string_equal(logged(), "warn: log_dropped lines=1\n");
}

static void a_long_value_is_cut(void **state)
{
	static char value[5000];
	const char *text;

	(void)state;
	memset(value, 'v', sizeof(value));
	log_event(EV_smtp_queued, NULL, F_SPAN("x", span_of(value, sizeof(value))), F_U64("behind", 1));
	text = logged();
	assert_int_equal(strspn(text + strlen("smtp_queued x="), "v"), 1024);
	assert_non_null(strstr(text, " behind=1\n"));
}

/* Lines gather to save system calls, but not without bound. */
static void four_kilobytes_go_out_at_once(void **state)
{
	char text[20000];
	ssize_t n;

	(void)state;
	log_event(EV_smtp_queued, NULL, F_STR("x", "first"));
	assert_int_equal(read(pipe_fds[0], text, sizeof(text)), -1);
	for (int i = 0; i < 100; i++)
		log_event(EV_smtp_queued, NULL, F_STR("x", "0123456789012345678901234567890123456789"));
	n = read(pipe_fds[0], text, sizeof(text));
	assert_true(n >= 4096);
	assert_int_equal(text[n - 1], '\n'); /* whole lines */
	logged();
}

/* The sink is behind: nothing waits for it, and how much was lost is said when it takes lines again. */
static void what_the_sink_does_not_take_is_dropped_and_counted(void **state)
{
	char text[70000];
	int fds[2], lost = 0;
	bool said = false;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	log_init(fds[0], LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = 0; i < 5000; i++) {
		log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
		log_flush();
	}
	for (ssize_t n; (n = recv(fds[1], text, sizeof(text) - 1, MSG_DONTWAIT)) > 0;)
		lost++;
	assert_true(lost < 5000);
	log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
	log_flush();
	log_flush();
	for (ssize_t n; (n = recv(fds[1], text, sizeof(text) - 1, MSG_DONTWAIT)) > 0;) {
		char want[64];

		text[n] = '\0';
		snprintf(want, sizeof(want), "warn: log_dropped lines=%d\n", 5000 - lost);
		said |= strcmp(text, want) == 0;
	}
	assert_true(said);
	/* The sink is gone: nothing happens, no signal either. */
	close(fds[1]);
	log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
	log_flush();
	close(fds[0]);
	log_init(pipe_fds[1], LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
	log_flush();
	log_flush();
	logged();
}

static void the_level_can_be_changed(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
	log_event(EV_daemon_failed, NULL, F_STR("x", "y"));
	assert_string_equal(logged(), "error: daemon_failed x=y\n");
	log_set_level(LOG_LEVEL_DEBUG);
	log_event(EV_smtp_connect, NULL, F_STR("x", "y"));
	assert_string_equal(logged(), "smtp_connect x=y\n");
	log_set_level(LOG_LEVEL_INFO);
	log_event(EV_smtp_connect, NULL, F_STR("x", "y"));
	log_event(EV_smtp_queued, NULL, F_STR("x", "y"));
	assert_string_equal(logged(), "smtp_queued x=y\n");
}

static void levels_have_names(void **state)
{
	(void)state;
	assert_string_equal(log_level_name(LOG_LEVEL_ERROR), "error");
	assert_string_equal(log_level_name(LOG_LEVEL_WARN), "warn");
	assert_string_equal(log_level_name(LOG_LEVEL_INFO), "info");
	assert_string_equal(log_level_name(LOG_LEVEL_DEBUG), "debug");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(outside_text_cannot_forge_a_line_or_a_field),
	    cmocka_unit_test(context_comes_first_parents_before_children),
	    cmocka_unit_test(less_important_events_are_counted_not_written),
	    cmocka_unit_test(json_is_escaped),
	    cmocka_unit_test(a_line_that_is_too_long_takes_no_other_with_it),
	    cmocka_unit_test(a_long_value_is_cut),
	    cmocka_unit_test(four_kilobytes_go_out_at_once),
	    cmocka_unit_test(what_the_sink_does_not_take_is_dropped_and_counted),
	    cmocka_unit_test(the_level_can_be_changed),
	    cmocka_unit_test(levels_have_names),
	    cmocka_unit_test(a_flood_of_warnings_is_cut_and_said),
	};

	if (pipe2(pipe_fds, O_NONBLOCK) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
