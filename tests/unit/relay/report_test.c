/* Reports by the clock: when a day is closed, what is sent, when what cannot be sent is tried again and given up; by queue's channel and a fake DNS. */
#include "tests/unit/relay/daemon.h"
#include "tests/unit/relay/fake_dns.h"

#include "base/clock.h"
#include "relay/report_private.h"

#include <event2/event.h>
#include <time.h>
#include <unistd.h>

enum { MIDNIGHT = 1700006400 /* 2023-11-15 */, HOUR = 3600, DAY = 24 * HOUR };

static char directory[] = "/tmp/mailwain-report-XXXXXX";
static struct fake_dns fake;
static struct relay relay;

/* ---- a clock of the test's own ---- */

static int64_t now; /* seconds since 1970 */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	(void)clock;
	*ts = (struct timespec){.tv_sec = now};
	return 0;
}

/* ---- queue ---- */

static struct {
	struct ipc_conn *conn;
	unsigned mails;
	char sender[100], recipient[100], content[60000];
	int code;    /* of the answer */
	bool silent; /* there is none */
} queue;

static int on_mail(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct relay_mail *mail = (const void *)m->body;
	struct relay_mailed body = {.code = queue.code};

	(void)arg;
	assert_ptr_equal(m->type, &ipc_relay_mail);
	queue.mails++;
	span_copy(mail->sender, queue.sender, sizeof(queue.sender));
	span_copy(mail->recipient, queue.recipient, sizeof(queue.recipient));
	span_copy(mail->content, queue.content, sizeof(queue.content));
	if (!queue.silent)
		ipc_conn_send(conn, &ipc_relay_mailed, m->id, &body, -1);
	return 0;
}

static void on_queue_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
	queue.conn = NULL;
}

static void connect_queue(void)
{
	static const struct ipc_conn_callbacks callbacks = {on_mail, on_queue_closed};
	struct err err;
	int fds[2];

	assert_int_equal(ipc_pair(fds, &err), 0);
	channel_new(&relay, fds[0]);
	queue.conn = ipc_conn_new(base, fds[1], &ipc_service_relay, TO_CLIENT, &callbacks, NULL);
}

/* ---- the beginning and the end ---- */

static struct fake_row rows[] = {{"_smtp._tls.a.test", DNS_TXT, NULL, false}, {"_smtp._tls.b.test", DNS_TXT, "v=TLSRPTv1; rua=mailto:b@b.test", false}, {0}};

static void set(const char *settings)
{
	struct err err = {0};

	conf_free(&conf);
	if (conf_parse(span_str(settings), "c", &conf, &err) != 0)
		fail_msg("%s", err.text);
}

static void begin_reports(void)
{
	struct err err = {0};

	if (state_open(&relay.state, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(reports_open(&relay), 0);
}

static void end_reports(void)
{
	reports_halt(&relay);
	state_close(&relay.state);
}

static int setup(void **state)
{
	(void)state;
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		return 1;
	memset(&relay, 0, sizeof(relay));
	memset(&queue, 0, sizeof(queue));
	now = MIDNIGHT + 10 * HOUR;
	base = event_base_new();
	set("config-version 1\nhostname mail.example.com\n");
	fake_dns_begin(&fake, base, rows);
	relay.dns = fake.dns;
	relay.self.hostname = SPAN_LIT("mail.example.com");
	relay.seed = 12345;
	rows[0].data = "v=TLSRPTv1; rua=mailto:a@a.test";
	connect_queue();
	begin_reports();
	return 0;
}

static void run_dry(void)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int teardown(void **state)
{
	static const char *const files[] = {"data.mdb", "lock.mdb"};

	(void)state;
	end_reports();
	fake_dns_end(&fake);
	ipc_conn_free(&queue.conn);
	run_dry();
	event_base_free(base);
	conf_free(&conf);
	for (size_t i = 0; i < 2; i++)
		unlink(files[i]);
	return chdir("/") != 0 || rmdir(directory) != 0;
}

/* ---- steps ---- */

static void note(const char *domain, enum tlsrpt_result result)
{
	struct report_attempt attempt = {.domain = span_str(domain), .session = {.domain = span_str(domain), .result = result, .host = SPAN_LIT("mx.test"), .reason = SPAN_LIT("why")}};

	report_note(&relay, &attempt);
}

/* What a second brings. */
static void turn(void)
{
	reports_sweep(&relay);
	run_dry();
	reports_sweep(&relay);
	run_dry();
}

/* Second after second would take too long: a minute, with all that there is to do in it. */
static void pass_time(int64_t seconds)
{
	for (int64_t end = now + seconds; now < end; now += 60)
		turn();
}

static bool count_one(void *arg, struct span key, struct span value)
{
	(void)key;
	(void)value;
	++*(unsigned *)arg;
	return true;
}

static unsigned records(enum state_table table)
{
	unsigned count = 0;

	assert_int_equal(state_each(relay.state, table, span_str(""), count_one, &count), 0);
	return count;
}

/* ---- tests ---- */

static void a_day_is_closed_after_midnight(void **state)
{
	(void)state;
	note("a.test", TLSRPT_SUCCESS);
	note("a.test", TLSRPT_CERTIFICATE_EXPIRED);
	pass_time(14 * HOUR - 60);
	assert_int_equal(fake.asked, 0);
	assert_int_equal(records(STATE_TRAFFIC), 1);
	now = MIDNIGHT + DAY;
	note("a.test", TLSRPT_SUCCESS); /* of the next day */
	pass_time(REPORT_DELAY_MAX_S + 120);
	assert_int_equal(queue.mails, 1);
	assert_string_equal(queue.sender, "postmaster@mail.example.com");
	assert_string_equal(queue.recipient, "a@a.test");
	assert_non_null(strstr(queue.content, "!a.test!1700006400!1700092799.json.gz"));
	assert_non_null(strstr(queue.content, "as it should be: 1\r\nothers: 1\r\n"));
	assert_int_equal(records(STATE_REPORTS), 0);
	assert_int_equal(records(STATE_TRAFFIC), 1);
	pass_time(REPORT_DELAY_MAX_S);
	assert_int_equal(queue.mails, 1);
}

/* A start finds the days before, and sends them soon. */
static void a_day_that_ended_while_nobody_was_there(void **state)
{
	(void)state;
	note("a.test", TLSRPT_SUCCESS);
	note("b.test", TLSRPT_SUCCESS);
	end_reports();
	now += 3 * DAY;
	begin_reports();
	pass_time(REPORT_LATE_S + 120);
	assert_int_equal(queue.mails, 2);
	assert_non_null(strstr(queue.content, "!1700006400!1700092799.json.gz"));
	assert_int_equal(records(STATE_TRAFFIC) + records(STATE_REPORTS), 0);
}

static void close_now(void)
{
	char cursor[REPORT_KEY_MAX] = "";

	assert_int_equal(reports_close(relay.reports, "", true, cursor), 1);
	relay.reports->pass_at = now;
}

/* RFC 8460 section 5.5 */
static void what_queue_does_not_take_is_tried_for_a_day(void **state)
{
	int64_t began;

	(void)state;
	queue.code = E_BUSY;
	note("a.test", TLSRPT_SUCCESS);
	close_now();
	began = now;
	turn();
	assert_int_equal(queue.mails, 1);
	pass_time(REPORT_RETRY_S - 60);
	assert_int_equal(queue.mails, 1);
	pass_time(180);
	assert_int_equal(queue.mails, 2);
	end_reports(); /* the rest of the way is known after a start as well */
	begin_reports();
	pass_time(began + REPORT_LIFETIME_S + HOUR - now);
	assert_in_range(queue.mails, 8, 12);
	assert_int_equal(records(STATE_REPORTS), 0);
}

/* What was counted and put off while the clock was a month ahead. */
static void a_clock_that_is_set_back_delays_nothing(void **state)
{
	(void)state;
	queue.code = E_BUSY;
	now += 30 * DAY;
	note("a.test", TLSRPT_SUCCESS);
	turn();
	close_now();
	turn();
	assert_int_equal(queue.mails, 1);
	queue.code = 0;
	now -= 30 * DAY;
	pass_time(120);
	assert_int_equal(queue.mails, 2);
	assert_int_equal(records(STATE_REPORTS), 0);
	note("b.test", TLSRPT_SUCCESS);
	pass_time(DAY + REPORT_DELAY_MAX_S);
	assert_int_equal(queue.mails, 3);
}

static void what_queue_does_not_answer_is_tried_again(void **state)
{
	(void)state;
	queue.silent = true;
	note("a.test", TLSRPT_SUCCESS);
	close_now();
	turn();
	assert_int_equal(queue.mails, 1);
	ipc_conn_free(&queue.conn);
	run_dry();
	assert_int_equal(relay.reports->task_count, 0);
	assert_int_equal(records(STATE_REPORTS), 1);
	pass_time(REPORT_RETRY_S + 120); /* queue is still away */
	queue.silent = false;
	connect_queue();
	pass_time(4 * REPORT_RETRY_S + 120);
	assert_int_equal(queue.mails, 2);
	assert_int_equal(records(STATE_REPORTS), 0);
}

static void who_asks_for_none(void **state)
{
	static const char *const texts[] = {"", "nxdomain", "v=spf1 -all", "v=TLSRPTv1; rua=ftp://a.test/", "v=TLSRPTv1; rua"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		rows[0].data = texts[i];
		note("a.test", TLSRPT_SUCCESS);
		close_now();
		turn();
		assert_int_equal(fake.asked, i + 1);
		assert_int_equal(records(STATE_REPORTS), 0);
		now++;
	}
	assert_int_equal(queue.mails, 0);
}

static void what_dns_cannot_tell_is_asked_again(void **state)
{
	static const char *const texts[] = {"servfail", "bogus", "timeout"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		rows[0].data = texts[i];
		note("a.test", TLSRPT_SUCCESS);
		close_now();
		turn();
		assert_int_equal(records(STATE_REPORTS), i + 1);
		now++;
	}
	rows[0].data = "v=TLSRPTv1; rua=mailto:a@a.test";
	pass_time(REPORT_RETRY_S + 120);
	assert_int_equal(queue.mails, 3);
	assert_int_equal(records(STATE_REPORTS), 0);
}

static void while_they_are_off_nothing_is_counted_or_sent(void **state)
{
	(void)state;
	note("a.test", TLSRPT_SUCCESS);
	set("config-version 1\nhostname mail.example.com\nrelay-tls-reports no\n");
	note("a.test", TLSRPT_SUCCESS);
	note("b.test", TLSRPT_SUCCESS);
	assert_int_equal(relay.reports->counted_count, 1);
	close_now();
	relay.reports->pass = (struct report_pass){.active = true};
	turn();
	assert_int_equal(fake.asked, 0);
	assert_int_equal(records(STATE_REPORTS), 0);
}

static void there_is_a_limit_to_domains(void **state)
{
	char name[32], cursor[REPORT_KEY_MAX] = "";

	(void)state;
	for (unsigned i = 0; i < REPORT_DOMAINS_MAX + 5; i++) {
		snprintf(name, sizeof(name), "%u.test", i);
		note(name, TLSRPT_SUCCESS);
		assert_true(relay.reports->counted_count <= REPORT_CACHE_MAX);
	}
	assert_int_equal(relay.reports->not_counted, 5);
	note("0.test", TLSRPT_SUCCESS); /* who has a place keeps it */
	assert_int_equal(relay.reports->not_counted, 5);
	assert_true(reports_flush(relay.reports));
	assert_int_equal(records(STATE_TRAFFIC), REPORT_DOMAINS_MAX);
	now += DAY;
	for (unsigned i = 0; i < REPORT_DOMAINS_MAX / REPORT_BATCH; i++)
		assert_int_equal(reports_close(relay.reports, "", false, cursor), REPORT_BATCH);
	assert_int_equal(reports_close(relay.reports, "", false, cursor), 0);
	assert_int_equal(records(STATE_TRAFFIC), 0);
	assert_int_equal(relay.reports->stored, 0);
}

/* Many domains name one place, each by another address. */
static void name_a_victim(struct fake_row *named, char (*texts)[2][64], unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		snprintf(texts[i][0], sizeof(texts[i][0]), "_smtp._tls.%u.test", i);
		snprintf(texts[i][1], sizeof(texts[i][1]), "v=TLSRPTv1; rua=mailto:%u@%s", i, i % 2 ? "victim.test" : "Victim.TEST");
		named[i] = (struct fake_row){texts[i][0], DNS_TXT, texts[i][1], false};
		note(texts[i][0] + strlen("_smtp._tls."), TLSRPT_SUCCESS);
	}
}

static bool gets_more(enum tlsrpt_target_kind kind, const char *text)
{
	struct tlsrpt_target target = {.kind = kind};

	snprintf(target.text, sizeof(target.text), "%s", text);
	return report_place_take(relay.reports, &target);
}

static unsigned lines_of(FILE *log, const char *event)
{
	char line[1000];
	unsigned count = 0;

	rewind(log);
	while (fgets(line, sizeof(line), log) != NULL)
		count += strstr(line, event) != NULL;
	return count;
}

static void no_place_is_flooded(void **state)
{
	enum { DOMAINS = REPORT_PLACE_MAX + 20 };
	static struct fake_row named[DOMAINS + 2];
	static char texts[DOMAINS][2][64];
	FILE *log = tmpfile();

	(void)state;
	assert_non_null(log);
	log_init(fileno(log), LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	name_a_victim(named, texts, DOMAINS);
	named[DOMAINS] = rows[1];
	fake.rows = named;
	note("b.test", TLSRPT_SUCCESS);
	now += DAY - now % DAY;
	pass_time(REPORT_DELAY_MAX_S + 120);
	log_flush();
	assert_int_equal(queue.mails, REPORT_PLACE_MAX + 1);
	assert_int_equal(records(STATE_REPORTS), 20);
	assert_int_equal(lines_of(log, "relay_report_limit place=victim.test limit=100"), 1);
	log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	fclose(log);
	assert_false(gets_more(TLSRPT_HTTPS, "https://victim.test"));
	assert_false(gets_more(TLSRPT_HTTPS, "https://a@b@VICTIM.test.:443/page?x@y"));
	assert_false(gets_more(TLSRPT_HTTPS, "https://victim.test?x"));
	assert_false(gets_more(TLSRPT_MAILTO, "\"a@b\"@victim.test"));
	assert_true(gets_more(TLSRPT_HTTPS, "https://b.test/victim.test"));
	assert_true(gets_more(TLSRPT_HTTPS, "https://[::1]:443/"));
	/* On another day it begins anew. */
	pass_time(2 * DAY);
	assert_int_equal(records(STATE_REPORTS), 0);
	queue.mails = 0;
	note("0.test", TLSRPT_SUCCESS);
	pass_time(DAY + REPORT_DELAY_MAX_S);
	assert_int_equal(queue.mails, 1);
}

static void what_was_stored_by_others_words_is_passed_over(void **state)
{
	static const char *const values[] = {"", "R\t1\t2\n", "R\t1\t2\t3\t4\nB\t1\n", "X\t1\t2\t3\nB\t1\n", "R\tx\t2\t3\nB\t1\n"};
	struct report_stored stored;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		assert_false(report_parse(SPAN_LIT("01700092799 a.test"), span_str(values[i]), &stored));
	assert_false(report_parse(SPAN_LIT("01700092799 "), SPAN_LIT("R\t1\t2\t3\nB\t1\n"), &stored));
	assert_false(report_parse(SPAN_LIT("0170009279x a.test"), SPAN_LIT("R\t1\t2\t3\nB\t1\n"), &stored));
	assert_true(report_parse(SPAN_LIT("01700092799 a.test"), SPAN_LIT("R\t1\t2\t3\nB\t1\n"), &stored));
	assert_string_equal(stored.domain, "a.test");
	assert_int_equal(stored.end, 1700092799);
	assert_span_equal(stored.traffic, "B\t1\n");
}

/* It is closed by nobody: it must not take the place of a domain for ever. */
static void a_key_that_is_none_is_not_counted(void **state)
{
	static const char *const keys[] = {"20231114", "20231114 ", "2023111 a.test", "2023111x a.test", "20231114 a.test"};
	struct err err;

	(void)state;
	assert_int_equal(state_begin(relay.state, &err), 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_int_equal(state_put(relay.state, STATE_TRAFFIC, span_str(keys[i]), SPAN_LIT("B\t1\n"), &err), 0);
	assert_int_equal(state_commit(relay.state, &err), 0);
	end_reports();
	begin_reports();
	assert_int_equal(records(STATE_TRAFFIC), 5);
	assert_int_equal(relay.reports->stored, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_day_is_closed_after_midnight, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_day_that_ended_while_nobody_was_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_queue_does_not_take_is_tried_for_a_day, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_delays_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_queue_does_not_answer_is_tried_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(who_asks_for_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_dns_cannot_tell_is_asked_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(while_they_are_off_nothing_is_counted_or_sent, setup, teardown),
	    cmocka_unit_test_setup_teardown(there_is_a_limit_to_domains, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_place_is_flooded, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_was_stored_by_others_words_is_passed_over, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_key_that_is_none_is_not_counted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
