#include "control/command.h"

#include "base/buf.h"
#include "base/secret.h"
#include "control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { COMMAND_ARGS_MAX = 500, COMMAND_INPUT_MAX = 64 * 1024 * 1024 };

struct parsed {
	struct span args[COMMAND_ARGS_MAX]; /* noun, verb, the rest */
	size_t count;
	const char *root;
	bool json, help, password_stdin;
};

static const char *noun_of(const char *self)
{
	const char *slash = strrchr(self, '/');
	const char *name = slash ? slash + 1 : self;

	return strncmp(name, "mailwain-", 9) == 0 ? name + 9 : name;
}

static void print_usage(const struct control_command *command, const char *noun, FILE *out)
{
	fprintf(out, "usage: mailwain [--root DIR] %s VERB [ARGUMENT ...] [--json]\n", noun);
	for (const struct control_verb *v = command->verbs; v->noun != NULL; v++)
		if (strcmp(v->noun, noun) == 0)
			fprintf(out, "  %s%s%s\n      %s\n", v->verb, v->usage[0] ? " " : "", v->usage, v->sentence);
}

static const struct control_verb *find_verb(const struct control_command *command, const char *noun, struct span verb)
{
	for (const struct control_verb *v = command->verbs; v->noun != NULL; v++)
		if (strcmp(v->noun, noun) == 0 && span_eq(span_str(v->verb), verb))
			return v;
	return NULL;
}

static bool parse(int argc, char **argv, struct parsed *p)
{
	bool words_only = false;

	for (int i = 1; i < argc; i++) {
		if (!words_only && strcmp(argv[i], "--") == 0)
			words_only = true;
		else if (!words_only && strcmp(argv[i], "--json") == 0)
			p->json = true;
		else if (!words_only && strcmp(argv[i], "--help") == 0)
			p->help = true;
		else if (!words_only && strcmp(argv[i], "--password-stdin") == 0)
			p->password_stdin = true;
		else if (!words_only && strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			p->root = argv[++i];
		else if (p->count < COMMAND_ARGS_MAX)
			p->args[p->count++] = span_str(argv[i]);
		else
			return false;
	}
	return true;
}

static int read_input(struct span path, struct buf *out, struct err *err)
{
	char name[4096];
	int fd;

	span_copy(path, name, sizeof(name));
	fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(err, errno, "%s", name);
	for (;;) {
		char *room = buf_reserve(out, 65536);
		ssize_t n = room ? read(fd, room, 65536) : 0;

		if (room == NULL)
			return err_set(err, E_TOOBIG, "%s: more than %d bytes", name, COMMAND_INPUT_MAX);
		if (n < 0)
			return err_set_errno(err, errno, "%s", name);
		if (n == 0)
			return 0;
		buf_added(out, (size_t)n);
	}
}

static int run(const struct control_command *command, const struct control_verb *verb, struct parsed *p)
{
	struct control_request_options options = {.args = p->args, .count = p->count, .json = p->json};
	struct secret password = {0};
	struct instance instance;
	struct err err = {0};
	struct buf input;
	int status = EX_USAGE;

	buf_init(&input, COMMAND_INPUT_MAX);
	if (instance_find(&instance, p->root, &err) != 0 ||
	    (verb->password && control_read_password(p->password_stdin, true, &password, &err) != 0)) {
		fprintf(stderr, "mailwain: %s\n", err.text);
		goto out;
	}
	if (verb->input && (p->count < 3 || read_input(p->args[p->count - 1], &input, &err) != 0)) {
		fprintf(stderr, "mailwain: %s\n", p->count < 3 ? "a file name is missing (or - for standard input)" : err.text);
		status = p->count < 3 ? EX_USAGE : EX_NOINPUT;
		goto out;
	}
	if (verb->input)
		options.count--;
	options.secret = secret_span(&password);
	options.input = buf_span(&input);
	status = control_run(&instance, command->daemon, &options);
out:
	secret_wipe(&password);
	buf_fini(&input);
	return status;
}

int control_command_main(const struct control_command *command, int argc, char **argv)
{
	const char *noun = noun_of(argv[0]);
	const struct control_verb *verb;
	struct parsed p = {.count = 1};

	p.args[0] = span_str(noun);
	if (!parse(argc, argv, &p))
		return EX_USAGE;
	if (p.help) {
		print_usage(command, noun, stdout);
		return EX_OK;
	}
	verb = p.count > 1 ? find_verb(command, noun, p.args[1]) : NULL;
	if (verb == NULL) {
		if (p.count > 1)
			fprintf(stderr, "mailwain: %s has no verb '%.*s'\n", noun, SPAN_ARG(p.args[1]));
		print_usage(command, noun, stderr);
		return EX_USAGE;
	}
	return run(command, verb, &p);
}
