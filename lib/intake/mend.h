/*
 * What is changed of a message that is handed in (RFC 6409 section 8): Date, Message-ID and perhaps From are added when they are missing,
 * Bcc is taken out (RFC 5322 section 3.6.3). The content comes in pieces, cut anywhere; nothing of it is kept but the name of
 * the field that has just begun.
 */
#ifndef MW_INTAKE_MEND_H
#define MW_INTAKE_MEND_H

#include "base/buf.h"
#include "base/span.h"

enum { MEND_NAME = 80 }; /* longer than any field's name is; RFC 5322 section 2.1.1 has lines of 78 */

struct mend {
	enum { MEND_NAMING, MEND_FIELD, MEND_FIELD_CR, MEND_LINE, MEND_END_CR, MEND_BODY } state;
	bool dropping; /* this field is left out, with its folded lines */
	bool has_date, has_message_id, has_from;
	char name[MEND_NAME + 1];
	size_t name_len;
	const char *date;	/* of the Date to be added, without its line end; borrowed */
	const char *message_id; /* with its angle brackets; borrowed */
	const char *from;	/* of the From to be added, NULL: none is; set after mend_init; borrowed */
};

void mend_init(struct mend *mend, const char *date, const char *message_id);
void mend_feed(struct mend *mend, struct span bytes, struct buf *out);
/* The content is complete: a message may have no body, nor even a whole header line. */
void mend_end(struct mend *mend, struct buf *out);

#endif
