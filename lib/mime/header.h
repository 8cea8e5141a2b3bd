/* Header fields (RFC 5322 section 2.2) and what stands in them. Everything borrows the message. */
#ifndef MW_MIME_HEADER_H
#define MW_MIME_HEADER_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/span.h"

enum {
	MIME_PARAMETERS_MAX = 64,	/* of one field */
	MIME_ADDRESSES_MAX = 10000,	/* of one field */
	MIME_VALUE_MAX = 256 * 1024,	/* of one field that is looked at */
};

struct mime_field {
	struct span name;
	struct span value; /* folded as in the message, without the last line end */
	struct span whole; /* with its line end */
};

/* The next field of a header section; false at its end. *rest moves on. Lines that are no field are skipped. */
bool mime_field_next(struct span *rest, struct mime_field *out);
/* The first field of this name; false when there is none. */
bool mime_field_find(struct span header, struct span name, struct mime_field *out);

/* Value without folding: line ends taken out, blanks around it too. Appended to out. */
void mime_unfold(struct span value, struct buf *out);

struct mime_parameter {
	struct span name;
	struct span value; /* pooled, quoting taken out */
};

/* "type/subtype; name=value ...", as Content-Type and Content-Disposition have it (RFC 2045 section 5.1, RFC 2183). */
struct mime_content {
	struct span type;    /* or the disposition; pooled */
	struct span subtype; /* empty when there is none */
	struct mime_parameter *parameters;
	size_t parameter_count;
};
/* False when nothing can be made of it. */
bool mime_content_parse(struct span value, struct pool *pool, struct mime_content *out);
struct span mime_content_parameter(const struct mime_content *content, struct span name);

/* One address of a list (RFC 5322 section 3.4), or the begin or end of a group. */
enum mime_address_kind { MIME_ADDRESS, MIME_GROUP_BEGIN, MIME_GROUP_END };
struct mime_address {
	enum mime_address_kind kind;
	struct span name;    /* display name or group name, quoting taken out; may be empty */
	struct span route;
	struct span mailbox; /* local part, quoting taken out */
	struct span host;
};
/* All of a list, also of a malformed one as far as sense can be made. Pooled. */
size_t mime_addresses_parse(struct span value, struct pool *pool, struct mime_address **out);

/* date-time of RFC 5322 section 3.3 and 4.3, seconds since 1970; false when it is none. zone: NULL, or how many seconds its clock is ahead of UTC. */
bool mime_date_parse(struct span value, int64_t *out, int64_t *zone);

#endif
