/* Which MTA-STS policy is in force: DNS and the web as they should be, gone, slow and wrong; and what is kept. */
#include "tests/daemon.h"
#include "tests/unit/relay/fake_dns.h"

#include "base/clock.h"
#include "net/fetch_client.h"
#include "relay/sts_lookup.h"

#include <event2/event.h>
#include <time.h>
#include <unistd.h>

enum { DAY = 86400, WAIT_MS = 5000, SHORT_WAIT_MS = 300 };

static char directory[] = "/tmp/mailwain-sts-XXXXXX";
static struct fake_dns fake;
static struct fetch_client *client;
static struct state *kept;
static struct sts_lookups *lookups;

/* ---- a clock of the test's own ---- */

static int64_t later; /* seconds */

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

/* Nor is there memory when a test says so. */
static bool starved;
int __real_state_get(struct state *state, enum state_table table, struct span key, struct buf *out);
int __wrap_state_get(struct state *state, enum state_table table, struct span key, struct buf *out);

int __wrap_state_get(struct state *state, enum state_table table, struct span key, struct buf *out)
{
	return starved ? E_NOMEM : __real_state_get(state, table, key, out);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = __real_clock_gettime(clock, ts);

	ts->tv_sec += later;
	return r;
}

/* ---- the web ---- */

static struct {
	struct ipc_conn *conn;
	unsigned asked;
	char url[300];
	bool silent;
	uint32_t id; /* of who waits */
	struct fetch_answer answer;
} web;

static void web_says(const char *text)
{
	web.answer = (struct fetch_answer){.status = 200, .max_age = -1, .content_type = SPAN_LIT("text/plain; charset=utf-8"), .body = span_str(text)};
}

static void web_fails(int code)
{
	web.answer = (struct fetch_answer){.code = code, .max_age = -1, .text = SPAN_LIT("it burns")};
}

static int on_request(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct fetch_request *ask = (const void *)m->body;

	(void)arg;
	if (m->type != &ipc_fetch_request)
		return 0;
	web.asked++;
	web.id = m->id;
	span_copy(ask->url, web.url, sizeof(web.url));
	if (!web.silent)
		ipc_conn_send(conn, &ipc_fetch_answer, m->id, &web.answer, -1);
	return 0;
}

static void on_web_gone(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
	web.conn = NULL;
}

/* ---- DNS ---- */

static struct fake_row rows[] = {{"_mta-sts.a.test", DNS_TXT, NULL, false}, {"_mta-sts.b.test", DNS_TXT, "v=STSv1; id=9", false}, {0}};

/* data: of a.test. */
static void dns_says(const char *data)
{
	rows[0].data = data;
}

/* ---- the beginning and the end ---- */

static unsigned changes;
static int wait_ms;

static void on_changed(void *arg, const char *domain)
{
	(void)arg;
	(void)domain;
	changes++;
}

static void begin_lookups(void)
{
	struct sts_services with = {.base = base, .dns = fake.dns, .fetch = client, .wait_ms = wait_ms, .changed = on_changed};
	struct err err = {0};

	if (state_open(&kept, &err) != 0)
		fail_msg("%s", err.text);
	with.state = kept;
	lookups = sts_lookups_new(&with);
	assert_non_null(lookups);
}

static void end_lookups(void)
{
	sts_lookups_free(&lookups);
	state_close(&kept);
}

static const char good[] = "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 604800\n";

static int setup(void **state)
{
	static const struct ipc_conn_callbacks callbacks = {on_request, on_web_gone};
	struct err err;
	int fds[2];

	(void)state;
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		return 1;
	later = 0;
	changes = 0;
	wait_ms = WAIT_MS;
	base = event_base_new();
	fake_dns_begin(&fake, base, rows);
	client = fetch_client_new(NULL);
	assert_int_equal(ipc_pair(fds, &err), 0);
	memset(&web, 0, sizeof(web));
	web.conn = ipc_conn_new(base, fds[1], &ipc_service_fetch, TO_SERVICE, &callbacks, NULL);
	fetch_client_connect(client, fds[0]);
	begin_lookups();
	dns_says("v=STSv1; id=1");
	web_says(good);
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {"data.mdb", "lock.mdb"};

	(void)state;
	end_lookups();
	fake_dns_end(&fake);
	ipc_conn_free(&web.conn);
	event_base_loop(base, EVLOOP_NONBLOCK); /* its other end sees it */
	free(client);
	event_base_free(base);
	for (size_t i = 0; i < 2; i++)
		unlink(files[i]);
	return chdir("/") != 0 || rmdir(directory) != 0;
}

/* ---- questions ---- */

static struct {
	unsigned count;
	int code;
	bool found;
	enum sts_mode mode;
	char id[STS_ID_MAX + 1], text[200];
	enum outcome_kind failure;
} told;

static void on_told(void *arg, const struct sts_answer *answer)
{
	(void)arg;
	told.count++;
	told.code = answer->code;
	told.found = answer->policy != NULL;
	told.mode = answer->policy ? answer->policy->mode : STS_NONE;
	snprintf(told.id, sizeof(told.id), "%s", answer->policy ? answer->policy->id : "");
	snprintf(told.text, sizeof(told.text), "%s", answer->text);
	told.failure = answer->failure;
}

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

static void run_until_told(unsigned count)
{
	struct timeval tv = {.tv_sec = 30};
	bool overdue = false;
	struct event *timer = evtimer_new(base, on_overdue, &overdue);

	evtimer_add(timer, &tv);
	while (told.count < count && !overdue)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
	assert_int_equal(told.count, count);
}

/* Whatever is under way between the channels comes to its end. */
static void run_dry(void)
{
	for (int i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int64_t took; /* the last one, in milliseconds */

static void ask(const char *domain)
{
	int64_t began = clock_monotonic_ms();

	memset(&told, 0, sizeof(told));
	assert_non_null(sts_ask(lookups, domain, on_told, NULL));
	assert_int_equal(told.count, 0);
	run_until_told(1);
	took = clock_monotonic_ms() - began;
	run_dry();
}

#define assert_policy(i, asked_in_all)                              \
	do {                                                        \
		assert_string_equal(told.id, i);                    \
		assert_int_equal(told.found, (i)[0] != '\0');       \
		assert_int_equal(web.asked, asked_in_all);          \
	} while (0)

/* ---- found, and kept ---- */

static void a_domain_without_one(void **state)
{
	static const char *const texts[] = {"", "nxdomain", "v=spf1 -all", "servfail", "bogus", "timeout"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		dns_says(texts[i]);
		ask("a.test");
		assert_policy("", 0);
		assert_int_equal(told.failure, OUTCOME_GOOD);
	}
	dns_says("v=STSv1; id=?");
	ask("a.test");
	assert_policy("", 0);
	assert_int_equal(told.failure, OUTCOME_STS_INVALID);
}

static void it_is_fetched_once(void **state)
{
	(void)state;
	ask("a.test");
	assert_policy("1", 1);
	assert_int_equal(told.mode, STS_ENFORCE);
	assert_string_equal(web.url, "https://mta-sts.a.test/.well-known/mta-sts.txt");
	assert_int_equal(changes, 1);
	ask("a.test");
	assert_policy("1", 1);
	end_lookups();
	begin_lookups();
	ask("a.test");
	assert_policy("1", 1);
	assert_int_equal(sts_lookups_cache(lookups)->count, 1);
}

static void neither_dns_nor_the_web_takes_it_away(void **state)
{
	static const char *const texts[] = {"", "nxdomain", "v=STSv1; broken", "servfail", "bogus", "timeout", "v=STSv1; id=2"};

	(void)state;
	ask("a.test");
	web_fails(E_UNAVAILABLE);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		dns_says(texts[i]);
		ask("a.test");
		assert_string_equal(told.id, "1");
	}
	assert_int_equal(web.asked, 2); /* for the other id */
	assert_int_equal(told.failure, OUTCOME_STS_FETCH_ERROR);
	assert_string_equal(told.text, "it burns");
	later = 604800;
	ask("a.test");
	assert_policy("", 3);
}

/* It would be sent in clear, to anybody: a kept policy that there is no memory to read is not none. */
static void what_cannot_be_read_for_want_of_memory_is_not_none(void **state)
{
	struct err err = {0};

	(void)state;
	ask("a.test");
	dns_says("servfail");
	starved = true;
	ask("a.test");
	starved = false;
	assert_int_equal(told.code, E_NOMEM);
	assert_false(told.found);
	ask("a.test");
	assert_int_equal(told.code, 0);
	assert_policy("1", 1);
	starved = true;
	assert_int_equal(sts_forget(lookups, "a.test", &err), E_NOMEM);
	starved = false;
	assert_int_equal(sts_lookups_cache(lookups)->count, 1);
}

static void another_id_is_fetched(void **state)
{
	(void)state;
	ask("a.test");
	dns_says("v=STSv1; id=2");
	web_says("version: STSv1\nmode: none\nmax_age: 60\n");
	ask("a.test");
	assert_policy("2", 2);
	assert_int_equal(told.mode, STS_NONE);
	assert_int_equal(changes, 2);
}

/* ---- failures ---- */

static void a_failure_is_remembered_for_a_while(void **state)
{
	static const struct {
		int code;
		uint32_t status;
		const char *type, *body;
		enum outcome_kind kind;
	} rows_[] = {{E_TIMEOUT, 0, "", "", OUTCOME_STS_FETCH_ERROR}, {E_DENIED, 0, "", "", OUTCOME_STS_WEBPKI}, {E_TOOBIG, 0, "", "", OUTCOME_STS_FETCH_ERROR},
	    {0, 301, "text/plain", good, OUTCOME_STS_FETCH_ERROR}, {0, 404, "text/plain", good, OUTCOME_STS_FETCH_ERROR}, {0, 200, "text/html", good, OUTCOME_STS_FETCH_ERROR},
	    {0, 200, "", good, OUTCOME_STS_FETCH_ERROR}, {0, 200, "text/plain", "version: STSv1\n", OUTCOME_STS_INVALID}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
		web.answer = (struct fetch_answer){.code = rows_[i].code, .status = rows_[i].status, .max_age = -1, .content_type = span_str(rows_[i].type),
		    .body = rows_[i].code == 0 ? span_str(rows_[i].body) : SPAN_LIT(""), .text = rows_[i].code != 0 ? SPAN_LIT("why") : SPAN_LIT("")};
		for (int n = 0; n < 3; n++) {
			ask("a.test");
			assert_policy("", i + 1);
			assert_int_equal(told.failure, rows_[i].kind);
			assert_true(told.text[0] != '\0');
		}
		later += STS_RETRY_S + 1;
	}
	web_says(good);
	ask("a.test");
	assert_policy("1", sizeof(rows_) / sizeof(rows_[0]) + 1);
	/* What is remembered is one policy's. */
	dns_says("v=STSv1; id=2");
	web_fails(E_TIMEOUT);
	ask("a.test");
	dns_says("v=STSv1; id=3");
	web_says(good);
	ask("a.test");
	assert_string_equal(told.id, "3");
}

static void many_ask_once(void **state)
{
	unsigned before = fake.asked;

	(void)state;
	memset(&told, 0, sizeof(told));
	for (int i = 0; i < 5; i++)
		assert_non_null(sts_ask(lookups, "a.test", on_told, NULL));
	run_until_told(5);
	assert_policy("1", 1);
	assert_int_equal(fake.asked - before, 1);
}

/* For what is silent: a test waits it out. */
static void have_short_waits(void)
{
	end_lookups();
	wait_ms = SHORT_WAIT_MS;
	begin_lookups();
}

static void mail_does_not_wait_for_a_slow_host(void **state)
{
	(void)state;
	have_short_waits();
	web.silent = true;
	ask("a.test");
	assert_policy("", 1);
	assert_string_equal(told.text, "it was not told in time");
	for (int i = 0; i < 5 && took >= SHORT_WAIT_MS / 2; i++) /* nor does the mail that comes later; but the machine may stand still */
		ask("a.test");
	assert_true(took < SHORT_WAIT_MS / 2);
	assert_policy("", 1);
	ipc_conn_send(web.conn, &ipc_fetch_answer, web.id, &web.answer, -1);
	run_dry();
	ask("a.test");
	assert_policy("1", 1);
}

static void nor_for_a_silent_name_server(void **state)
{
	(void)state;
	have_short_waits();
	dns_says("silence");
	ask("a.test");
	assert_policy("", 0);
	end_lookups();
	begin_lookups();
	ask("a.test"); /* it has forgotten, and waits */
	for (int i = 0; i < 5 && took >= SHORT_WAIT_MS / 2; i++)
		ask("a.test");
	assert_true(took < SHORT_WAIT_MS / 2);
}

static void who_is_gone_is_told_nothing(void **state)
{
	struct sts_question *one, *two;

	(void)state;
	memset(&told, 0, sizeof(told));
	one = sts_ask(lookups, "a.test", on_told, NULL);
	two = sts_ask(lookups, "a.test", on_told, NULL);
	sts_cancel(&one);
	assert_null(one);
	run_until_told(1);
	two = sts_ask(lookups, "b.test", on_told, NULL);
	sts_cancel(&two);
	sts_cancel(&two);
	run_dry();
	assert_int_equal(told.count, 1);
	assert_int_equal(web.asked, 2); /* what is under way is kept all the same */
	ask("b.test");
	assert_policy("9", 2);
	memset(&told, 0, sizeof(told));
	assert_non_null(sts_ask(lookups, "a.test", on_told, NULL));
	end_lookups();
	begin_lookups();
	run_dry();
	assert_int_equal(told.count, 0);
}

/* ---- the course of time ---- */

static void it_is_looked_at_again(void **state)
{
	(void)state;
	ask("a.test");
	later = DAY + 1;
	web.silent = true; /* mail does not wait for that */
	ask("a.test");
	assert_policy("1", 2);
	web.silent = false;
	ipc_conn_send(web.conn, &ipc_fetch_answer, web.id, &web.answer, -1);
	run_dry();
	ask("a.test");
	assert_policy("1", 2);
	assert_int_equal(changes, 1);
}

static void a_clock_that_was_ahead_does_not_keep_it_for_longer(void **state)
{
	struct sts_cached found;

	(void)state;
	later = 40 * DAY;
	ask("a.test");
	later = 0;
	ask("a.test");
	run_dry();
	assert_policy("1", 2);
	assert_int_equal(sts_cache_get(sts_lookups_cache(lookups), "a.test", clock_wall(), &found), 0);
	assert_in_range(found.fetched, clock_wall() - 60, clock_wall());
	ask("a.test");
	assert_policy("1", 2);
}

static void it_is_kept_fresh_without_mail(void **state)
{
	(void)state;
	ask("a.test");
	sts_lookups_sweep(lookups);
	run_dry();
	assert_int_equal(web.asked, 1);
	for (int day = 1; day < 40; day++) {
		later = day * (DAY + 1);
		sts_lookups_sweep(lookups);
		run_dry();
	}
	/* Thirty times; then nobody has wanted it for a month, and it runs out. */
	assert_in_range(web.asked, 29, 31);
	assert_int_equal(sts_lookups_cache(lookups)->count, 0);
	ask("a.test");
	assert_string_equal(told.id, "1");
}

static void it_can_be_forgotten(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(sts_forget(lookups, "a.test", &err), E_NOTFOUND);
	ask("a.test");
	assert_int_equal(sts_forget(lookups, "a.test", &err), 0);
	assert_int_equal(changes, 2);
	web_fails(E_TIMEOUT);
	ask("a.test");
	assert_policy("", 2);
	assert_int_equal(sts_forget(lookups, "a.test", &err), 0); /* the failure */
	web_says(good);
	ask("a.test");
	assert_policy("1", 3);
}

/* ---- the cache ---- */

static void there_is_room_for_so_many(void **state)
{
	struct sts_cached one = {.policy = {.mode = STS_NONE, .max_age = 1000, .id = "1"}, .fetched = 1}, found;
	struct sts_cache cache;
	struct err err;

	(void)state;
	sts_cache_init(&cache, kept);
	for (int i = 0; i < 5; i++) {
		snprintf(one.policy.domain, sizeof(one.policy.domain), "d%d.test", i);
		one.used = i == 3 ? 1 : 100 + i;
		assert_int_equal(sts_cache_put(&cache, &one, &err), 0);
	}
	cache.count = STS_CACHE_MAX;
	assert_int_equal(sts_cache_put(&cache, &one, &err), 0); /* it is there already */
	assert_int_equal(sts_cache_get(&cache, "d3.test", 2, &found), 0);
	strcpy(one.policy.domain, "x.test");
	assert_int_equal(sts_cache_put(&cache, &one, &err), 0);
	assert_int_equal(cache.count, STS_CACHE_MAX);
	assert_int_equal(sts_cache_get(&cache, "d3.test", 2, &found), E_NOTFOUND);
	assert_int_equal(sts_cache_get(&cache, "x.test", 2, &found), 0);
	sts_cache_init(&cache, kept);
	assert_int_equal(cache.count, 5);
}

static void records_are_bounded(void **state)
{
	struct sts_cached one = {.policy = {.domain = "a.test", .id = "12", .mode = STS_ENFORCE, .max_age = 7, .mx_count = 1, .names = "*.a.test"}, .fetched = 5, .used = 6}, again;
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	sts_cached_encode(&one, &out);
	assert_int_equal(sts_cached_decode(SPAN_LIT("a.test"), buf_span(&out), &again), 0);
	assert_int_equal(again.fetched, 5);
	assert_int_equal(again.used, 6);
	assert_string_equal(again.policy.id, "12");
	assert_string_equal(again.policy.domain, "a.test");
	assert_int_equal(sts_cached_until(&again), 12);
	for (size_t len = 0; len + 10 < buf_len(&out); len++)
		assert_int_equal(sts_cached_decode(SPAN_LIT("a.test"), span_sub(buf_span(&out), 0, len), &again), E_CORRUPT);
	out.data[16] = (char)200; /* the id's length */
	assert_int_equal(sts_cached_decode(SPAN_LIT("a.test"), buf_span(&out), &again), E_CORRUPT);
	out.data[16] = 2;
	memset(out.data, 0xff, 8);
	assert_int_equal(sts_cached_decode(SPAN_LIT("a.test"), buf_span(&out), &again), E_CORRUPT);
	buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_domain_without_one),
	    TEST(it_is_fetched_once),
	    TEST(neither_dns_nor_the_web_takes_it_away),
	    TEST(what_cannot_be_read_for_want_of_memory_is_not_none),
	    TEST(another_id_is_fetched),
	    TEST(a_clock_that_was_ahead_does_not_keep_it_for_longer),
	    TEST(a_failure_is_remembered_for_a_while),
	    TEST(many_ask_once),
	    TEST(mail_does_not_wait_for_a_slow_host),
	    TEST(nor_for_a_silent_name_server),
	    TEST(who_is_gone_is_told_nothing),
	    TEST(it_is_looked_at_again),
	    TEST(it_is_kept_fresh_without_mail),
	    TEST(it_can_be_forgotten),
	    TEST(there_is_room_for_so_many),
	    TEST(records_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
