/* auth-pam's processes: their number, their deadline, their end; with a PAM of the test's own. */
#include "tests/unit/auth/fixture.h"

#include "auth/pam_daemon.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEADLINE_MS = 2000, SLACK_MS = 50 /* the loop reads the clock once a turn */ };

/* ---- what a module may do, by the user's name ---- */

void pam_answer(const struct pam_question *question, const struct pam_settings *settings, struct pam_result *out)
{
	if (strcmp(question->user, "hangs") == 0)
		for (;;)
			pause();
	if (strcmp(question->user, "crashes") == 0)
		_exit(3);
	/* One that leaves a helper behind, which holds all that it was given. */
	if (strcmp(question->user, "leaves") == 0 && fork() == 0)
		for (;;)
			pause();
	out->code = question->find || span_eq(secret_span(&question->password), SPAN_LIT("right")) ? 0 : E_AUTHFAILED;
	out->uid = (uint32_t)settings->first_uid;
	snprintf(out->name, sizeof(out->name), "%s", question->user);
}

/* ---- its client ---- */

struct world {
	struct pam_tasks *tasks;
	struct ipc_conn *service, *client;
	int codes[1024]; /* 1: not answered */
	unsigned answers;
	char name[PAM_TEXT_MAX + 1];
};

static int on_answer(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct world *w = arg;
	const struct pam_found *found = (const void *)m->body;

	(void)conn;
	assert_true(m->id < 1024 && w->codes[m->id] == 1);
	if (m->type == &ipc_pam_found) {
		w->codes[m->id] = found->code;
		span_copy(found->name, w->name, sizeof(w->name));
	} else {
		w->codes[m->id] = ((const struct pam_login_answer *)(const void *)m->body)->code;
	}
	w->answers++;
	return 0;
}

static int on_nothing(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)arg;
	(void)conn;
	(void)m;
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
}

static const struct ipc_conn_callbacks service_callbacks = {on_nothing, on_closed}, client_callbacks = {on_answer, on_closed};

static int begin(void **state)
{
	static struct world w;

	w = (struct world){.tasks = w.tasks};
	for (size_t i = 0; i < 1024; i++)
		w.codes[i] = 1;
	/* One for all: a process has one handler of its children's ends. */
	if (w.tasks == NULL && fixture_begin("config-version 1\nhostname mx.example\n") == 0)
		w.tasks = pam_tasks_new(NULL, DEADLINE_MS);
	*state = &w;
	return w.tasks == NULL ? -1 : fixture_channel(&ipc_service_pam, &service_callbacks, &client_callbacks, &w, &w.service, &w.client);
}

static void ask(struct world *w, uint32_t id, bool find, const char *user, const char *password)
{
	struct pam_question q = {.find = find};

	snprintf(q.user, sizeof(q.user), "%s", user);
	secret_set(&q.password, span_str(password));
	pam_tasks_add(w->tasks, w->service, id, &q);
}

static unsigned running(struct world *w)
{
	struct master_stats stats = {0};

	pam_tasks_stats(w->tasks, &stats);
	return (unsigned)stats.connections;
}

/* Until so many are answered, and no process is left. */
static void wait_for(struct world *w, unsigned answers)
{
	while (w->answers < answers || running(w) > 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(w->answers, answers);
	assert_true(waitpid(-1, NULL, WNOHANG) < 0);
}

static void each_has_an_answer_of_its_own(void **state)
{
	struct world *w = *state;

	ask(w, 1, false, "a", "right");
	ask(w, 2, false, "b", "wrong");
	ask(w, 3, true, "c", "");
	wait_for(w, 3);
	assert_int_equal(w->codes[1], 0);
	assert_int_equal(w->codes[2], E_AUTHFAILED);
	assert_int_equal(w->codes[3], 0);
	assert_string_equal(w->name, "c");
}

static void who_hangs_is_killed(void **state)
{
	struct world *w = *state;
	int64_t before = clock_monotonic_ms();

	ask(w, 1, false, "hangs", "right");
	ask(w, 2, false, "a", "right");
	while (w->answers == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(w->codes[2], 0); /* the other one is first */
	wait_for(w, 2);
	assert_int_equal(w->codes[1], E_TIMEOUT);
	assert_true(clock_monotonic_ms() - before >= DEADLINE_MS - SLACK_MS);
}

static void a_crash_is_answered(void **state)
{
	struct world *w = *state;

	ask(w, 1, false, "crashes", "right");
	ask(w, 2, true, "crashes", "");
	wait_for(w, 2);
	assert_int_equal(w->codes[1], E_IO);
	assert_int_equal(w->codes[2], E_IO);
}

static void helpers_hold_nothing_up(void **state)
{
	struct world *w = *state;
	int64_t before = clock_monotonic_ms();

	ask(w, 1, false, "leaves", "right");
	wait_for(w, 1);
	assert_int_equal(w->codes[1], 0);
	assert_true(clock_monotonic_ms() - before < DEADLINE_MS);
}

/* Logins that hang take the places of logins; the others wait for theirs and then hear that it took too long. */
static void places_and_those_who_wait_are_counted(void **state)
{
	struct world *w = *state;
	uint32_t all = PAM_LOGINS_MAX + PAM_LOGINS_WAITING_MAX;

	for (uint32_t id = 0; id < all; id++)
		ask(w, id, false, "hangs", "right");
	assert_int_equal(running(w), PAM_LOGINS_MAX);
	ask(w, all, false, "a", "right");
	ask(w, all + 1, true, "a", "");
	assert_int_equal(running(w), PAM_LOGINS_MAX + 1);
	wait_for(w, all + 2);
	for (uint32_t id = 0; id < all; id++)
		assert_int_equal(w->codes[id], E_TIMEOUT);
	assert_int_equal(w->codes[all], E_UNAVAILABLE);
	assert_int_equal(w->codes[all + 1], 0);
}

static void nobody_is_answered_who_has_gone(void **state)
{
	struct world *w = *state;

	for (uint32_t id = 0; id < PAM_LOGINS_MAX + 3; id++)
		ask(w, id, false, "hangs", "right");
	pam_tasks_drop(w->tasks);
	wait_for(w, 0);
	ask(w, 1, false, "a", "right");
	wait_for(w, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(each_has_an_answer_of_its_own, begin),
	    cmocka_unit_test_setup(who_hangs_is_killed, begin),
	    cmocka_unit_test_setup(a_crash_is_answered, begin),
	    cmocka_unit_test_setup(helpers_hold_nothing_up, begin),
	    cmocka_unit_test_setup(places_and_those_who_wait_are_counted, begin),
	    cmocka_unit_test_setup(nobody_is_answered_who_has_gone, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
