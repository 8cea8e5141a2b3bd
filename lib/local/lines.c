#include "local/lines.h"

static void head_flush(struct lines *l, struct buf *out)
{
	l->from_skip = false;
	buf_add(out, l->head, l->head_len);
	l->head_len = 0;
}

/* Is the line that has just begun one of an mbox? Until that is known its octets are kept. */
static void head_octet(struct lines *l, char c, struct buf *out)
{
	static const char from[] = ">From ";
	struct span head;

	l->head[l->head_len++] = c;
	head = span_of(l->head, l->head_len);
	for (size_t skip = 0; skip < 2; skip++) {
		struct span want = span_from(span_str(from), skip);

		if (span_eq(head, want))
			l->dropping = true;
		if (span_startswith(want, head))
			return;
	}
	head_flush(l, out);
}

static void octet(struct lines *l, char c, struct buf *out)
{
	l->in_line = true;
	if (l->dropping)
		return;
	if (l->from_skip)
		head_octet(l, c, out);
	else
		buf_add_char(out, c);
}

static void line_octet(struct lines *l, char c, struct buf *out)
{
	if (l->dot) {
		l->dot = false;
		octet(l, '.', out);
	}
	octet(l, c, out);
}

static void line_end(struct lines *l, struct buf *out)
{
	if (l->dot) {
		l->dot = false;
		l->ended = true;
		return;
	}
	l->in_line = false;
	if (l->dropping) {
		l->dropping = false;
		l->head_len = 0;
		return;
	}
	head_flush(l, out);
	buf_add_str(out, "\r\n");
}

/* Of octets that mean nothing here. */
static size_t run_length(struct span bytes)
{
	size_t n = 0;

	while (n < bytes.len && bytes.ptr[n] != '\r' && bytes.ptr[n] != '\n' && bytes.ptr[n] != '\0')
		n++;
	return n;
}

static void one(struct lines *l, char c, struct buf *out)
{
	bool cr = l->cr;

	if (c == '\0')
		return;
	l->cr = false;
	if (cr && c != '\n')
		line_octet(l, ' ', out);
	if (c == '\r')
		l->cr = true;
	else if (c == '\n')
		line_end(l, out);
	else if (c == '.' && l->dot_ends && !l->in_line && !l->dot)
		l->dot = true;
	else
		line_octet(l, c, out);
}

void lines_feed(struct lines *l, struct span bytes, struct buf *out)
{
	while (bytes.len > 0 && !l->ended) {
		bool plain = l->in_line && !l->cr && !l->dot && !l->dropping && !l->from_skip;
		size_t n = plain ? run_length(bytes) : 0;

		buf_add(out, bytes.ptr, n);
		if (n == 0)
			one(l, bytes.ptr[n++], out);
		bytes = span_from(bytes, n);
	}
}

void lines_end(struct lines *l, struct buf *out)
{
	if (l->cr || l->dot || l->in_line)
		line_end(l, out);
	l->cr = false;
}
