#include "queue/advice.h"

#include <string.h>

enum { ADVICE_COLUMNS = 76, ADVICE_INDENT = 4 };

struct advice {
	const char *code; /* subject.detail, or a subject alone: any other detail */
	const char *text;
};

static const struct advice rows[] = {
    {"1.1", "Check the address for a slip. If it is right, the mailbox exists no more: ask the recipient in another way."},
    {"1.2", "Check what stands behind the @ for a slip: no mail can go to that domain. If it is right, ask the recipient in another way."},
    {"1.7", "The other server does not like your own address. Ask the postmaster named below."},
    {"1.8", "The other server does not like your own address. Ask the postmaster named below."},
    {"1.10", "The domain takes no mail at all. Check what stands behind the @ for a slip, or ask the recipient in another way for another address."},
    {"1", "Check the address for a slip. If it is right, ask the recipient in another way."},
    {"2.1", "The mailbox is switched off. Ask the recipient in another way."},
    {"2.2", "The recipient's mailbox is full. Send the message again later, or tell the recipient in another way."},
    {"2.3", "The message is too large for the recipient. Send it in smaller parts, or leave out attachments."},
    {"2", "The recipient's mailbox does not take the message now. Send it again later, or tell the recipient in another way."},
    {"3.4", "The message is too large for the other server. Send it in smaller parts, or leave out attachments."},
    {"3", "Something is wrong with the server that was to take the message. Send it again later, or tell the recipient in another way."},
    {"4.6", "The message was going round in a circle: a forwarding leads back to itself. Ask the postmaster named below."},
    {"4", "The recipient's server could not be reached, or its domain not be found. Check what stands behind the @ for a slip; if it is right, send the message again later, or tell "
	  "the recipient in another way."},
    {"5.3", "The message has more recipients than the other server takes. Send it to fewer at once."},
    {"5", "The two servers do not understand each other, which is no fault of yours. Ask the postmaster named below."},
    {"6.7", "The other server does not take addresses and header lines with letters beyond plain ASCII. Use addresses, names and a subject without them."},
    {"6", "The other server cannot take the message in this form. Send it as plain text, or without attachments."},
    {"7.5", "The way to the recipient's server is not protected as its domain demands (TLS), so nothing was sent. That is for the recipient's domain to mend: tell the recipient in "
	    "another way."},
    {"7.10", "The way to the recipient's server cannot be protected as is demanded (TLS), so nothing was sent. Tell the recipient in another way."},
    {"7.30", "You asked that the message be protected all the way (REQUIRETLS), and the other server cannot do that. Send it without that wish, if it may be read on the way."},
    {"7", "A rule of one of the two servers forbids it; the words above may say which one. Change the message, or tell the recipient in another way."},
};

static bool fits(const struct advice *row, struct span code)
{
	return span_eq(span_str(row->code), code);
}

static const char *advice_for(struct span status)
{
	struct span code = span_from(status, 2), subject = span_sub(code, 0, span_find(code, '.'));

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (fits(&rows[i], code))
			return rows[i].text;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (fits(&rows[i], subject))
			return rows[i].text;
	return "Check the address for a slip. If it is right, ask the recipient in another way.";
}

void advice_add(struct buf *out, struct span status)
{
	struct span text = span_str(advice_for(status));
	size_t column = 0; /* 0: no line has begun */

	while (text.len > 0) {
		struct span word = span_sub(text, 0, span_find(text, ' '));
		bool goes_on = column > 0 && column + 1 + word.len <= ADVICE_COLUMNS;

		text = span_from(text, word.len + 1);
		buf_printf(out, "%s%*s", column == 0 || goes_on ? "" : "\r\n", goes_on ? 1 : ADVICE_INDENT, "");
		buf_add_span(out, word);
		column = (goes_on ? column + 1 : ADVICE_INDENT) + word.len;
	}
	buf_add_str(out, "\r\n");
}
