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

/* The first octet of a line, or of a part of one, that must not be there; NULL when all may. stop: its LF, or the input's end. */
static const char *first_wrong(const char *at, const char *stop, bool ended, size_t room)
{
	const char *limit = (size_t)(stop - at) > room ? at + room : stop;
	const char *cr = memchr(at, '\r', (size_t)(limit - at)), *nul = memchr(at, '\0', (size_t)((cr ? cr : limit) - at));

	if (nul != NULL)
		return nul;
	if (cr != NULL && cr + 1 != stop)
		return cr;
	if (limit < stop)
		return limit;
	return ended && cr == NULL ? stop : NULL;
}

static void hand_on(struct span *input, struct span *out, const char *upto)
{
	*out = span_of(input->ptr, (size_t)(upto - input->ptr));
	*input = span_from(*input, out->len);
}

/* A line that does not end here. Its CR is handed on with its LF. */
static void hand_on_part(struct smtp_frame *f, struct span *input, struct span *out, size_t of_line)
{
	const char *end = input->ptr + input->len;
	bool cr = end[-1] == '\r';

	f->line += of_line;
	f->state = cr ? FRAME_CR : FRAME_IN_LINE;
	hand_on(input, out, cr ? end - 1 : end);
	*input = span_of(end, 0);
}

/*
 * Whole lines within input: one span up to the last line end, or up to a line that begins with a dot. What comes before
 * something wrong is handed on first, so that it does not matter where the input was cut.
 */
static int take_lines(struct smtp_frame *f, struct span *input, struct span *out, struct err *err)
{
	const char *start = input->ptr, *at = start, *end = start + input->len;

	while (at < end && (at == start || *at != '.')) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		const char *stop = lf ? lf : end;
		const char *wrong = first_wrong(at, stop, lf != NULL, f->line_max - f->line);

		if (wrong == start && f->line == f->line_max && wrong != stop)
			return err_set(err, E_TOOBIG, "a line is longer than %zu octets", f->line_max);
		if (wrong == start)
			return bad(err);
		if (wrong != NULL) {
			f->line += (size_t)(wrong - at);
			f->state = wrong > at ? FRAME_IN_LINE : f->state;
			at = wrong;
			break;
		}
		if (lf == NULL) {
			hand_on_part(f, input, out, (size_t)(end - at));
			return 0;
		}
		at = lf + 1;
		f->line = 0;
		f->state = FRAME_LINE_START;
	}
	hand_on(input, out, at);
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
	return take_lines(f, input, out, err);
}
