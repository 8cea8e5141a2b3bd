#include "control/command.h"

#include "base/buf.h"
#include "base/near.h"
#include "base/secret.h"
#include "control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { COMMAND_ARGS_MAX = 500, COMMAND_INPUT_MAX = 64 * 1024 * 1024, COMMAND_OPTIONS = 8 };

struct parsed {
	struct span args[COMMAND_ARGS_MAX]; /* noun, verb, the rest */
	size_t count;
	size_t literal; /* from here on no word is an option: "--" stood before it */
	const char *root;
	bool json, help, password_stdin;
};

/* What a verb takes, read from its usage: that is the declaration. */
struct shape {
	size_t least, most;  /* words that are no options */
	struct span missing; /* the last word that must be there */
	struct span options[COMMAND_OPTIONS];
	bool takes_value[COMMAND_OPTIONS];
	size_t option_count;
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

static void print_verb_usage(const struct control_verb *v)
{
	fprintf(stderr, "usage: mailwain %s %s%s%s\n", v->noun, v->verb, v->usage[0] ? " " : "", v->usage);
}

static const struct control_verb *find_verb(const struct control_command *command, const char *noun, struct span verb,
    const char **near)
{
	struct near search = near_begin(verb);

	for (const struct control_verb *v = command->verbs; v->noun != NULL; v++) {
		if (strcmp(v->noun, noun) != 0)
			continue;
		if (span_eq(span_str(v->verb), verb))
			return v;
		near_try(&search, v->verb);
	}
	*near = search.best;
	return NULL;
}

/* ---- the usage, as a declaration ---- */

static struct span next_token(struct span *rest)
{
	size_t end;

	*rest = span_trim(*rest);
	end = span_find(*rest, ' ');
	struct span token = span_sub(*rest, 0, end);

	*rest = span_from(*rest, end);
	return token;
}

/* Takes "[" and "]" off; true when the token ends what is optional. */
static bool strip_brackets(struct span *token, bool *optional)
{
	if (token->len > 0 && token->ptr[0] == '[') {
		*optional = true;
		*token = span_from(*token, 1);
	}
	if (token->len == 0 || token->ptr[token->len - 1] != ']')
		return false;
	token->len--;
	return true;
}

/*
 * WORD ..., [WORD], --option, --option VALUE; where "|" stands between them none must be there.
 * A value is written in capitals right behind its option.
 */
static struct shape shape_of(const char *usage)
{
	struct span rest = span_str(usage);
	struct shape shape = {0};
	bool optional = false;

	while (span_trim(rest).len > 0) {
		struct span token = next_token(&rest), ahead = rest, value = next_token(&ahead);
		bool ends = strip_brackets(&token, &optional);

		if (span_eq(token, SPAN_LIT("|"))) {
			shape.least = 0;
			optional = true;
		} else if (span_eq(token, SPAN_LIT("..."))) {
			shape.most = SIZE_MAX;
		} else if (span_startswith(token, SPAN_LIT("--")) && shape.option_count < COMMAND_OPTIONS) {
			shape.options[shape.option_count] = token;
			shape.takes_value[shape.option_count] = !ends && value.len > 0 && value.ptr[0] >= 'A' && value.ptr[0] <= 'Z';
			if (shape.takes_value[shape.option_count++]) {
				rest = ahead;
				ends = strip_brackets(&value, &optional);
			}
		} else {
			shape.most++;
			shape.least += !optional;
			if (!optional)
				shape.missing = token;
		}
		if (ends)
			optional = false;
	}
	return shape;
}

static bool find_option(const struct shape *shape, struct span word, size_t *out)
{
	for (*out = 0; *out < shape->option_count; (*out)++)
		if (span_eq(shape->options[*out], span_sub(word, 0, span_find(word, '='))))
			return true;
	return false;
}

static bool fail_option(const struct control_verb *verb, const struct shape *shape, struct span word)
{
	char names[COMMAND_OPTIONS][32];
	struct near near = near_begin(span_sub(word, 0, span_find(word, '=')));

	for (size_t i = 0; i < shape->option_count; i++) {
		snprintf(names[i], sizeof(names[i]), "%.*s", SPAN_ARG(shape->options[i]));
		near_try(&near, names[i]);
	}
	fprintf(stderr, "mailwain: %s %s has no option '%.*s'%s%s%s\n", verb->noun, verb->verb, SPAN_ARG(word),
	    near.best != NULL ? "; did you mean '" : "", near.best != NULL ? near.best : "", near.best != NULL ? "'?" : "");
	return false;
}

static bool fail_words(const struct control_verb *verb, const struct shape *shape, const struct span *words, size_t count)
{
	if (count > shape->most)
		fprintf(stderr, "mailwain: %s %s: '%.*s' is too much\n", verb->noun, verb->verb, SPAN_ARG(words[shape->most]));
	else if (verb->input)
		fputs("mailwain: a file name is missing (or - for standard input)\n", stderr);
	else
		fprintf(stderr, "mailwain: %s %s: %.*s is missing\n", verb->noun, verb->verb, SPAN_ARG(shape->missing));
	return false;
}

/* Words first, options behind them: daemons read them by position. False when they do not fit the verb; it is said why. */
static bool arrange(const struct control_verb *verb, struct parsed *p)
{
	struct shape shape = shape_of(verb->usage);
	static struct span options[COMMAND_ARGS_MAX];
	size_t words = 2, option_count = 0, k;

	for (size_t i = 2; i < p->count; i++) {
		struct span word = p->args[i];
		size_t equals = span_find(word, '=');

		if (i >= p->literal || !span_startswith(word, SPAN_LIT("--"))) {
			p->args[words++] = word;
			continue;
		}
		if (!find_option(&shape, word, &k) || (equals < word.len && !shape.takes_value[k]))
			return fail_option(verb, &shape, word);
		options[option_count++] = shape.options[k];
		if (!shape.takes_value[k])
			continue;
		if (equals == word.len && ++i == p->count) {
			fprintf(stderr, "mailwain: %.*s needs a value\n", SPAN_ARG(word));
			return false;
		}
		if (option_count == COMMAND_ARGS_MAX - 1)
			return false;
		options[option_count++] = equals < word.len ? span_from(word, equals + 1) : p->args[i];
	}
	if (words - 2 < shape.least || words - 2 > shape.most)
		return fail_words(verb, &shape, p->args + 2, words - 2);
	memcpy(p->args + words, options, option_count * sizeof(*options));
	p->count = words + option_count;
	return true;
}

/* ---- the command line ---- */

/* False when it cannot be understood; it is said why. */
static bool parse(int argc, char **argv, struct parsed *p)
{
	bool words_only = false;

	p->literal = SIZE_MAX;
	for (int i = 1; i < argc; i++) {
		if (!words_only && strcmp(argv[i], "--") == 0) {
			words_only = true;
			p->literal = p->count;
		} else if (!words_only && strcmp(argv[i], "--json") == 0)
			p->json = true;
		else if (!words_only && strcmp(argv[i], "--help") == 0)
			p->help = true;
		else if (!words_only && strcmp(argv[i], "--password-stdin") == 0)
			p->password_stdin = true;
		else if (!words_only && strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			p->root = argv[++i];
		else if (!words_only && strncmp(argv[i], "--root=", 7) == 0)
			p->root = argv[i] + 7;
		else if (!words_only && strcmp(argv[i], "--root") == 0) {
			fputs("mailwain: --root needs a directory\n", stderr);
			return false;
		} else if (p->count < COMMAND_ARGS_MAX)
			p->args[p->count++] = span_str(argv[i]);
		else {
			fprintf(stderr, "mailwain: more than %d arguments\n", COMMAND_ARGS_MAX);
			return false;
		}
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
	struct control_request_options options = {.args = p->args, .count = p->count, .json = p->json, .shown = command->shown};
	struct secret password = {0};
	struct instance instance;
	struct err err = {0};
	struct buf input;
	int status = EX_USAGE;

	buf_init(&input, COMMAND_INPUT_MAX);
	if (instance_find(&instance, p->root, &err) != 0 ||
	    (verb->password != CONTROL_NO_PASSWORD &&
		control_read_password(p->password_stdin, verb->password == CONTROL_NEW_PASSWORD, &password, &err) != 0)) {
		fprintf(stderr, "mailwain: %s\n", err.text);
		goto out;
	}
	if (verb->input) {
		if (read_input(p->args[2], &input, &err) != 0) {
			fprintf(stderr, "mailwain: %s\n", err.text);
			status = EX_NOINPUT;
			goto out;
		}
		options.count--; /* the file's name stays here */
		memmove(p->args + 2, p->args + 3, (p->count - 3) * sizeof(*p->args));
	}
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
	const char *near = NULL;

	p.args[0] = span_str(noun);
	if (!parse(argc, argv, &p))
		return EX_USAGE;
	if (p.help) {
		print_usage(command, noun, stdout);
		return EX_OK;
	}
	verb = p.count > 1 ? find_verb(command, noun, p.args[1], &near) : NULL;
	if (verb == NULL) {
		if (p.count > 1)
			fprintf(stderr, "mailwain: %s has no verb '%.*s'%s%s%s\n", noun, SPAN_ARG(p.args[1]),
			    near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
		if (near == NULL)
			print_usage(command, noun, stderr);
		return EX_USAGE;
	}
	if (!arrange(verb, &p)) {
		print_verb_usage(verb);
		return EX_USAGE;
	}
	return run(command, verb, &p);
}
