/* mailwain: finds the command for a noun and runs it. */
#include "base/near.h"
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
    {"account", "add, passwd, quota, senders, disable, enable, remove, app-password, list, show", false},
    {"alias", "add, remove, list, show", false},
    {"aliases", "check, list, show, reload", false},
    {"domain", "add, remove, list", false},
    {"directory", "export, import", false},
    {"auth", "failures", false},
    {"fetch", "get", false},
    {"queue", "list, show, attempts, cat, flush, hold, release, delete, bounce, requeue, reroute, explain, stats, pause, resume", false},
    {"relay", "test, status, policies, forget, report", false},
    {"resolve", "query, flush, stats", false},
    {"store", "check, rebuild-index", false},
    {"mailbox", "list, undo", false},
    {"tls", "show", false},
    {"config", "check, show, explain, diff", false},
};

static void usage(FILE *out)
{
	fprintf(out, "usage: mailwain [--root DIR] WORD ...\n\n");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		fprintf(out, "  %-10s %s\n", words[i].word, words[i].sentence);
	fprintf(out, "\n`mailwain WORD --help` says more. --root DIR (or MAILWAIN_ROOT) names an instance.\n");
}

enum { WORDS = sizeof(words) / sizeof(words[0]) };

static int unknown_word(const char *word)
{
	struct near near = near_begin(span_str(word));

	for (size_t i = 0; i < WORDS; i++)
		near_try(&near, words[i].word);
	if (near.best != NULL)
		fprintf(stderr, "mailwain: there is no '%s'; did you mean '%s'?\n", word, near.best);
	else
		fprintf(stderr, "mailwain: there is no '%s'; `mailwain help` shows what there is\n", word);
	return EX_USAGE;
}

/* An empty name is a shell variable that was not set: it must not mean the machine. */
static int take_root(const char *directory)
{
	if (directory == NULL || directory[0] == '\0') {
		fputs("mailwain: --root needs a directory\n", stderr);
		return EX_USAGE;
	}
	setenv("MAILWAIN_ROOT", directory, 1);
	return EX_OK;
}

/* The options before the word. -1: go on at *at; else the exit status. */
static int take_options(int argc, char **argv, int *at)
{
	for (*at = 1; *at < argc && strncmp(argv[*at], "--", 2) == 0; (*at)++) {
		const char *option = argv[*at];
		int r = EX_OK;

		if (strcmp(option, "--root") == 0)
			r = take_root(argv[++*at]);
		else if (strncmp(option, "--root=", 7) == 0)
			r = take_root(option + 7);
		else if (strcmp(option, "--version") == 0)
			return printf("mailwain %s\n", MW_VERSION) < 0;
		else if (strcmp(option, "--help") == 0) {
			usage(stdout);
			return EX_OK;
		} else {
			fprintf(stderr, "mailwain: there is no option %s before the word; `mailwain help` shows what there is\n", option);
			return EX_USAGE;
		}
		if (r != EX_OK)
			return r;
	}
	return -1;
}

static bool is_verb(const char *word)
{
	for (size_t i = 0; i < WORDS; i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].verb;
	return false;
}

int main(int argc, char **argv)
{
	struct instance instance;
	struct err err;
	char path[INSTANCE_PATH + 64];
	int at, r = take_options(argc, argv, &at);
	const char *word = at < argc ? argv[at] : "";
	bool verb = is_verb(word);

	if (r >= 0)
		return r;
	if (at >= argc || strcmp(word, "help") == 0) {
		usage(at >= argc ? stderr : stdout);
		return at >= argc ? EX_USAGE : EX_OK;
	}
	if (instance_find(&instance, NULL, &err) != 0) {
		fprintf(stderr, "mailwain: %s\n", err.text);
		return EX_USAGE;
	}
	if (strspn(word, "abcdefghijklmnopqrstuvwxyz") != strlen(word))
		return unknown_word(word);
	snprintf(path, sizeof(path), "%s/mailwain-%.32s", instance.bin, verb ? "control" : word);
	/* The verb of the suite stays an argument: mailwain-control VERB ... */
	if (verb)
		at--;
	argv[at] = path;
	execv(path, argv + at);
	if (errno == ENOENT && !verb)
		return unknown_word(word);
	fprintf(stderr, "mailwain: %s: %s\n", path, strerror(errno));
	return EX_OSFILE;
}
