/* 41 bits of milliseconds since 2024 and 14 of a sequence: 11 base32 digits that sort by time. */
#include "spool/spool.h"

#include "base/encode.h"

#include <stdio.h>

enum { SPOOL_SEQUENCE_BITS = 14 };

uint64_t spool_id_next(uint64_t *last, int64_t now_ms)
{
	uint64_t ms = now_ms > SPOOL_EPOCH_MS ? (uint64_t)(now_ms - SPOOL_EPOCH_MS) : 0;
	uint64_t id = (ms & ((UINT64_C(1) << SPOOL_ID_MS_BITS) - 1)) << SPOOL_SEQUENCE_BITS;

	/* A clock that went back must not give an id twice. */
	if (id <= *last)
		id = *last + 1;
	*last = id;
	return id;
}

int64_t spool_id_ms(uint64_t id)
{
	return (int64_t)(id >> SPOOL_SEQUENCE_BITS) + SPOOL_EPOCH_MS;
}

void spool_id_format(uint64_t id, char out[SPOOL_ID_TEXT])
{
	base32_format(id, SPOOL_ID_TEXT - 1, out);
}

bool spool_id_parse(struct span text, uint64_t *id)
{
	return text.len == SPOOL_ID_TEXT - 1 && base32_parse(text, id);
}
