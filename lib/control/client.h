/* The side of the command: one request to a daemon, its answer printed. */
#ifndef MW_CONTROL_CLIENT_H
#define MW_CONTROL_CLIENT_H

#include "base/span.h"
#include "control/paths.h"

struct buf;

struct control_request_options {
	const struct span *args; /* noun, verb, arguments */
	size_t count;
	struct span secret;	    /* a password, or empty */
	struct span input;	    /* a long input, or empty */
	bool json;		    /* rows as they are, one a line, and nothing else on stdout; else as a table */
	bool quiet; /* no closing sentence when all went well */
	/* What is shown of a row in its place: for what only the command can read. NULL: the row itself. */
	void (*shown)(struct span row, struct buf *out);
	/* NULL, or: rows are given to it, and nothing is printed when all is well. */
	void (*row)(void *arg, struct span row);
	void *arg;
};

/*
 * Sends the request to run/<daemon>.sock and prints what comes back: rows and
 * text to stdout, the closing sentence to stdout, or to stderr when the exit code is not 0.
 * Returns the command's exit status (sysexits(3)); EX_UNAVAILABLE when the suite does not run.
 */
int control_run(const struct instance *instance, const char *daemon,
    const struct control_request_options *options);

/* A password: from a terminal without echo, twice when `confirm`; else one line of stdin. 0 or E_. */
struct secret;
int control_read_password(bool from_stdin, bool confirm, struct secret *out, struct err *err);

#endif
