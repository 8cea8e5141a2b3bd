/* The only place that sees line ends: DATA's content to message bytes. */
#ifndef MW_SMTP_FRAMING_H
#define MW_SMTP_FRAMING_H

#include "base/err.h"
#include "base/span.h"

enum smtp_frame_state {
	FRAME_LINE_START, /* behind CRLF, and at the very beginning */
	FRAME_IN_LINE,
	FRAME_CR,	  /* CR seen within a line */
	FRAME_DOT,	  /* "." at a line's start */
	FRAME_DOT_CR,	  /* ".CR" */
	FRAME_END,
};

struct smtp_frame {
	enum smtp_frame_state state;
	size_t line;	 /* octets of the running line */
	size_t line_max; /* longer lines are refused */
};

/*
 * Takes from input, which must not be empty, up to its end, the end of the message or
 * the next line that begins with a dot. *out: what of it is message, perhaps nothing;
 * borrowed from input, or static. The dots that the client added are left out (RFC 5321
 * section 4.5.2). frame->state is FRAME_END behind the last line. 0; E_SYNTAX: a bare CR, bare
 * LF or NUL: the message cannot be trusted and the session ends; E_TOOBIG: a line longer than line_max.
 */
int smtp_frame_next(struct smtp_frame *frame, struct span *input, struct span *out, struct err *err);

/* One command line: 1 when *line (without CRLF) was taken, 0 when there is none yet, E_SYNTAX for a bare LF, CR or NUL. */
int smtp_line_next(struct span *input, struct span *line, struct err *err);

#endif
