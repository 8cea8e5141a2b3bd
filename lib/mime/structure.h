/*
 * The parts of a message and where they lie (RFC 2045, RFC 2046). One pass over the
 * message, no recursion; what goes deeper or counts more than the limits is an
 * opaque leaf: delivery always works.
 */
#ifndef MW_MIME_STRUCTURE_H
#define MW_MIME_STRUCTURE_H

#include "mime/header.h"

enum { MIME_DEPTH_MAX = 100, MIME_PARTS_MAX = 10000, MIME_MEMORY_MAX = 64 * 1024 * 1024 };

enum mime_kind { MIME_LEAF, MIME_TEXT, MIME_MULTIPART, MIME_MESSAGE };

struct mime_part {
	struct mime_part *parent, *first_child, *last_child, *next;
	enum mime_kind kind;
	struct mime_content content; /* of Content-Type; text/plain when there is none */
	struct span boundary;
	size_t header_offset, header_size; /* with the empty line */
	size_t body_offset, body_size;
	size_t lines; /* of the body */
	unsigned depth;
};

/* message: whole, CRLF or LF line ends; borrowed by the result. NULL when out of memory. Pooled. */
struct mime_part *mime_structure_parse(struct span message, struct pool *pool);

/* Of a type whose body is a message (RFC 2046 section 5.2.1, RFC 6532 section 3.7). */
bool mime_is_message(const struct mime_content *content);

/* The header section of a part. */
struct span mime_part_header(struct span message, const struct mime_part *part);

#endif
