/* mailwain-aliases, and newaliases(1) as sendmail has it. Reads the files itself, as master will. */
#include "base/json.h"
#include "conf/conf.h"
#include "control/client.h"
#include "control/local.h"
#include "control/paths.h"
#include "control/table.h"
#include "master/alias_files.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static const char usage_text[] =
    "usage: mailwain [--root DIR] aliases VERB\n"
    "  check\n      Reads the file of aliases and the lists it includes, and tells the first error with its place.\n"
    "  list [--json]\n      Lists all aliases of the file.\n"
    "  show NAME [--json]\n      Tells the targets of a name, one a row.\n"
    "  reload\n      Checks the file and has it read at once. newaliases does the same.\n";

struct request {
	struct local_words words;
	struct instance instance;
	struct alias_files files;
	bool old_name; /* newaliases */
};

static int read_files(struct request *q, struct err *err)
{
	struct conf *conf = NULL;
	char path[ALIAS_PATH_MAX];
	int r = conf_load(q->instance.conf, &conf, err);

	if (r == 0 && conf_text(conf, CONF_aliases, NULL).len == 0)
		r = err_set(err, E_NOTFOUND, "no file of aliases is set; write: aliases /etc/aliases");
	if (r == 0) {
		span_copy(conf_text(conf, CONF_aliases, NULL), path, sizeof(path));
		r = alias_files_read(path, &q->files, err);
	}
	conf_free(&conf);
	return r;
}

static int exit_code(int code)
{
	return code == E_SYNTAX || code == E_TOOBIG ? EX_DATAERR : code == E_DENIED ? EX_NOPERM : code == E_NOTFOUND ? EX_CONFIG : EX_NOINPUT;
}

/* ---- verbs ---- */

static int check(void *request)
{
	struct request *q = request;

	for (size_t i = 0; i < q->files.count; i++)
		if (q->files.sources[i].err.code != 0)
			fprintf(stderr, "mailwain: warning: %s%s\n", q->files.sources[i].err.text,
			    i > 0 ? "; mail to the names that lead to it is put off" : "");
	printf("%s: %zu aliases, longest %zu bytes, %zu bytes total\n", q->files.sources[0].path, q->files.file.count, q->files.file.longest,
	    q->files.file.total);
	return EX_OK;
}

static void add_row(struct request *q, struct table *table, struct buf *row)
{
	if (q->words.json)
		printf("%.*s\n", SPAN_ARG(buf_span(row)));
	else
		table_add(table, buf_span(row));
	buf_clear(row);
}

static void row_of_alias(struct buf *row, const struct alias *alias)
{
	struct buf targets;

	buf_init(&targets, ALIAS_TARGETS_MAX * (2 * ALIAS_TARGET_MAX + 16));
	for (const struct alias_target *t = alias->targets; t != NULL; t = t->next) {
		alias_target_format(t, &targets);
		buf_add_str(&targets, t->next != NULL ? ", " : "");
	}
	buf_add_str(row, "{\"name\":");
	json_add_string(row, alias->name);
	buf_add_str(row, ",\"targets\":");
	json_add_string(row, buf_span(&targets));
	buf_printf(row, ",\"line\":%u}", alias->line);
	buf_fini(&targets);
}

static void row_of_target(struct buf *row, const struct alias_target *t)
{
	static const char *const kinds[] = {[ALIAS_ADDRESS] = "address", [ALIAS_USER] = "mailbox", [ALIAS_PIPE] = "command", [ALIAS_FILE] = "file",
	    [ALIAS_INCLUDE] = "list"};

	buf_printf(row, "{\"kind\":\"%s\",\"target\":", kinds[t->kind]);
	json_add_string(row, t->text);
	buf_add_char(row, '}');
}

static int print(struct request *q, const struct alias *alias)
{
	struct table *table = table_new();
	struct buf row;

	buf_init(&row, ALIAS_FILE_MAX);
	for (const struct alias_target *t = alias != NULL ? alias->targets : NULL; t != NULL && table != NULL; t = t->next) {
		row_of_target(&row, t);
		add_row(q, table, &row);
	}
	for (size_t i = 0; alias == NULL && i < q->files.file.count && table != NULL; i++) {
		row_of_alias(&row, q->files.file.aliases[i]);
		add_row(q, table, &row);
	}
	if (table != NULL && !q->words.json)
		table_print(table, stdout);
	buf_fini(&row);
	table_free(&table);
	return EX_OK;
}

static int list(void *request)
{
	return print(request, NULL);
}

static int show(void *request)
{
	struct request *q = request;
	const struct alias *alias = alias_find(&q->files.file, span_str(q->words.argument));

	if (alias != NULL)
		return print(q, alias);
	fprintf(stderr, "mailwain: %s has no alias %s\n", q->files.sources[0].path, q->words.argument);
	return EX_NOUSER;
}

/* What does not run reads it when it starts. */
static int reload(void *request)
{
	struct request *q = request;
	struct span words[] = {SPAN_LIT("reload")};
	const struct control_request_options options = {.args = words, .count = 1, .quiet = true};
	char path[INSTANCE_PATH + 128];

	check(q);
	snprintf(path, sizeof(path), "%s/master.sock", q->instance.run);
	return access(path, F_OK) == 0 ? control_run(&q->instance, "master", &options) : EX_OK;
}

/* ---- the command ---- */

static const struct local_verb verbs[] = {
    {"check", NULL, false, check},
    {"list", NULL, true, list},
    {"show", "name", true, show},
    {"reload", NULL, false, reload},
    {0},
};

static const struct local_command command = {.noun = "aliases", .usage = usage_text, .verbs = verbs};

static int run(struct request *q, int (*verb)(void *request))
{
	struct err err = {0};
	int r = instance_find(&q->instance, q->words.root, &err);

	if (r != 0)
		return local_fail(EX_USAGE, err.text);
	r = read_files(q, &err);
	if (r == E_NOTFOUND && q->old_name) {
		puts("There is no file of aliases here, and so nothing to do.");
		return EX_OK; /* installers run it wherever it is */
	}
	r = r == 0 ? verb(q) : local_fail(exit_code(r), err.text);
	alias_files_free(&q->files);
	return r;
}

int main(int argc, char **argv)
{
	struct request q = {0};
	const struct local_verb *verb;
	int r;

	q.old_name = argc > 0 && strcmp(basename(argv[0]), "newaliases") == 0;
	/* sendmail's newaliases ignores what it does not know: installers call it with options of other programs. */
	if (q.old_name) {
		for (int i = 1; i < argc; i++)
			if (strncmp(argv[i], "--root=", 7) == 0)
				q.words.root = argv[i] + 7;
			else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
				q.words.root = argv[++i];
		return run(&q, reload);
	}
	verb = local_parse(&command, argc, argv, &q.words, &r);
	return verb != NULL ? run(&q, verb->run) : r;
}
