#include "local/complete.h"

#include "local/extract.h"

void complete_init(struct complete *c, struct span domain)
{
	*c = (struct complete){.domain = domain};
	buf_init(&c->field, COMPLETE_FIELD_MAX);
}

void complete_fini(struct complete *c)
{
	buf_fini(&c->field);
}

/* ---- one value: an address-list of RFC 5322 section 3.4 ---- */

struct walk {
	struct span value;
	size_t at;
	size_t copied;	 /* so much of value is in out */
	size_t word_end; /* where the last word of an address ends */
	unsigned words;
	bool has_domain;
	bool angle_over; /* what follows is no address */
	struct span domain;
	struct buf *out;
};

static void address_begins(struct walk *w)
{
	w->words = 0;
	w->has_domain = false;
}

static void copy_to(struct walk *w, size_t end)
{
	buf_add_span(w->out, span_sub(w->value, w->copied, end - w->copied));
	w->copied = end;
}

/* One word is a local part; several are something that nobody should guess about. */
static void address_ends(struct walk *w)
{
	if (w->words == 1 && !w->has_domain && !w->angle_over) {
		copy_to(w, w->word_end);
		buf_add_char(w->out, '@');
		buf_add_span(w->out, w->domain);
	}
	address_begins(w);
}

static size_t comment_length(struct span s)
{
	unsigned depth = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '(')
			depth++;
		else if (s.ptr[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.len;
}

/* 0 when it does not end. */
static size_t quoted_length(struct span s)
{
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '"')
			return i + 1;
	}
	return 0;
}

static size_t atom_length(struct span s)
{
	size_t len = 0;

	while (len < s.len && strchr(" \t\r\n()<>@,;:\"", s.ptr[len]) == NULL)
		len++;
	return len;
}

/* A quoted string and an atom that touch are one word: "a b".c */
static void take_word(struct walk *w, size_t len)
{
	if (w->words == 0 || w->word_end != w->at)
		w->words++;
	w->at += len;
	w->word_end = w->at;
}

static void take_special(struct walk *w, char c)
{
	switch (c) {
	case '@':
		w->has_domain = true;
		break;
	case ':': /* a group's name came before, or a route */
	case '<':
		address_begins(w);
		break;
	case '>':
		address_ends(w);
		w->angle_over = true;
		break;
	case ',':
	case ';':
		address_ends(w);
		w->angle_over = false;
		break;
	default: /* a blank, or one that makes no sense */
		break;
	}
	w->at++;
}

static void take_quoted(struct walk *w, size_t len)
{
	if (len > 0) {
		take_word(w, len);
		return;
	}
	w->at = w->value.len;
	w->words = 2; /* whatever it is, it is no local part */
}

/* value: with the line end behind it, which no domain may follow. */
static void complete_value(struct span value, struct span domain, struct buf *out)
{
	struct walk w = {.domain = domain, .out = out};
	struct span line_end;

	for (w.value = value; w.value.len > 0 && strchr(" \t\r\n", w.value.ptr[w.value.len - 1]) != NULL;)
		w.value.len--;
	line_end = span_from(value, w.value.len);
	value = w.value;

	while (w.at < value.len) {
		struct span rest = span_from(value, w.at);
		size_t atom = atom_length(rest);

		if (rest.ptr[0] == '(')
			w.at += comment_length(rest);
		else if (rest.ptr[0] == '"')
			take_quoted(&w, quoted_length(rest));
		else if (atom > 0)
			take_word(&w, atom);
		else
			take_special(&w, rest.ptr[0]);
	}
	address_ends(&w);
	copy_to(&w, value.len);
	buf_add_span(out, line_end);
}

/* ---- fields ---- */

static bool holds_addresses(struct span name)
{
	static const char *const names[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"};

	if (span_startscase(name, SPAN_LIT("Resent-")))
		name = span_from(name, 7);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_caseeq(name, span_str(names[i])))
			return true;
	return false;
}

static void field_ends(struct complete *c, struct buf *out)
{
	struct span field = buf_span(&c->field);
	size_t colon = span_find(field, ':');

	if (buf_failed(&c->field))
		out->failed = out->starved = true;
	if (local_header_length(field) != field.len)
		c->over = true;
	if (!c->over && holds_addresses(span_trim(span_sub(field, 0, colon)))) {
		buf_add_span(out, span_sub(field, 0, colon + 1));
		complete_value(span_from(field, colon + 1), c->domain, out);
	} else {
		buf_add_span(out, field);
	}
	buf_clear(&c->field);
	c->line_ended = false;
}

/* To the end of a line at most; what does not fit is no field to be read. */
static size_t take_piece(struct complete *c, struct span bytes, struct buf *out)
{
	size_t end = span_find(bytes, '\n'), len = end < bytes.len ? end + 1 : end;

	if (buf_len(&c->field) + len > COMPLETE_FIELD_MAX) {
		if (buf_failed(&c->field))
			out->failed = out->starved = true;
		buf_add_span(out, buf_span(&c->field));
		buf_clear(&c->field);
		c->over = true;
		return 0;
	}
	buf_add_span(&c->field, span_sub(bytes, 0, len)); /* looked at when it is over */
	c->line_ended = end < bytes.len;
	return len;
}

void complete_feed(struct complete *c, struct span bytes, struct buf *out)
{
	while (bytes.len > 0 && !c->over) {
		if (c->line_ended && bytes.ptr[0] != ' ' && bytes.ptr[0] != '\t')
			field_ends(c, out);
		else
			bytes = span_from(bytes, take_piece(c, bytes, out));
	}
	if (c->over)
		buf_add_span(out, bytes);
}

void complete_end(struct complete *c, struct buf *out)
{
	if (!c->over)
		field_ends(c, out);
}
