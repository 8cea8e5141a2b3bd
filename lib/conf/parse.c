/*
 * The language:
 *   file      = *(statement / block / comment)
 *   statement = name 1*value (newline / ";"); within a one-line block also where another name stands
 *   block     = ("domain" name / "transport" pattern / "listen" service "on" address) "{" *statement "}"
 */
#include "conf/lex.h"
#include "conf/private.h"

#include "base/near.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONF_WORDS_MAX = 64 };

struct parser {
	struct conf *conf;
	const struct conf_source *source;
	struct conf_lex lex;
};

static bool ends_statement(enum conf_token_kind kind)
{
	return kind != TOKEN_WORD;
}

/* ---- settings ---- */

/* One line of text, whatever the file is called: conf_dump hands it on in a comment. */
static struct span make_origin(struct parser *p, unsigned line)
{
	char text[512], *copy;
	struct span origin = p->lex.origin;

	p->lex.origin = span_str("");
	if (origin.len == 0) {
		snprintf(text, sizeof(text), "%.*s:%u", SPAN_ARG(p->lex.file), line);
		origin = span_str(text);
	}
	copy = pool_strndup(p->conf->pool, origin.ptr, origin.len);
	for (size_t i = 0; copy != NULL && i < origin.len; i++)
		if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
			copy[i] = '?';
	return span_of(copy, copy ? origin.len : 0);
}

static int set_value(struct parser *p, struct conf_scope_values *scope, enum conf_setting setting,
    struct span text, const struct conf_token *name, struct err *err)
{
	struct conf_value *value = &scope->values[setting];
	struct err why = {0};
	int r;

	if (value->set)
		return conf_fail(&p->lex, name, err, "%s is set twice; first at %.*s", conf_setting_info(setting)->name,
		    SPAN_ARG(value->origin));
	if (!utf8_is_valid(text) || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL))
		return conf_fail(&p->lex, name, err, "%s: the value is not UTF-8 text", conf_setting_info(setting)->name);
	r = conf_value_parse(p->conf->pool, setting, text, p->source->directory, value, &why);
	if (r != 0)
		return conf_fail(&p->lex, name, err, "%s: %s", conf_setting_info(setting)->name, why.text);
	value->text = pool_span(p->conf->pool, value->text);
	value->origin = make_origin(p, name->line);
	value->column = name->column;
	if (value->text.ptr == NULL || value->origin.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	value->set = true;
	return 0;
}

static int check_scope(struct parser *p, enum conf_setting setting, unsigned scope, const struct conf_token *name,
    struct err *err)
{
	unsigned allowed = conf_setting_info(setting)->scopes;
	char places[CONF_PLACES];

	if (allowed & scope)
		return 0;
	conf_places(allowed, places);
	return conf_fail(&p->lex, name, err, "%s does not belong here but %s", conf_setting_info(setting)->name, places);
}

/*
 * In a block on one line: whether the current word is the next statement's name. Most settings take one value; a list goes on up to
 * the name of a setting. How many blanks stand between has no part in it.
 */
static bool begins_another(const struct parser *p, const struct conf_token *words, size_t count)
{
	enum conf_setting setting, next;

	if (count == 5 && span_eq(words[0].text, SPAN_LIT("tls")))
		return true;
	if (count < 2 || !conf_setting_find(words[0].text, &setting, NULL))
		return false;
	return !conf_type_is_list(conf_setting_info(setting)->type) || conf_setting_find(p->lex.token.text, &next, NULL);
}

/* Words up to the statement's end. open_line: of the brace of the block that it stands in. */
static int take_words(struct parser *p, unsigned open_line, struct conf_token *words, size_t *count, struct err *err)
{
	*count = 0;
	while (!ends_statement(p->lex.token.kind)) {
		int r;

		if (open_line == p->lex.token.line && begins_another(p, words, *count))
			return 0;
		if (*count == CONF_WORDS_MAX)
			return conf_fail(&p->lex, &p->lex.token, err, "more than %d words in one statement", CONF_WORDS_MAX);
		words[(*count)++] = p->lex.token;
		r = conf_lex_next(&p->lex, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int join_words(struct parser *p, const struct conf_token *words, size_t count, struct span *out, struct err *err)
{
	struct buf text;

	buf_init(&text, CONF_FILE_MAX);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_add_char(&text, ' ');
		buf_add_span(&text, words[i].text);
	}
	/* A value that there was no memory for is not an empty one. */
	*out = buf_failed(&text) ? (struct span){0} : pool_span(p->conf->pool, buf_span(&text));
	buf_fini(&text);
	return out->ptr ? 0 : err_set(err, E_NOMEM, "out of memory");
}

/* `tls certificate PATH key PATH`: the two settings in one breath. */
static int take_tls(struct parser *p, struct conf_scope_values *scope, const struct conf_token *words, size_t count, struct err *err)
{
	int r;

	if (count != 5 || !span_eq(words[1].text, SPAN_LIT("certificate")) || !span_eq(words[3].text, SPAN_LIT("key")))
		return conf_fail(&p->lex, &words[0], err, "write: tls certificate FILE key FILE");
	r = set_value(p, scope, CONF_tls_certificate, words[2].text, &words[0], err);
	return r == 0 ? set_value(p, scope, CONF_tls_key, words[4].text, &words[0], err) : r;
}

static int take_setting(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit,
    const struct conf_token *words, size_t count, struct err *err)
{
	enum conf_setting setting;
	struct span text;
	const char *near;
	int r;

	if (!conf_setting_find(words[0].text, &setting, &near))
		return conf_fail(&p->lex, &words[0], err, "unknown setting '%.*s'%s%s%s", SPAN_ARG(span_sub(words[0].text, 0, 60)),
		    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	r = check_scope(p, setting, scope_bit, &words[0], err);
	if (r != 0)
		return r;
	if (count < 2)
		return conf_fail(&p->lex, &words[0], err, "%s needs a value", conf_setting_info(setting)->name);
	if (count > 2 && !conf_type_is_list(conf_setting_info(setting)->type))
		return conf_fail(&p->lex, &words[2], err, "%s takes one value; quote it if it has blanks", conf_setting_info(setting)->name);
	r = join_words(p, words + 1, count - 1, &text, err);
	return r == 0 ? set_value(p, scope, setting, text, &words[0], err) : r;
}

/* ---- blocks ---- */

static const char *const services[] = {"smtp", "submission", "submissions", "imap", "imaps", "lmtp"};

static int parse_listener(struct parser *p, const struct conf_token *words, size_t count, struct conf_block *block, struct err *err)
{
	struct conf_listener *out = &block->listener;
	struct span address, host;
	unsigned char binary[16];
	bool known = false;

	if (count != 4 || !span_eq(words[2].text, SPAN_LIT("on")))
		return conf_fail(&p->lex, &words[0], err, "write: listen SERVICE on ADDRESS:PORT { }");
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		known |= span_eq(words[1].text, span_str(services[i]));
	if (!known)
		return conf_fail(&p->lex, &words[1], err, "unknown service '%.*s'; there are smtp, submission, submissions, imap, imaps and lmtp",
		    SPAN_ARG(span_sub(words[1].text, 0, 40)));
	address = words[3].text;
	if (!conf_parse_host(address, &host, &out->port))
		return conf_fail(&p->lex, &words[3], err, "the address needs a port: 0.0.0.0:25 or [::]:25");
	if (!conf_address_parse(host, binary))
		return conf_fail(&p->lex, &words[3], err, "'%.*s' is not an IP address", SPAN_ARG(span_sub(host, 0, 60)));
	out->service = pool_span(p->conf->pool, words[1].text);
	out->address = pool_span(p->conf->pool, address);
	out->host = pool_span(p->conf->pool, host);
	if (out->service.ptr == NULL || out->address.ptr == NULL || out->host.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	block->name = out->address;
	return 0;
}

static int parse_domain(struct parser *p, const struct conf_token *words, size_t count, struct conf_block *block, struct err *err)
{
	char *name;

	if (count != 2 || words[1].text.len == 0 || words[1].text.len > 253)
		return conf_fail(&p->lex, &words[0], err, "write: domain NAME { }");
	name = pool_strndup(p->conf->pool, words[1].text.ptr, words[1].text.len);
	if (name == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < words[1].text.len; i++) {
		name[i] = ascii_lower(name[i]);
		if (!ascii_is_alnum(name[i]) && name[i] != '-' && name[i] != '.')
			return conf_fail(&p->lex, &words[1], err, "'%.*s' is not a domain name%s", SPAN_ARG(words[1].text),
			    (unsigned char)name[i] >= 0x80 ? "; write it as an A-label: xn--..." : "");
	}
	block->name = block->domain.name = span_of(name, words[1].text.len);
	return 0;
}

static int parse_transport(struct parser *p, const struct conf_token *words, size_t count, struct conf_block *block, struct err *err)
{
	struct err why = {0};
	int r;

	if (count != 2)
		return conf_fail(&p->lex, &words[0], err, "write: transport PATTERN { }");
	if (!utf8_is_valid(words[1].text))
		return conf_fail(&p->lex, &words[1], err, "the pattern is not UTF-8 text");
	r = conf_pattern_parse(p->conf->pool, words[1].text, &block->transport.pattern, &why);
	block->name = block->transport.pattern;
	if (r == E_SYNTAX)
		return conf_fail(&p->lex, &words[1], err, "'%.*s' %s", SPAN_ARG(span_sub(words[1].text, 0, 80)), why.text);
	return r == 0 ? 0 : err_set(err, r, "%s", why.text);
}

static int check_new_block(struct parser *p, enum conf_block_kind kind, const struct conf_block *block, const struct conf_token *t, struct err *err)
{
	size_t count = 0;

	for (size_t i = 0; i < BLOCK_KINDS; i++)
		count += p->conf->blocks[i].count;
	if (count == CONF_BLOCKS_MAX)
		return err_set(err, E_NOMEM, "more than %d blocks", CONF_BLOCKS_MAX);
	for (const struct conf_block *b = p->conf->blocks[kind].first; b != NULL; b = b->next)
		if (span_eq(b->name, block->name))
			return conf_fail(&p->lex, t, err, "there is a block for this already, at %.*s", SPAN_ARG(b->scope->origin));
	return 0;
}

static int take_statement(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit, unsigned open_line,
    struct err *err);

static int take_block_body(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit,
    const struct conf_token *opener, struct err *err)
{
	unsigned open_line = p->lex.token.line;
	int r = conf_lex_next(&p->lex, err);

	while (r == 0 && p->lex.token.kind != TOKEN_CLOSE) {
		if (p->lex.token.kind == TOKEN_END)
			return conf_fail(&p->lex, opener, err, "the block that begins here is not closed with }");
		if (p->lex.token.kind == TOKEN_OPEN)
			return conf_fail(&p->lex, &p->lex.token, err, "a block inside a block");
		if (p->lex.token.kind == TOKEN_WORD)
			r = take_statement(p, scope, scope_bit, open_line, err);
		else
			r = conf_lex_next(&p->lex, err);
	}
	return r == 0 ? conf_lex_next(&p->lex, err) : r;
}

static const struct {
	const char *name;
	unsigned scope;
	int (*parse)(struct parser *p, const struct conf_token *words, size_t count, struct conf_block *block, struct err *err);
} block_kinds[BLOCK_KINDS] = {
    [BLOCK_DOMAIN] = {"domain", CONF_SCOPE_DOMAIN, parse_domain},
    [BLOCK_LISTENER] = {"listen", CONF_SCOPE_LISTENER, parse_listener},
    [BLOCK_TRANSPORT] = {"transport", CONF_SCOPE_TRANSPORT, parse_transport},
};

/* BLOCK_KINDS: the word begins none. */
static enum conf_block_kind find_kind(struct span name)
{
	size_t kind = 0;

	while (kind < BLOCK_KINDS && !span_eq(name, span_str(block_kinds[kind].name)))
		kind++;
	return (enum conf_block_kind)kind;
}

static int take_block(struct parser *p, enum conf_block_kind kind, const struct conf_token *words, size_t count, struct err *err)
{
	struct conf_blocks *blocks = &p->conf->blocks[kind];
	struct conf_block *block = pool_new_object(p->conf->pool, struct conf_block);
	int r;

	if (block != NULL)
		block->scope = pool_new_object(p->conf->pool, struct conf_scope_values);
	if (block == NULL || block->scope == NULL)
		return err_set(err, E_NOMEM, "out of memory for blocks");
	r = block_kinds[kind].parse(p, words, count, block, err);
	if (r == 0)
		r = check_new_block(p, kind, block, &words[0], err);
	if (r != 0)
		return r;
	block->scope->origin = make_origin(p, words[0].line);
	if (block->scope->origin.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	block->scope->column = words[0].column;
	*blocks->tail = block;
	blocks->tail = &block->next;
	blocks->count++;
	return take_block_body(p, block->scope, block_kinds[kind].scope, &words[0], err);
}

static int take_include(struct parser *p, const struct conf_token *words, size_t count, struct err *err)
{
	struct err why = {0};
	int r;

	if (count != 2 || p->source->include == NULL)
		return conf_fail(&p->lex, &words[0], err, "write: include \"conf.d/*.conf\"");
	r = p->source->include(p->conf, p->source, words[1].text, &why);
	if (r == E_NOTFOUND)
		return conf_fail(&p->lex, &words[1], err, "%s", why.text);
	return r == 0 ? 0 : err_set(err, r, "%s", why.text); /* has its place, in the other file */
}

static int take_version(struct parser *p, const struct conf_token *words, size_t count, struct err *err)
{
	if (count != 2 || !span_eq(words[1].text, SPAN_LIT("1")))
		return conf_fail(&p->lex, &words[0], err, "this is Mailwain 0.x: it reads config-version 1");
	p->conf->version_seen = true;
	return 0;
}

static int fail_version(const struct parser *p, const struct conf_token *t, struct err *err)
{
	return conf_fail(&p->lex, t, err, "the first line must be: config-version 1");
}

static int fail_block(const struct parser *p, const struct conf_token *name, struct err *err)
{
	struct near near = near_begin(name->text);

	for (size_t kind = 0; kind < BLOCK_KINDS; kind++)
		near_try(&near, block_kinds[kind].name);
	if (near.best != NULL && near.least > 0)
		return conf_fail(&p->lex, name, err, "unknown block '%.*s'; did you mean '%s'?", SPAN_ARG(span_sub(name->text, 0, 60)), near.best);
	return conf_fail(&p->lex, &p->lex.token, err, "only domain, listen and transport have a block");
}

static int take_statement(struct parser *p, struct conf_scope_values *scope, unsigned scope_bit, unsigned open_line,
    struct err *err)
{
	struct conf_token words[CONF_WORDS_MAX];
	enum conf_block_kind kind;
	struct span name;
	size_t count;
	int r = take_words(p, open_line, words, &count, err);

	if (r != 0)
		return r;
	name = words[0].text;
	kind = scope_bit == CONF_SCOPE_GLOBAL ? find_kind(name) : BLOCK_KINDS;
	if (!p->conf->version_seen && !span_eq(name, SPAN_LIT("config-version")))
		return fail_version(p, &words[0], err);
	if (p->lex.token.kind == TOKEN_OPEN)
		return kind == BLOCK_KINDS ? fail_block(p, &words[0], err) : take_block(p, kind, words, count, err);
	if (scope_bit == CONF_SCOPE_GLOBAL) {
		if (span_eq(name, SPAN_LIT("config-version")))
			return take_version(p, words, count, err);
		if (span_eq(name, SPAN_LIT("include")))
			return take_include(p, words, count, err);
		if (kind != BLOCK_KINDS)
			return conf_fail(&p->lex, &words[0], err, "%.*s needs a block: { }", SPAN_ARG(name));
	}
	if (span_eq(name, SPAN_LIT("tls")) && scope_bit != CONF_SCOPE_LISTENER)
		return take_tls(p, scope, words, count, err);
	return take_setting(p, scope, scope_bit, words, count, err);
}

int conf_parse_source(struct conf *conf, const struct conf_source *source, struct err *err)
{
	struct parser p = {.conf = conf,
	    .source = source,
	    .lex = {.pool = conf->pool, .text = source->text, .line = 1, .column = 1, .file = source->name, .dumped = source->include == NULL}};
	int r = conf_lex_next(&p.lex, err);

	while (r == 0 && p.lex.token.kind != TOKEN_END) {
		if (p.lex.token.kind == TOKEN_WORD)
			r = take_statement(&p, conf->global, CONF_SCOPE_GLOBAL, 0, err);
		else if (p.lex.token.kind == TOKEN_LINE || p.lex.token.kind == TOKEN_SEMICOLON)
			r = conf_lex_next(&p.lex, err);
		else
			r = conf_fail(&p.lex, &p.lex.token, err, "a brace without domain, listen or transport");
	}
	return r != 0 || conf->version_seen ? r : fail_version(&p, &p.lex.token, err);
}

int conf_parse(struct span text, const char *name, struct conf **out, struct err *err)
{
	struct conf_source source = {.text = text, .name = span_str(name)};
	struct conf *conf = conf_new(err);

	*out = NULL;
	return conf ? conf_finish(conf, conf_parse_source(conf, &source, err), out, err) : E_NOMEM;
}

/* By position: what master hands out is one open file for all daemons, and so would be its offset. */
int conf_read(int fd, const char *name, struct buf *out, struct err *err)
{
	for (;;) {
		char *room = buf_reserve(out, CONF_READ);
		ssize_t n;

		if (room == NULL)
			return err_set(err, E_TOOBIG, "%s: larger than %zu bytes", name, out->max - CONF_READ);
		n = pread(fd, room, CONF_READ, (off_t)buf_len(out));
		if (n < 0)
			return err_set_errno(err, errno, "%s", name);
		if (n == 0)
			return 0;
		buf_added(out, (size_t)n);
	}
}

int conf_load_fd(int fd, struct conf **out, struct err *err)
{
	struct buf text;
	int r;

	*out = NULL;
	buf_init(&text, 8 * CONF_FILE_MAX + CONF_READ);
	r = conf_read(fd, "configuration", &text, err);
	if (r == 0)
		r = conf_parse(buf_span(&text), "configuration", out, err);
	buf_fini(&text);
	return r;
}
