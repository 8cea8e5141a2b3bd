/* A report: what was counted of a domain, as JSON, compressed, and as a message to who asked for it (RFC 8460 sections 4 and 5). */
#ifndef MW_TLSRPT_REPORT_H
#define MW_TLSRPT_REPORT_H

#include "tlsrpt/traffic.h"

enum {
	TLSRPT_JSON_MAX = 1024 * 1024,
	TLSRPT_GZIP_MAX = 36 * 1024, /* so that it fits a message between our daemons, in base64 and with a header */
	TLSRPT_MAIL_MAX = 56 * 1024,
	TLSRPT_FILENAME_MAX = 600,
};

struct tlsrpt_report {
	const char *organization;
	const char *contact;   /* the address; its domain is the submitter's name (section 5.3) */
	const char *domain;    /* that the report is about */
	const char *id;	       /* "x@host"; the same for the same report, however often it is sent */
	int64_t begin, end;    /* seconds since 1970; end: the last one */
	const struct tlsrpt_traffic *traffic;
};

/* Section 4.4; with line ends, for people who look at it. */
void tlsrpt_report_json(const struct tlsrpt_report *report, struct buf *out);
/* gzip (section 5.2). E_TOOBIG: more than out's maximum; E_NOMEM. */
int tlsrpt_compress(struct span json, struct buf *out);
/* Section 5.1. */
void tlsrpt_filename(const struct tlsrpt_report *report, char out[TLSRPT_FILENAME_MAX]);

/* The submitter: the contact's domain. Borrowed. */
const char *tlsrpt_submitter(const struct tlsrpt_report *report);
/* Section 5.3: header section and parts, of lines that end in CR LF. now: seconds since 1970. */
void tlsrpt_mail(const struct tlsrpt_report *report, const char *to, struct span gzip, int64_t now, struct buf *out);

#endif
