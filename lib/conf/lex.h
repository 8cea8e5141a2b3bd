/*
 * The words of the configuration. They end at blanks, ";", "{", "}" and the line's
 * end; "quoted words" may hold anything but a line's end, "\" takes the next character
 * as it is. Comments go from "#" to the line's end.
 */
#ifndef MW_CONF_LEX_H
#define MW_CONF_LEX_H

#include "base/err.h"
#include "base/pool.h"

enum conf_token_kind { TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LINE, TOKEN_SEMICOLON, TOKEN_END };

struct conf_token {
	enum conf_token_kind kind;
	struct span text; /* a word's; borrows the file's text or the pool */
	unsigned line, column;
};

struct conf_lex {
	struct pool *pool; /* for quoted words */
	struct span text;
	size_t at;
	unsigned line, column;
	struct span file;	 /* its name, for errors */
	bool dumped;		 /* conf_dump wrote it: its "#@" comments tell where the next setting came from */
	struct span origin;	 /* from such a comment */
	struct conf_token token; /* the current one */
};

/* On to the next token. 0, E_SYNTAX, E_NOMEM. */
int conf_lex_next(struct conf_lex *lex, struct err *err);

/* E_SYNTAX, "file:line:column: ..." of the token. */
int conf_fail(const struct conf_lex *lex, const struct conf_token *token, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
