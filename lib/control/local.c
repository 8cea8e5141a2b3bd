#include "control/local.h"

#include "base/near.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int local_fail(int exit_code, const char *text)
{
	fprintf(stderr, "mailwain: %s\n", text);
	return exit_code;
}

/* Where the value of this option goes, "--name" or "--name=value"; NULL: it is none that takes one. */
static const char **option(const struct local_command *command, struct local_words *words, const char *word)
{
	struct span name = span_sub(span_str(word), 0, strcspn(word, "="));

	if (span_eq(name, SPAN_LIT("--root")))
		return &words->root;
	for (size_t i = 0; i < LOCAL_OPTIONS && command->options[i] != NULL; i++)
		if (span_eq(name, span_str(command->options[i])))
			return &words->options[i];
	return NULL;
}

/* NULL, or the first word that is too many or unknown. */
static const char *take_words(const struct local_command *command, int argc, char **argv, struct local_words *words)
{
	for (int i = 1; i < argc; i++) {
		const char **value = option(command, words, argv[i]), *equals = strchr(argv[i], '=');

		if (value != NULL && equals != NULL)
			*value = equals + 1;
		else if (value != NULL && i + 1 < argc)
			*value = argv[++i];
		else if (strcmp(argv[i], "--help") == 0)
			words->help = true;
		else if (strcmp(argv[i], "--json") == 0)
			words->json = true;
		else if (argv[i][0] == '-')
			return argv[i];
		else if (words->verb == NULL)
			words->verb = argv[i];
		else if (words->argument == NULL)
			words->argument = argv[i];
		else
			return argv[i];
	}
	return NULL;
}

static const struct local_verb *find(const struct local_command *command, const char *name, const char **meant)
{
	struct near near = near_begin(span_str(name));

	for (const struct local_verb *verb = command->verbs; verb->name != NULL; verb++) {
		if (strcmp(verb->name, name) == 0)
			return verb;
		near_try(&near, verb->name);
	}
	*meant = near.best;
	return NULL;
}

/* What was given and this verb does not take; NULL: nothing. */
static const char *surplus(const struct local_command *command, const struct local_verb *verb, const struct local_words *words)
{
	if (words->argument != NULL && verb->argument == NULL)
		return words->argument;
	for (size_t i = 0; i < LOCAL_OPTIONS && verb->argument == NULL; i++)
		if (words->options[i] != NULL)
			return command->options[i];
	return words->json && !verb->json ? "--json" : NULL;
}

static const struct local_verb *check(const struct local_command *command, const struct local_words *words, const char *unknown, int *status)
{
	const struct local_verb *verb = NULL;
	const char *meant = NULL;

	*status = EX_USAGE;
	if (unknown == NULL && words->verb != NULL)
		verb = find(command, words->verb, &meant);
	if (verb != NULL)
		unknown = surplus(command, verb, words);
	if (unknown != NULL) {
		fprintf(stderr, "mailwain: not understood: '%s'\n", unknown);
	} else if (verb != NULL && (verb->argument == NULL || words->argument != NULL)) {
		return verb;
	} else if (verb != NULL) {
		fprintf(stderr, "mailwain: which %s?\n", verb->argument);
	} else if (meant != NULL) {
		fprintf(stderr, "mailwain: %s has no verb '%s'; did you mean '%s'?\n", command->noun, words->verb, meant);
		return NULL;
	} else if (words->verb != NULL) {
		fprintf(stderr, "mailwain: %s has no verb '%s'\n", command->noun, words->verb);
	}
	fputs(command->usage, stderr);
	return NULL;
}

const struct local_verb *local_parse(const struct local_command *command, int argc, char **argv, struct local_words *words, int *status)
{
	const char *unknown;

	*words = (struct local_words){0};
	unknown = take_words(command, argc, argv, words);
	if (!words->help)
		return check(command, words, unknown, status);
	fputs(command->usage, stdout);
	*status = EX_OK;
	return NULL;
}
