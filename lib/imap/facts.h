/* What is found out about a message once, when it is filed: the fields of struct store_facts. */
#ifndef MW_IMAP_FACTS_H
#define MW_IMAP_FACTS_H

#include "base/err.h"
#include "base/pool.h"

struct imap_facts {
	uint32_t header_size;
	int64_t sent; /* what the clock of its Date showed, as if that were UTC; INT64_MIN: no Date that makes sense */
	struct span envelope, body, bodystructure, parts; /* pooled */
};

/* message: whole. 0 or E_NOMEM; every message has facts. */
int imap_facts_find(struct span message, struct pool *pool, struct imap_facts *out, struct err *err);

#endif
