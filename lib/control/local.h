/*
 * The frame of a command that asks no daemon but reads the files itself: its verbs, --root, --json, --help.
 */
#ifndef MW_CONTROL_LOCAL_H
#define MW_CONTROL_LOCAL_H

#include <stdbool.h>

enum { LOCAL_OPTIONS = 4 };

struct local_verb {
	const char *name;
	const char *argument; /* what it must be told: "setting"; NULL: nothing */
	bool json;	      /* takes --json */
	int (*run)(void *request);
};

struct local_command {
	const char *noun, *usage;
	const struct local_verb *verbs;	   /* ended by one without a name */
	const char *options[LOCAL_OPTIONS]; /* "--domain": with its value behind it or behind a "=", for verbs that take an argument; NULL: no more */
};

/* What was given; NULL where it was not. Borrowed from argv. */
struct local_words {
	const char *root, *verb, *argument;
	const char *options[LOCAL_OPTIONS]; /* in the command's order */
	bool json, help;
};

/* The verb to run; or NULL, and *status is what main returns: help was asked for, or what is wrong was told on stderr. */
const struct local_verb *local_parse(const struct local_command *command, int argc, char **argv, struct local_words *words, int *status);

/* "mailwain: TEXT" on stderr. Returns exit_code. */
int local_fail(int exit_code, const char *text);

#endif
