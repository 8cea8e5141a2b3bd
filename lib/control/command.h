/*
 * What all control commands have in common: --root, --json, --help, exit codes.
 * A command is data: its nouns, its daemon, its usage, which verbs need a password.
 */
#ifndef MW_CONTROL_COMMAND_H
#define MW_CONTROL_COMMAND_H

#include "base/span.h"

#include <stdbool.h>

struct buf;

/* --password-stdin, or asked for on the terminal: a new one twice. */
enum control_password { CONTROL_NO_PASSWORD, CONTROL_NEW_PASSWORD, CONTROL_PASSWORD };

struct control_verb {
	const char *noun;
	const char *verb;
	const char *usage;	/* behind "mailwain NOUN VERB": also the rule that arguments are held against */
	const char *sentence;
	enum control_password password;
	bool input;		/* the first argument is a file (or -) that is sent along in place of its name */
};

struct control_command {
	const char *daemon;
	const struct control_verb *verbs; /* ended by one whose noun is NULL */
	void (*shown)(struct span row, struct buf *out); /* as in control/client.h; NULL mostly */
};

/* The noun is what follows "mailwain-" in argv[0]. Returns the exit status. */
int control_command_main(const struct control_command *command, int argc, char **argv);

#endif
