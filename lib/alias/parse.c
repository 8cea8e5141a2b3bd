/* Reads the language of aliases(5): characters to pieces, pieces to targets, targets to entries. */
#include "alias/alias.h"

#include <stdlib.h>

enum { END = -1 };

/* Where the reader is: in an entry or a list. */
struct reader {
	struct span text;
	size_t at, line_start;
	unsigned line;
	bool list; /* a line end stands for a comma */
	const char *path;
	struct pool *pool;
	struct buf word; /* of the target or name that is being read */
	struct err *err;
};

static int wrong_at(const struct reader *r, unsigned line, size_t column, const char *what)
{
	return err_set(r->err, E_SYNTAX, "%.100s:%u:%zu: %s", r->path, line, column, what);
}

static int wrong(const struct reader *r, const char *what)
{
	return wrong_at(r, r->line, r->at - r->line_start + 1, what);
}

static int no_memory(const struct reader *r)
{
	return err_set(r->err, E_NOMEM, "%.100s: out of memory", r->path);
}

/* ---- lines ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Behind the next line end, or at the text's end. */
static void next_line(struct reader *r)
{
	r->at += span_find(span_from(r->text, r->at), '\n');
	if (r->at == r->text.len)
		return;
	r->at++;
	r->line++;
	r->line_start = r->at;
}

/* Of blanks alone, or a comment: such lines are as if they were not there, also within an entry. */
static bool is_nothing(const struct reader *r)
{
	size_t i = r->at;

	while (i < r->text.len && is_blank(r->text.ptr[i]))
		i++;
	return i < r->text.len && (r->text.ptr[i] == '\n' || r->text.ptr[i] == '#');
}

/* At the next line that says something. The last one, of blanks alone, may have no line end. */
static void skip_nothing(struct reader *r)
{
	size_t i;

	while (is_nothing(r))
		next_line(r);
	for (i = r->at; i < r->text.len && is_blank(r->text.ptr[i]);)
		i++;
	if (i == r->text.len)
		r->at = i;
}

/* At a line end: does the entry go on behind it? Then the reader is at the blank that its next line begins with. */
static bool goes_on(struct reader *r)
{
	struct reader ahead = *r;

	next_line(&ahead);
	skip_nothing(&ahead);
	if (ahead.at == r->text.len || !is_blank(r->text.ptr[ahead.at]))
		return false;
	r->at = ahead.at;
	r->line = ahead.line;
	r->line_start = ahead.line_start;
	return true;
}

/* The character the reader is at; END behind the entry. */
static int peek(struct reader *r)
{
	char c;

	if (r->at == r->text.len)
		return END;
	c = r->text.ptr[r->at];
	if (c == '\n' && !r->list)
		return goes_on(r) ? ' ' : END;
	return is_blank(c) ? ' ' : (unsigned char)c;
}

static void skip_blanks(struct reader *r)
{
	while (peek(r) == ' ')
		r->at++;
}

/* ---- pieces of a target ---- */

static bool ends_target(int c)
{
	return c == END || c == ',' || c == '\n';
}

static int add(struct reader *r, int c)
{
	if (c < ' ' || c == 0x7f)
		return wrong(r, "a control character; take it out");
	if (buf_len(&r->word) == ALIAS_TARGET_MAX)
		return err_set(r->err, E_TOOBIG, "%.100s:%u:%zu: longer than %d bytes; make it shorter", r->path, r->line,
		    r->at - r->line_start + 1, ALIAS_TARGET_MAX);
	buf_add_char(&r->word, (char)c);
	return buf_failed(&r->word) ? no_memory(r) : 0;
}

/* At the opening quote; behind the closing one. A quoted text ends on its line. */
static int read_quoted(struct reader *r)
{
	size_t column = r->at - r->line_start + 1;
	int result = 0;

	for (r->at++; result == 0; r->at++) {
		char c = r->at < r->text.len ? r->text.ptr[r->at] : '\n';

		if (c == '\n')
			return wrong_at(r, r->line, column, "the quotes that begin here do not end on this line; add \"");
		if (c == '"')
			break;
		if (c == '\\' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != '\n')
			c = r->text.ptr[++r->at];
		result = add(r, c == '\t' ? ' ' : (unsigned char)c);
	}
	if (result == 0)
		r->at++;
	return result;
}

/* As in a header: nested, of no meaning. */
static int skip_comment(struct reader *r)
{
	size_t column = r->at - r->line_start + 1;
	unsigned line = r->line, depth = 0;

	do {
		int c = peek(r);

		if (c == END || c == '\n')
			return wrong_at(r, line, column, "the comment that begins here does not end; add )");
		if (c == '\\' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != '\n')
			r->at++;
		depth += c == '(';
		depth -= c == ')';
		r->at++;
	} while (depth > 0);
	return 0;
}

/* What stands in angle brackets is the address; the words before it were a name for people. */
static int read_angle(struct reader *r)
{
	int result = 0, c;

	buf_clear(&r->word);
	for (r->at++; result == 0 && (c = peek(r)) != '>';) {
		if (ends_target(c) || c == ' ' || c == '<')
			return wrong(r, "an address in angle brackets has no blanks in it and ends with >");
		result = c == '"' ? read_quoted(r) : add(r, c);
		if (c != '"')
			r->at++;
	}
	if (result != 0)
		return result;
	r->at++;
	skip_blanks(r);
	while (result == 0 && peek(r) == '(') {
		result = skip_comment(r);
		skip_blanks(r);
	}
	if (result == 0 && !ends_target(peek(r)))
		return wrong(r, "something follows the address in angle brackets; write a comma between two targets");
	return result;
}

/* A command without quotes around it goes to the next comma that stands in no quotes of its own. */
static int read_command(struct reader *r)
{
	bool quoted = false;
	int result = 0, c;

	while (result == 0 && (c = peek(r)) != END && c != '\n' && (quoted || c != ',')) {
		quoted ^= c == '"';
		result = add(r, c);
		r->at++;
	}
	if (result == 0 && quoted)
		return wrong(r, "a quote in the command does not end; add \"");
	return result;
}

struct piece {
	bool user;  /* began with a backslash */
	bool gap;   /* a blank came behind what was read */
	bool words; /* more than one: only a name before <address> */
	size_t words_column;
};

static int read_word(struct reader *r, struct piece *p, int c)
{
	if (p->gap && buf_len(&r->word) > 0 && !p->words) {
		p->words = true;
		p->words_column = r->at - r->line_start + 1;
	}
	p->gap = false;
	if (c == '"')
		return read_quoted(r);
	if (c == '\\' && buf_len(&r->word) == 0 && !p->user) {
		p->user = true;
		r->at++;
		return 0;
	}
	if (c == '\\' && r->at + 1 < r->text.len && r->text.ptr[r->at + 1] != '\n')
		c = (unsigned char)r->text.ptr[++r->at];
	if (c == '#' && buf_len(&r->word) == 0)
		return wrong(r, "a comment begins a line of its own; move it above");
	c = add(r, c);
	r->at++;
	return c;
}

static int read_pieces(struct reader *r, struct piece *p)
{
	int result = 0, c;
	unsigned line = r->line;

	while (result == 0 && !ends_target(c = peek(r))) {
		if (c == ' ') {
			p->gap = true;
			r->at++;
		} else if (c == '(') {
			result = skip_comment(r);
			p->gap = true;
		} else if (c == '<') {
			p->words = false;
			return read_angle(r);
		} else if (c == '|' && buf_len(&r->word) == 0 && (r->at + 1 == r->text.len || r->text.ptr[r->at + 1] != '"')) {
			return read_command(r);
		} else {
			result = read_word(r, p, c);
		}
		/* ":include: FILE" is written with a blank, too. */
		if (p->gap && span_caseeq(buf_span(&r->word), SPAN_LIT(":include:")))
			p->gap = false;
	}
	if (result == 0 && p->words)
		return line == r->line ? wrong_at(r, line, p->words_column, "two targets without a comma between them; add one")
				       : wrong(r, "two targets without a comma between them above; add one");
	return result;
}

/* ---- a target ---- */

static const struct span include = SPAN_LIT(":include:");

static int classify(struct reader *r, const struct piece *p, struct alias_target *t)
{
	struct span text = span_trim(buf_span(&r->word));

	t->kind = p->user ? ALIAS_USER : ALIAS_ADDRESS;
	if (text.len > 0 && text.ptr[0] == '|') {
		t->kind = ALIAS_PIPE;
		text = span_trim(span_from(text, 1));
		if (text.len == 0)
			return wrong(r, "a command is missing behind |");
	} else if (!p->user && text.len > 0 && text.ptr[0] == '/') {
		t->kind = ALIAS_FILE;
	} else if (!p->user && span_startscase(text, include)) {
		t->kind = ALIAS_INCLUDE;
		text = span_trim(span_from(text, include.len));
		if (text.len == 0 || text.ptr[0] != '/')
			return wrong(r, "behind :include: stands a path that begins with /");
	}
	if (p->user && (text.len == 0 || t->kind != ALIAS_USER || span_find(text, '@') < text.len))
		return wrong(r, "behind a backslash stands the name of a user, without a domain");
	t->text = pool_span(r->pool, text);
	return t->text.ptr != NULL ? 0 : no_memory(r);
}

/* *out: NULL when nothing stands there. */
static int read_target(struct reader *r, struct alias_target **out)
{
	struct piece p = {0};
	int result;

	*out = NULL;
	buf_clear(&r->word);
	skip_blanks(r);
	if (ends_target(peek(r)))
		return 0;
	if (r->list && peek(r) == '#' && is_nothing(&(struct reader){.text = r->text, .at = r->line_start})) {
		next_line(r);
		return 0;
	}
	*out = pool_new_object(r->pool, struct alias_target);
	if (*out == NULL)
		return no_memory(r);
	(*out)->line = r->line;
	result = read_pieces(r, &p);
	if (result == 0 && span_trim(buf_span(&r->word)).len == 0 && !p.user) {
		*out = NULL; /* a comment, or "" */
		return 0;
	}
	return result == 0 ? classify(r, &p, *out) : result;
}

/* Behind a comma, or a list's line end. */
static void next_target(struct reader *r, int c)
{
	if (c == '\n')
		next_line(r);
	else if (c == ',')
		r->at++;
}

static int read_targets(struct reader *r, struct alias *alias)
{
	struct alias_target **tail = &alias->targets;
	int result = 0, c = ',';

	while (result == 0 && c != END) {
		result = read_target(r, tail);
		if (result == 0 && *tail != NULL) {
			tail = &(*tail)->next;
			alias->count++;
		}
		if (result == 0 && alias->count > ALIAS_TARGETS_MAX)
			return err_set(r->err, E_TOOBIG, "%.100s:%u:1: more than %d targets; spread them over several names", r->path,
			    r->line, ALIAS_TARGETS_MAX);
		if (result == 0)
			next_target(r, c = peek(r));
	}
	return result;
}

int alias_list_parse(struct span text, const char *path, struct pool *pool, struct alias *out, struct err *err)
{
	struct reader r = {.text = text, .line = 1, .list = true, .path = path, .pool = pool, .err = err};
	int result;

	*out = (struct alias){.line = 1, .length = text.len};
	if (text.len > ALIAS_FILE_MAX)
		return err_set(err, E_TOOBIG, "%.100s: larger than %d bytes", path, ALIAS_FILE_MAX);
	buf_init(&r.word, ALIAS_TARGET_MAX + 1);
	result = read_targets(&r, out);
	buf_fini(&r.word);
	return result;
}

/* ---- an entry ---- */

static int read_name(struct reader *r)
{
	int result = 0, c;
	bool quoted = peek(r) == '"';

	if (quoted)
		result = read_quoted(r);
	while (result == 0 && !quoted && (c = peek(r)) != END && c != ':' && c != ' ') {
		if (c == '@' || c == ',' || c == '"')
			return wrong(r, c == '@' ? "a name has no domain: aliases hold for this machine's own; take @ and what follows away"
						 : "a name with such a character stands in quotes as a whole");
		result = add(r, c);
		r->at++;
	}
	if (result != 0)
		return result;
	skip_blanks(r);
	if (peek(r) != ':')
		return wrong(r, "a line is written name: target, target; the colon is missing");
	if (buf_len(&r->word) == 0)
		return wrong(r, "the name before the colon is missing");
	if (buf_len(&r->word) > ALIAS_NAME_MAX)
		return err_set(r->err, E_TOOBIG, "%.100s:%u:1: a name of more than %d bytes; make it shorter", r->path, r->line, ALIAS_NAME_MAX);
	r->at++;
	return 0;
}

static int keep_name(struct reader *r, struct alias *alias)
{
	struct span name = buf_span(&r->word);
	char *copy = pool_strndup(r->pool, name.ptr, name.len);

	if (copy == NULL)
		return no_memory(r);
	for (size_t i = 0; i < name.len; i++)
		copy[i] = ascii_lower(copy[i]);
	alias->name = span_of(copy, name.len);
	return 0;
}

static int read_entry(struct reader *r, struct alias *alias)
{
	size_t begin;
	int result;

	if (is_blank(r->text.ptr[r->at]))
		return wrong(r, "a line that begins with a blank goes on with an alias, and none stands before it; begin it with the name");
	alias->line = r->line;
	buf_clear(&r->word);
	result = read_name(r);
	if (result == 0)
		result = keep_name(r, alias);
	if (result != 0)
		return result;
	skip_blanks(r);
	begin = r->at;
	result = read_targets(r, alias);
	if (result == 0 && alias->count == 0)
		return err_set(r->err, E_SYNTAX, "%.100s:%u:1: %.*s has no target; write one, or take the line out", r->path, alias->line,
		    SPAN_ARG(alias->name));
	alias->length = span_trim(span_sub(r->text, begin, r->at - begin)).len;
	return result;
}

/* ---- the file ---- */

static int compare(struct span a, struct span b)
{
	int c = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* The same name twice: the one that comes first in the file first. */
static int by_name(const void *x, const void *y)
{
	const struct alias *a = *(struct alias *const *)x, *b = *(struct alias *const *)y;
	int c = compare(a->name, b->name);

	return c != 0 ? c : (a->line > b->line) - (a->line < b->line);
}

static int refuse_doubles(const struct reader *r, const struct alias_file *file)
{
	for (size_t i = 1; i < file->count; i++) {
		const struct alias *a = file->aliases[i - 1], *b = file->aliases[i];

		if (span_eq(a->name, b->name))
			return err_set(r->err, E_SYNTAX, "%.100s:%u:1: %.*s is an alias already, in line %u; make one of the two", r->path, b->line,
			    SPAN_ARG(a->name), a->line);
	}
	return 0;
}

/* At most as many entries as lines that say something in their first column. */
static size_t count_lines(struct span text)
{
	size_t count = 1;

	for (size_t i = 0; i + 1 < text.len; i++)
		count += text.ptr[i] == '\n' && !is_blank(text.ptr[i + 1]) && text.ptr[i + 1] != '\n' && text.ptr[i + 1] != '#';
	return count;
}

static int read_entries(struct reader *r, struct alias_file *out)
{
	int result = 0;

	for (skip_nothing(r); r->at < r->text.len && result == 0; skip_nothing(r)) {
		struct alias *alias = out->count < ALIAS_NAMES_MAX ? pool_new_object(r->pool, struct alias) : NULL;

		if (out->count == ALIAS_NAMES_MAX)
			return err_set(r->err, E_TOOBIG, "%.100s:%u:1: more than %d aliases", r->path, r->line, ALIAS_NAMES_MAX);
		if (alias == NULL)
			return no_memory(r);
		result = read_entry(r, alias);
		if (result != 0)
			return result;
		out->aliases[out->count++] = alias;
		out->total += alias->name.len + alias->length;
		out->longest = alias->length > out->longest ? alias->length : out->longest;
		next_line(r);
	}
	return result;
}

int alias_file_parse(struct span text, const char *path, struct pool *pool, struct alias_file *out, struct err *err)
{
	struct reader r = {.text = text, .line = 1, .path = path, .pool = pool, .err = err};
	size_t most;
	int result;

	*out = (struct alias_file){0};
	if (text.len > ALIAS_FILE_MAX)
		return err_set(err, E_TOOBIG, "%.100s: larger than %d bytes", path, ALIAS_FILE_MAX);
	most = count_lines(text);
	out->aliases = pool_array(pool, most > ALIAS_NAMES_MAX ? ALIAS_NAMES_MAX : most, sizeof(*out->aliases));
	if (out->aliases == NULL)
		return no_memory(&r);
	buf_init(&r.word, ALIAS_TARGET_MAX + 1);
	result = read_entries(&r, out);
	buf_fini(&r.word);
	qsort(out->aliases, out->count, sizeof(*out->aliases), by_name);
	return result == 0 ? refuse_doubles(&r, out) : result;
}

const struct alias *alias_find(const struct alias_file *file, struct span name)
{
	char lower[ALIAS_NAME_MAX];
	size_t low = 0, high = file->count;

	if (name.len == 0 || name.len > sizeof(lower))
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		lower[i] = ascii_lower(name.ptr[i]);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = compare(file->aliases[middle]->name, span_of(lower, name.len));

		if (c == 0)
			return file->aliases[middle];
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- written again ---- */

static void add_quoted(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.ptr[i]);
	}
	buf_add_char(out, '"');
}

static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!ascii_is_alnum(text.ptr[i]) && strchr("-_.+@/=!%&*~^$", text.ptr[i]) == NULL)
			return false;
	return text.len > 0;
}

void alias_name_format(struct span name, struct buf *out)
{
	if (is_plain(name) && span_find(name, '@') == name.len) {
		buf_add_span(out, name);
		return;
	}
	buf_add_char(out, '"');
	add_quoted(name, out);
}

void alias_target_format(const struct alias_target *target, struct buf *out)
{
	static const char *const marks[] = {[ALIAS_PIPE] = "|", [ALIAS_INCLUDE] = ":include:"};
	const char *mark = target->kind == ALIAS_PIPE || target->kind == ALIAS_INCLUDE ? marks[target->kind] : "";

	if (target->kind == ALIAS_USER)
		buf_add_char(out, '\\');
	if (target->kind == ALIAS_PIPE || !is_plain(target->text)) {
		buf_add_char(out, '"');
		buf_add_str(out, mark);
		add_quoted(target->text, out);
		return;
	}
	buf_add_str(out, mark);
	buf_add_span(out, target->text);
}
