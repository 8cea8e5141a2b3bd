/*
 * The language of aliases(5), as Postfix and sendmail read it, and of the lists that ":include:" names. Pure: text in,
 * tables out; who may write such a file, and who opens it, is decided elsewhere (master/alias_files.h).
 *
 *   file    = *( comment / blank / entry )
 *   entry   = name ":" target *( "," target )      a line that begins with a blank goes on with the one before
 *   name    = word / quoted                        no domain; upper and lower case are the same
 *   target  = [ "\" ] address / "|" command / "/" file / ":include:" file
 *
 * A target or a part of it may stand in double quotes; addresses may have (comments) and <angle brackets>. A "#" begins a
 * comment where it is the first on its line, nowhere else. A list has targets with "," or line ends between them.
 */
#ifndef MW_ALIAS_ALIAS_H
#define MW_ALIAS_ALIAS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/span.h"

enum {
	ALIAS_FILE_MAX = 16 * 1024 * 1024, /* bytes of a file */
	ALIAS_NAMES_MAX = 500000,	   /* in a file */
	ALIAS_NAME_MAX = 64,		   /* bytes; SMTP's local parts are no longer */
	ALIAS_TARGETS_MAX = 1000,	   /* of a name, or in a list */
	ALIAS_TARGET_MAX = 1024,	   /* bytes of one */
	ALIAS_INCLUDES_MAX = 100,	   /* files that all names together lead to */
};

enum alias_kind {
	ALIAS_ADDRESS, /* with a domain, or a name of this machine */
	ALIAS_USER,    /* "\name": that mailbox, whatever other aliases say */
	ALIAS_PIPE,    /* text: the command, without "|" */
	ALIAS_FILE,    /* text: the path */
	ALIAS_INCLUDE, /* text: the path */
};

struct alias_target {
	struct alias_target *next;
	enum alias_kind kind;
	struct span text; /* pooled, without NUL or line end in it */
	unsigned line;
};

struct alias {
	struct span name; /* pooled, ASCII in lower case; empty for a list */
	unsigned line;
	struct alias_target *targets; /* in the file's order */
	size_t count;
	size_t length; /* bytes of the targets as they were written */
};

struct alias_file {
	struct alias **aliases; /* by name */
	size_t count;
	size_t longest, total; /* as sendmail's newaliases counts: of targets; of names and targets */
};

/*
 * path: for the texts of errors, "path:line:column: what is wrong; what to do". E_SYNTAX (also: a name that stands twice),
 * E_TOOBIG (a limit above), E_NOMEM. All in pool.
 */
int alias_file_parse(struct span text, const char *path, struct pool *pool, struct alias_file *out, struct err *err);
int alias_list_parse(struct span text, const char *path, struct pool *pool, struct alias *out, struct err *err);

/* name: in whatever case. NULL when there is none. */
const struct alias *alias_find(const struct alias_file *file, struct span name);

/* As it would be written in a file; read again it is the same. */
void alias_target_format(const struct alias_target *target, struct buf *out);
void alias_name_format(struct span name, struct buf *out);

#endif
