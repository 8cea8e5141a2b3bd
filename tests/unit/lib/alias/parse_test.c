/* The language of aliases(5): what is read, what is refused and where. */
#include "tests/unit/test.h"

#include "alias/set.h"

#include <stdio.h>
#include <stdlib.h>

struct fixture {
	struct pool *pool;
	struct alias_file file;
	struct err err;
	int r;
};

static struct fixture read_file(const char *text)
{
	struct fixture f = {.pool = pool_new(NULL, 0)};

	f.r = alias_file_parse(span_str(text), "aliases", f.pool, &f.file, &f.err);
	return f;
}

/* "KIND text" of each target, with " | " between them. */
static void targets_of(const struct alias *alias, struct buf *out)
{
	static const char *const kinds[] = {"address", "user", "pipe", "file", "list"};

	buf_init(out, 100000);
	for (const struct alias_target *t = alias->targets; t != NULL; t = t->next)
		buf_printf(out, "%s %.*s%s", kinds[t->kind], SPAN_ARG(t->text), t->next ? " | " : "");
}

static void test_what_is_read(void **state)
{
	static const struct {
		const char *text, *name, *targets;
	} cases[] = {
	    {"bob: alice\n", "bob", "address alice"},
	    {"Bob : alice", "BOB", "address alice"},
	    {"bob:alice,carol@example.org", "bob", "address alice | address carol@example.org"},
	    {"bob:\talice,\n\tcarol\n# no end\n\n , dave\nnext: x\n", "bob", "address alice | address carol | address dave"},
	    {"bob: alice,\r\n carol\r\n", "bob", "address alice | address carol"},
	    {"bob: alice,, carol ,\n", "bob", "address alice | address carol"},
	    {"bob: \\bob, bob@other.example\n", "bob", "user bob | address bob@other.example"},
	    {"p: \"|cmd with, commas \\\"q\\\" \\\\ and: more\"\n", "p", "pipe cmd with, commas \"q\" \\ and: more"},
	    {"p: |\"cmd, more\"\n", "p", "pipe cmd, more"},
	    {"p: | cmd $USER (x) # y, alice\n", "p", "pipe cmd $USER (x) # y | address alice"},
	    {"p: |/bin/a \"b, c\", alice\n", "p", "pipe /bin/a \"b, c\" | address alice"},
	    {"f: /var/mail/all, \"/with blank\"\n", "f", "file /var/mail/all | file /with blank"},
	    {"l: :include:/etc/list, \":include: /etc/other\", :Include: /third\n", "l", "list /etc/list | list /etc/other | list /third"},
	    {"a: Alice Smith <alice@example.org>, (Bob) bob (a (nested) one), <carol@x.test> (c)\n", "a",
		"address alice@example.org | address bob | address carol@x.test"},
	    {"\"two words\": alice\n", "two words", "address alice"},
	    {"\"a@b\": \"quoted local\"@example.org\n", "a@b", "address quoted local@example.org"},
	    {"mailer-daemon: postmaster\n", "MAILER-DAEMON", "address postmaster"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f = read_file(cases[i].text);
		const struct alias *alias = alias_find(&f.file, span_str(cases[i].name));
		struct buf targets;

		if (f.r != 0 || alias == NULL)
			fail_msg("%s: %s", cases[i].text, f.err.text);
		targets_of(alias, &targets);
		assert_string_equal(buf_cstr(&targets), cases[i].targets);
		buf_fini(&targets);
		pool_free(&f.pool);
	}
}

static void test_what_is_refused_and_where(void **state)
{
	static const struct {
		const char *text, *err;
	} cases[] = {
	    {"bob alice\n", "aliases:1:5: a line is written"},
	    {"# x\n\n  bob: alice\n", "aliases:3:1: a line that begins with a blank"},
	    {"bob:\nalice: x\n", "aliases:1:1: bob has no target"},
	    {"bob: # nobody\n", "aliases:1:6: a comment begins a line"},
	    {": x\n", "aliases:1:1: the name before the colon"},
	    {"bob@example.org: x\n", "aliases:1:4: a name has no domain"},
	    {"a: x\nb: y\nA: z\n", "aliases:3:1: a is an alias already, in line 1"},
	    {"a: b c\n", "aliases:1:6: two targets without a comma"},
	    {"a: \"|cmd\n b: c\n", "aliases:1:4: the quotes that begin here"},
	    {"a: b (c\nd: e\n", "aliases:1:6: the comment that begins here"},
	    {"a: |\n", "aliases:1:5: a command is missing"},
	    {"a: :include:list\n", "aliases:1:17: behind :include: stands a path"},
	    {"a: \\bob@example.org\n", "aliases:1:20: behind a backslash"},
	    {"a: <b c>\n", "aliases:1:6: an address in angle brackets"},
	    {"a: <b> c\n", "aliases:1:8: something follows"},
	    {"a: x\001\n", "aliases:1:5: a control character"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f = read_file(cases[i].text);

		assert_int_equal(f.r, E_SYNTAX);
		if (strncmp(f.err.text, cases[i].err, strlen(cases[i].err)) != 0)
			fail_msg("%s: got \"%s\", not \"%s\"", cases[i].text, f.err.text, cases[i].err);
		pool_free(&f.pool);
	}
}

static void test_limits(void **state)
{
	char *text = malloc(ALIAS_TARGETS_MAX * 2 + 2000);
	struct fixture f;
	size_t at = (size_t)sprintf(text, "a: ");

	(void)state;
	for (int i = 0; i < ALIAS_TARGETS_MAX; i++)
		at += (size_t)sprintf(text + at, "x,");
	f = read_file(text);
	assert_int_equal(f.r, 0);
	assert_int_equal(f.file.aliases[0]->count, ALIAS_TARGETS_MAX);
	pool_free(&f.pool);
	sprintf(text + at, "y");
	f = read_file(text);
	assert_int_equal(f.r, E_TOOBIG);
	pool_free(&f.pool);
	at = (size_t)sprintf(text, "a: ");
	memset(text + at, 'x', ALIAS_TARGET_MAX);
	text[at + ALIAS_TARGET_MAX] = '\0';
	f = read_file(text);
	assert_int_equal(f.r, 0);
	pool_free(&f.pool);
	strcat(text, "x");
	f = read_file(text);
	assert_int_equal(f.r, E_TOOBIG);
	pool_free(&f.pool);
	free(text);
}

static void test_newaliases_counts_as_sendmail(void **state)
{
	struct fixture f = read_file("# none\npostmaster: root\nroot: alice, bob\n");

	(void)state;
	assert_int_equal(f.file.count, 2);
	assert_int_equal(f.file.longest, strlen("alice, bob"));
	assert_int_equal(f.file.total, strlen("postmaster") + strlen("root") + strlen("root") + strlen("alice, bob"));
	pool_free(&f.pool);
}

static void test_lists(void **state)
{
	struct pool *pool = pool_new(NULL, 0);
	struct alias list;
	struct buf targets;
	struct err err;

	(void)state;
	assert_int_equal(alias_list_parse(SPAN_LIT("# members\nalice@example.org\n\n  bob, Carol <carol@x.test>\n# end"), "l", pool, &list, &err), 0);
	targets_of(&list, &targets);
	assert_string_equal(buf_cstr(&targets), "address alice@example.org | address bob | address carol@x.test");
	buf_fini(&targets);
	assert_int_equal(alias_list_parse(SPAN_LIT(""), "l", pool, &list, &err), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(alias_list_parse(SPAN_LIT("a\nb c\n"), "l", pool, &list, &err), E_SYNTAX);
	assert_string_equal(err.text, "l:2:3: two targets without a comma between them; add one");
	pool_free(&pool);
}

/* What master writes auth reads: lists that cannot be used keep nobody from the rest. */
static void test_set(void **state)
{
	struct alias_set *set;
	struct err err = {0};
	struct buf text;

	(void)state;
	buf_init(&text, 10000);
	alias_set_add(&text, ALIAS_MARK_FILE, "/etc/aliases", SPAN_LIT("a: b\nl: :include:/x\n"));
	alias_set_add(&text, ALIAS_MARK_LIST, "/x", SPAN_LIT("c\n"));
	alias_set_add(&text, ALIAS_MARK_NO_LIST, "/y z", SPAN_LIT("no such file"));
	alias_set_add(&text, ALIAS_MARK_LIST, "/bad", SPAN_LIT("(\n"));
	assert_int_equal(alias_set_load(buf_span(&text), &set, &err), 0);
	assert_null(set->why);
	assert_non_null(alias_find(&set->file, SPAN_LIT("A")));
	assert_null(alias_set_list(set, SPAN_LIT("/x"))->why);
	assert_string_equal(alias_set_list(set, SPAN_LIT("/y z"))->why, "no such file");
	assert_non_null(alias_set_list(set, SPAN_LIT("/bad"))->why);
	assert_null(alias_set_list(set, SPAN_LIT("/none")));
	alias_set_free(&set);
	for (size_t cut = 1; cut <= strlen("2 /bad\n(\n"); cut++)
		assert_int_equal(alias_set_load(span_sub(buf_span(&text), 0, buf_len(&text) - cut), &set, &err), E_CORRUPT);
	buf_clear(&text);
	alias_set_add(&text, ALIAS_MARK_NO_FILE, "/etc/aliases", SPAN_LIT("aliases:1:1: wrong"));
	assert_int_equal(alias_set_load(buf_span(&text), &set, &err), 0);
	assert_string_equal(set->why, "aliases:1:1: wrong");
	alias_set_free(&set);
	buf_fini(&text);
}

/* 100,000 aliases: each is found, and what is not there is not. */
static void test_many(void **state)
{
	struct fixture f;
	struct buf text;
	char name[32];

	(void)state;
	buf_init(&text, ALIAS_FILE_MAX);
	for (int i = 0; i < 100000; i++)
		buf_printf(&text, "name%d: target%d@example.org, other%d\n", i, i, i);
	f = read_file(buf_cstr(&text));
	assert_int_equal(f.file.count, 100000);
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "NAME%d", i);
		assert_int_equal(alias_find(&f.file, span_str(name))->line, i + 1);
	}
	assert_null(alias_find(&f.file, SPAN_LIT("name100000")));
	assert_null(alias_find(&f.file, SPAN_LIT("")));
	pool_free(&f.pool);
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_read),
	    cmocka_unit_test(test_what_is_refused_and_where),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_newaliases_counts_as_sendmail),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_set),
	    cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
