/*
 * Where the parts of a message lie, in a few bytes: cached at delivery, so that
 * BODY[1.2] and SEARCH BODY need not parse the message again.
 */
#ifndef MW_MIME_PARTS_H
#define MW_MIME_PARTS_H

#include "mime/structure.h"

enum { MIME_PLACE_SIZE = 28 };

/* One part, in the order of a walk from the root (parents before children). */
struct mime_place {
	enum mime_kind kind;
	uint32_t depth; /* of the root: 0 */
	uint32_t header_offset, header_size;
	uint32_t body_offset, body_size;
};

/* Appends MIME_PLACE_SIZE bytes a part. */
void mime_parts_encode(const struct mime_part *root, struct buf *out);
/* Strict; false past the end or when damaged (offsets past size). */
bool mime_parts_get(struct span parts, size_t i, uint64_t size, struct mime_place *out);

/*
 * The part with an IMAP section number (RFC 3501 section 6.4.5): path of `depth`
 * numbers, the first part is 1. depth 0: the message itself. False when there is none.
 */
bool mime_parts_find(struct span parts, uint64_t size, const uint32_t *path, size_t depth, struct mime_place *out,
    size_t *index);

#endif
