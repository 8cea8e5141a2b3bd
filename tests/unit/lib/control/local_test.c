/* The command line of a command that asks no daemon. */
#include "tests/unit/test.h"

#include "control/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static int run_nothing(void *request)
{
	(void)request;
	return 0;
}

static const struct local_verb verbs[] = {{"check", NULL, false, run_nothing}, {"list", NULL, true, run_nothing}, {"show", "name", true, run_nothing}, {0}};
static const struct local_command command = {.noun = "things", .usage = "usage: things VERB\n", .verbs = verbs, .options = {"--in", "--at"}};

static struct local_words words;
static int status;

/* Words with a blank between them; what is said goes to a file. */
static const struct local_verb *parse(const char *line, char said[512])
{
	static char text[128], *argv[16];
	int argc = 0, out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), fd = fileno(tmpfile());
	const struct local_verb *verb;
	ssize_t n;

	fflush(NULL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	snprintf(text, sizeof(text), "things %s", line);
	for (char *word = strtok(text, " "); word != NULL && argc < 15; word = strtok(NULL, " "))
		argv[argc++] = word;
	status = -1;
	verb = local_parse(&command, argc, argv, &words, &status);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	n = pread(fd, said, 511, 0);
	said[n > 0 ? n : 0] = '\0';
	close(out);
	close(err);
	return verb;
}

static void what_is_understood(void **state)
{
	char said[512];

	(void)state;
	assert_ptr_equal(parse("check", said), &verbs[0]);
	assert_true(words.root == NULL && words.argument == NULL && !words.json);
	assert_ptr_equal(parse("--root /x list --json", said), &verbs[1]);
	assert_string_equal(words.root, "/x");
	assert_true(words.json);
	assert_ptr_equal(parse("show --at b me --in a", said), &verbs[2]);
	assert_string_equal(words.argument, "me");
	assert_string_equal(words.options[0], "a");
	assert_string_equal(words.options[1], "b");
	assert_string_equal(said, "");
	assert_ptr_equal(parse("--root=/x=y show me --in= --at=b", said), &verbs[2]);
	assert_string_equal(words.root, "/x=y");
	assert_string_equal(words.argument, "me");
	assert_string_equal(words.options[0], "");
	assert_string_equal(words.options[1], "b");
	assert_string_equal(said, "");
}

static void what_is_not(void **state)
{
	static const struct {
		const char *line, *says;
		int status;
	} cases[] = {
	    {"", "usage: things VERB\n", EX_USAGE},
	    {"--help", "usage: things VERB\n", EX_OK},
	    {"show --help --nonsense", "usage: things VERB\n", EX_OK},
	    {"chekc", "mailwain: things has no verb 'chekc'; did you mean 'check'?\n", EX_USAGE},
	    {"explode", "mailwain: things has no verb 'explode'\nusage: things VERB\n", EX_USAGE},
	    {"show", "mailwain: which name?\nusage: things VERB\n", EX_USAGE},
	    {"show a b", "mailwain: not understood: 'b'\nusage: things VERB\n", EX_USAGE},
	    {"check a", "mailwain: not understood: 'a'\nusage: things VERB\n", EX_USAGE},
	    {"check --at a", "mailwain: not understood: '--at'\nusage: things VERB\n", EX_USAGE},
	    {"check --at=a", "mailwain: not understood: '--at'\nusage: things VERB\n", EX_USAGE},
	    {"show a --on=b", "mailwain: not understood: '--on=b'\nusage: things VERB\n", EX_USAGE},
	    {"show a --json=yes", "mailwain: not understood: '--json=yes'\nusage: things VERB\n", EX_USAGE},
	    {"check --json", "mailwain: not understood: '--json'\nusage: things VERB\n", EX_USAGE},
	    {"show a --on", "mailwain: not understood: '--on'\nusage: things VERB\n", EX_USAGE},
	    {"show a --at", "mailwain: not understood: '--at'\nusage: things VERB\n", EX_USAGE},
	};
	char said[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_null(parse(cases[i].line, said));
		assert_string_equal(said, cases[i].says);
		assert_int_equal(status, cases[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_understood), cmocka_unit_test(what_is_not)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
