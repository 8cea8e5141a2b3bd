/* A domain's wish for reports: the TXT record of _smtp._tls.DOMAIN (RFC 8460 section 3). */
#ifndef MW_TLSRPT_RECORD_H
#define MW_TLSRPT_RECORD_H

#include "base/span.h"

enum {
	TLSRPT_TARGETS_MAX = 4, /* further ones are passed over */
	TLSRPT_TARGET_TEXT = 2048,
};

enum tlsrpt_target_kind { TLSRPT_MAILTO, TLSRPT_HTTPS };

struct tlsrpt_target {
	enum tlsrpt_target_kind kind;
	char text[TLSRPT_TARGET_TEXT]; /* the address; the whole URL */
};

struct tlsrpt_record {
	struct tlsrpt_target targets[TLSRPT_TARGETS_MAX];
	size_t count;
};

/* Whether a TXT record is one of these at all; a domain has exactly one, or it wants no reports. */
bool tlsrpt_is_record(struct span text);
/*
 * 0, with those of its URIs that are known and right; E_SYNTAX: the record breaks the grammar; E_NOTFOUND: it has no URI that can be
 * used. Of a mailto URI only the address counts (RFC 6068 section 2).
 */
int tlsrpt_record_parse(struct span text, struct tlsrpt_record *out);

#endif
