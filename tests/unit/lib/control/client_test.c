/* The side of the command: a request, its answer, the exit status. */
#include "tests/unit/lib/control/fixture.h"

#include "base/secret.h"
#include "control/client.h"

#include <poll.h>
#include <pty.h>
#include <termios.h>

static int run(void *arg)
{
	struct instance instance;
	struct err err;

	if (instance_find(&instance, root, &err) != 0)
		return 99;
	return control_run(&instance, "test", arg);
}

static const struct span words[] = {SPAN_LIT("noun"), SPAN_LIT("verb"), SPAN_LIT(""), SPAN_LIT("a b")};

static void rows_are_a_table_and_text_is_text(void **state)
{
	struct control_request_options o = {.args = words, .count = 4, .secret = SPAN_LIT("hunter2")};
	struct command c = start(run, &o, NULL);
	int fd = hear_request("noun|verb||a b|");

	(void)state;
	assert_string_equal(heard_secret, "hunter2");
	say_row(fd, "{\"name\":\"a\",\"n\":1}");
	say_row(fd, "{\"name\":\"bc\",\"n\":22}");
	say_done(fd, EX_OK, "2 of them");
	finish(&c, EX_OK, "name  n\na     1\nbc    22\n2 of them\n", "");
	close(fd);
	c = start(run, &o, NULL);
	fd = hear_request("noun|verb||a b|");
	say_text(fd, "as it is,\nno line end");
	say_text(fd, " added\n");
	say_done(fd, EX_OK, "");
	finish(&c, EX_OK, "as it is,\nno line end added\n", "");
	close(fd);
}

/* Up to this end: a terminal gives what was written to it in pieces, and later. */
static void read_shown(int master, char *shown, size_t room, const char *end)
{
	size_t len = 0;

	while (strstr(shown, end) == NULL) {
		struct pollfd p = {.fd = master, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, 20000) != 1)
			fail_msg("the terminal shows only: %s", shown);
		n = read(master, shown + len, room - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
		shown[len] = '\0';
	}
}

/* On a terminal what somebody wrote in a mail must not be a command to it; in a pipe it is as it was. */
static void a_terminal_gets_no_controls(void **state)
{
	static const char text[] = "Subject: \x1b]0;x\x07\r\n\tgr\xc3\xbc\xc3\x9f \xc2\x9b\xff\x7f\r.\n";
	struct control_request_options o = {.args = words, .count = 2};
	char shown[512] = "";
	int master, slave, fd, status;
	pid_t pid;
	struct command c;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(slave, STDOUT_FILENO);
		alarm(60);
		exit(run(&o));
	}
	fd = hear_request("noun|verb|");
	say_text(fd, text);
	say_done(fd, EX_OK, "done\x1b");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	read_shown(master, shown, sizeof(shown), "done\\x1b\r\n");
	assert_string_equal(shown, "Subject: \\x1b]0;x\\x07\r\n\tgr\xc3\xbc\xc3\x9f \\xc2\\x9b\\xff\\x7f\\x0d.\r\ndone\\x1b\r\n");
	close(fd);
	close(master);
	close(slave);
	c = start(run, &o, NULL);
	fd = hear_request("noun|verb|");
	say_text(fd, text);
	say_done(fd, EX_OK, "");
	finish(&c, EX_OK, text, "");
	close(fd);
}

static void json_is_given_as_it_came(void **state)
{
	struct control_request_options o = {.args = words, .count = 2, .json = true};
	struct command c = start(run, &o, NULL);
	int fd = hear_request("noun|verb|");

	(void)state;
	say_row(fd, "{\"name\": \"a\"}");
	say_row(fd, "{}");
	say_done(fd, EX_OK, "");
	finish(&c, EX_OK, "{\"name\": \"a\"}\n{}\n", "");
	close(fd);
}

/* What came before the failure is shown, the sentence goes to stderr, the status is the daemon's. */
static void failures_are_told(void **state)
{
	static const struct {
		unsigned status;
		const char *text, *err;
	} rows[] = {{EX_NOUSER, "no such account", "mailwain: no such account\n"}, {EX_USAGE, "", ""}, {EX_TEMPFAIL, "later", "mailwain: later\n"}};
	struct control_request_options o = {.args = words, .count = 2};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct command c = start(run, &o, NULL);
		int fd = hear_request("noun|verb|");

		say_row(fd, "{\"a\":1}");
		say_done(fd, rows[i].status, rows[i].text);
		finish(&c, (int)rows[i].status, "a\n1\n", rows[i].err);
		close(fd);
	}
}

/* A daemon that goes away, and one that does not speak the language. */
static void an_answer_that_does_not_end(void **state)
{
	static const char *const sentence = "mailwain: the daemon ended before it answered; see the log\n";
	struct control_request_options o = {.args = words, .count = 2};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct command c = start(run, &o, NULL);
		int fd = hear_request("noun|verb|");

		if (i == 1)
			assert_int_equal(send(fd, "garbage", 7, 0), 7);
		close(fd);
		finish(&c, EX_TEMPFAIL, "", sentence);
	}
}

/* In pieces, before the request. */
static void a_long_input_goes_first(void **state)
{
	enum { BIG = 200000 };
	struct control_request_options o = {.args = words, .count = 2};
	char *big = malloc(BIG);
	struct command c;
	size_t got = 0;
	int fd;

	(void)state;
	assert_non_null(big);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)('a' + i % 26);
	o.input = span_of(big, BIG);
	c = start(run, &o, NULL);
	fd = accept_command();
	for (;;) {
		struct ipc_message m = hear(fd);
		struct span piece = ((const struct control_input *)(const void *)m.body)->text;

		if (m.type == &ipc_control_request)
			break;
		assert_ptr_equal(m.type, &ipc_control_input);
		assert_true(got + piece.len <= BIG);
		assert_memory_equal(piece.ptr, big + got, piece.len);
		got += piece.len;
	}
	assert_int_equal(got, BIG);
	say_done(fd, EX_OK, "");
	finish(&c, EX_OK, "", "");
	close(fd);
	free(big);
}

static void what_cannot_be_sent_is_told(void **state)
{
	static char big[40000];
	struct span long_words[] = {SPAN_LIT("noun"), span_of(big, sizeof(big))};
	struct control_request_options o = {.args = long_words, .count = 2};
	struct command c;

	(void)state;
	memset(big, 'a', sizeof(big));
	c = start(run, &o, NULL);
	finish(&c, EX_IOERR, "", "mailwain: the request could not be sent: the arguments are too long\n");
	/* Too long for a message, not for the buffer. */
	long_words[1].len = 100;
	o.secret = span_of(big, 2000);
	c = start(run, &o, NULL);
	finish(&c, EX_IOERR, "", "mailwain: the request could not be sent: too big\n");
}

static void a_suite_that_does_not_run(void **state)
{
	struct control_request_options o = {.args = words, .count = 2};
	char want[300], path[100];
	struct command c;

	(void)state;
	snprintf(want, sizeof(want), "mailwain: Mailwain is not running here (%s/run/test.sock); start it with `mailwain --root %s start`\n", root, root);
	close(listener);
	listener = -1;
	c = start(run, &o, NULL);
	finish(&c, EX_UNAVAILABLE, "", want);
	snprintf(path, sizeof(path), "%s/run/test.sock", root);
	assert_int_equal(unlink(path), 0);
	c = start(run, &o, NULL);
	finish(&c, EX_UNAVAILABLE, "", want);
}

static int run_as_nobody(void *arg)
{
	int status;

	if (setegid(65534) != 0 || seteuid(65534) != 0)
		return 99;
	status = run(arg);
	return seteuid(0) == 0 ? status : 99;
}

static void who_may_not_is_told_so(void **state)
{
	struct control_request_options o = {.args = words, .count = 2};
	char want[200], path[100];
	struct command c;

	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(path, sizeof(path), "%s/run/test.sock", root);
	assert_int_equal(chmod(root, 0755), 0);
	snprintf(want, sizeof(want), "mailwain: %s: not permitted; run the command as root\n", path);
	c = start(run_as_nobody, &o, NULL);
	finish(&c, EX_NOPERM, "", want);
}

static int run_far_away(void *arg)
{
	char far[200];

	memset(far, 'a', sizeof(far) - 1);
	far[0] = '/';
	far[sizeof(far) - 1] = '\0';
	struct instance instance;
	struct err err;

	return instance_find(&instance, far, &err) != 0 ? 99 : control_run(&instance, "test", arg);
}

static void a_path_too_long_for_a_socket(void **state)
{
	struct control_request_options o = {.args = words, .count = 2};
	struct command c = start(run_far_away, &o, NULL);
	char want[400];

	(void)state;
	snprintf(want, sizeof(want), "mailwain: the path of /%0198d/run is too long for a socket\n", 0);
	for (char *p = strchr(want, '/') + 1; *p == '0'; p++)
		*p = 'a';
	finish(&c, EX_UNAVAILABLE, "", want);
}

/* ---- passwords ---- */

struct asking {
	bool from_stdin, confirm;
};

static int read_password(void *arg)
{
	const struct asking *a = arg;
	struct secret secret = {0};
	struct err err = {0};
	int r = control_read_password(a->from_stdin, a->confirm, &secret, &err);

	if (r != 0)
		printf("%s", err.text);
	else
		printf("[%.*s]", SPAN_ARG(secret_span(&secret)));
	return r == 0 ? 0 : -r;
}

static void a_password_is_one_line(void **state)
{
	static char longest[1030];
	static const struct {
		const char *input, *out;
		int code;
	} rows[] = {{"secret\n", "[secret]", 0}, {"secret", "[secret]", 0}, {"sec ret \r\nmore\n", "[sec ret ]", 0}, {"", "no password was given", E_SYNTAX},
	    {"\n", "the password is empty", E_SYNTAX}, {"\r\nx\n", "the password is empty", E_SYNTAX}};
	struct asking ask = {.from_stdin = true, .confirm = true}; /* a pipe is not asked twice */
	struct command c;
	char want[1034];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		c = start(read_password, &ask, rows[i].input);
		finish(&c, -rows[i].code, rows[i].out, "");
	}
	memset(longest, 'p', SECRET_MAX);
	snprintf(want, sizeof(want), "[%s]", longest);
	c = start(read_password, &ask, longest);
	finish(&c, 0, want, "");
	longest[SECRET_MAX] = 'p';
	c = start(read_password, &ask, longest);
	finish(&c, -E_TOOBIG, "the password is longer than 1024 bytes", "");
}

static void without_a_terminal_nobody_is_asked(void **state)
{
	struct asking ask = {.confirm = true};
	struct command c = start(read_password, &ask, "secret\nsecret\n");

	(void)state;
	finish(&c, -E_SYNTAX, "no terminal to ask on; use --password-stdin", "");
}

/* Types lines at a terminal, each when it is asked for, and looks at what the terminal shows. */
static void type_passwords(bool confirm, const char *first, const char *second, int status, const char *out)
{
	struct asking ask = {.confirm = confirm};
	int master, slave, result, out_fd = memfd_create("out", 0);
	char shown[256] = "", text[128] = "";
	struct termios modes;
	size_t len = 0;
	pid_t pid;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(slave, STDIN_FILENO);
		dup2(slave, STDERR_FILENO);
		dup2(out_fd, STDOUT_FILENO);
		alarm(60);
		exit(read_password(&ask));
	}
	for (int line = 0; line < (confirm && second != NULL ? 2 : 1); line++) {
		while (strstr(shown, line == 0 ? "Password: " : "Again: ") == NULL) {
			ssize_t n = read(master, shown + len, sizeof(shown) - 1 - len);

			assert_true(n > 0);
			len += (size_t)n;
			shown[len] = '\0';
		}
		assert_int_equal(tcgetattr(slave, &modes), 0);
		assert_false(modes.c_lflag & ECHO);
		assert_int_equal(write(master, line == 0 ? first : second, strlen(line == 0 ? first : second)), strlen(line == 0 ? first : second));
	}
	assert_int_equal(waitpid(pid, &result, 0), pid);
	assert_int_equal(WEXITSTATUS(result), status);
	assert_true(pread(out_fd, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, out);
	/* The terminal is as it was, and nothing of it was shown. */
	assert_int_equal(tcgetattr(slave, &modes), 0);
	assert_true(modes.c_lflag & ECHO);
	assert_null(strstr(shown, "secret"));
	close(master);
	close(slave);
	close(out_fd);
}

static void a_terminal_does_not_show_it(void **state)
{
	(void)state;
	type_passwords(false, "secret\n", NULL, 0, "[secret]");
	type_passwords(true, "secret\n", "secret\n", 0, "[secret]");
	type_passwords(true, "secret\n", "secret2\n", -E_SYNTAX, "the two passwords differ");
	type_passwords(true, "\n", NULL, -E_SYNTAX, "the password is empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(rows_are_a_table_and_text_is_text, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(a_terminal_gets_no_controls, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(json_is_given_as_it_came, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(failures_are_told, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(an_answer_that_does_not_end, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(a_long_input_goes_first, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(what_cannot_be_sent_is_told, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(a_suite_that_does_not_run, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(who_may_not_is_told_so, make_instance, remove_instance),
	    cmocka_unit_test(a_path_too_long_for_a_socket),
	    cmocka_unit_test(a_password_is_one_line),
	    cmocka_unit_test(without_a_terminal_nobody_is_asked),
	    cmocka_unit_test(a_terminal_does_not_show_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
