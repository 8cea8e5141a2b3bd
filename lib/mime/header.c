#include "mime/header.h"

#include "base/clock.h"

bool mime_field_next(struct span *rest, struct mime_field *out)
{
	while (rest->len > 0) {
		const char *at = rest->ptr, *stop = at + rest->len;
		size_t colon, name_end;
		struct span whole;

		do {
			const char *lf = memchr(at, '\n', (size_t)(stop - at));

			at = lf != NULL ? lf + 1 : stop;
		} while (at < stop && (*at == ' ' || *at == '\t'));
		whole = span_of(rest->ptr, (size_t)(at - rest->ptr));
		*rest = span_from(*rest, whole.len);
		colon = span_find(whole, ':');
		for (name_end = colon; name_end > 0 && (whole.ptr[name_end - 1] == ' ' || whole.ptr[name_end - 1] == '\t'); name_end--)
			;
		/* A line that only begins with a CR is not the empty one. */
		if (whole.ptr[0] == '\n' || span_startswith(whole, SPAN_LIT("\r\n")))
			return false;
		if (colon == whole.len || name_end == 0 || span_find(span_sub(whole, 0, colon), '\n') < colon)
			continue;
		out->name = span_sub(whole, 0, name_end);
		out->whole = whole;
		out->value = span_from(whole, colon + 1);
		if (out->value.len > 0 && out->value.ptr[out->value.len - 1] == '\n')
			out->value.len--;
		if (out->value.len > 0 && out->value.ptr[out->value.len - 1] == '\r')
			out->value.len--;
		return true;
	}
	return false;
}

bool mime_field_find(struct span header, struct span name, struct mime_field *out)
{
	while (mime_field_next(&header, out))
		if (span_caseeq(out->name, name))
			return true;
	return false;
}

void mime_unfold(struct span value, struct buf *out)
{
	value = span_trim(value);
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n' && value.ptr[i] != '\0')
			buf_add_char(out, value.ptr[i]);
}

/* ---- tokens ---- */

/* A NUL counts as a blank: no word has one in it. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* Blanks and comments; nesting is counted, not recursed into. */
static void skip_cfws(struct span *s)
{
	unsigned depth = 0;
	size_t i = 0;

	for (; i < s->len; i++) {
		char c = s->ptr[i];

		if (depth > 0 && c == '\\' && i + 1 < s->len)
			i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !is_blank(c))
			break;
	}
	*s = span_from(*s, i);
}

static bool take_quoted(struct span *s, struct pool *pool, struct span *out)
{
	char *text;
	size_t len = 0, i = 1;

	while (i < s->len && s->ptr[i] != '"')
		i += s->ptr[i] == '\\' ? 2 : 1;
	if (i > s->len)
		i = s->len;
	text = pool_alloc(pool, i + 1);
	if (text == NULL)
		return false;
	for (size_t k = 1; k < i; k++) {
		if (s->ptr[k] == '\\' && k + 1 < i)
			k++;
		if (s->ptr[k] != '\r' && s->ptr[k] != '\n' && s->ptr[k] != '\0')
			text[len++] = s->ptr[k];
	}
	*out = span_of(text, len);
	*s = span_from(*s, i + 1);
	return true;
}

/* Also up to a NUL, which strchr finds: it belongs to no word. */
static struct span take_until(struct span *s, const char *stops)
{
	size_t i = 0;

	while (i < s->len && !is_blank(s->ptr[i]) && strchr(stops, s->ptr[i]) == NULL)
		i++;
	struct span word = span_sub(*s, 0, i);

	*s = span_from(*s, i);
	return word;
}

/* ---- type/subtype; parameters ---- */

static bool take_parameter(struct span *s, struct pool *pool, struct mime_parameter *out)
{
	skip_cfws(s);
	out->name = take_until(s, "=;()\"");
	skip_cfws(s);
	if (s->len == 0 || s->ptr[0] != '=')
		return false;
	*s = span_from(*s, 1);
	skip_cfws(s);
	if (s->len > 0 && s->ptr[0] == '"')
		return take_quoted(s, pool, &out->value) && out->name.len > 0;
	out->value = take_until(s, ";()\"");
	return out->name.len > 0;
}

bool mime_content_parse(struct span value, struct pool *pool, struct mime_content *out)
{
	value = span_sub(value, 0, MIME_VALUE_MAX);
	*out = (struct mime_content){0};
	skip_cfws(&value);
	out->type = take_until(&value, "/;()\"");
	skip_cfws(&value);
	if (value.len > 0 && value.ptr[0] == '/') {
		value = span_from(value, 1);
		skip_cfws(&value);
		out->subtype = take_until(&value, "/;()\"");
	}
	out->parameters = pool_array(pool, MIME_PARAMETERS_MAX, sizeof(*out->parameters));
	while (out->parameters != NULL && value.len > 0 && out->parameter_count < MIME_PARAMETERS_MAX) {
		size_t semicolon = 0;

		while (semicolon < value.len && value.ptr[semicolon] != ';' && value.ptr[semicolon] != '(')
			semicolon++;
		value = span_from(value, semicolon);
		if (value.len > 0 && value.ptr[0] == '(') {
			size_t before = value.len;

			skip_cfws(&value);
			if (value.len == before)
				break;
			continue;
		}
		value = span_from(value, 1);
		if (take_parameter(&value, pool, &out->parameters[out->parameter_count]))
			out->parameter_count++;
	}
	return out->type.len > 0;
}

struct span mime_content_parameter(const struct mime_content *content, struct span name)
{
	for (size_t i = 0; i < content->parameter_count; i++)
		if (span_caseeq(content->parameters[i].name, name))
			return content->parameters[i].value;
	return span_str("");
}

/* ---- addresses ---- */

struct address_parser {
	struct pool *pool;
	struct mime_address *list;
	size_t count, size;
	bool in_group;
};

static void address_add(struct address_parser *p, struct mime_address address)
{
	if (p->count == p->size) {
		size_t size = p->size ? p->size * 4 : 8;
		struct mime_address *list;

		if (p->size >= MIME_ADDRESSES_MAX)
			return;
		list = pool_array(p->pool, size, sizeof(*list));
		if (list == NULL)
			return;
		if (p->count > 0)
			memcpy(list, p->list, p->count * sizeof(*list));
		p->list = list;
		p->size = size;
	}
	p->list[p->count++] = address;
}

/* Words up to one of stops, joined by single blanks; "." and "@" belong to words here. */
static struct span take_phrase(struct span *s, struct pool *pool, const char *stops)
{
	struct span first = {0};
	struct buf joined;
	size_t words = 0;

	buf_init(&joined, MIME_VALUE_MAX);
	for (;;) {
		struct span word;

		skip_cfws(s);
		if (s->len == 0 || strchr(stops, s->ptr[0]) != NULL)
			break;
		if (s->ptr[0] == '"') {
			if (!take_quoted(s, pool, &word))
				break;
		} else {
			word = take_until(s, ",:;<>()\"");
			if (word.len == 0) { /* a stray character */
				*s = span_from(*s, 1);
				continue;
			}
		}
		if (words++ == 0)
			first = word;
		else {
			if (words == 2)
				buf_add_span(&joined, first);
			buf_add_char(&joined, ' ');
			buf_add_span(&joined, word);
		}
	}
	if (joined.starved)
		pool_starve(pool);
	if (words > 1)
		first = pool_span(pool, buf_span(&joined));
	buf_fini(&joined);
	return first;
}

/* Without comments; spaces around "." and "@" are the obsolete syntax. .ptr is NULL without memory. */
static struct span without_blanks(struct span s, struct pool *pool)
{
	char *text = pool_alloc(pool, s.len + 1);
	size_t len = 0;

	for (size_t i = 0; text != NULL && i < s.len; i++) {
		struct span rest = span_from(s, i);

		if (rest.ptr[0] == '(') {
			size_t before = rest.len;

			skip_cfws(&rest);
			i += before - rest.len - 1;
		} else if (!is_blank(rest.ptr[0])) {
			text[len++] = rest.ptr[0];
		}
	}
	return span_of(text, len);
}

/* local-part "@" domain without comments and quoting; spaces around "." and "@" are the obsolete syntax. */
static void split_spec(struct span spec, struct pool *pool, struct mime_address *out)
{
	char *text = pool_alloc(pool, spec.len + 1);
	size_t len = 0, at = 0;
	bool has_host = false;

	while (text != NULL && spec.len > 0) {
		struct span quoted;
		char c = spec.ptr[0];

		if (c == '(') {
			skip_cfws(&spec);
		} else if (c == '"') {
			if (!take_quoted(&spec, pool, &quoted))
				break;
			memcpy(text + len, quoted.ptr, quoted.len);
			len += quoted.len;
		} else {
			spec = span_from(spec, 1);
			if (is_blank(c))
				continue;
			has_host |= c == '@';
			at = c == '@' ? len : at;
			text[len++] = c;
		}
	}
	out->mailbox = span_of(text, has_host ? at : len);
	out->host = has_host ? span_of(text + at + 1, len - at - 1) : span_of(text, 0);
}

/* Length of the quoted string at the front; of its quote alone when it does not end. */
static size_t quoted_len(struct span s)
{
	size_t i = 1;

	while (i < s.len && s.ptr[i] != '"')
		i += s.ptr[i] == '\\' ? 2 : 1;
	return i < s.len ? i + 1 : 1;
}

static void take_angle(struct span *s, struct pool *pool, struct mime_address *out)
{
	size_t end = 1;
	struct span inside;

	while (end < s->len && s->ptr[end] != '>')
		end += s->ptr[end] == '"' ? quoted_len(span_from(*s, end)) : s->ptr[end] == '\\' ? 2 : 1;
	inside = span_sub(*s, 1, end > s->len ? s->len - 1 : end - 1);
	*s = span_from(*s, end + 1);
	if (inside.len > 0 && inside.ptr[0] == '@') {
		size_t colon = span_find(inside, ':');

		if (colon < inside.len) {
			out->route = without_blanks(span_sub(inside, 0, colon), pool);
			inside = span_from(inside, colon + 1);
		}
	}
	split_spec(inside, pool, out);
}

static void take_address(struct address_parser *p, struct span *s)
{
	struct span start;
	struct mime_address address = {.kind = MIME_ADDRESS};
	size_t before;

	skip_cfws(s);
	start = *s;
	address.name = take_phrase(s, p->pool, ",:;<");
	before = start.len - s->len;
	if (s->len > 0 && s->ptr[0] == ':' && !p->in_group) {
		address.kind = MIME_GROUP_BEGIN;
		p->in_group = true;
		*s = span_from(*s, 1);
		address_add(p, address);
		return;
	}
	if (s->len > 0 && s->ptr[0] == '<') {
		take_angle(s, p->pool, &address);
	} else {
		address.name = span_str("");
		split_spec(span_sub(start, 0, before), p->pool, &address);
	}
	if (address.mailbox.len > 0 || address.host.len > 0)
		address_add(p, address);
}

size_t mime_addresses_parse(struct span value, struct pool *pool, struct mime_address **out)
{
	struct address_parser p = {.pool = pool};

	value = span_sub(value, 0, MIME_VALUE_MAX);
	while (value.len > 0 && p.count < MIME_ADDRESSES_MAX) {
		size_t before = value.len;

		take_address(&p, &value);
		skip_cfws(&value);
		if (value.len > 0 && value.ptr[0] == ';' && p.in_group) {
			address_add(&p, (struct mime_address){.kind = MIME_GROUP_END});
			p.in_group = false;
		}
		if (value.len > 0 && (value.ptr[0] == ',' || value.ptr[0] == ';' || value.len == before))
			value = span_from(value, 1);
	}
	if (p.in_group)
		address_add(&p, (struct mime_address){.kind = MIME_GROUP_END});
	*out = p.list;
	return p.count;
}

/* ---- dates ---- */

static bool take_number(struct span *s, uint64_t max, uint64_t *out)
{
	size_t digits = 0;

	skip_cfws(s);
	while (digits < s->len && digits < 9 && ascii_is_digit(s->ptr[digits]))
		digits++;
	if (!span_u64(span_sub(*s, 0, digits), max, out))
		return false;
	*s = span_from(*s, digits);
	return true;
}

static bool take_month(struct span *s, unsigned *out)
{
	skip_cfws(s);
	*out = clock_month(*s);
	if (*out != 0)
		*s = span_from(*s, 3);
	return *out != 0;
}

static int64_t days_in(int64_t year, unsigned month)
{
	return month == 12 ? 31 : clock_days(year, month + 1, 1) - clock_days(year, month, 1);
}

/* [CFWS] ":" [CFWS] as section 4.3 has it. */
static bool take_colon(struct span *s)
{
	skip_cfws(s);
	if (s->len == 0 || s->ptr[0] != ':')
		return false;
	*s = span_from(*s, 1);
	return true;
}

/* "+hhmm", "-hhmm" or a zone of RFC 5322 section 4.3; minutes. Unknown ones are +0000. */
static int64_t take_zone(struct span *s)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};
	uint64_t n;

	skip_cfws(s);
	if (s->len >= 5 && (s->ptr[0] == '+' || s->ptr[0] == '-') && span_u64(span_sub(*s, 1, 4), 9959, &n)) {
		int64_t minutes = (int64_t)(n / 100 * 60 + n % 100);

		return s->ptr[0] == '-' ? -minutes : minutes;
	}
	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		if (span_startscase(*s, span_str(zones[i].name)))
			return zones[i].hours * 60;
	return 0;
}

bool mime_date_parse(struct span value, int64_t *out, int64_t *zone)
{
	int64_t east;
	uint64_t day, year, hour, minute, second = 0;
	unsigned month;
	size_t comma = span_find(span_sub(value, 0, 32), ',');

	value = span_sub(value, 0, 256);
	if (comma < 32 && comma < value.len)
		value = span_from(value, comma + 1);
	if (!take_number(&value, 31, &day) || day == 0 || !take_month(&value, &month) || !take_number(&value, 9999, &year) ||
	    !take_number(&value, 23, &hour) || !take_colon(&value) || !take_number(&value, 59, &minute) ||
	    (take_colon(&value) && !take_number(&value, 60, &second)))
		return false;
	if (year < 50)
		year += 2000;
	else if (year < 1000)
		year += 1900;
	if (day > (uint64_t)days_in((int64_t)year, month))
		return false;
	east = take_zone(&value) * 60;
	if (zone != NULL)
		*zone = east;
	*out = clock_days((int64_t)year, month, (unsigned)day) * 86400 + (int64_t)(hour * 3600 + minute * 60 + second) - east;
	return true;
}
