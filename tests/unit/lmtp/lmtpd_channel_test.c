/* lmtpd's way to the workers, with deliver and a worker played here: what deliveries hold, and for how long. */
#include "tests/unit/test.h"

#include "tests/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "lmtp/lmtpd.h"
#include "net/ipc_conn.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <unistd.h>

enum { MANY = 3 * LMTPD_IN_FLIGHT };

static struct lmtpd lmtpd;
static struct lmtp_content *content;
static struct lmtp_delivery deliveries[MANY];
static int deliver = -1, worker = -1;
static unsigned delivered;
static char buffer[IPC_MESSAGE_MAX];

void lmtp_delivered(struct lmtp_delivery *d)
{
	assert_false(d->done);
	d->done = true;
	delivered++;
}

static int setup(void **state)
{
	struct err err;
	int fds[2];

	(void)state;
	base = event_base_new();
	lmtpd = (struct lmtpd){.memory.max = 10000};
	memset(deliveries, 0, sizeof(deliveries));
	delivered = 0;
	assert_int_equal(ipc_pair(fds, &err), 0);
	lmtp_deliver_service(&lmtpd, fds[0]);
	deliver = fds[1];
	assert_int_equal(lmtp_content_new(&lmtpd.memory, &content, &err), 0);
	assert_int_equal(lmtp_content_write(content, SPAN_LIT("Subject: x\r\n\r\nx\r\n"), &err), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lmtp_content_release(&content);
	ipc_conn_free(&lmtpd.deliver);
	assert_null(lmtpd.channels);
	assert_int_equal(lmtpd.memory.used, 0);
	close(deliver);
	if (worker >= 0)
		close(worker);
	worker = -1;
	event_base_free(base);
	return 0;
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void deliver_many(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		deliveries[i].account = 7;
		assert_int_equal(lmtp_deliver(&lmtpd, &deliveries[i], content, SPAN_LIT("bob@remote.test")), 0);
	}
}

static void open_worker(void)
{
	struct deliver_worker body = {.account = 7};
	struct ipc_message m;
	struct err err;
	int fds[2];

	assert_int_equal(ipc_receive(deliver, &ipc_service_deliver, TO_SERVICE, buffer, &m, &err), 0);
	assert_int_equal(((const struct deliver_open *)(const void *)m.body)->account, 7);
	assert_int_equal(ipc_pair(fds, &err), 0);
	assert_int_equal(ipc_send(deliver, &ipc_deliver_worker, 0, &body, fds[0]), 0);
	close(fds[0]);
	worker = fds[1];
	evutil_make_socket_nonblocking(worker);
	turn();
}

/* What has come to the worker and was not answered, up to most; each gets this answer. */
static unsigned work(unsigned most)
{
	struct deliver_result result = {0};
	struct ipc_message m;
	struct err err;
	unsigned done = 0;

	for (int idle = 0; idle < 3 && done < most;) {
		if (ipc_receive(worker, &ipc_service_deliver, TO_SERVICE, buffer, &m, &err) != 0) {
			idle++;
			turn();
			continue;
		}
		close(m.fd);
		assert_int_equal(ipc_send(worker, &ipc_deliver_result, m.id, &result, -1), 0);
		done++;
	}
	turn();
	return done;
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void a_message_counts_until_its_last_holder_has_gone(void **state)
{
	struct lmtp_content *other = lmtp_content_hold(content);
	struct err err;
	static char big[10000];

	(void)state;
	assert_int_equal(lmtp_content_write(content, span_of(big, sizeof(big)), &err), E_LIMIT);
	lmtp_content_release(&content);
	assert_null(content);
	assert_int_equal(lmtpd.memory.used, 17);
	lmtp_content_release(&other);
	assert_int_equal(lmtpd.memory.used, 0);
}

/* The client leaves, and comes again: what its deliveries hold is not forgotten. */
static void a_delivery_holds_its_message(void **state)
{
	(void)state;
	deliver_many(2);
	lmtp_content_release(&content);
	assert_int_equal(lmtpd.memory.used, 17);
	open_worker();
	assert_int_equal(work(1), 1);
	assert_int_equal(lmtpd.memory.used, 17);
	assert_int_equal(work(1), 1);
	assert_int_equal(delivered, 2);
	assert_int_equal(lmtpd.memory.used, 0);
	close(worker);
	worker = -1;
	turn();
}

static void many_recipients_take_few_descriptors(void **state)
{
	unsigned before = descriptors();

	(void)state;
	deliver_many(MANY);
	assert_int_equal(descriptors(), before);
	open_worker(); /* two descriptors for the channel */
	assert_in_range(descriptors(), before, before + 2 + LMTPD_IN_FLIGHT);
	assert_int_equal(work(UINT32_MAX), MANY);
	assert_int_equal(delivered, MANY);
	close(worker);
	worker = -1;
	turn();
}

static void a_worker_that_hangs_is_given_up(void **state)
{
	int64_t late;

	(void)state;
	deliver_many(MANY);
	lmtp_content_release(&content);
	open_worker();
	assert_int_equal(work(1), 1);
	late = clock_monotonic_ms() + LMTPD_STUCK_MS;
	lmtp_channels_look(&lmtpd, late - LMTPD_STUCK_MS / 2);
	assert_int_equal(delivered, 1);
	lmtp_channels_look(&lmtpd, late);
	assert_int_equal(delivered, MANY);
	assert_int_equal(deliveries[MANY - 1].code, E_UNAVAILABLE);
	assert_int_equal(lmtpd.memory.used, 0);
}

/* One that nobody opens hangs as well. */
static void a_worker_that_never_comes_is_given_up(void **state)
{
	(void)state;
	deliver_many(1);
	lmtp_channels_look(&lmtpd, clock_monotonic_ms() + LMTPD_STUCK_MS);
	assert_int_equal(delivered, 1);
}

static void one_that_has_nothing_to_do_is_left_alone(void **state)
{
	(void)state;
	deliver_many(1);
	open_worker();
	assert_int_equal(work(1), 1);
	lmtp_channels_look(&lmtpd, clock_monotonic_ms() + 2 * LMTPD_STUCK_MS);
	assert_non_null(lmtpd.channels);
	close(worker);
	worker = -1;
	turn();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_message_counts_until_its_last_holder_has_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_delivery_holds_its_message, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_recipients_take_few_descriptors, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_worker_that_hangs_is_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_worker_that_never_comes_is_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_that_has_nothing_to_do_is_left_alone, setup, teardown),
	};
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);

	log_init(sink, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
