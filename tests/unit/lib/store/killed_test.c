/* A process that is killed in the middle of a commit, while another has the account open: what it leaves is seen at once, or never. */
#include "tests/unit/lib/store/fixture.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { META_AREA = 8192, META_MOST = 4096 /* both meta pages; what is written of one is less than a page */ };

static enum { NEVER, BEFORE_META, BEHIND_META } killed;

/* In place of the C library's: LMDB writes its meta page by it, last of all. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	bool meta = offset < META_AREA && len < META_MOST;
	ssize_t n;

	if (meta && killed == BEFORE_META)
		kill(getpid(), SIGKILL);
	n = syscall(SYS_pwrite64, fd, bytes, len, offset);
	if (meta && killed == BEHIND_META)
		kill(getpid(), SIGKILL);
	return n;
}

static void make(struct fixture *f, const char *name)
{
	uint32_t id;

	ok(f, store_begin(f->store, true, &f->txn, &f->err));
	ok(f, store_mailbox_create(f->txn, span_str(name), 0, &id, &f->err));
	ok(f, store_commit(&f->txn, &f->err));
}

static bool is_there(struct fixture *f, const char *name)
{
	struct store_mailbox m;
	int r;

	ok(f, store_begin(f->store, false, &f->txn, &f->err));
	r = store_mailbox_by_name(f->txn, span_str(name), &m, &f->err);
	store_abort(&f->txn);
	assert_true(r == 0 || r == E_NOTFOUND);
	return r == 0;
}

/* In a process of its own, as LMDB wants it: does what it is told, and says what that gave. */
static int apart(struct fixture *f, bool (*what)(struct fixture *f))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		f->store = NULL; /* the other's */
		reopen(f);
		_exit(what(f));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static bool make_late(struct fixture *f)
{
	make(f, "late");
	return true;
}

static bool late_is_there(struct fixture *f)
{
	return is_there(f, "late");
}

static bool make_later(struct fixture *f)
{
	make(f, "later");
	return true;
}

static bool makes_late_and_dies(struct fixture *f)
{
	killed = BEHIND_META;
	return make_late(f);
}

static bool dies_before_it_makes_late(struct fixture *f)
{
	killed = BEFORE_META;
	return make_late(f);
}

/* The lock file is made anew by the first who opens the index: there must be somebody who has it open all the while. */
static pid_t somebody(struct fixture *f, int *end)
{
	int opened[2], over[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(opened), 0);
	assert_int_equal(pipe(over), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(over[1]);
		f->store = NULL;
		reopen(f);
		_exit(write(opened[1], "", 1) == 1 && read(over[0], &c, 1) == 0 ? 0 : 1);
	}
	close(over[0]);
	assert_int_equal(read(opened[0], &c, 1), 1);
	close(opened[0]);
	close(opened[1]);
	*end = over[1];
	return pid;
}

static void at_once_or_never(struct fixture *f, bool (*dies)(struct fixture *f), bool there)
{
	int end;
	pid_t other;

	store_close(&f->store);
	other = somebody(f, &end);
	assert_int_equal(apart(f, dies), -SIGKILL);
	assert_int_equal(apart(f, late_is_there), there);
	assert_int_equal(apart(f, make_later), true);
	assert_int_equal(apart(f, late_is_there), there);
	close(end);
	assert_int_equal(waitpid(other, NULL, 0), other);
}

static void killed_behind_the_meta_page(void **state)
{
	at_once_or_never(*state, makes_late_and_dies, true);
}

static void killed_before_the_meta_page(void **state)
{
	at_once_or_never(*state, dies_before_it_makes_late, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(killed_behind_the_meta_page, fixture_open, fixture_close),
	    cmocka_unit_test_setup_teardown(killed_before_the_meta_page, fixture_open, fixture_close)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
