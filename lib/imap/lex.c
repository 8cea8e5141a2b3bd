#include "imap/lex.h"

#include "base/clock.h"
#include "imap/reader.h"
#include "imap/utf7.h"
#include "imap/flags.h"

#include <string.h>

enum { FLAGS_MAX = 256 };

void imap_lex_init(struct imap_lex *lex, struct span command, struct pool *pool)
{
	if (command.len > 0 && command.ptr[command.len - 1] == '\n')
		command.len--;
	if (command.len > 0 && command.ptr[command.len - 1] == '\r')
		command.len--;
	*lex = (struct imap_lex){.in = command, .pool = pool};
}

bool imap_lex_fail(struct imap_lex *lex, const char *wrong)
{
	if (lex->wrong == NULL)
		lex->wrong = wrong;
	return false;
}

bool imap_lex_at_end(const struct imap_lex *lex)
{
	return lex->at >= lex->in.len;
}

bool imap_lex_sees(const struct imap_lex *lex, char c)
{
	return lex->wrong == NULL && lex->at < lex->in.len && lex->in.ptr[lex->at] == c;
}

bool imap_lex_take(struct imap_lex *lex, char c)
{
	if (!imap_lex_sees(lex, c))
		return false;
	lex->at++;
	return true;
}

bool imap_lex_char(struct imap_lex *lex, char c)
{
	if (imap_lex_take(lex, c))
		return true;
	switch (c) {
	case ' ':
		return imap_lex_fail(lex, "a space is missing");
	case '(':
		return imap_lex_fail(lex, "'(' is missing");
	case ')':
		return imap_lex_fail(lex, "')' is missing");
	case ']':
		return imap_lex_fail(lex, "']' is missing");
	default:
		return imap_lex_fail(lex, "unexpected character");
	}
}

bool imap_lex_space(struct imap_lex *lex)
{
	return imap_lex_char(lex, ' ');
}

bool imap_lex_end(struct imap_lex *lex)
{
	/* A blank before the line end is a common slip of hand-made clients and harms nobody. */
	while (imap_lex_take(lex, ' '))
		;
	return imap_lex_at_end(lex) ? lex->wrong == NULL : imap_lex_fail(lex, "surplus arguments");
}

/* ---- character classes (section 9) ---- */

enum { CLASS_ATOM = 1, CLASS_ASTRING = 2, CLASS_PATTERN = 4, CLASS_TAG = 8, CLASS_WORD = 16, CLASS_SET = 32 };

static unsigned classes_of(unsigned char c)
{
	unsigned class = CLASS_ATOM | CLASS_ASTRING | CLASS_PATTERN | CLASS_TAG;

	if (c <= ' ' || c == 0x7f || c == '(' || c == ')' || c == '{' || c == '"' || c == '\\')
		return 0;
	if (c >= 0x80)
		return CLASS_ASTRING | CLASS_PATTERN; /* 8-bit names of old clients; checked as UTF-8 later */
	if (c == '%' || c == '*')
		class = CLASS_PATTERN;
	if (c == ']')
		class = CLASS_ASTRING | CLASS_PATTERN | CLASS_TAG;
	if (c == '+')
		class &= ~(unsigned)CLASS_TAG;
	if (ascii_is_alnum((char)c) || c == '.' || c == '-')
		class |= CLASS_WORD;
	if (ascii_is_digit((char)c) || c == ':' || c == ',' || c == '*')
		class |= CLASS_SET;
	return class;
}

static struct span take_class(struct imap_lex *lex, unsigned class)
{
	size_t start = lex->at;

	if (lex->wrong != NULL)
		return (struct span){0};
	while (lex->at < lex->in.len && (classes_of((unsigned char)lex->in.ptr[lex->at]) & class) != 0)
		lex->at++;
	return span_sub(lex->in, start, lex->at - start);
}

bool imap_lex_tag(struct imap_lex *lex, struct span *out)
{
	*out = take_class(lex, CLASS_TAG);
	return out->len > 0 && out->len <= IMAP_TAG_MAX ? true : imap_lex_fail(lex, "a tag is missing");
}

bool imap_lex_atom(struct imap_lex *lex, struct span *out)
{
	*out = take_class(lex, CLASS_ATOM);
	return out->len > 0 ? true : imap_lex_fail(lex, "an atom is missing");
}

struct span imap_lex_word(struct imap_lex *lex)
{
	return take_class(lex, CLASS_WORD);
}

bool imap_lex_set(struct imap_lex *lex, struct span *out)
{
	*out = take_class(lex, CLASS_SET);
	return out->len > 0 ? true : imap_lex_fail(lex, "a sequence set is missing");
}

bool imap_lex_number(struct imap_lex *lex, uint64_t max, uint64_t *out)
{
	size_t start = lex->at;

	while (lex->wrong == NULL && lex->at < lex->in.len && ascii_is_digit(lex->in.ptr[lex->at]))
		lex->at++;
	if (!span_u64(span_sub(lex->in, start, lex->at - start), max, out))
		return imap_lex_fail(lex, "a number is missing or too large");
	return true;
}

/* ---- strings ---- */

static bool take_quoted(struct imap_lex *lex, struct span *out)
{
	size_t start = ++lex->at, len = 0;
	bool escaped = false;
	char *copy;

	while (lex->at < lex->in.len && lex->in.ptr[lex->at] != '"') {
		unsigned char c = (unsigned char)lex->in.ptr[lex->at];

		if (c == '\\') {
			escaped = true;
			lex->at++;
			if (lex->at >= lex->in.len || (lex->in.ptr[lex->at] != '"' && lex->in.ptr[lex->at] != '\\'))
				return imap_lex_fail(lex, "a backslash in a quoted string stands before '\"' or '\\'");
		} else if (c == '\r' || c == '\n' || c == '\0') {
			return imap_lex_fail(lex, "a line end or NUL in a quoted string");
		}
		lex->at++;
	}
	if (lex->at >= lex->in.len)
		return imap_lex_fail(lex, "a quoted string has no end");
	*out = span_sub(lex->in, start, lex->at++ - start);
	if (!escaped)
		return true;
	copy = pool_alloc(lex->pool, out->len);
	if (copy == NULL)
		return imap_lex_fail(lex, "the command is too large");
	for (size_t i = 0; i < out->len; i++) {
		if (out->ptr[i] == '\\')
			i++;
		copy[len++] = out->ptr[i];
	}
	*out = span_of(copy, len);
	return true;
}

/* The reader has seen to it that the octets are there. */
static bool take_literal(struct imap_lex *lex, struct span *out)
{
	struct span rest = span_from(lex->in, lex->at);
	size_t line = span_find(rest, '\n'), end = line;
	uint64_t size;
	bool sync, is_binary;

	if (end > 0 && rest.ptr[end - 1] == '\r')
		end--;
	/* Its own braces: imap_literal_find looks for the last ones of the line. */
	if (line == rest.len || memchr(rest.ptr + 1, '{', line - 1) != NULL ||
	    !imap_literal_find(span_sub(rest, 0, end), &size, &sync, &is_binary) || size > rest.len - line - 1)
		return imap_lex_fail(lex, "a literal is malformed");
	*out = span_sub(rest, line + 1, (size_t)size);
	lex->at += line + 1 + (size_t)size;
	if (memchr(out->ptr, '\0', out->len) != NULL)
		return imap_lex_fail(lex, "a NUL in a literal");
	return true;
}

bool imap_lex_string(struct imap_lex *lex, struct span *out)
{
	*out = (struct span){0};
	if (imap_lex_sees(lex, '"'))
		return take_quoted(lex, out);
	if (imap_lex_sees(lex, '{'))
		return take_literal(lex, out);
	return imap_lex_fail(lex, "a string is missing");
}

static bool take_string_or(struct imap_lex *lex, unsigned class, struct span *out)
{
	if (imap_lex_sees(lex, '"') || imap_lex_sees(lex, '{'))
		return imap_lex_string(lex, out);
	*out = take_class(lex, class);
	return out->len > 0 ? true : imap_lex_fail(lex, "an argument is missing");
}

bool imap_lex_astring(struct imap_lex *lex, struct span *out)
{
	return take_string_or(lex, CLASS_ASTRING, out);
}

bool imap_lex_pattern(struct imap_lex *lex, struct span *out)
{
	return take_string_or(lex, CLASS_PATTERN, out);
}

bool imap_lex_mailbox(struct imap_lex *lex, struct span *out)
{
	struct span name;

	if (!imap_lex_astring(lex, &name))
		return false;
	if (span_caseeq(name, SPAN_LIT("INBOX"))) {
		*out = SPAN_LIT("INBOX");
		return true;
	}
	if (!imap_utf7_decode(name, lex->pool, out))
		return imap_lex_fail(lex, "the mailbox name is not modified UTF-7 (RFC 3501 section 5.1.3)");
	return true;
}

/* ---- flags ---- */

static const struct {
	struct span name;
	uint32_t flag;
} flag_names[] = {
    {SPAN_LIT("\\Seen"), IMAP_SEEN},
    {SPAN_LIT("\\Answered"), IMAP_ANSWERED},
    {SPAN_LIT("\\Flagged"), IMAP_FLAGGED},
    {SPAN_LIT("\\Deleted"), IMAP_DELETED},
    {SPAN_LIT("\\Draft"), IMAP_DRAFT},
};

static bool take_flag(struct imap_lex *lex, struct imap_flags *out)
{
	size_t start = lex->at;
	struct span flag;

	if (!imap_lex_take(lex, '\\')) {
		if (!imap_lex_atom(lex, &flag))
			return false;
		if (flag.len > IMAP_KEYWORD_MAX)
			return imap_lex_fail(lex, "a keyword is too long");
		if (out->keyword_count == FLAGS_MAX)
			return imap_lex_fail(lex, "too many flags");
		out->keywords[out->keyword_count++] = flag;
		return true;
	}
	imap_lex_atom(lex, &flag);
	flag = span_sub(lex->in, start, lex->at - start);
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++)
		if (span_caseeq(flag, flag_names[i].name)) {
			out->flags |= flag_names[i].flag;
			return true;
		}
	return imap_lex_fail(lex, "there is no such system flag");
}

bool imap_lex_flags(struct imap_lex *lex, bool plain, struct imap_flags *out)
{
	bool list = imap_lex_take(lex, '(');

	*out = (struct imap_flags){.keywords = pool_array(lex->pool, FLAGS_MAX, sizeof(struct span))};
	if (out->keywords == NULL)
		return imap_lex_fail(lex, "the command is too large");
	if (!list && !plain)
		return imap_lex_fail(lex, "'(' is missing before the flags");
	if (list && imap_lex_take(lex, ')'))
		return lex->wrong == NULL;
	do
		take_flag(lex, out);
	while (imap_lex_take(lex, ' ') && lex->wrong == NULL);
	return list ? imap_lex_char(lex, ')') : lex->wrong == NULL;
}

static bool take_nil(struct imap_lex *lex)
{
	struct span word;

	return imap_lex_atom(lex, &word) && (span_caseeq(word, SPAN_LIT("NIL")) || imap_lex_fail(lex, "a string or NIL is missing"));
}

/* id-params-list = "(" *(string SP nstring) ")" / nil; the RFC's grammar forgets the spaces between the pairs. */
bool imap_lex_id(struct imap_lex *lex)
{
	struct span ignored;

	imap_lex_space(lex);
	if (!imap_lex_take(lex, '('))
		return take_nil(lex);
	for (bool first = true; lex->wrong == NULL && !imap_lex_take(lex, ')'); first = false) {
		if (!first)
			imap_lex_space(lex);
		imap_lex_string(lex, &ignored);
		imap_lex_space(lex);
		if (imap_lex_sees(lex, '"') || imap_lex_sees(lex, '{'))
			imap_lex_string(lex, &ignored);
		else
			take_nil(lex);
	}
	return lex->wrong == NULL;
}

/* ---- dates ---- */

static bool take_digits(struct imap_lex *lex, unsigned count, unsigned *out)
{
	uint64_t n;

	if (lex->wrong != NULL || !span_u64(span_sub(lex->in, lex->at, count), 9999, &n) || lex->at + count > lex->in.len)
		return imap_lex_fail(lex, "a date is malformed");
	lex->at += count;
	*out = (unsigned)n;
	return true;
}

static bool take_date_text(struct imap_lex *lex, int64_t *days)
{
	unsigned day = 0, month, year = 0;
	struct span name;

	if (lex->wrong != NULL)
		return false;
	imap_lex_take(lex, ' '); /* date-day-fixed */
	take_digits(lex, lex->at + 1 < lex->in.len && ascii_is_digit(lex->in.ptr[lex->at + 1]) ? 2 : 1, &day);
	imap_lex_char(lex, '-');
	name = span_sub(lex->in, lex->at, 3);
	month = clock_month(name);
	lex->at += name.len;
	imap_lex_char(lex, '-');
	if (!take_digits(lex, 4, &year) || month == 0 || day < 1 || day > 31)
		return imap_lex_fail(lex, "a date is malformed");
	*days = clock_days(year, month, day);
	return true;
}

bool imap_lex_date(struct imap_lex *lex, int64_t *out)
{
	bool quoted = imap_lex_take(lex, '"');
	int64_t days = 0;

	take_date_text(lex, &days);
	if (quoted)
		imap_lex_char(lex, '"');
	*out = days * 86400;
	return lex->wrong == NULL;
}

bool imap_lex_date_time(struct imap_lex *lex, int64_t *out)
{
	unsigned hour = 0, minute = 0, second = 0, zone = 0;
	int64_t days = 0, offset;
	bool west;

	imap_lex_char(lex, '"');
	take_date_text(lex, &days);
	imap_lex_space(lex);
	take_digits(lex, 2, &hour);
	imap_lex_char(lex, ':');
	take_digits(lex, 2, &minute);
	imap_lex_char(lex, ':');
	take_digits(lex, 2, &second);
	imap_lex_space(lex);
	west = imap_lex_take(lex, '-');
	if (!west)
		imap_lex_char(lex, '+');
	take_digits(lex, 4, &zone);
	imap_lex_char(lex, '"');
	if (lex->wrong != NULL || hour > 23 || minute > 59 || second > 60 || zone % 100 > 59 || zone / 100 > 23)
		return imap_lex_fail(lex, "a date is malformed");
	offset = (int64_t)(zone / 100) * 3600 + (int64_t)(zone % 100) * 60;
	*out = days * 86400 + hour * 3600 + minute * 60 + second + (west ? offset : -offset);
	return true;
}
