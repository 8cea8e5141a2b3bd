/* The frame of all control commands: options, verbs, passwords, input, exit statuses. */
#include "tests/unit/lib/control/fixture.h"

#include "control/command.h"

static const struct control_verb verbs[] = {{"thing", "add", "NAME [--size N]", "Makes a thing.", true, false}, {"thing", "list", "[WORD ...] [--other]", "Shows them.", false, false},
    {"thing", "import", "FILE", "Takes them over.", false, true}, {"other", "list", "", "Shows others.", false, false}, {0}};
static const struct control_command command = {.daemon = "test", .verbs = verbs};

static const char thing_usage[] = "usage: mailwain [--root DIR] thing VERB [ARGUMENT ...] [--json]\n"
				  "  add NAME [--size N]\n      Makes a thing.\n"
				  "  list [WORD ...] [--other]\n      Shows them.\n"
				  "  import FILE\n      Takes them over.\n";

static int run(void *arg)
{
	char **argv = arg;
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	setenv("MAILWAIN_ROOT", root, 1);
	return control_command_main(&command, argc, argv);
}

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})

static void answer(int fd)
{
	say_row(fd, "{\"a\":1}");
	say_done(fd, EX_OK, "");
	close(fd);
}

static void words_go_to_the_daemon(void **state)
{
	struct command c = start(run, ARGV("/usr/bin/mailwain-thing", "list", "a b", ""), NULL);

	(void)state;
	answer(hear_request("thing|list|a b||"));
	finish(&c, EX_OK, "a\n1\n", "");
	/* The noun is the program's name. */
	c = start(run, ARGV("mailwain-other", "list"), NULL);
	answer(hear_request("other|list|"));
	finish(&c, EX_OK, "a\n1\n", "");
	c = start(run, ARGV("thing", "list"), NULL);
	answer(hear_request("thing|list|"));
	finish(&c, EX_OK, "a\n1\n", "");
}

static void options_may_stand_anywhere(void **state)
{
	struct command c = start(run, ARGV("mailwain-thing", "--json", "list", "x"), NULL);

	(void)state;
	answer(hear_request("thing|list|x|"));
	finish(&c, EX_OK, "{\"a\":1}\n", "");
	c = start(run, ARGV("mailwain-thing", "list", "x", "--json", "--other"), NULL); /* the verb's own ones are the daemon's */
	answer(hear_request("thing|list|x|--other|"));
	finish(&c, EX_OK, "{\"a\":1}\n", "");
	/* Behind "--" there are none. */
	c = start(run, ARGV("mailwain-thing", "list", "--", "--json", "--help", "--", "--root"), NULL);
	answer(hear_request("thing|list|--json|--help|--|--root|"));
	finish(&c, EX_OK, "a\n1\n", "");
}

/* --root goes before MAILWAIN_ROOT. */
static void another_root(void **state)
{
	struct command c = start(run, ARGV("mailwain-thing", "--root", "/tmp/control-test-none", "list"), NULL);

	(void)state;
	finish(&c, EX_UNAVAILABLE, "",
	    "mailwain: Mailwain is not running here (/tmp/control-test-none/run/test.sock); start it with `mailwain --root /tmp/control-test-none start`\n");
}

static void help_is_given(void **state)
{
	struct command c = start(run, ARGV("mailwain-thing", "--help"), NULL);

	(void)state;
	finish(&c, EX_OK, thing_usage, "");
	c = start(run, ARGV("mailwain-thing", "add", "--help"), NULL);
	finish(&c, EX_OK, thing_usage, "");
	c = start(run, ARGV("mailwain-other", "--help"), NULL);
	finish(&c, EX_OK, "usage: mailwain [--root DIR] other VERB [ARGUMENT ...] [--json]\n  list\n      Shows others.\n", "");
}

static void verbs_that_are_none(void **state)
{
	struct command c = start(run, ARGV("mailwain-thing"), NULL);
	char want[500];

	(void)state;
	finish(&c, EX_USAGE, "", thing_usage);
	c = start(run, ARGV("mailwain-thing", "burn"), NULL);
	snprintf(want, sizeof(want), "mailwain: thing has no verb 'burn'\n%s", thing_usage);
	finish(&c, EX_USAGE, "", want);
	c = start(run, ARGV("mailwain-other", "add"), NULL); /* another noun's */
	finish(&c, EX_USAGE, "", "mailwain: other has no verb 'add'\nusage: mailwain [--root DIR] other VERB [ARGUMENT ...] [--json]\n  list\n      Shows others.\n");
}

static void more_words_than_there_can_be(void **state)
{
	char *argv[600] = {(char *)(uintptr_t) "mailwain-thing", (char *)(uintptr_t) "list"};
	struct command c;

	(void)state;
	for (size_t i = 2; i < 599; i++)
		argv[i] = argv[1];
	c = start(run, argv, NULL);
	finish(&c, EX_USAGE, "", "mailwain: more than 500 arguments\n");
}

static void passwords_come_from_standard_input(void **state)
{
	struct command c = start(run, ARGV("mailwain-thing", "add", "x", "--password-stdin"), "hunter2\n");

	(void)state;
	answer(hear_request("thing|add|x|"));
	assert_string_equal(heard_secret, "hunter2");
	finish(&c, EX_OK, "a\n1\n", "");
	c = start(run, ARGV("mailwain-thing", "add", "x", "--password-stdin"), "");
	finish(&c, EX_USAGE, "", "mailwain: no password was given\n");
	/* A verb that needs none does not read one. */
	c = start(run, ARGV("mailwain-thing", "list", "--password-stdin"), "hunter2\n");
	answer(hear_request("thing|list|"));
	assert_string_equal(heard_secret, "");
	finish(&c, EX_OK, "a\n1\n", "");
}

static void hear_input(const char *text)
{
	int fd = accept_command();
	struct ipc_message m = hear(fd);

	assert_ptr_equal(m.type, &ipc_control_input);
	assert_span_equal(((const struct control_input *)(const void *)m.body)->text, text);
	m = hear(fd);
	assert_ptr_equal(m.type, &ipc_control_request);
	/* The file's name stays here. */
	assert_true(span_eq(((const struct control_request *)(const void *)m.body)->args, SPAN_LIT("thing\0import\0")));
	answer(fd);
}

static void the_last_argument_can_be_a_file(void **state)
{
	char path[80], want[200];
	struct command c;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/input", root);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "from a file", 11), 11);
	close(fd);
	c = start(run, ARGV("mailwain-thing", "import", path), NULL);
	hear_input("from a file");
	finish(&c, EX_OK, "a\n1\n", "");
	c = start(run, ARGV("mailwain-thing", "import", (char *)(uintptr_t) "-"), "from standard input");
	hear_input("from standard input");
	finish(&c, EX_OK, "a\n1\n", "");
	c = start(run, ARGV("mailwain-thing", "import"), NULL);
	finish(&c, EX_USAGE, "", "mailwain: a file name is missing (or - for standard input)\nusage: mailwain thing import FILE\n");
	c = start(run, ARGV("mailwain-thing", "import", (char *)(uintptr_t) "/tmp/control-test-none"), NULL);
	finish(&c, EX_NOINPUT, "", "mailwain: /tmp/control-test-none: No such file or directory\n");
	c = start(run, ARGV("mailwain-thing", "import", root), NULL);
	snprintf(want, sizeof(want), "mailwain: %s: Is a directory\n", root);
	finish(&c, EX_NOINPUT, "", want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(words_go_to_the_daemon, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(options_may_stand_anywhere, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(another_root, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(help_is_given, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(verbs_that_are_none, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(more_words_than_there_can_be, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(passwords_come_from_standard_input, make_instance, remove_instance),
	    cmocka_unit_test_setup_teardown(the_last_argument_can_be_a_file, make_instance, remove_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
