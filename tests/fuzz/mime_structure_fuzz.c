/*
 * The parts of a message: every octet is in its place, parts lie in their
 * parents in order, and the encoded table says the same.
 *
 * Input: the message.
 */
#include "tests/fuzz/fuzz.h"

#include "mime/parts.h"

static size_t count_lines(struct span s)
{
	size_t lines = 0;

	for (size_t i = 0; i < s.len; i++)
		lines += s.ptr[i] == '\n';
	return lines;
}

static void look_at_part(struct span message, const struct mime_part *part)
{
	const struct mime_part *parent = part->parent;
	size_t end = part->body_offset + part->body_size, children = 0;

	fuzz_assert(part->header_offset + part->header_size == part->body_offset && end <= message.len);
	fuzz_assert(part->content.type.len > 0 && part->content.subtype.len > 0);
	fuzz_assert(part->depth == (parent ? parent->depth + 1 : 0) && part->depth <= MIME_DEPTH_MAX);
	if (parent != NULL)
		fuzz_assert(part->header_offset >= parent->body_offset && end <= parent->body_offset + parent->body_size);
	if (part->next != NULL)
		fuzz_assert(part->next->parent == parent && part->next->header_offset >= end);
	else if (parent != NULL)
		fuzz_assert(parent->last_child == part);
	for (const struct mime_part *c = part->first_child; c != NULL; c = c->next)
		children++;
	fuzz_assert(part->kind == MIME_MULTIPART || (part->kind == MIME_MESSAGE ? children == 1 : children == 0));
	if (part->kind == MIME_MESSAGE)
		fuzz_assert(part->first_child->header_offset == part->body_offset &&
			    part->first_child->body_offset + part->first_child->body_size == end);
	fuzz_assert(part->lines == count_lines(span_sub(message, part->body_offset, part->body_size)));
}

static uint32_t place_among(const struct mime_part *part)
{
	uint32_t n = 1;

	for (const struct mime_part *p = part->parent->first_child; p != part; p = p->next)
		n++;
	return n;
}

/*
 * Its section number (RFC 3501 section 6.4.5) from its end to its front; 0 when it has
 * none: a multipart that is the whole of a message goes by the message's.
 */
static size_t section_number(const struct mime_part *part, uint32_t *path)
{
	size_t depth = 0;

	if (part->kind == MIME_MULTIPART && (part->parent == NULL || part->parent->kind == MIME_MESSAGE))
		return 0;
	while (part->parent != NULL) {
		const struct mime_part *parent = part->parent;
		bool whole = parent->parent == NULL || parent->parent->kind == MIME_MESSAGE;

		path[depth++] = parent->kind == MIME_MULTIPART ? place_among(part) : 1;
		part = parent->kind == MIME_MULTIPART && whole ? parent->parent : parent;
		if (part == NULL)
			return depth;
	}
	if (part->kind != MIME_MULTIPART)
		path[depth++] = 1;
	return depth;
}

/* The n-th part of a walk from the root. */
static void look_at_place(struct span parts, const struct mime_part *part, size_t i, size_t size)
{
	uint32_t backwards[MIME_DEPTH_MAX + 2], path[MIME_DEPTH_MAX + 2];
	size_t depth = section_number(part, backwards), index = 0;
	struct mime_place place;

	fuzz_assert(mime_parts_get(parts, i, size, &place));
	fuzz_assert(place.kind == part->kind && place.depth == part->depth && place.header_offset == part->header_offset &&
		    place.header_size == part->header_size && place.body_offset == part->body_offset && place.body_size == part->body_size);
	for (size_t k = 0; k < depth; k++)
		path[k] = backwards[depth - 1 - k];
	if (depth > 0)
		fuzz_assert(mime_parts_find(parts, size, path, depth, &place, &index) && index == i);
}

/* memory: of the pool; with too little of it there is no structure, and the message counts as one opaque part. */
static void try_structure(struct span input, size_t memory)
{
	struct pool *pool = pool_new(NULL, memory);
	const struct mime_part *root = mime_structure_parse(input, pool), *part = root;
	struct buf table;
	size_t i = 0;

	if (root == NULL && memory < MIME_MEMORY_MAX) {
		pool_free(&pool);
		return;
	}
	fuzz_assert(root != NULL && root->header_offset == 0 && root->body_offset + root->body_size == input.len);
	buf_init(&table, 1024 * 1024);
	mime_parts_encode(root, &table);
	while (part != NULL) {
		look_at_part(input, part);
		look_at_place(buf_span(&table), part, i++, input.len);
		if (part->first_child != NULL) {
			part = part->first_child;
			continue;
		}
		while (part != root && part->next == NULL)
			part = part->parent;
		part = part == root ? NULL : part->next;
	}
	fuzz_assert(i == buf_span(&table).len / MIME_PLACE_SIZE && i <= MIME_PARTS_MAX + 1);
	buf_fini(&table);
	pool_free(&pool);
}

void fuzz_one(struct span input)
{
	try_structure(input, MIME_MEMORY_MAX);
	try_structure(input, 8 * 1024);
}
