/*
 * What was counted, as lines of text with tabs between their fields:
 *
 *   B <begin>
 *   P <type> <successes> <failures> <domain>     a policy; the lines that follow are about it
 *   S <string>, M <pattern>                      a line of it
 *   F <result> <count> <our address> <their address> <host> <reason>
 *
 * Numbers are decimal, types and results by their names.
 */
#include "tlsrpt/traffic.h"

#include "base/err.h"

enum { STORED_COUNT_MAX_BITS = 53 }; /* RFC 8460 section 4.4: I-JSON, whose numbers are exact up to there */
#define STORED_TIME_MAX UINT64_C(99999999999) /* relay's keys have eleven digits for one */
#define STORED_COUNT_MAX (((uint64_t)1 << STORED_COUNT_MAX_BITS) - 1)

/* ---- out ---- */

static void add_lines(struct buf *out, char kind, struct span lines)
{
	while (lines.len > 0) {
		size_t end = span_find(lines, '\n');

		buf_printf(out, "%c\t%.*s\n", kind, SPAN_ARG(span_sub(lines, 0, end)));
		lines = span_from(lines, end + 1);
	}
}

static void add_detail(struct buf *out, const struct tlsrpt_detail *d)
{
	buf_printf(out, "F\t%s\t%llu\t%.*s\t%.*s\t%.*s\t%.*s\n", tlsrpt_result_name(d->result), (unsigned long long)d->count, SPAN_ARG(d->our_address),
	    SPAN_ARG(d->address), SPAN_ARG(d->host), SPAN_ARG(d->reason));
}

void tlsrpt_traffic_encode(const struct tlsrpt_traffic *t, struct buf *out)
{
	buf_printf(out, "B\t%lld\n", (long long)t->begin);
	for (size_t i = 0; i < t->policy_count; i++) {
		const struct tlsrpt_policy *p = &t->policies[i];

		buf_printf(out, "P\t%s\t%llu\t%llu\t%.*s\n", tlsrpt_policy_name(p->type), (unsigned long long)p->successes, (unsigned long long)p->failures,
		    SPAN_ARG(p->domain));
		add_lines(out, 'S', p->strings);
		add_lines(out, 'M', p->mx);
		for (size_t k = 0; k < t->detail_count; k++)
			if (t->details[k].policy == i)
				add_detail(out, &t->details[k]);
	}
}

/* ---- in ---- */

static bool take_field(struct span *line, struct span *field)
{
	size_t end = span_find(*line, '\t');

	if (line->ptr == NULL)
		return false;
	*field = span_sub(*line, 0, end);
	*line = end < line->len ? span_from(*line, end + 1) : (struct span){0};
	return true;
}

static bool take_count(struct span *line, uint64_t *out)
{
	struct span field;

	return take_field(line, &field) && span_u64(field, STORED_COUNT_MAX, out);
}

static bool take_name(struct span *line, const char *(*name_of)(unsigned), unsigned count, unsigned *out)
{
	struct span field;

	if (!take_field(line, &field))
		return false;
	for (*out = 0; *out < count; ++*out)
		if (span_eq(field, span_str(name_of(*out))))
			return true;
	return false;
}

static const char *policy_name(unsigned i)
{
	return tlsrpt_policy_name((enum tlsrpt_policy_type)i);
}

static const char *result_name(unsigned i)
{
	return tlsrpt_result_name((enum tlsrpt_result)i);
}

static bool read_policy(struct tlsrpt_traffic *t, struct span line)
{
	struct tlsrpt_policy *p = &t->policies[t->policy_count];
	struct span domain;
	unsigned type;

	if (t->policy_count == TLSRPT_POLICIES_MAX || !take_name(&line, policy_name, TLSRPT_POLICY_TYPES, &type) || !take_count(&line, &p->successes) ||
	    !take_count(&line, &p->failures) || !take_field(&line, &domain) || line.ptr != NULL)
		return false;
	p->type = (enum tlsrpt_policy_type)type;
	p->domain = pool_span(t->pool, domain);
	t->policy_count++;
	return true;
}

static bool read_detail(struct tlsrpt_traffic *t, struct span line)
{
	struct tlsrpt_detail *d = &t->details[t->detail_count];
	struct span *const fields[] = {&d->our_address, &d->address, &d->host, &d->reason};
	unsigned result;

	if (t->policy_count == 0 || t->detail_count == TLSRPT_DETAILS_MAX || !take_name(&line, result_name, TLSRPT_RESULTS, &result) ||
	    result == TLSRPT_SUCCESS || !take_count(&line, &d->count))
		return false;
	d->policy = t->policy_count - 1;
	d->result = (enum tlsrpt_result)result;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct span field;

		if (!take_field(&line, &field))
			return false;
		*fields[i] = pool_span(t->pool, field);
		fields[i]->len = fields[i]->ptr ? field.len : 0;
	}
	t->detail_count++;
	return line.ptr == NULL;
}

/* One line more of a policy's text. */
static bool read_line(struct tlsrpt_traffic *t, struct span line, char **text, struct span *lines)
{
	if (*text == NULL)
		*text = pool_alloc(t->pool, TLSRPT_STRINGS_MAX);
	if (*text == NULL || lines->len + line.len + 1 > TLSRPT_STRINGS_MAX)
		return false;
	memcpy(*text + lines->len, line.ptr, line.len);
	(*text)[lines->len + line.len] = '\n';
	*lines = span_of(*text, lines->len + line.len + 1);
	return true;
}

static bool read_string(struct tlsrpt_traffic *t, struct span line, bool mx)
{
	struct tlsrpt_policy *p = t->policy_count > 0 ? &t->policies[t->policy_count - 1] : NULL;
	struct span *lines;
	char *text;

	if (p == NULL)
		return false;
	lines = mx ? &p->mx : &p->strings;
	text = (char *)(uintptr_t)lines->ptr;
	return read_line(t, line, &text, lines);
}

static bool read_any(struct tlsrpt_traffic *t, struct span line)
{
	struct span kind;
	uint64_t begin;

	if (!take_field(&line, &kind) || kind.len != 1 || line.ptr == NULL)
		return false;
	switch (kind.ptr[0]) {
	case 'B':
		if (!take_count(&line, &begin) || begin > STORED_TIME_MAX || line.ptr != NULL)
			return false;
		t->begin = (int64_t)begin;
		return true;
	case 'P':
		return read_policy(t, line);
	case 'S':
	case 'M':
		return read_string(t, line, kind.ptr[0] == 'M');
	case 'F':
		return read_detail(t, line);
	default:
		return false;
	}
}

int tlsrpt_traffic_decode(struct span text, struct tlsrpt_traffic **out)
{
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(0);
	bool good = text.len > 0 && text.len <= TLSRPT_TRAFFIC_MAX && text.ptr[text.len - 1] == '\n';
	bool starved = t == NULL;

	while (good && !starved && text.len > 0) {
		size_t end = span_find(text, '\n');

		good = read_any(t, span_sub(text, 0, end));
		text = span_from(text, end + 1);
		starved = pool_starved(t->pool);
	}
	*out = t;
	if (!good || starved)
		tlsrpt_traffic_free(out);
	return starved ? E_NOMEM : good ? 0 : E_CORRUPT;
}
