/* mailwain: finds the command for a noun and runs it. */
#include "control/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#ifndef MW_VERSION
#define MW_VERSION "0.1.0"
#endif

static const struct {
	const char *word;
	const char *sentence;
	bool verb; /* of the suite as a whole: run by mailwain-control */
} words[] = {
    {"init", "sets up this machine, or an instance under --root", true},
    {"start", "starts the suite", true},
    {"stop", "stops it: finishes what is going on", true},
    {"reload", "takes over a changed configuration without dropping a connection", true},
    {"status", "shows every daemon", true},
    {"account", "add, remove, list, show, passwd, disable, enable, quota", false},
    {"alias", "add, remove, list, show", false},
    {"domain", "add, remove, list", false},
    {"directory", "export, import", false},
    {"queue", "list, show, cat, flush, hold, release, delete", false},
    {"mailbox", "list, undo", false},
    {"store", "check, rebuild-index", false},
    {"config", "check, show", false},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: mailwain [--root DIR] WORD ...\n\n");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		fprintf(out, "  %-10s %s\n", words[i].word, words[i].sentence);
	fprintf(out, "\n`mailwain WORD --help` says more. --root DIR (or MAILWAIN_ROOT) names an instance.\n");
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct err err;
	char path[INSTANCE_PATH + 64];
	int at = 1;
	bool verb = false;

	while (at < argc && strncmp(argv[at], "--", 2) == 0) {
		if (strcmp(argv[at], "--root") == 0 && at + 1 < argc) {
			setenv("MAILWAIN_ROOT", argv[at + 1], 1);
			at += 2;
		} else if (strcmp(argv[at], "--version") == 0) {
			printf("mailwain %s\n", MW_VERSION);
			return EX_OK;
		} else {
			usage(strcmp(argv[at], "--help") == 0 ? stdout : stderr);
			return strcmp(argv[at], "--help") == 0 ? EX_OK : EX_USAGE;
		}
	}
	if (at >= argc || strcmp(argv[at], "help") == 0) {
		usage(at >= argc ? stderr : stdout);
		return at >= argc ? EX_USAGE : EX_OK;
	}
	if (instance_find(&instance, NULL, &err) != 0) {
		fprintf(stderr, "mailwain: %s\n", err.text);
		return EX_USAGE;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].word, argv[at]) == 0)
			verb = words[i].verb;
	if (strspn(argv[at], "abcdefghijklmnopqrstuvwxyz") != strlen(argv[at])) {
		usage(stderr);
		return EX_USAGE;
	}
	snprintf(path, sizeof(path), "%s/mailwain-%.32s", instance.bin, verb ? "control" : argv[at]);
	if (!verb) {
		argv[at] = path;
		execv(path, argv + at);
	} else {
		/* The verb stays an argument: mailwain-control VERB ... */
		argv[at - 1] = path;
		execv(path, argv + at - 1);
	}
	if (errno == ENOENT)
		fprintf(stderr, "mailwain: there is no '%s'; `mailwain help` shows what there is\n", argv[verb ? at : at] + (verb ? 0 : strlen(instance.bin) + 10));
	else
		fprintf(stderr, "mailwain: %s: %s\n", path, strerror(errno));
	return EX_USAGE;
}
