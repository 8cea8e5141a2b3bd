/* The configuration from files, with its includes. Not in the daemons: they are handed the flat text. */
#include "conf/private.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int include(struct conf *conf, const struct conf_source *from, struct span what, struct err *err);

static int load(struct conf *conf, const char *path, unsigned depth, struct err *err)
{
	struct conf_source source = {.depth = depth, .include = include};
	struct buf text;
	char copy[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return err_set(err, E_IO, "%s: %s", path, strerror(errno));
	buf_init(&text, CONF_FILE_MAX + CONF_READ);
	r = conf_read(fd, path, &text, err);
	close(fd);
	snprintf(copy, sizeof(copy), "%s", path);
	source.text = buf_span(&text);
	source.name = span_str(path);
	source.directory = span_str(dirname(copy));
	if (r == 0)
		r = conf_parse_source(conf, &source, err);
	buf_fini(&text);
	return r;
}

/* E_NOTFOUND: the statement is to blame; else the files that it names. */
static int include(struct conf *conf, const struct conf_source *from, struct span what, struct err *err)
{
	char pattern[4096];
	glob_t found = {0};
	int r = 0;

	if (from->depth + 1 >= CONF_DEPTH_MAX)
		return err_set(err, E_NOTFOUND, "includes go deeper than %d files", CONF_DEPTH_MAX);
	if (span_startswith(what, SPAN_LIT("/")))
		span_copy(what, pattern, sizeof(pattern));
	else
		snprintf(pattern, sizeof(pattern), "%.*s/%.*s", SPAN_ARG(from->directory), SPAN_ARG(what));
	switch (glob(pattern, 0, NULL, &found)) {
	case 0:
		for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
			r = load(conf, found.gl_pathv[i], from->depth + 1, err);
		break;
	case GLOB_NOMATCH:
		if (strpbrk(pattern, "*?[") == NULL)
			r = err_set(err, E_NOTFOUND, "%s does not exist", pattern);
		break;
	default:
		r = err_set(err, E_NOTFOUND, "%s cannot be read", pattern);
	}
	globfree(&found);
	return r;
}

int conf_load(const char *path, struct conf **out, struct err *err)
{
	struct conf *conf = conf_new(err);

	*out = NULL;
	return conf ? conf_finish(conf, load(conf, path, 0, err), out, err) : E_NOMEM;
}
