/* A signal that comes between fork(2) and a child's own handler is the child's, once it has one. */
#include "tests/unit/test.h"

#include "proc/fork.h"

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t parents, childs;

static void of_the_parent(int signal)
{
	(void)signal;
	parents++;
}

static void of_the_child(int signal)
{
	(void)signal;
	childs++;
}

static bool is_blocked(int signal)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, signal) == 1;
}

/* What has gone wrong in the child, as its exit code. */
static int child(void (*handler)(int signal), int heard)
{
	if (!is_blocked(SIGTERM))
		return 1;
	raise(SIGTERM);
	if (parents != 0 || childs != 0)
		return 2;
	fork_ready(SIGTERM, handler);
	if (parents != 0 || childs != heard)
		return 3;
	return is_blocked(SIGTERM) ? 4 : 0;
}

static int status_of(void (*handler)(int signal), int heard)
{
	struct sigaction action = {.sa_handler = of_the_parent};
	int status;
	pid_t pid;

	parents = childs = 0;
	assert_int_equal(sigaction(SIGTERM, &action, NULL), 0);
	pid = fork_holding_back(SIGTERM);
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child(handler, heard));
	assert_false(is_blocked(SIGTERM));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void it_is_heard_once_and_by_the_child(void **state)
{
	int status = status_of(of_the_child, 1);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void by_default_it_ends_the_child(void **state)
{
	int status = status_of(SIG_DFL, 0);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void a_parent_that_blocks_it_still_does(void **state)
{
	sigset_t term, before;
	pid_t pid;

	(void)state;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	pid = fork_holding_back(SIGTERM);
	if (pid == 0)
		_exit(0);
	assert_true(is_blocked(SIGTERM));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_heard_once_and_by_the_child), cmocka_unit_test(by_default_it_ends_the_child),
	    cmocka_unit_test(a_parent_that_blocks_it_still_does)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
