/*
 * A server's replies (RFC 5321 section 4.2): "250-text", "250 text" or "250" and CR LF, every line of one reply with the
 * same code. Line by line, so that what EHLO offers can be looked at whole.
 */
#ifndef MW_SMTP_REPLY_H
#define MW_SMTP_REPLY_H

#include "smtp/client.h"

/* Caller's memory; zeroed, it waits for a reply's first line. */
struct smtp_reply_reader {
	struct smtp_client_reply reply; /* so far; whole behind the last line */
	size_t octets;			/* of its lines */
	size_t lines;
	size_t text; /* octets of reply.text */
	bool full;   /* what came later was left out of it */
};

/*
 * Takes a line from input. 1: *text is what follows its code, borrowed from input; *last tells whether the reply is whole, and the line after it
 * begins another. 0: the line is not whole yet. E_REMOTE: malformed, or endless; nothing after it can be understood.
 */
int smtp_reply_next(struct smtp_reply_reader *reader, struct span *input, struct span *text, bool *last, struct err *err);

#endif
