/*
 * The language:
 *   file      = *(statement / block / comment)
 *   statement = name 1*value (newline / ";" / two blanks within a one-line block)
 *   block     = ("domain" name / "listen" service "on" address) "{" *statement "}"
 * Words end at blanks, ";", "{", "}"; "quoted words" may hold anything but a line end.
 */
#include "conf/private.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONF_WORDS_MAX = 64, CONF_NEAR_MAX = 64 };

enum token_kind { TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LINE, TOKEN_SEMICOLON, TOKEN_END };

struct token {
	enum token_kind kind;
	struct span text;
	unsigned line, column;
	unsigned blanks; /* before it */
};

struct parser {
	struct conf *conf;
	struct span text;
	size_t at;
	unsigned line, column;
	unsigned depth;
	struct span file;      /* for errors */
	struct span directory; /* for includes and paths; empty: neither is resolved */
	struct span origin;    /* from a "#@" comment: of the next setting */
	struct token token;    /* the current one */
};

static int fail(const struct parser *p, const struct token *t, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(const struct parser *p, const struct token *t, struct err *err, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, E_SYNTAX, "%.*s:%u:%u: %s", SPAN_ARG(p->file), t->line, t->column, text);
}

/* ---- words ---- */

static void advance(struct parser *p)
{
	p->at++;
	p->column++;
}

static void skip_comment(struct parser *p)
{
	struct span rest = span_from(p->text, p->at);
	size_t end = span_find(rest, '\n');

	if (span_startswith(rest, SPAN_LIT("#@ ")))
		p->origin = span_sub(rest, 3, end - 3);
	p->at += end;
	p->column += (unsigned)end;
}

static int take_quoted(struct parser *p, struct err *err)
{
	struct token *t = &p->token;
	char *out = pool_alloc(p->conf->pool, span_find(span_from(p->text, p->at), '\n') + 1);
	size_t len = 0;

	if (out == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (advance(p); p->at < p->text.len && p->text.ptr[p->at] != '"'; advance(p)) {
		if (p->text.ptr[p->at] == '\\' && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != '\n')
			advance(p);
		if (p->text.ptr[p->at] == '\n')
			break;
		out[len++] = p->text.ptr[p->at];
	}
	if (p->at >= p->text.len || p->text.ptr[p->at] != '"')
		return fail(p, t, err, "the quote is not closed on this line");
	advance(p);
	t->text = span_of(out, len);
	return 0;
}

static void take_word(struct parser *p)
{
	size_t start = p->at;

	while (p->at < p->text.len && strchr(" \t\r\n;{}", p->text.ptr[p->at]) == NULL)
		advance(p);
	p->token.text = span_sub(p->text, start, p->at - start);
}

static int next(struct parser *p, struct err *err)
{
	struct token *t = &p->token;
	char c;

	*t = (struct token){.kind = TOKEN_END};
	for (;;) {
		while (p->at < p->text.len && strchr(" \t\r", p->text.ptr[p->at]) != NULL) {
			t->blanks += p->text.ptr[p->at] == '\t' ? 2 : 1;
			advance(p);
		}
		if (p->at < p->text.len && p->text.ptr[p->at] == '#')
			skip_comment(p);
		else
			break;
	}
	t->line = p->line;
	t->column = p->column;
	if (p->at >= p->text.len)
		return 0;
	c = p->text.ptr[p->at];
	t->kind = c == '{' ? TOKEN_OPEN : c == '}' ? TOKEN_CLOSE : c == ';' ? TOKEN_SEMICOLON
		: c == '\n' ? TOKEN_LINE : TOKEN_WORD;
	if (t->kind == TOKEN_WORD) {
		if (c == '"')
			return take_quoted(p, err);
		take_word(p);
		return 0;
	}
	advance(p);
	if (c == '\n') {
		p->line++;
		p->column = 1;
	}
	return 0;
}

static bool ends_statement(enum token_kind kind)
{
	return kind != TOKEN_WORD;
}

/* ---- the nearest valid name ---- */

static size_t edit_distance(struct span a, struct span b)
{
	size_t row[CONF_NEAR_MAX + 1];

	if (a.len > CONF_NEAR_MAX || b.len > CONF_NEAR_MAX)
		return CONF_NEAR_MAX;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t change = corner + (a.ptr[i - 1] != b.ptr[j - 1]);
			size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

			corner = row[j];
			row[j] = change < best ? change : best;
		}
	}
	return row[b.len];
}

static const char *nearest(struct span name)
{
	const char *best = NULL;
	size_t least = 4; /* further away is no help */

	for (size_t i = 0; i < CONF_COUNT; i++) {
		const char *candidate = conf_setting_info((enum conf_setting)i)->name;
		size_t d = edit_distance(name, span_str(candidate));

		if (d < least) {
			least = d;
			best = candidate;
		}
	}
	return best;
}

static bool find_setting(struct span name, enum conf_setting *out)
{
	for (size_t i = 0; i < CONF_COUNT; i++)
		if (span_eq(name, span_str(conf_setting_info((enum conf_setting)i)->name))) {
			*out = (enum conf_setting)i;
			return true;
		}
	return false;
}

/* ---- settings ---- */

/* One line of text, whatever the file is called: conf_dump hands it on in a comment. */
static struct span make_origin(struct parser *p, unsigned line)
{
	char text[512], *copy;
	struct span origin = p->origin;

	p->origin = span_str("");
	if (origin.len == 0) {
		snprintf(text, sizeof(text), "%.*s:%u", SPAN_ARG(p->file), line);
		origin = span_str(text);
	}
	copy = pool_strndup(p->conf->pool, origin.ptr, origin.len);
	for (size_t i = 0; copy != NULL && i < origin.len; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = '?';
	return span_of(copy, copy ? origin.len : 0);
}

static int set_value(struct parser *p, struct conf_scope_values *scope, enum conf_setting setting,
    struct span text, const struct token *name, struct err *err)
{
	struct conf_value *value = &scope->values[setting];
	struct err why = {0};
	int r;

	if (value->set)
		return fail(p, name, err, "%s is set twice; first at %.*s", conf_setting_info(setting)->name,
		    SPAN_ARG(value->origin));
	if (!utf8_is_valid(text) || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL))
		return fail(p, name, err, "%s: the value is not UTF-8 text", conf_setting_info(setting)->name);
	r = conf_value_parse(p->conf->pool, setting, text, p->directory, value, &why);
	if (r != 0)
		return fail(p, name, err, "%s: %s", conf_setting_info(setting)->name, why.text);
	value->text = pool_span(p->conf->pool, value->text);
	value->origin = make_origin(p, name->line);
	if (value->text.ptr == NULL || value->origin.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	value->set = true;
	return 0;
}

static int check_scope(struct parser *p, enum conf_setting setting, unsigned scope, const struct token *name,
    struct err *err)
{
	unsigned allowed = conf_setting_info(setting)->scopes;

	if (allowed & scope)
		return 0;
	return fail(p, name, err, "%s does not belong here but %s", conf_setting_info(setting)->name,
	    allowed & CONF_SCOPE_GLOBAL ? "at the top level"
	    : allowed & CONF_SCOPE_DOMAIN ? "in a domain block" : "in a listen block");
}

/* Words up to the statement's end. one_line: the block's brace stands on this line, two blanks end it too. */
static int take_words(struct parser *p, unsigned open_line, struct token *words, size_t *count, struct err *err)
{
	*count = 0;
	while (!ends_statement(p->token.kind)) {
		int r;

		if (*count > 1 && open_line == p->token.line && p->token.blanks >= 2)
			return 0;
		if (*count == CONF_WORDS_MAX)
			return fail(p, &p->token, err, "more than %d words in one statement", CONF_WORDS_MAX);
		words[(*count)++] = p->token;
		r = next(p, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int join_words(struct parser *p, const struct token *words, size_t count, struct span *out, struct err *err)
{
	struct buf text;

	buf_init(&text, CONF_FILE_MAX);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_add_char(&text, ' ');
		buf_add_span(&text, words[i].text);
	}
	*out = pool_span(p->conf->pool, buf_span(&text));
	buf_fini(&text);
	return out->ptr ? 0 : err_set(err, E_NOMEM, "out of memory");
}

/* `tls certificate PATH key PATH`: the two settings in one breath. */
static int take_tls(struct parser *p, const struct token *words, size_t count, struct err *err)
{
	int r;

	if (count != 5 || !span_eq(words[1].text, SPAN_LIT("certificate")) || !span_eq(words[3].text, SPAN_LIT("key")))
		return fail(p, &words[0], err, "write: tls certificate FILE key FILE");
	r = set_value(p, p->conf->global, CONF_tls_certificate, words[2].text, &words[0], err);
	return r == 0 ? set_value(p, p->conf->global, CONF_tls_key, words[4].text, &words[0], err) : r;
}

static int take_setting(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit,
    const struct token *words, size_t count, struct err *err)
{
	enum conf_setting setting;
	struct span text;
	int r;

	if (!find_setting(words[0].text, &setting)) {
		const char *near = nearest(words[0].text);

		return fail(p, &words[0], err, "unknown setting '%.*s'%s%s%s", SPAN_ARG(span_sub(words[0].text, 0, 60)),
		    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	r = check_scope(p, setting, scope_bit, &words[0], err);
	if (r != 0)
		return r;
	if (count < 2)
		return fail(p, &words[0], err, "%s needs a value", conf_setting_info(setting)->name);
	if (count > 2 && conf_setting_info(setting)->type != CONF_TYPE_NETWORKS)
		return fail(p, &words[2], err, "%s takes one value; quote it if it has blanks", conf_setting_info(setting)->name);
	r = join_words(p, words + 1, count - 1, &text, err);
	return r == 0 ? set_value(p, scope, setting, text, &words[0], err) : r;
}

/* ---- blocks ---- */

static const char *const services[] = {"smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "lmtp"};

static int parse_listener(struct parser *p, const struct token *words, size_t count, struct conf_listener *out,
    struct err *err)
{
	struct span address, host;
	size_t colon;
	uint64_t port;
	bool known = false;

	if (count != 4 || !span_eq(words[2].text, SPAN_LIT("on")))
		return fail(p, &words[0], err, "write: listen SERVICE on ADDRESS:PORT { }");
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		known |= span_eq(words[1].text, span_str(services[i]));
	if (!known)
		return fail(p, &words[1], err, "unknown service '%.*s'; there are smtp, submission, submissions, imap, imaps, pop3, pop3s, lmtp",
		    SPAN_ARG(span_sub(words[1].text, 0, 40)));
	address = words[3].text;
	for (colon = address.len; colon > 0 && address.ptr[colon - 1] != ':'; colon--)
		;
	if (colon == 0 || !span_u64(span_from(address, colon), 65535, &port) || port == 0)
		return fail(p, &words[3], err, "the address needs a port: 0.0.0.0:25 or [::]:25");
	host = span_sub(address, 0, colon - 1);
	if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = span_sub(host, 1, host.len - 2);
	unsigned char binary[16];
	if (!conf_address_parse(host, binary))
		return fail(p, &words[3], err, "'%.*s' is not an IP address", SPAN_ARG(span_sub(host, 0, 60)));
	*out = (struct conf_listener){.service = pool_span(p->conf->pool, words[1].text),
	    .address = pool_span(p->conf->pool, address),
	    .host = pool_span(p->conf->pool, host),
	    .port = (uint16_t)port};
	return 0;
}

static int check_new_block(struct parser *p, const struct conf_block *list, const struct conf_block *block,
    const struct token *t, struct err *err)
{
	for (; list != NULL; list = list->next)
		if (block->domain.name.len > 0 ? span_eq(list->domain.name, block->domain.name)
					       : span_eq(list->listener.address, block->listener.address))
			return fail(p, t, err, "there is a block for this already, at %.*s", SPAN_ARG(list->scope->origin));
	return 0;
}

static int parse_domain(struct parser *p, const struct token *words, size_t count, struct conf_domain *out,
    struct err *err)
{
	char *name;

	if (count != 2 || words[1].text.len == 0 || words[1].text.len > 253)
		return fail(p, &words[0], err, "write: domain NAME { }");
	name = pool_strndup(p->conf->pool, words[1].text.ptr, words[1].text.len);
	if (name == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < words[1].text.len; i++) {
		name[i] = ascii_lower(name[i]);
		if (!ascii_is_alnum(name[i]) && name[i] != '-' && name[i] != '.' && (unsigned char)name[i] < 0x80)
			return fail(p, &words[1], err, "'%.*s' is not a domain name", SPAN_ARG(words[1].text));
	}
	out->name = span_of(name, words[1].text.len);
	return 0;
}

static int take_statement(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit, unsigned open_line,
    struct err *err);

static int take_block_body(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit,
    const struct token *opener, struct err *err)
{
	unsigned open_line = p->token.line;
	int r = next(p, err);

	while (r == 0 && p->token.kind != TOKEN_CLOSE) {
		if (p->token.kind == TOKEN_END)
			return fail(p, opener, err, "the block that begins here is not closed with }");
		if (p->token.kind == TOKEN_OPEN)
			return fail(p, &p->token, err, "a block inside a block");
		if (p->token.kind == TOKEN_WORD)
			r = take_statement(p, scope, scope_bit, open_line, err);
		else
			r = next(p, err);
	}
	return r == 0 ? next(p, err) : r;
}

static int take_block(struct parser *p, const struct token *words, size_t count, struct err *err)
{
	struct conf *conf = p->conf;
	struct conf_block *block = pool_new_object(conf->pool, struct conf_block);
	bool domain = span_eq(words[0].text, SPAN_LIT("domain"));
	int r;

	if (block != NULL)
		block->scope = pool_new_object(conf->pool, struct conf_scope_values);
	if (block == NULL || block->scope == NULL || conf->domain_count + conf->listener_count == CONF_BLOCKS_MAX)
		return err_set(err, E_NOMEM, "more than %d blocks, or out of memory", CONF_BLOCKS_MAX);
	if (domain)
		r = parse_domain(p, words, count, &block->domain, err);
	else
		r = parse_listener(p, words, count, &block->listener, err);
	if (r == 0)
		r = check_new_block(p, domain ? conf->domains : conf->listeners, block, &words[0], err);
	if (r != 0)
		return r;
	block->scope->origin = make_origin(p, words[0].line);
	if (domain) {
		*conf->domain_tail = block;
		conf->domain_tail = &block->next;
		conf->domain_count++;
	} else {
		*conf->listener_tail = block;
		conf->listener_tail = &block->next;
		conf->listener_count++;
	}
	return take_block_body(p, block->scope, domain ? CONF_SCOPE_DOMAIN : CONF_SCOPE_LISTENER, &words[0], err);
}

static int parse_file(struct conf *conf, const char *path, unsigned depth, struct err *err);

static int take_include(struct parser *p, const struct token *words, size_t count, struct err *err)
{
	char pattern[4096];
	glob_t found = {0};
	int r = 0;

	if (count != 2 || p->directory.len == 0)
		return fail(p, &words[0], err, "write: include \"conf.d/*.conf\"");
	if (p->depth + 1 >= CONF_DEPTH_MAX)
		return fail(p, &words[0], err, "includes go deeper than %d files", CONF_DEPTH_MAX);
	if (words[1].text.len > 0 && words[1].text.ptr[0] == '/')
		snprintf(pattern, sizeof(pattern), "%.*s", SPAN_ARG(words[1].text));
	else
		snprintf(pattern, sizeof(pattern), "%.*s/%.*s", SPAN_ARG(p->directory), SPAN_ARG(words[1].text));
	switch (glob(pattern, 0, NULL, &found)) {
	case 0:
		for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
			r = parse_file(p->conf, found.gl_pathv[i], p->depth + 1, err);
		break;
	case GLOB_NOMATCH:
		if (strpbrk(pattern, "*?[") == NULL)
			r = fail(p, &words[1], err, "%s does not exist", pattern);
		break;
	default:
		r = fail(p, &words[1], err, "%s cannot be read", pattern);
	}
	globfree(&found);
	return r;
}

static int take_version(struct parser *p, const struct token *words, size_t count, struct err *err)
{
	if (count != 2 || !span_eq(words[1].text, SPAN_LIT("1")))
		return fail(p, &words[0], err, "this is Mailwain 0.x: it reads config-version 1");
	p->conf->version_seen = true;
	return 0;
}

static int take_statement(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit, unsigned open_line,
    struct err *err)
{
	struct token words[CONF_WORDS_MAX];
	struct span name;
	size_t count;
	int r = take_words(p, open_line, words, &count, err);

	if (r != 0)
		return r;
	name = words[0].text;
	if (p->token.kind == TOKEN_OPEN) {
		if (scope_bit == CONF_SCOPE_GLOBAL && (span_eq(name, SPAN_LIT("domain")) || span_eq(name, SPAN_LIT("listen"))))
			return take_block(p, words, count, err);
		return fail(p, &p->token, err, "only domain and listen have a block");
	}
	if (scope_bit == CONF_SCOPE_GLOBAL) {
		if (span_eq(name, SPAN_LIT("config-version")))
			return take_version(p, words, count, err);
		if (!p->conf->version_seen)
			return fail(p, &words[0], err, "the first line must be: config-version 1");
		if (span_eq(name, SPAN_LIT("include")))
			return take_include(p, words, count, err);
		if (span_eq(name, SPAN_LIT("tls")))
			return take_tls(p, words, count, err);
		if (span_eq(name, SPAN_LIT("domain")) || span_eq(name, SPAN_LIT("listen")))
			return fail(p, &words[0], err, "%.*s needs a block: { }", SPAN_ARG(name));
	}
	return take_setting(p, scope, scope_bit, words, count, err);
}

static int parse_text(struct parser *p, struct err *err)
{
	int r = next(p, err);

	while (r == 0 && p->token.kind != TOKEN_END) {
		if (p->token.kind == TOKEN_WORD)
			r = take_statement(p, p->conf->global, CONF_SCOPE_GLOBAL, 0, err);
		else if (p->token.kind == TOKEN_LINE || p->token.kind == TOKEN_SEMICOLON)
			r = next(p, err);
		else
			r = fail(p, &p->token, err, "a brace without domain or listen");
	}
	return r;
}

/* By position: what master hands out is one open file for all daemons, and so would be its offset. */
static int read_all(int fd, const char *path, struct buf *out, struct err *err)
{
	for (;;) {
		char *room = buf_reserve(out, 16384);
		ssize_t n;

		if (room == NULL)
			return err_set(err, E_TOOBIG, "%s: larger than %d bytes", path, CONF_FILE_MAX);
		n = pread(fd, room, 16384, (off_t)buf_len(out));
		if (n < 0)
			return err_set_errno(err, errno, "%s", path);
		if (n == 0)
			return 0;
		buf_added(out, (size_t)n);
	}
}

static int parse_file(struct conf *conf, const char *path, unsigned depth, struct err *err)
{
	struct parser p = {.conf = conf, .line = 1, .column = 1, .depth = depth};
	struct buf text;
	char copy[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return err_set_errno(err, errno, "%s", path);
	buf_init(&text, CONF_FILE_MAX + 16384);
	r = read_all(fd, path, &text, err);
	close(fd);
	snprintf(copy, sizeof(copy), "%s", path);
	p.file = pool_span(conf->pool, span_str(path));
	p.directory = pool_span(conf->pool, span_str(dirname(copy)));
	p.text = buf_span(&text);
	if (r == 0)
		r = parse_text(&p, err);
	buf_fini(&text);
	return r;
}

static int finish(struct conf *conf, int r, struct conf **out, struct err *err)
{
	if (r == 0)
		r = conf_index(conf, err);
	if (r != 0)
		conf_free(&conf);
	*out = conf;
	return r;
}

int conf_load(const char *path, struct conf **out, struct err *err)
{
	struct conf *conf = conf_new(err);

	*out = NULL;
	if (conf == NULL)
		return E_NOMEM;
	return finish(conf, parse_file(conf, path, 0, err), out, err);
}

int conf_parse(struct span text, const char *name, struct conf **out, struct err *err)
{
	struct conf *conf = conf_new(err);
	struct parser p = {.conf = conf, .text = text, .line = 1, .column = 1, .file = span_str(name)};

	*out = NULL;
	if (conf == NULL)
		return E_NOMEM;
	return finish(conf, parse_text(&p, err), out, err);
}

int conf_load_fd(int fd, struct conf **out, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, 8 * CONF_FILE_MAX);
	r = read_all(fd, "configuration", &text, err);
	if (r == 0)
		r = conf_parse(buf_span(&text), "configuration", out, err);
	buf_fini(&text);
	return r;
}
