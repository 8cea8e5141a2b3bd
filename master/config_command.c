/* mailwain-config: is the configuration right, and what does it come to? Reads the file itself; no daemon is asked. */
#include "conf/conf.h"
#include "control/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { SHOW_MAX = 4 * 1024 * 1024 };

static const char usage_text[] = "usage: mailwain [--root DIR] config VERB\n"
				 "  check\n      Reads the configuration and names the first error with its place.\n"
				 "  show\n      Prints every setting that was given, includes taken in, with the place it comes from.\n";

static int show(const struct conf *conf)
{
	struct buf text;
	int r = EX_OK;

	buf_init(&text, SHOW_MAX);
	conf_dump(conf, &text);
	if (buf_failed(&text) || fwrite(buf_span(&text).ptr, 1, buf_len(&text), stdout) != buf_len(&text))
		r = EX_IOERR;
	buf_fini(&text);
	return r;
}

static int run(const char *root, const char *verb)
{
	struct instance instance;
	struct conf *conf = NULL;
	struct err err = {0};
	int r = instance_find(&instance, root, &err);

	if (r == 0)
		r = conf_load(instance.conf, &conf, &err);
	if (r != 0) {
		fprintf(stderr, "mailwain: %s\n", err.text);
		conf_free(&conf);
		return EX_CONFIG;
	}
	if (strcmp(verb, "check") == 0)
		printf("%s is right\n", instance.conf);
	else
		r = show(conf);
	conf_free(&conf);
	return r;
}

int main(int argc, char **argv)
{
	const char *root = getenv("MAILWAIN_ROOT"), *verb = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			fputs(usage_text, stdout);
			return EX_OK;
		}
		if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			root = argv[++i];
		else if (verb == NULL && (strcmp(argv[i], "check") == 0 || strcmp(argv[i], "show") == 0))
			verb = argv[i];
		else
			verb = "";
	}
	if (verb == NULL || verb[0] == '\0') {
		fputs(usage_text, stderr);
		return EX_USAGE;
	}
	return run(root, verb);
}
