#include "smtp/framing.h"

int smtp_line_next(struct span *input, struct span *line, struct err *err)
{
	size_t end = span_find(*input, '\n');
	struct span taken;

	if (end == input->len)
		return 0;
	taken = span_sub(*input, 0, end);
	*input = span_from(*input, end + 1);
	if (taken.len == 0 || taken.ptr[taken.len - 1] != '\r')
		return err_set(err, E_SYNTAX, "a line ends in CR LF, not in LF alone");
	taken.len--;
	if (memchr(taken.ptr, '\r', taken.len) || memchr(taken.ptr, '\0', taken.len))
		return err_set(err, E_SYNTAX, "CR or NUL within a line");
	*line = taken;
	return 1;
}

static int bad(struct err *err)
{
	return err_set(err, E_SYNTAX, "bare CR, bare LF or NUL in the message");
}

/* Whole lines within input: one span up to the last line end, or up to a line that begins with a dot. */
static int take_lines(struct smtp_frame *f, struct span *input, struct span *out, struct err *err)
{
	const char *start = input->ptr, *at = start, *end = start + input->len;

	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		const char *stop = lf ? lf : end;
		const char *cr = memchr(at, '\r', (size_t)(stop - at));

		if (f->line + (size_t)(stop - at) > f->line_max)
			return err_set(err, E_TOOBIG, "a line is longer than %zu octets", f->line_max);
		if (lf == NULL) {
			f->line += (size_t)(end - at);
			if (cr != NULL && cr + 1 != end)
				return bad(err);
			f->state = cr ? FRAME_CR : FRAME_IN_LINE;
			/* The CR is handed on with its LF. */
			at = cr ? cr : end;
			*out = span_of(start, (size_t)(at - start));
			*input = span_of(end, 0);
			return 0;
		}
		if (cr == NULL || cr + 1 != lf)
			return bad(err);
		at = lf + 1;
		f->line = 0;
		f->state = FRAME_LINE_START;
		if (at < end && *at == '.')
			break;
	}
	*out = span_of(start, (size_t)(at - start));
	*input = span_of(at, (size_t)(end - at));
	return 0;
}

int smtp_frame_next(struct smtp_frame *f, struct span *input, struct span *out, struct err *err)
{
	char c = input->ptr[0];

	*out = span_of("", 0);
	switch (f->state) {
	case FRAME_LINE_START:
		if (c == '.') {
			f->state = FRAME_DOT;
			*input = span_from(*input, 1);
			return 0;
		}
		break;
	case FRAME_DOT:
		if (c == '\r') {
			f->state = FRAME_DOT_CR;
			*input = span_from(*input, 1);
			return 0;
		}
		f->state = FRAME_IN_LINE; /* RFC 5321 section 4.5.2: one dot was added by the client */
		break;
	case FRAME_DOT_CR:
		if (c != '\n')
			return bad(err);
		f->state = FRAME_END;
		*input = span_from(*input, 1);
		return 0;
	case FRAME_CR:
		if (c != '\n')
			return bad(err);
		f->state = FRAME_LINE_START;
		f->line = 0;
		*input = span_from(*input, 1);
		*out = SPAN_LIT("\r\n");
		return 0;
	case FRAME_IN_LINE:
	case FRAME_END:
		break;
	}
	int r = take_lines(f, input, out, err);

	if (r != 0)
		return r;
	return out->len > 0 && memchr(out->ptr, '\0', out->len) ? bad(err) : 0;
}
