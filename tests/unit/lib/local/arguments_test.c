/* sendmail's command line. */
#include "local/arguments.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { WORDS_MAX = 32 };

static struct pool *pool;
static struct err err;

/* line: words separated by blanks, "_" for an empty one. */
static int parse(const char *line, struct sendmail_arguments *out)
{
	static char copy[512];
	char *argv[WORDS_MAX + 1], *rest = copy, *word;
	int argc = 0;

	strncpy(copy, line, sizeof(copy) - 1);
	while ((word = strsep(&rest, " ")) != NULL && argc < WORDS_MAX)
		argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
	argv[argc] = NULL;
	pool_reset(pool);
	return sendmail_arguments_parse(argc, argv, pool, out, &err);
}

static void modes(void **state)
{
	static const struct {
		const char *line;
		int mode; /* negative: refused with this */
	} rows[] = {{"sendmail a", SENDMAIL_SUBMIT}, {"/usr/sbin/sendmail -bs", SENDMAIL_SMTP}, {"/usr/bin/mailq", SENDMAIL_QUEUE}, {"newaliases", SENDMAIL_ALIASES},
	    {"sendmail -bp", SENDMAIL_QUEUE}, {"sendmail -b p", SENDMAIL_QUEUE}, {"sendmail -bi", SENDMAIL_ALIASES}, {"sendmail -I", SENDMAIL_ALIASES}, {"sendmail -q", SENDMAIL_FLUSH},
	    {"sendmail -q30m", SENDMAIL_FLUSH}, {"sendmail -qRx", SENDMAIL_FLUSH}, {"sendmail -bm a", SENDMAIL_SUBMIT}, {"sendmail -bh", SENDMAIL_NOTHING},
	    {"sendmail -bd", E_UNSUPPORTED}, {"sendmail -bD", E_UNSUPPORTED}, {"sendmail -bl", E_UNSUPPORTED}, {"sendmail -bv a", E_UNSUPPORTED}, {"sendmail -bt", E_UNSUPPORTED},
	    {"sendmail -b", E_SYNTAX}, {"sendmail -f", E_SYNTAX}, {"sendmail -B 9BIT", E_SYNTAX}, {"sendmail -N", E_SYNTAX}, {"sendmail -N never,success a", E_SYNTAX}, {"sendmail -N _ a", E_SYNTAX},
	    {"sendmail -R some a", E_SYNTAX}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sendmail_arguments a;
		int r = parse(rows[i].line, &a);

		if (rows[i].mode < 0 ? r != rows[i].mode : r != 0 || (int)a.mode != rows[i].mode)
			fail_msg("%s: %d", rows[i].line, r);
	}
}

static void cron_calls(void **state)
{
	struct sendmail_arguments a;

	(void)state;
	assert_int_equal(parse("sendmail -FCronDaemon -i -B8BITMIME -oem root", &a), 0);
	assert_string_equal(a.full_name, "CronDaemon");
	assert_false(a.dot);
	assert_false(a.extract);
	assert_int_equal(a.recipients.count, 1);
	assert_span_equal(a.recipients.addresses[0], "root");
}

static void values_and_clusters(void **state)
{
	struct sendmail_arguments a;

	(void)state;
	assert_int_equal(parse("sendmail -tiv -f _ -N success,delay -Rhdrs -V env1 -Z -h 4 -O x=y -odb a b,c -F name -- -t", &a), 0);
	assert_true(a.extract && !a.dot && a.verbose && a.sender_given);
	assert_string_equal(a.sender, "");
	assert_int_equal(a.notify, 2 | 8);
	assert_int_equal(a.ret, 2);
	assert_string_equal(a.envid, "env1");
	assert_string_equal(a.full_name, "name");
	assert_int_equal(a.recipients.count, 4);
	assert_span_equal(a.recipients.addresses[2], "c");
	assert_span_equal(a.recipients.addresses[3], "-t");
	assert_int_equal(parse("sendmail -oi a", &a), 0);
	assert_false(a.dot);
	assert_int_equal(parse("sendmail -oQ/x a", &a), 0);
	assert_true(a.dot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes),
	    cmocka_unit_test(cron_calls),
	    cmocka_unit_test(values_and_clusters),
	};

	pool = pool_new(NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
