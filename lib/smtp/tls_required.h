/* The field "TLS-Required: No" of a header section that passes by (RFC 8689 section 3): its sender would rather have it go in clear than not at all. */
#ifndef MW_SMTP_TLS_REQUIRED_H
#define MW_SMTP_TLS_REQUIRED_H

#include "base/span.h"

enum { TLS_REQUIRED_HEAD = 32 }; /* octets of a line that are looked at: a longer one says something else */

struct tls_required {
	bool named; /* the line before was the field's name alone: its value is folded */
	bool no;    /* the field was there */
};

/* line: a line of the header section without its line end, of which no more than TLS_REQUIRED_HEAD octets are needed. */
void tls_required_line(struct tls_required *required, struct span line);

#endif
