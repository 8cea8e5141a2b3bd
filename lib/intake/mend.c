#include "intake/mend.h"

void mend_init(struct mend *m, const char *date, const char *message_id)
{
	*m = (struct mend){.state = MEND_NAMING, .date = date, .message_id = message_id};
}

static void add_missing(const struct mend *m, struct buf *out)
{
	if (!m->has_date)
		buf_printf(out, "Date: %s\r\n", m->date);
	if (!m->has_from && m->from != NULL)
		buf_printf(out, "From: %s\r\n", m->from);
	if (!m->has_message_id)
		buf_printf(out, "Message-ID: %s\r\n", m->message_id);
}

/* The header ends without the empty line that it should end with: what follows is the body. */
static void end_early(struct mend *m, struct buf *out)
{
	add_missing(m, out);
	buf_add_str(out, "\r\n");
	buf_add(out, m->name, m->name_len);
	m->state = MEND_BODY;
}

static void take_name(struct mend *m, struct buf *out)
{
	struct span name = span_trim(span_of(m->name, m->name_len));

	m->has_date |= span_caseeq(name, SPAN_LIT("Date"));
	m->has_message_id |= span_caseeq(name, SPAN_LIT("Message-ID"));
	m->has_from |= span_caseeq(name, SPAN_LIT("From"));
	m->dropping = span_caseeq(name, SPAN_LIT("Bcc")) || span_caseeq(name, SPAN_LIT("Resent-Bcc"));
	if (!m->dropping)
		buf_add(out, m->name, m->name_len);
	m->state = MEND_FIELD;
}

/* A field's name is printable and has no colon (RFC 5322 section 2.2); blanks before the colon are obsolete, and there are those who write them. */
static bool may_be_in_name(const struct mend *m, char c)
{
	bool blank_before = m->name_len > 0 && (m->name[m->name_len - 1] == ' ' || m->name[m->name_len - 1] == '\t');

	return c == ' ' || c == '\t' ? m->name_len > 0 : (unsigned char)c > ' ' && (unsigned char)c < 0x7f && !blank_before;
}

/* True: c was taken. */
static bool name_octet(struct mend *m, char c, struct buf *out)
{
	if (c == ':' && m->name_len > 0) {
		take_name(m, out);
		return false; /* the colon goes with the field */
	}
	if (!may_be_in_name(m, c) || m->name_len == MEND_NAME) {
		end_early(m, out);
		return false;
	}
	m->name[m->name_len++] = c;
	return true;
}

/* What stands at the beginning of a line decides what the line is. */
static bool line_begins(struct mend *m, char c)
{
	if ((c == ' ' || c == '\t') && m->name_len > 0) {
		m->state = MEND_FIELD; /* folded */
		return false;
	}
	m->dropping = false;
	m->name_len = 0;
	m->state = c == '\r' ? MEND_END_CR : MEND_NAMING;
	return c == '\r';
}

static void put(const struct mend *m, char c, struct buf *out)
{
	if (!m->dropping)
		buf_add_char(out, c);
}

/* True: c was taken; else it is looked at again in the state that was found. */
static bool octet(struct mend *m, char c, struct buf *out)
{
	switch (m->state) {
	case MEND_NAMING:
		if (m->name_len == 0 && c == '\r') {
			m->state = MEND_END_CR;
			return true;
		}
		return name_octet(m, c, out);
	case MEND_FIELD:
		put(m, c, out);
		if (c == '\r')
			m->state = MEND_FIELD_CR;
		return true;
	case MEND_FIELD_CR: /* framing lets no CR through without its LF */
		put(m, c, out);
		m->state = c == '\n' ? MEND_LINE : MEND_FIELD;
		return true;
	case MEND_LINE:
		return line_begins(m, c);
	case MEND_END_CR:
		add_missing(m, out);
		buf_add_str(out, "\r\n");
		m->state = MEND_BODY;
		return true;
	case MEND_BODY:
		break;
	}
	return false;
}

void mend_feed(struct mend *m, struct span bytes, struct buf *out)
{
	size_t i = 0;

	while (i < bytes.len && m->state != MEND_BODY)
		i += octet(m, bytes.ptr[i], out);
	buf_add_span(out, span_from(bytes, i));
}

void mend_end(struct mend *m, struct buf *out)
{
	if (m->state == MEND_BODY)
		return;
	if (m->name_len > 0 && m->state == MEND_NAMING) {
		end_early(m, out);
		return;
	}
	if (m->state == MEND_FIELD)
		put(m, '\r', out);
	if (m->state == MEND_FIELD || m->state == MEND_FIELD_CR)
		put(m, '\n', out);
	add_missing(m, out);
	buf_add_str(out, "\r\n");
	m->state = MEND_BODY;
}
