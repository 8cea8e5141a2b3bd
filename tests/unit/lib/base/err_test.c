/* Errors: the table, errno, and texts that are one printable line. */
#include "tests/unit/test.h"

#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	int code;
	enum err_class class;
	int smtp;
	const char *enhanced, *imap;
} table[] = {
#define ERR(name, class, text, smtp, enhanced, imap) {name, ERR_CLASS_##class, smtp, enhanced, imap},
#include "base/err.def"
#undef ERR
};

static void every_error_has_its_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_true(table[i].code < 0);
		assert_int_equal(err_class(table[i].code), table[i].class);
		assert_int_equal(err_smtp_code(table[i].code), table[i].smtp);
		assert_string_equal(err_smtp_enhanced(table[i].code), table[i].enhanced);
		assert_string_equal(err_imap_code(table[i].code), table[i].imap);
		assert_true(strlen(err_text(table[i].code)) > 0);
	}
}

/* RFC 3463 section 2: the class of the enhanced code is that of the reply; mail is put off exactly for 4xx. */
static void replies_agree_with_the_class(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(table[i].enhanced[0] - '0', table[i].smtp / 100);
		assert_int_equal(table[i].enhanced[1], '.');
		assert_int_equal(err_is_temp(table[i].code), table[i].smtp / 100 == 4);
	}
}

static void unknown_codes_are_our_bugs(void **state)
{
	static const int codes[] = {1, 9999, -ERR_COUNT, -9999};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		assert_int_equal(err_class(codes[i]), ERR_CLASS_BUG);
		assert_string_equal(err_text(codes[i]), err_text(E_BUG));
		assert_int_equal(err_smtp_code(codes[i]), err_smtp_code(E_BUG));
		assert_string_equal(err_imap_code(codes[i]), "SERVERBUG");
	}
	assert_int_equal(err_class(0), ERR_CLASS_NONE);
	assert_int_equal(err_smtp_code(0), 250);
	assert_string_equal(err_imap_code(0), "");
}

static void errno_becomes_a_code(void **state)
{
	static const struct {
		int errnum, code;
	} rows[] = {{0, 0}, {ENOSPC, E_NOSPACE}, {EDQUOT, E_NOSPACE}, {EFBIG, E_NOSPACE}, {EMFILE, E_NOFILES}, {ENFILE, E_NOFILES},
	    {ENOMEM, E_NOMEM}, {ENOBUFS, E_NOMEM}, {EAGAIN, E_AGAIN}, {EINTR, E_AGAIN}, {ETIMEDOUT, E_TIMEOUT}, {ENOENT, E_NOTFOUND},
	    {EEXIST, E_EXISTS}, {EACCES, E_DENIED}, {EPERM, E_DENIED}, {EPIPE, E_CLOSED}, {ECONNRESET, E_CLOSED}, {EIO, E_IO}, {EINVAL, E_IO}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(err_from_errno(rows[i].errnum), rows[i].code);
}

static void a_failure_is_told(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(err_set(&err, E_NOTFOUND, "%s: %d", "there is no part", 3), E_NOTFOUND);
	assert_int_equal(err.code, E_NOTFOUND);
	assert_string_equal(err.text, "there is no part: 3");
	assert_int_equal(err_set_errno(&err, ENOENT, "open %s", "x"), E_NOTFOUND);
	assert_int_equal(err.code, E_NOTFOUND);
	assert_string_equal(err.text, "open x: No such file or directory");
	assert_int_equal(err_set(NULL, E_BUG, "nobody listens"), E_BUG);
	assert_int_equal(err_set_errno(NULL, ENOSPC, "nobody listens"), E_NOSPACE);
}

/* What an outsider wrote can get into a text, and a text into a reply: it never makes a second line. */
static void a_text_is_one_printable_line(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, E_SYNTAX, "'%s' is no name", "a\r\n250 ok\t\x1b[2J\x7f");
	assert_string_equal(err.text, "'a??250 ok??[2J?' is no name");
	err_set_errno(&err, ENOENT, "%s", "a\nb");
	assert_string_equal(err.text, "a?b: No such file or directory");
	err_set(&err, E_SYNTAX, "%s", "Entw\xc3\xbcrfe");
	assert_string_equal(err.text, "Entw\xc3\xbcrfe");
}

/* Ends the process by a signal, so that no clean-up runs on broken state, and says where. */
static void a_broken_invariant_ends_the_process(void **state)
{
	char text[512] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	invariant(1 + 1 == 2);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		invariant(1 + 1 == 3);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "invariant failed: 1 + 1 == 3 at "));
	assert_non_null(strstr(text, "err_test.c:"));
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_error_has_its_answers),
	    cmocka_unit_test(replies_agree_with_the_class),
	    cmocka_unit_test(unknown_codes_are_our_bugs),
	    cmocka_unit_test(errno_becomes_a_code),
	    cmocka_unit_test(a_failure_is_told),
	    cmocka_unit_test(a_text_is_one_printable_line),
	    cmocka_unit_test(a_broken_invariant_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
