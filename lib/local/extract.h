/*
 * Recipients as people write them, in a header section (sendmail -t) or an argument: lists, groups, names, comments,
 * quoting (RFC 5322 section 3.4).
 */
#ifndef MW_LOCAL_EXTRACT_H
#define MW_LOCAL_EXTRACT_H

#include "base/err.h"
#include "base/pool.h"
#include "base/span.h"

struct recipient_list {
	struct span *addresses; /* LETTER_RECIPIENTS places; pooled */
	size_t count;
};

/* 0 or E_NOMEM. */
int recipients_init(struct recipient_list *list, struct pool *pool);

/* Those of a list of addresses; what makes no sense is passed over. 0, E_LIMIT with a text, E_NOMEM. */
int recipients_add(struct recipient_list *list, struct span text, struct pool *pool, struct err *err);

/*
 * Those of To, Cc and Bcc; when there are fields of a resent message (RFC 5322 section 3.6.6), of the newest Resent-To, Resent-Cc
 * and Resent-Bcc alone. header: as local_header_length measures it.
 */
int recipients_extract(struct recipient_list *list, struct span header, struct pool *pool, struct err *err);

/* Octets of the header section at the front: up to the first line that is no field, as lib/intake/mend.h sees it. */
size_t local_header_length(struct span message);

#endif
