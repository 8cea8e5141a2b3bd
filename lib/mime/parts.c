#include "mime/parts.h"

#include "base/bytes.h"

static void put32(struct buf *out, size_t n)
{
	unsigned char wire[4];

	put_le(wire, n, 4);
	buf_add(out, wire, 4);
}

static uint32_t get32(const char *p)
{
	return (uint32_t)get_le(p, 4);
}

void mime_parts_encode(const struct mime_part *root, struct buf *out)
{
	const struct mime_part *part = root;

	while (part != NULL) {
		put32(out, part->kind);
		put32(out, part->depth);
		put32(out, part->header_offset);
		put32(out, part->header_size);
		put32(out, part->body_offset);
		put32(out, part->body_size);
		put32(out, part->lines);
		if (part->first_child != NULL) {
			part = part->first_child;
			continue;
		}
		while (part != root && part->next == NULL)
			part = part->parent;
		part = part == root ? NULL : part->next;
	}
}

bool mime_parts_get(struct span parts, size_t i, uint64_t size, struct mime_place *out)
{
	const char *p = parts.ptr + i * MIME_PLACE_SIZE;

	if (i >= parts.len / MIME_PLACE_SIZE || get32(p) > MIME_MESSAGE)
		return false;
	out->kind = (enum mime_kind)get32(p);
	out->depth = get32(p + 4);
	out->header_offset = get32(p + 8);
	out->header_size = get32(p + 12);
	out->body_offset = get32(p + 16);
	out->body_size = get32(p + 20);
	return (uint64_t)out->header_offset + out->header_size <= size && (uint64_t)out->body_offset + out->body_size <= size;
}

/* The n-th (from 1) part directly below place `at`, whose depth is `depth`. */
static bool nth_child(struct span parts, uint64_t size, size_t at, uint32_t depth, uint32_t n, struct mime_place *out, size_t *index)
{
	for (size_t i = at + 1; mime_parts_get(parts, i, size, out) && out->depth > depth; i++)
		if (out->depth == depth + 1 && --n == 0) {
			*index = i;
			return true;
		}
	return false;
}

bool mime_parts_find(struct span parts, uint64_t size, const uint32_t *path, size_t depth, struct mime_place *out, size_t *index)
{
	*index = 0;
	if (!mime_parts_get(parts, 0, size, out))
		return false;
	for (size_t i = 0; i < depth; i++) {
		/* A message inside a part is stepped into: its own parts are numbered below the part. A leaf has none. */
		if (i > 0 && out->kind != MIME_MULTIPART &&
		    (out->kind != MIME_MESSAGE || !nth_child(parts, size, *index, out->depth, 1, out, index)))
			return false;
		if (out->kind == MIME_MULTIPART) {
			if (path[i] == 0 || !nth_child(parts, size, *index, out->depth, path[i], out, index))
				return false;
		} else if (path[i] != 1) {
			return false; /* a message that is no multipart has one part: itself */
		}
	}
	return true;
}
