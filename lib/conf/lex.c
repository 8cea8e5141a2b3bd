#include "conf/lex.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONF_SHOWN_MAX = 120 };

int conf_fail(const struct conf_lex *lex, const struct conf_token *t, struct err *err, const char *fmt, ...)
{
	struct span file = lex->file;
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Of a very long path the end; the message must not be what is cut off. */
	if (file.len > CONF_SHOWN_MAX)
		return err_set(err, E_SYNTAX, "...%.*s:%u:%u: %s", SPAN_ARG(span_from(file, file.len - CONF_SHOWN_MAX)), t->line, t->column, text);
	return err_set(err, E_SYNTAX, "%.*s:%u:%u: %s", SPAN_ARG(file), t->line, t->column, text);
}

/* strchr would find a NUL as well. */
static bool is_any_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static void advance(struct conf_lex *lex)
{
	lex->at++;
	lex->column++;
}

static void skip_comment(struct conf_lex *lex)
{
	struct span rest = span_from(lex->text, lex->at);
	size_t end = span_find(rest, '\n');

	if (lex->dumped && span_startswith(rest, SPAN_LIT("#@ ")))
		lex->origin = span_sub(rest, 3, end - 3);
	lex->at += end;
	lex->column += (unsigned)end;
}

static int take_quoted(struct conf_lex *lex, struct err *err)
{
	struct conf_token *t = &lex->token;
	char *out = pool_alloc(lex->pool, span_find(span_from(lex->text, lex->at), '\n') + 1);
	size_t len = 0;

	if (out == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (advance(lex); lex->at < lex->text.len && lex->text.ptr[lex->at] != '"'; advance(lex)) {
		if (lex->text.ptr[lex->at] == '\\' && lex->at + 1 < lex->text.len && lex->text.ptr[lex->at + 1] != '\n')
			advance(lex);
		if (lex->text.ptr[lex->at] == '\n')
			break;
		out[len++] = lex->text.ptr[lex->at];
	}
	if (lex->at >= lex->text.len || lex->text.ptr[lex->at] != '"')
		return conf_fail(lex, t, err, "the quote is not closed on this line");
	advance(lex);
	t->text = span_of(out, len);
	return 0;
}

static void take_word(struct conf_lex *lex)
{
	size_t start = lex->at;

	while (lex->at < lex->text.len && !is_any_of(lex->text.ptr[lex->at], " \t\r\n;{}"))
		advance(lex);
	lex->token.text = span_sub(lex->text, start, lex->at - start);
}

int conf_lex_next(struct conf_lex *lex, struct err *err)
{
	struct conf_token *t = &lex->token;
	char c;

	*t = (struct conf_token){.kind = TOKEN_END};
	for (;;) {
		while (lex->at < lex->text.len && is_any_of(lex->text.ptr[lex->at], " \t\r"))
			advance(lex);
		if (lex->at < lex->text.len && lex->text.ptr[lex->at] == '#')
			skip_comment(lex);
		else
			break;
	}
	t->line = lex->line;
	t->column = lex->column;
	if (lex->at >= lex->text.len)
		return 0;
	c = lex->text.ptr[lex->at];
	t->kind = c == '{' ? TOKEN_OPEN : c == '}' ? TOKEN_CLOSE : c == ';' ? TOKEN_SEMICOLON
		: c == '\n' ? TOKEN_LINE : TOKEN_WORD;
	if (t->kind == TOKEN_WORD) {
		if (c == '"')
			return take_quoted(lex, err);
		take_word(lex);
		return 0;
	}
	advance(lex);
	if (c == '\n') {
		lex->line++;
		lex->column = 1;
	}
	return 0;
}
