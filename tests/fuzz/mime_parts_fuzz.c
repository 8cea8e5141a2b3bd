/*
 * The table of parts as it comes back from the index, damaged or not: nothing
 * that is found lies outside the message.
 *
 * Input: a byte for the length of the path, the path's numbers, then the table.
 */
#include "tests/fuzz/fuzz.h"

#include "mime/parts.h"

enum { SIZE = 10000 };

static void look_at_place(const struct mime_place *place)
{
	fuzz_assert(place->kind <= MIME_MESSAGE);
	fuzz_assert((uint64_t)place->header_offset + place->header_size <= SIZE);
	fuzz_assert((uint64_t)place->body_offset + place->body_size <= SIZE);
}

void fuzz_one(struct span input)
{
	uint32_t path[16];
	size_t depth = fuzz_byte(&input) % 16, index = 0;
	struct mime_place place;

	for (size_t i = 0; i < depth; i++)
		path[i] = fuzz_byte(&input);
	for (size_t i = 0; mime_parts_get(input, i, SIZE, &place); i++) {
		fuzz_assert(i < input.len / MIME_PLACE_SIZE);
		look_at_place(&place);
	}
	fuzz_assert(!mime_parts_get(input, input.len / MIME_PLACE_SIZE, SIZE, &place));
	if (mime_parts_find(input, SIZE, path, depth, &place, &index)) {
		fuzz_assert(index < input.len / MIME_PLACE_SIZE);
		look_at_place(&place);
	}
}
